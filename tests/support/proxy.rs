//! The network between processes, to be cut, slowed down and listened to: a TCP proxy with threads of its own.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// What is behind it.
#[derive(Debug, Clone)]
pub enum Target {
    Port(SocketAddr),
    Socket(PathBuf),
}

/// Hears what goes to a target: the connection's number, whether the client says it, and the bytes.
pub type Tap = Box<dyn Fn(usize, bool, &[u8]) + Send + Sync>;

/// The proxy. It takes turns between its targets, and passes over one that does not listen.
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    targets: Vec<Target>,
    turn: AtomicUsize,
    /// How long each direction takes.
    delay: Duration,
    tap: Option<Tap>,
    line: Mutex<Line>,
    changed: Condvar,
}

/// What becomes of the connections of before, once a network is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// What was sent meanwhile arrives now.
    Arrive,
    /// Both ends are told that they are lost.
    Break,
    /// The network knows nothing of them any more: the target notices, the client hears nothing for ever.
    Vanish,
}

#[derive(Default)]
struct Line {
    cut: bool,
    /// Connections with smaller numbers are cut for ever.
    vanished: usize,
    /// The proxy is gone.
    closed: bool,
    /// Both ends of each connection.
    connections: HashMap<usize, [Socket; 2]>,
}

impl Proxy {
    /// A proxy before these targets.
    pub fn before(targets: Vec<Target>) -> Self {
        Self::with(targets, Duration::ZERO, None)
    }

    /// One with so much delay in each direction, and somebody who listens.
    pub fn with(targets: Vec<Target>, delay: Duration, tap: Option<Tap>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let (turn, line, changed) = (AtomicUsize::new(0), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { targets, turn, delay, tap, line, changed });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.connect(number, client));
            }
        });
        Self { addr, shared }
    }

    /// From now on nothing goes through, and nobody is told.
    pub fn cut(&self) {
        self.shared.line().cut = true;
    }

    /// Everything goes through again.
    pub fn heal(&self, after: After) {
        let mut line = self.shared.line();
        line.cut = false;
        match after {
            After::Arrive => {}
            After::Break => line.connections.values().flatten().for_each(Socket::close),
            After::Vanish => {
                line.vanished = line.connections.keys().max().map_or(line.vanished, |newest| newest + 1);
                line.connections.values().for_each(|[_, server]| server.close());
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut line = self.shared.line();
        line.closed = true;
        line.connections.values().flatten().for_each(Socket::close);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_open(&self, number: usize) {
        let is_shut = |line: &mut Line| !line.closed && (line.cut || number < line.vanished);
        let line = self.changed.wait_while(self.line(), is_shut);
        drop(line.unwrap_or_else(PoisonError::into_inner));
    }

    fn connect(self: Arc<Self>, number: usize, client: TcpStream) {
        self.wait_until_open(number);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let targets = (0..self.targets.len()).map(|n| &self.targets[(turn + n) % self.targets.len()]);
        let Some(server) = targets.map(Socket::connect).find_map(Result::ok) else { return };
        let client = Socket::Tcp(client);
        client.send_at_once();
        let ends = [client.another(), server.another()];
        self.line().connections.insert(number, ends);
        thread::scope(|scope| {
            scope.spawn(|| self.relay((number, true), client.another(), server.another()));
            scope.spawn(|| self.relay((number, false), server.another(), client.another()));
        });
        self.line().connections.remove(&number);
    }

    /// One direction of a connection: a thread reads, this one writes when it is time.
    fn relay(&self, who: (usize, bool), mut from: Socket, mut to: Socket) {
        let (send, queue) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(read @ 1..) = from.read(&mut buffer) {
                    if let Some(tap) = &self.tap {
                        tap(who.0, who.1, &buffer[..read]);
                    }
                    if send.send((Instant::now() + self.delay, buffer[..read].to_vec())).is_err() {
                        break;
                    }
                }
            });
            for (at, bytes) in queue {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                self.wait_until_open(who.0);
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            // The end of one side is news as well.
            self.wait_until_open(who.0);
            to.close();
        });
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn connect(target: &Target) -> io::Result<Self> {
        let socket = match target {
            Target::Port(addr) => Self::Tcp(TcpStream::connect(addr)?),
            Target::Socket(path) => Self::Unix(UnixStream::connect(path)?),
        };
        socket.send_at_once();
        Ok(socket)
    }

    fn send_at_once(&self) {
        if let Self::Tcp(socket) = self {
            let _ = socket.set_nodelay(true);
        }
    }

    fn another(&self) -> Self {
        match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone().expect("another handle")),
            Self::Unix(socket) => Self::Unix(socket.try_clone().expect("another handle")),
        }
    }

    fn close(&self) {
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
