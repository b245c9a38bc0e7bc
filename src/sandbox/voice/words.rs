//! The words that a sandbox spoke.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The words that cannot be spelled, by their index. One sandbox's indexes mean nothing to another one.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct WordTable(Mutex<Words>);

#[derive(Debug, Default)]
struct Words {
    indexes: HashMap<String, u16>,
    words: Vec<String>,
}

impl WordTable {
    /// The index of a word; `None` once the table is full.
    pub(super) fn index(&self, word: &str) -> Option<u16> {
        self.with(|table| {
            if let Some(index) = table.indexes.get(word) {
                return Some(*index);
            }
            let index = u16::try_from(table.words.len()).ok()?;
            table.indexes.insert(word.to_owned(), index);
            table.words.push(word.to_owned());
            Some(index)
        })
    }

    /// The word with this index.
    pub(super) fn word(&self, index: u16) -> Option<String> {
        self.with(|table| table.words.get(usize::from(index)).cloned())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Words) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
