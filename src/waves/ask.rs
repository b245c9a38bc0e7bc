//! Requests that cost nothing: JSON is requested or sent, and the answer is read completely.

use std::time::Duration;

use reqwest::{RequestBuilder, header::AUTHORIZATION};
use serde::de::DeserializeOwned;

use super::{
    answer::Ending,
    classify::{FailedReply, request_id},
    client::Client,
};
use crate::{
    domain::{
        body::{Arrived, Reader},
        call::{CallFailure, ErrorKind},
    },
    large::look_into,
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes: hundreds of times the size of a voice catalog.
const MAX_BYTES: u64 = 8 << 20;

impl Client {
    /// Sends a free request with the account's key, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        question: RequestBuilder,
    ) -> Result<T, CallFailure> {
        let reply = self.exchange(question.header(AUTHORIZATION, self.bearer.clone()), MAX_BYTES, TIMEOUT).await?;
        if !reply.status.is_success() {
            return Err(FailedReply::of(&reply).failure());
        }
        let failure = |kind, message: String| CallFailure {
            status: Some(reply.status.as_u16()),
            request_id: request_id(&reply, None),
            ..CallFailure::new(kind, message)
        };
        match reply.ending {
            Ending::Complete => {}
            Ending::TooLong => {
                let message = format!("the API's answer is larger than {} MB", MAX_BYTES >> 20);
                return Err(failure(ErrorKind::AnswerTooLarge, message));
            }
            Ending::Cut | Ending::TimedOut => {
                return Err(failure(ErrorKind::Truncated, "the API's answer did not come whole".into()));
            }
        }
        let body = reply.body.clone();
        let read = look_into(body.len(), move || read(&body)).await;
        read.map_err(|error| {
            failure(ErrorKind::UnusableAnswer, format!("the API's answer is not what it should be: {error}"))
        })
    }
}

fn read<T: DeserializeOwned>(body: &Arrived) -> serde_json::Result<T> {
    match body.reader() {
        Reader::Whole(bytes) => serde_json::from_slice(bytes),
        Reader::Packed(packed) => serde_json::from_reader(packed),
    }
}
