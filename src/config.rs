//! What holds for every batch: `wavebatch.toml`, with the environment above it and the flags above both.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use toml::de::{DeTable, DeValue};
use url::Url;

use crate::{
    definition::{
        Fault, Faults,
        walk::{Section, Walk, Wrong},
    },
    domain::{
        batch::{MicroUsd, RunSettings},
        cost::Rates,
        options::listed,
        pool::{Limits, Pool},
    },
};

/// The file's name in the working directory.
pub const FILE: &str = "wavebatch.toml";
/// The variable that holds the key.
pub const KEY: &str = "SMALLEST_API_KEY";
const BASE_URL: &str = "https://api.smallest.ai";
const DATABASE: &str = "sqlite://wavebatch.db";
const SANDBOX_DATABASE: &str = "wavebatch-sandbox.db";

listed! {
    /// The vendor's plan, from which limits follow where none are set.
    Plan, "plan" {
        /// 25 requests a minute for each speech-to-text model.
        Standard = "standard",
    }
}

impl Plan {
    const fn limits(self, pool: Pool) -> Limits {
        match (self, pool) {
            (Self::Standard, Pool::Pulse | Pool::PulsePro) => {
                Limits { requests_per_minute: Some(25), concurrency: None }
            }
        }
    }
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// `--sandbox`
    pub sandbox: bool,
}

/// What the environment says. An empty variable says nothing.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `WAVEBATCH_CONFIG`
    pub config: Option<PathBuf>,
    /// `WAVEBATCH_DATABASE`
    pub database: Option<String>,
    /// `SMALLEST_BASE_URL`
    pub base_url: Option<String>,
    /// `SMALLEST_API_KEY`
    pub key: Option<SecretString>,
}

impl Env {
    /// Reads the process's environment.
    #[must_use]
    pub fn read() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            config: variable("WAVEBATCH_CONFIG").map(PathBuf::from),
            database: text("WAVEBATCH_DATABASE"),
            base_url: text("SMALLEST_BASE_URL"),
            key: text(KEY).map(SecretString::from),
        }
    }
}

/// Who set a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBy {
    /// Nobody: it follows from the plan.
    Preset(Plan),
    /// This line of this file.
    Line(String, u64),
    /// The definition's `[run]`.
    Definition,
    /// It is the sandbox, which has none.
    Sandbox,
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(plan) => write!(f, "preset {plan}; change it in {FILE} [limits]"),
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Definition => f.write_str("the definition's [run]"),
            Self::Sandbox => f.write_str("the sandbox has none"),
        }
    }
}

/// The limits of one pool, and who set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// The limits.
    pub limits: Limits,
    /// Who set the requests per minute.
    pub rate_by: SetBy,
    /// Who set the calls in flight.
    pub concurrency_by: SetBy,
}

impl PoolLimits {
    /// With what a definition lowers.
    #[must_use]
    pub fn lowered(mut self, run: &RunSettings) -> Self {
        let lower = |limit: &mut Option<u32>, by: &mut SetBy, wish: Option<u32>| {
            if let Some(wish) = wish.filter(|wish| limit.is_none_or(|limit| *wish < limit)) {
                (*limit, *by) = (Some(wish), SetBy::Definition);
            }
        };
        lower(&mut self.limits.requests_per_minute, &mut self.rate_by, run.requests_per_minute);
        lower(&mut self.limits.concurrency, &mut self.concurrency_by, run.concurrency);
        self
    }
}

/// Everything merged.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read, absolute.
    pub file: Option<PathBuf>,
    /// The ledger's file, absolute.
    pub database: PathBuf,
    /// Where the API lives.
    pub base_url: Url,
    /// The account's limits.
    pub limits: BTreeMap<Pool, PoolLimits>,
    /// List prices.
    pub rates: Rates,
}

impl Config {
    /// Merges flags, environment, file and defaults. `cwd` is where relative paths of the first two begin.
    ///
    /// # Errors
    /// Every fault, each with its line and field, its variable or its flag.
    pub fn load(flags: &Flags, env: &Env, cwd: &Path) -> Result<Self, Faults> {
        let named = flags.config.as_ref().or(env.config.as_ref());
        let shown = named.map_or_else(|| FILE.to_owned(), |path| path.to_string_lossy().into_owned());
        let path = cwd.join(&shown);
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
        let database = database_path(address).unwrap_or_else(|message| {
            faults.push(Fault::of_file(by.unwrap_or(FILE), message));
            PathBuf::new()
        });
        let mut database = base.join(database);
        if flags.sandbox {
            database.set_file_name(SANDBOX_DATABASE);
        }
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
            database: absolute(&database),
            base_url: base_url.unwrap_or_else(|| Url::parse(BASE_URL).expect("a constant that is an address")),
            limits,
            rates: draft.rates,
        })
    }

    /// The limits alone, as the runner takes them.
    #[must_use]
    pub fn pool_limits(&self) -> std::collections::HashMap<Pool, Limits> {
        self.limits.iter().map(|(pool, set)| (*pool, set.limits)).collect()
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// What the file said, with the defaults where it said nothing.
struct Draft {
    database: Option<String>,
    base_url: Option<Url>,
    limits: BTreeMap<Pool, PoolLimits>,
    rates: Rates,
}

impl Default for Draft {
    fn default() -> Self {
        Self { database: None, base_url: None, limits: preset(Plan::Standard), rates: Rates::default() }
    }
}

fn preset(plan: Plan) -> BTreeMap<Pool, PoolLimits> {
    let by = || SetBy::Preset(plan);
    let of = |pool: Pool| PoolLimits { limits: plan.limits(pool), rate_by: by(), concurrency_by: by() };
    Pool::ALL.iter().map(|pool| (*pool, of(*pool))).collect()
}

fn sandbox_limits() -> BTreeMap<Pool, PoolLimits> {
    let none = || PoolLimits { limits: Limits::default(), rate_by: SetBy::Sandbox, concurrency_by: SetBy::Sandbox };
    Pool::ALL.iter().map(|pool| (*pool, none())).collect()
}

fn read(file: &str, text: &str) -> (Draft, Vec<Fault>) {
    let mut walk = Walk::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        walk.fault(error.span().map_or(0, |span| span.start), None, error.message());
    }
    if !errors.is_empty() {
        return (Draft::default(), walk.faults);
    }
    let mut root = Section::root(table.get_ref());
    let database = walk.text(&mut root, "database", |text| database_path(text).map(|_| text.to_owned()));
    let base_url = walk.text(&mut root, "base_url", base_url);
    let limits = walk.section(&mut root, "limits");
    let limits = read_limits(file, &mut walk, limits);
    let rates = walk.section(&mut root, "rates");
    let rates = read_rates(&mut walk, rates);
    walk.close(root);
    walk.tell_unknown();
    (Draft { database, base_url, limits, rates }, walk.faults)
}

fn read_limits<'t>(file: &str, walk: &mut Walk<'t>, mut section: Section<'t>) -> BTreeMap<Pool, PoolLimits> {
    let plan = walk.text(&mut section, "plan", |text| text.parse::<Plan>().map_err(|e| e.to_string()));
    let mut limits = preset(plan.unwrap_or(Plan::Standard));
    for (pool, set) in &mut limits {
        let mut table = walk.section(&mut section, pool.as_str());
        for (name, limit, by) in [
            ("requests_per_minute", &mut set.limits.requests_per_minute, &mut set.rate_by),
            ("concurrency", &mut set.limits.concurrency, &mut set.concurrency_by),
        ] {
            let said = walk.take(&mut table, name, |value| {
                let number = value.as_integer().ok_or(Wrong::Type("a whole number"))?;
                u32::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| Wrong::Value(format!("{number} is not between 0 (no limit) and {}", u32::MAX)))
            });
            if let Some(said) = said {
                let line = walk.places.get(&format!("limits.{pool}.{name}")).map_or(0, |place| place.0);
                (*limit, *by) = (Some(said).filter(|said| *said > 0), SetBy::Line(file.to_owned(), line));
            }
        }
        walk.close(table);
    }
    walk.close(section);
    limits
}

fn read_rates<'t>(walk: &mut Walk<'t>, mut section: Section<'t>) -> Rates {
    let mut rates = Rates::default();
    let as_of = walk.text(&mut section, "as_of", |text| Ok(text.to_owned()));
    for (name, rate) in [("pulse", &mut rates.pulse), ("pulse-pro", &mut rates.pulse_pro)] {
        let price = walk.take(&mut section, name, |value| {
            let text = match value {
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.as_str().to_owned(),
                _ => return Err(Wrong::Type("a number")),
            };
            let price = text.parse().ok().and_then(MicroUsd::from_usd).filter(|price| price.0 >= 0);
            price.ok_or_else(|| Wrong::Value(format!("`{text}` is not a price; write US dollars a minute, e.g. 0.005")))
        });
        *rate = price.unwrap_or(*rate);
    }
    walk.close(section);
    rates.as_of = as_of.unwrap_or(rates.as_of);
    rates
}

/// The path in `sqlite://path`, or a plain path.
fn database_path(text: &str) -> Result<PathBuf, String> {
    let path = match text.split_once(':') {
        Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
        Some((scheme, rest)) if rest.starts_with("//") => {
            return Err(format!("`{scheme}://` ledgers are not supported; write sqlite://path/wavebatch.db"));
        }
        _ => text,
    };
    match path {
        "" => Err("names no file; write sqlite://path/wavebatch.db".into()),
        ":memory:" => Err("a ledger in memory would forget what was bought; write sqlite://path/wavebatch.db".into()),
        path if path.contains('?') => Err("takes no options after `?`".into()),
        path if path.ends_with('/') => Err("names a directory; write sqlite://path/wavebatch.db".into()),
        path => Ok(PathBuf::from(path)),
    }
}

fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is not an address like {BASE_URL} ({e})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("may have no user, query or fragment; the key goes into {KEY}"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: Option<&str>, flags: &Flags, env: &Env) -> (tempfile::TempDir, Result<Config, Faults>) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            std::fs::write(dir.path().join(FILE), text).unwrap();
        }
        let config = Config::load(flags, env, dir.path());
        (dir, config)
    }

    fn faults(text: &str) -> String {
        load(Some(text), &Flags::default(), &Env::default()).1.unwrap_err().to_string()
    }

    #[test]
    fn with_nothing_said_the_standard_plan_holds() {
        let (dir, config) = load(None, &Flags::default(), &Env::default());
        let config = config.unwrap();
        assert_eq!((config.file, config.database), (None, dir.path().join("wavebatch.db")));
        assert_eq!(config.base_url.as_str(), "https://api.smallest.ai/");
        for pool in Pool::ALL {
            let set = &config.limits[pool];
            assert_eq!(set.limits, Limits { requests_per_minute: Some(25), concurrency: None });
            assert_eq!(set.rate_by.to_string(), "preset standard; change it in wavebatch.toml [limits]");
        }
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let file = "database = 'sqlite://of-file.db'\nbase_url = 'https://file.example'\n";
        let env = Env {
            database: Some("sqlite://of-env.db".into()),
            base_url: Some("https://env.example".into()),
            ..Env::default()
        };
        let flags = Flags { database: Some("sub/of-flag.db".into()), ..Flags::default() };
        let (dir, config) = load(Some(file), &flags, &env);
        let config = config.unwrap();
        assert_eq!(config.database, dir.path().join("sub/of-flag.db"));
        assert_eq!(config.base_url.host_str(), Some("env.example"));
        assert_eq!(config.file, Some(dir.path().join(FILE)));
        let (dir, config) = load(Some(file), &Flags::default(), &Env::default());
        assert_eq!(config.unwrap().database, dir.path().join("of-file.db"));
        let sandbox = Flags { sandbox: true, ..flags };
        let (dir, config) = load(Some("[limits.pulse]\nrequests_per_minute = 3\n"), &sandbox, &env);
        let config = config.unwrap();
        assert_eq!(config.database, dir.path().join("sub/wavebatch-sandbox.db"));
        assert_eq!(config.limits[&Pool::Pulse].limits, Limits::default());
    }

    #[test]
    fn a_relative_path_begins_at_the_file_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/w.toml"), "database = 'sqlite://l.db'").unwrap();
        let flags = Flags { config: Some("etc/w.toml".into()), ..Flags::default() };
        let config = Config::load(&flags, &Env::default(), dir.path()).unwrap();
        assert_eq!(config.database, dir.path().join("etc/l.db"));
        let missing = Flags { config: Some("w.toml".into()), ..Flags::default() };
        let told = Config::load(&missing, &Env::default(), dir.path()).unwrap_err().to_string();
        assert!(told.starts_with("w.toml: cannot be read"), "{told}");
    }

    #[test]
    fn limits_say_where_they_are_from() {
        let file = "[limits]\nplan = 'standard'\n[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 4\n[rates]\npulse = 0.0035\n";
        let config = load(Some(file), &Flags::default(), &Env::default()).1.unwrap();
        let set = config.limits[&Pool::Pulse].clone();
        assert_eq!(set.limits, Limits { requests_per_minute: None, concurrency: Some(4) });
        assert_eq!(set.concurrency_by.to_string(), "wavebatch.toml:5");
        assert_eq!(config.limits[&Pool::PulsePro].limits.requests_per_minute, Some(25));
        assert_eq!(config.rates.pulse, MicroUsd(3_500));
        let run = RunSettings { concurrency: Some(8), requests_per_minute: Some(5), ..RunSettings::default() };
        let lowered = set.lowered(&run);
        assert_eq!(lowered.limits, Limits { requests_per_minute: Some(5), concurrency: Some(4) }, "only lowered");
        assert_eq!(
            (lowered.rate_by, lowered.concurrency_by.to_string().as_str()),
            (SetBy::Definition, "wavebatch.toml:5")
        );
    }

    #[test]
    fn every_fault_has_its_line_and_the_nearest_name() {
        let told = faults(
            "databse = 'x'\n[limits]\nplan = 'standart'\n[limits.puls]\nrequests_per_minute = 1\n[limits.pulse-pro]\nconcurrency = -1\n[rates]\npulse = -1.0\n",
        );
        insta::assert_snapshot!(told, @r"
        wavebatch.toml:1:1: `databse`: there is no such field; did you mean `database`?
        wavebatch.toml:3:8: `limits.plan`: `standart` is not a plan; did you mean `standard`?
        wavebatch.toml:4:9: `limits.puls`: there is no such field; did you mean `pulse`?
        wavebatch.toml:7:15: `limits.pulse-pro.concurrency`: -1 is not between 0 (no limit) and 4294967295
        wavebatch.toml:9:9: `rates.pulse`: `-1.0` is not a price; write US dollars a minute, e.g. 0.005
        ");
        insta::assert_snapshot!(faults("base_url = 'ftp://x'\ndatabase = 'postgres://x'"), @r"
        wavebatch.toml:1:12: `base_url`: must begin with https:// or http://
        wavebatch.toml:2:12: `database`: `postgres://` ledgers are not supported; write sqlite://path/wavebatch.db
        ");
        assert!(faults("limits = [\n").starts_with("wavebatch.toml:"));
        let env = Env { base_url: Some("https://me@x".into()), ..Env::default() };
        let told = load(None, &Flags { database: Some("sqlite://".into()), ..Flags::default() }, &env).1.unwrap_err();
        insta::assert_snapshot!(told, @r"
        --database: names no file; write sqlite://path/wavebatch.db
        SMALLEST_BASE_URL: may have no user, query or fragment; the key goes into SMALLEST_API_KEY
        ");
    }
}
