//! jq expressions, bounded: two seconds of work, 128 MiB, one result, no deeper than our own decoder reads, no environment.
//!
//! Definitions (`def`) are refused: a definition that calls itself can outgrow any stack, and an outgrown stack ends the
//! whole program. What is left cannot recurse deeper than the values it is given, except by nesting a value millions
//! deep on purpose.
//!
//! The interpreter runs in a process of its own ([`child`]), because an expression may loop or build for ever, and neither
//! a thread nor what it has allocated can be taken away. In there it runs on a thread that is watched. A bulk action ends
//! at the first expression that passes a bound.

mod child;
mod watched;

use std::time::Duration;

pub use child::take_over;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data};
use jaq_json::{Num, Val};
use schemas::failure::bounded_head;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use watched::on_a_thread;

/// How long an expression may be at work. Edits of half a megabyte take milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long it may take on a machine that has no time for it.
const LONGEST: Duration = Duration::from_secs(10);
/// How much memory it may take. Edits of half a megabyte take a few.
const MAX_MEMORY_BYTES: u64 = 128 << 20;
/// Deepest result; what our decoder reads, too.
const MAX_DEPTH: usize = 128;
/// Most values in a result: an event of the largest size cannot hold more.
const MAX_VALUES: usize = schemas::codec::MAX_EVENT_BYTES;
/// Functions that look outside of the payload; an edit that works today works tomorrow and on another machine.
const FOREIGN: [&str; 2] = ["env", "now"];

/// Why an expression gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JqError {
    /// It is not jq, or uses what is not there.
    #[error("{0}")]
    Syntax(String),
    /// It failed on this payload.
    #[error("the expression failed: {0}")]
    Failed(String),
    /// It gave nothing.
    #[error("the expression gave no result; expected exactly one")]
    Nothing,
    /// It gave more than one result.
    #[error("the expression gave more than one result; expected exactly one")]
    Several,
    /// It took too long.
    #[error("the expression took longer than {} s", DEADLINE.as_secs())]
    TooSlow,
    /// It took too much memory.
    #[error("the expression took more than {} MiB of memory", MAX_MEMORY_BYTES >> 20)]
    TooLarge,
}

impl JqError {
    /// True when the same is to be expected of the next payload, too.
    pub fn is_of_the_expression(&self) -> bool {
        match self {
            Self::TooSlow | Self::TooLarge | Self::Syntax(_) => true,
            Self::Failed(_) | Self::Nothing | Self::Several => false,
        }
    }
}

/// Checks that an expression can be run at all.
pub fn check(expression: &str) -> Result<(), JqError> {
    let expression = expression.to_owned();
    on_a_thread(None, move || with_program(&expression, |_| Ok(())))
}

/// Runs an expression on a value, in a process of its own. Tests of this module have no program to start, and run it here.
pub fn run(expression: &str, input: Value) -> Result<Value, JqError> {
    if cfg!(test) { evaluate(expression, input, None) } else { child::run(expression, &input) }
}

/// Runs an expression here; what the process may grow by meanwhile is bounded where it does nothing else.
fn evaluate(expression: &str, input: Value, max_bytes: Option<u64>) -> Result<Value, JqError> {
    let expression = expression.to_owned();
    on_a_thread(max_bytes, move || {
        with_program(&expression, |filter| {
            let input =
                serde_json::from_value::<Val>(input).map_err(|error| JqError::Failed(error.to_string()))?;
            let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
            let mut results = filter.id.run((context, input));
            // Not through the library's `unwrap_valr`: that one ends the process when the expression says `halt`.
            let first = results.next().ok_or(JqError::Nothing)?.map_err(|exception| {
                let reason =
                    exception.get_err().map_or_else(|_| "it halted".to_owned(), |error| error.to_string());
                JqError::Failed(bounded_head(&reason, 500))
            })?;
            if results.next().is_some() {
                return Err(JqError::Several);
            }
            let mut room = MAX_VALUES;
            // Dropping a value recurses as deep as it is nested; one that is too deep to be written is left alone.
            to_json(&first, MAX_DEPTH, &mut room).inspect_err(|_| std::mem::forget(first))
        })
    })
}

/// True for `def` as a word before another, wherever it stands: an expression that only quotes one is refused as well.
fn has_definition(expression: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.' | '$');
    expression.match_indices("def").any(|(at, word)| {
        let before = expression[..at].chars().next_back();
        let after = expression[at + word.len()..].chars().next();
        !before.is_some_and(is_word)
            && after.is_some_and(|character| character.is_whitespace() || character == '#')
    })
}

type Program = jaq_core::Filter<data::JustLut<Val>>;

fn with_program<T>(
    expression: &str,
    then: impl FnOnce(&Program) -> Result<T, JqError>,
) -> Result<T, JqError> {
    if has_definition(expression) {
        return Err(JqError::Syntax("definitions (`def`) are not supported in an edit".to_owned()));
    }
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let functions = functions.filter(|(name, ..)| !FOREIGN.contains(name));
    let arena = Arena::default();
    let program = File { code: expression, path: () };
    let modules = Loader::new(definitions).load(&arena, program).map_err(|errors| syntax(&errors))?;
    let filter = Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let undefined = errors.iter().flat_map(|(_, names)| names);
        let names: Vec<_> =
            undefined.map(|(name, what)| format!("unknown {} `{name}`", what.as_str())).collect();
        JqError::Syntax(names.join(", "))
    })?;
    then(&filter)
}

fn syntax(errors: &jaq_core::load::Errors<&str, ()>) -> JqError {
    use jaq_core::load::Error;
    let near = |rest: &str| match rest.trim() {
        "" => "at its end".to_owned(),
        rest => format!("near `{}`", bounded_head(rest, 60)),
    };
    let texts = errors.iter().flat_map(|(_, error)| match error {
        Error::Io(modules) => modules.iter().map(|(path, why)| format!("module `{path}`: {why}")).collect(),
        Error::Lex(errors) => errors
            .iter()
            .map(|(what, at)| format!("expected {} {}", what.as_str(), near(at)))
            .collect::<Vec<_>>(),
        Error::Parse(errors) => {
            errors.iter().map(|(what, at)| format!("expected {} {}", what.as_str(), near(at))).collect()
        }
    });
    JqError::Syntax(texts.collect::<Vec<_>>().join(", "))
}

/// jq knows more than JSON: bytes, keys that are no strings, numbers that are none.
fn to_json(value: &Val, depth: usize, room: &mut usize) -> Result<Value, JqError> {
    let unfit = |what: &str| JqError::Failed(format!("the result {what}"));
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| unfit("holds text that is not UTF-8"));
    *room = room.checked_sub(1).ok_or_else(|| unfit("is larger than any event"))?;
    let depth =
        depth.checked_sub(1).ok_or_else(|| unfit(&format!("is nested more than {MAX_DEPTH} deep")))?;
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(truth) => Value::Bool(*truth),
        Val::Num(number) => {
            Value::Number(to_number(number).ok_or_else(|| unfit("holds a number JSON cannot write"))?)
        }
        Val::TStr(bytes) => Value::String(text(bytes)?),
        Val::BStr(_) => return Err(unfit("holds bytes that are no text")),
        Val::Arr(values) => {
            values.iter().map(|value| to_json(value, depth, room)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Val::Obj(members) => {
            let mut object = Map::new();
            for (name, member) in members.iter() {
                let Val::TStr(name) = name else { return Err(unfit("has a key that is no string")) };
                object.insert(text(name)?, to_json(member, depth, room)?);
            }
            Value::Object(object)
        }
    })
}

fn to_number(number: &Num) -> Option<Number> {
    match number {
        Num::Int(number) => Some(Number::from(*number)),
        Num::Float(number) => Number::from_f64(*number),
        // Written out in decimal; what JSON's own reader makes of it is what every reader of the event would.
        Num::BigInt(_) | Num::Dec(_) => serde_json::from_str(&number.to_string()).ok(),
    }
}

#[cfg(test)]
mod tests;
