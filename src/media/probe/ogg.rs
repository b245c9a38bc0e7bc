//! Ogg: Opus, Vorbis, Speex and FLAC, also several streams one after the other ("chained") and streams that begin late.
//!
//! The pages are walked, since a stream in the middle shows at no other place. Only their headers are read.

use std::io::{Read, Seek};

use super::{Found, ms, window::Window};
use crate::domain::length::Length;

/// A page's header without its table of segments, in bytes.
const HEADER: usize = 27;
/// The most bytes of a page.
const LONGEST_PAGE: usize = 65_307;
/// A granule position that says that no packet ends on the page.
const NONE: u64 = u64::MAX;

/// A page without its body.
struct Page {
    at: u64,
    flags: u8,
    granule: u64,
    serial: u32,
    number: u32,
    segments: Vec<u8>,
}

impl Page {
    fn read<R: Read + Seek>(window: &mut Window<'_, R>, at: u64) -> Option<Self> {
        let bytes = window.up_to(at, HEADER + 255)?;
        let head = bytes.get(..HEADER).filter(|head| head.starts_with(b"OggS") && head[4] == 0)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let segments = bytes.get(HEADER..HEADER + usize::from(head[26]))?.to_vec();
        let granule = u64::from(word(10)) << 32 | u64::from(word(6));
        Some(Self { at, flags: head[5], granule, serial: word(14), number: word(18), segments })
    }

    const fn begins(&self) -> bool {
        self.flags & 2 != 0
    }

    const fn ends(&self) -> bool {
        self.flags & 4 != 0
    }

    fn body(&self) -> u64 {
        self.at + (HEADER + self.segments.len()) as u64
    }

    fn end(&self) -> u64 {
        self.body() + self.segments.iter().map(|len| u64::from(*len)).sum::<u64>()
    }

    /// Where the packets begin that end on this page.
    fn packets(&self) -> Vec<u64> {
        let (mut at, mut begins, mut packets) = (self.body(), self.flags & 1 == 0, Vec::new());
        let mut start = at;
        for len in &self.segments {
            at += u64::from(*len);
            if *len < 255 {
                // One that was begun on an earlier page has its first byte there.
                if begins {
                    packets.push(start);
                }
                (start, begins) = (at, true);
            }
        }
        packets
    }
}

/// A codec, as the first page of its stream says.
#[derive(Debug, Clone, Copy)]
enum Codec {
    /// Samples at 48 kHz to be left out at the start.
    Opus {
        skip: u64,
    },
    /// The shorter and the longer block, in samples.
    Vorbis {
        blocks: [u64; 2],
    },
    /// Samples of a packet.
    Speex {
        packet: u64,
    },
    Flac,
}

/// The first page of a stream that has audio.
#[derive(Debug, Clone, Copy)]
struct FirstPage {
    granule: u64,
    /// Packets that end on it.
    packets: u64,
    /// The least and most samples that these can have.
    least: u64,
    most: u64,
    /// Their samples, if they are like those of the next page.
    likely: Option<u64>,
}

/// One stream of the recording.
#[derive(Debug)]
struct Stream {
    serial: u32,
    codec: Codec,
    rate: u32,
    channels: u16,
    /// The number of the last page.
    number: u32,
    first: Option<FirstPage>,
    /// The granule of the last page with audio.
    last: Option<u64>,
    ended: bool,
    /// Whether a page is missing, or goes back in time.
    broken: bool,
}

impl Stream {
    /// Reads the first page of a stream; `None` if it is no audio of a known codec.
    fn begin<R: Read + Seek>(window: &mut Window<'_, R>, page: &Page) -> Option<Self> {
        let head = window.up_to(page.body(), 80)?;
        let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (codec, rate, channels) = if head.starts_with(b"OpusHead") {
            let skip = u16::from_le_bytes([*head.get(10)?, *head.get(11)?]).into();
            (Codec::Opus { skip }, 48_000, u16::from(*head.get(9)?))
        } else if head.starts_with(b"\x01vorbis") {
            let sizes = *head.get(28)?;
            let blocks = [1 << (sizes & 15), 1 << (sizes >> 4)];
            (Codec::Vorbis { blocks }, word(12)?, u16::from(*head.get(11)?))
        } else if head.starts_with(b"Speex   ") {
            let packet = u64::from(word(56)?).saturating_mul(word(64)?.max(1).into());
            (Codec::Speex { packet: packet.min(1 << 20) }, word(36)?, u16::try_from(word(48)?).ok()?)
        } else if head.starts_with(b"\x7FFLAC") {
            let info: [u8; 4] = head.get(27..31)?.try_into().ok()?;
            let info = u32::from_be_bytes(info);
            (Codec::Flac, info >> 12, (info >> 9 & 7) as u16 + 1)
        } else {
            return None;
        };
        let (serial, number) = (page.serial, page.number);
        let new = Self { serial, codec, rate, channels, number, first: None, last: None, ended: false, broken: false };
        (rate > 0).then_some(new)
    }

    /// Takes the next page of this stream.
    fn take<R: Read + Seek>(&mut self, window: &mut Window<'_, R>, page: &Page) {
        self.broken |= page.number != self.number.wrapping_add(1);
        self.number = page.number;
        self.ended |= page.ends();
        // Pages of headers end at sample 0.
        if page.granule == NONE || (page.granule == 0 && self.first.is_none()) {
            return;
        }
        match (&mut self.first, self.last) {
            (None, _) => self.first = Some(self.first_page(window, page)),
            (Some(first), Some(last)) if first.likely.is_none() => {
                let packets = page.packets().len().max(1) as u64;
                let likely = page.granule.saturating_sub(last).saturating_mul(first.packets) / packets;
                first.likely = Some(likely.clamp(first.least, first.most));
            }
            _ => {}
        }
        self.broken |= self.last.is_some_and(|last| page.granule < last);
        self.last = Some(page.granule);
    }

    fn first_page<R: Read + Seek>(&self, window: &mut Window<'_, R>, page: &Page) -> FirstPage {
        let packets = page.packets();
        let count = packets.len() as u64;
        let (least, most) = match self.codec {
            Codec::Opus { .. } => {
                let samples = packets.iter().map(|at| window.up_to(*at, 2).map_or(0, opus_samples)).sum();
                (samples, samples)
            }
            // A block adds half of itself and half of the one before.
            Codec::Vorbis { blocks: [short, long] } => {
                let half = |block: u64| count.saturating_mul(block) / 2;
                (half(short).min(half(long)), half(long))
            }
            Codec::Speex { packet } => (count * packet, count * packet),
            // A late FLAC stream is not known to exist: it begins at its first sample.
            Codec::Flac => (page.granule, page.granule),
        };
        FirstPage { granule: page.granule, packets: count, least, most, likely: None }
    }

    /// Its length in samples, and by how many that may be wrong.
    fn length(&self) -> Option<(u64, u64)> {
        let first = self.first?;
        let skip = if let Codec::Opus { skip } = self.codec { skip } else { 0 };
        // What the first page has beyond its granule is cut off at the stream's end, and not at its start.
        let is_late = first.granule > first.most;
        let samples = first.likely.unwrap_or(first.least + (first.most - first.least) / 2);
        let from = if is_late { first.granule - samples } else { 0 };
        let doubt = if is_late { (first.most - samples).max(samples - first.least) } else { 0 };
        Some((self.last?.checked_sub(from)?.saturating_sub(skip), doubt))
    }
}

/// Samples at 48 kHz of an Opus packet with these first bytes.
fn opus_samples(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u64::from(count & 63)),
    };
    frame * frames
}

/// The streams that were walked.
#[derive(Default)]
struct Walked {
    /// One stream of audio for each link of the chain.
    links: Vec<Stream>,
    /// Whether the last page begins a stream, and whether those that begin with it have audio: together they are one link.
    beginning: bool,
    has_audio: bool,
    /// Where the last whole page ends.
    at: u64,
}

/// More links than any real recording has.
const MAX_LINKS: usize = 100_000;

impl Walked {
    fn of<R: Read + Seek>(window: &mut Window<'_, R>) -> Self {
        let mut walked = Self::default();
        while let Some(page) = Page::read(window, walked.at).filter(|page| page.end() <= window.len()) {
            if walked.links.len() > MAX_LINKS {
                break;
            }
            walked.at = page.end();
            walked.take(window, &page);
        }
        walked
    }

    fn take<R: Read + Seek>(&mut self, window: &mut Window<'_, R>, page: &Page) {
        if page.begins() {
            self.has_audio &= self.beginning;
            self.beginning = true;
            // A picture or a skeleton beside the audio is no link.
            if let Some(stream) = Stream::begin(window, page).filter(|_| !self.has_audio) {
                self.links.push(stream);
                self.has_audio = true;
            }
            return;
        }
        self.beginning = false;
        if let Some(stream) = self.links.last_mut().filter(|stream| stream.serial == page.serial) {
            stream.take(window, page);
        }
    }

    /// The length of all links, in ms, and whether it is certain to less than a second.
    fn length(&self) -> Option<(u64, bool)> {
        let (mut all, mut certain) = (0_u64, true);
        for stream in &self.links {
            let (samples, doubt) = stream.length().unwrap_or((0, 0));
            all = all.saturating_add(ms(samples, stream.rate));
            certain &= ms(doubt, stream.rate) < 1_000 && !stream.broken && stream.ended && stream.last.is_some();
        }
        (all > 0).then_some((all, certain))
    }
}

/// Reads an Ogg file.
pub(super) fn read<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let mut walked = Walked::of(window);
    let channels = walked.links.first().map(|stream| stream.channels).filter(|n| *n > 0);
    let length = if walked.at == window.len() {
        walked.length().map_or(Length::Unknown, |(ms, certain)| Length::of(ms, certain))
    } else {
        rest(window, &mut walked).map_or(Length::Unknown, Length::Estimated)
    };
    Found { length, channels, header_differs: false }
}

/// An estimate of the whole length in ms, where the walk ended early: by the last page, else by the bytes so far.
fn rest<R: Read + Seek>(window: &mut Window<'_, R>, walked: &mut Walked) -> Option<u64> {
    let granule = last_granule(window, walked.links.last()?);
    if let Some(stream) = walked.links.last_mut()
        && let Some(granule) = granule.filter(|granule| stream.last.is_some_and(|last| last <= *granule))
    {
        stream.last = Some(granule);
        return walked.length().map(|(ms, _)| ms);
    }
    let (seen_ms, _) = walked.length().filter(|_| walked.at > 0)?;
    let by_bytes = u128::from(seen_ms) * u128::from(window.len()) / u128::from(walked.at);
    u64::try_from(by_bytes).ok()
}

/// The granule of the last page, if it is of this stream.
fn last_granule<R: Read + Seek>(window: &mut Window<'_, R>, stream: &Stream) -> Option<u64> {
    // The pieces are ever longer: the whole of it may not be there to read.
    [4 << 10, 16 << 10, LONGEST_PAGE as u64].into_iter().find_map(|piece| {
        let from = window.len().saturating_sub(piece);
        let tail = window.up_to(from, LONGEST_PAGE)?;
        let at = tail.windows(4).rposition(|four| four == b"OggS")?;
        let page = Page::read(window, from + at as u64)?;
        (page.serial == stream.serial && page.granule != NONE).then_some(page.granule)
    })
}
