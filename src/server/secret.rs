//! The secrets for callback URLs and for signatures of notifications. A secret is given, or generated once and stored
//! beside the ledger.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::domain::callback::Secret;

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
    /// The file cannot be read or made.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The secrets of a ledger's callbacks: from the variable, else from the file beside it. A missing file is made.
///
/// # Errors
/// A secret that is invalid or cannot be read, or that others can read.
pub fn secrets(ledger: &Path, variable: Option<&str>) -> Result<Vec<Secret>, SecretError> {
    let Some(text) = variable else { return beside(ledger, WEBHOOK_SECRET_SUFFIX).map(|secret| vec![secret]) };
    let message = |why| SecretError::Variable { name: WEBHOOK_SECRET, why };
    let all: Vec<Secret> =
        text.split(',').map(|one| Secret::parse(one.trim()).map_err(message)).collect::<Result<_, _>>()?;
    match all.len() {
        0..=2 => Ok(all),
        _ => Err(message("holds one secret, or two while it is changed".to_owned())),
    }
}

/// The secret that signs a ledger's notifications: from the variable, else from the file beside it. A missing file is
/// made.
///
/// # Errors
/// A secret that is invalid or cannot be read, or that others can read.
pub fn notify_secret(ledger: &Path, variable: Option<&str>) -> Result<Secret, SecretError> {
    let Some(text) = variable else { return beside(ledger, NOTIFY_SECRET_SUFFIX) };
    Secret::parse(text.trim()).map_err(|why| SecretError::Variable { name: NOTIFY_SECRET, why })
}

fn beside(ledger: &Path, ending: &str) -> Result<Secret, SecretError> {
    let mut name = ledger.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    kept(&ledger.with_file_name(name))
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

/// Makes the file atomically: two processes may start at once.
fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut draft = path.as_os_str().to_os_string();
    draft.push(format!("-{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", Secret::new(bytes).hex())?;
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

    #[test]
    fn it_is_made_once_and_read_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("wavebatch.db");
        let first = secrets(&ledger, None).unwrap();
        assert_eq!(secrets(&ledger, None).unwrap(), first, "every process has the same");
        let path = dir.path().join("wavebatch.db-webhook-secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let message = secrets(&ledger, None).unwrap_err().to_string();
        assert!(message.contains("can be read by others (mode 644)"), "{message}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let message = secrets(&ledger, None).unwrap_err().to_string();
        assert!(message.contains("64 hexadecimal digits") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn two_may_be_given_while_it_is_changed() {
        let (one, two) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let ledger = Path::new("/nowhere/wavebatch.db");
        let both = format!("{}, {}", one.hex(), two.hex());
        assert_eq!(secrets(ledger, Some(&both)).unwrap(), [one.clone(), two]);
        assert!(secrets(ledger, Some(&format!("{both},{}", one.hex()))).is_err());
        let message = secrets(ledger, Some("hunter2")).unwrap_err().to_string();
        assert!(message.starts_with("WAVEBATCH_WEBHOOK_SECRET: ") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn notifications_have_one_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("wavebatch.db");
        let made = notify_secret(&ledger, None).unwrap();
        assert_eq!(notify_secret(&ledger, None).unwrap(), made);
        assert_ne!(secrets(&ledger, None).unwrap(), [made]);
        let path = dir.path().join("wavebatch.db-notify-secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let given = Secret::new([1; 32]);
        assert_eq!(notify_secret(&ledger, Some(&given.hex())).unwrap(), given);
        let message = notify_secret(&ledger, Some("hunter2")).unwrap_err().to_string();
        assert!(message.starts_with("WAVEBATCH_NOTIFY_SECRET: ") && !message.contains("hunter2"), "{message}");
    }
}
