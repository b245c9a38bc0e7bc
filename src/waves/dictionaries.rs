//! Pronunciation dictionaries on the account.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use crate::domain::{
    call::{CallFailure, ErrorKind},
    lenient::{Take, take},
    pronunciation::Pronunciation,
};

const PATH: &str = "/waves/v1/pronunciation-dicts";

/// A dictionary as the account has it. The vendor identifies it only by an id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AccountDictionary {
    /// The id that a call uses.
    pub id: String,
    /// Its words.
    #[serde(default)]
    pub items: Vec<Pronunciation>,
    /// The creation time, in the vendor's format.
    #[serde(default, rename = "createdAt")]
    pub created_at: Option<String>,
}

/// The answer to a dictionary's removal.
#[derive(Deserialize)]
struct Deleted {
    #[serde(default, deserialize_with = "take")]
    deleted: IsTrue,
}

#[derive(Default)]
struct IsTrue(bool);

impl Take for IsTrue {
    fn flag(&mut self, on: bool) {
        self.0 = on;
    }

    fn other(&mut self) {}
}

impl Client {
    /// The account's dictionaries.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or answers with something else.
    pub async fn dictionaries(&self) -> Result<Vec<AccountDictionary>, CallFailure> {
        self.ask(self.http.get(self.endpoint(PATH))).await
    }

    /// Creates a dictionary with these words, at least one.
    ///
    /// # Errors
    /// As for [`Client::dictionaries`]; without an answer, the dictionary may have been created nevertheless.
    pub async fn create_dictionary(&self, items: &[Pronunciation]) -> Result<AccountDictionary, CallFailure> {
        self.write_dictionary(Method::POST, &json!({ "items": items })).await
    }

    /// Replaces the words of a dictionary.
    ///
    /// # Errors
    /// As for [`Client::dictionaries`]; repeating the same request is harmless.
    pub async fn update_dictionary(&self, id: &str, items: &[Pronunciation]) -> Result<AccountDictionary, CallFailure> {
        self.write_dictionary(Method::PUT, &json!({ "id": id, "items": items })).await
    }

    /// Deletes a dictionary.
    ///
    /// # Errors
    /// As for [`Client::dictionaries`], or the answer does not confirm the deletion.
    pub async fn delete_dictionary(&self, id: &str) -> Result<(), CallFailure> {
        let question = self.http.delete(self.endpoint(PATH)).json(&json!({ "id": id }));
        let answer: Deleted = self.ask(question).await?;
        if answer.deleted.0 {
            return Ok(());
        }
        Err(CallFailure::new(ErrorKind::UnusableAnswer, "the API does not say that the dictionary is gone"))
    }

    async fn write_dictionary(&self, method: Method, body: &Value) -> Result<AccountDictionary, CallFailure> {
        self.ask(self.http.request(method, self.endpoint(PATH)).json(body)).await
    }
}
