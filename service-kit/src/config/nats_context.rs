//! A context of the nats command line tool: how its users already name a broker.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::CliError;
use crate::exit::Exit;

/// The largest context that is read.
const SIZE_LIMIT: u64 = 64 * 1024;

/// The part of a context we understand; empty means unset, as the tool writes it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NatsContext {
    pub(super) url: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) creds: String,
    pub(super) nkey: String,
    pub(super) ca: String,
    pub(super) cert: String,
    pub(super) key: String,
    token: String,
    user_jwt: String,
    nsc: String,
    socks_proxy: String,
}

impl NatsContext {
    /// Reads the context of that name from the user's configuration.
    pub(super) fn load(name: &str) -> Result<Self, CliError> {
        Self::load_from(&directory(), name)
    }

    fn load_from(directory: &Path, name: &str) -> Result<Self, CliError> {
        if name.contains(['/', '\\', '\0']) || name.starts_with('.') {
            let what = format!("`{name}` is no name of a nats context");
            return Err(
                CliError::new("nats-context-name", Exit::Usage, what).help("give the name alone, not a path")
            );
        }
        let path = directory.join(format!("{name}.json"));
        let mut text = String::new();
        File::open(&path).and_then(|file| file.take(SIZE_LIMIT).read_to_string(&mut text)).map_err(
            |error| {
                let (code, exit) = match error.kind() == ErrorKind::NotFound {
                    true => ("nats-context-unknown", Exit::NotFound),
                    false => ("nats-context-unreadable", Exit::Permission),
                };
                CliError::new(code, exit, format!("cannot read the nats context `{name}`"))
                    .because(format!("{}: {error}", path.display()))
                    .help("`nats context ls` lists the contexts; NATS_CONTEXT and --nats-context name one")
            },
        )?;
        // serde_json quotes what it found; only the place is shown, the text may be a password.
        let context: Self = serde_json::from_str(&text).map_err(|error| {
            CliError::new(
                "nats-context-invalid",
                Exit::Usage,
                format!("the nats context `{name}` is not valid"),
            )
            .because(format!("{}:{}:{}", path.display(), error.line(), error.column()))
        })?;
        context.refuse_unsupported(name)?;
        Ok(context.with_home())
    }

    /// What would be left out silently is refused aloud.
    fn refuse_unsupported(&self, name: &str) -> Result<(), CliError> {
        let unsupported = [
            ("token", &self.token),
            ("user_jwt", &self.user_jwt),
            ("nsc", &self.nsc),
            ("socks_proxy", &self.socks_proxy),
        ];
        match unsupported.into_iter().find(|(_, value)| !value.is_empty()) {
            None => Ok(()),
            Some((field, _)) => {
                let what = format!("the nats context `{name}` uses `{field}`, which is not supported");
                Err(CliError::new("nats-context-unsupported", Exit::Usage, what)
                    .help("use creds, nkey, or user and password"))
            }
        }
    }

    fn with_home(mut self) -> Self {
        for path in [&mut self.creds, &mut self.nkey, &mut self.ca, &mut self.cert, &mut self.key] {
            if let (Some(rest), Some(home)) = (path.strip_prefix("~/"), std::env::home_dir()) {
                *path = home.join(rest).to_string_lossy().into_owned();
            }
        }
        self
    }
}

fn directory() -> PathBuf {
    let configuration =
        std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    configuration
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))
        .unwrap_or_default()
        .join("nats/context")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<NatsContext, CliError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("prod.json"), text).unwrap();
        NatsContext::load_from(directory.path(), "prod")
    }

    #[test]
    fn a_context_as_the_tool_writes_it_is_read() {
        let text = r#"{"description": "x", "url": "nats://a:4222", "token": "", "user": "u", "password": "p",
                       "creds": "/c.creds", "nkey": "", "ca": "", "inbox_prefix": "", "color_scheme": ""}"#;
        let context = load(text).unwrap();
        assert_eq!(
            (context.url.as_str(), context.user.as_str(), context.creds.as_str()),
            ("nats://a:4222", "u", "/c.creds")
        );
    }

    #[test]
    fn what_is_not_supported_is_refused_aloud() {
        assert!(load(r#"{"token": "s3cret"}"#).err().unwrap().what.contains("`token`"));
    }

    #[test]
    fn a_broken_context_shows_its_place_and_no_secret() {
        let error = load(r#"{"password": ["s3cret"]}"#).err().unwrap();
        assert!(error.because.as_ref().unwrap().contains("prod.json:1:"));
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn a_name_is_not_a_path() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["../prod", "/etc/passwd", ".hidden"] {
            assert_eq!(
                NatsContext::load_from(directory.path(), name).err().unwrap().exit,
                Exit::Usage,
                "{name}"
            );
        }
        assert_eq!(NatsContext::load_from(directory.path(), "prod").err().unwrap().exit, Exit::NotFound);
    }
}
