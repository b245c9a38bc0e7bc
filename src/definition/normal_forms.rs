//! Finds files whose names are on the disk in another Unicode normal form than in a manifest: some systems write `é` as one
//! character, others as two.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use unicode_normalization::UnicodeNormalization;

/// Folders whose names are kept; beyond that, they are read again.
const FOLDERS: usize = 64;

/// What a folder has for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// The file with this very name, or none at all.
    AsWritten,
    /// One file with the same name in another form.
    Other(PathBuf),
    /// So many files with that name in other forms.
    Several(usize),
}

/// The names of some folders. Each folder is read once.
#[derive(Debug, Default)]
pub(crate) struct NormalForms {
    /// For each folder, its names by their composed form; those of plain ASCII have only one form.
    folders: HashMap<PathBuf, HashMap<String, Vec<OsString>>>,
}

impl NormalForms {
    /// Finds the file at an absolute path.
    pub(crate) fn find(&mut self, path: &Path) -> Spelling {
        let (Some(text), Some(parent), Some(name)) = (path.to_str(), path.parent(), path.file_name()) else {
            return Spelling::AsWritten;
        };
        if text.is_ascii() {
            return Spelling::AsWritten;
        }
        let real = match self.find(parent) {
            Spelling::AsWritten => parent.to_owned(),
            Spelling::Other(real) => real,
            several @ Spelling::Several(_) => return several,
        };
        let composed: String = name.to_string_lossy().nfc().collect();
        let alike = if composed.is_ascii() { None } else { self.names(&real).get(&composed) };
        let name = match alike.map(Vec::as_slice) {
            Some(names) if names.iter().any(|own| own == name) => name,
            Some([one]) => one,
            Some(names) => return Spelling::Several(names.len()),
            None => name,
        };
        let found = real.join(name);
        if found == path { Spelling::AsWritten } else { Spelling::Other(found) }
    }

    fn names(&mut self, folder: &Path) -> &HashMap<String, Vec<OsString>> {
        if !self.folders.contains_key(folder) && self.folders.len() >= FOLDERS {
            self.folders.clear();
        }
        self.folders.entry(folder.to_owned()).or_insert_with(|| {
            let mut names: HashMap<String, Vec<OsString>> = HashMap::new();
            // A folder that cannot be read has no other names to offer; opening the file says why.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if let Some(text) = name.to_str().filter(|text| !text.is_ascii()) {
                    names.entry(text.nfc().collect()).or_default().push(name);
                }
            }
            names
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_form_that_the_disk_has() {
        let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for file in [
            format!("{decomposed}/1.wav"),
            format!("{decomposed}/{composed}.wav"),
            format!("both/{composed}.wav"),
            format!("both/{decomposed}.wav"),
            // A letter with two marks, which may stand in either order.
            "marks/q\u{307}\u{323}.wav".to_owned(),
        ] {
            fs::create_dir_all(at(&file).parent().unwrap()).unwrap();
            fs::write(at(&file), "x").unwrap();
        }
        let mut forms = NormalForms::default();
        let mut find = |name: &str| forms.find(&at(name));
        let other = |name: String| Spelling::Other(at(&name));
        assert_eq!(find(&format!("{composed}/1.wav")), other(format!("{decomposed}/1.wav")));
        assert_eq!(find(&format!("{composed}/{decomposed}.wav")), other(format!("{decomposed}/{composed}.wav")));
        assert_eq!(find(&format!("{composed}/2.wav")), other(format!("{decomposed}/2.wav")), "a file that is missing");
        for written in [
            format!("{decomposed}/{composed}.wav"),
            format!("both/{composed}.wav"),
            format!("both/{decomposed}.wav"),
            format!("missing/{composed}.wav"),
            "plain/1.wav".to_owned(),
        ] {
            assert_eq!(find(&written), Spelling::AsWritten, "{written}");
        }
        assert_eq!(find("marks/q\u{323}\u{307}.wav"), other("marks/q\u{307}\u{323}.wav".to_owned()));
    }

    #[test]
    fn of_several_files_none_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        // Three ways to write one letter.
        let ways = ["\u{1e69}.wav", "s\u{323}\u{307}.wav", "\u{1e63}\u{307}.wav"];
        for way in &ways[1..] {
            fs::write(dir.path().join(way), "x").unwrap();
        }
        assert_eq!(NormalForms::default().find(&dir.path().join(ways[0])), Spelling::Several(2));
        assert_eq!(NormalForms::default().find(&dir.path().join(ways[1])), Spelling::AsWritten);
    }
}
