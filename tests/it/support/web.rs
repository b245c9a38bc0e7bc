//! A web server for recordings that behaves as badly as it is told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What a path answers with.
#[derive(Clone)]
pub enum Page {
    File(Vec<u8>),
    /// A file with this `Content-Encoding`.
    Packed(&'static str, Vec<u8>),
    Status(u16),
    /// The status so often, then the file.
    Then(u16, u32, Vec<u8>),
    Redirect(&'static str),
    /// Half of the file; the rest to who asks for it.
    CutOnce(Vec<u8>),
    /// The file to `user:password`, else 401.
    Locked(Vec<u8>),
    Hang,
}

pub struct Web {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Pages by their path; that of `*` is for all others.
    pub async fn serve(pages: impl IntoIterator<Item = (&'static str, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let pages: Arc<HashMap<_, _>> = Arc::new(pages.into_iter().collect());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&pages), Arc::clone(&log)));
            }
        });
        Self { addr, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn url_for(&self, user: &str, path: &str) -> String {
        format!("http://{user}@{}{path}", self.addr)
    }

    /// The heads of all requests for `path`.
    pub fn asked(&self, path: &str) -> Vec<String> {
        let start = format!("GET {path} ");
        self.asked.lock().expect("no panic under it").iter().filter(|head| head.starts_with(&start)).cloned().collect()
    }
}

async fn answer(mut stream: TcpStream, pages: Arc<HashMap<&'static str, Page>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte @ 0..) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let times = {
        let mut asked = asked.lock().expect("no panic under it");
        asked.push(head.clone());
        asked.iter().filter(|h| h.split(' ').nth(1) == Some(&path)).count() as u32
    };
    let lower = head.to_ascii_lowercase();
    let from = lower.lines().find_map(|l| l.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let page = pages.get(path.as_str()).or(pages.get("*")).cloned();
    let (status, headers, body, len) = match page.unwrap_or(Page::Status(404)) {
        Page::File(file) => (200, String::new(), file.clone(), file.len()),
        Page::Packed(encoding, file) => {
            (200, format!("Content-Encoding: {encoding}\r\nETag: \"one\"\r\n"), file.clone(), file.len())
        }
        Page::Status(status) => (status, String::new(), vec![], 0),
        Page::Then(status, so_often, _) if times <= so_often => (status, String::new(), vec![], 0),
        Page::Then(_, _, file) => (200, String::new(), file.clone(), file.len()),
        Page::Redirect(to) => (302, format!("Location: {to}\r\n"), vec![], 0),
        Page::CutOnce(file) => match from {
            None => (200, "ETag: \"one\"\r\n".into(), file[..file.len() / 2].to_vec(), file.len()),
            Some(from) => {
                let range = format!("Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
                (206, range, file[from..].to_vec(), file.len() - from)
            }
        },
        Page::Locked(file) if lower.contains("authorization: basic dxnlcjpwyxnzd29yza==") => {
            (200, String::new(), file.clone(), file.len())
        }
        Page::Locked(_) => (401, String::new(), vec![], 0),
        Page::Hang => return std::future::pending().await,
    };
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}
