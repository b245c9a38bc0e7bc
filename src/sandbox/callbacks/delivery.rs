//! One delivery on its way.

use std::time::Duration;

use axum::http::header;
use reqwest::{Body, Client, redirect::Policy};

use crate::sandbox::{
    hook::Hook,
    reply::{PIECES, halved, in_pieces},
};

/// How a body goes over the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// In one piece.
    Whole,
    /// In pieces, with a pause before each.
    Drip(Duration),
    /// Half of it, under the length of the whole.
    Half,
}

/// The client that delivers.
#[derive(Debug)]
pub(super) struct Courier {
    client: Client,
    timeouts: Duration,
}

impl Courier {
    pub(super) fn new(timeouts: Duration) -> reqwest::Result<Self> {
        // Only a 2xx of the address that was given acknowledges.
        let client = Client::builder().redirect(Policy::none()).no_proxy().user_agent("wavebatch-sandbox");
        Ok(Self { client: client.build()?, timeouts })
    }

    /// Sends `body` to where `hook` says: the status of the answer, or why there was none.
    pub(super) async fn send(&self, hook: &Hook, body: Vec<u8>, form: Form) -> Result<u16, String> {
        let request = self.client.request(hook.method.clone(), &hook.url);
        let request =
            request.header(header::CONTENT_TYPE, "application/json").header(header::CONTENT_LENGTH, body.len());
        let request = match form {
            Form::Whole => request.body(body).timeout(self.timeouts),
            Form::Half => request.body(Body::wrap_stream(halved(body.into()))).timeout(self.timeouts),
            Form::Drip(pause) => {
                let body = Body::wrap_stream(in_pieces(body.into(), pause));
                request.body(body).timeout(self.timeouts + pause * PIECES)
            }
        };
        match request.send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(error.without_url().to_string()),
        }
    }
}
