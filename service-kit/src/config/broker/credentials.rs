//! Who we are at the broker.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::nats_context::NatsContext;
use super::path as path_of;
use crate::error::CliError;
use crate::exit::Exit;

/// A seed is 58 characters; the rest of the file is comments.
const SEED_FILE_LIMIT: u64 = 16 * 1024;

/// Who we are at the broker. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    None,
    /// A user with a password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A file with a JWT and its seed.
    CredsFile(PathBuf),
    /// The seed of an nkey.
    NkeySeed(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user:?}, ***)"),
            Self::CredsFile(path) => write!(f, "CredsFile({path:?})"),
            Self::NkeySeed(_) => f.write_str("NkeySeed(***)"),
        }
    }
}

impl Credentials {
    /// From what was given; more than one way is an error, not a guess.
    pub(super) fn choose(
        creds: Option<&Path>,
        nkey: Option<&Path>,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Result<Self, CliError> {
        match (creds, nkey, user, password) {
            (None, None, None, None) => Ok(Self::None),
            (Some(path), None, None, None) => Ok(Self::CredsFile(path.to_owned())),
            (None, Some(path), None, None) => read_seed(path).map(Self::NkeySeed),
            (None, None, Some(user), password) => {
                let password = password.unwrap_or_default().to_owned();
                Ok(Self::UserPassword { user: user.to_owned(), password })
            }
            (None, None, None, Some(_)) => Err(CliError::new(
                "nats-user-missing",
                Exit::Usage,
                "a password for the broker is given, but no user",
            )
            .help("set NATS_USER too")),
            _ => {
                let what = "credentials for the broker are given in more than one way";
                Err(CliError::new("nats-credentials-conflict", Exit::Usage, what)
                    .help("keep one of NATS_CREDS, NATS_NKEY, or NATS_USER with NATS_PASSWORD"))
            }
        }
    }

    pub(super) fn of_context(context: &NatsContext) -> Result<Self, CliError> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self::choose(
            path_of(&context.creds).as_deref(),
            path_of(&context.nkey).as_deref(),
            text(&context.user).as_deref(),
            text(&context.password).as_deref(),
        )
    }
}

/// The first line that looks like a user's seed.
fn read_seed(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(SEED_FILE_LIMIT).read_to_string(&mut text)).map_err(
        |error| {
            CliError::new(
                "credentials-unreadable",
                Exit::Permission,
                format!("cannot read {}", path.display()),
            )
            .because(error)
            .help("NATS_NKEY names a file with the nkey's seed")
        },
    )?;
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    seed.map(str::to_owned).ok_or_else(|| {
        let what = format!("{} holds no seed of a user's nkey", path.display());
        CliError::new("credentials-invalid", Exit::Permission, what)
            .help("the seed is a line that begins with SU")
    })
}
