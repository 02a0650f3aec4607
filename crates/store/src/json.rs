//! Limits of user-supplied JSON objects that are stored as `jsonb`: size, depth, and characters that Postgres cannot
//! store.

use baton_errors::{Error, Result};
use serde_json::{Map, Value};

/// Limits of an object.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of its JSON, at most.
    pub bytes: usize,
    /// Levels of nesting of its members' values, at most; 1 allows only scalars.
    pub levels: usize,
}

/// Checks that an object may be stored; `field` is the path of its field.
///
/// # Errors
/// VALIDATION_FAILED if it is too large, too deep, or contains the character U+0000 in a name or text.
pub fn check(object: &Map<String, Value>, field: &str, limits: Limits) -> Result<()> {
    let invalid = |why: String| Err(Error::invalid(field, why));
    if serde_json::to_string(object).map_err(Error::internal)?.len() > limits.bytes {
        return invalid(format!("must be at most {} bytes long as JSON", limits.bytes));
    }
    if object.values().any(|value| !within(value, limits.levels)) {
        return invalid(format!("must be nested at most {} levels deep", limits.levels));
    }
    if object.iter().any(|(name, value)| name.contains('\0') || has_nul(value)) {
        return invalid("must not contain the character U+0000".to_owned());
    }
    Ok(())
}

/// Whether a value is nested no deeper than `levels`.
fn within(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return false };
    match value {
        Value::Array(values) => values.iter().all(|value| within(value, below)),
        Value::Object(fields) => fields.values().all(|value| within(value, below)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passes(value: Value) -> bool {
        let Value::Object(object) = value else { panic!("an object") };
        check(&object, "preferences", Limits { bytes: 64, levels: 3 }).is_ok()
    }

    #[test]
    fn size_depth_and_nul_are_checked() {
        assert!(passes(json!({"a": {"b": ["c"]}, "d": null})));
        assert!(!passes(json!({"a": {"b": {"c": {"d": 1}}}})));
        assert!(!passes(json!({"a": "x".repeat(64)})));
        assert!(!passes(json!({"a": ["\0"]})));
        assert!(!passes(json!({"a": {"\0": 1}})));
    }
}
