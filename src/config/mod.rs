//! Settings for every batch: flags go before the environment, and the environment before `wavebatch.toml`.

mod audio;
mod file;
mod key;
mod metrics_file;
mod serve;
mod spend;
mod spool;
mod webhook;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::SecretString;
use url::Url;

pub use self::{
    file::TABLES,
    key::{KEY, KEY_FILE},
    metrics_file::metrics_file,
    serve::{Listen, ServeConfig},
    webhook::{WebhookConfig, public_url},
};
use self::{
    file::{Draft, base_url, read},
    metrics_file::METRICS_FILE,
};
use crate::{
    crash,
    definition::{Fault, Faults, Notify},
    domain::{
        batch::RunSettings,
        cost::Rates,
        environment::LedgerChoice,
        home::expand,
        identity::address,
        options::listed,
        pool::{Limits, Pool},
        query::QueryRules,
        spend::SpendRule,
    },
    process::home,
    store::{LOCAL_FILES, LedgerAddress, Opening, ServerAddress, SpoolSetting, Timing},
};

/// The file's name in the working directory.
pub const FILE: &str = "wavebatch.toml";
/// The settings of the machine, if the working directory has none.
const SYSTEM_FILE: &str = "/etc/wavebatch/wavebatch.toml";
/// The variable that sets the clock, in builds for tests.
const NOW: &str = "WAVEBATCH_NOW";
const BASE_URL: &str = "https://api.smallest.ai";
const DATABASE: &str = "sqlite://wavebatch.db";
/// The name of the ledger where nothing else is said.
pub const LEDGER: &str = "wavebatch.db";
/// The name of the sandbox's ledger.
pub const SANDBOX_LEDGER: &str = "wavebatch-sandbox.db";

listed! {
    /// The vendor's plan. It decides the limits where none are set.
    Plan, "plan" {
        /// 25 requests a minute for each speech-to-text model, 100 live sessions, 10 text-to-speech calls in flight, 10 chat requests a minute and 3 in flight.
        Standard = "standard",
    }
}

impl Plan {
    const fn limits(self, pool: Pool) -> Limits {
        match (self, pool) {
            (Self::Standard, Pool::Pulse | Pool::PulsePro | Pool::Other(_)) => {
                Limits { requests_per_minute: Some(25), concurrency: None }
            }
            (Self::Standard, Pool::PulseLive) => Limits { requests_per_minute: None, concurrency: Some(100) },
            (Self::Standard, Pool::Tts) => Limits { requests_per_minute: None, concurrency: Some(10) },
            // The vendor publishes no limits of analyses: those of chat are assumed.
            (Self::Standard, Pool::Chat | Pool::Pca) => Limits { requests_per_minute: Some(10), concurrency: Some(3) },
        }
    }
}

/// The variables of the environment, each with its meaning for the reference.
pub const VARIABLES: &[(&str, &str)] = &[
    (KEY, "The account's key."),
    (
        KEY_FILE,
        "A file that contains only the key, where `SMALLEST_API_KEY` is not set. Where neither is set, the key is systemd's credential `smallest-api-key` (`LoadCredential=smallest-api-key:/etc/wavebatch/key`).",
    ),
    (
        "SMALLEST_BASE_URL",
        "The address of the API, before `base_url`. Regions have hosts of their own, e.g. `https://api.india.smallest.ai`; they differ in languages and models.",
    ),
    (
        "WAVEBATCH_CONFIG",
        "The settings file (as `--config`). Default: `wavebatch.toml` in the working directory, else `/etc/wavebatch/wavebatch.toml` if it exists.",
    ),
    (
        METRICS_FILE,
        "The file for the metrics of `run`, `work` and `deliver` (as `--metrics-file`). `--sandbox` leaves it alone.",
    ),
    ("WAVEBATCH_DATABASE", "The ledger (as `--database`). A leading `~` is the home directory."),
    ("WAVEBATCH_SPOOL", "Where bought speech is kept (as `--spool`). A leading `~` is the home directory."),
    (
        "WAVEBATCH_WEBHOOK_SECRET",
        "The secret of the addresses of callbacks: 64 hexadecimal digits. While it is changed, two with a comma between them: the first makes addresses, both are known. Default: a file beside the ledger; of a ledger on a server, in it.",
    ),
    (
        "WAVEBATCH_NOTIFY_SECRET",
        "The key of the signature of notifications: 64 hexadecimal digits. Default: a file beside the ledger; of a ledger on a server, in it.",
    ),
    ("NO_COLOR", "With any value, the log has no colours."),
    ("HTTPS_PROXY", "The proxy for the API and for recordings; likewise `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`."),
    (
        "AWS_PROFILE",
        "AWS's own variables give the credentials, the region and the endpoint of S3: `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL_S3` and others.",
    ),
];

/// The flags of the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// `--spool`
    pub spool: Option<String>,
    /// `--sandbox`
    pub sandbox: bool,
}

impl Flags {
    /// The flags that choose the ledger, for hints: the address of a server stands without its password.
    #[must_use]
    pub fn choice(&self) -> LedgerChoice {
        let database = self.database.as_deref().and_then(|text| match ServerAddress::is_meant(text) {
            true => ServerAddress::parse(text).ok().map(|server| LedgerAddress::Server(Box::new(server)).to_string()),
            false => Some(text.to_owned()),
        });
        LedgerChoice::of(database.as_deref(), self.config.as_deref())
    }
}

/// The variables of the environment. An empty variable counts as absent.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `WAVEBATCH_CONFIG`
    pub config: Option<PathBuf>,
    /// `WAVEBATCH_DATABASE`
    pub database: Option<String>,
    /// `WAVEBATCH_SPOOL`
    pub spool: Option<String>,
    /// `SMALLEST_BASE_URL`
    pub base_url: Option<String>,
    /// The key: `SMALLEST_API_KEY`, else the content of the file that `SMALLEST_API_KEY_FILE` names, else systemd's
    /// credential `smallest-api-key`.
    pub key: Option<SecretString>,
    /// Why the place that is named for the key has none.
    pub key_fault: Option<String>,
    /// `WAVEBATCH_METRICS_FILE`
    pub metrics_file: Option<String>,
    /// `WAVEBATCH_WEBHOOK_SECRET`
    pub webhook_secret: Option<SecretString>,
    /// `WAVEBATCH_NOTIFY_SECRET`
    pub notify_secret: Option<SecretString>,
    /// `WAVEBATCH_LEASE_MS`: how long a claim is valid without a heartbeat. For tests that kill processes.
    pub lease_ms: Option<i64>,
    /// `WAVEBATCH_NOW`: the moment from which `today` is taken; for a service, the start of its clock. For tests of
    /// midnight. Other builds ignore it, since a wrong clock damages a ledger.
    pub now: Option<jiff::Timestamp>,
}

impl Env {
    /// Reads the process's environment.
    #[must_use]
    pub fn read() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let (key, key_fault) = match key::find(variable, home().as_deref()) {
            Some(Ok(key)) => (Some(key), None),
            Some(Err(fault)) => (None, Some(fault)),
            None => (None, None),
        };
        Self {
            config: variable("WAVEBATCH_CONFIG").map(PathBuf::from),
            database: text("WAVEBATCH_DATABASE"),
            spool: text("WAVEBATCH_SPOOL"),
            base_url: text("SMALLEST_BASE_URL"),
            key,
            key_fault,
            metrics_file: text(METRICS_FILE),
            webhook_secret: text("WAVEBATCH_WEBHOOK_SECRET").map(SecretString::from),
            notify_secret: text("WAVEBATCH_NOTIFY_SECRET").map(SecretString::from),
            lease_ms: text("WAVEBATCH_LEASE_MS").and_then(|ms| ms.parse().ok()).filter(|ms| *ms >= 500),
            now: text(NOW).and_then(|now| moved_clock(&now, crash::ARMED)),
        }
    }
}

/// The moment in `WAVEBATCH_NOW`, in a build that is `for_tests`.
fn moved_clock(now: &str, for_tests: bool) -> Option<jiff::Timestamp> {
    if for_tests {
        return now.parse().ok();
    }
    tracing::debug!("{NOW} is ignored: only builds for tests move their clock");
    None
}

/// The origin of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitOrigin {
    /// The preset of the plan.
    Preset(Plan),
    /// A guess, since the vendor publishes none for this pool.
    Assumed(Pool),
    /// This line of this file.
    Line(String, u64),
    /// The definition's `[run]`.
    Definition,
    /// The sandbox, which has no limits.
    Sandbox,
    /// A share of what another origin allows.
    Share(Box<Self>, String),
}

impl fmt::Display for LimitOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(plan) => write!(f, "preset {plan}; change it in {FILE} [limits]"),
            Self::Assumed(pool) => {
                write!(f, "a guess, since the vendor publishes none; set them in {FILE} [limits.{pool}]")
            }
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Definition => f.write_str("the definition's [run]"),
            Self::Sandbox => f.write_str("the sandbox has none"),
            Self::Share(of, share) => write!(f, "share {share} of {of}"),
        }
    }
}

/// The limits of one pool, and their origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// The limits.
    pub limits: Limits,
    /// The origin of the requests per minute.
    pub rate_by: LimitOrigin,
    /// The origin of the calls in flight.
    pub concurrency_by: LimitOrigin,
}

impl PoolLimits {
    /// A share of these limits, above 0 and at most 1. At least 1 is left of each.
    #[must_use]
    pub fn shared(mut self, share: f64) -> Self {
        self.limits = self.limits.shared(share);
        for by in [&mut self.rate_by, &mut self.concurrency_by] {
            *by = LimitOrigin::Share(Box::new(by.clone()), share.to_string());
        }
        self
    }

    /// The same with the lower limits of a definition.
    #[must_use]
    pub fn lowered(mut self, run: &RunSettings) -> Self {
        let lower = |limit: &mut Option<u32>, by: &mut LimitOrigin, wish: Option<u32>| {
            if let Some(wish) = wish.filter(|wish| limit.is_none_or(|limit| *wish < limit)) {
                (*limit, *by) = (Some(wish), LimitOrigin::Definition);
            }
        };
        lower(&mut self.limits.requests_per_minute, &mut self.rate_by, run.requests_per_minute);
        lower(&mut self.limits.concurrency, &mut self.concurrency_by, run.concurrency);
        self
    }
}

/// All settings, merged.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read, absolute.
    pub file: Option<PathBuf>,
    /// The ledger; a file's path is absolute.
    pub database: LedgerAddress,
    /// The flags by which the user chose it.
    pub choice: LedgerChoice,
    /// The folder for the local files of a ledger on a server, absolute.
    pub local_files: PathBuf,
    /// The file that the settings name for the metrics of a run, absolute.
    pub metrics_file: Option<PathBuf>,
    /// The ffmpeg that decodes what this program does not; `None`: the one on PATH.
    pub ffmpeg: Option<PathBuf>,
    /// More voices that send the times of their words over a socket.
    pub word_voices: Vec<String>,
    /// Where bought speech is kept, if that is said.
    pub spool: SpoolSetting,
    /// The base URL of the API.
    pub base_url: Url,
    /// The account's limits.
    pub limits: BTreeMap<Pool, PoolLimits>,
    /// The share of the account that this ledger uses, above 0 and at most 1, if it is not the whole. The limits have it in.
    pub share: Option<f64>,
    /// List prices.
    pub rates: Rates,
    /// What the account may spend in a day and in a month, for all batches of the ledger together.
    pub spend: Option<Arc<SpendRule>>,
    /// How callbacks are received.
    pub webhook: WebhookConfig,
    /// The settings of a service.
    pub serve: ServeConfig,
    /// Who is notified of batches whose definition names nobody.
    pub notify: Option<Notify>,
    /// Lease times.
    pub timing: Timing,
}

impl Config {
    /// The URL of the API without credentials, if it is not the vendor's own.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let own = address(self.base_url.as_str(), &QueryRules::default());
        let own = own.trim_end_matches('/');
        (own != BASE_URL).then(|| own.to_owned())
    }

    /// How the ledger is opened.
    #[must_use]
    pub fn opening(&self, create: bool) -> Opening {
        Opening {
            create,
            timing: self.timing,
            local_files: self.local_files.clone(),
            spool: self.spool.clone(),
            ..Opening::new(&self.database)
        }
    }

    /// The ledger at an address of the command line, as `--database` reads it. A relative path is relative to `cwd`.
    ///
    /// # Errors
    /// It is no address of a ledger; the reason as a part of a sentence.
    pub fn ledger_at(text: &str, cwd: &Path) -> Result<LedgerAddress, String> {
        match self::file::database(text)? {
            LedgerAddress::File(path) => {
                let path = expand(&path.to_string_lossy(), home().as_deref())?;
                Ok(LedgerAddress::File(absolute(&cwd.join(path))))
            }
            server @ LedgerAddress::Server(_) => Ok(server),
        }
    }

    /// Merges flags, environment, file and defaults. Relative paths of the first two are relative to `cwd`.
    ///
    /// # Errors
    /// Every fault, each with its line and field, its variable or its flag.
    pub fn load(flags: &Flags, env: &Env, cwd: &Path) -> Result<Self, Faults> {
        Self::load_with(flags, env, cwd, Path::new(SYSTEM_FILE))
    }

    /// The same with another place for the settings of the machine.
    fn load_with(flags: &Flags, env: &Env, cwd: &Path, system: &Path) -> Result<Self, Faults> {
        let home = home();
        let named = flags.config.as_ref().or(env.config.as_ref());
        let own = cwd.join(FILE).exists() || !system.exists();
        let (shown, path) = match named {
            Some(named) => {
                let shown = named.to_string_lossy().into_owned();
                let path = expand(&shown, home.as_deref()).map_err(|fault| Fault::of_file("--config", fault))?;
                (shown, cwd.join(path))
            }
            None if own => (FILE.to_owned(), cwd.join(FILE)),
            None => (system.display().to_string(), system.to_owned()),
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => None,
            Err(e) => return Err(Fault::of_file(shown, format!("cannot be read: {e}")).into()),
        };
        let (draft, mut faults) = match &text {
            Some(text) => read(&shown, text),
            None => (Draft::default(), Vec::new()),
        };
        let file_dir = path.parent().unwrap_or(cwd).to_path_buf();
        let database = draft.database.as_deref().map(|text| (text, &*file_dir, None));
        let database = env.database.as_deref().map(|text| (text, cwd, Some("WAVEBATCH_DATABASE"))).or(database);
        let database = flags.database.as_deref().map(|text| (text, cwd, Some("--database"))).or(database);
        let (address, base, by) = database.unwrap_or((DATABASE, cwd, None));
        let ledger = self::file::database(address).and_then(|ledger| match ledger {
            LedgerAddress::File(path) => {
                let mut path = base.join(expand(&path.to_string_lossy(), home.as_deref())?);
                if flags.sandbox {
                    path.set_file_name(SANDBOX_LEDGER);
                }
                Ok(LedgerAddress::File(absolute(&path)))
            }
            LedgerAddress::Server(server) if flags.sandbox => Ok(server.of_sandbox().into()),
            server @ LedgerAddress::Server(_) => Ok(server),
        });
        let ledger = ledger.unwrap_or_else(|message| {
            faults.push(Fault::of_file(by.unwrap_or(FILE), message));
            LedgerAddress::File(PathBuf::new())
        });
        let spool = draft.spool.as_deref().map(|text| (text, &*file_dir, FILE));
        let spool = env.spool.as_deref().map(|text| (text, cwd, "WAVEBATCH_SPOOL")).or(spool);
        let spool = flags.spool.as_deref().map(|text| (text, cwd, "--spool")).or(spool);
        let spool = spool.and_then(|(text, base, by)| {
            let address = spool::absolute(text, base, home.as_deref());
            address.map_err(|message| faults.push(Fault::of_file(by, message))).ok()
        });
        let base_url = env.base_url.as_deref().map(|text| {
            base_url(text).map_err(|message| faults.push(Fault::of_file("SMALLEST_BASE_URL", message))).ok()
        });
        let base_url = base_url.flatten().or(draft.base_url);
        if !faults.is_empty() {
            return Err(Faults::from_iter(faults));
        }
        let limits = if flags.sandbox { sandbox_limits() } else { draft.limits };
        Ok(Self {
            file: text.is_some().then(|| absolute(&path)),
            database: ledger,
            choice: flags.choice(),
            local_files: absolute(&base.join(LOCAL_FILES)),
            metrics_file: draft.metrics_file.map(|path| absolute(&file_dir.join(path))),
            ffmpeg: draft.audio.ffmpeg.map(|path| absolute(&file_dir.join(path))),
            word_voices: draft.audio.word_voices,
            spool: spool::setting(spool, flags.sandbox, draft.s3),
            base_url: base_url.unwrap_or_else(|| Url::parse(BASE_URL).expect("a constant that is an address")),
            limits,
            share: draft.share.filter(|_| !flags.sandbox),
            rates: Rates { are_limited: draft.spend.is_some(), ..draft.rates },
            spend: draft.spend.map(Arc::new),
            webhook: draft.webhook,
            serve: draft.serve.relative_to(&file_dir),
            notify: draft.notify,
            timing: env.lease_ms.map_or_else(Timing::default, |lease_ms| Timing { lease_ms, beat_ms: lease_ms / 5 }),
        })
    }

    /// Whether these settings are for the sandbox inside the process.
    #[must_use]
    pub fn is_of_sandbox(&self) -> bool {
        self.limits.values().all(|set| set.rate_by == LimitOrigin::Sandbox)
    }

    /// The limits of a pool, also for a model that this release does not know.
    #[must_use]
    pub fn limits_of(&self, pool: Pool) -> PoolLimits {
        let unset = || match self.share {
            _ if self.is_of_sandbox() => unlimited(),
            None => file::preset_of(Plan::Standard, pool),
            Some(share) => file::preset_of(Plan::Standard, pool).shared(share),
        };
        self.limits.get(&pool).cloned().unwrap_or_else(unset)
    }

    /// The limits alone, in the form that the runner takes.
    #[must_use]
    pub fn pool_limits(&self) -> std::collections::HashMap<Pool, Limits> {
        self.limits.iter().map(|(pool, set)| (*pool, set.limits)).collect()
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn sandbox_limits() -> BTreeMap<Pool, PoolLimits> {
    Pool::ALL.iter().map(|pool| (*pool, unlimited())).collect()
}

const fn unlimited() -> PoolLimits {
    let limits = Limits { requests_per_minute: None, concurrency: None };
    PoolLimits { limits, rate_by: LimitOrigin::Sandbox, concurrency_by: LimitOrigin::Sandbox }
}

#[cfg(test)]
mod tests;
