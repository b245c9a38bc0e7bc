//! The JSON Schema of replies: it is checked once, replies are held against it, and its properties become columns.

use std::{error::Error, fmt};

use boon::{Compiler, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::{Map, Value};

/// The most properties that a schema may have: each is a column of the report.
pub const MOST_PROPERTIES: usize = 200;
/// The address under which a schema is known while it is read. Nothing is ever fetched from there.
const ADDRESS: &str = "http://localhost/schema.json";
/// The deepest nesting of objects that become columns, and of references that are followed.
const DEEPEST: usize = 8;
/// The most deviations that are told of one reply.
const MOST_TOLD: usize = 8;

/// A schema that replies are held against.
pub struct ReplySchema {
    schemas: Schemas,
    root: SchemaIndex,
}

impl fmt::Debug for ReplySchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplySchema")
    }
}

/// Fetches nothing: a definition is complete.
struct NothingElse;

impl UrlLoader for NothingElse {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("`{url}` is not in the schema; write what it has under $defs").into())
    }
}

impl ReplySchema {
    /// Reads a schema.
    ///
    /// # Errors
    /// It is no JSON Schema, or its root is no object; the message says why.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let Value::Object(root) = schema else { return Err("is no JSON Schema: it must be an object".to_owned()) };
        if !root.get("type").is_none_or(|kind| kind == "object") || !has_properties(schema, schema) {
            return Err("is no schema of an object with properties, and a reply in JSON is always an object".to_owned());
        }
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(NothingElse));
        compiler.add_resource(ADDRESS, schema.clone()).map_err(|e| without_address(&e.to_string()))?;
        let mut schemas = Schemas::new();
        let root = compiler.compile(ADDRESS, &mut schemas).map_err(|error| in_words(&error))?;
        let properties = properties(schema);
        if properties.len() > MOST_PROPERTIES {
            return Err(format!("has {} properties, and {MOST_PROPERTIES} are the most", properties.len()));
        }
        Ok(Self { schemas, root })
    }

    /// What a reply has otherwise than the schema says, place by place. Values of the reply are not repeated.
    ///
    /// # Errors
    /// The deviations.
    pub fn check(&self, reply: &Value) -> Result<(), Vec<String>> {
        self.schemas.validate(reply, self.root).map_err(|error| {
            let mut told = Vec::new();
            leaves(&error, &mut told);
            if told.len() > MOST_TOLD {
                let more = told.len() - MOST_TOLD;
                told.truncate(MOST_TOLD);
                told.push(format!("and {more} more"));
            }
            told
        })
    }
}

/// The deviations without those that only say that others are below them.
fn leaves(error: &ValidationError<'_, '_>, told: &mut Vec<String>) {
    if error.causes.is_empty() {
        let place = error.instance_location.to_string();
        let kind = error.kind.to_string();
        told.push(if place.is_empty() { kind } else { format!("`{place}`: {kind}") });
    }
    error.causes.iter().for_each(|cause| leaves(cause, told));
}

fn in_words(error: &boon::CompileError) -> String {
    let boon::CompileError::ValidationError { src, .. } = error else {
        let mut words = without_address(&error.to_string());
        if let Some(source) = error.source() {
            words = format!("{words}: {}", without_address(&source.to_string()));
        }
        return format!("is no JSON Schema: {words}");
    };
    let mut told = Vec::new();
    leaves(src, &mut told);
    told.dedup();
    told.truncate(3);
    format!("is no JSON Schema: {}", told.join("; "))
}

fn without_address(words: &str) -> String {
    words.replace(ADDRESS, "it")
}

/// A property of a schema: a column of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name, with those of the objects that it is in: `customer.name`.
    pub name: String,
    /// Whether the schema says what it means.
    pub is_described: bool,
}

/// The properties of a schema, in its order. Those of an object within it have their names after the object's, with a dot.
#[must_use]
pub fn properties(schema: &Value) -> Vec<Property> {
    let mut found = Vec::new();
    collect((schema, schema), &mut Vec::new(), &mut found);
    found
}

fn collect((root, of): (&Value, &Value), path: &mut Vec<String>, found: &mut Vec<Property>) {
    let Some(properties) = resolved(root, of).get("properties").and_then(Value::as_object) else { return };
    for (name, value) in properties {
        path.push(name.clone());
        if path.len() < DEEPEST && has_properties(root, value) {
            collect((root, value), path, found);
        } else if found.len() <= MOST_PROPERTIES * 2 {
            let described = |value: &Value| value.get("description").is_some_and(|text| text != "");
            let is_described = described(value) || described(resolved(root, value));
            found.push(Property { name: path.join("."), is_described });
        }
        path.pop();
    }
}

fn has_properties(root: &Value, value: &Value) -> bool {
    resolved(root, value).get("properties").and_then(Value::as_object).is_some_and(|own| !own.is_empty())
}

/// What a schema refers to within its file, or the schema itself.
fn resolved<'v>(root: &'v Value, value: &'v Value) -> &'v Value {
    let mut at = value;
    for _ in 0..DEEPEST {
        let to = at.get("$ref").and_then(Value::as_str).and_then(|to| root.pointer(to.strip_prefix('#')?));
        match to {
            Some(to) => at = to,
            None => break,
        }
    }
    at
}

/// The values of these properties in a reply, by the properties' names. What the reply does not have is left out.
#[must_use]
pub fn cells(properties: &[Property], reply: &Value) -> Map<String, Value> {
    let cell = |property: &Property| {
        let mut at = reply;
        for name in property.name.split('.') {
            at = at.get(name)?;
        }
        Some((property.name.clone(), at.clone()))
    };
    // A name may have a dot itself.
    let by_name = |property: &Property| reply.get(&property.name).map(|own| (property.name.clone(), own.clone()));
    let of = |property: &Property| by_name(property).or_else(|| cell(property)).filter(|(_, value)| !value.is_null());
    properties.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scorecard() -> Value {
        json!({
            "type": "object", "required": ["resolved", "reason"], "additionalProperties": false,
            "properties": {
                "resolved": {"type": "boolean", "description": "Whether the problem is solved."},
                "reason": {"enum": ["billing", "refund"]},
                "score": {"type": "integer", "minimum": 1, "maximum": 5},
                "customer": {"$ref": "#/$defs/person"},
                "evidence": {"type": "array", "items": {"type": "object", "properties": {"quote": {"type": "string"}}}},
            },
            "$defs": {"person": {"type": "object", "properties": {
                "name": {"type": "string", "description": "The name."}, "calm": {"type": "boolean"}}}},
        })
    }

    #[test]
    fn replies_are_held_against_a_schema_place_by_place() {
        let schema = ReplySchema::new(&scorecard()).unwrap();
        assert_eq!(schema.check(&json!({"resolved": true, "reason": "refund"})), Ok(()));
        let wrong = json!({"resolved": "yes", "reason": "x", "score": 9, "customer": {"calm": 1}, "extra": "secret"});
        let told = schema.check(&wrong).unwrap_err();
        for part in
            ["`/resolved`: want boolean, but got string", "`/score`: must be <=5", "`/customer/calm`", "'extra'"]
        {
            assert!(told.iter().any(|one| one.contains(part)), "{part}: {told:?}");
        }
        assert!(!told.join("").contains("secret"), "values are not repeated");
        assert!(schema.check(&json!({})).unwrap_err()[0].contains("'resolved', 'reason'"));
        assert!(schema.check(&json!([])).is_err());
    }

    #[test]
    fn a_schema_that_is_none_says_why() {
        let why = |schema: Value| ReplySchema::new(&schema).unwrap_err();
        assert!(why(json!([])).contains("must be an object"));
        assert!(why(json!({"type": "array"})).contains("a reply in JSON is always an object"));
        assert!(why(json!({"type": "object"})).contains("no schema of an object with properties"));
        let objekt = why(json!({"properties": {"a": {"type": "objekt"}}}));
        assert!(objekt.starts_with("is no JSON Schema") && objekt.contains("/properties/a/type"), "{objekt}");
        let away = why(json!({"properties": {"a": {"$ref": "https://example.com/a.json"}}}));
        assert!(away.contains("https://example.com/a.json") && away.contains("$defs"), "{away}");
        let many: Map<String, Value> = (0..201).map(|n| (format!("p{n}"), json!({}))).collect();
        assert_eq!(why(json!({"properties": many})), "has 201 properties, and 200 are the most");
    }

    #[test]
    fn nested_properties_have_dotted_names() {
        let found = properties(&scorecard());
        let names: Vec<_> = found.iter().map(|property| (property.name.as_str(), property.is_described)).collect();
        assert_eq!(
            names,
            [
                ("resolved", true),
                ("reason", false),
                ("score", false),
                ("customer.name", true),
                ("customer.calm", false),
                ("evidence", false)
            ]
        );
        let reply =
            json!({"resolved": false, "customer": {"name": "Ann"}, "evidence": [{"quote": "x"}], "score": null});
        let cells = cells(&found, &reply);
        assert_eq!(
            Value::Object(cells),
            json!({"resolved": false, "customer.name": "Ann", "evidence": [{"quote": "x"}]})
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let tree = json!({"properties": {"node": {"$ref": "#/$defs/node"}},
            "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "a": {}}}, "loop": {"$ref": "#/$defs/loop"}}});
        let found = properties(&tree);
        assert!(found.len() < 20 && found.iter().any(|own| own.name == "node.next.a"), "{found:?}");
    }
}
