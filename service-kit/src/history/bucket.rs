//! The values of a bucket, all of them, while others write.
//!
//! A bucket keeps one value a key, so its stream is the list. A value that is written while the stream is read moves to its
//! end, behind where the reading was to end, and the old one is gone. So it is read on until the broker says, with a message
//! it hands over, that nothing is left behind it: then every key has been seen. That comes about however many write, and
//! however far away the broker is, for it hands over faster than they write.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;

use super::{History, Kept, SILENCE_LIMIT, last_sequence, silent};
use crate::broker::Broker;
use crate::error::CliError;

/// How long nothing may come before it is asked whether there is more.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the last value of every key of a bucket that begins with `prefix`, in the order of their last change. `read` gets
/// the key and the value, and makes of it what is wanted, or nothing.
pub async fn last_values<T>(
    broker: &Broker,
    bucket: &str,
    prefix: &str,
    mut read: impl FnMut(&str, &Kept) -> Option<T>,
) -> Result<Vec<T>, CliError> {
    let (stream, all) = (format!("KV_{bucket}"), format!("$KV.{bucket}."));
    let filter = format!("{all}{prefix}>");
    let filters = [filter.as_str()];
    let Some(mut until) = last_sequence(broker, &stream, &filters).await? else { return Ok(Vec::new()) };
    let mut values = History::following(broker, &stream, &filters, 1).await?;
    let mut last = HashMap::new();
    let (mut seen, mut silence, mut is_checked) = (0, Duration::ZERO, false);
    loop {
        let Ok(value) = timeout(PATIENCE, values.next()).await else {
            if last_sequence(broker, &stream, &filters).await?.unwrap_or(0) <= seen {
                break;
            }
            silence += PATIENCE;
            if silence >= SILENCE_LIMIT {
                return Err(silent());
            }
            continue;
        };
        let Some(value) = value? else { break };
        (seen, silence) = (value.sequence, Duration::ZERO);
        let key = value.subject.strip_prefix(&all).unwrap_or(&value.subject);
        let is_deleted = value.headers.get("KV-Operation").is_some();
        let wanted = if is_deleted { None } else { read(key, &value) };
        match wanted {
            Some(wanted) => drop(last.insert(key.to_owned(), (seen, wanted))),
            None => drop(last.remove(key)),
        }
        if seen < until || !values.is_caught_up() {
            continue;
        }
        // What the broker counts it counts a moment late: it is asked once more, and no more than that.
        until = last_sequence(broker, &stream, &filters).await?.unwrap_or(0);
        if is_checked || until <= seen {
            break;
        }
        is_checked = true;
    }
    let mut values: Vec<(u64, T)> = last.into_values().collect();
    values.sort_unstable_by_key(|(sequence, _)| *sequence);
    Ok(values.into_iter().map(|(_, value)| value).collect())
}
