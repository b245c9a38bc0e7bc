//! The definition's pronunciations on the account that is to speak.

use super::{IntakeError, cast::Account};
use crate::{
    definition::{Definition, TaskDefinition},
    domain::call::{ErrorKind, Trouble},
    store::Store,
};

/// Puts the words on the account if they are not there yet, and their dictionary's id into the definition.
///
/// # Errors
/// The account does not take them, or the ledger cannot be written.
pub(super) async fn push(
    store: &Store,
    account: Option<&Account>,
    definition: &mut Definition,
) -> Result<Option<String>, IntakeError> {
    let TaskDefinition::Synthesize(asked) = &mut definition.task else { return Ok(None) };
    let (Some(dictionary), Some(words)) = (&mut asked.synthesis.dictionary, &asked.pronunciations) else {
        return Ok(None);
    };
    let Some(Account { client, name: account, forgets }) = account else {
        let trouble = Trouble::new(ErrorKind::Unauthorized, "there is no key to ask the account by");
        return Err(IntakeError::Dictionary(trouble));
    };
    let mut before = store.dictionary(account, &dictionary.file).await?;
    let mut same = before.as_ref().is_some_and(|(_, hash)| *hash == dictionary.hash);
    if let Some((id, _)) = before.as_ref().filter(|_| *forgets || !same) {
        // Somebody may have deleted it since.
        let all = client.dictionaries().await.map_err(IntakeError::Dictionary)?;
        if all.iter().all(|there| there.id != *id) {
            (before, same) = (None, false);
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
