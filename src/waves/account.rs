//! An identifier of an account that does not reveal its key.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

/// A short identifier of the account with this base URL and key: twelve hexadecimal digits of a SHA-256.
///
/// A trailing slash, the case of the host and a default port make no difference.
#[must_use]
pub fn account(base_url: &Url, key: &SecretString) -> String {
    let mut hash = Sha256::new();
    hash.update(base_url.as_str().trim_end_matches('/'));
    hash.update(b"\0");
    hash.update(key.expose_secret());
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(base: &str, key: &str) -> String {
        account(&base.parse().unwrap(), &key.into())
    }

    #[test]
    fn the_same_account_has_one_name() {
        let name = of("https://api.smallest.ai", "sk_1");
        assert_eq!(name.len(), 12);
        assert_eq!(name, of("https://API.smallest.ai:443/", "sk_1"));
        assert_ne!(name, of("https://api.smallest.ai", "sk_2"));
        assert_ne!(name, of("http://127.0.0.1:8080", "sk_1"));
    }
}
