//! The process an expression is evaluated in: one that loops can be ended, and one that builds without end takes nobody
//! along.
//!
//! It is this same program, called with a word of its own, and lives as long as there is something to evaluate. A request
//! is two lines of JSON, the expression and its input; the answer is one, the error or nothing, and with nothing a second,
//! the result. It bounds itself, in time and memory, so that nothing is left when whoever asked was killed.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schemas::codec::MAX_EVENT_BYTES;
use serde_json::Value;

use super::{JqError, LONGEST, MAX_MEMORY_BYTES, evaluate};

/// The word by which the program is called for this.
const WORD: &str = "evaluate-an-edit";
/// How long an answer may take, with the start of the process.
const ANSWER_WITHIN: Duration = LONGEST.saturating_add(Duration::from_secs(5));
/// How long the process waits for the next request; a bulk action asks all the time.
const IDLE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 2 * MAX_EVENT_BYTES as u64;

/// What is kept between two requests.
static CHILD: Mutex<Option<Child>> = Mutex::new(None);

/// Evaluates for another process, if the program was called for that; its exit code when it is done.
pub fn take_over() -> Option<ExitCode> {
    let is_called = std::env::args_os().nth(1).is_some_and(|word| word == WORD);
    is_called.then(|| serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

fn serve() -> io::Result<()> {
    let (sender, requests) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut lines = io::stdin().lock().lines().map_while(Result::ok);
        while let (Some(expression), Some(input)) = (lines.next(), lines.next()) {
            if sender.send((expression, input)).is_err() {
                return;
            }
        }
    });
    let mut out = io::stdout().lock();
    while let Ok((expression, input)) = requests.recv_timeout(IDLE) {
        let result = answer(&expression, &input);
        let error = result.as_ref().err();
        serde_json::to_writer(&mut out, &error)?;
        out.write_all(b"\n")?;
        if let Ok(text) = &result {
            out.write_all(text.as_bytes())?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        if matches!(error, Some(JqError::TooSlow | JqError::TooLarge)) {
            // With whatever still runs.
            std::process::exit(0);
        }
    }
    Ok(())
}

fn answer(expression: &str, input: &str) -> Result<String, JqError> {
    let broken = |error: serde_json::Error| JqError::Failed(error.to_string());
    let expression: String = serde_json::from_str(expression).map_err(broken)?;
    let input: Value = serde_json::from_str(input).map_err(broken)?;
    let text = evaluate(&expression, input, Some(MAX_MEMORY_BYTES))?.to_string();
    if text.len() > MAX_EVENT_BYTES {
        return Err(JqError::Failed(format!("the result has {} bytes, more than any event", text.len())));
    }
    Ok(text)
}

/// Evaluates an expression in the process.
pub(super) fn run(expression: &str, input: &Value) -> Result<Value, JqError> {
    let request = format!("{}\n{input}\n", Value::from(expression));
    let mut child = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
    // One that was kept may have ended of its own accord meanwhile.
    for known in [child.take(), None] {
        let is_new = known.is_none();
        let mut asked = match known {
            Some(known) => known,
            None => Child::start()
                .map_err(|error| JqError::Failed(format!("no process to run it in: {error}")))?,
        };
        match asked.ask(&request) {
            Some(answer) => {
                if !matches!(answer, Err(JqError::TooSlow | JqError::TooLarge)) {
                    *child = Some(asked);
                }
                return answer;
            }
            None if is_new => break,
            None => {}
        }
    }
    Err(JqError::Failed("the interpreter broke down".to_owned()))
}

struct Child {
    process: std::process::Child,
    input: ChildStdin,
    answers: Receiver<Result<Value, JqError>>,
}

impl Child {
    fn start() -> io::Result<Self> {
        let ours = Path::new("/proc/self/exe");
        let program = if ours.exists() { ours.to_owned() } else { std::env::current_exe()? };
        let mut command = Command::new(program);
        // In a group of its own: what interrupts a person's command does not make an edit fail.
        command.arg(WORD).env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let missing = || io::Error::other("it has no pipes");
        let input = process.stdin.take().ok_or_else(missing)?;
        let mut output = BufReader::new(process.stdout.take().ok_or_else(missing)?);
        let (sender, answers) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            while let Some(answer) = read(&mut output) {
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, input, answers })
    }

    /// Its answer; `None` when it has ended, or hangs.
    fn ask(&mut self, request: &str) -> Option<Result<Value, JqError>> {
        self.input.write_all(request.as_bytes()).and_then(|()| self.input.flush()).ok()?;
        self.answers.recv_timeout(ANSWER_WITHIN).ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended; the wait is for its remains.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(output: &mut impl BufRead) -> Option<Result<Value, JqError>> {
    let mut line = || {
        let mut text = String::new();
        output.take(MAX_ANSWER).read_line(&mut text).ok().filter(|_| text.ends_with('\n'))?;
        Some(text)
    };
    let error: Option<JqError> = serde_json::from_str(&line()?).ok()?;
    if let Some(error) = error {
        return Some(Err(error));
    }
    let result = serde_json::from_str(&line()?);
    Some(result.map_err(|error| JqError::Failed(format!("the result cannot be read: {error}"))))
}
