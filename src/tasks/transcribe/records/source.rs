//! What a line may name as its recording, and where the recording is.

use std::path::Path;

use url::Url;

use crate::{
    definition::{
        manifest::Base,
        origin::unknown_scheme,
        path_map::{is_absolute_windows, is_windows, of_file_url, windows_message},
        paths::{clean, is_s3, is_web, scheme},
        text::excerpt,
    },
    domain::{options::SendMode, s3::S3Address},
};

/// A source in the ledger's form: an address, or an absolute path.
pub(super) fn resolve(base: &Base, source: &str) -> String {
    if is_web(source) {
        return source.to_owned();
    }
    if is_s3(source) {
        return source.parse::<S3Address>().map_or_else(|_| source.to_owned(), |address| address.to_string());
    }
    if scheme(source).is_some() {
        let path = Url::parse(source).ok().and_then(|url| url.to_file_path().ok());
        return path.map_or_else(|| source.to_owned(), |path| path.to_string_lossy().into_owned());
    }
    match base {
        Base::Url(url) => url.join(source).map_or_else(|_| source.to_owned(), String::from),
        Base::S3(manifest) => below(manifest, source).to_string(),
        Base::Dir(_) if source.starts_with('/') => source.to_owned(),
        Base::Dir(dir) => {
            let path = format!("{}/{}", dir.trim_end_matches('/'), source);
            let plain = !source.split('/').any(|part| matches!(part, "" | "." | ".."));
            if plain { path } else { clean(Path::new(&path)).to_string_lossy().into_owned() }
        }
    }
}

/// The path of a local file: relative to the base directory if the file is below it, else absolute. `None` for other sources.
pub(super) fn local(base: &Base, resolved: &str) -> Option<String> {
    if !resolved.starts_with('/') {
        return None;
    }
    let below = match base {
        Base::Dir(dir) => resolved.strip_prefix(dir.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')),
        Base::Url(_) | Base::S3(_) => None,
    };
    Some(below.unwrap_or(resolved).to_owned())
}

/// The object that a relative source names, beside the manifest `of` in its bucket. A `/` at its start is the bucket's root.
/// Of the source, `.` and `..` are steps; the manifest's own folder stays as it is.
fn below(of: &S3Address, source: &str) -> S3Address {
    let folder = &of.key[..of.key.rfind('/').map_or(0, |slash| slash + 1)];
    let (mut key, steps) = match source.strip_prefix('/') {
        Some(steps) => (String::new(), steps),
        None => (folder.to_owned(), source),
    };
    let mut steps = steps.split('/').peekable();
    while let Some(step) = steps.next() {
        match step {
            "." => {}
            ".." => {
                let above = key.strip_suffix('/').and_then(|folder| folder.rfind('/')).map_or(0, |slash| slash + 1);
                key.truncate(above);
            }
            name => {
                key.push_str(name);
                key.push_str(if steps.peek().is_some() { "/" } else { "" });
            }
        }
    }
    S3Address { bucket: of.bucket.clone(), key }
}

/// Checks whether a source can be sent in this way.
pub(super) fn check_source(source: &str, send: SendMode, base: &Base) -> Result<(), String> {
    if let Some(c) = source.chars().find(|c| c.is_control()) {
        return Err(format!("a source may not have control characters, and this one has U+{:04X}", c as u32));
    }
    if is_web(source) {
        return check_web(source);
    }
    if is_s3(source) {
        return match source.parse::<S3Address>() {
            Ok(address) if address.is_prefix() => Err("names a prefix, and no object below it".to_owned()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        };
    }
    let local = match scheme(source) {
        None => matches!(base, Base::Dir(_)),
        Some(scheme) if scheme.eq_ignore_ascii_case("file") => {
            let path = Url::parse(source).ok().and_then(|url| url.to_file_path().ok());
            path.map(|_| true).ok_or("is not a valid file: URL")?
        }
        Some(scheme) => return Err(unknown_scheme(&excerpt(scheme))),
    };
    if local && send == SendMode::Url {
        return Err(
            "send = \"url\" needs an http(s) or s3:// address, and this is a file; use send = \"auto\" or \"bytes\""
                .into(),
        );
    }
    Ok(())
}

/// What a path is that can only be one of another machine, with Windows on it. A file here may have a `\` in its name.
pub(super) fn foreign(source: &str, base: &Base) -> Option<String> {
    if let Some(path) = of_file_url(source) {
        return Some(windows_message(&path));
    }
    if !is_windows(source) || is_web(source) || is_s3(source) {
        return None;
    }
    let is_foreign = match base {
        Base::Dir(dir) => !Path::new(dir).join(source).exists(),
        Base::Url(_) | Base::S3(_) => is_absolute_windows(source),
    };
    is_foreign.then(|| windows_message(source))
}

fn check_web(source: &str) -> Result<(), String> {
    // Most addresses are visibly valid without a parser.
    let after = &source[source.find("://").map_or(0, |at| at + 3)..];
    let host = &after[..after.find('/').unwrap_or(after.len())];
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'.' || b == b'-';
    if host.len() > 3
        && host.bytes().all(plain)
        && host.as_bytes()[0].is_ascii_lowercase()
        && host.as_bytes()[host.len() - 1].is_ascii_lowercase()
        && !host.contains("..")
        && !host.contains("xn--")
    {
        return Ok(());
    }
    // The message contains no address, since it may be signed.
    Url::parse(source).map(|_| ()).map_err(|e| format!("is not a valid URL: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_beside_a_manifest_in_a_store_keep_their_names() {
        for (manifest, source, object) in [
            ("s3://b/in/calls.csv", "1.wav", "s3://b/in/1.wav"),
            ("s3://b/in/calls.csv", "./a/../1.wav", "s3://b/in/1.wav"),
            ("s3://b/in/calls.csv", "../../../1.wav", "s3://b/1.wav"),
            ("s3://b/in/calls.csv", "/1.wav", "s3://b/1.wav"),
            ("s3://b/in/calls.csv", "//1.wav", "s3://b//1.wav"),
            ("s3://b/in/calls.csv", "a//1 +%2F.wav", "s3://b/in/a//1 +%2F.wav"),
            ("s3://b//in//calls.csv", "1.wav", "s3://b//in//1.wav"),
            ("s3://b//in/calls.csv", "../1.wav", "s3://b//1.wav"),
            ("s3://b/calls.csv", "s3://b//x/../1.wav", "s3://b//x/../1.wav"),
        ] {
            let base = Base::S3(manifest.parse().unwrap());
            assert_eq!(resolve(&base, source), object, "{manifest} {source}");
        }
    }

    #[test]
    fn paths_of_other_machines_are_known() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a\\b.wav"), "x").unwrap();
        let here = Base::Dir(dir.path().to_str().unwrap().to_owned());
        let web = Base::Url("https://x.org/calls.csv".parse().unwrap());
        for (source, base, what) in [
            (r"C:\rec\1.wav", &here, Some("is on a drive of Windows")),
            ("file:///C:/rec/1.wav", &here, Some("is on a drive of Windows")),
            ("file://server/rec/1.wav", &here, Some("is a share of Windows")),
            (r"rec\1.wav", &here, Some("is written as on Windows")),
            (r"a\b.wav", &here, None),
            ("file:///mnt/1.wav", &here, None),
            ("file://localhost/mnt/1.wav", &here, None),
            (r"https://x.org/a\b.wav", &here, None),
            (r"rec\1.wav", &web, None),
            (r"\\server\rec\1.wav", &web, Some("is a share of Windows")),
        ] {
            let message = foreign(source, base);
            assert_eq!(message.is_some(), what.is_some(), "{source}: {message:?}");
            assert!(message.zip(what).is_none_or(|(message, what)| message.starts_with(what)), "{source}");
        }
    }
}
