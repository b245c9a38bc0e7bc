//! Matroska and WebM: by the duration in the header, or, as browsers record without one, by the times of the blocks.

use std::io::{Read, Seek};

use super::{Found, window::Window};
use crate::domain::length::{Length, from_seconds};

/// More elements than any real recording of a day has.
const MAX_ELEMENTS: u32 = 4_000_000;

/// By how much the header and the blocks may differ, in ms: the last block of another track may end later.
const SLACK_MS: u64 = 1_000;

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const SCALE: u32 = 0x002A_D7B1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_KIND: u32 = 0x83;
const DEFAULT_DURATION: u32 = 0x0023_E383;
const AUDIO: u32 = 0xE1;
const CHANNELS: u32 = 0x9F;
const CLUSTER: u32 = 0x1F43_B675;
const TIME: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;

/// An element: its id, and where its content is. `to` is `None` if its size is unknown: it ends where its parent ends, or an
/// element begins that cannot be in it.
#[derive(Debug, Clone, Copy)]
struct Element {
    id: u32,
    from: u64,
    to: Option<u64>,
}

impl Element {
    fn read<R: Read + Seek>(window: &mut Window<'_, R>, at: u64) -> Option<Self> {
        let head = window.up_to(at, 12)?;
        let id_len = head.first()?.leading_zeros() as usize + 1;
        let id = head.get(..id_len).filter(|_| id_len <= 4)?;
        let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let (size, size_len) = number(head.get(id_len..)?)?;
        let from = at + (id_len + size_len) as u64;
        let to = match size {
            Some(size) => Some(from.checked_add(size)?),
            None => None,
        };
        Some(Self { id, from, to })
    }

    /// Its content as an unsigned number.
    fn number<R: Read + Seek>(&self, window: &mut Window<'_, R>) -> Option<u64> {
        let len = usize::try_from(self.to?.checked_sub(self.from)?).ok().filter(|len| *len <= 8)?;
        Some(window.up_to(self.from, len)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Its content as a floating point number.
    fn float<R: Read + Seek>(&self, window: &mut Window<'_, R>) -> Option<f64> {
        match self.to?.checked_sub(self.from)? {
            4 => window.bytes(self.from).map(|bytes| f32::from_be_bytes(bytes).into()),
            8 => window.bytes(self.from).map(f64::from_be_bytes),
            _ => None,
        }
    }
}

/// A number of variable length, `None` inside if all its bits are ones, and its length in bytes.
fn number(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let len = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..len).filter(|_| len <= 8)?;
    let all = bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let most = (1_u64 << (7 * len)) - 1;
    let value = all & most;
    Some(((value != most).then_some(value), len))
}

/// What was read of a recording.
#[derive(Debug)]
struct Reading {
    /// Nanoseconds of a unit of time.
    scale: u64,
    /// In units of time, as the header says.
    duration: Option<f64>,
    /// The number of the first track of audio, and the duration of its frames in nanoseconds.
    track: Option<u64>,
    frame_ns: Option<u64>,
    channels: Option<u16>,
    cluster_time: u64,
    /// Times of the track's blocks: the first, the last but one, and the last.
    first: Option<u64>,
    before: Option<u64>,
    last: Option<u64>,
    /// Whether there are blocks of other tracks, of which the header's duration may be.
    has_others: bool,
}

impl Reading {
    const fn new() -> Self {
        Self {
            scale: 1_000_000,
            duration: None,
            track: None,
            frame_ns: None,
            channels: None,
            cluster_time: 0,
            first: None,
            before: None,
            last: None,
            has_others: false,
        }
    }

    /// Takes the element, and returns where the next one is: inside it, or after it.
    fn take<R: Read + Seek>(
        &mut self,
        window: &mut Window<'_, R>,
        element: &Element,
        entry: &mut Entry,
    ) -> Option<u64> {
        match element.id {
            SEGMENT | INFO | TRACKS | CLUSTER | BLOCK_GROUP | AUDIO => return Some(element.from),
            TRACK => {
                *entry = Entry::default();
                return Some(element.from);
            }
            SCALE => self.scale = element.number(window).filter(|scale| *scale > 0)?,
            DURATION => self.duration = element.float(window).filter(|n| n.is_finite() && *n > 0.0),
            TRACK_NUMBER | TRACK_KIND | DEFAULT_DURATION | CHANNELS => self.note_track(window, element, entry)?,
            TIME => self.cluster_time = element.number(window)?,
            SIMPLE_BLOCK | BLOCK => self.block(window, element)?,
            _ => {}
        }
        element.to
    }

    /// Takes a field of a track; the fields come in any order.
    fn note_track<R: Read + Seek>(
        &mut self,
        window: &mut Window<'_, R>,
        field: &Element,
        entry: &mut Entry,
    ) -> Option<()> {
        let value = field.number(window)?;
        match field.id {
            TRACK_NUMBER => entry.number = Some(value),
            TRACK_KIND => entry.is_audio = value == 2,
            DEFAULT_DURATION => entry.frame_ns = Some(value),
            _ => entry.channels = u16::try_from(value).ok().filter(|n| *n > 0),
        }
        if entry.is_audio && (self.track.is_none() || self.track == entry.number) {
            (self.track, self.frame_ns, self.channels) = (entry.number, entry.frame_ns, entry.channels);
        }
        Some(())
    }

    fn block<R: Read + Seek>(&mut self, window: &mut Window<'_, R>, block: &Element) -> Option<()> {
        let head = window.up_to(block.from, 10)?;
        let (track, len) = number(head)?;
        let time = i16::from_be_bytes(head.get(len..len + 2)?.try_into().ok()?);
        if self.track.is_none() || track == self.track {
            let time = self.cluster_time.saturating_add_signed(time.into());
            self.first.get_or_insert(time);
            if self.last.is_none_or(|last| time > last) {
                (self.before, self.last) = (self.last, Some(time));
            }
        } else {
            self.has_others = true;
        }
        Some(())
    }

    /// The length by the header: from the first block on.
    fn told(&self) -> Option<u64> {
        let first = self.first.unwrap_or(0) as f64;
        self.in_ms(self.duration.filter(|duration| *duration > first)? - first)
    }

    /// The length by the blocks.
    fn seen(&self) -> Option<u64> {
        let (first, last) = (self.first?, self.last?);
        let step = self.before.map_or(0, |before| last - before) as f64;
        let frame = self.frame_ns.map_or(step, |ns| ns as f64 / self.scale as f64);
        self.in_ms((last - first) as f64 + frame)
    }

    fn in_ms(&self, units: f64) -> Option<u64> {
        from_seconds(units * self.scale as f64 / 1e9)
    }
}

/// A track whose fields are being read.
#[derive(Debug, Default)]
struct Entry {
    number: Option<u64>,
    is_audio: bool,
    frame_ns: Option<u64>,
    channels: Option<u16>,
}

/// Reads a Matroska file.
pub(super) fn read<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let (mut reading, mut entry, mut at) = (Reading::new(), Entry::default(), 0);
    for _ in 0..MAX_ELEMENTS {
        if at >= window.len() {
            break;
        }
        let Some(element) = Element::read(window, at) else { break };
        // The header of another recording, which was appended.
        if element.id == EBML && at > 0 {
            break;
        }
        match reading.take(window, &element, &mut entry) {
            Some(next) => at = next,
            None => break,
        }
    }
    judged(&reading, at, window.len())
}

/// What the header and the blocks say, where the walk ended at `at` of `len` bytes.
fn judged(reading: &Reading, at: u64, len: u64) -> Found {
    let found = |length, header_differs| Found { length, channels: reading.channels, header_differs };
    match (reading.told(), reading.seen()) {
        (None, None) => found(Length::Unknown, false),
        (None, Some(ms)) if at == len => found(Length::Exact(ms), false),
        (None, Some(ms)) => {
            let by_bytes = u128::from(ms) * u128::from(len) / u128::from(at.max(1));
            found(u64::try_from(by_bytes).map_or(Length::Unknown, Length::Estimated), false)
        }
        (Some(told), Some(seen)) if at == len && told.abs_diff(seen) > SLACK_MS => {
            found(Length::Estimated(seen), !reading.has_others)
        }
        (Some(told), seen) => found(Length::of(told, at == len && seen.is_some()), false),
    }
}
