//! The listing of an S3 prefix as a manifest. The caller writes the listing to a file, object by object. The file is
//! read as a stream, as often as needed, with the same rules as the listing of a directory.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::super::{Dialect, Filters, paths::key_of_path};
use super::{
    input::Input,
    jsonl::Name,
    listing::{Ignored, count_ignored, passed_over, unsettled},
    record::{MAX_BYTES, Next, Record},
};
use crate::domain::s3::{Listed, S3Address};

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key below the prefix.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its ETag, without quotes.
    pub etag: String,
    /// When it was last written, if the store says so.
    pub modified: Option<SystemTime>,
}

/// Writes a listing: one JSON list per object, since JSON can hold any key. A line with only a string is an ignored
/// entry.
#[derive(Debug)]
pub struct ListingWriter<W: Write> {
    to: BufWriter<W>,
    /// When the listing began.
    began: SystemTime,
}

impl<W: Write> ListingWriter<W> {
    /// A listing without objects yet.
    pub fn new(to: W) -> Self {
        Self { to: BufWriter::with_capacity(64 << 10, to), began: SystemTime::now() }
    }

    /// Adds any object with its age in ms; the reader decides which objects are recordings.
    ///
    /// # Errors
    /// The object cannot be written.
    pub fn write(&mut self, object: &ListedObject) -> io::Result<()> {
        let age = object.modified.and_then(|modified| age_ms(modified, self.began));
        serde_json::to_writer(&mut self.to, &(&object.path, object.bytes, &object.etag, age))?;
        self.to.write_all(b"\n")
    }

    /// Counts an ignored entry by its extension (`.json`) or the reason.
    ///
    /// # Errors
    /// The entry cannot be written.
    pub fn ignore(&mut self, kind: &str) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, kind)?;
        self.to.write_all(b"\n")
    }

    /// Flushes the buffer, and returns the file.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.to.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// The age of what was `modified`; negative if that lies in the future.
fn age_ms(modified: SystemTime, now: SystemTime) -> Option<i64> {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).ok();
    match now.duration_since(modified) {
        Ok(age) => ms(age),
        Err(ahead) => ms(ahead.duration()).map(|ms| -ms),
    }
}

/// A reading of such a listing.
pub(super) struct Objects {
    input: Input,
    /// `s3://bucket/prefix/`
    root: String,
    filters: Filters,
    line: Vec<u8>,
    position: u64,
    ignored: Ignored,
    hash: Sha256,
}

impl Objects {
    pub(super) fn new(copy: &Path, root: &S3Address, filters: &Filters) -> io::Result<Self> {
        let root = root.to_string();
        let mut hash = Sha256::new();
        hash.update(root.as_bytes());
        hash.update([0]);
        Ok(Self {
            input: Input::open(copy, Dialect::default())?,
            root,
            filters: filters.clone(),
            line: Vec::new(),
            position: 0,
            ignored: Ignored::new(),
            hash,
        })
    }

    /// Finds the next recording.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        while self.input.read_line(&mut self.line, MAX_BYTES)? {
            if self.line.first() == Some(&b'"') {
                let Name(kind) = serde_json::from_slice(&self.line)?;
                count_ignored(&mut self.ignored, &kind);
                continue;
            }
            let (Name(path), bytes, Name(etag), age): (Name<'_>, u64, Name<'_>, Option<i64>) =
                serde_json::from_slice(&self.line)?;
            // Consoles make such objects to show folders.
            if path.is_empty() || path.ends_with('/') {
                continue;
            }
            let age = age.map(|ms| Duration::from_millis(ms.unsigned_abs()));
            let kind = is_hidden(&path)
                .then(|| "hidden".into())
                .or_else(|| passed_over(&path, &self.filters))
                .or_else(|| unsettled(self.filters.settle, age));
            if let Some(kind) = kind {
                count_ignored(&mut self.ignored, &kind);
                continue;
            }
            self.position += 1;
            for part in [path.as_bytes(), &[0], &bytes.to_le_bytes(), etag.as_bytes(), &[0]] {
                self.hash.update(part);
            }
            record.start(self.position);
            record.push_all(&[&self.root, &path]);
            record.push(&key_of_path(&path));
            record.listed = Some(Listed { bytes, etag: etag.into_owned() });
            return Ok(Next::Line);
        }
        Ok(Next::End)
    }

    /// Reads to the end. Returns the hash of prefix, names, sizes and ETags, and what was ignored.
    pub(super) fn finish(mut self) -> io::Result<([u8; 32], Ignored)> {
        let mut record = Record::default();
        while self.next(&mut record)? != Next::End {}
        Ok((self.hash.finalize().into(), self.ignored))
    }
}

/// The same rule as in directories: other systems leave their own files beside recordings.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') && !matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(objects: &[(&str, u64, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ListingWriter::new(file.reopen().unwrap());
        for (path, bytes, etag) in objects {
            let modified = SystemTime::now().checked_sub(Duration::from_secs(60));
            let object = ListedObject { path: (*path).into(), bytes: *bytes, etag: (*etag).into(), modified };
            writer.write(&object).unwrap();
        }
        writer.ignore(".tmp").unwrap();
        writer.finish().unwrap();
        file
    }

    fn objects(file: &tempfile::NamedTempFile, root: &str) -> Objects {
        Objects::new(file.path(), &root.parse().unwrap(), &Filters::default()).unwrap()
    }

    #[test]
    fn any_name_survives_and_only_recordings_are_taken() {
        let odd = "a \"quoted\"\\ ü\n\u{0}\u{1f}#?%20 [x].wav";
        let file = listing(&[
            ("", 0, "m"),
            ("1/", 0, "m"),
            ("1/a.WAV", 7, "e1"),
            ("1/a.json", 1, "e"),
            ("_SUCCESS", 0, "e"),
            (".tmp/x.wav", 1, "e"),
            ("../x.wav", 1, "e"),
            ("/1/a.wav", 2, "e"),
            (odd, 0, "e2-3"),
        ]);
        let mut objects = objects(&file, "s3://b/2026/11/20/");
        let mut record = Record::default();
        let mut found = Vec::new();
        while objects.next(&mut record).unwrap() == Next::Line {
            let listed = record.listed.clone().unwrap();
            found.push((record.cell(0).to_owned(), record.cell(1).to_owned(), listed.bytes, listed.etag));
        }
        let object = |path: &str, key: &str, bytes, etag: &str| {
            (format!("s3://b/2026/11/20/{path}"), key.to_owned(), bytes, etag.to_owned())
        };
        assert_eq!(
            found,
            [
                object("1/a.WAV", "1/a", 7, "e1"),
                object("../x.wav", "%2E%2E/x", 1, "e"),
                object("/1/a.wav", "%2F/1/a", 2, "e"),
                object(odd, &odd.strip_suffix(".wav").unwrap().replace('\\', "%5C"), 0, "e2-3")
            ]
        );
        let ignored: Vec<_> = objects.finish().unwrap().1.into_iter().collect();
        let expected = [(".json", 1), (".tmp", 1), ("hidden", 1), ("no ending", 1)];
        assert_eq!(ignored, expected.map(|(kind, count)| (kind.to_owned(), count)));
    }

    #[test]
    fn what_changed_lately_is_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ListingWriter::new(file.reopen().unwrap());
        let at = |seconds| Some(SystemTime::now() - Duration::from_secs(seconds));
        let later = Some(SystemTime::now() + Duration::from_secs(500));
        for (path, modified) in
            [("old.wav", at(60)), ("new.wav", at(1)), ("new.txt", at(1)), ("odd.wav", later), ("unknown.wav", None)]
        {
            writer.write(&ListedObject { path: path.into(), bytes: 1, etag: "e".into(), modified }).unwrap();
        }
        writer.finish().unwrap();
        let filters = Filters { settle: Some(Duration::from_secs(30)), ..Filters::default() };
        let mut objects = Objects::new(file.path(), &"s3://b/".parse().unwrap(), &filters).unwrap();
        let (mut record, mut keys) = (Record::default(), Vec::new());
        while objects.next(&mut record).unwrap() == Next::Line {
            keys.push(record.cell(1).to_owned());
        }
        assert_eq!(keys, ["old", "odd", "unknown"]);
        let ignored: Vec<_> = objects.finish().unwrap().1.into_iter().collect();
        assert_eq!(ignored, [(".txt".to_owned(), 1), ("changed less than 30 s ago (settle)".to_owned(), 1)]);
    }

    #[test]
    fn the_hash_sees_prefix_path_size_and_etag() {
        let hash = |root: &str, object| objects(&listing(&[object]), root).finish().unwrap().0;
        let first = hash("s3://b/1/", ("a.wav", 1, "e"));
        assert_eq!(hash("s3://b/1/", ("a.wav", 1, "e")), first);
        for (root, object) in [
            ("s3://b/2/", ("a.wav", 1, "e")),
            ("s3://b/1/", ("b.wav", 1, "e")),
            ("s3://b/1/", ("a.wav", 2, "e")),
            ("s3://b/1/", ("a.wav", 1, "f")),
        ] {
            assert_ne!(hash(root, object), first);
        }
    }
}
