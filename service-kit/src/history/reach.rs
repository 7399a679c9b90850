//! How far a stream reaches, asked of the broker.

use async_nats::jetstream::stream::LastRawMessageErrorKind;

use super::{Extent, broken};
use crate::broker::Broker;
use crate::error::CliError;

/// What a stream holds; `None` when that is nothing.
pub async fn extent(broker: &Broker, stream: &str) -> Result<Option<Extent>, CliError> {
    let handle = broker.jetstream.get_stream(stream).await.map_err(|error| broken(&error))?;
    let state = &handle.cached_info().state;
    let extent = Extent {
        first: state.first_sequence,
        last: state.last_sequence,
        messages: state.messages,
        bytes: state.bytes,
    };
    Ok((extent.messages > 0 && extent.first <= extent.last).then_some(extent))
}

/// Sequence of the last message on `filters`; `None` when there is none.
pub(super) async fn last_sequence(
    broker: &Broker,
    stream: &str,
    filters: &[&str],
) -> Result<Option<u64>, CliError> {
    let handle = broker.jetstream.get_stream(stream).await.map_err(|error| broken(&error))?;
    if filters.is_empty() {
        let state = &handle.cached_info().state;
        return Ok((state.messages > 0).then_some(state.last_sequence));
    }
    let mut last = None;
    for filter in filters {
        match handle.get_last_raw_message_by_subject(filter).await {
            Ok(message) => last = last.max(Some(message.sequence)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(last)
}
