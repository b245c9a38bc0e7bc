//! API parameters that this release does not know. They are passed on as written, and they are a part of a line's
//! identity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::printable::visible;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;
/// The prefix of a column that sets such a parameter.
pub const EXTRA_COLUMN: &str = "extra.";

/// Parameters by name, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    /// Query parameters: texts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Body parameters: JSON, with the keys of objects sorted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub body: BTreeMap<String, String>,
}

impl Extra {
    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.query.is_empty() && self.body.is_empty()
    }

    /// `self`, with the values of `own` taking precedence.
    #[must_use]
    pub fn with(&self, own: &Self) -> Self {
        let mut all = self.clone();
        all.query.extend(own.query.clone());
        all.body.extend(own.body.clone());
        all
    }

    /// The values of `self` that `base` lacks or has otherwise.
    #[must_use]
    pub fn differing_from(mut self, base: &Self) -> Self {
        self.query.retain(|name, value| base.query.get(name) != Some(value));
        self.body.retain(|name, value| base.body.get(name) != Some(value));
        self
    }

    /// All parameters as one text, independent of how they were written.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }
}

/// Checks the name of a parameter; `owned` are the names that wavebatch sets itself.
///
/// # Errors
/// The name is owned, or is not a valid name.
pub fn check_name(name: &str, owned: &[&str]) -> Result<(), String> {
    let shown = visible(&name);
    if let Some(own) = owned.iter().find(|own| own.eq_ignore_ascii_case(name.trim_end_matches("[]"))) {
        return Err(format!("`{shown}` cannot be an extra: wavebatch sets `{own}` itself"));
    }
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("`{shown}` cannot be a parameter's name: 1 to {LONGEST_NAME} characters without spaces"));
    }
    Ok(())
}

/// A value of a body in its stored form.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(sorted).collect(),
            Value::Object(fields) => {
                let by_name: BTreeMap<&String, Value> =
                    fields.iter().map(|(name, value)| (name, sorted(value))).collect();
                by_name.into_iter().map(|(name, value)| (name.clone(), value)).collect()
            }
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// A cell as a value of a body: a number, `true`, `false`, a list or an object if it is such JSON, else a text.
#[must_use]
pub fn cell_as_json(cell: &str) -> String {
    match serde_json::from_str::<Value>(cell) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_))) => canonical_json(&value),
        _ => Value::from(cell).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_it_reads_as() {
        for (cell, json) in [
            ("3", "3"),
            ("0.5", "0.5"),
            ("true", "true"),
            ("TRUE", r#""TRUE""#),
            ("[1, 2]", "[1,2]"),
            (r#"{"b": 1, "a": {"d": [], "c": 2}}"#, r#"{"a":{"c":2,"d":[]},"b":1}"#),
            ("null", r#""null""#),
            (r#""quoted""#, r#""\"quoted\"""#),
            ("007", r#""007""#),
            ("calm", r#""calm""#),
            ("{name}", r#""{name}""#),
        ] {
            assert_eq!(cell_as_json(cell), json, "{cell}");
        }
    }

    #[test]
    fn a_lines_own_goes_before_the_definitions() {
        let of = |pairs: &[(&str, &str)]| Extra {
            query: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Extra::default()
        };
        let (base, own) = (of(&[("tier", "a"), ("mode", "x")]), of(&[("tier", "b"), ("mode", "x")]));
        assert_eq!(base.with(&own), of(&[("tier", "b"), ("mode", "x")]));
        assert_eq!(own.differing_from(&base), of(&[("tier", "b")]));
        assert_eq!(base.canonical(), r#"{"query":{"mode":"x","tier":"a"}}"#);
        assert!(Extra::default().is_empty() && !base.is_empty());
    }

    #[test]
    fn what_is_owned_cannot_be_an_extra() {
        let owned = ["model", "keywords"];
        for name in ["model", "Model", "keywords[]"] {
            let message = check_name(name, &owned).unwrap_err();
            assert!(message.ends_with("itself"), "{message}");
        }
        for name in ["", "a b", "a\n", &"x".repeat(65)] {
            assert!(check_name(name, &owned).is_err(), "{name:?}");
        }
        assert_eq!(check_name("punctuate", &owned), Ok(()));
    }
}
