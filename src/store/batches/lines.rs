//! Sets of lines for the ledger: one JSON text per statement, written without intermediate values per line.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::domain::{
    hex::hex,
    identity::{ContentHash, Identity, Passport},
    key::Key,
    pool::Pool,
    s3::Listed,
};
use crate::store::{
    Text,
    jobs::texts::{Packed, Texts},
};

/// A line that can be worked, or that names no recording and is skipped.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its number in the manifest, from 1.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// The address of its recording; `None`: the line names none.
    pub source: Option<String>,
    /// The identity of the recording; that of a local file is valid only until the file is read.
    pub source_id: Identity,
    /// The identity of the options that affect the call.
    pub options_id: Identity,
    /// JSON of options that differ from the batch's.
    pub overrides: Option<String>,
    /// JSON array of carried cells.
    pub carried: Option<String>,
    /// The pool of its call.
    pub pool: Pool,
    /// What a listing said about its recording.
    pub expected: Option<Listed>,
    /// The file of a local recording.
    pub local: Option<NewLocal>,
    /// JSON array of its outputs' addresses, if they already exist: then a new line is done.
    pub adopted: Option<String>,
    /// What it synthesizes.
    pub synthesis: Option<NewSynthesis>,
}

/// A local recording of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLocal {
    /// The path and metadata of the file.
    pub passport: Passport,
    /// Its content, if it was read for comparison with the ledger.
    pub content: Option<ContentHash>,
}

/// What a job synthesizes. Its `source_id` is that of the text, so that a file that only moved is the same line.
#[derive(Debug, Clone)]
pub struct NewSynthesis {
    /// The text.
    pub text: Text,
    /// Which of its line's jobs it is: voice, format, and the language where a line has several texts.
    pub variant: String,
}

/// A line that cannot be worked: it stays in the report until it is corrected.
#[derive(Debug, Clone)]
pub struct BadJob {
    /// Its number in the manifest.
    pub line: u64,
    /// Its key, if that is known without it; else it is made of the number.
    pub key: Option<String>,
    /// What is wrong with it.
    pub fault: String,
    /// JSON array of carried cells.
    pub carried: Option<String>,
}

/// How an element of an entry's array is read.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Text,
    Number,
    /// Bytes in hex.
    Hex,
}

/// The fields of a good line, in order. Those at the end may be missing, and are NULL then.
const LINE: [(&str, Cell); 19] = [
    ("line", Cell::Number),
    ("key", Cell::Text),
    ("source", Cell::Text),
    ("source_id", Cell::Hex),
    ("options_id", Cell::Hex),
    ("overrides", Cell::Text),
    ("carried", Cell::Text),
    ("pool", Cell::Text),
    ("place", Cell::Number),
    ("source_bytes", Cell::Number),
    ("source_etag", Cell::Text),
    ("adopted", Cell::Text),
    ("variant", Cell::Text),
    ("text", Cell::Hex),
    ("units", Cell::Number),
    ("source_path", Cell::Text),
    ("source_mtime", Cell::Number),
    ("source_hash", Cell::Hex),
    ("source_inode", Cell::Number),
];

/// The fields of a bad line, in order.
const BAD_LINE: [(&str, Cell); 5] = [
    ("line", Cell::Number),
    ("key", Cell::Text),
    ("fault", Cell::Text),
    ("carried", Cell::Text),
    ("place", Cell::Number),
];

/// The good lines of the set `$1` as rows. Most sets have no texts, and fewer fields of their lines are read.
pub(in crate::store) fn incoming(speaks: bool) -> String {
    let cell = |nth: usize, name: &str, cell: Cell| match name {
        "variant" if speaks => format!("coalesce({}, '') AS variant", read(nth, cell)),
        "variant" => "'' AS variant".to_owned(),
        "text" if !speaks => "unhex(NULL) AS text".to_owned(),
        "units" if !speaks => "CAST(NULL AS BIGINT) AS units".to_owned(),
        _ => format!("{} AS {name}", read(nth, cell)),
    };
    rows_of(&LINE, cell)
}

/// The bad lines of the set `$1` as rows.
pub(in crate::store) fn incoming_bad() -> String {
    rows_of(&BAD_LINE, |nth, name, cell| format!("{} AS {name}", read(nth, cell)))
}

fn rows_of(fields: &[(&str, Cell)], cell: impl Fn(usize, &str, Cell) -> String) -> String {
    let cells: Vec<_> = fields.iter().enumerate().map(|(nth, (name, kind))| cell(nth, name, *kind)).collect();
    format!("SELECT {} FROM rows_of($1) AS r", cells.join(", "))
}

fn read(nth: usize, cell: Cell) -> String {
    match cell {
        Cell::Text => format!("v ->> {nth}"),
        Cell::Number => format!("CAST(v ->> {nth} AS BIGINT)"),
        Cell::Hex => format!("unhex(v ->> {nth})"),
    }
}

/// Good lines, ready for one statement.
#[derive(Debug, Clone, Default)]
pub struct LineSet {
    lines: Array,
    texts: Texts,
    adopts: bool,
}

/// A set in the form that its statement takes.
#[derive(Debug)]
pub(in crate::store) struct PackedLines {
    pub(in crate::store) len: u64,
    pub(in crate::store) json: Arc<str>,
    pub(in crate::store) texts: Vec<Packed>,
    /// Whether some of them are done, since their outputs are there.
    pub(in crate::store) adopts: bool,
}

impl PackedLines {
    /// Whether any of them has a text: for sets without texts fewer fields are read.
    pub(in crate::store) const fn speaks(&self) -> bool {
        !self.texts.is_empty()
    }
}

/// Bad lines, ready for one statement.
#[derive(Debug, Clone, Default)]
pub struct BadSet(Array);

/// The text of a JSON array that is not closed yet.
#[derive(Debug, Clone, Default)]
struct Array {
    text: Vec<u8>,
    len: u64,
}

struct Hex(Identity);

impl LineSet {
    /// An empty set with room for `bytes` of text.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { lines: Array { text: Vec::with_capacity(bytes), len: 0 }, ..Self::default() }
    }

    /// Adds a line; `place` counts the lines of its transaction, good and bad ones.
    pub fn push(&mut self, j: &NewJob, place: u64) {
        self.adopts |= j.adopted.is_some();
        let (source, recording, options) = (&j.source, Hex(j.source_id), Hex(j.options_id));
        let line = (j.line, &j.key, source, recording, options, &j.overrides, &j.carried, j.pool, place);
        if j.expected.is_none() && j.adopted.is_none() && j.synthesis.is_none() && j.local.is_none() {
            return self.lines.push(&line);
        }
        // Only lines with these fields carry them: most manifests are not listings.
        let (bytes, etag) = j.expected.as_ref().map(|e| (e.bytes, e.etag.as_str())).unzip();
        if let Some(local) = &j.local {
            let seen = local.passport.seen;
            let (bytes, mtime) = seen.map(|seen| (seen.bytes, seen.modified_ns)).unzip();
            let inode = seen.map(|seen| seen.inode.cast_signed());
            let (none, path) = (None::<&str>, &local.passport.path);
            let content = local.content.map(|content| hex(&content.0));
            let found = (bytes, none, &j.adopted, none, none, none, path, mtime, content, inode);
            return self.lines.push_joined(&line, &found);
        }
        let (a, b, c, d, e, f, g, h, i) = line;
        let Some(synthesis) = &j.synthesis else {
            return self.lines.push(&(a, b, c, d, e, f, g, h, i, bytes, etag, &j.adopted));
        };
        let text = &synthesis.text;
        let synthesis_counts = (&synthesis.variant, Hex(text.id()), text.characters());
        self.lines.push(&(
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            bytes,
            etag,
            &j.adopted,
            synthesis_counts.0,
            synthesis_counts.1,
            synthesis_counts.2,
        ));
        self.texts.add(text);
    }

    /// How many bytes of text it has.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.lines.text.len()
    }

    /// How many lines it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.lines.len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.len == 0
    }

    pub(in crate::store) fn into_lines(self) -> PackedLines {
        PackedLines { len: self.len(), adopts: self.adopts, texts: self.texts.pack(), json: self.lines.into_json() }
    }

    pub(in crate::store) fn into_json(self) -> Arc<str> {
        self.lines.into_json()
    }
}

impl BadSet {
    /// Adds a line; `place` counts the lines of its transaction, good and bad ones.
    pub fn push(&mut self, j: &BadJob, place: u64) {
        let key = j.key.clone().unwrap_or_else(|| Key::of_line(j.line).to_string());
        self.0.push(&(j.line, key, &j.fault, &j.carried, place));
    }

    /// How many lines it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    pub(in crate::store) fn into_json(self) -> Arc<str> {
        self.0.into_json()
    }
}

impl<'j> FromIterator<(&'j NewJob, u64)> for LineSet {
    fn from_iter<I: IntoIterator<Item = (&'j NewJob, u64)>>(jobs: I) -> Self {
        let mut set = Self::default();
        jobs.into_iter().for_each(|(job, place)| set.push(job, place));
        set
    }
}

impl<'j> FromIterator<(&'j BadJob, u64)> for BadSet {
    fn from_iter<I: IntoIterator<Item = (&'j BadJob, u64)>>(jobs: I) -> Self {
        let mut set = Self::default();
        jobs.into_iter().for_each(|(job, place)| set.push(job, place));
        set
    }
}

impl Array {
    fn push(&mut self, entry: &impl Serialize) {
        self.text.push(if self.len == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut self.text, entry).expect("numbers and strings are JSON");
        self.len += 1;
    }

    /// Adds an entry with the fields of two tuples: no single tuple has so many.
    fn push_joined(&mut self, first: &impl Serialize, second: &impl Serialize) {
        self.push(first);
        self.text.pop();
        let joint = self.text.len();
        serde_json::to_writer(&mut self.text, second).expect("numbers and strings are JSON");
        self.text[joint] = b',';
    }

    fn into_json(mut self) -> Arc<str> {
        if self.len == 0 {
            self.text.push(b'[');
        }
        self.text.push(b']');
        String::from_utf8(self.text).expect("JSON is UTF-8").into()
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        serializer.serialize_str(std::str::from_utf8(&hex).expect("digits are ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            identity::{ContentHash, Passport, SeenFile},
            pool::Pool,
            s3::Listed,
        },
        store::NewLocal,
    };

    #[test]
    fn a_set_is_an_array_of_arrays() {
        assert_eq!(&*LineSet::default().into_json(), "[]");
        let job = NewJob {
            line: 7,
            key: "a\"b".into(),
            source: None,
            source_id: Identity([0x0f; 16]),
            options_id: Identity([0xa0; 16]),
            overrides: None,
            carried: Some("[\"x\"]".into()),
            pool: Pool::PulsePro,
            expected: None,
            local: None,
            adopted: None,
            synthesis: None,
        };
        let set: LineSet = [(&job, 0), (&job, 1)].into_iter().collect();
        assert_eq!(set.len(), 2);
        let one = |place| {
            let (source, options) = (job.source_id.hex(), job.options_id.hex());
            format!(r#"[7,"a\"b",null,"{source}","{options}",null,"[\"x\"]","pulse-pro",{place}]"#)
        };
        assert_eq!(&*set.into_json(), format!("[{},{}]", one(0), one(1)));
        let listed = Listed { bytes: 9, etag: "e".into() };
        let job = NewJob { expected: Some(listed), adopted: Some("[]".into()), ..job };
        let set: LineSet = [(&job, 2)].into_iter().collect();
        assert!(set.into_json().ends_with(r#""pulse-pro",2,9,"e","[]"]]"#));
        let local = |content| NewLocal {
            passport: Passport {
                path: "r/1.wav".into(),
                seen: Some(SeenFile { bytes: 9, modified_ns: -5, inode: 77 }),
            },
            content,
        };
        let job = NewJob { expected: None, adopted: None, local: Some(local(None)), ..job };
        let json = LineSet::from_iter([(&job, 2)]).into_json();
        assert!(json.ends_with(r#""pulse-pro",2,9,null,null,null,null,null,"r/1.wav",-5,null,77]]"#), "{json}");
        let job = NewJob { local: Some(local(Some(ContentHash([0xab; 32])))), ..job };
        let json = LineSet::from_iter([(&job, 2)]).into_json();
        assert!(json.ends_with(&format!(r#","r/1.wav",-5,"{}",77]]"#, "ab".repeat(32))), "{json}");
        let bad = BadJob { line: 3, key: None, fault: "two\nlines".into(), carried: None };
        let bad: BadSet = [(&bad, 9)].into_iter().collect();
        assert_eq!(&*bad.into_json(), r#"[[3,"line-000003","two\nlines",null,9]]"#);
    }
}
