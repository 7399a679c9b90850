//! The bytes of a message, read no further than the limit; and what is said when they are none.

use std::io;

use schemas::codec::{DecodeError, MAX_EVENT_BYTES};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::input::Input;

/// The whole input.
pub(super) async fn read(file: &str) -> Result<Vec<u8>, CliError> {
    let input = Input::named(file);
    let name = input.title();
    let bytes =
        input.read(MAX_EVENT_BYTES, "the message").await.map_err(|error| unreadable(&name, &error))?;
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(CliError::new(
            "message-too-large",
            Exit::InvalidInput,
            format!("{name} holds more than the {MAX_EVENT_BYTES} bytes of the largest event"),
        )
        .help("give the payload of one message; a stream or a recording of several is not understood"));
    }
    Ok(bytes)
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    let (code, exit) = if error.kind() == io::ErrorKind::NotFound {
        ("message-missing", Exit::NotFound)
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        ("message-unreadable", Exit::Permission)
    } else {
        ("message-unreadable", Exit::InvalidInput)
    };
    CliError::new(code, exit, format!("the message {name} cannot be read"))
        .because(error)
        .help("FILE is a file with the bytes of one message, or - for standard input")
}

/// What a dead letter of the message would say.
pub(super) fn broken(error: &DecodeError) -> CliError {
    let what = format!("the message is no event: class {}, stage {}", error.class, error.stage);
    CliError::new("message-invalid", Exit::InvalidInput, what).because(error)
}
