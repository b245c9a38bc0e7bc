//! The sandbox as a client sees it: over real sockets.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

use super::*;
use crate::audio::wav;

mod answers;
mod callbacks;
mod client;
mod faults;
mod limits;
mod logs;
mod padded;
mod refusals;
mod tts;

/// A sandbox and a client of it.
struct Peer {
    sandbox: Sandbox,
    client: Client,
}

impl Peer {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        // Every call over a connection of its own: a cut one must not hit a neighbour, or be tried again unasked.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { sandbox, client }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.sandbox.base_url())).bearer_auth("sk_test")
    }

    /// A call with this query; the body is still to be set.
    fn call(&self, query: &str) -> RequestBuilder {
        self.request(Method::POST, &format!("/waves/v1/stt/?{query}")).header("content-type", "audio/wav")
    }

    /// A plain call with a small recording, which is the same for the same `n`.
    fn plain(&self, n: i16) -> RequestBuilder {
        self.call("model=pulse&language=en").body(recording(n))
    }

    /// Sends a plain call on a task of its own.
    fn spawn(&self, n: i16) -> JoinHandle<reqwest::Result<Response>> {
        tokio::spawn(self.plain(n).send())
    }
}

/// A quarter of a second.
fn recording(n: i16) -> Vec<u8> {
    wav::pcm16(1, 8000, None, &[n; 2000])
}

/// Seconds of silence with words.
fn spoken(seconds: usize, words: &str) -> Vec<u8> {
    wav::pcm16(1, 8000, Some(words), &vec![0; 8000 * seconds])
}

async fn json(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}
