//! The secrets for callback URLs and for signatures of notifications. A secret is given, or generated once and stored: beside
//! a ledger in a file, in a ledger on a server.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::callback::{Keyring, Secret, SecretPurpose},
    store::{LedgerSecret, Store, StoreError},
};

/// What the file of a ledger's secret of callbacks has behind the ledger's name.
pub const WEBHOOK_SECRET_SUFFIX: &str = "-webhook-secret";
/// What the file of a ledger's secret of notifications has behind the ledger's name.
pub const NOTIFY_SECRET_SUFFIX: &str = "-notify-secret";

/// The variable with one secret, or two during a rotation: the first signs new URLs, both are accepted.
pub const WEBHOOK_SECRET: &str = "WAVEBATCH_WEBHOOK_SECRET";
/// The variable with the secret that signs notifications.
pub const NOTIFY_SECRET: &str = "WAVEBATCH_NOTIFY_SECRET";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not a valid secret.
    #[error("{name}: {why}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The file is not a valid secret.
    #[error("{}: {why}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file is readable by others, who could forge callbacks or notifications.
    #[error("{} can be read by others (mode {mode:o}); chmod 600 it, or remove it for a new one", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file that a copied ledger's secret is to be in has another one.
    #[error("{} holds another secret than {}; move it away, if no other ledger needs it", path.display(), from.display())]
    Other {
        /// The file of the copy.
        path: PathBuf,
        /// The file of the ledger.
        from: PathBuf,
    },
    /// The file cannot be read or made.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system has no random bytes.
    #[error("no secret can be made: /dev/urandom cannot be read")]
    Random(#[source] io::Error),
    /// The ledger does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The secrets of a ledger for one purpose: from the variable, else from the ledger if it is on a server, else from the file
/// beside it.
#[derive(Debug, Clone)]
pub struct Secrets {
    keyring: Keyring,
    /// What is read again, of a ledger that has them.
    followed: Option<Arc<Followed>>,
}

#[derive(Debug)]
struct Followed {
    purpose: SecretPurpose,
    /// When they were read again last.
    read_at: Mutex<Option<Instant>>,
}

/// How often the secrets of a ledger are read, so that a new one signs everywhere soon.
const FOLLOW_EVERY: Duration = Duration::from_secs(30);
/// The least time between two readings, however many unknown addresses are posted to.
const LEAST: Duration = Duration::from_secs(1);

impl Secrets {
    /// These, the newest first.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self { keyring: Keyring::new(secrets), followed: None }
    }

    /// The secrets of this ledger. One that is missing is made.
    ///
    /// # Errors
    /// A secret that is invalid or cannot be read, or that others can read.
    pub async fn of_ledger(store: &Store, purpose: SecretPurpose, variable: Option<&str>) -> Result<Self, SecretError> {
        if let Some(text) = variable {
            return Self::given(purpose, text);
        }
        if let Some(file) = store.file() {
            return Self::beside(file, purpose);
        }
        let first = random().map_err(SecretError::Random)?;
        let secrets = store.secrets_of(purpose, first).await?;
        let followed = Followed { purpose, read_at: Mutex::default() };
        Ok(Self { keyring: Keyring::new(secrets), followed: Some(Arc::new(followed)) })
    }

    /// The secrets that a variable holds: of callbacks one, or two while it is changed.
    ///
    /// # Errors
    /// It holds something else.
    pub fn given(purpose: SecretPurpose, text: &str) -> Result<Self, SecretError> {
        let (name, most, what) = match purpose {
            SecretPurpose::Webhook => (WEBHOOK_SECRET, 2, "holds one secret, or two while it is changed"),
            SecretPurpose::Notify => (NOTIFY_SECRET, 1, "holds one secret"),
        };
        let message = |why| SecretError::Variable { name, why };
        let all: Vec<Secret> =
            text.split(',').map(|one| Secret::parse(one.trim()).map_err(message)).collect::<Result<_, _>>()?;
        match all.len() <= most {
            true => Ok(Self::new(all)),
            false => Err(message(what.to_owned())),
        }
    }

    /// The secret in the file beside a ledger, which is made if it is missing.
    ///
    /// # Errors
    /// It is invalid or cannot be read, or others can read it.
    pub fn beside(ledger: &Path, purpose: SecretPurpose) -> Result<Self, SecretError> {
        Ok(Self::new(vec![beside(ledger, ending(purpose))?]))
    }

    /// All that are known, also to who signs with the newest.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Reads the ledger's secrets again, at most once a second. Returns whether they were read.
    pub async fn renew(&self, store: &Store) -> bool {
        let Some(followed) = &self.followed else { return false };
        {
            let mut read_at = followed.read_at.lock().unwrap_or_else(PoisonError::into_inner);
            if read_at.is_some_and(|at| at.elapsed() < LEAST) {
                return false;
            }
            *read_at = Some(Instant::now());
        }
        match store.known_secrets(followed.purpose).await {
            Ok(secrets) if !secrets.is_empty() => {
                self.keyring.replace(secrets);
                true
            }
            // What was known stays known.
            Ok(_) | Err(_) => false,
        }
    }

    /// Follows the ledger until it is stopped.
    pub async fn follow(self, store: Store, stop: CancellationToken) {
        while self.followed.is_some() && timeout(FOLLOW_EVERY, stop.cancelled()).await.is_err() {
            self.renew(&store).await;
        }
    }
}

/// A new secret.
///
/// # Errors
/// The system has no random bytes.
pub fn random() -> io::Result<Secret> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Secret::new(bytes))
}

fn beside(ledger: &Path, ending: &str) -> Result<Secret, SecretError> {
    kept(&path_beside(ledger, ending))
}

fn path_beside(ledger: &Path, ending: &str) -> PathBuf {
    let mut name = ledger.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    ledger.with_file_name(name)
}

/// Takes the secrets of a ledger to its copy, so that callbacks under way are still accepted there. Returns the new files
/// that have them: a ledger on a server has them itself.
///
/// # Errors
/// There is another secret already, or one cannot be read or written.
pub async fn carry_secrets(from: &Store, to: &Store) -> Result<Vec<PathBuf>, SecretError> {
    let secrets = match from.file() {
        Some(file) => secrets_beside(file)?,
        None => from.ledger_secrets().await?,
    };
    let Some(file) = to.file() else {
        to.insert_secrets(secrets.clone()).await?;
        let there = to.ledger_secrets().await?;
        let same =
            |one: &LedgerSecret| there.iter().any(|other| (other.purpose, &other.secret) == (one.purpose, &one.secret));
        return match secrets.iter().all(same) {
            true => Ok(Vec::new()),
            false => Err(SecretError::Other { path: to.address().into(), from: from.address().into() }),
        };
    };
    let mut carried = Vec::new();
    for purpose in [SecretPurpose::Webhook, SecretPurpose::Notify] {
        // A file has one secret: the newest.
        let newest = secrets.iter().filter(|one| one.purpose == purpose).max_by_key(|one| one.number);
        let Some(newest) = newest else { continue };
        let path = keep_beside(file, purpose, &newest.secret, from.address())?;
        carried.push(path);
    }
    Ok(carried)
}

/// Keeps a secret in its file beside a ledger. Returns the file.
///
/// # Errors
/// The file has another secret, or cannot be read or written. `from` is where the secret comes from, for the error.
pub fn keep_beside(ledger: &Path, purpose: SecretPurpose, secret: &Secret, from: &str) -> Result<PathBuf, SecretError> {
    let path = path_beside(ledger, ending(purpose));
    if !path.exists() {
        write(&path, secret).map_err(|source| SecretError::Io { path: path.clone(), source })?;
    }
    match kept(&path)? == *secret {
        true => Ok(path),
        false => Err(SecretError::Other { path, from: from.into() }),
    }
}

/// Refuses a secret of which the file beside a ledger has another one.
///
/// # Errors
/// It has, or it cannot be read.
pub fn refuse_other_beside(
    ledger: &Path,
    purpose: SecretPurpose,
    secret: &Secret,
    from: &str,
) -> Result<(), SecretError> {
    let path = path_beside(ledger, ending(purpose));
    match path.exists() && kept(&path)? != *secret {
        true => Err(SecretError::Other { path, from: from.into() }),
        false => Ok(()),
    }
}

/// The secrets that lie beside a ledger.
///
/// # Errors
/// One is invalid, cannot be read, or can be read by others.
pub fn secrets_beside(ledger: &Path) -> Result<Vec<LedgerSecret>, SecretError> {
    let mut found = Vec::new();
    for purpose in [SecretPurpose::Webhook, SecretPurpose::Notify] {
        let path = path_beside(ledger, ending(purpose));
        if let Ok(made) = fs::metadata(&path) {
            let made_at = made.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let made_at = made_at.and_then(|at| i64::try_from(at.as_millis()).ok()).unwrap_or(0);
            found.push(LedgerSecret { purpose, number: 1, secret: kept(&path)?, made_at });
        }
    }
    Ok(found)
}

const fn ending(purpose: SecretPurpose) -> &'static str {
    match purpose {
        SecretPurpose::Webhook => WEBHOOK_SECRET_SUFFIX,
        SecretPurpose::Notify => NOTIFY_SECRET_SUFFIX,
    }
}

fn kept(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make(path).map_err(failed)?;
            // Another process has made it first.
            read(path, File::open(path).map_err(failed)?)
        }
        Err(e) => Err(failed(e)),
    }
}

fn read(path: &Path, mut file: File) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_owned(), source };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Secret::parse(text.trim()).map_err(|why| SecretError::File { path: path.to_owned(), why })
}

fn make(path: &Path) -> io::Result<()> {
    write(path, &random()?)
}

/// Makes the file atomically: two processes may start at once.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut draft = path.as_os_str().to_os_string();
    draft.push(format!("-{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", secret.hex())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Opening;

    #[test]
    fn it_is_made_once_and_read_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("wavebatch.db");
        let secrets = || Secrets::beside(&ledger, SecretPurpose::Webhook).map(|secrets| secrets.keyring.newest());
        let first = secrets().unwrap();
        assert_eq!(secrets().unwrap(), first, "every process has the same");
        let path = dir.path().join("wavebatch.db-webhook-secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let message = secrets().unwrap_err().to_string();
        assert!(message.contains("can be read by others (mode 644)"), "{message}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let message = secrets().unwrap_err().to_string();
        assert!(message.contains("64 hexadecimal digits") && !message.contains("hunter2"), "{message}");
    }

    #[tokio::test]
    async fn they_go_with_a_ledger_that_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = async |name: &str| Store::open(Opening::new(&dir.path().join(name))).await.unwrap().0;
        let (from, to) = (ledger("a.db").await, ledger("b.db").await);
        assert!(carry_secrets(&from, &to).await.unwrap().is_empty(), "there is none");
        let made = beside(from.file().unwrap(), WEBHOOK_SECRET_SUFFIX).unwrap();
        let path = to.file().unwrap().with_file_name("b.db-webhook-secret");
        assert_eq!(carry_secrets(&from, &to).await.unwrap(), std::slice::from_ref(&path));
        assert_eq!(carry_secrets(&from, &to).await.unwrap(), [path], "again, with the same end");
        assert_eq!(beside(to.file().unwrap(), WEBHOOK_SECRET_SUFFIX).unwrap(), made);
        for ledger in [&from, &to] {
            beside(ledger.file().unwrap(), NOTIFY_SECRET_SUFFIX).unwrap();
        }
        let message = carry_secrets(&from, &to).await.unwrap_err().to_string();
        assert!(message.contains("-notify-secret holds another secret than"), "{message}");
    }

    #[test]
    fn two_may_be_given_while_it_is_changed() {
        let (one, two) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let secrets = |text: &str| Secrets::given(SecretPurpose::Webhook, text);
        let both = format!("{}, {}", one.hex(), two.hex());
        assert_eq!(*secrets(&both).unwrap().keyring().all(), [one.clone(), two]);
        assert!(secrets(&format!("{both},{}", one.hex())).is_err());
        let message = secrets("hunter2").unwrap_err().to_string();
        assert!(message.starts_with("WAVEBATCH_WEBHOOK_SECRET: ") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn notifications_have_one_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("wavebatch.db");
        let beside = |purpose| Secrets::beside(&ledger, purpose).unwrap().keyring().newest().unwrap();
        let made = beside(SecretPurpose::Notify);
        assert_eq!(beside(SecretPurpose::Notify), made);
        assert_ne!(beside(SecretPurpose::Webhook), made);
        let path = dir.path().join("wavebatch.db-notify-secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let given = Secret::new([1; 32]);
        let notify = |text: &str| Secrets::given(SecretPurpose::Notify, text);
        assert_eq!(notify(&given.hex()).unwrap().keyring().newest(), Some(given.clone()));
        for bad in ["hunter2".to_owned(), format!("{},{}", given.hex(), given.hex())] {
            let message = notify(&bad).unwrap_err().to_string();
            assert!(message.starts_with("WAVEBATCH_NOTIFY_SECRET: ") && !message.contains(&bad), "{message}");
        }
    }

    #[tokio::test]
    async fn one_that_is_given_goes_before_the_ledgers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wavebatch.db");
        let store = Store::open(crate::store::Opening::new(&path)).await.unwrap().0;
        let given = Secret::new([1; 32]);
        let of =
            async |variable: Option<&str>| Secrets::of_ledger(&store, SecretPurpose::Webhook, variable).await.unwrap();
        assert_eq!(of(Some(&given.hex())).await.keyring().newest(), Some(given));
        assert!(!dir.path().join("wavebatch.db-webhook-secret").exists());
        let of_file = of(None).await;
        assert!(dir.path().join("wavebatch.db-webhook-secret").exists());
        assert!(!of_file.renew(&store).await, "a file stays as it is");
        assert_eq!(store.ledger_secrets().await.unwrap(), [], "the ledger of a file has none");
    }
}
