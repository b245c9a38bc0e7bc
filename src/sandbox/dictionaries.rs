//! `/waves/v1/pronunciation-dicts`: dictionaries in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    HandlerState,
    errors::{Refusal, check_key},
};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Item {
    word: String,
    pronunciation: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dictionary {
    id: String,
    items: Vec<Item>,
    created_at: String,
}

/// The account's dictionaries, by id.
#[derive(Debug, Default)]
pub(super) struct Dictionaries(Mutex<BTreeMap<String, Dictionary>>);

impl Dictionaries {
    /// What stands in these dictionaries, as one text; an `Err` is the id of one that is not there.
    pub(super) fn words(&self, ids: &[String]) -> Result<String, String> {
        self.with(|all| {
            let one = |id: &String| all.get(id).map(|found| json!(found.items).to_string()).ok_or_else(|| id.clone());
            ids.iter().map(one).collect()
        })
    }

    pub(super) fn reset(&self) {
        self.with(BTreeMap::clear);
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, Dictionary>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn list(&self) -> Value {
        self.with(|all| json!(all.values().collect::<Vec<_>>()))
    }

    fn create(&self, items: Vec<Item>) -> Value {
        // The end of such an id is chance, its beginning time: two made at once share the beginning.
        let id = Uuid::now_v7().simple().to_string()[8..].to_owned();
        let dictionary = Dictionary { id: id.clone(), items, created_at: jiff::Timestamp::now().to_string() };
        let made = json!(dictionary);
        self.with(|all| all.insert(id, dictionary));
        made
    }

    fn update(&self, id: &str, items: Vec<Item>) -> Option<Value> {
        self.with(|all| {
            let dictionary = all.get_mut(id)?;
            dictionary.items = items;
            Some(json!({ "id": id, "items": dictionary.items }))
        })
    }

    fn delete(&self, id: &str) -> Option<Value> {
        self.with(|all| all.remove(id).map(|_| json!({ "id": id, "deleted": true })))
    }
}

/// What a body may hold.
#[derive(Deserialize)]
struct Sent {
    id: Option<String>,
    items: Option<Vec<Item>>,
}

/// The endpoint, for every method that it has.
pub(super) async fn serve(
    State(state): State<Arc<HandlerState>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    state.books.dictionaries_called();
    check_key(headers.get("authorization"), state.config.key.as_deref())?;
    let dictionaries = &state.dictionaries;
    if method == Method::GET {
        return Ok(axum::Json(dictionaries.list()).into_response());
    }
    let sent: Sent = serde_json::from_slice(&body).map_err(|error| invalid("body", &error.to_string()))?;
    let id = || sent.id.as_deref().filter(|id| !id.is_empty()).ok_or_else(|| invalid("id", "Required"));
    let unknown = |id: &str| Refusal::stt(400, &format!("no such dictionary: {id}"), "");
    let answer = if method == Method::DELETE {
        dictionaries.delete(id()?).ok_or_else(|| unknown(id().unwrap_or_default()))?
    } else if method == Method::PUT {
        let items = checked(sent.items.clone(), false)?;
        dictionaries.update(id()?, items).ok_or_else(|| unknown(id().unwrap_or_default()))?
    } else {
        dictionaries.create(checked(sent.items, true)?)
    };
    Ok(axum::Json(answer).into_response())
}

fn checked(items: Option<Vec<Item>>, at_least_one: bool) -> Result<Vec<Item>, Refusal> {
    match items {
        None => Err(invalid("items", "Required")),
        Some(items) if items.is_empty() && at_least_one => Err(invalid("items", "at least one is needed")),
        Some(items) if items.iter().any(|item| item.word.is_empty() || item.pronunciation.is_empty()) => {
            Err(invalid("items", "a word or its pronunciation is empty"))
        }
        Some(items) => Ok(items),
    }
}

fn invalid(field: &str, message: &str) -> Refusal {
    let mut refusal = Refusal::stt(400, "", "");
    let details = json!([{"code": "invalid_type", "path": [field], "message": message}]);
    refusal.body = json!({"error": "Invalid request body", "details": details}).to_string();
    refusal
}
