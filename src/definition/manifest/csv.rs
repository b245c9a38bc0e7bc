//! CSV and TSV, read strictly. Otherwise a quote that is never closed, or closes in the middle of a cell, would
//! silently swallow the lines after it.

use std::io::{self, BufRead};

use super::{
    input::Input,
    record::{MAX_BYTES, Next, Record},
};

/// A CSV's lines.
pub(super) struct Csv {
    input: Input,
    parser: Parser,
    /// The last byte ended a line as `\r`: a following `
    /// ` belongs to that line end.
    after_return: bool,
}

/// The parser of one record.
struct Parser {
    delimiter: u8,
    /// The line of the next byte.
    line: u64,
    /// The line on which the record began.
    start: u64,
    at: At,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fault: Option<String>,
}

/// The parser's position in a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    CellStart,
    Plain,
    Quoted,
    /// Just after a quote in a quoted cell: the end of the cell, or the first half of `""`.
    Quote,
    /// After a fault: the rest of the line is skipped.
    Lost,
}

impl Csv {
    pub(super) fn new(input: Input, delimiter: u8) -> Self {
        let (bytes, ends) = Default::default();
        let parser = Parser { delimiter, line: 1, start: 1, at: At::CellStart, bytes, ends, fault: None };
        Self { input, parser, after_return: false }
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
                return Ok(Next::unreadable(record.number, Some(cell), "is not UTF-8"));
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

impl Parser {
    fn begin(&mut self) {
        (self.start, self.at, self.fault) = (self.line, At::CellStart, None);
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_cell(&mut self) {
        self.ends.push(self.bytes.len());
        self.at = At::CellStart;
    }

    /// Consumes bytes up to the record's end. Returns their number, and the byte that ended the record.
    fn feed(&mut self, buffer: &[u8]) -> (usize, Option<u8>) {
        let mut used = 0;
        while let Some(&byte) = buffer.get(used) {
            let line_end = byte == b'\n' || byte == b'\r';
            match self.at {
                At::Quoted => {
                    used += self.quoted(&buffer[used..]);
                    continue;
                }
                _ if line_end => {
                    self.end_cell();
                    self.line += 1;
                    return (used + 1, Some(byte));
                }
                At::Lost => {}
                _ if byte == self.delimiter => self.end_cell(),
                At::CellStart if byte == b'"' => self.at = At::Quoted,
                At::CellStart | At::Plain => {
                    used += self.plain(&buffer[used..]);
                    continue;
                }
                At::Quote if byte == b'"' => {
                    self.bytes.push(b'"');
                    self.at = At::Quoted;
                }
                At::Quote => {
                    self.fault = Some(stray_quote(self.start, self.line));
                    self.at = At::Lost;
                }
            }
            used += 1;
        }
        (used, None)
    }

    /// Consumes a part of a quoted cell, with the quote that may end it.
    fn quoted(&mut self, rest: &[u8]) -> usize {
        let run = rest.iter().position(|b| *b == b'"').unwrap_or(rest.len());
        self.line += rest[..run].iter().filter(|b| **b == b'\n').count() as u64;
        self.bytes.extend_from_slice(&rest[..run]);
        if run < rest.len() {
            self.at = At::Quote;
        }
        rest.len().min(run + 1)
    }

    /// Consumes a part of a plain cell.
    fn plain(&mut self, rest: &[u8]) -> usize {
        let delimiter = self.delimiter;
        let ends = |b: &u8| *b == delimiter || *b == b'\n' || *b == b'\r';
        let run = rest.iter().position(ends).unwrap_or(rest.len());
        self.bytes.extend_from_slice(&rest[..run]);
        self.at = At::Plain;
        run
    }

    fn end_of_file(&mut self) {
        if self.at == At::Quoted {
            let message = format!("a quote is opened here and never closed (the file ends on line {})", self.line);
            self.fault.get_or_insert(message);
        }
        self.end_cell();
    }

    /// Stores no more of the record, and skips to its end.
    fn too_long(&mut self) {
        let quoted = matches!(self.at, At::Quoted | At::Quote);
        let hint = if quoted { "; is a quote never closed?" } else { "" };
        self.fault.get_or_insert_with(|| format!("has over 1 MiB{hint}"));
        self.bytes.clear();
        self.ends.clear();
    }
}

fn stray_quote(start: u64, line: u64) -> String {
    let place = if start == line { String::new() } else { format!(" (on line {line}; the cell begins earlier)") };
    format!("text stands after a closing quote{place}: a quote is missing, or a quote in a cell is not doubled")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A line's number with its cells or with its fault.
    type Read = Result<(u64, Vec<String>), (u64, String)>;

    fn read(bytes: &[u8]) -> Vec<Read> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut csv = Csv::new(Input::open(file.path()).unwrap(), b',');
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
