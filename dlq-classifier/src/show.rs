//! `show`: one dead letter. `--raw` writes the original bytes and nothing else; everything else makes them harmless.

mod payload;

use std::io::{self, Write};

use schemas::cloudevents::Headers;
use schemas::dead_letter::original_headers;
use serde::Serialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::plain_text;

use crate::book::Mark;
use crate::cli::Common;
use crate::entry::Entry;
use crate::queue::Queue;
use crate::selection::find;
use payload::Payload;

/// Longest header value shown to people; JSON has all of it.
const SHOWN_VALUE: usize = 300;

/// One dead letter, whole.
#[derive(Debug, Serialize)]
struct Letter<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    headers: Vec<(&'a str, &'a str)>,
    payload: Payload,
    operations: &'a [Mark],
}

pub(crate) async fn run(id: &str, is_raw: bool, common: &Common) -> Result<Exit, CliError> {
    let queue = Queue::open(&common.broker).await?;
    let book = queue.read(&[id.to_owned()]).await?;
    let entry = find(&book, id)?;
    let kept = queue.letter(entry).await?;
    let entry = &entry.clone().with_run_of(&kept);
    let printer = common.output.printer();
    if is_raw {
        printer.raw(&kept.payload)?;
        return Ok(Exit::Done);
    }
    let headers: Headers = original_headers(&kept.headers);
    let letter = Letter {
        entry,
        headers: headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        payload: Payload::read(&entry.subject, &headers, &kept.payload, kept.schema.as_deref()),
        operations: book.marks(&entry.id),
    };
    printer.object(&letter, |out| letter.write(out))?;
    Ok(Exit::Done)
}

impl Letter<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let entry = self.entry;
        let mut line =
            |name: &str, value: &str| writeln!(out, "{name:<12} {}", plain_text::one_line(value, 2000));
        line("id", &entry.id)?;
        line("state", entry.state.as_str())?;
        line("class", entry.class.as_str())?;
        line("stage", entry.stage.as_str())?;
        line("reason", &entry.reason)?;
        line("fingerprint", &entry.fingerprint)?;
        line("subject", &entry.subject)?;
        line("stream", &format!("{} sequence {}", entry.stream, entry.seq))?;
        line("consumer", &format!("{}, delivery {}", entry.consumer, entry.deliveries))?;
        line("run", entry.run_id.as_deref().unwrap_or("-"))?;
        line("first seen", &entry.first_seen.to_string())?;
        line("given up", &entry.seen.to_string())?;
        line("replays", &entry.replays.to_string())?;
        for mark in self.operations {
            let place = mark.replay.as_ref().map_or_else(String::new, |replay| {
                let edited = if replay.edited { ", edited" } else { "" };
                let run = replay
                    .named_run
                    .as_ref()
                    .map_or_else(String::new, |run| format!(", naming its run {run}"));
                format!(" to {} as sequence {}{edited}{run}", replay.subject, replay.sequence)
            });
            let reason = mark.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            line(mark.operation.as_str(), &format!("{} by {}{place}{reason}", mark.at, mark.actor))?;
        }
        writeln!(out, "\nheaders ({})", self.headers.len())?;
        for (name, value) in &self.headers {
            let (name, value) = (plain_text::one_line(name, 100), plain_text::one_line(value, SHOWN_VALUE));
            writeln!(out, "  {name}: {value}")?;
        }
        writeln!(out, "\npayload ({} bytes, {})", entry.bytes, self.payload.kind())?;
        self.payload.write(out)
    }
}
