//! From the request's JSON to a space: which of the dialects was used, and whether it makes sense.
//!
//! A fault is reported at the key the sender wrote, not at the name we use for it.

use serde_json::{Map, Value};

use super::defaults::{TRAINERS, default_space};
use super::error::{SpaceError, describe, key_path};
use super::values::{Count, parse_counts, parse_domain};
use super::{Domain, LAYERS, LayerSpace, SearchSpace};

const ROOT: &str = "search_space";

/// Parameters of one space. Real spaces have a dozen; the limit keeps a candidate well inside one event.
const MAX_PARAMETERS: usize = 64;
/// Characters of a parameter's name: what MLflow takes as a key.
const MAX_NAME_CHARS: usize = 250;
/// Neurons of one layer.
const SIZE: Count = Count {
    what: "a layer size",
    max: 65_536,
    help: r#"sizes alone: {"layers": [64, 128]}; depths and sizes: {"layers": [1, 2], "neurons": [64, 128]}"#,
};
/// Hidden layers of one candidate.
const DEPTH: Count = Count {
    what: "a number of layers",
    max: 32,
    help: r#"depths are in "depth", or in "layers" when "neurons" lists the sizes"#,
};
/// Numbers of hidden layers tried when the space lists sizes only.
const DEFAULT_DEPTHS: std::ops::RangeInclusive<usize> = 1..=3;

pub(super) fn parse(value: &Value, trainer: &str) -> Result<SearchSpace, SpaceError> {
    match value {
        Value::Null => parse_default(trainer, "null"),
        Value::Object(fields) if fields.is_empty() => parse_default(trainer, "an empty object"),
        Value::Object(fields) => parse_fields(fields),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let help = r#"for example {"layers": [64, 128], "activation": ["relu", "tanh"]}"#;
            Err(SpaceError::new(ROOT, "an object", describe(value), help))
        }
    }
}

fn parse_default(trainer: &str, found: &str) -> Result<SearchSpace, SpaceError> {
    let Some(Value::Object(fields)) = default_space(trainer) else {
        let name = describe(&Value::from(trainer));
        let expected = format!("a space, because the trainer {name} has no default one");
        let help =
            format!("list its parameters; only the trainers {} have a default space", TRAINERS.join(", "));
        return Err(SpaceError::new(ROOT, expected, found, help));
    };
    parse_fields(&fields)
}

fn parse_fields(fields: &Map<String, Value>) -> Result<SearchSpace, SpaceError> {
    if fields.len() > MAX_PARAMETERS {
        let expected = format!("at most {MAX_PARAMETERS} parameters");
        return Err(SpaceError::new(
            ROOT,
            expected,
            fields.len().to_string(),
            "search fewer parameters at once",
        ));
    }
    let keys = LayerKeys::find(fields)?;
    let layers = keys.sizes.map(|sizes| parse_layers(fields, sizes, keys.depths)).transpose()?;
    refuse_both(fields, "activation", "activations")?;

    let mut parameters = Vec::with_capacity(fields.len());
    for (key, value) in fields.iter().filter(|(key, _)| !keys.has(key)) {
        let path = key_path(ROOT, key);
        check_name(key, &path)?;
        let domain = parse_domain(&path, value)?;
        let name = if key == "activations" { "activation" } else { key };
        if name == "activation" {
            check_activation(&path, &domain, value)?;
        }
        parameters.push((name.to_owned(), domain));
    }
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(SearchSpace { layers, parameters })
}

/// Which keys describe the layers.
struct LayerKeys {
    sizes: Option<&'static str>,
    depths: Option<&'static str>,
}

impl LayerKeys {
    fn find(fields: &Map<String, Value>) -> Result<Self, SpaceError> {
        refuse_both(fields, LAYERS, "layer_sizes")?;
        refuse_both(fields, "layer_sizes", "neurons")?;
        let has = |key: &str| fields.contains_key(key);
        let depth = has("depth").then_some("depth");
        Ok(match (has(LAYERS), has("layer_sizes"), has("neurons")) {
            (true, _, true) => {
                refuse_both(fields, LAYERS, "depth")?;
                Self { sizes: Some("neurons"), depths: Some(LAYERS) }
            }
            (true, _, false) => Self { sizes: Some(LAYERS), depths: depth },
            (false, true, _) => Self { sizes: Some("layer_sizes"), depths: depth },
            (false, false, true) => Self { sizes: Some("neurons"), depths: depth },
            // Without layers, `depth` is a parameter like any other (a tree has one too).
            (false, false, false) => Self { sizes: None, depths: None },
        })
    }

    fn has(&self, key: &str) -> bool {
        self.sizes == Some(key) || self.depths == Some(key)
    }
}

fn refuse_both(fields: &Map<String, Value>, one: &str, other: &str) -> Result<(), SpaceError> {
    if fields.contains_key(one) && fields.contains_key(other) {
        let expected = format!("either {one:?} or {other:?}");
        let help = if one == "activation" { "keep one of the two" } else { SIZE.help };
        return Err(SpaceError::new(key_path(ROOT, other), expected, "both", help));
    }
    Ok(())
}

fn parse_layers(
    fields: &Map<String, Value>,
    sizes: &str,
    depths: Option<&str>,
) -> Result<LayerSpace, SpaceError> {
    let sizes = parse_counts(&key_path(ROOT, sizes), &fields[sizes], &SIZE)?;
    let depths = match depths {
        None => DEFAULT_DEPTHS.collect(),
        Some(key) => {
            let domain = parse_counts(&key_path(ROOT, key), &fields[key], &DEPTH)?;
            let allowed = (1..=DEPTH.max).filter(|depth| domain.contains(&Value::from(*depth)));
            allowed.map(|depth| usize::try_from(depth).expect("a depth is small and positive")).collect()
        }
    };
    Ok(LayerSpace { sizes, depths })
}

fn check_name(name: &str, path: &str) -> Result<(), SpaceError> {
    let length = name.chars().count();
    if (1..=MAX_NAME_CHARS).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let expected = format!("a parameter name of 1 to {MAX_NAME_CHARS} printable characters");
    Err(SpaceError::new(path, expected, format!("a name of {length} characters"), "rename the parameter"))
}

fn check_activation(path: &str, domain: &Domain, value: &Value) -> Result<(), SpaceError> {
    let named = match domain {
        Domain::Choices(choices) => choices.iter().all(Value::is_string),
        Domain::Integers { .. } | Domain::Reals { .. } => false,
    };
    if named {
        return Ok(());
    }
    Err(SpaceError::new(
        path,
        "names of activation functions",
        describe(value),
        r#"for example ["relu", "tanh"]"#,
    ))
}
