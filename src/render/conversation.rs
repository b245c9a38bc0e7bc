//! The JSON file of a recording that was transcribed in several calls: the turns or the words, and each answer as it came.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use crate::domain::{
    body::Body,
    hearing::Stretch,
    transcript::{Conversation, Timeline, Transcript, Turn},
};

/// The answer to one call for a recording.
#[derive(Debug, Clone, Copy)]
pub struct CallAnswer<'a> {
    /// The channel, counted from 1, and the name of its side; `None`: several of them.
    pub side: Option<(u16, &'a str)>,
    /// From when to when the call sent the recording; `None`: all of it.
    pub covers: Option<Stretch>,
    /// The vendor's id of the request.
    pub request_id: Option<&'a str>,
    /// What the API answered.
    pub answer: &'a Body,
}

/// Writes a conversation, and the answers it was made of, as one JSON object on one line. An answer is copied as it is, piece by
/// piece: only valid JSON may be passed.
///
/// # Errors
/// `out` cannot be written, or a kept answer is damaged.
pub fn conversation_json(
    conversation: &Conversation,
    answers: &[CallAnswer<'_>],
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, r#"{{"status":"success","transcription":"#)?;
    serde_json::to_writer(&mut *out, &conversation.text())?;
    out.write_all(br#","turns":"#)?;
    serde_json::to_writer(&mut *out, &Turns(conversation, &conversation.turns))?;
    if !conversation.echoes.is_empty() {
        out.write_all(br#","echoes":"#)?;
        serde_json::to_writer(&mut *out, &Turns(conversation, &conversation.echoes))?;
    }
    calls(answers, conversation.length_ms, out)
}

/// Writes a transcript that was made of several answers, or of one whose times are not those of the recording, in the shape of the
/// API's answers, and those answers.
///
/// # Errors
/// As for [`conversation_json`].
pub fn joined_json(whole: &Transcript, answers: &[CallAnswer<'_>], out: &mut impl Write) -> io::Result<()> {
    write!(out, r#"{{"status":"success","transcription":"#)?;
    serde_json::to_writer(&mut *out, &whole.text)?;
    for (name, list) in [("words", &whole.words), ("utterances", &whole.utterances)] {
        write!(out, r#","{name}":"#)?;
        serde_json::to_writer(&mut *out, &Spoken(list, name == "words"))?;
    }
    if let Some(language) = &whole.language {
        out.write_all(br#","language":"#)?;
        serde_json::to_writer(&mut *out, language)?;
    }
    calls(answers, whole.duration_ms, out)
}

/// The answers, and the end of the object.
fn calls(answers: &[CallAnswer<'_>], length_ms: Option<u64>, out: &mut impl Write) -> io::Result<()> {
    let is_by_channel = answers.iter().all(|of| of.side.is_some());
    write!(out, r#","{}":["#, if is_by_channel { "channels" } else { "calls" })?;
    for (nth, of) in answers.iter().enumerate() {
        out.write_all(if nth == 0 { b"{" } else { b",{" })?;
        if let Some((channel, role)) = of.side {
            write!(out, r#""channel":{channel},"role":"#)?;
            serde_json::to_writer(&mut *out, role)?;
            out.write_all(b",")?;
        }
        if let Some(Stretch { from_ms, to_ms }) = of.covers {
            out.write_all(br#""start":"#)?;
            serde_json::to_writer(&mut *out, &Seconds(from_ms))?;
            out.write_all(br#","end":"#)?;
            serde_json::to_writer(&mut *out, &Seconds(to_ms))?;
            out.write_all(b",")?;
        }
        out.write_all(br#""request_id":"#)?;
        serde_json::to_writer(&mut *out, &of.request_id)?;
        out.write_all(br#","answer":"#)?;
        if of.answer.is_empty() {
            out.write_all(b"null")?;
        }
        io::copy(&mut of.answer.reader(), out)?;
        out.write_all(b"}")?;
    }
    out.write_all(br#"],"metadata":{"duration":"#)?;
    serde_json::to_writer(&mut *out, &length_ms.map(Seconds))?;
    out.write_all(b"}}\n")
}

/// Words or utterances, as the API writes them.
struct Spoken<'a>(&'a Timeline, bool);

impl Serialize for Spoken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            word: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<&'a str>,
            start: Seconds,
            end: Seconds,
            #[serde(skip_serializing_if = "Option::is_none")]
            speaker: Option<u32>,
        }
        let Self(list, are_words) = *self;
        serializer.collect_seq(list.iter().map(|said| Said {
            word: are_words.then_some(said.text),
            text: (!are_words).then_some(said.text),
            start: Seconds(said.start_ms),
            end: Seconds(said.end_ms),
            speaker: said.speaker,
        }))
    }
}

struct Turns<'a>(&'a Conversation, &'a [Turn]);

impl Serialize for Turns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(conversation, turns) = self;
        let entry = |turn| TurnEntry::of(conversation, turn);
        serializer.collect_seq(turns.iter().map(entry))
    }
}

#[derive(Serialize)]
struct TurnEntry<'a> {
    role: &'a str,
    channel: u16,
    start: Seconds,
    end: Seconds,
    text: &'a str,
    words: Words<'a>,
}

impl<'a> TurnEntry<'a> {
    fn of(conversation: &'a Conversation, turn: &'a Turn) -> Self {
        Self {
            role: conversation.name_of(turn),
            channel: conversation.side_of(turn).channel,
            start: Seconds(turn.start_ms),
            end: Seconds(turn.end_ms),
            text: &turn.text,
            words: Words(&turn.words),
        }
    }
}

struct Words<'a>(&'a Timeline);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Word<'a> {
            word: &'a str,
            start: Seconds,
            end: Seconds,
        }
        serializer.collect_seq(self.0.iter().map(|word| Word {
            word: word.text,
            start: Seconds(word.start_ms),
            end: Seconds(word.end_ms),
        }))
    }
}

/// Milliseconds that are written as seconds, as the API does.
struct Seconds(u64);

impl Serialize for Seconds {
    #[expect(clippy::cast_precision_loss, reason = "lengths of audio are far below 2^52 ms")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        domain::transcript::{Side, Transcript},
        render::tests::written,
    };

    const AGENT: &str = r#"{ "transcription": "Good \"morning\".", "new":1.50,
        "words":[{"word":"Good","start":0.1,"end":0.4},{"word":"\"morning\".","start":0.4,"end":1}], "metadata":{"duration":5.28}}"#;
    const CUSTOMER: &str = r#"{"transcription":"Good Hi.","words":[{"word":"Good","start":0.15,"end":0.45},
        {"word":"Hi.","start":1.2504,"end":1.6}]}"#;

    fn file(agent: &Body, customer: &Body) -> String {
        let (one, two) = (Transcript::of(agent).unwrap(), Transcript::of(customer).unwrap());
        let echoes = crate::domain::hearing::tests::stretches(&[(100, 900)]);
        let conversation = Conversation::of(&[
            Side { name: "agent", channel: 1, transcript: &one, speech: &[], echoes: &[] },
            Side { name: "the \"customer\"", channel: 2, transcript: &two, speech: &[], echoes: &echoes },
        ]);
        let answers = [
            CallAnswer { side: Some((1, "agent")), covers: None, request_id: Some("r1"), answer: agent },
            CallAnswer { side: Some((2, "the \"customer\"")), covers: None, request_id: None, answer: customer },
        ];
        written(|out| conversation_json(&conversation, &answers, out))
    }

    #[test]
    fn the_file_has_turns_and_each_answer_unchanged() {
        let file = file(&AGENT.into(), &CUSTOMER.into());
        assert!(file.contains(AGENT) && file.contains(CUSTOMER));
        let json: Value = serde_json::from_str(&file).unwrap();
        let without_answers = {
            let mut json = json.clone();
            json["channels"][0]["answer"] = Value::Null;
            json["channels"][1]["answer"] = Value::Null;
            json
        };
        insta::assert_snapshot!(format!("{without_answers:#}"), @r#"
        {
          "status": "success",
          "transcription": "Good \"morning\".\nHi.",
          "turns": [
            {
              "role": "agent",
              "channel": 1,
              "start": 0.1,
              "end": 1.0,
              "text": "Good \"morning\".",
              "words": [
                {
                  "word": "Good",
                  "start": 0.1,
                  "end": 0.4
                },
                {
                  "word": "\"morning\".",
                  "start": 0.4,
                  "end": 1.0
                }
              ]
            },
            {
              "role": "the \"customer\"",
              "channel": 2,
              "start": 1.25,
              "end": 1.6,
              "text": "Hi.",
              "words": [
                {
                  "word": "Hi.",
                  "start": 1.25,
                  "end": 1.6
                }
              ]
            }
          ],
          "echoes": [
            {
              "role": "the \"customer\"",
              "channel": 2,
              "start": 0.15,
              "end": 0.45,
              "text": "Good",
              "words": [
                {
                  "word": "Good",
                  "start": 0.15,
                  "end": 0.45
                }
              ]
            }
          ],
          "channels": [
            {
              "channel": 1,
              "role": "agent",
              "request_id": "r1",
              "answer": null
            },
            {
              "channel": 2,
              "role": "the \"customer\"",
              "request_id": null,
              "answer": null
            }
          ],
          "metadata": {
            "duration": 5.28
          }
        }
        "#);
        assert_eq!(json["channels"][0]["answer"], serde_json::from_str::<Value>(AGENT).unwrap());
        assert_eq!(json["channels"][1]["answer"], serde_json::from_str::<Value>(CUSTOMER).unwrap());
    }

    #[test]
    fn a_large_answer_is_copied_as_it_is() {
        let word = r#"{"word":"again","start":1,"end":2},"#;
        let words = word.repeat(200_000);
        let text = "again ".repeat(200_000);
        let large = format!(r#"{{"transcription":"{text}","words":[{}]}}"#, words.trim_end_matches(','));
        let kept = Body::from(large.as_str());
        assert!(kept.is_large() && kept.kept().1);
        let file = file(&AGENT.into(), &kept);
        assert!(file.contains(&large));
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&file).is_ok());
    }

    #[test]
    fn nothing_said_is_a_file_too() {
        let nothing = Conversation { length_ms: Some(4_000), ..Conversation::default() };
        assert_eq!(
            written(|out| conversation_json(&nothing, &[], out)),
            "{\"status\":\"success\",\"transcription\":\"\",\"turns\":[],\"channels\":[],\"metadata\":{\"duration\":4.0}}\n"
        );
        let unsent =
            CallAnswer { side: Some((2, "customer")), covers: None, request_id: None, answer: &Body::from("") };
        let json: Value = serde_json::from_str(&written(|out| conversation_json(&nothing, &[unsent], out))).unwrap();
        assert_eq!(json["channels"][0]["answer"], Value::Null);
    }
}
