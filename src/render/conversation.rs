//! The JSON file of a recording whose channels were transcribed apart: the turns, and each channel's answer as it came.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use crate::domain::{
    body::Body,
    transcript::{Conversation, Timeline, Turn},
};

/// The answer for one channel of a recording.
#[derive(Debug, Clone, Copy)]
pub struct ChannelAnswer<'a> {
    /// The channel, counted from 1.
    pub channel: u16,
    /// The name of the side.
    pub role: &'a str,
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
    answers: &[ChannelAnswer<'_>],
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
    out.write_all(br#","channels":["#)?;
    for (nth, of) in answers.iter().enumerate() {
        write!(out, r#"{}{{"channel":{},"role":"#, if nth == 0 { "" } else { "," }, of.channel)?;
        serde_json::to_writer(&mut *out, of.role)?;
        out.write_all(br#","request_id":"#)?;
        serde_json::to_writer(&mut *out, &of.request_id)?;
        out.write_all(br#","answer":"#)?;
        if of.answer.is_empty() {
            out.write_all(b"null")?;
        }
        io::copy(&mut of.answer.reader(), out)?;
        out.write_all(b"}")?;
    }
    out.write_all(br#"],"metadata":{"duration":"#)?;
    serde_json::to_writer(&mut *out, &conversation.length_ms.map(Seconds))?;
    out.write_all(b"}}\n")
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
            ChannelAnswer { channel: 1, role: "agent", request_id: Some("r1"), answer: agent },
            ChannelAnswer { channel: 2, role: "the \"customer\"", request_id: None, answer: customer },
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
        let unsent = ChannelAnswer { channel: 2, role: "customer", request_id: None, answer: &Body::from("") };
        let json: Value = serde_json::from_str(&written(|out| conversation_json(&nothing, &[unsent], out))).unwrap();
        assert_eq!(json["channels"][0]["answer"], Value::Null);
    }
}
