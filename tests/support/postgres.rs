//! A PostgreSQL cluster for the tests of one process: made in a temporary folder when the first test asks for it, reached by
//! a socket there, and gone with the process, however that ends.

use std::{
    cell::Cell,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// What a test prints that has no server. The gate fails where it finds this.
const SKIPPED: &str =
    "SKIPPED: PostgreSQL is not installed (initdb was looked for on the PATH and in /usr/lib/postgresql)";

/// Says on stderr that a test is skipped, also where the test's own output is kept back.
pub fn tell_skipped() {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{SKIPPED}");
}

thread_local! {
    static ON_POSTGRES: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose ledgers are on the server, though it asks for files.
pub fn on_postgres(test: fn()) {
    if Cluster::get().is_none() {
        return tell_skipped();
    }
    ON_POSTGRES.set(true);
    test();
    ON_POSTGRES.set(false);
}

/// The address on the server that stands for a file, if this thread's test runs there. Each path has a schema.
pub fn stands_for(path: &Path) -> Option<String> {
    ON_POSTGRES.get().then(Cluster::get).flatten().map(|cluster| cluster.url(&schema_of(path)))
}

/// The schema that a path has.
pub fn schema_of(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("t{:x}", hasher.finish())
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The folder of its socket and of its data.
    pub dir: PathBuf,
    /// Its keeper sends the server the signal that it is told, waits for its end, and starts it again after so many seconds:
    /// a line as `QUIT 3`. It stops the server when this is closed.
    pub _keeper: ChildStdin,
}

impl Cluster {
    /// The address of its database, with the tables in this schema.
    pub fn url(&self, schema: &str) -> String {
        format!("postgres://wavebatch@localhost/postgres?host={}&schema={schema}", self.dir.display())
    }

    /// The cluster of this process, or none where PostgreSQL is not installed.
    pub fn get() -> Option<&'static Self> {
        static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
        CLUSTER.get_or_init(|| Some(Self::start(&programs()?))).as_ref()
    }

    /// Starts a cluster of its own. It does without all that protects from power cuts alone.
    pub fn start(bin: &Path) -> Self {
        Self::with(bin, "-c fsync=off -c full_page_writes=off")
    }

    /// Starts a cluster with these arguments of the server.
    #[expect(clippy::zombie_processes, reason = "its keeper outlives this process")]
    pub fn with(bin: &Path, arguments: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("wavebatch-pg-").tempdir().expect("a temporary folder").keep();
        // A server refuses to run as root.
        let as_user: &[&str] = if rustix::process::geteuid().is_root() {
            let owner = Command::new("chown").arg("postgres").arg(&dir).status().expect("chown");
            assert!(owner.success(), "root needs the user `postgres` to run a server");
            &["runuser", "-u", "postgres", "--"]
        } else {
            &[]
        };
        let keep = r#"
            cd "$1"
            "$2/initdb" -D data -U wavebatch -A trust -E UTF8 --no-locale -N >initdb.log 2>&1 || exit 1
            start() {
                "$2/postgres" -D data -c listen_addresses= -c unix_socket_directories="$1" \
                    -c max_connections=300 -c shared_buffers=64MB -c max_wal_size=512MB $3 \
                    >>server.log 2>&1 </dev/null &
            }
            start "$@"
            while read -r signal down; do
                kill "-$signal" $!
                wait
                sleep "$down"
                start "$@"
            done
            kill -INT $!
            wait
            rm -rf "$1"
        "#;
        let mut argv: Vec<&std::ffi::OsStr> = as_user.iter().map(AsRef::as_ref).collect();
        let (sh, c) = ("sh".as_ref(), "-c".as_ref());
        let given = [dir.as_ref(), bin.as_ref(), arguments.as_ref()];
        argv.extend::<[&std::ffi::OsStr; 4]>([sh, c, keep.as_ref(), "keeper".as_ref()]);
        argv.extend::<[&std::ffi::OsStr; 3]>(given);
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut keeper = command.spawn().expect("a shell");
        let stdin = keeper.stdin.take().expect("piped");
        let began = Instant::now();
        loop {
            let ready =
                Command::new(bin.join("pg_isready")).arg("-q").arg("-h").arg(&dir).status().expect("pg_isready");
            if ready.success() {
                return Self { dir, _keeper: stdin };
            }
            let log = || std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "the server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The folder of `initdb` and its like: on the PATH, or where Debian and Homebrew put them.
pub fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for (root, bin) in [("/usr/lib/postgresql", "bin"), ("/opt/homebrew/opt", "bin"), ("/usr/local/opt", "bin")] {
        let mut versions: Vec<_> =
            std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join(bin)).collect();
        versions.sort();
        found.extend(versions.into_iter().rev());
    }
    found.into_iter().find(|dir| ["initdb", "postgres", "pg_isready"].iter().all(|name| dir.join(name).exists()))
}
