//! Posted answers: the content of a callback.

use super::{
    classify::{Unusable, Usable, usable},
    errors::Said,
};
use crate::domain::{
    body::Arrived,
    call::{CallFailure, ErrorKind},
    transcript::{AnswerDetail, AnswerReading},
};

/// The content of a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// A transcription: the body is an answer like any other.
    Answer {
        /// The vendor's request id.
        request_id: Option<String>,
        /// Length of the audio as the API measured it, in ms.
        audio_ms: Option<u64>,
    },
    /// The vendor could not transcribe the recording.
    Failed(CallFailure),
}

/// Reads the body of a callback.
///
/// # Errors
/// The body is not a callback; the message says why.
pub fn read_callback(body: &Arrived) -> Result<Posted, String> {
    match usable(AnswerReading::of(body.reader(), AnswerDetail::Facts), || body.reader()) {
        Ok(Usable { request_id, transcript }) => Ok(Posted::Answer { request_id, audio_ms: transcript.duration_ms }),
        Err(Unusable { failed: false, why, .. }) => Err(why),
        Err(Unusable { request_id, .. }) => {
            let said = Said::of(|| body.reader());
            let kind = if said.of_audio.is_some() { ErrorKind::SourceNotAudio } else { ErrorKind::ServerError };
            let theirs = said.words.map(|words| format!(": {words}")).unwrap_or_default();
            let message = format!("the API could not transcribe it{theirs}");
            Ok(Posted::Failed(CallFailure { request_id, ..CallFailure::new(kind, message) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_a_transcription_or_a_failure_or_nothing() {
        let read = |body: &str| read_callback(&Arrived::Whole(body.to_owned().into()));
        let whole = r#"{"status":"success","transcription":"","request_id":"r1","call":"c"}"#;
        assert_eq!(read(whole), Ok(Posted::Answer { request_id: Some("r1".into()), audio_ms: None }));
        let long = r#"{"transcription":"","metadata":{"duration":1.5}}"#;
        assert_eq!(read(long), Ok(Posted::Answer { request_id: None, audio_ms: Some(1_500) }));
        let Ok(Posted::Failed(failure)) = read(r#"{"status":"failed","error":"no speech","request_id":"r2"}"#) else {
            panic!("it failed")
        };
        assert_eq!((failure.kind, failure.request_id.as_deref()), (ErrorKind::ServerError, Some("r2")));
        assert!(failure.message.contains("no speech"), "{}", failure.message);
        for (body, why) in [
            ("", "empty"),
            ("{", "not JSON"),
            ("[]", "no `transcription`"),
            (r#"{"status":"success"}"#, "no `transcription`"),
            (r#"{"status":"processing"}"#, "its status is `processing`"),
        ] {
            assert!(read(body).unwrap_err().contains(why), "{body}");
        }
    }
}
