//! Choosing lines of a batch by what the user knows of them.

use super::{
    choice_error::{ChoiceError, NAMED, UnknownValues},
    error::AppError,
};
use crate::{
    domain::{batch::BatchSpec, call::ErrorKind, job::JobState, options::nearest, printable::visible, row::Note},
    report::{BatchRequest, row::Column},
    store::{BatchRow, Condition, Field, ReportScope, Selection, Store},
};

/// The prefix that the report gives to a manifest's column whose name is taken.
const MANIFEST: &str = "manifest_";
/// The names that choose lines in every batch.
const OWN: [&str; 5] = ["key", "state", "note", "error_kind", "source"];

/// Which lines the user means, in the user's words. Different conditions narrow the choice; several values of one condition
/// widen it.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The keys, if any are named.
    pub keys: Vec<String>,
    /// The states, if any are named.
    pub states: Vec<JobState>,
    /// Columns with the value that they must have.
    pub cells: Vec<(String, String)>,
    /// Whether outputs in voices, formats or languages that are not asked for any more are meant as well.
    pub with_dropped: bool,
}

/// Lines that were chosen.
#[derive(Debug, Clone)]
pub struct ChosenLines {
    /// The lines.
    pub lines: Selection,
    /// What was named and is in no line of the batch.
    pub unknown: Option<UnknownValues>,
}

impl Choice {
    /// Whether it chooses all lines.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.keys.is_empty() && self.states.is_empty() && self.cells.is_empty()
    }

    /// The lines of a batch that are meant. At least one line is among them, unless all are meant.
    ///
    /// # Errors
    /// A column or a value of our lists does not exist; no line is meant; the ledger cannot be read.
    pub async fn find(
        &self,
        store: &Store,
        batch: &BatchRow,
        asked: &dyn BatchRequest,
    ) -> Result<ChosenLines, AppError> {
        let columns = Columns { spec: batch.specification()?, batch: &batch.name, asked };
        let (lines, names) = self.conditions(&columns)?;
        let mut unknown = None;
        for (condition, name) in lines.conditions.iter().zip(&names) {
            let values = store.unknown_values(batch.id, condition).await?;
            if values.is_empty() {
                continue;
            }
            let near = nearest_of(store, batch, condition, &values).await?;
            let named = condition.values.len();
            let found = UnknownValues { batch: batch.name.clone(), column: name.clone(), values, named, near };
            // Where none of the values is known, no line can be meant.
            if found.values.len() == named {
                return Err(ChoiceError::Unknown(found).into());
            }
            unknown = unknown.or(Some(found));
        }
        let scope = ReportScope { lines: lines.clone(), with_dropped: self.with_dropped };
        if !lines.is_all() && store.count_selected(batch.id, &scope).await? == 0 {
            let conditions = in_words(&lines, &names);
            return Err(ChoiceError::NoLine { batch: batch.name.clone(), conditions }.into());
        }
        Ok(ChosenLines { lines, unknown })
    }

    /// The conditions, each with the name of its column.
    fn conditions(&self, columns: &Columns<'_>) -> Result<(Selection, Vec<String>), ChoiceError> {
        let mut lines = Selection::default();
        let mut names: Vec<String> = Vec::new();
        let keys = self.keys.iter().map(|key| ("key", key.as_str()));
        let states = self.states.iter().map(|state| ("state", state.as_str()));
        let cells = self.cells.iter().map(|(column, value)| (column.as_str(), value.as_str()));
        for (column, value) in keys.chain(states) {
            add(&mut lines, &mut names, (columns.field(column)?, column), value);
        }
        // A condition of `--where` narrows what `--key` and `--state` choose.
        let first = lines.conditions.len();
        for (column, value) in cells {
            let field = columns.field(column)?;
            columns.check(&field, column, value)?;
            match lines.conditions.iter().skip(first).position(|one| one.field == field) {
                Some(nth) => lines.conditions[first + nth].values.push(value.to_owned()),
                None => {
                    lines.conditions.push(Condition { field, values: vec![value.to_owned()] });
                    names.push(column.to_owned());
                }
            }
        }
        for condition in &mut lines.conditions {
            let mut seen = std::collections::HashSet::new();
            condition.values.retain(|value| seen.insert(value.clone()));
        }
        Ok((lines, names))
    }
}

fn add(lines: &mut Selection, names: &mut Vec<String>, (field, column): (Field, &str), value: &str) {
    match lines.conditions.iter_mut().find(|one| one.field == field) {
        Some(condition) => condition.values.push(value.to_owned()),
        None => {
            lines.conditions.push(Condition { field, values: vec![value.to_owned()] });
            names.push(column.to_owned());
        }
    }
}

/// The nearest value that a line has to the first of these.
async fn nearest_of(
    store: &Store,
    batch: &BatchRow,
    condition: &Condition,
    values: &[String],
) -> Result<Option<String>, AppError> {
    let [value, ..] = values else { return Ok(None) };
    let known = store.known_values(batch.id, &condition.field).await?;
    let same = known.iter().find(|known| known.to_lowercase() == value.to_lowercase());
    Ok(same.map(String::as_str).or_else(|| nearest(value, known.iter().map(String::as_str))).map(str::to_owned))
}

/// `is failed, with agent = bob or eve`
fn in_words(lines: &Selection, names: &[String]) -> String {
    let words = lines.conditions.iter().zip(names).map(|(condition, name)| {
        let values: Vec<String> = condition.values.iter().take(NAMED).map(|v| format!("`{}`", visible(&v))).collect();
        let more = if condition.values.len() > NAMED { ", …" } else { "" };
        format!("`{name}` = {}{more}", values.join(" or "))
    });
    format!("has {}", words.collect::<Vec<_>>().join(" and "))
}

/// The columns of a batch by which lines are chosen.
struct Columns<'b> {
    spec: &'b BatchSpec,
    batch: &'b str,
    asked: &'b dyn BatchRequest,
}

impl Columns<'_> {
    fn field(&self, name: &str) -> Result<Field, ChoiceError> {
        let known = self.names();
        let exact = || self.field_named(name);
        let any_case = || {
            let mut same = known.iter().filter(|known| known.to_lowercase() == name.to_lowercase());
            same.next().filter(|_| same.next().is_none()).and_then(|known| self.field_named(known))
        };
        exact().or_else(any_case).ok_or_else(|| {
            let near = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; what there is: {}", known.join(", ")),
            };
            ChoiceError::NoColumn { batch: self.batch.to_owned(), column: name.to_owned(), near }
        })
    }

    fn field_named(&self, name: &str) -> Option<Field> {
        let carried = |name: &str| self.spec.carried.iter().position(|carried| carried == name).map(Field::Carried);
        let own = match name {
            "key" => Some(Field::Key),
            "state" | "status" => Some(Field::State),
            "note" | "notes" => Some(Field::Note),
            "error_kind" => Some(Field::ErrorKind),
            "source" => Some(Field::Source),
            _ => name.parse::<Column>().ok().and_then(|column| self.asked.field_of(column)),
        };
        own.or_else(|| carried(name)).or_else(|| name.strip_prefix(MANIFEST).and_then(carried))
    }

    /// All names, ours first.
    fn names(&self) -> Vec<String> {
        let options = Column::ALL.iter().filter(|column| self.asked.field_of(**column).is_some());
        let own = OWN.iter().map(ToString::to_string).chain(options.map(ToString::to_string));
        own.chain(self.spec.carried.iter().cloned()).collect()
    }

    /// Checks a value against the lists that are ours.
    fn check(&self, field: &Field, column: &str, value: &str) -> Result<(), ChoiceError> {
        let checked = match field {
            Field::State => value.parse::<JobState>().map(drop),
            Field::Note if !value.is_empty() => value.parse::<Note>().map(drop),
            Field::ErrorKind if !value.is_empty() => value.parse::<ErrorKind>().map(drop),
            _ => Ok(()),
        };
        checked.map_err(|fault| {
            let same = self.spec.carried.iter().any(|carried| carried == column);
            let elsewhere = match same {
                true => format!("; the manifest's column is `{MANIFEST}{column}`"),
                false => String::new(),
            };
            ChoiceError::NotListed { batch: self.batch.to_owned(), fault, elsewhere }
        })
    }
}
