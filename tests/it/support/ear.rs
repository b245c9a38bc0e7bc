//! Somebody who is told: a server that keeps what is posted to it, and answers as it is asked to.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16),
    Redirect(String),
    Silence,
}

/// What was posted.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Method and path.
    pub request: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Heard {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

pub struct Ear {
    pub addr: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Ear {
    /// Answers with each of `replies` once, then with the last of them.
    pub async fn listen(replies: impl Into<Vec<Reply>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (addr, heard) = (listener.local_addr().expect("an address"), Arc::new(Mutex::new(Vec::new())));
        let (log, replies) = (Arc::clone(&heard), Arc::new(replies.into()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&replies), Arc::clone(&log)));
            }
        });
        Self { addr, heard }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?token=hush", self.addr)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic under it").clone()
    }

    /// Waits until so many were heard.
    pub async fn wait(&self, n: usize) -> Vec<Heard> {
        let end = Instant::now() + Duration::from_secs(10);
        while self.heard().len() < n {
            assert!(Instant::now() < end, "{} of {n} were heard", self.heard().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.heard()
    }
}

async fn converse(mut stream: TcpStream, replies: Arc<Vec<Reply>>, log: Arc<Mutex<Vec<Heard>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let mut lines = head.lines();
    let request = lines.next().expect("a first line").to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |len| len.parse().expect("a length"))];
    stream.read_exact(&mut body).await.expect("the whole body");
    let body = String::from_utf8(body).expect("a body is text");
    let nth = {
        let mut log = log.lock().expect("no panic under it");
        log.push(Heard { request, headers, body });
        log.len() - 1
    };
    let (status, more) = match &replies[nth.min(replies.len() - 1)] {
        Reply::Status(status) => (*status, String::new()),
        Reply::Redirect(to) => (302, format!("Location: {to}\r\n")),
        Reply::Silence => return std::future::pending().await,
    };
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n{more}\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.shutdown().await;
}
