//! Questions that cost nothing: JSON that is asked for, or sent, and read whole.

use std::time::Duration;

use reqwest::{RequestBuilder, header::AUTHORIZATION};
use serde::de::DeserializeOwned;

use super::{
    answer::Ending,
    classify::{Failure, request_id},
    client::Client,
};
use crate::domain::call::{ErrorKind, Trouble};

const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// Sends a question with the account's key, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, question: RequestBuilder) -> Result<T, Trouble> {
        let reply = self.exchange(question.header(AUTHORIZATION, self.bearer.clone()), TIMEOUT).await?;
        if !reply.status.is_success() {
            return Err(Failure::of(&reply).trouble());
        }
        let trouble = |kind, message: String| Trouble {
            status: Some(reply.status.as_u16()),
            request_id: request_id(&reply, None),
            ..Trouble::new(kind, message)
        };
        if reply.ending != Ending::Complete {
            return Err(trouble(ErrorKind::Truncated, "the API's answer did not come whole".into()));
        }
        serde_json::from_slice(&reply.body).map_err(|error| {
            trouble(ErrorKind::UnusableAnswer, format!("the API's answer is not what it should be: {error}"))
        })
    }
}
