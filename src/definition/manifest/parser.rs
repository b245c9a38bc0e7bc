//! The parser of one record of a CSV.

/// The parser of one record.
pub(super) struct Parser {
    pub(super) delimiter: u8,
    /// The line of the next byte.
    pub(super) line: u64,
    /// The line on which the record began.
    pub(super) start: u64,
    at: At,
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
    pub(super) fault: Option<String>,
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

impl Parser {
    pub(super) fn new(delimiter: u8) -> Self {
        let (bytes, ends) = Default::default();
        Self { delimiter, line: 1, start: 1, at: At::CellStart, bytes, ends, fault: None }
    }

    pub(super) fn begin(&mut self) {
        (self.start, self.at, self.fault) = (self.line, At::CellStart, None);
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_cell(&mut self) {
        self.ends.push(self.bytes.len());
        self.at = At::CellStart;
    }

    /// Consumes bytes up to the record's end. Returns their number, and the byte that ended the record.
    pub(super) fn feed(&mut self, buffer: &[u8]) -> (usize, Option<u8>) {
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

    pub(super) fn end_of_file(&mut self) {
        if self.at == At::Quoted {
            let message = format!("a quote is opened here and never closed (the file ends on line {})", self.line);
            self.fault.get_or_insert(message);
        }
        self.end_cell();
    }

    /// Stores no more of the record, and skips to its end.
    pub(super) fn too_long(&mut self) {
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

/// The numbers of cells of the first records in `sample`, blank ones left out, and whether one of them is faulty. A record
/// that the sample cuts off does not count.
pub(super) fn widths(sample: &[u8], delimiter: u8, most: usize) -> (Vec<usize>, bool) {
    let mut parser = Parser::new(delimiter);
    let (mut widths, mut rest) = (Vec::new(), sample);
    while widths.len() < most && !rest.is_empty() {
        parser.begin();
        let (used, end) = parser.feed(rest);
        if parser.fault.is_some() {
            return (widths, true);
        }
        if end.is_none() {
            break;
        }
        if !parser.bytes.is_empty() {
            widths.push(parser.ends.len());
        }
        rest = &rest[used..];
    }
    (widths, false)
}
