//! Where the API key comes from: the environment, a file, or the credentials that systemd hands to a service.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::domain::home::expand;

/// The variable that holds the API key.
pub const KEY: &str = "SMALLEST_API_KEY";
/// The variable that names a file with the key.
pub const KEY_FILE: &str = "SMALLEST_API_KEY_FILE";
/// The variable by which systemd names the directory of a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The name of the key among them.
const CREDENTIAL: &str = "smallest-api-key";
/// The longest file that can be a key, in bytes.
const LONGEST: u64 = 64 << 10;

/// The key, or why the place that was named for it has none. `None`: no place is named.
pub(super) fn find(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Option<Result<SecretString, String>> {
    if let Some(key) = variable(KEY) {
        return Some(Ok(SecretString::from(key.to_string_lossy().into_owned())));
    }
    if let Some(named) = variable(KEY_FILE) {
        return Some(
            expand(&named.to_string_lossy(), home)
                .and_then(|path| read(&path))
                .map_err(|fault| format!("{KEY_FILE}: {fault}")),
        );
    }
    let file = PathBuf::from(variable(CREDENTIALS)?).join(CREDENTIAL);
    // Other credentials may be there, and the key elsewhere.
    file.exists().then(|| read(&file))
}

fn read(path: &Path) -> Result<SecretString, String> {
    let unread = |e: io::Error| format!("{} cannot be read: {e}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(unread)?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => format!("{} is not UTF-8, and so holds no key", path.display()),
        _ => unread(e),
    })?;
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err(format!("{} is empty", path.display())),
        _ if text.len() as u64 > LONGEST => Err(format!("{} is too long for a key", path.display())),
        key => Ok(SecretString::from(key.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_key_comes_from_the_first_place_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).into_os_string();
        fs::write(path("key"), "\u{feff}sk_file\r\n").unwrap();
        fs::write(path("empty"), " \n").unwrap();
        let found = |set: &[(&str, OsString)]| {
            let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
            find(variable, Some(dir.path())).map(|key| key.map(|key| key.expose_secret().to_owned()))
        };
        let credentials = (CREDENTIALS, dir.path().as_os_str().to_owned());
        assert_eq!(found(&[]), None);
        assert_eq!(found(std::slice::from_ref(&credentials)), None, "other credentials are no key");
        fs::write(path(CREDENTIAL), "sk_systemd\n").unwrap();
        assert_eq!(found(std::slice::from_ref(&credentials)), Some(Ok("sk_systemd".into())));
        let file = (KEY_FILE, path("key"));
        assert_eq!(found(&[file.clone(), credentials.clone()]), Some(Ok("sk_file".into())));
        assert_eq!(found(&[(KEY_FILE, "~/key".into())]), Some(Ok("sk_file".into())), "from the home directory");
        assert_eq!(found(&[(KEY, "sk_env".into()), file, credentials]), Some(Ok("sk_env".into())));
        let fault = |name| found(&[(KEY_FILE, path(name))]).unwrap().unwrap_err();
        assert!(fault("empty").starts_with("SMALLEST_API_KEY_FILE: ") && fault("empty").ends_with("is empty"));
        assert!(fault("none").contains("cannot be read"), "{}", fault("none"));
        assert!(fault("").contains("cannot be read"), "a directory");
    }
}
