//! From a reply to an outcome: what happened, whose fault it is, and whether it may have been billed.

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    answer::{Ending, Reply},
    errors::Said,
    retry_after::retry_after,
    words,
};
use crate::domain::call::{Answer, ErrorKind, Outcome, Trouble};

/// A reply that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Refused by the API itself.
    Refused(Trouble),
    /// Whoever wrote it, the work may have been done.
    Unknown(Trouble),
}

impl Failure {
    /// What a reply means whose status is no success.
    pub(super) fn of(reply: &Reply) -> Self {
        match reply.status.as_u16() {
            504 => Self::Unknown(gateway(reply, &Said::read(&reply.body))),
            500..=599 => server_error(reply),
            _ => refused(reply),
        }
    }

    /// The trouble, where no money is at stake.
    pub(super) fn trouble(self) -> Trouble {
        match self {
            Self::Refused(trouble) | Self::Unknown(trouble) => trouble,
        }
    }
}

impl<A> From<Failure> for Outcome<A> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(trouble) => Self::Refused(trouble),
            Failure::Unknown(trouble) => Self::Unknown(trouble),
        }
    }
}

/// A success that is not all there, or too much; nothing where it is complete. `request_id` is the vendor's.
pub(super) fn incomplete<A>(ending: Ending, status: StatusCode, request_id: Option<String>) -> Option<Outcome<A>> {
    let trouble =
        |kind, message: &str| Trouble { status: Some(status.as_u16()), request_id, ..Trouble::new(kind, message) };
    Some(match ending {
        Ending::Complete => return None,
        Ending::Cut => {
            Outcome::Unknown(trouble(ErrorKind::Truncated, "the connection broke in the middle of the answer"))
        }
        Ending::TimedOut => Outcome::Unknown(trouble(ErrorKind::TimedOut, "time was up in the middle of the answer")),
        Ending::TooLong => Outcome::Unusable(trouble(ErrorKind::UnusableAnswer, "the answer is larger than 64 MB")),
    })
}

/// What a reply to a transcription means; `posted`: its answer is to be posted.
pub(super) fn outcome(reply: Reply, posted: bool) -> Outcome {
    if reply.status.is_success() { success(reply, posted) } else { Failure::of(&reply).into() }
}

fn success(reply: Reply, posted: bool) -> Outcome {
    let request_id = request_id(&reply, None);
    if let Some(outcome) = incomplete(reply.ending, reply.status, request_id.clone()) {
        return outcome;
    }
    let status = Some(reply.status.as_u16());
    let trouble = |kind, message: String, request_id| Trouble { status, request_id, ..Trouble::new(kind, message) };
    if posted && let Some(in_body) = processing(&reply.body) {
        return Outcome::Accepted { request_id: in_body.or(request_id) };
    }
    match usable(&reply.body) {
        Ok(in_body) => Outcome::Answered(Answer {
            request_id: in_body.or(request_id),
            content_expiry: reply.header("x-content-expiry"),
            body: reply.body,
        }),
        Err(Unusable { cut: true, .. }) if !reply.framed => {
            let message = "the answer ends in the middle".to_owned();
            Outcome::Unknown(trouble(ErrorKind::Truncated, message, request_id))
        }
        Err(Unusable { why, request_id: in_body, .. }) => {
            let message = format!("the API answered with success, but {why}");
            Outcome::Unusable(trouble(ErrorKind::UnusableAnswer, message, in_body.or(request_id)))
        }
    }
}

/// The request id in a body that says that the work has begun.
#[expect(clippy::option_option, reason = "whether it says so, and whether it has an id")]
fn processing(body: &[u8]) -> Option<Option<String>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let begun = answer.get("status")?.as_str()? == "processing" && answer.get("transcription").is_none();
    begun.then(|| id_in(&answer))
}

fn id_in(answer: &Value) -> Option<String> {
    answer.get("request_id").and_then(Value::as_str).map(words::clean).filter(|id| !id.is_empty())
}

pub(super) struct Unusable {
    pub(super) why: String,
    /// It is the beginning of an answer.
    cut: bool,
    pub(super) request_id: Option<String>,
}

/// The request id in a body that is a transcription.
pub(super) fn usable(body: &[u8]) -> Result<Option<String>, Unusable> {
    let unusable = |why: &str, cut| Unusable { why: why.to_owned(), cut, request_id: None };
    if body.trim_ascii().is_empty() {
        return Err(unusable("the answer is empty", false));
    }
    let answer: Value = serde_json::from_slice(body).map_err(|error| {
        let html = words::is_html(&String::from_utf8_lossy(&body[..body.len().min(64)]));
        unusable(if html { "with an HTML page" } else { "the answer is not JSON" }, error.is_eof())
    })?;
    let request_id = id_in(&answer);
    let why = match (answer.get("status"), answer.get("transcription")) {
        (Some(Value::String(status)), _) if status != "success" => {
            let said = Said::read(body).words.map(|words| format!(": {words}")).unwrap_or_default();
            format!("its status is `{}`{said}", words::clean(status))
        }
        (None | Some(Value::String(_) | Value::Null), Some(Value::String(_))) => return Ok(request_id),
        (_, Some(Value::String(_))) => "its status is no text".to_owned(),
        (_, Some(_)) => "its `transcription` is no text".to_owned(),
        (_, None) => "it has no `transcription`".to_owned(),
    };
    Err(Unusable { why, cut: false, request_id })
}

fn server_error(reply: &Reply) -> Failure {
    let said = Said::read(&reply.body);
    if !said.by_api || reply.ending != Ending::Complete {
        return Failure::Unknown(gateway(reply, &said));
    }
    let what = match reply.status {
        StatusCode::SERVICE_UNAVAILABLE => "the API is not available for the moment",
        _ => "the API failed on its side",
    };
    refusal(reply, &said, ErrorKind::ServerError, what.to_owned())
}

fn gateway(reply: &Reply, said: &Said) -> Trouble {
    let what = match reply.status {
        StatusCode::GATEWAY_TIMEOUT => "a gateway before the API waited in vain",
        _ => "a gateway before the API, not the API itself, answered",
    };
    trouble(reply, said, ErrorKind::Gateway, what.to_owned())
}

fn refused(reply: &Reply) -> Failure {
    let said = Said::read(&reply.body);
    let (kind, what) = verdict(reply, &said);
    refusal(reply, &said, kind, what)
}

fn refusal(reply: &Reply, said: &Said, kind: ErrorKind, what: String) -> Failure {
    Failure::Refused(trouble(reply, said, kind, what))
}

/// The kind of a refusal, and our words for it.
fn verdict(reply: &Reply, said: &Said) -> (ErrorKind, String) {
    let (kind, what) = match reply.status.as_u16() {
        _ if said.mentions("language_not_enabled_in_region") => {
            let language = said.language.as_deref().map_or_else(String::new, |it| format!(" `{}`", words::clean(it)));
            let region = said.region.as_deref().map_or_else(String::new, |it| format!(" `{}`", words::clean(it)));
            let what = format!("the language{language} is not enabled in the account's region{region}");
            return (ErrorKind::LanguageNotEnabled, what);
        }
        300..=399 => {
            let to = reply.header("location").map(|to| format!(" to {}", words::clean(&to))).unwrap_or_default();
            return (ErrorKind::BadRequest, format!("the API redirects{to}; set the base URL to where it lives"));
        }
        400 if said.mentions("audio data too large") => (ErrorKind::TooLarge, "the recording is too large for the API"),
        400 | 422 => (ErrorKind::BadRequest, "the API refused the request"),
        401 => (ErrorKind::Unauthorized, "the API does not accept the key"),
        402 => (ErrorKind::PaymentRequired, "the account cannot pay for this call"),
        403 => (ErrorKind::Forbidden, "the account's plan or key does not include this"),
        404 | 410 if said.mentions("model_deprecated") => {
            (ErrorKind::BadRequest, "the vendor has retired this model or route")
        }
        404 | 410 => (ErrorKind::BadRequest, "there is no such endpoint; is the base URL right?"),
        407 => (ErrorKind::Forbidden, "a proxy on the way wants credentials"),
        408 => (ErrorKind::ServerError, "the API gave up waiting for the request"),
        413 => (ErrorKind::TooLarge, "the recording is over the API's 250 MB"),
        429 if ["quota", "credit", "balance", "billing"].iter().any(|word| said.mentions(word)) => {
            (ErrorKind::QuotaExhausted, "the account's quota or credit is used up")
        }
        429 => (ErrorKind::RateLimited, "the API asks for fewer calls"),
        _ => (ErrorKind::BadRequest, "the API refused the request"),
    };
    (kind, what.to_owned())
}

/// Our words, then theirs.
fn trouble(reply: &Reply, said: &Said, kind: ErrorKind, what: String) -> Trouble {
    let status = reply.status.as_u16();
    let page = if said.html { " with an HTML page" } else { "" };
    let theirs = said.words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
    Trouble {
        status: Some(status),
        request_id: request_id(reply, said.request_id.clone()),
        retry_after: retry_after(&reply.headers, Timestamp::now()),
        ..Trouble::new(kind, format!("{what} ({status}{page}){theirs}"))
    }
}

pub(super) fn request_id(reply: &Reply, in_body: Option<String>) -> Option<String> {
    in_body.or_else(|| reply.header("x-request-id").map(|id| words::clean(&id)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
            ending: Ending::Complete,
            framed: true,
        }
    }

    fn refusal_of(status: u16, body: &str) -> Trouble {
        match outcome(reply(status, body), false) {
            Outcome::Refused(trouble) => trouble,
            other => panic!("{status} {body}: {other:?}"),
        }
    }

    #[test]
    fn refusals_by_status_and_words() {
        for (status, body, kind) in [
            (400, r#"{"error":"bad"}"#, ErrorKind::BadRequest),
            (400, r#"{"errors":"Audio data too large","status":"error","message":"x"}"#, ErrorKind::TooLarge),
            (
                400,
                r#"{"status":"error","error_code":"LANGUAGE_NOT_ENABLED_IN_REGION","message":"x","language":"gu","region":"us"}"#,
                ErrorKind::LanguageNotEnabled,
            ),
            (401, r#"{"message":"Unauthorized: No tokens provided"}"#, ErrorKind::Unauthorized),
            (402, "", ErrorKind::PaymentRequired),
            (403, "<html>no</html>", ErrorKind::Forbidden),
            (404, r#"{"error":"MODEL_DEPRECATED"}"#, ErrorKind::BadRequest),
            (413, "<html><title>413</title></html>", ErrorKind::TooLarge),
            (418, "", ErrorKind::BadRequest),
            (429, r#"{"error":"Rate limit exceeded."}"#, ErrorKind::RateLimited),
            (429, r#"{"error":"Monthly Quota exceeded"}"#, ErrorKind::QuotaExhausted),
            (429, "", ErrorKind::RateLimited),
            (500, r#"{"error":"oops"}"#, ErrorKind::ServerError),
            (503, r#"{"error":"Worker temporarily unavailable"}"#, ErrorKind::ServerError),
            (302, "", ErrorKind::BadRequest),
        ] {
            let trouble = refusal_of(status, body);
            assert_eq!(trouble.kind, kind, "{status} {body}");
            assert_eq!(trouble.status, Some(status));
        }
    }

    #[test]
    fn words_can_be_acted_on() {
        let retired = refusal_of(410, r#"{"error":"MODEL_DEPRECATED","request_id":"r9"}"#);
        assert_eq!(retired.message, "the vendor has retired this model or route (410): MODEL_DEPRECATED");
        assert_eq!(retired.request_id.as_deref(), Some("r9"));
        let region = r#"{"status":"error","error_code":"LANGUAGE_NOT_ENABLED_IN_REGION","message":"No.","language":"gu","region":"us"}"#;
        assert_eq!(
            refusal_of(400, region).message,
            "the language `gu` is not enabled in the account's region `us` (400): No."
        );
        assert_eq!(
            refusal_of(403, "<html><title>Blocked</title></html>").message,
            "the account's plan or key does not include this (403 with an HTML page): Blocked"
        );
    }

    #[test]
    fn a_5xx_that_the_api_did_not_write_is_unknown() {
        let of_gateway =
            |reply| matches!(outcome(reply, false), Outcome::Unknown(Trouble { kind: ErrorKind::Gateway, .. }));
        assert!(of_gateway(reply(502, "<html><title>502</title></html>")));
        assert!(of_gateway(reply(503, "")));
        assert!(of_gateway(reply(500, r#"{"message":"Internal server error"}"#)));
        assert!(of_gateway(reply(504, r#"{"error":"Worker timed out"}"#)));
        assert!(of_gateway(Reply { ending: Ending::Cut, ..reply(500, r#"{"error":"oops"}"#) }));
    }

    #[test]
    fn only_a_transcription_is_an_answer() {
        for body in [r#"{"status":"success","transcription":""}"#, r#"{"transcription":"a","x":1}"#] {
            assert!(
                matches!(outcome(reply(200, body), false), Outcome::Answered(answer) if answer.body == body),
                "{body}"
            );
        }
        for body in [
            "",
            "  ",
            "<html></html>",
            "[]",
            r#""text""#,
            r#"{"status":"success"}"#,
            r#"{"status":"success","transcription":7}"#,
            r#"{"status":"failed","transcription":"a"}"#,
            r#"{"status":200,"transcription":"a"}"#,
            r#"{"status":"processing","request_id":"r"}"#,
            r#"{"status":"success","transcription":"#,
        ] {
            assert!(matches!(outcome(reply(200, body), false), Outcome::Unusable(_)), "{body}");
        }
    }

    #[test]
    fn half_an_answer_is_unknown() {
        let half = r#"{"status":"success","transcri"#;
        for (reply, kind) in [
            (Reply { ending: Ending::Cut, ..reply(200, half) }, ErrorKind::Truncated),
            (Reply { ending: Ending::TimedOut, ..reply(200, half) }, ErrorKind::TimedOut),
            (Reply { framed: false, ..reply(200, half) }, ErrorKind::Truncated),
        ] {
            assert!(matches!(outcome(reply, false), Outcome::Unknown(trouble) if trouble.kind == kind));
        }
    }

    #[test]
    fn work_that_has_begun_is_accepted_only_where_its_answer_is_posted() {
        let begun = r#"{"status":"processing","request_id":"r1"}"#;
        let accepted = Outcome::Accepted { request_id: Some("r1".into()) };
        assert_eq!(outcome(reply(200, begun), true), accepted);
        assert!(matches!(outcome(reply(200, begun), false), Outcome::Unusable(_)));
        let whole = r#"{"status":"success","transcription":"hello"}"#;
        assert!(matches!(outcome(reply(200, whole), true), Outcome::Answered(_)), "it was done at once");
        assert!(matches!(outcome(reply(200, "{}"), true), Outcome::Unusable(_)));
        assert!(matches!(outcome(reply(400, begun), true), Outcome::Refused(_)));
    }
}
