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
    let Some(Account { client, name: account }) = account else {
        return Err(IntakeError::Dictionary(Trouble::new(ErrorKind::Unauthorized, "there is no key to ask it by")));
    };
    let there = store.dictionary(account, &dictionary.file).await?;
    if let Some((id, hash)) = &there
        && *hash == dictionary.hash
    {
        dictionary.id = Some(id.clone());
        return Ok(None);
    }
    let before = match &there {
        Some((id, _)) => {
            // Somebody may have deleted it since.
            let all = client.dictionaries().await.map_err(IntakeError::Dictionary)?;
            all.into_iter().find(|dictionary| dictionary.id == *id)
        }
        None => None,
    };
    let pushed = match &before {
        Some(known) => client.update_dictionary(&known.id, &words.items).await.map(|_| known.id.clone()),
        None => client.create_dictionary(&words.items).await.map(|made| made.id),
    };
    let id = pushed.map_err(IntakeError::Dictionary)?;
    store.keep_dictionary(account, &dictionary.file, &id, &dictionary.hash).await?;
    dictionary.id = Some(id);
    let what = if before.is_some() { "changed" } else { "made" };
    Ok(Some(format!("{} words of {}: the account's dictionary was {what}", words.items.len(), dictionary.file)))
}
