//! The header of a CSV: the names of its columns.

use super::super::{
    Fault, Faults,
    paths::looks_like_source,
    text::{excerpt, ticked},
};
use super::fed::FedColumns;

/// The columns of a CSV as its header names them.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// One name a column, none twice. Empty columns at the end are left out.
    pub(super) names: Vec<String>,
    /// The names that stand twice. The second column of such a name is called `name_2`.
    pub(super) doubled: Vec<String>,
    /// What the user should know about them.
    pub(super) warnings: Vec<String>,
    /// The other batch, where the lines are those of one.
    pub(super) fed: Option<FedColumns>,
}

impl Header {
    /// Names without faults, as those of JSON or of files.
    pub(super) fn of_names(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// The columns of another batch.
    pub(super) fn of_batch(fed: FedColumns) -> Self {
        Self { names: fed.columns.clone(), fed: Some(fed), ..Self::default() }
    }

    /// Reads the cells of the header on this line.
    ///
    /// # Errors
    /// The line is no header.
    pub(super) fn read(shown: &str, line: u64, mut cells: Vec<String>) -> Result<Self, Faults> {
        let fault = |message: String| Faults::from(Fault::of_line(shown, line, None, message));
        if let Some(cell) = cells.iter().find(|name| looks_like_source(name)) {
            let message = "is no header: `{}` looks like a recording. The first line has to name the columns, e.g. `key,source`; if every line is one source, say --manifest-format lines";
            return Err(fault(message.replace("{}", &excerpt(cell))));
        }
        if let [only] = cells.as_slice()
            && only.contains([';', '\t', '|'])
        {
            let message = "has one column, `{}`: say what parts its cells, e.g. --delimiter ';'";
            return Err(fault(message.replace("{}", &excerpt(only))));
        }
        let total = cells.len();
        while cells.last().is_some_and(String::is_empty) {
            cells.pop();
        }
        if cells.is_empty() {
            return Err(fault("names no column: is this the header?".into()));
        }
        let mut header = Self::default();
        match total - cells.len() {
            0 => {}
            1 => header.warn(format!("column {total} has no name; it is left out, and has to be empty")),
            _ => header.warn(format!(
                "columns {} to {total} have no names; they are left out, and have to be empty",
                cells.len() + 1
            )),
        }
        for (nth, name) in (1..).zip(cells) {
            header.add(nth, name);
        }
        Ok(header)
    }

    fn add(&mut self, nth: usize, name: String) {
        if name.is_empty() {
            let name = self.free(&format!("column_{nth}"));
            self.warn(format!("column {nth} has no name; here it is called `{name}`"));
            self.names.push(name);
        } else if self.names.contains(&name) {
            let other = (2..).map(|n| format!("{name}_{n}")).find(|other| !self.names.contains(other));
            let other = other.unwrap_or_default();
            self.warn(format!(
                "column {} stands twice in the header; the second is called `{other}` here",
                ticked(&[&name])
            ));
            self.names.push(other);
            self.doubled.push(name);
        } else {
            self.names.push(name);
        }
    }

    fn free(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.names.contains(&name) {
            name.push('_');
        }
        name
    }

    fn warn(&mut self, message: String) {
        self.warnings.push(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cells: &[&str]) -> Result<Header, String> {
        Header::read("m.csv", 1, cells.iter().map(|cell| (*cell).to_owned()).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn empty_and_doubled_columns_are_warned_of() {
        let header = read(&["key", "source", "", ""]).unwrap();
        assert_eq!(header.names, ["key", "source"]);
        assert_eq!(header.warnings, ["columns 3 to 4 have no names; they are left out, and have to be empty"]);
        let header = read(&["", "key", "note", "note", "note"]).unwrap();
        assert_eq!(header.names, ["column_1", "key", "note", "note_2", "note_3"]);
        assert_eq!(header.doubled, ["note", "note"]);
        assert_eq!(header.warnings.len(), 3);
        let header = read(&["note", "note_2", "note"]).unwrap();
        assert_eq!(header.names, ["note", "note_2", "note_3"]);
    }

    #[test]
    fn what_is_no_header_is_a_fault() {
        assert!(read(&["", ""]).unwrap_err().contains("names no column"));
        assert!(read(&["1", "https://x/a.wav"]).unwrap_err().contains("is no header"));
        assert!(read(&["key;source"]).unwrap_err().contains("--delimiter ';'"));
    }
}
