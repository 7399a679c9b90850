//! The overview in front, streams and buckets at the end.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use schemas::Record;
use schemas::subject::{ADVISORY_STREAM, STREAM};
use service_kit::topology;

use super::{code, row, table};
use crate::schemas::facts;

/// Every record in a line.
pub(super) fn overview() -> String {
    let mut text = table(["subject", "record", "published by", "version"]);
    for record in Record::ALL {
        let link = format!("[{}](#{})", record.name(), record.name().to_lowercase());
        let version = record.latest().number.to_string();
        text += &row([&code(record.subject()), &link, facts::published_by(record), &version]);
    }
    text
}

/// Where it is kept, and who takes it from there.
pub(super) fn topology() -> String {
    let mut text =
        "## Streams, consumers, buckets\n\nEvery service creates what is missing; what exists with other \
                    limits is left as it is.\n\n"
            .to_owned();
    text += &table(["stream", "subjects", "kept", "what"]);
    for stream in topology::streams() {
        let subjects: Vec<String> = stream.subjects.iter().map(|subject| code(subject)).collect();
        let about = stream.description.unwrap_or_default();
        text += &row([&code(&stream.name), &subjects.join(", "), &days(stream.max_age), &about]);
    }
    text += &format!("\n{}", table(["consumer", "stream", "takes", "what for"]));
    for consumer in topology::consumers() {
        text += &consumer_row(STREAM, &consumer);
    }
    text += &consumer_row(ADVISORY_STREAM, &topology::advisory_consumer());
    text += &format!("\n{}", table(["bucket", "kept", "what"]));
    for bucket in topology::buckets() {
        text += &row([&code(&bucket.bucket), &days(bucket.max_age), &bucket.description]);
    }
    text += &row([&code(topology::ARTIFACTS_BUCKET), "for ever", "files of trials, an object store"]);
    text
}

fn consumer_row(stream: &str, consumer: &pull::Config) -> String {
    let single = Some(&consumer.filter_subject).filter(|filter| !filter.is_empty());
    let filters: Vec<String> =
        single.into_iter().chain(&consumer.filter_subjects).map(|filter| code(filter)).collect();
    let takes = if filters.is_empty() { "everything".to_owned() } else { filters.join(", ") };
    let name = code(consumer.durable_name.as_deref().unwrap_or_default());
    row([&name, &code(stream), &takes, consumer.description.as_deref().unwrap_or_default()])
}

fn days(age: Duration) -> String {
    match age.as_secs() / (24 * 3600) {
        0 => "for ever".to_owned(),
        days => format!("{days} days"),
    }
}
