//! A chat, or the analysis of a call: one call, from the request to its outcome.

use std::time::Duration;

use serde_json::Value;

use super::{
    client::Client,
    endpoint::{EndpointAnswer, EndpointCall},
    gate::Departure,
};
use crate::domain::{
    body::Body,
    call::{CallFailure, ErrorKind, Outcome},
    chat::{ChatEndpoint, Completion},
    options::ExpireContent,
};

const fn path(endpoint: ChatEndpoint) -> &'static str {
    match endpoint {
        ChatEndpoint::Chat => "/waves/v1/chat/completions",
        ChatEndpoint::Pca => "/waves/v1/pca",
    }
}

/// The request of a chat.
#[derive(Debug, Clone, Copy)]
pub struct ChatCall<'a> {
    /// Where it goes.
    pub endpoint: ChatEndpoint,
    /// Model, messages and all else, as JSON.
    pub body: &'a Value,
    /// The call's id in the journal.
    pub call_id: &'a str,
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatAnswer {
    /// The body, byte for byte.
    pub body: Body,
    /// What it says.
    pub completion: Completion,
    /// The vendor's request id.
    pub request_id: Option<String>,
}

impl Client {
    /// Asks for a reply and returns how the call ended, at the latest after `timeout`.
    ///
    /// `departs` is called as for [`Client::transcribe`].
    pub async fn chat(
        &self,
        call: &ChatCall<'_>,
        departs: impl FnOnce() -> Departure + Send + 'static,
        timeout: Duration,
    ) -> Outcome<ChatAnswer> {
        let ChatCall { endpoint, body, call_id } = *call;
        let call = EndpointCall { path: path(endpoint), body, expire: ExpireContent::No, call_id };
        match self.post(&call, departs, timeout).await {
            Outcome::Answered(answer) => read(endpoint, answer),
            other => other.map(|_| unreachable!("only an answer has one")),
        }
    }
}

/// The outcome of a complete answer: one that is no reply was billed, and cannot be used.
fn read(endpoint: ChatEndpoint, answer: EndpointAnswer) -> Outcome<ChatAnswer> {
    let EndpointAnswer { body, request_id, .. } = answer;
    let read = body.whole().map_err(|error| error.to_string()).and_then(|whole| Completion::read(endpoint, &whole));
    match read {
        Ok(completion) => Outcome::Answered(ChatAnswer { body, completion, request_id }),
        Err(why) => {
            let message = format!("the API answered with success, but {why}");
            let failure = CallFailure::new(ErrorKind::UnusableAnswer, message);
            Outcome::Unusable(CallFailure { status: Some(200), request_id, ..failure })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_without_a_reply_cannot_be_used() {
        let of = |body: &str| {
            let answer = EndpointAnswer { body: body.into(), request_id: Some("r".into()), content_expiry: None };
            read(ChatEndpoint::Chat, answer)
        };
        let Outcome::Answered(answer) = of(r#"{"choices":[{"message":{"content":"Hi"}}]}"#) else { panic!("a reply") };
        assert_eq!((answer.completion.text.as_str(), answer.request_id.as_deref()), ("Hi", Some("r")));
        for body in ["", "{}", "<html>"] {
            let Outcome::Unusable(failure) = of(body) else { panic!("{body}") };
            assert_eq!((failure.kind, failure.request_id.as_deref()), (ErrorKind::UnusableAnswer, Some("r")));
        }
    }
}
