//! The values one parameter may take: choices, whole numbers, or reals.
//!
//! Ranges are mapped to and from the unit interval, so that drawing and mutating are written once for all of them.
//! Drawn reals are rounded to six significant digits (more when the range is narrow): they stay readable, survive
//! any JSON reader, and do not depend on the last bit of a platform's logarithm.

use rand::{Rng, RngExt};
use serde_json::{Number, Value};

/// Digits a drawn real keeps.
const DIGITS: usize = 6;
/// Digits after which two doubles are told apart anyway.
const MAX_DIGITS: usize = 17;
/// Digits of a value on a stepped range: enough for any step, few enough that 0.1 * 3 reads 0.3.
const STEPPED_DIGITS: usize = 12;
/// Share of mutations that forget where they were; the rest stay near.
const JUMP_SHARE: f64 = 0.25;
/// How far a near mutation may go, as a share of the range.
const REACH: f64 = 0.3;
/// Attempts to mutate to another value nearby; only a range of few values needs more than one.
const MUTATION_ATTEMPTS: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Domain {
    /// Scalars, at least one, none twice.
    Choices(Vec<Value>),
    /// `low`, `low + step`, ... up to `high`.
    Integers { low: i64, high: i64, step: i64, log: bool },
    /// `low` to `high`, on a grid when there is a step.
    Reals { low: f64, high: f64, step: Option<f64>, log: bool },
}

impl Domain {
    /// Whether there is but one value.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Self::Choices(choices) => choices.len() == 1,
            Self::Integers { low, high, step, .. } => high - low < *step,
            Self::Reals { low, high, step: None, .. } => low == high,
            Self::Reals { low, high, step: Some(step), .. } => last_index(*low, *high, *step) == 0.0,
        }
    }

    pub(crate) fn contains(&self, value: &Value) -> bool {
        match self {
            Self::Choices(choices) => choices.contains(value),
            Self::Integers { low, high, step, .. } => {
                value.as_i64().is_some_and(|n| (*low..=*high).contains(&n) && (n - low) % step == 0)
            }
            Self::Reals { low, high, step, .. } => value.as_f64().is_some_and(|x| {
                let on_grid = step.is_none_or(|step| on_grid(*low, *high, step, x) == x);
                (*low..=*high).contains(&x) && on_grid
            }),
        }
    }

    /// Any value, evenly (over orders of magnitude when the range is logarithmic).
    pub(crate) fn random(&self, rng: &mut impl Rng) -> Value {
        match self {
            Self::Choices(choices) => choices[rng.random_range(0..choices.len())].clone(),
            Self::Integers { .. } | Self::Reals { .. } => self.at(rng.random()),
        }
    }

    /// Another value than `current`, near it more often than not where values have an order; `current` again
    /// when there is no other.
    pub(crate) fn mutate(&self, current: &Value, rng: &mut impl Rng) -> Value {
        if self.is_fixed() {
            return current.clone();
        }
        if let Self::Choices(choices) = self {
            let others = || choices.iter().filter(|choice| *choice != current);
            let chosen = rng.random_range(0..others().count());
            return others().nth(chosen).expect("drawn below the count").clone();
        }
        let position = self.position(current);
        for _ in 0..MUTATION_ATTEMPTS {
            let value = if rng.random_bool(JUMP_SHARE) {
                self.random(rng)
            } else {
                // The difference of two even draws: small steps are likelier than large ones.
                let step = (rng.random::<f64>() - rng.random::<f64>()) * REACH;
                self.at(reflect(position + step))
            };
            if value != *current {
                return value;
            }
        }
        // Near misses all the way: one of the ends is another value.
        let low = self.at(0.0);
        if low == *current { self.at(1.0) } else { low }
    }

    /// The value at `unit` in `0..=1`. Choices have no order and are never asked.
    fn at(&self, unit: f64) -> Value {
        match self {
            Self::Choices(choices) => choices[0].clone(),
            Self::Integers { low, high, step, log } => {
                let steps = (high - low) / step;
                let raw = if *log {
                    // Up to high + 1 and down to the whole number below: every value gets its share.
                    between_logs(*low as f64, (*high + 1) as f64, unit) - *low as f64
                } else {
                    unit * (steps as f64 + 1.0) * *step as f64
                };
                let index = ((raw / *step as f64).floor() as i64).clamp(0, steps);
                Value::from(low + index * step)
            }
            Self::Reals { low, high, step, log } => {
                let raw = if *log { between_logs(*low, *high, unit) } else { low + unit * (high - low) };
                let value = match step {
                    Some(step) if *log => on_grid(*low, *high, *step, raw),
                    Some(step) => {
                        let last = last_index(*low, *high, *step);
                        grid_value(*low, *high, *step, (unit * (last + 1.0)).floor().min(last))
                    }
                    None => round(raw, digits(*low, *high)).clamp(*low, *high),
                };
                Number::from_f64(value).map(Value::Number).expect("a value between finite bounds is finite")
            }
        }
    }

    /// Where a value lies in `0..=1`; the middle for one that is no number.
    fn position(&self, value: &Value) -> f64 {
        let Some(x) = value.as_f64() else { return 0.5 };
        let unit = match self {
            Self::Choices(_) => 0.5,
            Self::Integers { low, high, log: true, .. } => {
                log_position(*low as f64, (*high + 1) as f64, x + 0.5)
            }
            Self::Integers { low, high, step, log: false } => {
                (x - *low as f64 + 0.5 * *step as f64) / ((high - low) as f64 + *step as f64)
            }
            Self::Reals { low, high, log: true, .. } => log_position(*low, *high, x),
            Self::Reals { low, high, .. } => (x - low) / (high - low),
        };
        unit.clamp(0.0, 1.0)
    }
}

fn between_logs(low: f64, high: f64, unit: f64) -> f64 {
    (low.ln() + unit * (high.ln() - low.ln())).exp()
}

fn log_position(low: f64, high: f64, x: f64) -> f64 {
    (x.ln() - low.ln()) / (high.ln() - low.ln())
}

/// Back into the unit interval, as if its ends were mirrors.
fn reflect(unit: f64) -> f64 {
    let unit = unit.abs();
    if unit > 1.0 { (2.0 - unit).max(0.0) } else { unit }
}

/// The number of the last grid point; the tolerance forgives 0.3 / 0.1 = 2.9999999999999996.
fn last_index(low: f64, high: f64, step: f64) -> f64 {
    ((high - low) / step + 1e-9).floor()
}

fn grid_value(low: f64, high: f64, step: f64, index: f64) -> f64 {
    round(low + index * step, STEPPED_DIGITS.max(digits(low, high))).clamp(low, high)
}

/// The grid point nearest to `x`.
fn on_grid(low: f64, high: f64, step: f64, x: f64) -> f64 {
    let index = ((x - low) / step).round().clamp(0.0, last_index(low, high, step));
    grid_value(low, high, step, index)
}

/// Significant digits that keep the values of a range apart, also when it is narrow and far from zero.
fn digits(low: f64, high: f64) -> usize {
    let narrowness = low.abs().max(high.abs()) / (high - low);
    let extra =
        if narrowness.is_finite() { narrowness.log10().floor().max(0.0) as usize } else { MAX_DIGITS };
    DIGITS.saturating_add(extra).min(MAX_DIGITS)
}

fn round(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits - 1).parse().expect("a formatted number is a number")
}

#[cfg(test)]
mod tests;
