//! Plain lines: one cell per line.

use std::io;

use super::{
    csv,
    input::Input,
    record::{MAX_BYTES, Next, Record},
};

/// The lines of a file.
pub(super) struct LineReader {
    input: Input,
    line: u64,
    bytes: Vec<u8>,
}

impl LineReader {
    pub(super) fn new(input: Input) -> Self {
        Self { input, line: 0, bytes: Vec::new() }
    }

    pub(super) fn into_input(self) -> Input {
        self.input
    }

    /// Reads the next line that is not blank. Its text has no surrounding white space.
    pub(super) fn next_text(&mut self) -> io::Result<Option<(u64, Result<&str, Next>)>> {
        loop {
            if !self.input.read_line(&mut self.bytes, MAX_BYTES)? {
                return Ok(None);
            }
            self.line += 1;
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let text = if self.bytes.len() > MAX_BYTES {
            Err(Next::too_long(self.line))
        } else {
            let text = std::str::from_utf8(&self.bytes).map(str::trim);
            text.map_err(|_| Next::unreadable(self.line, None, csv::NOT_UTF8))
        };
        Ok(Some((self.line, text)))
    }

    /// Reads the next line as a record of one cell.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        let Some((number, text)) = self.next_text()? else { return Ok(Next::End) };
        match text {
            Ok(text) => {
                record.start(number);
                record.push(text);
                Ok(Next::Line)
            }
            Err(unreadable) => Ok(unreadable),
        }
    }
}
