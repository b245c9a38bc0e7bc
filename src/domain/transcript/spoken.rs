//! Who said which word when, as another batch takes it from a transcript's JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::to_millis;

/// Words that one speaker says in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokenTurn {
    /// The speaker's name or number, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The words, with a space between them.
    pub said: String,
    /// When each of them begins, in ms from the beginning of the recording.
    pub at: Vec<u64>,
}

impl SpokenTurn {
    /// The words and their beginnings.
    pub fn words(&self) -> impl Iterator<Item = (&str, u64)> {
        self.said.split(' ').zip(self.at.iter().copied())
    }
}

/// The words of a transcript's JSON file that have times: of its turns, else those of the whole. `None`: it has none.
#[must_use]
pub fn spoken_words(json: &Value) -> Option<Vec<SpokenTurn>> {
    let mut turns: Vec<SpokenTurn> = Vec::new();
    let mut add = |words: &Value, role: Option<&str>| {
        for word in words.as_array().into_iter().flatten() {
            let said = ["word", "text"].iter().find_map(|name| word.get(name)?.as_str()).unwrap_or_default();
            let start = word.get("start").and_then(Value::as_f64).and_then(to_millis);
            let Some(start) = start.filter(|_| !said.trim().is_empty()) else { continue };
            // A space parts words.
            let said = said.trim().replace(' ', "\u{a0}");
            let by = role.map(str::to_owned).or_else(|| match word.get("speaker")? {
                Value::Number(number) => Some(number.to_string()),
                Value::String(name) => Some(name.clone()),
                _ => None,
            });
            match turns.last_mut().filter(|last| last.by == by) {
                Some(last) => {
                    last.said.push(' ');
                    last.said.push_str(&said);
                    last.at.push(start);
                }
                None => turns.push(SpokenTurn { by, said, at: vec![start] }),
            }
        }
    };
    match json.get("turns").and_then(Value::as_array) {
        Some(of_sides) => of_sides
            .iter()
            .for_each(|turn| add(turn.get("words").unwrap_or(&Value::Null), turn.get("role").and_then(Value::as_str))),
        None => add(json.get("words").unwrap_or(&Value::Null), None),
    }
    (!turns.is_empty()).then_some(turns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(by: Option<&str>, said: &str, at: &[u64]) -> SpokenTurn {
        SpokenTurn { by: by.map(str::to_owned), said: said.to_owned(), at: at.to_vec() }
    }

    #[test]
    fn words_are_gathered_by_their_speakers() {
        let answer = json!({"words": [
            {"word": "Good", "start": 0.12, "end": 0.2, "speaker": 0}, {"word": "day.", "start": 0.3, "speaker": 0},
            {"word": "No one", "start": 1, "speaker": 1}, {"word": "", "start": 2, "speaker": 1}, {"word": "lost"},
        ]});
        let turns = spoken_words(&answer).unwrap();
        assert_eq!(turns, [turn(Some("0"), "Good day.", &[120, 300]), turn(Some("1"), "No\u{a0}one", &[1_000])]);
        assert!(turns[0].words().eq([("Good", 120), ("day.", 300)]));
        let kept = serde_json::to_string(&turns[0]).unwrap();
        assert_eq!(kept, r#"{"by":"0","said":"Good day.","at":[120,300]}"#);
    }

    #[test]
    fn the_sides_of_a_conversation_have_names() {
        let turns = json!({"turns": [
            {"role": "agent", "words": [{"word": "Hello", "start": 0.5}]},
            {"role": "customer", "words": [{"word": "Hi", "start": 1.25}]}, {"role": "agent"},
        ]});
        let wanted = [turn(Some("agent"), "Hello", &[500]), turn(Some("customer"), "Hi", &[1_250])];
        assert_eq!(spoken_words(&turns).unwrap(), wanted);
        for none in [json!({}), json!({"words": []}), json!({"turns": []}), json!({"words": [{"word": "a"}]})] {
            assert_eq!(spoken_words(&none), None, "{none}");
        }
    }
}
