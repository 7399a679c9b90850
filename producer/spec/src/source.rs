//! Where a spec comes from: a file, standard input, or the command line itself. Read no further than the limit.

use std::io;

use schemas::codec::MAX_EVENT_BYTES;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::input::Input;

use crate::{refusal, too_large};

/// The text of a spec; `None` if none was given.
///
/// # Errors
/// There is none under this name, or it cannot be read, or it is too large.
pub async fn text_of(spec: Option<&str>) -> Result<Option<String>, CliError> {
    match spec {
        None => Ok(None),
        Some(text) if text.trim_start().starts_with('{') => Ok(Some(text.to_owned())),
        Some(name) => read(Input::named(name)).await.map(Some),
    }
}

async fn read(input: Input) -> Result<String, CliError> {
    let name = input.title();
    let bytes = input.read(MAX_EVENT_BYTES, "the spec").await.map_err(|error| unreadable(&name, &error))?;
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(refusal(&[too_large(bytes.len())]));
    }
    String::from_utf8(bytes).map_err(|error| {
        CliError::new(
            "not-json",
            Exit::InvalidInput,
            format!("the spec in {name} is not UTF-8; nothing was published"),
        )
        .because(error.utf8_error())
    })
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    let (code, exit) = if error.kind() == io::ErrorKind::NotFound {
        ("spec-missing", Exit::NotFound)
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        ("spec-unreadable", Exit::Permission)
    } else {
        ("spec-unreadable", Exit::InvalidInput)
    };
    CliError::new(code, exit, format!("the spec {name} cannot be read"))
        .because(error)
        .help("SPEC is a file, - for standard input, or JSON that begins with {")
}
