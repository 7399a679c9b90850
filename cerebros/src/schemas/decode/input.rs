//! The bytes of a message, read no further than the limit; and what is said when they are none.

use std::fs::File;
use std::io::{self, IsTerminal, Read};

use schemas::codec::{DecodeError, MAX_EVENT_BYTES};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use tokio::sync::oneshot;

/// The whole input.
pub(super) async fn read(file: &str) -> Result<Vec<u8>, CliError> {
    if file == "-" {
        if io::stdin().is_terminal() {
            output::note("reading the message from the terminal; Ctrl-D ends it");
        }
        return apart("standard input", || Ok(Box::new(io::stdin()))).await;
    }
    let path = file.to_owned();
    apart(file, move || Ok(Box::new(File::open(path)?))).await
}

/// Reads on a thread of its own: a pipe may never end, and a signal has to end the command all the same. The thread
/// dies with the process.
async fn apart(
    name: &str,
    open: impl FnOnce() -> io::Result<Box<dyn Read>> + Send + 'static,
) -> Result<Vec<u8>, CliError> {
    let (done, read) = oneshot::channel();
    std::thread::spawn(move || {
        let bytes = open().and_then(|source| {
            let mut bytes = Vec::new();
            source.take(MAX_EVENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        // Nobody waits for it any more: then there is nobody to tell.
        let _ = done.send(bytes);
    });
    let bytes = read.await.unwrap_or_else(|_| Err(io::Error::other("the reader ended early")));
    let bytes = bytes.map_err(|error| unreadable(name, &error))?;
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
