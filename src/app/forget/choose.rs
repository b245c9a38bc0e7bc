//! Which lines are to be forgotten: by what the user knows of them, in one batch or in all.

use super::ForgetError;
use crate::{
    app::{
        choice::Choice,
        choice_error::{ChoiceError, UnknownValues},
        error::AppError,
    },
    domain::{environment::Environment, forget::hashed_key},
    report::asked_of,
    store::{BatchRow, Selection, Store},
    tasks::Registry,
};

/// Lines of one batch.
#[derive(Debug, Clone)]
pub struct LinesOfBatch {
    /// The batch.
    pub batch: BatchRow,
    /// Their keys, in the order of the report.
    pub keys: Vec<String>,
}

/// What the user says.
#[derive(Debug, Clone)]
pub struct ForgetChoice {
    /// The lines.
    pub lines: Choice,
    /// The batch; `None`: whichever has such lines.
    pub batch: Option<BatchRow>,
    /// Lines of several batches may be meant.
    pub all_batches: bool,
    /// All lines of a batch may be meant.
    pub everything: bool,
}

/// Finds the lines that are meant. None of them is at work.
///
/// # Errors
/// No line is meant, or more than the user said; a line is at work; the ledger cannot be read.
pub async fn choose_lines(
    (store, tasks): (&Store, &Registry),
    environment: Environment,
    choice: &ForgetChoice,
) -> Result<Vec<LinesOfBatch>, AppError> {
    let mut found = match &choice.batch {
        Some(batch) => vec![of_batch((store, tasks), batch, choice).await?],
        None => of_all((store, tasks), environment, choice).await?,
    };
    follow_feeds(store, &mut found).await?;
    for LinesOfBatch { batch, keys } in &found {
        let (all, forgotten) = store.forgotten_lines(batch.id).await?;
        if keys.len() as u64 + forgotten >= all && all > 1 && !choice.everything && choice.lines.keys.is_empty() {
            return Err(ForgetError::Everything { batch: batch.name.clone(), lines: all }.into());
        }
        if batch.submitting_at.is_some() {
            return Err(ForgetError::Submitting(batch.name.clone()).into());
        }
        let (count, busy) = store.busy_lines(batch.id, keys).await?;
        if count > 0 {
            let keys = busy.into_iter().map(|line| line.key).collect();
            return Err(ForgetError::Busy { batch: batch.name.clone(), count, keys }.into());
        }
    }
    Ok(found)
}

/// Adds the lines that were made of these, and those that these were made of: they have the same content.
async fn follow_feeds(store: &Store, found: &mut Vec<LinesOfBatch>) -> Result<(), AppError> {
    let mut at = 0;
    while let Some(LinesOfBatch { batch, keys }) = found.get(at) {
        for (id, linked) in store.linked_lines(batch.id, keys).await? {
            match found.iter_mut().find(|lines| lines.batch.id == id) {
                Some(lines) => {
                    let new: Vec<String> = linked.into_iter().filter(|key| !lines.keys.contains(key)).collect();
                    lines.keys.extend(new);
                }
                None => found.push(LinesOfBatch { batch: store.batch_by_id(id).await?, keys: linked }),
            }
        }
        at += 1;
    }
    Ok(())
}

async fn of_batch(
    (store, tasks): (&Store, &Registry),
    batch: &BatchRow,
    choice: &ForgetChoice,
) -> Result<LinesOfBatch, AppError> {
    let asked = asked_of(tasks.reports(), batch.specification()?)?;
    let found = match choice.lines.find(store, batch, &*asked).await {
        // The line may be known by its hash.
        Err(AppError::Choice(error)) => match are_forgotten(store, batch, &choice.lines).await? {
            true => return Err(ForgetError::Already(batch.name.clone()).into()),
            false => return Err(error.into()),
        },
        found => found?,
    };
    if let Some(unknown) = found.unknown {
        return Err(ChoiceError::Unknown(unknown).into());
    }
    let keys = store.keys_to_forget(batch.id, &found.lines).await?;
    if keys.is_empty() {
        return Err(ForgetError::Already(batch.name.clone()).into());
    }
    Ok(LinesOfBatch { batch: batch.clone(), keys })
}

/// Whether a key that the batch lacks is that of a line that was forgotten under its hash.
async fn are_forgotten(store: &Store, batch: &BatchRow, lines: &Choice) -> Result<bool, AppError> {
    for key in &lines.keys {
        let hashed = Selection::of_key(hashed_key(store.id(), key));
        let scope = crate::store::ReportScope { lines: hashed, with_dropped: true };
        if store.count_selected(batch.id, &scope).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was named, and is in no batch that was looked at yet: a mistyped key must not pass for a line that is forgotten.
struct Nowhere(Vec<(String, Vec<String>)>);

impl Nowhere {
    fn new(lines: &Choice) -> Self {
        let mut named: Vec<(String, Vec<String>)> = Vec::new();
        let keys = lines.keys.iter().map(|key| ("key", key));
        for (column, value) in keys.chain(lines.cells.iter().map(|(column, value)| (column.as_str(), value))) {
            match named.iter_mut().find(|(known, _)| known == column) {
                Some((_, values)) => values.push(value.clone()),
                None => named.push((column.to_owned(), vec![value.clone()])),
            }
        }
        Self(named)
    }

    /// A batch has all that was named but these values.
    fn found(&mut self, unknown: Option<&UnknownValues>) {
        for (column, values) in &mut self.0 {
            match unknown.filter(|unknown| unknown.column == *column) {
                Some(unknown) => values.retain(|value| unknown.values.contains(value)),
                // The values of another column were not looked for.
                None if unknown.is_some_and(|unknown| unknown.values.len() == unknown.named) => {}
                None => values.clear(),
            }
        }
    }

    /// Lines are known by the hashes of their keys.
    fn forgotten(&mut self) {
        self.0.retain(|(column, _)| column != "key");
    }

    /// The values of a column that no batch has.
    fn values(self) -> Option<(String, Vec<String>)> {
        self.0.into_iter().find(|(_, values)| !values.is_empty())
    }
}

/// The lines of all batches. A batch that lacks such a column or value has none.
async fn of_all(
    (store, tasks): (&Store, &Registry),
    environment: Environment,
    choice: &ForgetChoice,
) -> Result<Vec<LinesOfBatch>, AppError> {
    let (mut found, mut first_error, mut already) = (Vec::new(), None, None);
    let mut nowhere = Nowhere::new(&choice.lines);
    let batches: Vec<_> = store.batches().await?.into_iter().filter(|batch| batch.environment == environment).collect();
    let considered = batches.len();
    for batch in batches {
        let asked = asked_of(tasks.reports(), batch.specification()?)?;
        match choice.lines.find(store, &batch, &*asked).await {
            Ok(chosen) => {
                nowhere.found(chosen.unknown.as_ref());
                let keys = store.keys_to_forget(batch.id, &chosen.lines).await?;
                match keys.is_empty() {
                    true if are_forgotten(store, &batch, &choice.lines).await? => nowhere.forgotten(),
                    true => already = already.or(Some(batch.name)),
                    false => found.push(LinesOfBatch { batch, keys }),
                }
            }
            Err(AppError::Choice(error)) => {
                if let ChoiceError::Unknown(unknown) = &error {
                    nowhere.found(Some(unknown));
                }
                if are_forgotten(store, &batch, &choice.lines).await? {
                    nowhere.forgotten();
                    already = already.or(Some(batch.name));
                }
                first_error = first_error.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some((column, values)) = nowhere.values().filter(|_| considered > 1) {
        return Err(ForgetError::Nowhere { column, values }.into());
    }
    match (found.len(), already, first_error) {
        (0, Some(batch), _) => return Err(ForgetError::Already(batch).into()),
        (0, None, Some(error)) if considered == 1 => return Err(error.into()),
        _ => {}
    }
    match found.len() {
        0 => Err(ForgetError::Nothing.into()),
        1 => Ok(found),
        _ if choice.all_batches => Ok(found),
        _ => {
            let named = found.into_iter().map(|lines| (lines.batch.name, lines.keys.len())).collect();
            Err(ForgetError::SeveralBatches(named).into())
        }
    }
}
