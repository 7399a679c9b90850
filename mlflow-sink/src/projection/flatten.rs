//! Free-form JSON as flat names: objects are joined with dots, everything else is one value.
//!
//! A list stays one value (`[64,128]`): its elements belong together, and a name per element would make two
//! architectures of different depth incomparable in MLflow's table.

use serde_json::Value;

/// Calls `emit` with the dotted name and the text of every value.
pub fn flatten(prefix: &str, value: &Value, emit: &mut impl FnMut(&str, String)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, inner) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, emit);
            }
        }
        // The empty object at the top says nothing; deeper it is a value somebody chose.
        Value::Object(_) | Value::Null if prefix.is_empty() => {}
        Value::String(text) => emit(prefix, text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            emit(prefix, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_become_dotted_names_and_lists_stay_whole() {
        let value = json!({"layers": [64, 128], "opt": {"name": "adam", "lr": 1e-3, "none": null, "x": {}}, "on": true});
        let mut flat = Vec::new();
        flatten("", &value, &mut |name, text| flat.push(format!("{name}={text}")));
        flat.sort();
        assert_eq!(
            flat,
            ["layers=[64,128]", "on=true", "opt.lr=0.001", "opt.name=adam", "opt.none=null", "opt.x={}"]
        );
    }

    #[test]
    fn nothing_comes_of_nothing() {
        flatten("", &json!({}), &mut |name, _| panic!("{name}"));
        flatten("", &Value::Null, &mut |name, _| panic!("{name}"));
    }
}
