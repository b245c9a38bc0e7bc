//! Where a ledger is: a file, or a database on a server.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::postgres::PgConnectOptions;
use url::Url;

/// Where a ledger is.
#[derive(Debug, Clone)]
pub enum LedgerAddress {
    /// A file on this machine, for SQLite.
    File(PathBuf),
    /// A PostgreSQL database.
    Server(Box<ServerAddress>),
}

/// The address of a PostgreSQL database, with what it takes to connect. Its password is never shown.
#[derive(Clone)]
pub struct ServerAddress {
    shown: String,
    for_libpq: String,
    pub(super) options: PgConnectOptions,
    /// The schema of its tables, if it is named. It is created with them.
    pub(super) schema: Option<String>,
}

/// How the addresses of servers begin.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

impl ServerAddress {
    /// Whether this is meant as the address of a server.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads `postgres://user@host:port/database?sslmode=…&schema=…`. What it lacks comes from the `PG…` variables and `~/.pgpass`.
    ///
    /// # Errors
    /// It is no such address; the reason as a part of a sentence, without the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write postgres://user@host/database, or postgres:///database?host=/var/run/postgresql";
        if names_several_hosts(text) {
            return Err("names several hosts, and one is supported: name the primary, or a name that follows it".into());
        }
        let url = Url::parse(text).map_err(|e| format!("is no address of a server ({e}); {FORM}"))?;
        let (ours, theirs): (Vec<_>, Vec<_>) =
            url.query_pairs().into_owned().partition(|(name, _)| matches!(&**name, "schema"));
        if let Some((unknown, _)) = theirs.iter().find(|(name, _)| !is_known(name)) {
            return Err(format!(
                "`{unknown}` is no parameter of such an address (`sslmode`, `sslrootcert`, `host`, `schema`, … are)"
            ));
        }
        let options = PgConnectOptions::from_str(with_query(&url, &theirs).as_str()).map_err(|e| {
            let reason = e.to_string();
            let reason = url.password().map_or(reason.clone(), |password| reason.replace(password, "…"));
            format!("is no address of a server ({reason}); {FORM}")
        })?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(format!("names no database; {FORM}"));
        }
        let schema = ours.into_iter().next().map(|(_, name)| name);
        if let Some(name) = schema.as_ref().filter(|name| !is_plain(name)) {
            return Err(format!("`schema={name}`: write lower-case letters, digits and `_`"));
        }
        let mut shown = url.clone();
        let _ = shown.set_password(None);
        let shown_query: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "password").collect();
        let for_libpq = theirs.iter().filter_map(|(name, value)| Some((libpq_name(name)?.to_owned(), value.clone())));
        let for_libpq = with_query(&shown, &for_libpq.collect::<Vec<_>>()).into();
        let shown = with_query(&shown, &shown_query).into();
        Ok(Self { shown, for_libpq, options: options.application_name("wavebatch"), schema })
    }

    /// The schema of its tables, if it is named.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The address for the programs of PostgreSQL: without the password, and without parameters that they do not know.
    #[must_use]
    pub fn for_libpq(&self) -> String {
        self.for_libpq.clone()
    }

    /// A connection that sees the tables.
    #[cfg(test)]
    pub(in crate::store) async fn connect(&self, schema: &str) -> sqlx::PgConnection {
        use sqlx::ConnectOptions;
        self.options.clone().options([("search_path", schema)]).connect().await.unwrap()
    }

    /// The ledger of the sandbox beside this one, in a schema of its own.
    #[must_use]
    pub fn of_sandbox(self) -> Self {
        let schema = format!("{}_sandbox", self.schema.as_deref().unwrap_or("wavebatch"));
        Self { shown: format!("{} (schema {schema})", self.shown), schema: Some(schema), ..self }
    }
}

/// Whether an address names several hosts, as libpq can have them: `a:5432,b:5432`, or `host=a,b`.
fn names_several_hosts(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let in_query = url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| matches!(&*name, "host" | "hostaddr" | "port") && value.contains(','));
    hosts.contains(',') || in_query
}

/// An address with other parameters.
fn with_query(url: &Url, pairs: &[(String, String)]) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url
}

/// Whether the driver knows a parameter; it would pass over a mistyped `sslmode` in silence.
fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 19] = [
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "statement-cache-capacity",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "application_name",
        "options",
        "schema",
    ];
    KNOWN.contains(&name) || name.starts_with("options[")
}

/// What libpq calls a parameter of the driver; `None` if it has none of that kind, or if it is the password.
fn libpq_name(name: &str) -> Option<&str> {
    Some(match name {
        "ssl-mode" => "sslmode",
        "ssl-root-cert" | "ssl-ca" => "sslrootcert",
        "ssl-cert" => "sslcert",
        "ssl-key" => "sslkey",
        "password" | "statement-cache-capacity" => return None,
        options if options.starts_with("options[") => return None,
        known => known,
    })
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && name.chars().all(plain)
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerAddress({})", self.shown)
    }
}

impl fmt::Display for LedgerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => f.write_str(&server.shown),
        }
    }
}

impl PartialEq for LedgerAddress {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Server(a), Self::Server(b)) => a.shown == b.shown,
            _ => false,
        }
    }
}

impl Eq for LedgerAddress {}

impl From<PathBuf> for LedgerAddress {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for LedgerAddress {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<ServerAddress> for LedgerAddress {
    fn from(server: ServerAddress) -> Self {
        Self::Server(Box::new(server))
    }
}

impl From<&Path> for LedgerAddress {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&LedgerAddress> for LedgerAddress {
    fn from(address: &LedgerAddress) -> Self {
        address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://u:s3cret@h:5433/db?sslmode=disable",
            "postgresql://u@h:5433/db?password=s3cret&sslmode=disable",
        ] {
            let address = ServerAddress::parse(text).unwrap();
            let shown = format!("{address:?} {}", LedgerAddress::from(address.clone()));
            assert!(!shown.contains("s3cret") && shown.contains("u@h:5433/db?sslmode=disable"), "{shown}");
        }
        let fault = ServerAddress::parse("postgres://u:s3cret@h:99999/db").unwrap_err();
        assert!(!fault.contains("s3cret") && fault.contains("write postgres://"), "{fault}");
        for several in ["postgres://u:s3cret@a:5432,b:5433/db", "postgres://a,b/db", "postgres:///db?host=a,b&user=u"] {
            let fault = ServerAddress::parse(several).unwrap_err();
            assert!(fault.starts_with("names several hosts") && !fault.contains("s3cret"), "{fault}");
        }
        assert!(ServerAddress::parse("postgres://u:a,b@h/db").is_ok(), "a password may have a comma");
        assert!(ServerAddress::parse("postgres://u@h/").unwrap_err().starts_with("names no database"));
        assert!(ServerAddress::parse("postgres://u@h/db?sslmod=require").unwrap_err().starts_with("`sslmod` is no"));
    }

    #[test]
    fn the_programs_of_postgresql_get_an_address_that_they_know() {
        let text = "postgres://u:s3cret@h:5433/db?password=x&ssl-mode=require&schema=calls&statement-cache-capacity=9";
        let address = ServerAddress::parse(text).unwrap();
        assert_eq!(address.for_libpq(), "postgres://u@h:5433/db?sslmode=require");
        assert_eq!(address.of_sandbox().for_libpq(), "postgres://u@h:5433/db?sslmode=require");
        let socket = ServerAddress::parse("postgres:///db?host=/var/run/postgresql").unwrap();
        assert_eq!(socket.for_libpq(), "postgres:///db?host=%2Fvar%2Frun%2Fpostgresql");
    }

    #[test]
    fn a_schema_can_be_named_and_the_sandbox_has_one_beside_it() {
        let address = ServerAddress::parse("postgres://u@h/db?schema=calls").unwrap();
        assert_eq!(address.schema.as_deref(), Some("calls"));
        assert_eq!(address.of_sandbox().schema.as_deref(), Some("calls_sandbox"));
        let plain = ServerAddress::parse("postgres://u@h/db").unwrap();
        assert_eq!(plain.schema, None);
        assert_eq!(plain.of_sandbox().schema.as_deref(), Some("wavebatch_sandbox"));
        assert!(ServerAddress::parse("postgres://u@h/db?schema=a;b").unwrap_err().contains("lower-case"));
    }
}
