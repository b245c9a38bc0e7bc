//! A batch's specification, as it is stored in the ledger.

use std::sync::Arc;

use crate::domain::batch::BatchSpec;
use crate::store::engine::db::{Bind, Cell, Column, Value};

/// The specification of a batch's last submission. It is parsed where its row is read, and nowhere else.
///
/// A specification that cannot be parsed makes only its own batch unworkable. So the reason is kept here, in place of an
/// error for the whole row.
#[derive(Debug, Clone)]
pub struct StoredSpec {
    json: Arc<str>,
    spec: Result<Arc<BatchSpec>, Arc<str>>,
}

impl StoredSpec {
    /// The specification, or why it cannot be parsed.
    ///
    /// # Errors
    /// The reason, as a part of a sentence.
    pub fn read(&self) -> Result<&BatchSpec, &str> {
        self.spec.as_deref().map_err(|fault| &**fault)
    }

    /// Its text, by which two specifications are compared.
    #[must_use]
    pub const fn json(&self) -> &Arc<str> {
        &self.json
    }
}

impl From<&BatchSpec> for StoredSpec {
    fn from(spec: &BatchSpec) -> Self {
        let json = serde_json::to_string(spec).expect("a specification is JSON");
        Self { json: json.into(), spec: Ok(Arc::new(spec.clone())) }
    }
}

impl From<&str> for StoredSpec {
    fn from(json: &str) -> Self {
        let spec = serde_json::from_str(json).map(Arc::new).map_err(|fault| fault.to_string().into());
        Self { json: json.into(), spec }
    }
}

impl Bind<'_> for StoredSpec {
    const MISSING: Value<'static> = Value::Text(None);

    fn value(self) -> Value<'static> {
        Value::Text(Some((*self.json).to_owned().into()))
    }
}

impl Column for StoredSpec {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        if let Cell::Text(json) = cell { Ok(json.into()) } else { Err(cell.instead_of("text")) }
    }
}
