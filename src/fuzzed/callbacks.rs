//! Callbacks: the body, and the path `{call}/{mac}`. Nobody without the secret makes a path, whoever has it does; a body
//! is an answer exactly where its transcript can be read.

use crate::{
    domain::{
        body::Arrived,
        callback::{Secret, address, call_of, is_probe},
        job::CallId,
        transcript::Transcript,
    },
    waves::{Posted, read_callback},
};

/// One input.
///
/// # Panics
/// On a finding.
pub fn callbacks(input: &[u8]) {
    let cut = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (path, body) = (&input[..cut], input.get(cut + 1..).unwrap_or_default());
    let secrets = [Secret::new([1; 32]), Secret::new([2; 32])];

    if let Ok(path) = std::str::from_utf8(path) {
        let (id, mac) = path.split_once('/').unwrap_or((path, ""));
        if let Some(call) = call_of(&secrets, id, mac) {
            // Its spelling may differ, its digits not.
            let public = "https://h.example".parse().expect("a URL");
            let made = secrets.iter().map(|secret| address(&public, call, secret));
            let mac = mac.to_ascii_lowercase();
            assert!(made.into_iter().any(|url| url.path().ends_with(&mac)), "{path} was never made");
        }
        assert!(!(call_of(&secrets, id, mac).is_some() && is_probe(&secrets, id, mac)));
    }
    if let Some(bytes) = path.first_chunk::<16>() {
        let call = CallId(format!("{:032x}", u128::from_be_bytes(*bytes)).parse().expect("32 digits"));
        let public = "https://h.example/below/".parse().expect("a URL");
        let url = address(&public, call, &secrets[1]);
        let mut names = url.path().rsplit('/');
        let (mac, id) = (names.next().expect("a MAC"), names.next().expect("an id"));
        assert_eq!(call_of(&secrets, id, mac), Some(call));
        assert_eq!(call_of(&secrets[..1], id, mac), None);
    }

    match read_callback(&Arrived::Whole(body.to_vec().into())) {
        Ok(Posted::Answer { .. }) => {
            Transcript::parse(body).expect("what counts as an answer can be read");
        }
        Ok(Posted::Failed(failure)) => {
            assert!(!failure.message.chars().any(char::is_control) && failure.message.len() < 4_000);
        }
        Err(why) => assert!(!why.is_empty() && why.len() < 4_000 && !why.chars().any(char::is_control), "{why:?}"),
    }
}
