//! Which lines of a batch a verb is meant for. Every verb chooses by the same conditions, and every statement reads them in
//! the same way: from one bound JSON array.

use serde_json::{Value, json};

use crate::store::engine::db::query_scalar;
use crate::{
    domain::job::{BatchId, JobState},
    store::{Store, StoreError},
};

/// Which jobs of a batch are meant: those that meet every condition. Without conditions: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// Which rows a report has.
#[derive(Debug, Clone, Default)]
pub struct ReportScope {
    /// Only these lines.
    pub lines: Selection,
    /// Also rows that are not wanted any more, in other voices, formats or languages.
    pub with_dropped: bool,
}

/// One condition: a cell has one of several values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The cell.
    pub field: Field,
    /// The values. A job meets the condition if its cell is one of them.
    pub values: Vec<String>,
}

/// A cell by which lines are chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The key.
    Key,
    /// The state.
    State,
    /// One of the notes, including `sandbox`, `gone` and `dropped`.
    Note,
    /// The kind of the failure; empty if there is none.
    ErrorKind,
    /// The address of the recording.
    Source,
    /// A cell of the manifest, by its index among the carried columns.
    Carried(usize),
    /// An option that a line can set.
    Option {
        /// The fields that lead to it in the line's own options.
        path: &'static [&'static str],
        /// The batch's value, which counts for lines that set none.
        default: Option<String>,
    },
}

impl Field {
    /// The cell as an expression over the job `j`; NULL: the batch's value counts.
    fn expression(&self) -> String {
        match self {
            Self::Key => "j.key".into(),
            Self::State => "j.state".into(),
            Self::Note => "(';' || coalesce(j.notes, '') || ';' || j.wanted || ';'
                || (SELECT s.environment FROM batches AS s WHERE s.id = j.batch) || ';')"
                .into(),
            Self::ErrorKind => "coalesce(j.error_kind, '')".into(),
            Self::Source => "coalesce(j.source, '')".into(),
            Self::Carried(nth) => format!("coalesce(j.carried ->> {nth}, '')"),
            Self::Option { path, .. } => {
                let (last, outer) = path.split_last().expect("an option has a name");
                let outer: String = outer.iter().map(|name| format!(" ->> '{name}'")).collect();
                format!("CAST(j.overrides{outer} ->> '{last}' AS TEXT)")
            }
        }
    }
}

impl Selection {
    /// The line with this key.
    #[must_use]
    pub fn of_key(key: impl Into<String>) -> Self {
        Self::default().with(Field::Key, vec![key.into()])
    }

    /// The lines in one of these states.
    #[must_use]
    pub fn of_states(states: &[JobState]) -> Self {
        Self::default().with(Field::State, states.iter().map(|state| state.as_str().to_owned()).collect())
    }

    /// These lines, if they also meet this condition.
    #[must_use]
    pub fn with(mut self, field: Field, values: Vec<String>) -> Self {
        self.conditions.push(Condition { field, values });
        self
    }

    /// Whether no condition narrows it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The values of a field, if a condition names any.
    pub fn values_of<'s>(&'s self, field: &'s Field) -> impl Iterator<Item = &'s str> {
        let conditions = self.conditions.iter().filter(move |condition| condition.field == *field);
        conditions.flat_map(|condition| condition.values.iter().map(String::as_str))
    }

    /// Whether the lines are named by their keys.
    #[must_use]
    pub fn names_keys(&self) -> bool {
        self.values_of(&Field::Key).next().is_some()
    }

    /// The conditions on the job `j`, to follow others. [`Selection::bound`] is bound as `parameter`.
    pub(in crate::store) fn sql(&self, parameter: u8) -> String {
        // The parameter is always mentioned: a statement refuses a value that it has no place for.
        let mut text = format!(" AND ${parameter} IS NOT NULL");
        for (nth, condition) in self.conditions.iter().enumerate() {
            text.push_str(&format!("\n AND {}", condition.sql(nth, parameter)));
        }
        text
    }

    /// The values of the conditions: `[[condition, value], …]`.
    pub(in crate::store) fn bound(&self) -> String {
        let entries = self.conditions.iter().enumerate();
        let entries = entries.flat_map(|(nth, one)| one.values.iter().map(move |value| json!([nth, value])));
        Value::Array(entries.collect()).to_string()
    }
}

impl Condition {
    fn sql(&self, nth: usize, parameter: u8) -> String {
        let (cell, values) = (self.field.expression(), format!("FROM rows_of(${parameter}) AS r"));
        let own = format!("CAST(v ->> 0 AS BIGINT) = {nth}");
        match &self.field {
            Field::Note => format!(
                "EXISTS (SELECT 1 {values} WHERE {own} AND CASE WHEN v ->> 1 = '' THEN j.notes IS NULL
                   ELSE replace({cell}, ';' || (v ->> 1) || ';', '') <> {cell} END)"
            ),
            Field::Option { default: Some(default), .. } if self.values.contains(default) => {
                format!("({cell} IS NULL OR {cell} IN (SELECT v ->> 1 {values} WHERE {own}))")
            }
            _ => format!("{cell} IN (SELECT v ->> 1 {values} WHERE {own})"),
        }
    }

    /// The values that no line of a batch can be said to lack: lists of ours, and the batch's own value.
    fn is_known(&self, value: &str) -> bool {
        match &self.field {
            Field::State | Field::Note | Field::ErrorKind => true,
            Field::Option { default, .. } => default.as_deref() == Some(value),
            Field::Key | Field::Source | Field::Carried(_) => false,
        }
    }
}

/// The most values of a column from which the nearest is looked for.
const KNOWN_VALUES: i64 = 20_000;

impl Store {
    /// How many jobs are in a scope.
    pub async fn count_selected(&self, batch: BatchId, scope: &ReportScope) -> Result<u64, StoreError> {
        let count: i64 = query_scalar(format!(
            r"-- selection::count_selected
              SELECT count(*)
              FROM jobs AS j
              WHERE j.batch = $1 AND j.state <> 'superseded' AND (j.wanted <> 'dropped' OR $3 = 1) {}",
            scope.lines.sql(2)
        ))
        .bind(batch)
        .bind(scope.lines.bound())
        .bind(i64::from(scope.with_dropped))
        .fetch_one(&self.read)
        .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Those values of a condition that no line of the batch has. A state or a note of our lists is never among them.
    pub async fn unknown_values(&self, batch: BatchId, condition: &Condition) -> Result<Vec<String>, StoreError> {
        let values: Vec<String> = condition.values.iter().filter(|value| !condition.is_known(value)).cloned().collect();
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let cell = condition.field.expression();
        // A key is looked up in its index; the values of another cell are read once.
        let lacks = match condition.field {
            Field::Key => format!(
                "NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.batch = $1 AND j.state <> 'superseded' AND {cell} = r.v ->> 1)"
            ),
            _ => format!(
                "r.v ->> 1 NOT IN (SELECT {cell} FROM jobs AS j
                   WHERE j.batch = $1 AND j.state <> 'superseded' AND {cell} IS NOT NULL)"
            ),
        };
        let text = format!(
            r"-- selection::unknown_values
              SELECT r.v ->> 1
              FROM rows_of($2) AS r
              WHERE {lacks}"
        );
        let asked = Selection::default().with(condition.field.clone(), values);
        query_scalar(text.clone()).bind(batch).bind(asked.bound()).fetch_all(&self.read).await
    }

    /// Values that lines of the batch have in a cell, for proposals.
    pub async fn known_values(&self, batch: BatchId, field: &Field) -> Result<Vec<String>, StoreError> {
        let cell = field.expression();
        let text = format!(
            r"-- selection::known_values
              SELECT DISTINCT {cell} AS cell
              FROM jobs AS j
              WHERE j.batch = $1 AND j.state <> 'superseded' AND {cell} IS NOT NULL
              LIMIT $2"
        );
        let found: Vec<String> =
            query_scalar(text.clone()).bind(batch).bind(KNOWN_VALUES).fetch_all(&self.read).await?;
        let own = match field {
            Field::Option { default, .. } => default.clone(),
            _ => None,
        };
        Ok(found.into_iter().filter(|value| !value.is_empty()).chain(own).collect())
    }
}
