//! Every shape in which the API (or a proxy before it) says no.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::documented::documented;

documented! {
    /// A documented shape of an error's body.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ErrorShape {
        /// `{"error", "request_id"}`
        Stt,
        /// `{"errors", "status": "error", "message"}`
        SttOlder,
        /// `{"status": "error", "error_code": "LANGUAGE_NOT_ENABLED_IN_REGION", "message", "language", "region"}`
        SttRegion,
        /// `{"message"}`: no token was sent.
        NoToken,
        /// `{"error": "unauthorized"}`
        BadKey,
        /// `{"error": <type>, "message"}`, by the documents
        Tts,
        /// `{"error": [{"code", "path", "message"}]}`, by the API itself
        TtsLive,
        /// `{"status": "error", "message", "code": "AudioDecodeError"}`
        AudioDecode,
        /// `{"status": "error", "message", "code": "NoAudio"}`
        NoAudio,
        /// `{"error": "MODEL_DEPRECATED", "message", "recommended_endpoint"}`
        Retired,
        /// `{"error": {"message", "type", "details", "request_id"}}`
        Chat,
        /// A proxy's page.
        Html,
        /// A proxy's silence.
        Nothing,
    }
}

impl ErrorShape {
    fn body(self, status: StatusCode, message: &str, request_id: &str) -> Option<Value> {
        Some(match self {
            Self::Stt => json!({"error": message, "request_id": request_id}),
            Self::SttOlder => json!({"status": "error", "message": message, "errors": message}),
            Self::SttRegion => region(message, "multi-indic"),
            Self::NoToken => json!({"message": "Unauthorized: No tokens provided"}),
            Self::BadKey => json!({"error": "unauthorized"}),
            Self::Tts => json!({"error": tts_type(status), "message": message}),
            Self::TtsLive => json!({"error": [{"code": "custom", "path": ["text"], "message": message}]}),
            Self::AudioDecode => json!({"status": "error", "message": message, "code": "AudioDecodeError"}),
            Self::NoAudio => json!({"status": "error", "message": message, "code": "NoAudio"}),
            Self::Retired => json!({
                "error": "MODEL_DEPRECATED",
                "message": message,
                "recommended_endpoint": "/waves/v1/tts",
                "request_id": request_id,
            }),
            Self::Chat => json!({"error": {
                "message": message,
                "type": "sandbox_error",
                "details": [{"code": status.as_str(), "message": message, "path": []}],
                "request_id": request_id,
            }}),
            Self::Html | Self::Nothing => return None,
        })
    }
}

/// What the synthesis endpoints put beside their message.
fn tts_type(status: StatusCode) -> String {
    match status.as_u16() {
        400 => "InvalidRequest".into(),
        404 | 410 => "MODEL_DEPRECATED".into(),
        _ => status.canonical_reason().unwrap_or("Error").replace(' ', ""),
    }
}

fn region(message: &str, language: &str) -> Value {
    json!({
        "status": "error",
        "error_code": "LANGUAGE_NOT_ENABLED_IN_REGION",
        "message": message,
        "language": language,
        "region": "sandbox",
    })
}

/// A refusal on its way to the client.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: String,
    /// The header, as it will stand there.
    pub retry_after: Option<String>,
}

impl Refusal {
    /// A refusal in one of the documented shapes.
    pub(super) fn shaped(status: u16, shape: ErrorShape, message: &str, request_id: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (content_type, body) = match shape.body(status, message, request_id) {
            Some(json) => ("application/json", json.to_string()),
            None if shape == ErrorShape::Html => ("text/html", html(status)),
            None => ("text/plain", String::new()),
        };
        Self { status, content_type, body, retry_after: None }
    }

    /// The unified shape of the transcription endpoint.
    pub(super) fn stt(status: u16, message: &str, request_id: &str) -> Self {
        Self::shaped(status, ErrorShape::Stt, message, request_id)
    }

    /// The older shape, with what is wrong for each field.
    pub(super) fn older(message: &str, errors: &Value) -> Self {
        let body = json!({"status": "error", "message": message, "errors": errors}).to_string();
        Self { status: StatusCode::BAD_REQUEST, content_type: "application/json", body, retry_after: None }
    }

    /// The shape for a language that this region does not have.
    pub(super) fn region(language: &str) -> Self {
        let body = region("this language is not enabled here", language).to_string();
        Self { status: StatusCode::BAD_REQUEST, content_type: "application/json", body, retry_after: None }
    }

    pub(super) fn retry_after(mut self, value: Option<String>) -> Self {
        self.retry_after = value;
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(wait) = self.retry_after.and_then(|w| HeaderValue::from_str(&w).ok()) {
            headers.insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

fn html(status: StatusCode) -> String {
    format!("<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1>a proxy</body>\r\n</html>\r\n")
}

/// 401 in the documented shapes, or nothing where the key is good.
pub(super) fn check_key(header: Option<&HeaderValue>, key: Option<&str>) -> Result<(), Refusal> {
    let Some(header) = header else { return Err(Refusal::shaped(401, ErrorShape::NoToken, "", "")) };
    let sent = header.to_str().ok().and_then(|h| h.strip_prefix("Bearer "));
    let good = match (sent, key) {
        (Some(sent), Some(key)) => sent == key,
        (Some(sent), None) => sent.len() > 3 && sent.starts_with("sk_"),
        (None, _) => false,
    };
    if good { Ok(()) } else { Err(Refusal::shaped(401, ErrorShape::BadKey, "", "")) }
}
