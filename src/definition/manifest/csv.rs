//! CSV and TSV, read strictly. Otherwise a quote that is never closed, or closes in the middle of a cell, would
//! silently swallow the lines after it.

use std::io::{self, BufRead};

use super::super::dialect::TextEncoding;
use super::{
    input::Input,
    parser::Parser,
    record::{MAX_BYTES, Next, Record},
    sniff,
};

/// The fault of a cell that is not UTF-8.
pub(super) const NOT_UTF8: &str = "is not UTF-8";

/// A CSV's lines.
pub(super) struct Csv {
    input: Input,
    parser: Parser,
    /// The last byte ended a line as `\r`: a following `
    /// ` belongs to that line end.
    after_return: bool,
}

impl Csv {
    /// A reader with this delimiter.
    pub(super) fn new(input: Input, delimiter: u8) -> Self {
        Self { input, parser: Parser::new(delimiter), after_return: false }
    }

    /// A reader with the delimiter that was said, else that of a first line `sep=;`, else the one that parts the first
    /// lines alike.
    pub(super) fn open(mut input: Input, said: Option<u8>) -> io::Result<Self> {
        let start = input.fill_buf()?;
        let directive = sniff::directive(start);
        let delimiter = said.or(directive.as_ref().map(|directive| directive.delimiter));
        let delimiter = delimiter.unwrap_or_else(|| sniff::delimiter(start));
        let mut csv = Self::new(input, delimiter);
        if let Some(directive) = directive {
            csv.input.consume(directive.bytes);
            csv.parser.line += 1;
        }
        Ok(csv)
    }

    /// The delimiter.
    pub(super) const fn delimiter(&self) -> u8 {
        self.parser.delimiter
    }

    /// The encoding of the text, if it is not UTF-8.
    pub(super) fn encoding(&self) -> Option<TextEncoding> {
        self.input.encoding()
    }

    pub(super) fn into_input(self) -> Input {
        self.input
    }

    /// Reads the next record that is not blank.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        while self.skip_line_ends()? {
            self.parser.begin();
            record.start(self.parser.start);
            self.read_record()?;
            if let Some(message) = self.parser.fault.take() {
                return Ok(Next::unreadable(record.number, None, message));
            }
            if let Err(cell) = record.adopt(&mut self.parser.bytes, &mut self.parser.ends) {
                return Ok(Next::unreadable(record.number, Some(cell), NOT_UTF8));
            }
            // Spreadsheets leave rows with only commas.
            if !record.is_blank() {
                return Ok(Next::Line);
            }
        }
        Ok(Next::End)
    }

    /// Skips blank lines; `false` at the end of the file.
    fn skip_line_ends(&mut self) -> io::Result<bool> {
        loop {
            let Some(byte) = self.input.fill_buf()?.first().copied() else { return Ok(false) };
            match byte {
                b'\n' => self.parser.line += u64::from(!self.after_return),
                b'\r' => self.parser.line += 1,
                _ => {
                    self.after_return = false;
                    return Ok(true);
                }
            }
            self.after_return = byte == b'\r';
            self.input.consume(1);
        }
    }

    fn read_record(&mut self) -> io::Result<()> {
        let mut read = 0;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                self.parser.end_of_file();
                return Ok(());
            }
            let (used, end) = self.parser.feed(buffer);
            self.input.consume(used);
            read += used;
            if read > MAX_BYTES {
                self.parser.too_long();
            }
            if let Some(end) = end {
                self.after_return = end == b'\r';
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::super::super::dialect::Dialect;
    use super::*;

    /// A line's number with its cells or with its fault.
    type Read = Result<(u64, Vec<String>), (u64, String)>;

    fn read(bytes: &[u8]) -> Vec<Read> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut csv = Csv::new(Input::open(file.path(), Dialect::default()).unwrap(), b',');
        let mut record = Record::default();
        let mut rows = Vec::new();
        loop {
            match csv.next(&mut record).unwrap() {
                Next::Line => rows.push(Ok((record.number, record.cells().map(str::to_owned).collect()))),
                Next::Unreadable(bad) => rows.push(Err((bad.number, bad.message))),
                Next::End => return rows,
            }
        }
    }

    fn row(number: u64, cells: &[&str]) -> Read {
        Ok((number, cells.iter().map(|c| (*c).to_owned()).collect()))
    }

    #[test]
    fn line_ends_quotes_and_blank_lines() {
        let rows = read(b"\xef\xbb\xbfa,b\r\n\r\n1,\"x\r\ny \"\"z\"\"\"\r\n,,\n\n\"\",2\n3,5\" pipe");
        assert_eq!(
            rows,
            [row(1, &["a", "b"]), row(3, &["1", "x\r\ny \"z\""]), row(7, &["", "2"]), row(8, &["3", "5\" pipe"])]
        );
        assert_eq!(read(b"a\rb\r"), [row(1, &["a"]), row(2, &["b"])]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_quote_never_closed_is_told_where_it_opens() {
        let rows = read(b"a,b\n1,\"x\n2,y\n3,z\n");
        assert_eq!(rows[1], Err((2, "a quote is opened here and never closed (the file ends on line 5)".to_owned())));
    }

    #[test]
    fn a_missing_quote_does_not_swallow_lines_silently() {
        let rows = read(b"1,\"x\n2,y\n3,\"z\"\n4,w\n");
        assert!(
            rows[0].as_ref().unwrap_err().1.starts_with("text stands after a closing quote (on line 3"),
            "{rows:?}"
        );
        assert_eq!(rows[1], row(4, &["4", "w"]));
    }

    #[test]
    fn a_line_too_long_is_told_and_the_next_is_read() {
        let mut bytes = b"a,b\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 10 << 20));
        bytes.extend(b"\n1,2\n");
        let rows = read(&bytes);
        assert_eq!(rows[1], Err((2, "has over 1 MiB".to_owned())));
        assert_eq!(rows[2], row(3, &["1", "2"]));
    }

    #[test]
    fn what_is_not_utf8_is_told_even_if_cut_by_a_comma() {
        assert_eq!(read(b"a,\xff\n")[0], Err((1, "is not UTF-8".to_owned())));
        assert_eq!(read(b"a\xc3,\xa9b\n")[0], Err((1, "is not UTF-8".to_owned())));
    }

    proptest! {
        #[test]
        fn what_a_writer_writes_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a-z\"',;\r\n\té ]{0,8}", 3), 1..20),
            crlf in any::<bool>(),
        ) {
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let read: Vec<_> = read(&writer.into_inner().unwrap()).into_iter().map(|row| row.unwrap().1).collect();
            let written: Vec<_> = rows.into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
            prop_assert_eq!(read, written);
        }
    }
}
