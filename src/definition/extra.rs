//! `[extra]`: API parameters that this release does not know.

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{
    fields::fields,
    task::ExtraRules,
    walk::{Section, TomlWalk},
};
use crate::domain::extra::{Extra, canonical_json, check_name};

fields! {
    /// Parameters of the API that this release does not know. They are sent as they are, and are part of what makes a line the
    /// same line. A name that wavebatch sets itself is a fault.
    pub(super) EXTRA = "extra" {
        /// Parameters of the query: texts, numbers, `true` or `false`.
        "query": "a table" (= "{}") => Pays;
        /// Parameters of the body: any value of JSON. Speech alone has them, since the body of a transcription is the recording.
        "body": "a table" (= "{}") => Pays;
    }
}

/// Reads the table.
pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, root: &mut Section<'t>, rules: ExtraRules) -> Extra {
    let mut section = walk.section(root, "extra");
    let mut extra = Extra::default();
    let mut query = walk.section(&mut section, "query");
    for name in query.others() {
        let taken = walk.any_of(&mut query, &name, |value| {
            check_name(&name, rules.query)?;
            plain(value).ok_or_else(|| "must be a string, a number, true or false: a query has nothing else".to_owned())
        });
        extra.query.extend(taken.map(|text| (name, text)));
    }
    walk.close(query);
    let mut body = walk.section(&mut section, "body");
    for name in body.others() {
        let taken = walk.any_of(&mut body, &name, |value| {
            check_name(&name, rules.body?)?;
            Ok(canonical_json(&json(value)?))
        });
        extra.body.extend(taken.map(|json| (name, json)));
    }
    walk.close(body);
    walk.close(section);
    extra
}

/// A value as text.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => json(value).ok().map(|json| json.to_string()),
        _ => None,
    }
}

fn json(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(on) => Value::from(*on),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| format!("{number} is larger than any number that can be sent"))?,
        DeValue::Float(number) => {
            let finite = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            Value::Number(finite.ok_or_else(|| format!("`{}` is no number that can be sent", number.as_str()))?)
        }
        DeValue::Datetime(date) => return Err(format!("`{date}` is a date, which JSON does not have; quote it")),
        DeValue::Array(values) => values.iter().map(|value| json(value.get_ref())).collect::<Result<_, _>>()?,
        DeValue::Table(fields) => object(fields)?,
    })
}

fn object(fields: &DeTable<'_>) -> Result<Value, String> {
    let fields = fields.iter().map(|(name, value)| Ok((name.get_ref().to_string(), json(value.get_ref())?)));
    Ok(Value::Object(fields.collect::<Result<_, String>>()?))
}
