//! Where a call's answer is posted to. The vendor signs nothing, so that whatever proves a callback is in its address:
//! the call's id, and a MAC of it that only who has the secret can make.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;

use super::job::CallId;

/// What addresses of callbacks are made with: 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// It is something else. It is not repeated.
    pub fn parse(hex: &str) -> Result<Self, String> {
        let told = || "it has to be 64 hexadecimal digits, as `openssl rand -hex 32` makes them".to_owned();
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(told());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| told())?;
        }
        Ok(Self(bytes))
    }

    /// The same as text, for the file that keeps it.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    fn mac(&self, call: CallId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(call.0.as_bytes());
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The address that a call's answer is to be posted to: `{public_url}/callbacks/{call}/{mac}`.
#[must_use]
pub fn address(public_url: &Url, call: CallId, secret: &Secret) -> Url {
    let mut address = public_url.clone();
    let mac = hex(&secret.mac(call).finalize().into_bytes());
    let path = format!("{}/callbacks/{}/{mac}", public_url.path().trim_end_matches('/'), call.0.simple());
    address.set_path(&path);
    address
}

/// The call that an address is of, if one of the secrets made it. Takes as long for a wrong MAC as for a right one.
#[must_use]
pub fn call_of(secrets: &[Secret], call: &str, mac: &str) -> Option<CallId> {
    let mac = bytes(mac)?;
    let call = CallId(call.parse().ok()?);
    // All are tried: which of two it was is nobody's business.
    let made = secrets.iter().filter(|secret| secret.mac(call).verify_slice(&mac).is_ok()).count();
    (made > 0).then_some(call)
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    Secret::parse(hex).ok().map(|secret| secret.0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_secret_makes_an_address() {
        let (old, new, other) = (Secret::new([1; 32]), Secret::new([2; 32]), Secret::new([3; 32]));
        let call = CallId::new();
        let public = "https://hooks.example.com/wavebatch/".parse().unwrap();
        let url = address(&public, call, &old);
        let path: Vec<_> = url.path().split('/').collect();
        let ["", "wavebatch", "callbacks", id, mac] = path.as_slice() else { panic!("{url}") };
        assert_eq!(call_of(&[new.clone(), old.clone()], id, mac), Some(call), "while the secret is changed");
        assert_eq!(call_of(&[new, other], id, mac), None);
        let secrets = [old];
        let forged = mac.replace(&mac[..1], if mac.starts_with('0') { "1" } else { "0" });
        for (id, mac) in [(*id, forged.as_str()), (&CallId::new().to_string(), mac), (id, ""), (id, "zz"), ("", mac)] {
            assert_eq!(call_of(&secrets, id, mac), None, "{id} {mac}");
        }
    }

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let secret = Secret::new([0xab; 32]);
        assert_eq!(Secret::parse(&secret.hex()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let told = Secret::parse("hunter2").unwrap_err();
        assert!(!told.contains("hunter2"), "{told}");
        assert!(Secret::parse(&"é".repeat(32)).is_err());
    }
}
