//! Answers that are posted: what a callback says.

use serde_json::Value;

use super::{
    classify::{Unusable, usable},
    errors::Said,
};
use crate::domain::call::{ErrorKind, Trouble};

/// What a callback says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// A transcription: the body is an answer like any other.
    Answer {
        /// The vendor's request id.
        request_id: Option<String>,
    },
    /// The vendor could not do it.
    Failed(Trouble),
}

/// Reads the body of a callback.
///
/// # Errors
/// Why it is none, in words.
pub fn read_callback(body: &[u8]) -> Result<Posted, String> {
    match usable(body) {
        Ok(request_id) => Ok(Posted::Answer { request_id }),
        Err(Unusable { why, request_id, .. }) => {
            let status = serde_json::from_slice::<Value>(body).ok();
            let failed = status.as_ref().and_then(|body| body.get("status")).and_then(Value::as_str) == Some("failed");
            if !failed {
                return Err(why);
            }
            let theirs = Said::read(body).words.map(|words| format!(": {words}")).unwrap_or_default();
            let message = format!("the API could not transcribe it{theirs}");
            Ok(Posted::Failed(Trouble { request_id, ..Trouble::new(ErrorKind::ServerError, message) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_a_transcription_or_a_failure_or_nothing() {
        let read = |body: &str| read_callback(body.as_bytes());
        let whole = r#"{"status":"success","transcription":"","request_id":"r1","call":"c"}"#;
        assert_eq!(read(whole), Ok(Posted::Answer { request_id: Some("r1".into()) }));
        let Ok(Posted::Failed(trouble)) = read(r#"{"status":"failed","error":"no speech","request_id":"r2"}"#) else {
            panic!("it failed")
        };
        assert_eq!((trouble.kind, trouble.request_id.as_deref()), (ErrorKind::ServerError, Some("r2")));
        assert!(trouble.message.contains("no speech"), "{}", trouble.message);
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
