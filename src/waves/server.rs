//! A server for the tests that follows its instructions byte by byte.

use std::future::Future;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use url::Url;

/// One accepted connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    seen: Vec<u8>,
}

impl Peer {
    /// Reads until the end of the head, which it returns; received bytes of the body stay for later.
    pub(super) async fn head(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.stream.read_buf(&mut self.seen).await.unwrap_or(0) == 0 {
                return String::new();
            }
        };
        String::from_utf8(self.seen.drain(..end).collect()).unwrap()
    }

    /// Reads a whole request with a Content-Length.
    pub(super) async fn request(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let len = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(|len| len.trim().parse().unwrap())
            })
            .unwrap_or(0);
        while self.seen.len() < len {
            assert!(self.stream.read_buf(&mut self.seen).await.unwrap() > 0, "half a request");
        }
        (head, self.seen.drain(..len).collect())
    }

    /// Reads to the end of the connection and returns everything that had not been read.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while matches!(self.stream.read_buf(&mut self.seen).await, Ok(1..)) {}
        std::mem::take(&mut self.seen)
    }

    /// Waits, without reading, until the client has filled all buffers in between and sends no more.
    pub(super) async fn until_stalled(&mut self) {
        let mut unread = vec![0; 32 << 20];
        let (mut before, mut now) = (0, self.stream.peek(&mut unread).await.unwrap());
        while before != now {
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            (before, now) = (now, self.stream.peek(&mut unread).await.unwrap());
        }
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Writes a complete response.
    pub(super) async fn respond(&mut self, status: &str, headers: &str, body: &str) {
        self.write(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    }

    /// Closes with a reset.
    #[expect(deprecated, reason = "a linger of nothing is how a socket is reset, and does not block")]
    pub(super) fn reset(self) {
        self.stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// Serves every connection with `serve`; its results arrive in the channel.
pub(super) async fn serve<F, T>(serve: impl Fn(Peer) -> F + Send + 'static) -> (Url, mpsc::UnboundedReceiver<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (results, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (results, served) = (results.clone(), serve(Peer { stream, seen: Vec::new() }));
            tokio::spawn(async move { results.send(served.await) });
        }
    });
    (url, receiver)
}
