//! A recording of which only the first and the last bytes are available, as after two range requests.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Container, Kind, Probe, RAW, mp4, probe_reader, window::Window};

/// Bytes at the end that hold a stream's last page or frame.
const TAIL: u64 = 16 << 10;
/// The most bytes at the end that are asked for.
const MOST: u64 = 1 << 20;

/// How many bytes at the end of a recording of `total` bytes tell its length, beside those at its start.
#[must_use]
pub fn tail_len(head: &[u8], total: u64) -> u64 {
    let unseen = total.saturating_sub(head.len() as u64);
    let wanted = match Container::of(head) {
        Some(Container::Ogg | Container::Flac) => TAIL,
        Some(Container::Mp4) => {
            let mut ends = Ends { head, tail: &[], total, at: 0 };
            let index = Window::new(&mut ends, total).ok().and_then(|mut window| mp4::unread_from(&mut window));
            index.map_or(0, |at| total - at)
        }
        _ => 0,
    };
    wanted.min(unseen).min(MOST)
}

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
    use crate::media::probe::{
        builders::{Mp4, Ogg, flac, wav_of},
        probe_bytes,
    };

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
    fn the_end_is_asked_for_where_it_tells_the_length() {
        let movie = Mp4 { samples: 200_000, declared: 204_800_000, ..Mp4::default() };
        for (file, least) in [
            (Ogg::opus(1, 20_000, 0, true), 16 << 10),
            (flac(400, 0), 1_000),
            (Mp4 { index_last: true, ..movie.clone() }.file(), 200),
            (movie.file(), 0),
            (wav_of(60), 0),
        ] {
            let head = &file[..file.len().min(4_096)];
            let tail = tail_len(head, file.len() as u64) as usize;
            assert!(tail >= least && (tail == 0) == (least == 0), "{tail} of {}", file.len());
            let (whole, tail) = (probe_bytes(&file), &file[file.len() - tail..]);
            let ends = probe_ends(head, tail, file.len() as u64);
            assert_eq!(ends.length.ms(), whole.length.ms());
        }
        assert_eq!(tail_len(b"", 9), 0);
        assert_eq!(tail_len(b"\0\0\0\x10ftypM4A \0\0\0\0\xFF\xFF\xFF\xFFmdat", u64::MAX), 1 << 20);
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
