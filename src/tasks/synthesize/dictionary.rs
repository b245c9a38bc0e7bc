//! Puts the definition's pronunciations on the account that is used for synthesis.

use std::{path::Path, sync::Arc};

use crate::{
    definition::{
        Definition,
        pronunciations::{self, Pronunciations},
    },
    domain::{
        call::{CallFailure, ErrorKind},
        printable::printable,
        pronunciation::Pronunciation,
        synthesis::{Dictionary, Synthesis},
        task::{Asked, TaskSpec},
    },
    runner::{
        DEFAULT_CONCURRENCY,
        intake::{Account, IntakeError},
    },
    store::{BatchRow, NewBatch, Resubmission, Store},
};

/// The words that are pronounced in another way in one of two dictionaries, as text.
pub(super) fn changed_words(before: &Dictionary, now: &Dictionary) -> String {
    /// The most words that are named.
    const NAMED: usize = 5;
    let [before, now] = [before, now].map(|one| Vec::<Pronunciation>::from(one.words.clone()));
    if before.is_empty() || now.is_empty() {
        return "other words".to_owned();
    }
    let only_in = |these: &[Pronunciation], those: &[Pronunciation]| -> Vec<String> {
        these.iter().filter(|one| !those.contains(one)).map(|one| one.word.clone()).collect()
    };
    let mut words = only_in(&before, &now);
    words.extend(only_in(&now, &before));
    words.sort_unstable();
    words.dedup();
    let named = words.iter().take(NAMED).map(|word| format!("`{}`", printable(word))).collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(NAMED) {
        0 if words.is_empty() => "the order of the words".to_owned(),
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Puts the words on the account if they are not there yet, and their dictionary's id into the definition. Returns what was
/// done.
pub(super) async fn push(
    store: &Store,
    account: Option<&Account>,
    definition: &mut Definition,
) -> Result<Option<String>, IntakeError> {
    let Some(mut asked) = definition.synthesizing().cloned() else { return Ok(None) };
    let (Some(dictionary), Some(words)) = (&mut asked.synthesis.dictionary, &asked.pronunciations) else {
        return Ok(None);
    };
    let Some(account) = account else {
        let failure = CallFailure::new(ErrorKind::Unauthorized, "there is no key to ask the account by");
        return Err(IntakeError::Dictionary(failure));
    };
    let said = put(store, account, dictionary, words).await?;
    definition.task = Arc::new(asked);
    Ok(said)
}

async fn put(
    store: &Store,
    account: &Account,
    dictionary: &mut Dictionary,
    words: &Pronunciations,
) -> Result<Option<String>, IntakeError> {
    let Account { client, name: account, forgets } = account;
    let mut before = store.dictionary(account, &dictionary.file).await?;
    let mut same = before.as_ref().is_some_and(|(_, hash)| *hash == dictionary.hash);
    if let Some((id, _)) = &before {
        // Somebody may have deleted it since: then every call would be refused.
        match client.dictionaries().await {
            Ok(all) if all.iter().all(|there| there.id != *id) => (before, same) = (None, false),
            Ok(_) => {}
            Err(_) if same && !forgets => {}
            Err(failure) => return Err(IntakeError::Dictionary(failure)),
        }
    }
    if let Some((id, _)) = before.as_ref().filter(|_| same) {
        dictionary.id = Some(id.clone());
        return Ok(None);
    }
    let pushed = match &before {
        Some((id, _)) => client.update_dictionary(id, &words.items).await.map(|_| id.clone()),
        None => client.create_dictionary(&words.items).await.map(|made| made.id),
    };
    let id = pushed.map_err(IntakeError::Dictionary)?;
    store.keep_dictionary(account, &dictionary.file, &id, &dictionary.hash).await?;
    dictionary.id = Some(id);
    let what = if before.is_some() { "changed" } else { "made" };
    let file = &dictionary.file;
    Ok(Some(format!("the account's dictionary of {file} was {what}: {} pronounced", words.items.len())))
}

/// Puts the words of a batch that an older process submitted on an account that knows nothing of older processes. Words that
/// have changed or disappeared since are reported by the next submission.
pub(super) async fn renew(store: &Store, account: Option<&Account>, row: &BatchRow) -> Result<(), IntakeError> {
    let Some(account) = account.filter(|account| account.forgets) else { return Ok(()) };
    let mut spec = row.specification()?.clone();
    let Ok(mut asked) = spec.task.read::<Synthesis>() else { return Ok(()) };
    let Some(dictionary) = &mut asked.dictionary else { return Ok(()) };
    let Ok(words) = pronunciations::read(Path::new(&dictionary.file)) else { return Ok(()) };
    let before = dictionary.id.clone();
    if words.hex() != dictionary.hash {
        return Ok(());
    }
    put(store, account, dictionary, &words).await?;
    if dictionary.id == before {
        return Ok(());
    }
    spec.task = TaskSpec::of(&asked);
    let batch = NewBatch {
        name: row.name.clone(),
        definition: row.definition.clone(),
        environment: row.environment,
        task: row.task,
        unit: Synthesis::UNIT,
        spec: (&spec).into(),
        max_spend: row.max_spend,
        concurrency: Some(spec.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY)),
        priority: spec.run.priority,
        pause_on_failures: spec.run.pause_on_failures,
        feed: None,
    };
    let begun = store.begin(batch, Resubmission::default()).await?;
    Ok(store.end_submit(begun.batch).await?)
}
