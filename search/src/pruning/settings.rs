//! How pruning is asked for: `parameters.pruner` of a request.

use serde_json::{Map, Value};

use super::median::MAX_PEERS;
use crate::nearest::nearest;
use crate::settings::{SettingError, error};
use crate::space::{describe, key_path};

/// The names a request may use.
pub const PRUNERS: &[&str] = &["none", "median", "halving"];

const PATH: &str = "parameters.pruner";
/// The largest step a setting may name.
const MAX_STEP: u32 = 1_000_000_000;
/// Largest `reduction_factor`.
const MAX_FACTOR: u32 = 100;
/// Largest `min_early_stopping_rate`.
const MAX_RATE: u32 = 20;

/// Which trials are stopped early.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PruningSettings {
    /// None.
    #[default]
    None,
    /// Those that are worse than the median of the trials before.
    Median(MedianPruner),
    /// Those that are not among the best part of the trials that came as far.
    Halving(HalvingPruner),
}

/// The median stopping rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MedianPruner {
    /// Nobody is pruned at a step that fewer visible trials have reported at or before.
    pub startup_trials: u32,
    /// Nobody is pruned at a step below.
    pub warmup_steps: u32,
    /// Steps from one check to the next, counted from `warmup_steps`; a check on a step without report is made up for
    /// at the next report.
    pub interval_steps: u32,
}

impl Default for MedianPruner {
    fn default() -> Self {
        Self { startup_trials: 5, warmup_steps: 0, interval_steps: 1 }
    }
}

/// Asynchronous successive halving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalvingPruner {
    /// Step of the first rung, unless `min_early_stopping_rate` moves it.
    pub min_resource: u32,
    /// One in so many goes on at each rung, and the next rung is so many times as far.
    pub reduction_factor: u32,
    /// How many rungs are left out at the beginning.
    pub min_early_stopping_rate: u32,
}

impl Default for HalvingPruner {
    fn default() -> Self {
        Self { min_resource: 1, reduction_factor: 3, min_early_stopping_rate: 0 }
    }
}

impl PruningSettings {
    /// The pruning a request asks for: in its free-form `parameters`, `pruner` is one of [`PRUNERS`] or an object of a
    /// `name` and the fields of [`MedianPruner`] or [`HalvingPruner`]; what is left out keeps its default. The result is
    /// validated.
    ///
    /// # Errors
    /// An unknown name or key, or a value outside its limits.
    pub fn from_request(parameters: &Value) -> Result<Self, SettingError> {
        let settings = match parameters.get("pruner") {
            None | Some(Value::Null) => Self::None,
            Some(Value::Object(fields)) => Self::from_fields(fields)?,
            Some(name) => Self::named(PATH, name)?,
        };
        settings.validate()?;
        Ok(settings)
    }

    /// Whether anything can be pruned.
    pub fn is_active(&self) -> bool {
        *self != Self::None
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// The first value outside its limits.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.clone().fields().iter().try_for_each(Field::check)
    }

    fn named(path: &str, name: &Value) -> Result<Self, SettingError> {
        match name.as_str() {
            Some("none") => Ok(Self::None),
            Some("median") => Ok(Self::Median(MedianPruner::default())),
            Some("halving") => Ok(Self::Halving(HalvingPruner::default())),
            other => {
                let expected = match path {
                    PATH => format!("one of {}, or an object with such a name", PRUNERS.join(", ")),
                    _ => format!("one of {}", PRUNERS.join(", ")),
                };
                let help = match other.and_then(|name| nearest(name, PRUNERS)) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => r#"such as "median", or {"name": "median", "startup_trials": 5}"#.to_owned(),
                };
                Err(error(path, expected, describe(name), help))
            }
        }
    }

    fn from_fields(fields: &Map<String, Value>) -> Result<Self, SettingError> {
        let name = fields.get("name").unwrap_or(&Value::Null);
        let mut settings = Self::named(&format!("{PATH}.name"), name)?;
        for (key, value) in fields.iter().filter(|(key, _)| *key != "name") {
            let mut known = settings.fields();
            let Some(field) = known.iter_mut().find(|field| field.name == key) else {
                let names: Vec<&str> = known.iter().map(|field| field.name).collect();
                return Err(unknown_key(key, &names));
            };
            if !value.is_null() {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                *field.value = number.ok_or_else(|| field.refuse(describe(value)))?;
            }
        }
        Ok(settings)
    }

    fn fields(&mut self) -> Vec<Field<'_>> {
        match self {
            Self::None => Vec::new(),
            Self::Median(MedianPruner { startup_trials, warmup_steps, interval_steps }) => vec![
                Field { name: "startup_trials", value: startup_trials, low: 0, high: MAX_PEERS },
                Field { name: "warmup_steps", value: warmup_steps, low: 0, high: MAX_STEP },
                Field { name: "interval_steps", value: interval_steps, low: 1, high: MAX_STEP },
            ],
            Self::Halving(HalvingPruner { min_resource, reduction_factor, min_early_stopping_rate }) => vec![
                Field { name: "min_resource", value: min_resource, low: 1, high: MAX_STEP },
                Field { name: "reduction_factor", value: reduction_factor, low: 2, high: MAX_FACTOR },
                Field {
                    name: "min_early_stopping_rate",
                    value: min_early_stopping_rate,
                    low: 0,
                    high: MAX_RATE,
                },
            ],
        }
    }
}

/// A number of a pruner, by the name it has in a request, and its limits.
struct Field<'a> {
    name: &'static str,
    value: &'a mut u32,
    low: u32,
    high: u32,
}

impl Field<'_> {
    fn check(&self) -> Result<(), SettingError> {
        if (self.low..=self.high).contains(self.value) {
            return Ok(());
        }
        Err(self.refuse(self.value.to_string()))
    }

    fn refuse(&self, found: String) -> SettingError {
        let expected = format!("an integer from {} to {}", self.low, self.high);
        error(format!("{PATH}.{}", self.name), expected, found, "leave it out for its default")
    }
}

fn unknown_key(key: &str, known: &[&str]) -> SettingError {
    let (expected, help) = match (known, nearest(key, known)) {
        ([], _) => {
            ("nothing beside the name".to_owned(), r#"name another pruner, such as "median""#.to_owned())
        }
        (_, Some(name)) => (format!("one of {}", known.join(", ")), format!("did you mean {name:?}?")),
        (_, None) => (format!("one of {}", known.join(", ")), "remove it".to_owned()),
    };
    error(key_path(PATH, key), expected, "an unknown key", help)
}
