//! A bench's own program once more, as a server in another process.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use wavebatch::sandbox::Books;

/// A server. It ends when this is dropped.
pub struct Server {
    /// Its process; what it reads from stdin is the bench's to say.
    pub child: Child,
    /// Where it listens: the first line that it prints.
    pub url: String,
}

impl Server {
    /// Starts this program with these arguments.
    pub fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut url).expect("its address");
        Self { child, url: url.trim().to_owned() }
    }

    /// The books of a sandbox.
    pub fn books(&self) -> Books {
        let url = format!("{}/sandbox/books", self.url);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { reqwest::get(url).await.expect("books").json().await.expect("books") })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
