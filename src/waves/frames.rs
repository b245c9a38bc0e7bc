//! The events that carry audio: base64 samples, a mark at the end, or an error in the middle.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use serde_json::Number;

use super::{
    errors::Said,
    events::{Events, SseEvent},
};
use crate::domain::lenient::{Take, take};

pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The result of a piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StreamStep {
    /// Some audio (possibly none), and not the end.
    More(Vec<u8>),
    /// The last of the audio, and the end mark.
    All(Vec<u8>),
    /// An error that ends the stream.
    Failed(String),
    /// An event is longer than all audio of a call can be.
    TooLong,
}

/// A stream of such events.
#[derive(Debug, Default)]
pub(super) struct Frames(Events);

impl Frames {
    /// The step that this piece completes. Nothing after the end mark is read.
    pub(super) fn push(&mut self, piece: &[u8]) -> StreamStep {
        match self.0.push(piece) {
            Ok(events) => gather(events),
            Err(_) => StreamStep::TooLong,
        }
    }

    /// The step that the end of the stream completes.
    pub(super) fn finish(&mut self) -> StreamStep {
        gather(self.0.finish())
    }
}

fn gather(events: impl IntoIterator<Item = SseEvent>) -> StreamStep {
    let mut audio = Vec::new();
    for event in events {
        match frame(&event, &mut audio) {
            Ok(false) => {}
            Ok(true) => return StreamStep::All(audio),
            Err(why) => return StreamStep::Failed(why),
        }
    }
    StreamStep::More(audio)
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    audio: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "take")]
    done: Done,
    #[serde(default, deserialize_with = "take")]
    status: Status,
    #[serde(default, deserialize_with = "take")]
    error: Failure,
}

/// Whether the field is `true`.
#[derive(Default)]
struct Done(bool);

impl Take for Done {
    fn flag(&mut self, on: bool) {
        self.0 = on;
    }

    fn other(&mut self) {}
}

/// Whether the status is an error's.
#[derive(Default)]
struct Status {
    is_error: bool,
}

impl Take for Status {
    fn text(&mut self, status: &str) {
        self.is_error = match status.parse::<u32>() {
            Ok(code) => code >= 300,
            Err(_) => matches!(status, "error" | "failed"),
        };
    }

    fn number(&mut self, code: &Number) {
        self.is_error = code.as_u64().is_some_and(|code| code >= 300);
    }

    fn other(&mut self) {}
}

/// Whether the field is anything but `null` and `false`.
#[derive(Default)]
struct Failure {
    is_said: bool,
}

impl Take for Failure {
    fn flag(&mut self, on: bool) {
        self.is_said = on;
    }

    fn null(&mut self) {}

    fn other(&mut self) {
        self.is_said = true;
    }
}

/// Adds the audio of an event; returns whether it is the last event.
fn frame(event: &SseEvent, audio: &mut Vec<u8>) -> Result<bool, String> {
    let frame = match serde_json::from_slice::<Frame<'_>>(&event.data) {
        Ok(frame) => frame,
        Err(_) if event.name == "error" => return Err(failed(event)),
        // Another kind of event, such as a keep-alive.
        Err(_) if !matches!(event.name.as_str(), "" | "message" | "audio") => return Ok(false),
        Err(_) => return Err("an event of its stream cannot be read".into()),
    };
    if event.name == "error" || frame.status.is_error || frame.error.is_said {
        return Err(failed(event));
    }
    if let Some(text) = &frame.audio {
        BASE64.decode_vec(text.as_bytes(), audio).map_err(|_| "an event of its stream is no base64".to_owned())?;
    }
    // Every event has the field `done`.
    Ok(frame.done.0)
}

fn failed(event: &SseEvent) -> String {
    let said = Said::read(&event.data).words.map(|words| format!(": {words}")).unwrap_or_default();
    format!("its stream tells of an error{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "data: {\"status\":\"200\",\"done\":true}\n\n";

    fn audio(base64: &str) -> String {
        format!("event: audio\ndata: {{\"audio\": \"{base64}\", \"done\": false, \"status\": \"206\"}}\n\n")
    }

    /// All audio of a stream that arrives in pieces of this size.
    fn hear(stream: &str, by: usize) -> StreamStep {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        for piece in stream.as_bytes().chunks(by) {
            match frames.push(piece) {
                StreamStep::More(audio) => all.extend(audio),
                StreamStep::All(audio) => return StreamStep::All([all, audio].concat()),
                other @ (StreamStep::Failed(_) | StreamStep::TooLong) => return other,
            }
        }
        match frames.finish() {
            StreamStep::More(audio) => StreamStep::More([all, audio].concat()),
            StreamStep::All(audio) => StreamStep::All([all, audio].concat()),
            other @ (StreamStep::Failed(_) | StreamStep::TooLong) => other,
        }
    }

    #[test]
    fn audio_is_joined_up_to_the_mark() {
        let stream =
            [&audio("AQID"), ": still here\n\n", &audio("BA=="), &audio("BQ"), END, &audio("BgY="), "data: x\n\n"];
        let stream = stream.concat();
        for by in [1, 2, 7, 64, 10_000] {
            assert_eq!(hear(&stream, by), StreamStep::All(vec![1, 2, 3, 4, 5]), "by {by}");
            assert_eq!(hear(&stream.replace('\n', "\r\n"), by), StreamStep::All(vec![1, 2, 3, 4, 5]), "by {by}");
        }
        let split = "data: {\"audio\":\ndata: \"AQID\",\ndata: \"done\":true}\n\n";
        assert_eq!(hear(split, 5), StreamStep::All(vec![1, 2, 3]));
        assert_eq!(
            hear(&format!("{}event: ping\ndata: now\n\n{}", audio("AQID"), END.trim_end()), 9),
            StreamStep::All(vec![1, 2, 3])
        );
    }

    #[test]
    fn only_a_true_done_is_the_end() {
        for not_the_end in ["{\"done\":false}", "{\"done\":\"true\"}", "{\"done\":1}", "{\"status\":\"200\"}", "{}"] {
            let stream = format!("{}data: {not_the_end}\n\n", audio("AQID"));
            assert_eq!(hear(&stream, 11), StreamStep::More(vec![1, 2, 3]), "{not_the_end}");
        }
    }

    #[test]
    fn errors_and_nonsense_end_it() {
        for (frame, words) in [
            ("event: error\ndata: {\"message\":\"No voice\"}", "its stream tells of an error: No voice"),
            ("event: error\ndata: overload", "its stream tells of an error: overload"),
            ("data: {\"status\":\"error\",\"message\":\"No\"}", "its stream tells of an error: No"),
            ("data: {\"status\":\"500\",\"done\":true}", "its stream tells of an error"),
            ("data: {\"error\":\"Internal\",\"done\":false}", "its stream tells of an error: Internal"),
            ("data: [DONE]", "an event of its stream cannot be read"),
            ("data: {\"audio\":\"?\",\"done\":false}", "an event of its stream is no base64"),
            ("data: {\"audio\":7}", "an event of its stream cannot be read"),
        ] {
            let stream = format!("{}{frame}\n\n{END}", audio("AQID"));
            assert_eq!(hear(&stream, 13), StreamStep::Failed(words.into()), "{frame}");
        }
    }
}
