//! Ranges: `{"low": 1, "high": 9, "log": true, "step": 2, "type": "int"}`, checked field by field.

use serde_json::{Map, Value};

use super::Domain;
use super::error::{SpaceError, describe, key_path};
use crate::nearest::nearest;

const KEYS: &[&str] = &["low", "high", "log", "step", "type"];

/// Integers beyond this change when a JSON reader keeps numbers as doubles.
const MAX_INTEGER: i64 = 1 << 53;

const RANGE_HELP: &str =
    r#"a range is {"low": 0.0001, "high": 0.1}, with "log", "step" and "type" if wanted"#;

pub(super) fn parse_range(path: &str, fields: &Map<String, Value>) -> Result<Domain, SpaceError> {
    if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let help = suggestion(key).map_or(RANGE_HELP.to_owned(), |known| format!("did you mean {known:?}?"));
        let expected = format!("one of {}", KEYS.join(", "));
        return Err(SpaceError::new(key_path(path, key), expected, "an unknown key", help));
    }
    let log = match fields.get("log") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(log)) => *log,
        Some(other) => {
            let help = "true draws evenly over orders of magnitude";
            return Err(SpaceError::new(key_path(path, "log"), "true or false", describe(other), help));
        }
    };
    let low = required_number(path, fields, "low")?;
    let high = required_number(path, fields, "high")?;
    let step = match fields.get("step") {
        None | Some(Value::Null) => None,
        Some(_) => Some(required_number(path, fields, "step")?),
    };
    if is_integral(path, fields, low, high, step)? {
        integers(path, low, high, step, log)
    } else {
        reals(path, low, high, step, log)
    }
}

fn suggestion(key: &str) -> Option<&'static str> {
    match key {
        "lo" | "min" | "minimum" | "from" => Some("low"),
        "hi" | "max" | "maximum" | "to" => Some("high"),
        _ => nearest(key, KEYS),
    }
}

fn required_number<'a>(
    path: &str,
    fields: &'a Map<String, Value>,
    key: &str,
) -> Result<&'a Value, SpaceError> {
    match fields.get(key) {
        Some(value) if value.as_f64().is_some_and(f64::is_finite) => Ok(value),
        Some(other) => Err(SpaceError::new(key_path(path, key), "a number", describe(other), RANGE_HELP)),
        None => Err(SpaceError::new(key_path(path, key), "a number", "nothing", RANGE_HELP)),
    }
}

/// What `type` says; without it, whole when every bound is written as an integer.
fn is_integral(
    path: &str,
    fields: &Map<String, Value>,
    low: &Value,
    high: &Value,
    step: Option<&Value>,
) -> Result<bool, SpaceError> {
    match fields.get("type") {
        None | Some(Value::Null) => Ok([Some(low), Some(high), step].into_iter().flatten().all(is_integer)),
        Some(Value::String(kind)) if kind == "int" => Ok(true),
        Some(Value::String(kind)) if kind == "float" => Ok(false),
        Some(other) => {
            let help = "leave it out: bounds written as integers make an integer range";
            Err(SpaceError::new(key_path(path, "type"), r#""int" or "float""#, describe(other), help))
        }
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn integers(
    path: &str,
    low: &Value,
    high: &Value,
    step: Option<&Value>,
    log: bool,
) -> Result<Domain, SpaceError> {
    let whole = |key: &str, value: &Value| {
        value.as_i64().filter(|n| (-MAX_INTEGER..=MAX_INTEGER).contains(n)).ok_or_else(|| {
            let help = r#"write "type": "float" for fractions; whole bounds stay within 2^53"#;
            SpaceError::new(key_path(path, key), "an integer", describe(value), help)
        })
    };
    let (low, high) = (whole("low", low)?, whole("high", high)?);
    let step = step.map_or(Ok(1), |step| whole("step", step))?;
    if low > high {
        return Err(low_above_high(path, &low.to_string(), &high.to_string()));
    }
    if log && low < 1 {
        return Err(log_from_zero(path, "at least 1", &low.to_string()));
    }
    if step < 1 {
        return Err(step_not_positive(path, &step.to_string()));
    }
    Ok(Domain::Integers { low, high, step, log })
}

fn reals(
    path: &str,
    low: &Value,
    high: &Value,
    step: Option<&Value>,
    log: bool,
) -> Result<Domain, SpaceError> {
    let real = |value: &Value| value.as_f64().expect("a bound was checked to be a finite number");
    let (low, high, step) = (real(low), real(high), step.map(real));
    if low > high {
        return Err(low_above_high(path, &low.to_string(), &high.to_string()));
    }
    if !(high - low).is_finite() {
        let found = format!("a span of {low:e} to {high:e}");
        return Err(SpaceError::new(path, "a span that is a finite number", found, "narrow the range"));
    }
    if log && low <= 0.0 {
        return Err(log_from_zero(path, "above 0", &low.to_string()));
    }
    match step {
        Some(step) if step <= 0.0 => return Err(step_not_positive(path, &step.to_string())),
        Some(step) if (high - low) / step > MAX_INTEGER as f64 => {
            let help = "leave the step out";
            return Err(SpaceError::new(
                key_path(path, "step"),
                "at most 2^53 steps",
                step.to_string(),
                help,
            ));
        }
        Some(_) | None => {}
    }
    Ok(Domain::Reals { low, high, step, log })
}

fn low_above_high(path: &str, low: &str, high: &str) -> SpaceError {
    SpaceError::new(path, "low at most high", format!("low {low} above high {high}"), "swap the bounds")
}

fn log_from_zero(path: &str, expected: &str, low: &str) -> SpaceError {
    let help = "a logarithmic range needs a positive lower bound; raise low or drop log";
    SpaceError::new(key_path(path, "low"), format!("a number {expected}"), low, help)
}

fn step_not_positive(path: &str, step: &str) -> SpaceError {
    SpaceError::new(
        key_path(path, "step"),
        "a number above 0",
        step,
        "leave the step out for every value between",
    )
}
