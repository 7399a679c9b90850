//! Which tracking server, and who we are to it: the variables MLflow's own clients read.

use percent_encoding::percent_decode_str;
use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;

use super::tls::Tls;
use crate::error::CliError;
use crate::exit::Exit;

/// How MLflow is told the workspace.
const WORKSPACE_HEADER: &str = "x-mlflow-workspace";

/// A tracking server and our credentials for it.
#[derive(Clone)]
pub struct Tracking {
    url: String,
    authorization: Authorization,
    tls: Tls,
    workspace: Option<HeaderValue>,
}

/// How we show who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Not at all.
    None,
    /// User and password; preferred over a token when both are given, as MLflow's own clients do.
    Basic {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// Bearer token.
    Token(String),
}

impl std::fmt::Debug for Tracking {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tracking").field(&self.url).finish()
    }
}

impl Tracking {
    /// A server by its tracking URI.
    pub fn new(uri: &str, authorization: Authorization) -> Result<Self, CliError> {
        let wrong = |because: &str| {
            CliError::new("mlflow-url-invalid", Exit::Usage, format!("{:?} is no MLflow server we can use", shown(uri)))
                .because(because)
                .help("set MLFLOW_TRACKING_URI or --mlflow-url to the server's address, such as http://127.0.0.1:5000")
        };
        let mut url = reqwest::Url::parse(uri.trim()).map_err(|error| wrong(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" => {}
            other => {
                return Err(wrong(&format!(
                    "the scheme is {other}; events go to a server, over http or https"
                )));
            }
        }
        if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("a host is needed, and neither a query nor a fragment"));
        }
        let authorization = match (url.username(), url.password(), authorization) {
            ("", None, given) => given,
            (user, password, Authorization::None) => {
                let plain = |part: &str| percent_decode_str(part).decode_utf8().map(|text| text.into_owned());
                let (user, password) = (plain(user), plain(password.unwrap_or_default()));
                let (Ok(user), Ok(password)) = (user, password) else {
                    return Err(wrong("its credentials cannot be read"));
                };
                Authorization::Basic { user, password }
            }
            (_, _, given) => given,
        };
        let is_bare = url.set_username("").and_then(|()| url.set_password(None)).is_ok();
        if !is_bare {
            return Err(wrong("its credentials cannot be read"));
        }
        Ok(Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            authorization,
            tls: Tls::default(),
            workspace: None,
        })
    }

    /// The same server, with what is to be known about certificates.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The same server, in this workspace of it; a blank one is none.
    ///
    /// # Errors
    /// When no header can carry the name.
    pub fn in_workspace(mut self, name: Option<&str>) -> Result<Self, CliError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        let header = name.map(HeaderValue::from_str).transpose().map_err(|_| {
            CliError::new("mlflow-workspace-invalid", Exit::Usage, "this is no name of a workspace of MLflow")
                .help("set MLFLOW_WORKSPACE or --mlflow-workspace to lower-case letters, digits and hyphens")
        })?;
        self.workspace = header;
        Ok(self)
    }

    /// The workspace of it, where one is named.
    pub fn workspace(&self) -> Option<&str> {
        self.workspace.as_ref().and_then(|name| name.to_str().ok())
    }

    /// A request to it, with who we are and in which workspace.
    pub fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        let request = match &self.workspace {
            Some(name) => request.header(WORKSPACE_HEADER, name),
            None => request,
        };
        match &self.authorization {
            Authorization::None => request,
            Authorization::Basic { user, password } => request.basic_auth(user, Some(password)),
            Authorization::Token(token) => request.bearer_auth(token),
        }
    }

    /// Its address, without credentials and without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How we show who we are.
    pub fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// What is known about certificates.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// True when the server is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// True for a server on this machine, to which no proxy leads.
    pub fn is_loopback(&self) -> bool {
        let host = reqwest::Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
    }
}

impl Authorization {
    /// From what the environment gives.
    pub fn from_parts(user: Option<String>, password: Option<String>, token: Option<String>) -> Self {
        match (user, password, token) {
            (Some(user), Some(password), _) if !user.is_empty() && !password.is_empty() => {
                Self::Basic { user, password }
            }
            (_, _, Some(token)) if !token.is_empty() => Self::Token(token),
            (_, _, _) => Self::None,
        }
    }
}

/// A URI as it may be shown: without what stands before the @.
fn shown(uri: &str) -> String {
    match (uri.split_once("://"), uri.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (_, _) => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracking(uri: &str) -> Result<Tracking, CliError> {
        Tracking::new(uri, Authorization::None)
    }

    #[test]
    fn a_server_s_address_is_kept_without_its_credentials() {
        let tracking = tracking("http://me:secret@mlflow:5000/prefix/").unwrap();
        assert_eq!(tracking.url(), "http://mlflow:5000/prefix");
        let basic = Authorization::Basic { user: "me".into(), password: "secret".into() };
        assert!(*tracking.authorization() == basic);
        assert!(!format!("{tracking:?}").contains("secret") && !tracking.is_https());
        let secure = Tracking::new("https://me:secret@mlflow/", Authorization::None).unwrap();
        assert!(secure.url() == "https://mlflow" && secure.is_https());
    }

    #[test]
    fn credentials_in_an_address_are_read_as_they_were_before_they_were_put_there() {
        let of = |uri| tracking(uri).map(|tracking| tracking.authorization().clone());
        let basic = Authorization::Basic { user: "me@home".into(), password: "s:c/r%t é".into() };
        assert!(of("http://me%40home:s%3Ac%2Fr%25t%20%C3%A9@mlflow").unwrap() == basic);
        assert_eq!(of("http://me:%FF@mlflow").err().map(|error| error.exit), Some(Exit::Usage));
    }

    #[test]
    fn what_is_no_server_is_refused_with_a_remedy_and_without_its_secret() {
        for uri in
            ["", "mlruns", "file:///tmp", "sqlite:///x.db", "databricks", "ftp://me:secret@host", "http://"]
        {
            let error = tracking(uri).unwrap_err();
            assert_eq!(error.exit, Exit::Usage, "{uri}");
            assert!(error.help.is_some() && !error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_wins_over_a_token_and_empty_variables_count_as_absent() {
        let some = |text: &str| Some(text.to_owned());
        let basic = Authorization::Basic { user: "u".into(), password: "p".into() };
        assert!(Authorization::from_parts(some("u"), some("p"), some("t")) == basic);
        assert!(
            Authorization::from_parts(some("u"), some(""), some("t")) == Authorization::Token("t".into())
        );
        assert!(Authorization::from_parts(None, None, some("")) == Authorization::None);
    }

    #[test]
    fn a_workspace_is_named_in_the_header_and_a_blank_one_is_none() {
        let of = |name| tracking("http://mlflow").unwrap().in_workspace(name);
        let request = |tracking: &Tracking| {
            let client = super::super::http::bare().build().unwrap();
            tracking.signed(client.get("http://mlflow")).build().unwrap()
        };
        let named = of(Some(" team-a ")).unwrap();
        assert_eq!(request(&named).headers()["X-MLFLOW-WORKSPACE"], "team-a");
        let blank = of(Some(" ")).unwrap();
        assert!(blank.workspace().is_none() && request(&blank).headers().is_empty());
        assert_eq!(of(Some("a\nb")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn only_this_machine_is_reached_without_a_proxy() {
        let is_loopback = |uri: &str| tracking(uri).unwrap().is_loopback();
        assert!(
            is_loopback("http://127.0.0.1:5000")
                && is_loopback("http://localhost")
                && is_loopback("http://[::1]:5")
        );
        assert!(!is_loopback("http://mlflow:5000"));
    }
}
