//! An S3 store in this process: the real protocol on a real socket (`s3s`), objects in memory, and faults to order. It
//! has a thread of its own, so that a test may block. On nothing else of `support`: benches use it, too.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::HeaderValue,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use s3s::{
    Body,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, sync::oneshot};
use wavebatch::domain::s3::S3Settings;

#[path = "s3/memory.rs"]
mod memory;

use memory::Memory;

pub const ACCESS_KEY: &str = "AKIAWAVEBATCHTEST";
pub const SECRET_KEY: &str = "a secret of tests";

/// What is done to a request instead of, or after, what it asks for.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An error with this status and code.
    Status(u16, &'static str),
    /// The answer to who asks in the wrong region.
    ElsewhereIn(&'static str),
    /// No answer.
    Hang,
    /// It is done, and answered, but only after so long.
    Slow(Duration),
    /// The connection is closed after so many bytes of the request's body.
    CutBody(usize),
    /// Somebody has just removed the bucket, with all that was in it.
    BucketGone,
    /// It is done, but nobody hears of it.
    LoseAnswer,
    /// What is stored differs from what was sent, and its ETag with it.
    CorruptStored,
    /// The answer's ETag is wrong.
    WrongEtag,
    /// The answer breaks off after so many bytes.
    Truncate(usize),
    /// The answer goes silent after so many bytes.
    Stall(usize),
    /// A listing that always goes on, and always at the same place.
    SameToken,
    /// A listing that always goes on, with nothing in it, and each time somewhere else.
    NothingForEver,
}

#[derive(Debug)]
struct Order {
    method: &'static str,
    about: String,
    fault: Fault,
    /// Requests that pass before.
    spared: u32,
    left: u32,
}

/// An object of the store.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub body: Bytes,
    pub etag: String,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub storage_class: Option<String>,
    pub sse: Option<String>,
    /// When it was written, if a test says so.
    pub modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Upload {
    bucket: String,
    key: String,
    like: Stored,
    parts: BTreeMap<i32, Bytes>,
    begun: SystemTime,
}

/// A version of an object, or the mark of its removal.
#[derive(Debug, Clone)]
struct Version {
    key: String,
    id: String,
    /// `None`: the object was removed here.
    stored: Option<Stored>,
    locked: bool,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Stored>>,
    /// The versions of each bucket that keeps them, oldest first.
    versions: BTreeMap<String, Vec<Version>>,
    uploads: BTreeMap<String, Upload>,
    serial: u64,
    orders: Vec<Order>,
    /// Requests that met a fault.
    met: u64,
    /// Method, path and query of every request, decoded.
    requests: Vec<(String, String)>,
}

/// The store. Gone with this value.
pub struct S3Server {
    endpoint: String,
    state: Shared,
    _stop: oneshot::Sender<()>,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().expect("no panic under it")
}

impl S3Server {
    /// From now on a bucket keeps the versions of its objects.
    pub fn keep_versions(&self, bucket: &str) {
        lock(&self.state).versions.insert(bucket.into(), Vec::new());
    }

    /// Locks the newest version of an object.
    pub fn lock_newest(&self, bucket: &str, key: &str) {
        let mut state = lock(&self.state);
        let versions = state.versions.get_mut(bucket).expect("a bucket with versions");
        versions.iter_mut().rfind(|version| version.key == key).expect("that object").locked = true;
    }

    /// How many versions of an object there are, marks of removals among them.
    pub fn versions(&self, bucket: &str, key: &str) -> usize {
        lock(&self.state).versions[bucket].iter().filter(|version| version.key == key).count()
    }

    /// A store without buckets. This process may speak to it.
    pub async fn start() -> Self {
        let state = Shared::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (_stop, stopped) = oneshot::channel::<()>();
        let serving = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! { () = serve(listener, serving) => {}, _ = stopped => {} }
            });
        });
        wavebatch::s3::set_test_credentials(&endpoint, ACCESS_KEY, SECRET_KEY);
        Self { endpoint, state, _stop }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn settings(&self) -> S3Settings {
        S3Settings { endpoint_url: Some(self.endpoint.clone()), ..S3Settings::default() }
    }

    /// For a child process.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_ENDPOINT_URL_S3", self.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    pub fn bucket(&self, name: &str) {
        lock(&self.state).buckets.entry(name.into()).or_default();
    }

    /// Stores an object, with its bucket.
    pub fn put(&self, bucket: &str, key: &str, body: impl Into<Bytes>) {
        let body = body.into();
        let stored = Stored { etag: md5_of(&body), body, ..Stored::default() };
        lock(&self.state).buckets.entry(bucket.into()).or_default().insert(key.into(), stored);
    }

    pub fn remove(&self, bucket: &str, key: &str) {
        lock(&self.state).buckets.get_mut(bucket).and_then(|objects| objects.remove(key));
    }

    /// Gives an object another storage class.
    pub fn archive(&self, bucket: &str, key: &str, class: &str) {
        if let Some(stored) = lock(&self.state).buckets.get_mut(bucket).and_then(|objects| objects.get_mut(key)) {
            stored.storage_class = Some(class.into());
        }
    }

    /// Says of an object when it was written.
    pub fn date(&self, bucket: &str, key: &str, modified: SystemTime) {
        if let Some(stored) = lock(&self.state).buckets.get_mut(bucket).and_then(|objects| objects.get_mut(key)) {
            stored.modified = Some(modified);
        }
    }

    /// Says of an object how it is packed.
    pub fn pack(&self, bucket: &str, key: &str, encoding: &str) {
        if let Some(stored) = lock(&self.state).buckets.get_mut(bucket).and_then(|objects| objects.get_mut(key)) {
            stored.content_encoding = Some(encoding.into());
        }
    }

    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        Some(self.stored(bucket, key)?.body)
    }

    pub fn stored(&self, bucket: &str, key: &str) -> Option<Stored> {
        lock(&self.state).buckets.get(bucket)?.get(key).cloned()
    }

    pub fn keys(&self, bucket: &str) -> Vec<String> {
        lock(&self.state).buckets.get(bucket).map(|objects| objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// Uploads that were neither completed nor aborted.
    pub fn uploads(&self) -> usize {
        lock(&self.state).uploads.len()
    }

    /// Begins an upload long ago, as a process that died did.
    pub fn leave_upload(&self, bucket: &str, key: &str, age: Duration) {
        let mut state = lock(&self.state);
        let (begun, like) = (SystemTime::now() - age, Stored::default());
        let upload = Upload { bucket: bucket.into(), key: key.into(), like, parts: BTreeMap::new(), begun };
        state.serial += 1;
        let id = format!("upload-{}", state.serial);
        state.uploads.insert(id, upload);
    }

    /// From now on, requests of this method (`""`: any) whose path and query contain `about` meet this fault.
    pub fn fault(&self, method: &'static str, about: &str, fault: Fault) {
        self.fault_times(u32::MAX, method, about, fault);
    }

    /// The next so many of them.
    pub fn fault_times(&self, times: u32, method: &'static str, about: &str, fault: Fault) {
        self.fault_after(0, times, method, about, fault);
    }

    /// So many of them go well before that.
    pub fn fault_after(&self, spared: u32, times: u32, method: &'static str, about: &str, fault: Fault) {
        lock(&self.state).orders.push(Order { method, about: about.into(), fault, spared, left: times });
    }

    /// No faults any more.
    pub fn lift(&self) {
        lock(&self.state).orders.clear();
    }

    /// How many requests met a fault.
    pub fn met(&self) -> u64 {
        lock(&self.state).met
    }

    /// How many requests of this method there were (`""`: any).
    pub fn requests(&self, method: &str) -> usize {
        self.requests_about(method, "")
    }

    /// How many of them were about this.
    pub fn requests_about(&self, method: &str, about: &str) -> usize {
        let state = lock(&self.state);
        state.requests.iter().filter(|(m, what)| (method.is_empty() || m == method) && what.contains(about)).count()
    }
}

fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(listener: TcpListener, state: Shared) {
    let mut builder = S3ServiceBuilder::new(Memory(state.clone()));
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = Arc::new(builder.build());
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let _ = socket.set_nodelay(true);
        let (service, state) = (service.clone(), state.clone());
        let answer = service_fn(move |request| answer(service.clone(), state.clone(), request));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
    }
}

/// An error closes the connection without an answer.
async fn answer(service: Arc<S3Service>, state: Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let method = request.method().as_str().to_owned();
    let what = request.uri().path_and_query().map(|what| what.as_str()).unwrap_or_default();
    let what = percent_decode_str(what).decode_utf8_lossy().into_owned();
    let key = request.uri().path().to_owned();
    let fault = {
        let mut state = lock(&state);
        state.requests.push((method.clone(), what.clone()));
        let wanted =
            |o: &&mut Order| o.left > 0 && (o.method.is_empty() || o.method == method) && what.contains(&o.about);
        match state.orders.iter_mut().find(wanted) {
            None => None,
            Some(order) if order.spared > 0 => {
                order.spared -= 1;
                None
            }
            Some(order) => {
                order.left -= 1;
                let fault = order.fault.clone();
                state.met += 1;
                Some(fault)
            }
        }
    };
    let gone = || io::Error::other("no answer");
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status, code)) => {
            let _ = request.into_body().collect().await;
            Ok(error(status, code))
        }
        Some(Fault::CutBody(most)) => {
            let (mut body, mut came) = (request.into_body(), 0);
            while came < most
                && let Some(Ok(frame)) = body.frame().await
            {
                came += frame.data_ref().map_or(0, Bytes::len);
            }
            Err(gone())
        }
        Some(Fault::ElsewhereIn(region)) => {
            let mut answer = error(301, "PermanentRedirect");
            answer.headers_mut().insert("x-amz-bucket-region", HeaderValue::from_static(region));
            Ok(answer)
        }
        fault => {
            match fault {
                Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
                Some(Fault::BucketGone) => {
                    let bucket = key.trim_start_matches('/').split('/').next().unwrap_or_default();
                    lock(&state).buckets.remove(bucket);
                }
                _ => {}
            }
            let answer = service.call(request.map(Body::from)).await.map_err(|_| gone())?;
            match fault {
                None | Some(Fault::Slow(_) | Fault::BucketGone) => Ok(answer),
                Some(Fault::LoseAnswer) => Err(gone()),
                Some(fault) => spoil(&state, &key, fault, answer).await,
            }
        }
    }
}

fn error(status: u16, code: &str) -> Response<Body> {
    let xml = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as ordered</Message></Error>");
    Response::builder().status(status).body(Body::from(xml)).expect("a response")
}

async fn spoil(state: &Shared, path: &str, fault: Fault, answer: Response<Body>) -> io::Result<Response<Body>> {
    let (mut head, body) = answer.into_parts();
    let body = BodyExt::collect(body).await.map_err(io::Error::other)?.to_bytes();
    let etag = |md5: &str| HeaderValue::from_str(&format!("\"{md5}\"")).expect("hex is ASCII");
    match fault {
        Fault::CorruptStored => {
            let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy().into_owned();
            let (bucket, key) = path.split_once('/').expect("a key");
            if let Some(stored) = lock(state).buckets.get_mut(bucket).and_then(|objects| objects.get_mut(key)) {
                stored.body = [&b"X"[..], &stored.body].concat().into();
                stored.etag = md5_of(&stored.body);
                head.headers.insert("etag", etag(&stored.etag));
            }
            Ok(Response::from_parts(head, Body::from(body)))
        }
        Fault::WrongEtag => {
            head.headers.insert("etag", etag(&md5_of(b"something else")));
            Ok(Response::from_parts(head, Body::from(body)))
        }
        Fault::Truncate(at) | Fault::Stall(at) => {
            let for_ever = matches!(fault, Fault::Stall(_));
            let length = HeaderValue::from_str(&body.len().to_string()).expect("digits");
            head.headers.insert("content-length", length);
            let first = stream::iter([Ok(Frame::data(body.slice(..at.min(body.len()))))]);
            let then = stream::once(async move {
                // The first bytes have to be on the wire by then.
                tokio::time::sleep(if for_ever { Duration::MAX } else { Duration::from_millis(30) }).await;
                Err(io::Error::other("cut"))
            });
            Ok(Response::from_parts(head, Body::http_body_unsync(StreamBody::new(first.chain(then)))))
        }
        Fault::SameToken | Fault::NothingForEver => {
            let list = String::from_utf8_lossy(&body);
            let token = match fault {
                Fault::SameToken => "again".to_owned(),
                _ => lock(state).requests.len().to_string(),
            };
            let keys = match fault {
                Fault::SameToken => {
                    list.find("<Contents>").zip(list.rfind("</Contents>")).map(|(a, b)| &list[a..b + 11])
                }
                _ => None,
            };
            let (keys, name) = (keys.unwrap_or_default(), "ListBucketResult");
            let more = format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>");
            let body = format!("<?xml version=\"1.0\"?><{name}>{more}<EncodingType>url</EncodingType>{keys}</{name}>");
            head.headers.remove("content-length");
            Ok(Response::from_parts(head, Body::from(body)))
        }
        _ => unreachable!("handled before"),
    }
}
