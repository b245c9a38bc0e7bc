//! Server-sent events from pieces that end anywhere.

/// The longest event, in bytes: longer than the audio of any one call.
const LONGEST: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SseEvent {
    /// The value of `event:`; empty without one.
    pub(super) name: String,
    /// The lines of `data:`, with line feeds between them.
    pub(super) data: Vec<u8>,
}

/// An event is longer than the longest that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// A stream of events.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// The previous line ended in a carriage return, to which a line feed may belong.
    after_cr: bool,
    /// A line was read, so a byte order mark can no longer occur.
    begun: bool,
    next: SseEvent,
    has_data: bool,
}

impl Events {
    /// The events that this piece completes.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<Vec<SseEvent>, TooLong> {
        let mut events = Vec::new();
        if self.after_cr && !piece.is_empty() {
            self.after_cr = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(&piece[..end]);
            let cr = piece[end] == b'\r';
            piece = &piece[end + 1..];
            events.extend(self.end_line());
            if cr {
                self.after_cr = piece.is_empty();
                piece = piece.strip_prefix(b"\n").unwrap_or(piece);
            }
        }
        self.line.extend_from_slice(piece);
        if self.line.len() + self.next.data.len() > LONGEST { Err(TooLong) } else { Ok(events) }
    }

    /// The event that the end of the stream completes, although its empty line is missing.
    pub(super) fn finish(&mut self) -> Option<SseEvent> {
        let unended = if self.line.is_empty() { None } else { self.end_line() };
        unended.or_else(|| self.end_line())
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let line = if self.begun { &line[..] } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            let event = std::mem::take(&mut self.next);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => self.next.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.next.data.push(b'\n');
                }
                self.next.data.extend_from_slice(value);
            }
            // A comment (with nothing before its colon), or a field without content.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], by: usize) -> Vec<(String, String)> {
        let mut events = Events::default();
        let mut all: Vec<SseEvent> = stream.chunks(by).flat_map(|piece| events.push(piece).unwrap()).collect();
        all.extend(events.finish());
        all.into_iter().map(|event| (event.name, String::from_utf8(event.data).unwrap())).collect()
    }

    #[test]
    fn lines_end_in_every_way_and_pieces_anywhere() {
        let lf = "\u{feff}event: audio\ndata: one\ndata:two\n\n: hello\nid: 7\nretry: 9\ndata:  three\n\n\nevent: x\n\ndata\n\n";
        let expected = [("audio", "one\ntwo"), ("", " three"), ("", "")].map(|(n, d)| (n.to_owned(), d.to_owned()));
        for ending in ["\n", "\r\n", "\r"] {
            let stream = lf.replace('\n', ending);
            for by in 1..=stream.len() {
                assert_eq!(read(stream.as_bytes(), by), expected, "{ending:?} by {by}");
            }
        }
    }

    #[test]
    fn the_last_event_may_lack_its_empty_line() {
        for end in ["", "\n", "\r\n", "\n\n"] {
            assert_eq!(read(format!("data: a{end}").as_bytes(), 3), [(String::new(), "a".to_owned())], "{end:?}");
        }
        assert_eq!(read(b"event: a\n", 3), []);
    }

    #[test]
    fn no_event_is_endless() {
        let mut events = Events::default();
        let piece = vec![b'a'; LONGEST / 2];
        assert!(events.push(b"data: ").is_ok() && events.push(&piece).is_ok());
        assert_eq!(events.push(&piece), Err(TooLong));
    }
}
