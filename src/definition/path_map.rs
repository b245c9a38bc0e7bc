//! Paths as other machines write them, and where the same files are here.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

use super::paths::{is_s3, percent_decoded};
use crate::domain::printable::visible;

/// `[source] path_map`: beginnings of paths, and what stands in their place here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathMap {
    /// Without separators at their ends; the longest first.
    prefixes: Vec<(String, String)>,
}

impl PathMap {
    /// The map of these beginnings, each checked by [`check_prefix`].
    pub(super) fn new(prefixes: BTreeMap<String, String>) -> Self {
        let mut prefixes: Vec<_> = prefixes.into_iter().map(|(from, to)| (bare(&from), bare(&to))).collect();
        prefixes.sort_by_key(|(from, _)| Reverse(from.len()));
        Self { prefixes }
    }

    /// The path in the place of `source`, if it begins with one of the beginnings. In paths of Windows, upper and lower case
    /// are alike, and so are `\` and `/`.
    pub(crate) fn apply<'t>(&self, source: &'t str) -> Cow<'t, str> {
        if self.prefixes.is_empty() {
            return source.into();
        }
        let path = of_file_url(source).map_or(Cow::Borrowed(source), Cow::Owned);
        let path = of_long_form(&path).map_or(path.clone(), Cow::Owned);
        for (from, to) in &self.prefixes {
            let is_windows = is_windows(from) || is_windows(&path);
            if let Some(rest) = rest_after(&path, from, is_windows) {
                let rest = if is_windows { rest.replace('\\', "/") } else { rest.to_owned() };
                return format!("{to}{rest}").into();
            }
        }
        source.into()
    }
}

/// Checks one beginning and what stands in its place. Returns the beginning.
pub(super) fn check_prefix(taken: &BTreeMap<String, String>, from: &str, to: &str) -> Result<String, String> {
    let shown = visible(&from);
    if bare(from).is_empty() {
        return Err(format!("`{shown}` is no beginning of a path; write e.g. 'C:\\rec' or '\\\\server\\rec'"));
    }
    if !to.starts_with('/') && !is_s3(to) {
        return Err(format!("`{shown}` has to stand for an absolute path or an s3:// address, and `{to}` is neither"));
    }
    let alike = |other: &str| folded(&bare(other)) == folded(&bare(from)) && (is_windows(other) || is_windows(from));
    if taken.keys().any(|other| alike(other)) {
        return Err(format!("`{shown}` stands twice: upper and lower case are the same here"));
    }
    Ok(from.to_owned())
}

/// Whether a path is written as on Windows: with a drive, or with `\` between folders.
pub(crate) fn is_windows(path: &str) -> bool {
    path.contains('\\') || has_drive(path)
}

/// A path whose folders are separated by `/`, whichever way it is written.
pub(crate) fn slashed(path: &str) -> Cow<'_, str> {
    if is_windows(path) { path.replace('\\', "/").into() } else { path.into() }
}

/// Whether it begins with a drive (`C:\` or `C:/`) or a server (`\\server\`).
pub(crate) fn is_absolute_windows(path: &str) -> bool {
    has_drive(path) || path.starts_with(r"\\")
}

fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [drive, b':', rest @ ..]
        if drive.is_ascii_alphabetic() && matches!(rest, [] | [b'\\' | b'/', ..]))
}

/// What a path of Windows is, and what to do about it.
pub(crate) fn windows_message(path: &str) -> String {
    let folder = path.rfind(['\\', '/']).map_or(path, |at| &path[..at]);
    let whole = if path.starts_with(r"\\") { 4 } else { 2 };
    let beginning: String = folder.split_inclusive(['\\', '/']).take(whole).collect();
    let what = match path.starts_with(r"\\") {
        true => "is a share of Windows",
        false if has_drive(path) => "is on a drive of Windows",
        false => "is written as on Windows, and here `/` stands between folders",
    };
    let beginning = bare(&beginning);
    format!("{what}; say where that is here, in [source]: path_map = {{ '{beginning}' = \"/mnt/rec\" }}")
}

/// A path without separators at its end.
fn bare(path: &str) -> String {
    path.trim_end_matches(['/', '\\']).to_owned()
}

/// The part of `path` after `prefix`: nothing, or from a separator on.
fn rest_after<'p>(path: &'p str, prefix: &str, is_windows: bool) -> Option<&'p str> {
    let mut rest = path.chars();
    for wanted in prefix.chars() {
        let next = rest.next()?;
        let same = if is_windows { fold(next).eq(fold(wanted)) } else { next == wanted };
        if !same {
            return None;
        }
    }
    let rest = rest.as_str();
    (rest.is_empty() || rest.starts_with('/') || is_windows && rest.starts_with('\\')).then_some(rest)
}

fn folded(path: &str) -> String {
    path.chars().flat_map(fold).collect()
}

fn fold(c: char) -> impl Iterator<Item = char> {
    if c == '\\' { '/' } else { c }.to_lowercase()
}

/// The path of Windows in a `file:` URL: `file:///C:/rec` or `file://server/rec`.
pub(crate) fn of_file_url(source: &str) -> Option<String> {
    let rest = source.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("file://")).map(|_| &source[7..])?;
    let path = percent_decoded(rest);
    match path.strip_prefix('/') {
        Some(local) => has_drive(local).then(|| local.to_owned()),
        None if path.to_ascii_lowercase().starts_with("localhost/") => None,
        None => Some(format!("//{path}").replace('/', "\\")),
    }
}

/// The short form of `\\?\C:\rec` and `\\?\UNC\server\rec`.
fn of_long_form(path: &str) -> Option<String> {
    let rest = path.strip_prefix(r"\\?\")?;
    match rest.get(..4).filter(|unc| unc.eq_ignore_ascii_case(r"UNC\")) {
        Some(_) => Some(format!(r"\\{}", &rest[4..])),
        None => Some(rest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(prefixes: &[(&str, &str)]) -> PathMap {
        let mut taken = BTreeMap::new();
        for (from, to) in prefixes {
            let from = check_prefix(&taken, from, to).unwrap();
            taken.insert(from, (*to).to_owned());
        }
        PathMap::new(taken)
    }

    #[test]
    fn beginnings_are_mapped_the_longest_first() {
        let map = map(&[
            (r"\\server\rec", "/mnt/rec"),
            (r"\\server\rec\old\", "/mnt/old/"),
            (r"C:\rec", "/mnt/c"),
            ("D:", "s3://calls/d"),
            ("rec", "/srv/rec"),
            ("/home/ann", "/mnt/ann"),
            (r"\\SERVER\Größe", "/mnt/ü"),
        ]);
        for (source, mapped) in [
            (r"\\server\rec\1.wav", "/mnt/rec/1.wav"),
            (r"\\SERVER\Rec\a b\1.WAV", "/mnt/rec/a b/1.WAV"),
            (r"//server/rec/1.wav", "/mnt/rec/1.wav"),
            (r"\\server\rec\OLD\1.wav", "/mnt/old/1.wav"),
            (r"\\server\rec\older\1.wav", "/mnt/rec/older/1.wav"),
            (r"c:\REC\2026/11\1.wav", "/mnt/c/2026/11/1.wav"),
            ("C:/rec/1.wav", "/mnt/c/1.wav"),
            ("file:///C:/rec/a%20b.wav", "/mnt/c/a b.wav"),
            ("file://server/rec/1.wav", "/mnt/rec/1.wav"),
            (r"\\?\C:\rec\1.wav", "/mnt/c/1.wav"),
            (r"\\?\UNC\server\rec\1.wav", "/mnt/rec/1.wav"),
            (r"d:\x\1.wav", "s3://calls/d/x/1.wav"),
            (r"Rec\1.wav", "/srv/rec/1.wav"),
            ("rec/1.wav", "/srv/rec/1.wav"),
            ("/home/ann/1.wav", "/mnt/ann/1.wav"),
            (r"\\server\GRÖßE\1.wav", "/mnt/ü/1.wav"),
        ] {
            assert_eq!(map.apply(source), mapped, "{source}");
        }
        for same in [r"C:\record\1.wav", "/home/anna/1.wav", "/Home/ann/1.wav", "REC/1.wav", "https://server/rec/1", ""]
        {
            assert_eq!(map.apply(same), same);
        }
    }

    #[test]
    fn what_is_no_map_is_told() {
        let taken = BTreeMap::from([(r"C:\rec".to_owned(), "/a".to_owned())]);
        for (from, to, message) in [
            ("", "/a", "is no beginning of a path"),
            (r"\\", "/a", "is no beginning of a path"),
            (r"D:\rec", "mnt/rec", "`mnt/rec` is neither"),
            ("c:/REC/", "/b", "stands twice"),
        ] {
            let fault = check_prefix(&taken, from, to).unwrap_err();
            assert!(fault.contains(message), "{from}: {fault}");
        }
        assert!(check_prefix(&taken, "/rec", "/b").is_ok());
    }

    #[test]
    fn paths_of_windows_are_told_for_what_they_are() {
        for (path, message) in [
            (
                r"C:\rec\2026\1.wav",
                r#"is on a drive of Windows; say where that is here, in [source]: path_map = { 'C:\rec' = "/mnt/rec" }"#,
            ),
            (
                r"\\server\rec\2026\1.wav",
                r#"is a share of Windows; say where that is here, in [source]: path_map = { '\\server\rec' = "/mnt/rec" }"#,
            ),
            (
                r"rec\1.wav",
                r#"is written as on Windows, and here `/` stands between folders; say where that is here, in [source]: path_map = { 'rec' = "/mnt/rec" }"#,
            ),
            (
                r"C:\1.wav",
                r#"is on a drive of Windows; say where that is here, in [source]: path_map = { 'C:' = "/mnt/rec" }"#,
            ),
        ] {
            assert_eq!(windows_message(path), message);
            assert!(is_windows(path));
        }
        for (path, absolute) in [("C:/rec", true), (r"\\s\r", true), (r"a\b", false)] {
            assert_eq!(is_absolute_windows(path), absolute);
        }
        for path in ["a/b:c.wav", "/C:/x", "s3://b/k", "C", "ab:/x"] {
            assert!(!is_windows(path), "{path}");
        }
    }
}
