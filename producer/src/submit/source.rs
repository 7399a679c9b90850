//! Where a spec comes from: a file, standard input, or the command line itself. Read no further than the limit.

use std::fs::File;
use std::io::{self, IsTerminal, Read};

use schemas::codec::MAX_EVENT_BYTES;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use tokio::sync::oneshot;

use crate::spec;

/// The text of a spec; `None` if none was given.
pub(super) async fn read(spec: Option<&str>) -> Result<Option<String>, CliError> {
    match spec {
        None => Ok(None),
        Some(text) if text.trim_start().starts_with('{') => Ok(Some(text.to_owned())),
        Some("-") => {
            if io::stdin().is_terminal() {
                output::note("reading the spec from the terminal; Ctrl-D ends it");
            }
            apart("standard input".to_owned(), || Ok(Box::new(io::stdin()))).await.map(Some)
        }
        Some(path) => {
            let owned = path.to_owned();
            apart(path.to_owned(), move || Ok(Box::new(File::open(owned)?))).await.map(Some)
        }
    }
}

/// Reads on a thread of its own: a pipe may never end, and a signal has to end the command all the same. The thread
/// dies with the process.
async fn apart(
    name: String,
    open: impl FnOnce() -> io::Result<Box<dyn Read>> + Send + 'static,
) -> Result<String, CliError> {
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
    let bytes = bytes.map_err(|error| unreadable(&name, &error))?;
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(spec::refusal(&[spec::too_large(bytes.len())]));
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
