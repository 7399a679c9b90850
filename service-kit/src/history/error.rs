//! Why a stream cannot be read, in words for people.

use super::SILENCE_LIMIT;
use crate::error::CliError;
use crate::exit::Exit;

pub(super) fn silent() -> CliError {
    CliError::new("stream-silent", Exit::Unreachable, "the stream stopped in the middle of being read")
        .because(format!("nothing came for {} s", SILENCE_LIMIT.as_secs()))
        .help("is the broker up? `cerebros doctor` tells")
}

pub(super) fn broken(error: &dyn std::error::Error) -> CliError {
    CliError::new("stream-unreadable", Exit::Unreachable, "the stream cannot be read")
        .because(error)
        .help("is the broker up, and were the streams created? `cerebros doctor` tells")
}
