//! Paths, URLs and file extensions: recognizes what a text that names a recording or a manifest most likely is.

use std::{
    borrow::Cow,
    cmp::Ordering,
    io,
    path::{Component, Path, PathBuf},
};

use url::Url;

/// Extensions of audio files, in lower case. Raw and rare telephony formats are included: the API decides what it can
/// read.
pub(crate) const AUDIO: &[&str] = &[
    "wav", "wave", "mp3", "flac", "ogg", "oga", "opus", "spx", "m4a", "m4b", "mp4", "aac", "webm", "weba", "amr",
    "awb", "wma", "aif", "aiff", "aifc", "au", "snd", "gsm", "caf", "mka", "mp2", "mpga", "3gp", "3gpp", "ulaw",
    "alaw", "vox", "sln", "w64", "rf64", "ul", "al", "mulaw", "pcmu", "pcma", "sln8", "sln16", "g722",
];

/// An I/O error as a message for users.
pub(crate) fn io_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "may not be read (permission denied)".into(),
        io::ErrorKind::IsADirectory => "is a directory".into(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The scheme, if the text is a URL (`scheme://…`).
pub(crate) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let first = scheme.chars().next()?;
    let rest = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (first.is_ascii_alphabetic() && rest).then_some(scheme)
}

/// Whether the text is an http or https URL.
pub(crate) fn is_web(text: &str) -> bool {
    scheme(text).is_some_and(|s| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https"))
}

/// Whether the text is an `s3://` address.
pub(crate) fn is_s3(text: &str) -> bool {
    scheme(text).is_some_and(|s| s.eq_ignore_ascii_case("s3"))
}

/// The last part of a path or URL, without a URL's query and fragment (an S3 key has neither).
pub(crate) fn file_name(source: &str) -> &str {
    let path = match scheme(source) {
        Some(_) if is_s3(source) => source.splitn(4, '/').nth(3).unwrap_or(""),
        Some(scheme) => {
            let after = &source[scheme.len() + 3..];
            let after = &after[..after.find(['?', '#']).unwrap_or(after.len())];
            after.split_once('/').map_or("", |(_, path)| path)
        }
        None => source,
    };
    path.rsplit('/').next().unwrap_or(path)
}

/// A file's name without its extension; a name that is only an extension stays.
pub(crate) fn stem(name: &str) -> &str {
    match name.rfind('.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    }
}

/// A file's extension, in lower case, without the dot.
pub(super) fn ending(name: &str) -> Option<String> {
    let dot = name.rfind('.').filter(|dot| *dot > 0)?;
    Some(name[dot + 1..].to_lowercase()).filter(|ending| !ending.is_empty())
}

/// Whether a name has an audio extension.
pub(super) fn is_audio(name: &str) -> bool {
    ending(name).is_some_and(|ending| AUDIO.contains(&ending.as_str()))
}

/// Whether a cell looks like the path or URL of a recording, and not like a column's name.
pub(crate) fn looks_like_source(cell: &str) -> bool {
    scheme(cell).is_some() || is_audio(file_name(cell))
}

/// Decodes `%41` and the like in a URL; a text that would not be UTF-8 stays as it is.
pub(crate) fn percent_decoded(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|b| (*b as char).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if let (b'%', Some(high), Some(low)) = (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            decoded.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// The file name of a source, as it is called at its location.
pub(crate) fn source_name(source: &str) -> Cow<'_, str> {
    let name = file_name(source);
    let is_url = scheme(source).is_some() && !is_s3(source);
    if is_url { Cow::Owned(percent_decoded(name)) } else { Cow::Borrowed(name) }
}

/// A path without `.` and `..`. Correct only where `path` begins with a directory without symbolic links.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// A directory as an absolute path, without symbolic links where it exists.
pub(super) fn absolute_dir(path: &Path) -> io::Result<PathBuf> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(_) => std::path::absolute(path),
    }
}

/// A URL that is safe to show: without user info, query and fragment, which may hold signatures.
pub(super) fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

/// The name of a file or object, without its ending, as a line's key. Parts that no key may have are escaped: a folder without
/// a name becomes `%2F`, `.` and `..` become `%2E` and `%2E%2E`, a `\` becomes `%5C`.
pub(super) fn key_of_path(path: &str) -> Cow<'_, str> {
    let name = file_name_of_path(path);
    let path = &path[..path.len() - name.len() + stem(name).len()];
    let is_odd = |part: &str| matches!(part, "" | "." | "..") || part.contains('\\');
    if !path.split('/').any(is_odd) {
        return Cow::Borrowed(path);
    }
    let escaped = path.split('/').map(|part| match part {
        "" => "%2F".to_owned(),
        "." | ".." => part.replace('.', "%2E"),
        part => part.replace('\\', "%5C"),
    });
    Cow::Owned(escaped.collect::<Vec<_>>().join("/"))
}

fn file_name_of_path(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Compares names as people count: a row of digits is a number, so that `chapter-2` comes before `chapter-10`. Names that
/// differ only in leading zeros are in the order of their bytes.
pub(super) fn natural_order(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (one, other) = match (left, right) {
            ([one, ..], [other, ..]) => (one, other),
            _ => return left.len().cmp(&right.len()).then_with(|| a.cmp(b)),
        };
        let order = if one.is_ascii_digit() && other.is_ascii_digit() {
            let (first, second) = (number(&mut left), number(&mut right));
            first.len().cmp(&second.len()).then_with(|| first.cmp(second))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            one.cmp(other)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits from the start of a name. Returns them without leading zeros.
fn number<'n>(name: &mut &'n [u8]) -> &'n [u8] {
    let digits = name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    let (number, rest) = name.split_at(digits);
    *name = rest;
    &number[number.iter().position(|digit| *digit != b'0').unwrap_or(number.len())..]
}

/// Whether a text contains glob characters.
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_endings() {
        assert_eq!(file_name("https://x.org/a/b%20c.wav?sig=/x.y#z"), "b%20c.wav");
        assert_eq!(file_name("https://x.org"), "");
        assert_eq!(
            (file_name("s3://b/a/b%20c#1?.wav"), file_name("s3://b"), file_name("s3://b/a/")),
            ("b%20c#1?.wav", "", "")
        );
        assert_eq!(
            (source_name("s3://b/%20.wav"), source_name("http://x/%20.wav")),
            ("%20.wav".into(), " .wav".into())
        );
        assert_eq!(file_name("/mnt/a.b/c"), "c");
        assert_eq!((stem("a.b.wav"), stem(".wav"), stem("a")), ("a.b", ".wav", "a"));
        assert_eq!(ending("A.WAV").as_deref(), Some("wav"));
        assert_eq!((ending(".wav"), ending("a."), ending("a")), (None, None, None));
        assert_eq!(percent_decoded("b%20c%C3%A9%zz%"), "b cé%zz%");
        assert_eq!(percent_decoded("%ff"), "%ff");
    }

    #[test]
    fn a_name_that_could_be_no_key_is_escaped() {
        for (path, key) in [
            ("a/b.v2.wav", "a/b.v2"),
            ("/2026/1.wav", "%2F/2026/1"),
            ("a//b.wav", "a/%2F/b"),
            ("../a/./b.wav", "%2E%2E/a/%2E/b"),
            ("a\\b.wav", "a%5Cb"),
            ("...wav", "%2E%2E"),
            ("s3://x/1.wav", "s3:/%2F/x/1"),
        ] {
            assert_eq!(key_of_path(path), key, "{path}");
        }
    }

    #[test]
    fn names_are_in_the_order_in_which_people_count() {
        let ordered = [
            "",
            "1",
            "01",
            "001.wav",
            "1.wav",
            "2.wav",
            "2a",
            "10.wav",
            "20261130-9",
            "20261130-10",
            "99999999999999999999999",
            "100000000000000000000000",
            "a",
            "a-2",
            "a1",
            "a1b",
            "a01c",
            "a2",
            "a10",
            "b2-1",
            "b2-01",
            "b2-10",
            "chapter-1",
            "chapter-2",
            "chapter-10",
            "ü1",
            "ü2",
        ];
        // Of numbers that are alike, the one with more zeros stands first; the rest of the name counts before that.
        let mut sorted = ordered;
        sorted.sort_by(|a, b| natural_order(a.as_bytes(), b.as_bytes()));
        let mut expected = ordered;
        expected[1..3].swap(0, 1);
        expected[19..21].swap(0, 1);
        assert_eq!(sorted, expected);
        for a in ordered {
            for b in ordered {
                let order = natural_order(a.as_bytes(), b.as_bytes());
                assert_eq!(order, natural_order(b.as_bytes(), a.as_bytes()).reverse(), "{a} {b}");
                assert_eq!(order.is_eq(), a == b);
            }
        }
    }

    #[test]
    fn sources_are_told_from_column_names() {
        for source in ["https://x/y", "s3://b/k", "rec/a.WAV", "a.opus"] {
            assert!(looks_like_source(source), "{source}");
        }
        for name in ["url", "audio.url", "call_id", "source", "://", "wav"] {
            assert!(!looks_like_source(name), "{name}");
        }
        assert!(is_web("HTTPS://x") && !is_web("ftp://x") && !is_web("https:/x"));
    }

    #[test]
    fn shown_addresses_have_no_secrets() {
        let url = Url::parse("https://me:pw@x.org/a.csv?X-Amz-Signature=1#f").unwrap();
        assert_eq!(shown_url(&url), "https://x.org/a.csv");
        assert_eq!(clean(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
