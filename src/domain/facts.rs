//! Facts about a line in addition to its state: a JSON object in the ledger, so that a new task needs no new column.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{chat::Usage, talk::Talk};

/// Facts about a line. An unknown field is omitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Length of its audio in ms: of the recording that was transcribed, or of the audio that was synthesized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_ms: Option<u64>,
    /// Channels of its recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
    /// Parts that its text was cut into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
    /// The number of those parts that needed no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_parts: Option<u64>,
    /// The figures of the conversation, if its sides were transcribed apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk: Option<Talk>,
    /// Why its channels were not transcribed as asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_note: Option<String>,
    /// What a model replied, and what that used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyFacts>,
}

/// Facts about the reply of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyFacts {
    /// The tokens of all its calls.
    #[serde(flatten)]
    pub usage: Usage,
    /// The values of its properties, by their names. This is content.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub cells: Map<String, Value>,
}

/// The version that is written. Of another version, the fields in common with this one are read.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct VersionedFacts<'a> {
    v: u32,
    #[serde(flatten)]
    facts: &'a Facts,
}

impl Facts {
    /// The stored form; `None` if nothing is known.
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        let written = VersionedFacts { v: VERSION, facts: self };
        (*self != Self::default()).then(|| serde_json::to_string(&written).expect("numbers are JSON"))
    }

    /// Reads the stored form. Unreadable fields are unknown.
    #[must_use]
    pub fn from_json(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// These facts, with unknown ones filled in from `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            audio_ms: self.audio_ms.or(others.audio_ms),
            channels: self.channels.or(others.channels),
            parts: self.parts.or(others.parts),
            reused_parts: self.reused_parts.or(others.reused_parts),
            talk: self.talk.or(others.talk),
            channels_note: self.channels_note.or(others.channels_note),
            reply: self.reply.or(others.reply),
        }
    }

    /// These facts without what was said: lengths and counts are left.
    #[must_use]
    pub fn without_content(self) -> Self {
        let reply = self.reply.map(|reply| ReplyFacts { cells: Map::new(), ..reply });
        Self { reply, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_and_unknown_ones_take_no_room() {
        assert_eq!(Facts::default().to_json(), None);
        let facts = Facts { audio_ms: Some(5_280), channels: Some(2), ..Facts::default() };
        let json = facts.to_json().unwrap();
        assert_eq!(json, r#"{"v":1,"audio_ms":5280,"channels":2}"#);
        assert_eq!(Facts::from_json(Some(&json)), facts);
        assert_eq!(Facts::from_json(Some(r#"{"v":9,"audio_ms":1,"speakers":2}"#)).audio_ms, Some(1));
        for nothing in [None, Some(""), Some("[]"), Some(r#"{"audio_ms":-1}"#)] {
            assert_eq!(Facts::from_json(nothing), Facts::default());
        }
        let talk = Talk { silence_ms: 3_000, ..Talk::default() };
        let facts = Facts { talk: Some(talk), channels_note: Some("dual_mono".into()), ..facts };
        assert_eq!(Facts::from_json(facts.to_json().as_deref()), facts);
        assert_eq!(Facts::default().or(facts.clone()), facts);
    }

    #[test]
    fn the_words_of_a_reply_go_and_its_tokens_stay() {
        let usage = Usage { prompt_tokens: 300, cached_tokens: 256, completion_tokens: 9 };
        let cells: Map<String, Value> = [("reason".to_owned(), Value::from("billing"))].into_iter().collect();
        let facts = Facts { reply: Some(ReplyFacts { usage, cells }), ..Facts::default() };
        assert_eq!(Facts::from_json(facts.to_json().as_deref()), facts);
        let left = facts.without_content();
        assert_eq!(
            left.to_json().unwrap(),
            r#"{"v":1,"reply":{"prompt_tokens":300,"cached_tokens":256,"completion_tokens":9}}"#
        );
    }
}
