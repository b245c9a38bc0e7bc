//! Removing an entry from the vendor's log of transcriptions.

use reqwest::Method;
use serde::Deserialize;

use super::client::Client;
use crate::domain::call::{CallFailure, ErrorKind};

const PATH: &str = "/waves/v1/analytics/asr/history/";

/// The answer to a removal.
#[derive(Deserialize)]
struct Removed {
    #[serde(default)]
    status: String,
}

impl Client {
    /// Removes a transcription from the vendor's log. The vendor hides it there ("soft-deletes"); what else it keeps is its own.
    /// An entry that is not there is removed, too: repeating the request is harmless.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or does not confirm the removal.
    pub async fn remove_from_log(&self, request_id: &str) -> Result<(), CallFailure> {
        let mut address = self.endpoint(PATH);
        match address.path_segments_mut() {
            // The id is the vendor's: whatever is in it stays one segment of the path.
            Ok(mut path) => path.pop_if_empty().push(request_id),
            Err(()) => return Err(CallFailure::new(ErrorKind::BadRequest, "the API's address takes no paths")),
        };
        let answer: Removed = self.ask(self.http.request(Method::DELETE, address)).await?;
        match answer.status.as_str() {
            "success" => Ok(()),
            _ => Err(CallFailure::new(ErrorKind::UnusableAnswer, "the API does not say that the entry is removed")),
        }
    }
}
