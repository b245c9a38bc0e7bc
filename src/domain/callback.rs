//! The address to which a call's answer is posted. The vendor signs nothing, so the address itself proves a callback:
//! it contains the call's id, and a MAC of the id that only a holder of the secret can make.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

use super::{
    hex::{hex, unhex},
    job::CallId,
    options::{SttModel, WebhookMode, listed},
};

/// The prefix of a probe's id in the input of its MAC.
const PROBE: &[u8] = b"wavebatch probe\0";

/// The secret that signs callback addresses: 32 bytes.
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
    /// The text is something else. The error does not repeat it.
    pub fn parse(digits: &str) -> Result<Self, String> {
        let message = "it has to be 64 hexadecimal digits, as `openssl rand -hex 32` makes them";
        unhex(digits).map(Self).ok_or_else(|| message.to_owned())
    }

    /// The secret as text, for the file that stores it.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Proves to a holder of the secret that these bytes are ours: HMAC-SHA256 of all of them in a row, in
    /// hexadecimal digits.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        hex(&mac.finalize().into_bytes())
    }

    fn mac(&self, call: CallId) -> Hmac<Sha256> {
        self.mac_of(&[call.0.as_bytes()])
    }

    /// The MAC of a probe. Its input is longer than a call's id, so a probe's address is never that of a call.
    fn probe_mac(&self, id: Uuid) -> Hmac<Sha256> {
        self.mac_of(&[PROBE, id.as_bytes()])
    }

    fn mac_of(&self, pieces: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for piece in pieces {
            mac.update(piece);
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

listed! {
    /// What a secret proves.
    SecretPurpose, "secret" {
        /// That a callback answers a call of this ledger.
        Webhook = "webhook",
        /// That a notification comes from this ledger.
        Notify = "notify",
    }
}

/// The secrets that a ledger has for one purpose, the newest first. All clones see it when they are replaced.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<RwLock<Arc<[Secret]>>>);

impl Keyring {
    /// Holds these secrets, the newest first.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self(Arc::new(RwLock::new(secrets.into())))
    }

    /// All that are known.
    #[must_use]
    pub fn all(&self) -> Arc<[Secret]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one that signs.
    #[must_use]
    pub fn newest(&self) -> Option<Secret> {
        self.all().first().cloned()
    }

    /// From now on these are known, and the first of them signs.
    pub fn replace(&self, secrets: Vec<Secret>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secrets.into();
    }
}

/// When answers are posted, and how long they are awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Recordings longer than this are long, in ms.
    pub over_ms: u64,
    /// Recordings larger than this are long, in bytes.
    pub over_bytes: u64,
    /// A callback is overdue after this, or after three times the audio's length, whichever is later; in ms.
    pub overdue_ms: u64,
    /// How long after that the vendor's log may still lack the call, in ms.
    pub grace_ms: u64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { over_ms: 600_000, over_bytes: 20_000_000, overdue_ms: 900_000, grace_ms: 120_000 }
    }
}

impl Rule {
    /// Whether the answer for this recording is to be posted. `trusted`: callbacks have arrived recently.
    #[must_use]
    pub fn applies(
        &self,
        mode: WebhookMode,
        model: SttModel,
        (audio_ms, bytes): (Option<u64>, Option<u64>),
        trusted: bool,
    ) -> bool {
        let long = audio_ms.is_some_and(|ms| ms > self.over_ms) || bytes.is_some_and(|bytes| bytes > self.over_bytes);
        match mode {
            // For the other models it is not proven that they post.
            WebhookMode::Auto => model == SttModel::PulsePro && long && trusted,
            WebhookMode::Always => true,
            WebhookMode::Never => false,
        }
    }

    /// How long after its intent a call's callback becomes overdue, in ms.
    #[must_use]
    pub fn overdue_after(&self, audio_ms: Option<u64>) -> u64 {
        self.overdue_ms.max(audio_ms.unwrap_or(0).saturating_mul(3))
    }
}

/// The address to which a call's answer is posted: `{public_url}/callbacks/{call}/{mac}`.
#[must_use]
pub fn address(public_url: &Url, call: CallId, secret: &Secret) -> Url {
    below(public_url, call.0, secret.mac(call))
}

/// An address that belongs to no call and tests the receiver. To everything in between it looks like a callback's address.
#[must_use]
pub fn probe_address(public_url: &Url, id: Uuid, secret: &Secret) -> Url {
    below(public_url, id, secret.probe_mac(id))
}

fn below(public_url: &Url, id: Uuid, mac: Hmac<Sha256>) -> Url {
    let mut address = public_url.clone();
    let mac = hex(&mac.finalize().into_bytes());
    address.set_path(&format!("{}/callbacks/{}/{mac}", public_url.path().trim_end_matches('/'), id.simple()));
    address
}

/// The call whose answer is posted to this address, according to its path: whichever secret signed it, and whatever
/// `public_url` it begins with. The path proves nothing to a receiver. In the vendor's log it identifies the call, because no
/// other call has this id.
#[must_use]
pub fn call_named_in(address: &str) -> Option<CallId> {
    let path = address.split(['?', '#']).next()?;
    let (_, rest) = path.rsplit_once("/callbacks/")?;
    let (id, mac) = rest.split_once('/')?;
    unhex::<32>(mac.trim_end_matches('/'))?;
    Some(CallId(id.parse().ok()?))
}

/// The call of an address, if one of the secrets signed it. A wrong MAC takes as long as a right one.
#[must_use]
pub fn call_of(secrets: &[Secret], call: &str, mac: &str) -> Option<CallId> {
    let mac: [u8; 32] = unhex(mac)?;
    let call = CallId(call.parse().ok()?);
    // All secrets are tried, so that the time does not reveal which one matched.
    let made = secrets.iter().filter(|secret| secret.mac(call).verify_slice(&mac).is_ok()).count();
    (made > 0).then_some(call)
}

/// Whether an address is a probe's that one of the secrets signed.
#[must_use]
pub fn is_probe(secrets: &[Secret], id: &str, mac: &str) -> bool {
    let (Some(mac), Ok(id)) = (unhex::<32>(mac), id.parse()) else { return false };
    secrets.iter().filter(|secret| secret.probe_mac(id).verify_slice(&mac).is_ok()).count() > 0
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
    fn a_call_is_named_by_its_address_whatever_made_it() {
        let call = CallId::new();
        for public in ["https://hooks.example.com", "http://10.0.0.1:8080/a/callbacks/", "https://h/x?y=1"] {
            let url = address(&public.parse().unwrap(), call, &Secret::new([7; 32])).to_string();
            assert_eq!(call_named_in(&url), Some(call), "{url}");
        }
        let mac = "0".repeat(64);
        assert_eq!(call_named_in(&format!("https://h/callbacks/{}/{mac}", call.0)), Some(call), "with hyphens");
        let id = call.0.simple();
        for other in [
            String::new(),
            format!("https://h/callbacks/{id}"),
            format!("https://h/callbacks/{id}/"),
            format!("https://h/callbacks/{id}/short"),
            format!("https://h/callbacks//{mac}"),
            format!("https://h/hooks/{id}/{mac}"),
        ] {
            assert_eq!(call_named_in(&other), None, "{other}");
        }
    }

    #[test]
    fn a_probe_is_no_call_and_a_call_no_probe() {
        let (secret, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let public = "https://hooks.example.com/wavebatch".parse().unwrap();
        let call = CallId::new();
        let names = |url: Url| {
            let path: Vec<_> = url.path().rsplit('/').take(3).map(str::to_owned).collect();
            assert_eq!(path[2], "callbacks", "{url}");
            (path[1].clone(), path[0].clone())
        };
        let (id, mac) = names(probe_address(&public, call.0, &secret));
        let both = [other.clone(), secret.clone()];
        assert!(is_probe(&both, &id, &mac), "while the secret is changed");
        assert_eq!(call_of(&both, &id, &mac), None, "of the same id");
        assert!(!is_probe(&[other], &id, &mac) && !is_probe(&both, &id, "") && !is_probe(&both, "", &mac));
        let (id, mac) = names(address(&public, call, &secret));
        assert!(!is_probe(&both, &id, &mac) && call_of(&both, &id, &mac) == Some(call));
    }

    #[test]
    fn long_recordings_of_pulse_pro_are_posted() {
        let rule = Rule::default();
        let auto = |model, known, trusted| rule.applies(WebhookMode::Auto, model, known, trusted);
        let (short, long, large) = ((Some(600_000), Some(9)), (Some(600_001), None), (None, Some(20_000_001)));
        assert!(auto(SttModel::PulsePro, long, true) && auto(SttModel::PulsePro, large, true));
        assert!(!auto(SttModel::PulsePro, short, true) && !auto(SttModel::PulsePro, (None, None), true));
        assert!(!auto(SttModel::Pulse, long, true), "not proved");
        assert!(rule.applies(WebhookMode::Always, SttModel::Pulse, short, false));
        assert!(!auto(SttModel::PulsePro, long, false), "none came lately");
        assert!(rule.applies(WebhookMode::Always, SttModel::PulsePro, short, false));
        assert!(!rule.applies(WebhookMode::Never, SttModel::PulsePro, long, true));
        assert_eq!((rule.overdue_after(Some(60_000)), rule.overdue_after(Some(3_600_000))), (900_000, 10_800_000));
    }

    #[test]
    fn what_is_signed_is_signed_as_a_whole() {
        // RFC 4231, test case 1; HMAC itself pads the key with zeros in the same way.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let signed = Secret::new(key).sign(&[b"Hi ", b"There"]);
        assert_eq!(signed, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let secret = Secret::new([0xab; 32]);
        assert_eq!(Secret::parse(&secret.hex()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let message = Secret::parse("hunter2").unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
        assert!(Secret::parse(&"é".repeat(32)).is_err());
    }
}
