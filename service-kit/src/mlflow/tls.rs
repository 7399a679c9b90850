//! Whom we believe to be the tracking server, and who we are to it, over https.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::error::CliError;
use crate::exit::Exit;

/// Largest file of certificates that is read.
const MAX_PEM_BYTES: u64 = 4 << 20;
/// Most files of a directory of certificates.
const MAX_FILES: usize = 1000;

/// What the environment says about certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The only certificates the server's may be signed by: a file, or a directory of them. The system's when unset.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and its key, in one file.
    pub identity: Option<PathBuf>,
    /// Any certificate will do.
    pub is_insecure: bool,
}

impl Tls {
    /// Checks that the settings do not contradict each other.
    ///
    /// # Errors
    /// When a certificate is named and checking is switched off too.
    pub fn new(
        authorities: Option<PathBuf>,
        identity: Option<PathBuf>,
        is_insecure: bool,
    ) -> Result<Self, CliError> {
        let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let (authorities, identity) = (given(authorities), given(identity));
        if is_insecure && authorities.is_some() {
            let what =
                "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each other";
            return Err(CliError::new("mlflow-tls-contradiction", Exit::Usage, what)
                .because("the first says that any certificate will do, the second which one must be there")
                .help("unset MLFLOW_TRACKING_INSECURE_TLS"));
        }
        Ok(Self { authorities, identity, is_insecure })
    }

    /// Reads the certificates and tells the client of them.
    pub(super) fn apply(&self, mut client: ClientBuilder) -> Result<ClientBuilder, CliError> {
        if let Some(path) = &self.authorities {
            client = client.tls_certs_only(authorities(path)?);
        }
        if let Some(path) = &self.identity {
            let identity = Identity::from_pem(&read(path, "MLFLOW_TRACKING_CLIENT_CERT_PATH")?);
            client = client.identity(
                identity.map_err(|error| unreadable(path, "MLFLOW_TRACKING_CLIENT_CERT_PATH", &error))?,
            );
        }
        if self.is_insecure {
            tracing::warn!(
                "MLFLOW_TRACKING_INSECURE_TLS is on: whoever answers is taken for the tracking server"
            );
            client = client.tls_danger_accept_invalid_certs(true);
        }
        Ok(client)
    }
}

/// The certificates of a file, or of every file of a directory.
fn authorities(path: &Path) -> Result<Vec<Certificate>, CliError> {
    const VARIABLE: &str = "MLFLOW_TRACKING_SERVER_CERT_PATH";
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, VARIABLE, &error))?;
        files = entries.flatten().map(|entry| entry.path()).filter(|file| file.is_file()).collect();
        files.sort();
        files.truncate(MAX_FILES);
    }
    let mut found = Vec::new();
    for file in files {
        let certificates = Certificate::from_pem_bundle(&read(&file, VARIABLE)?);
        found.extend(certificates.map_err(|error| unreadable(&file, VARIABLE, &error))?);
    }
    if found.is_empty() {
        return Err(unreadable(path, VARIABLE, &"no certificate is in it"));
    }
    Ok(found)
}

fn read(path: &Path, variable: &str) -> Result<Vec<u8>, CliError> {
    let size = std::fs::metadata(path).map_err(|error| unreadable(path, variable, &error))?.len();
    if size > MAX_PEM_BYTES {
        return Err(unreadable(path, variable, &format!("{size} bytes are too many for certificates")));
    }
    std::fs::read(path).map_err(|error| unreadable(path, variable, &error))
}

fn unreadable(path: &Path, variable: &str, cause: &impl std::fmt::Display) -> CliError {
    let what = format!("the certificates in {} cannot be used", path.display());
    CliError::new("mlflow-certificates-unreadable", Exit::Usage, what)
        .because(cause)
        .help(format!("set {variable} to a file with certificates in PEM form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_no_checking_contradict_each_other() {
        let error = Tls::new(Some("ca.pem".into()), None, true).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(Tls::new(Some("".into()), None, true).is_ok(), "an empty variable counts as absent");
    }

    #[test]
    fn files_that_hold_no_certificate_are_named_with_their_variable() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, none) = (dir.path().join("empty.pem"), dir.path().join("none.pem"));
        std::fs::write(&empty, "nothing").unwrap();
        for path in [dir.path(), empty.as_path(), none.as_path()] {
            let tls = Tls::new(Some(path.to_owned()), None, false).unwrap();
            let error = tls.apply(crate::mlflow::http::bare()).err().unwrap();
            assert!(error.help.as_deref().unwrap().contains("MLFLOW_TRACKING_SERVER_CERT_PATH"), "{error}");
            let tls = Tls::new(None, Some(path.to_owned()), false).unwrap();
            let error = tls.apply(crate::mlflow::http::bare()).err().unwrap();
            assert!(error.help.as_deref().unwrap().contains("MLFLOW_TRACKING_CLIENT_CERT_PATH"), "{error}");
        }
    }
}
