//! A recording of which only the first and the last bytes are available, as after two range requests.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Kind, Probe, RAW, probe_reader};

/// Probes a recording of `total` bytes from its first and its last ones. Its length is exact only where they and its size prove
/// it; what lies between cannot be read.
#[must_use]
pub fn probe_ends(head: &[u8], tail: &[u8], total: u64) -> Probe {
    let mut ends = Ends { head, tail, total, at: 0 };
    probe_reader(&mut ends).unwrap_or(Probe::new(total, Kind::Unknown, RAW))
}

struct Ends<'b> {
    head: &'b [u8],
    tail: &'b [u8],
    total: u64,
    at: u64,
}

impl Ends<'_> {
    /// The bytes that are there from `at` on; `None` if the next one is not.
    fn from(&self, at: u64) -> Option<&[u8]> {
        let from = |bytes: &'_ [u8], at: u64| usize::try_from(at).ok().filter(|at| *at < bytes.len());
        let tail_at = self.total.saturating_sub(self.tail.len() as u64);
        let in_tail = || from(self.tail, at.checked_sub(tail_at)?).map(|at| &self.tail[at..]);
        from(self.head, at).map(|at| &self.head[at..]).or_else(in_tail)
    }
}

impl Read for Ends<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.total || buffer.is_empty() {
            return Ok(0);
        }
        // `Unsupported` is what readers of headers expect of a place that cannot be looked at.
        let there = self.from(self.at).ok_or(io::ErrorKind::Unsupported)?;
        let read = buffer.len().min(there.len());
        buffer[..read].copy_from_slice(&there[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Ends<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.total.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::probe::probe_bytes;

    #[test]
    fn the_ends_tell_what_the_whole_does() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/demo-calls");
        let mut seen = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let whole = probe_bytes(&bytes);
            let (head, tail) = (&bytes[..bytes.len().min(8_192)], &bytes[bytes.len().saturating_sub(4_096)..]);
            let ends = probe_ends(head, tail, bytes.len() as u64);
            assert_eq!((ends.length.ms(), ends.channels, ends.kind), (whole.length.ms(), whole.channels, whole.kind));
            seen += usize::from(whole.length.ms().is_some());
        }
        assert!(seen >= 8, "{seen}");
    }

    #[test]
    fn what_was_not_fetched_cannot_be_read() {
        let mut ends = Ends { head: b"ab", tail: b"yz", total: 6, at: 0 };
        let mut all = Vec::new();
        assert!(ends.read_to_end(&mut all).is_err());
        assert_eq!(all, b"ab");
        ends.seek(SeekFrom::Start(4)).unwrap();
        assert_eq!(ends.read_to_end(&mut all).unwrap(), 2);
        assert_eq!(all, b"abyz");
        assert_eq!(ends.seek(SeekFrom::End(-1)).unwrap(), 5);
        assert!(ends.seek(SeekFrom::Current(-9)).is_err());
    }
}
