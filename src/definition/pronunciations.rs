//! Pronunciation dictionaries: a CSV with the columns `word` and `pronunciation`.

use std::{collections::HashMap, io, path::Path};

use sha2::{Digest, Sha256};

use super::{
    Fault, Faults,
    manifest::sheet::{Sheet, SheetRow},
    paths::io_message,
    text::ticked,
};
use crate::domain::{hex::hex, pronunciation::Pronunciation};

const WORD: &str = "word";
const PRONUNCIATION: &str = "pronunciation";
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 10_000_000;

/// The words of a dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pronunciations {
    /// At least one, no word twice, in the file's order.
    pub items: Vec<Pronunciation>,
    /// SHA-256 of the words and pronunciations. The order of lines, other columns and the spelling of the CSV make no
    /// difference.
    pub hash: [u8; 32],
}

impl Pronunciations {
    /// The hash in hex.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.hash)
    }
}

/// Reads a file.
///
/// # Errors
/// Every fault of the file, with its line.
pub fn read(path: &Path) -> Result<Pronunciations, Faults> {
    read_shown(path, &path.display().to_string())
}

/// The same for a file that the user knows by another name.
pub(crate) fn read_shown(path: &Path, shown: &str) -> Result<Pronunciations, Faults> {
    let mut reading = PronunciationReader { file: shown, ..PronunciationReader::default() };
    if let Err(e) = reading.all(path) {
        let message = if e.kind() == io::ErrorKind::Other { e.to_string() } else { io_message(&e) };
        reading.faults.push(Fault::of_file(shown, message));
    }
    if !reading.faults.is_empty() {
        return Err(reading.faults);
    }
    Ok(Pronunciations { hash: hash(&reading.items), items: reading.items })
}

fn hash(items: &[Pronunciation]) -> [u8; 32] {
    let mut sorted: Vec<_> = items.iter().collect();
    sorted.sort();
    let mut hash = Sha256::new();
    for text in sorted.iter().flat_map(|item| [&item.word, &item.pronunciation]) {
        // The length goes first, so that no two lists produce the same bytes.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// A file being read.
#[derive(Default)]
struct PronunciationReader<'f> {
    file: &'f str,
    columns: usize,
    word: Option<usize>,
    pronunciation: Option<usize>,
    /// The line of each word.
    seen: HashMap<String, u64>,
    items: Vec<Pronunciation>,
    faults: Faults,
}

impl PronunciationReader<'_> {
    fn all(&mut self, path: &Path) -> io::Result<()> {
        if std::fs::metadata(path)?.len() > MAX_BYTES {
            let message = format!("has over {} MB; it cannot be a dictionary", MAX_BYTES / 1_000_000);
            self.faults.push(Fault::of_file(self.file, message));
            return Ok(());
        }
        let mut sheet = Sheet::open(path)?;
        match sheet.next_row()? {
            None => {
                self.faults.push(Fault::of_file(self.file, "is empty"));
                return Ok(());
            }
            Some(SheetRow { line, cells: Ok(names) }) => self.header(line, &names),
            Some(SheetRow { line, cells: Err(message) }) => self.fault(line, None, message),
        }
        let mut any = false;
        while let Some(row) = sheet.next_row()? {
            any = true;
            match row.cells {
                Ok(cells) => self.row(row.line, &cells),
                Err(message) => self.fault(row.line, None, message),
            }
        }
        if !any && self.faults.is_empty() {
            self.faults.push(Fault::of_file(self.file, "has a header, and no words below it"));
        }
        Ok(())
    }

    fn header(&mut self, line: u64, names: &[String]) {
        self.columns = names.len();
        let at = |wanted: &str| names.iter().position(|name| name == wanted);
        (self.word, self.pronunciation) = (at(WORD), at(PRONUNCIATION));
        if self.word.is_none() && self.pronunciation.is_none() {
            let found = ticked(names);
            self.fault(line, None, format!("the first line has to be `{WORD},{PRONUNCIATION}`, but is {found}"));
            return;
        }
        for wanted in [WORD, PRONUNCIATION] {
            match names.iter().filter(|name| *name == wanted).count() {
                0 => {
                    let others: Vec<_> = names.iter().filter(|name| *name != WORD && *name != PRONUNCIATION).collect();
                    let has = if others.is_empty() { String::new() } else { format!("; is it {}?", ticked(&others)) };
                    self.fault(line, Some(wanted), format!("is missing{has}"));
                }
                1 => {}
                _ => self.fault(line, Some(wanted), "stands there twice"),
            }
        }
    }

    fn row(&mut self, line: u64, cells: &[String]) {
        if self.columns > 0 && cells.len() > self.columns {
            let message =
                format!("has {} cells, and the header {}; a cell with a comma needs quotes", cells.len(), self.columns);
            self.fault(line, None, message);
            return;
        }
        let cell = |at: Option<usize>| at.map(|at| cells.get(at).map_or("", String::as_str));
        let (word, pronunciation) = (cell(self.word), cell(self.pronunciation));
        for (name, text) in [(WORD, word), (PRONUNCIATION, pronunciation)] {
            if text == Some("") {
                self.fault(line, Some(name), "is empty");
            }
        }
        let Some(word) = word.filter(|word| !word.is_empty()) else { return };
        if let Some(first) = self.seen.get(word) {
            self.fault(line, Some(WORD), format!("{} stands on line {first} already", ticked(&[word])));
            return;
        }
        self.seen.insert(word.to_owned(), line);
        if let Some(pronunciation) = pronunciation {
            self.items.push(Pronunciation { word: word.to_owned(), pronunciation: pronunciation.to_owned() });
        }
    }

    fn fault(&mut self, line: u64, column: Option<&str>, message: impl Into<String>) {
        self.faults.push(Fault::of_line(self.file, line, column, message));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(content: &[u8]) -> Result<Pronunciations, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let shown = file.path().display().to_string();
        read(file.path()).map_err(|faults| faults.to_string().replace(&shown, "f"))
    }

    fn words(read: &Pronunciations) -> Vec<(&str, &str)> {
        read.items.iter().map(|item| (item.word.as_str(), item.pronunciation.as_str())).collect()
    }

    #[test]
    fn a_file_is_read_however_a_spreadsheet_wrote_it() {
        let plain = of(b"word,pronunciation\nmysql,my-sequel\n\"Acme, Inc.\",\"ak \"\"mee\"\" ink\"\n").unwrap();
        assert_eq!(words(&plain), [("mysql", "my-sequel"), ("Acme, Inc.", "ak \"mee\" ink")]);
        let other =
            "\u{feff}note,pronunciation,word\r\n,\"ak \"\"mee\"\" ink\",\"Acme, Inc.\"\r\n,,\r\nx, my-sequel ,mysql";
        let other = of(other.as_bytes()).unwrap();
        assert_eq!(words(&other)[1], ("mysql", "my-sequel"));
        assert_eq!(plain.hash, other.hash, "they say the same");
        assert_ne!(plain.hash, of(b"word,pronunciation\nmysql,my-sequel\n").unwrap().hash);
        let hash = |items: &[u8]| of(&[b"word,pronunciation\n", items].concat()).unwrap().hash;
        assert_ne!(hash(b"ab,c\n"), hash(b"a,bc\n"));
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let bad = b"word,pronunciation\n,x\nAcme,\nAcme,ak-mee\nAcme, Inc.,x\nb,\"c\"d\nok,o-kay\n\xff,x\n";
        assert_eq!(
            of(bad).unwrap_err(),
            "f:2: column `word`: is empty\n\
             f:3: column `pronunciation`: is empty\n\
             f:4: column `word`: `Acme` stands on line 3 already\n\
             f:5: has 3 cells, and the header 2; a cell with a comma needs quotes\n\
             f:6: text stands after a closing quote: a quote is missing, or a quote in a cell is not doubled\n\
             f:8: is not UTF-8"
        );
    }

    #[test]
    fn a_header_has_both_columns_once() {
        for (content, message) in [
            (
                "word,say as\na,\na,\n",
                "f:1: column `pronunciation`: is missing; is it `say as`?\nf:3: column `word`: `a` stands on line 2 already",
            ),
            ("pronunciation\nx\n", "f:1: column `word`: is missing"),
            ("word,word,pronunciation\na,b,c\n", "f:1: column `word`: stands there twice"),
            ("mysql,my-sequel\n", "f:1: the first line has to be `word,pronunciation`, but is `mysql`, `my-sequel`"),
            ("word,pronunciation\n\n", "f: has a header, and no words below it"),
            ("\n", "f: is empty"),
        ] {
            assert_eq!(of(content.as_bytes()).unwrap_err(), message, "{content:?}");
        }
        let missing = read(Path::new("/nowhere/words.csv")).unwrap_err().to_string();
        assert_eq!(missing, "/nowhere/words.csv: there is no such file");
        assert!(read(Path::new("/")).unwrap_err().to_string().contains("is a directory"));
    }
}
