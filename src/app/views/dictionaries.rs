//! Pronunciation dictionaries of the account.

use serde::Serialize;

use crate::{domain::pronunciation::Pronunciation, waves::AccountDictionary};

/// A dictionary.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DictionaryView<'v> {
    /// Its id for calls.
    pub id: &'v str,
    /// When it was made, as the vendor writes it.
    pub created_at: Option<&'v str>,
    /// Its words.
    pub items: &'v [Pronunciation],
}

impl<'v> From<&'v AccountDictionary> for DictionaryView<'v> {
    fn from(dictionary: &'v AccountDictionary) -> Self {
        Self { id: &dictionary.id, created_at: dictionary.created_at.as_deref(), items: &dictionary.items }
    }
}
