//! Maps a reply to an outcome: what happened, whose fault it is, and whether it may have been billed.

use std::io::{BufRead as _, Read as _};

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{
    answer::{Ending, HttpReply},
    errors::Said,
    retry_after::retry_after,
    words,
};
use crate::domain::{
    body::{Arrived, Body, Reader},
    call::{Answer, CallFailure, ErrorKind, Outcome},
    transcript::{AnswerDetail, AnswerReading, TextField, Transcript},
};

/// A reply that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FailedReply {
    /// Refused by the API itself.
    Refused(CallFailure),
    /// Whoever wrote the reply, the work may have been done.
    Unknown(CallFailure),
}

impl FailedReply {
    /// The meaning of a reply whose status is not a success.
    pub(super) fn of(reply: &HttpReply) -> Self {
        if let Some(failure) = of_audio(reply, &Said::read(reply.explanation())) {
            return Self::Refused(failure);
        }
        match reply.status.as_u16() {
            504 => Self::Unknown(gateway(reply, &Said::read(reply.explanation()))),
            500..=599 => server_error(reply),
            _ => refused(reply),
        }
    }

    /// The failure, if no money is involved.
    pub(super) fn failure(self) -> CallFailure {
        match self {
            Self::Refused(failure) | Self::Unknown(failure) => failure,
        }
    }
}

impl<A> From<FailedReply> for Outcome<A> {
    fn from(failure: FailedReply) -> Self {
        match failure {
            FailedReply::Refused(failure) => Self::Refused(failure),
            FailedReply::Unknown(failure) => Self::Unknown(failure),
        }
    }
}

/// The outcome of a success that is incomplete or too large; `None` if it is complete. `request_id` is the vendor's, and
/// `body` the stored body of one that is too large.
pub(super) fn incomplete<A>(
    ending: Ending,
    status: StatusCode,
    request_id: Option<String>,
    body: Option<Body>,
) -> Option<Outcome<A>> {
    let failure = |kind, message: String| CallFailure {
        status: Some(status.as_u16()),
        request_id,
        ..CallFailure::new(kind, message)
    };
    Some(match ending {
        Ending::Complete => return None,
        Ending::Cut => {
            Outcome::Unknown(failure(ErrorKind::Truncated, "the connection broke in the middle of the answer".into()))
        }
        Ending::TimedOut => {
            Outcome::Unknown(failure(ErrorKind::TimedOut, "time was up in the middle of the answer".into()))
        }
        Ending::TooLong => {
            let message = match &body {
                Some(body) => format!(
                    "the answer has {} MB, and more than 64 MB are not read; it is kept in the ledger as it came",
                    body.len() / 1_000_000
                ),
                None => "the answer is larger than any that is read (64 MB), and is not kept".into(),
            };
            Outcome::TooLarge { failure: failure(ErrorKind::AnswerTooLarge, message), body }
        }
    })
}

/// The vendor's hosts that are bound to a region.
const REGION_HOSTS: &str = "https://api.india.smallest.ai, https://api.us.smallest.ai";

/// The meaning of a reply to a transcription; `posted`: its answer is to be posted.
pub(super) fn outcome(reply: HttpReply, posted: bool) -> Outcome {
    if reply.status.is_success() { success(reply, posted) } else { FailedReply::of(&reply).into() }
}

fn success(reply: HttpReply, posted: bool) -> Outcome {
    let request_id = request_id(&reply, None);
    if reply.ending != Ending::Complete {
        let kept = Some(reply.body).filter(|body| !body.is_empty() && reply.ending == Ending::TooLong);
        let incomplete = incomplete(reply.ending, reply.status, request_id, kept.map(Arrived::into_body));
        return incomplete.expect("it is not complete");
    }
    let status = Some(reply.status.as_u16());
    let failure =
        |kind, message: String, request_id| CallFailure { status, request_id, ..CallFailure::new(kind, message) };
    // A large answer is read again when its outputs are written: until then it stays packed.
    let want = if matches!(reply.body, Arrived::Whole(_)) { AnswerDetail::All } else { AnswerDetail::Facts };
    let reading = AnswerReading::of(reply.body.reader(), want);
    if posted && let Some(in_body) = processing(&reading) {
        return Outcome::Accepted { request_id: in_body.or(request_id) };
    }
    match usable(reading, || reply.body.reader()) {
        Ok(usable) => Outcome::Answered(Answer {
            request_id: usable.request_id.or(request_id),
            content_expiry: reply.header("x-content-expiry"),
            audio_ms: usable.transcript.duration_ms,
            transcript: (want == AnswerDetail::All).then_some(usable.transcript),
            body: reply.body.into_body(),
        }),
        Err(Unusable { cut: true, .. }) if !reply.framed => {
            let message = "the answer ends in the middle".to_owned();
            Outcome::Unknown(failure(ErrorKind::Truncated, message, request_id))
        }
        Err(Unusable { why, request_id: in_body, .. }) => {
            let said = Said::of(|| reply.body.reader());
            if let Some(failure) = of_audio(&reply, &said) {
                return Outcome::Refused(failure);
            }
            let message = format!("the API answered with success, but {why}");
            Outcome::Unusable(failure(ErrorKind::UnusableAnswer, message, in_body.or(request_id)))
        }
    }
}

/// The request id in a body that says that the work has started.
#[expect(clippy::option_option, reason = "whether it says so, and whether it has an id")]
fn processing(reading: &serde_json::Result<AnswerReading>) -> Option<Option<String>> {
    let reading = reading.as_ref().ok()?;
    let begun = matches!(&reading.status, TextField::Text(status) if status == "processing");
    (begun && reading.transcription.is_none()).then(|| id_in(reading))
}

fn id_in(reading: &AnswerReading) -> Option<String> {
    reading.transcript.request_id.as_deref().map(words::clean).filter(|id| !id.is_empty())
}

/// A body that is a transcription.
pub(super) struct Usable {
    /// The vendor's request id.
    pub(super) request_id: Option<String>,
    /// The requested details of it.
    pub(super) transcript: Transcript,
}

/// A body that is not a transcription.
pub(super) struct Unusable {
    pub(super) why: String,
    /// The body is the beginning of an answer.
    cut: bool,
    /// Its status says that the work failed.
    pub(super) failed: bool,
    pub(super) request_id: Option<String>,
}

/// Whether a body that was read is a transcription. If not, it is examined again for the reason.
pub(super) fn usable<'b>(
    reading: serde_json::Result<AnswerReading>,
    body: impl Fn() -> Reader<'b>,
) -> Result<Usable, Unusable> {
    let unusable = |why: &str, cut| Unusable { why: why.to_owned(), cut, failed: false, request_id: None };
    let reading = match reading {
        Ok(reading) => reading,
        Err(_) if is_blank(body()) => return Err(unusable("the answer is empty", false)),
        Err(error) => {
            let html = words::is_html(&String::from_utf8_lossy(&beginning(body())));
            return Err(unusable(if html { "with an HTML page" } else { "the answer is not JSON" }, error.is_eof()));
        }
    };
    let request_id = id_in(&reading);
    let is_failure = |status: &str| status != "success";
    let (why, failed) = match (&reading.status, reading.transcription) {
        (TextField::Text(status), _) if is_failure(status) => {
            let said = Said::of(&body).words.map(|words| format!(": {words}")).unwrap_or_default();
            (format!("its status is `{}`{said}", words::clean(status)), status == "failed")
        }
        (TextField::Other, Some(true)) => ("its status is no text".to_owned(), false),
        (_, Some(true)) => return Ok(Usable { request_id, transcript: reading.transcript }),
        (_, Some(false)) => ("its `transcription` is no text".to_owned(), false),
        (_, None) => ("it has no `transcription`".to_owned(), false),
    };
    Err(Unusable { why, cut: false, failed, request_id })
}

/// Whether the body is only white space.
fn is_blank(mut body: Reader<'_>) -> bool {
    loop {
        match body.fill_buf() {
            Ok([]) => return true,
            Ok(piece) if piece.iter().all(u8::is_ascii_whitespace) => {
                let read = piece.len();
                body.consume(read);
            }
            Ok(_) | Err(_) => return false,
        }
    }
}

/// Enough of a body to distinguish a page from an answer.
fn beginning(body: Reader<'_>) -> Vec<u8> {
    let mut start = Vec::with_capacity(64);
    // A damaged body has no beginning.
    let _ = body.take(64).read_to_end(&mut start);
    start
}

/// A failure that is final, whatever the status: this recording can never be transcribed.
fn of_audio(reply: &HttpReply, said: &Said) -> Option<CallFailure> {
    let what = match said.of_audio? {
        "NoAudio" => "the API finds no audio in the recording",
        _ => "the API cannot decode the recording",
    };
    Some(failure(reply, said, ErrorKind::SourceNotAudio, what.to_owned()))
}

fn server_error(reply: &HttpReply) -> FailedReply {
    let said = Said::read(reply.explanation());
    if !said.by_api || reply.ending != Ending::Complete {
        return FailedReply::Unknown(gateway(reply, &said));
    }
    let what = match reply.status {
        StatusCode::SERVICE_UNAVAILABLE => "the API is not available for the moment",
        _ => "the API failed on its side",
    };
    refusal(reply, &said, ErrorKind::ServerError, what.to_owned())
}

fn gateway(reply: &HttpReply, said: &Said) -> CallFailure {
    let what = match reply.status {
        StatusCode::GATEWAY_TIMEOUT => "a gateway before the API waited in vain",
        _ => "a gateway before the API, not the API itself, answered",
    };
    failure(reply, said, ErrorKind::Gateway, what.to_owned())
}

fn refused(reply: &HttpReply) -> FailedReply {
    let said = Said::read(reply.explanation());
    let (kind, what) = verdict(reply, &said);
    refusal(reply, &said, kind, what)
}

fn refusal(reply: &HttpReply, said: &Said, kind: ErrorKind, what: String) -> FailedReply {
    FailedReply::Refused(failure(reply, said, kind, what))
}

/// The kind of a refusal, and its description.
fn verdict(reply: &HttpReply, said: &Said) -> (ErrorKind, String) {
    let (kind, what) = match reply.status.as_u16() {
        _ if said.mentions("language_not_enabled_in_region") => {
            let language = said.language.as_deref().map_or_else(String::new, |it| format!(" `{}`", words::clean(it)));
            let region = said.region.as_deref().map_or_else(String::new, |it| format!(" `{}`", words::clean(it)));
            let what = format!(
                "the language{language} is not enabled in the account's region{region}; another region has languages of its own ({REGION_HOSTS}, as SMALLEST_BASE_URL or base_url)"
            );
            return (ErrorKind::LanguageNotEnabled, what);
        }
        300..=399 => {
            let to = reply.header("location").map(|to| format!(" to {}", words::clean(&to))).unwrap_or_default();
            return (ErrorKind::BadRequest, format!("the API redirects{to}; set the base URL to where it lives"));
        }
        400 | 402 | 404 | 422 if said.asks_for_upgrade() => {
            (ErrorKind::Forbidden, "the account's plan does not include this")
        }
        400 if said.mentions("audio data too large") => (ErrorKind::TooLarge, "the recording is too large for the API"),
        401 => (ErrorKind::Unauthorized, "the API does not accept the key"),
        402 => (ErrorKind::PaymentRequired, "the account cannot pay for this call"),
        403 => (ErrorKind::Forbidden, "the account's plan or key does not include this"),
        400 | 404 | 410 | 422 if said.mentions("model_deprecated") || said.recommended.is_some() => {
            return retired(said);
        }
        410 if said.by_api => return retired(said),
        400 | 422 => (ErrorKind::BadRequest, "the API refused the request"),
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

/// The model is retired: the failure concerns the model, not the line.
fn retired(said: &Said) -> (ErrorKind, String) {
    let to = said.recommended.as_ref().map(|to| format!(", and recommends {to}")).unwrap_or_default();
    (ErrorKind::ModelRetired, format!("the vendor has retired this model or route{to}; set another model"))
}

/// A failure with our description, then the vendor's message.
fn failure(reply: &HttpReply, said: &Said, kind: ErrorKind, what: String) -> CallFailure {
    let status = reply.status.as_u16();
    let page = if said.html { " with an HTML page" } else { "" };
    let theirs = said.words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
    CallFailure {
        status: Some(status),
        request_id: request_id(reply, said.request_id.clone()),
        retry_after: retry_after(&reply.headers, Timestamp::now()),
        ..CallFailure::new(kind, format!("{what} ({status}{page}){theirs}"))
    }
}

pub(super) fn request_id(reply: &HttpReply, in_body: Option<String>) -> Option<String> {
    in_body.or_else(|| reply.header("x-request-id").map(|id| words::clean(&id)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::domain::body::{Arriving, LARGE};

    fn reply(status: u16, body: &str) -> HttpReply {
        HttpReply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Arrived::Whole(body.to_owned().into()),
            ending: Ending::Complete,
            framed: true,
        }
    }

    fn refusal_of(status: u16, body: &str) -> CallFailure {
        match outcome(reply(status, body), false) {
            Outcome::Refused(failure) => failure,
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
            (404, r#"{"error":"MODEL_DEPRECATED"}"#, ErrorKind::ModelRetired),
            (
                410,
                r#"{"error":"MODEL_DEPRECATED","message":"x","recommended_endpoint":"/waves/v1/tts"}"#,
                ErrorKind::ModelRetired,
            ),
            (410, r#"{"error":"gone"}"#, ErrorKind::ModelRetired),
            (410, "<html>gone</html>", ErrorKind::BadRequest),
            (404, "", ErrorKind::BadRequest),
            (400, r#"{"error":"Please upgrade your plan to use this model"}"#, ErrorKind::Forbidden),
            (403, r#"{"error":"Your plan does not include this. Upgrade your plan."}"#, ErrorKind::Forbidden),
            (400, r#"{"status":"error","code":"NoAudio","message":"x"}"#, ErrorKind::SourceNotAudio),
            (500, r#"{"status":"error","code":"AudioDecodeError","message":"x"}"#, ErrorKind::SourceNotAudio),
            (503, r#"{"message":"x","code":"NoAudio"}"#, ErrorKind::SourceNotAudio),
            (504, r#"{"error":"NoAudio"}"#, ErrorKind::SourceNotAudio),
            (200, r#"{"status":"error","code":"AudioDecodeError","message":"x"}"#, ErrorKind::SourceNotAudio),
            (413, "<html><title>413</title></html>", ErrorKind::TooLarge),
            (418, "", ErrorKind::BadRequest),
            (429, r#"{"error":"Rate limit exceeded."}"#, ErrorKind::RateLimited),
            (429, r#"{"error":"Monthly Quota exceeded"}"#, ErrorKind::QuotaExhausted),
            (429, "", ErrorKind::RateLimited),
            (500, r#"{"error":"oops"}"#, ErrorKind::ServerError),
            (503, r#"{"error":"Worker temporarily unavailable"}"#, ErrorKind::ServerError),
            (302, "", ErrorKind::BadRequest),
        ] {
            let failure = refusal_of(status, body);
            assert_eq!(failure.kind, kind, "{status} {body}");
            assert_eq!(failure.status, Some(status));
        }
    }

    #[test]
    fn words_can_be_acted_on() {
        let retired = refusal_of(410, r#"{"error":"MODEL_DEPRECATED","request_id":"r9"}"#);
        assert_eq!(
            retired.message,
            "the vendor has retired this model or route; set another model (410): MODEL_DEPRECATED"
        );
        assert_eq!(retired.request_id.as_deref(), Some("r9"));
        let region = r#"{"status":"error","error_code":"LANGUAGE_NOT_ENABLED_IN_REGION","message":"No.","language":"gu","region":"us"}"#;
        let message = refusal_of(400, region).message;
        assert!(
            message.starts_with("the language `gu` is not enabled in the account's region `us`; another"),
            "{message}"
        );
        assert!(message.contains("https://api.india.smallest.ai") && message.ends_with("(400): No."), "{message}");
        assert_eq!(
            refusal_of(403, "<html><title>Blocked</title></html>").message,
            "the account's plan or key does not include this (403 with an HTML page): Blocked"
        );
    }

    #[test]
    fn a_5xx_that_the_api_did_not_write_is_unknown() {
        let of_gateway =
            |reply| matches!(outcome(reply, false), Outcome::Unknown(CallFailure { kind: ErrorKind::Gateway, .. }));
        assert!(of_gateway(reply(502, "<html><title>502</title></html>")));
        assert!(of_gateway(reply(503, "")));
        assert!(of_gateway(reply(500, r#"{"message":"Internal server error"}"#)));
        assert!(of_gateway(reply(504, r#"{"error":"Worker timed out"}"#)));
        assert!(of_gateway(HttpReply { ending: Ending::Cut, ..reply(500, r#"{"error":"oops"}"#) }));
    }

    #[test]
    fn only_a_transcription_is_an_answer() {
        for body in [r#"{"status":"success","transcription":""}"#, r#"{"transcription":"a","x":1}"#] {
            assert!(
                matches!(outcome(reply(200, body), false), Outcome::Answered(answer) if answer.body == body.into()),
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
            (HttpReply { ending: Ending::Cut, ..reply(200, half) }, ErrorKind::Truncated),
            (HttpReply { ending: Ending::TimedOut, ..reply(200, half) }, ErrorKind::TimedOut),
            (HttpReply { framed: false, ..reply(200, half) }, ErrorKind::Truncated),
        ] {
            assert!(matches!(outcome(reply, false), Outcome::Unknown(failure) if failure.kind == kind));
        }
    }

    #[test]
    fn what_an_answer_says_is_read_once_unless_it_is_large() {
        let small = r#"{"transcription":"a","metadata":{"duration":1.5},"request_id":" r1 "}"#;
        let Outcome::Answered(answer) = outcome(reply(200, small), false) else { panic!("it is one") };
        assert_eq!((answer.audio_ms, answer.request_id.as_deref()), (Some(1_500), Some("r1")));
        assert_eq!(answer.transcript.unwrap().text, "a");
        let spaces = " ".repeat(usize::try_from(LARGE).unwrap());
        let large = |body: &str| {
            let mut arriving = Arriving::default();
            arriving.push(body.as_bytes());
            arriving.push(spaces.as_bytes());
            HttpReply { body: arriving.finish(), ..reply(200, "") }
        };
        let Outcome::Answered(answer) = outcome(large(small), false) else { panic!("it is one, too") };
        assert_eq!((answer.audio_ms, answer.request_id.as_deref()), (Some(1_500), Some("r1")));
        assert_eq!((answer.transcript, answer.body.len()), (None, LARGE + small.len() as u64));
        for (body, why) in [
            ("", "but the answer is empty"),
            ("<html>", "with an HTML page"),
            ("{", "the answer is not JSON"),
            (r#"{"status":"failed","x":[1e999],"error":"no speech"}"#, "the answer is not JSON"),
            (r#"{"status":"failed","x":[[]],"error":"no speech"}"#, "its status is `failed`: no speech"),
            (r#"{"transcription":7}"#, "its `transcription` is no text"),
            (r#"{"transcription":"a","status":7}"#, "its status is no text"),
        ] {
            let Outcome::Unusable(failure) = outcome(large(body), false) else { panic!("{body} is none") };
            assert!(failure.message.contains(why), "{body}: {}", failure.message);
        }
        let begun = r#"{"status":"processing","request_id":"r1"}"#;
        assert_eq!(outcome(large(begun), true), Outcome::Accepted { request_id: Some("r1".into()) });
    }

    #[test]
    fn one_that_is_too_large_is_kept_where_it_came_whole() {
        let too_long = |body: &str| outcome(HttpReply { ending: Ending::TooLong, ..reply(200, body) }, false);
        let Outcome::TooLarge { failure, body } = too_long("{}") else { panic!("it is too large") };
        assert_eq!((failure.kind, body), (ErrorKind::AnswerTooLarge, Some("{}".into())));
        assert!(failure.message.contains("is kept in the ledger"), "{}", failure.message);
        let Outcome::TooLarge { failure, body: None } = too_long("") else { panic!("nothing is there") };
        assert!(failure.message.contains("is not kept"), "{}", failure.message);
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
