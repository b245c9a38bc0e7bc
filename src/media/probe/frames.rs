//! Walks streams that are nothing but frames, each with a header that says how long it is: MPEG audio, ADTS, AMR.

use std::io::{Read, Seek};

use super::{tags, window::Window};
use crate::domain::length::Length;

/// The most bytes in a row that are searched for the next frame.
const MAX_SEARCH: usize = 64 << 10;
/// Lost bytes, in all, up to which the count is still exact: less than a second in all these codecs.
const MAX_LOST: u64 = 512;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its length, in bytes, with its header.
    pub(super) len: u64,
    /// Samples of one channel.
    pub(super) samples: u64,
    /// Samples a second.
    pub(super) rate: u32,
    /// What is the same in all frames of a stream.
    pub(super) stream: u32,
}

/// A codec of frames.
pub(super) struct Codec {
    /// Bytes of a frame that `read` needs.
    pub(super) header: usize,
    /// Reads a frame's header.
    pub(super) read: fn(&[u8]) -> Option<Frame>,
    /// Whether headers can be found among other bytes.
    pub(super) has_sync: bool,
}

/// What a walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walked {
    /// Samples of one channel in all frames that were seen.
    pub(super) samples: u64,
    /// Samples a second.
    pub(super) rate: u32,
    /// How many frames were seen.
    pub(super) frames: u64,
    /// Where the walk ended.
    pub(super) at: u64,
    /// Whether it reached the end, with hardly a byte lost.
    pub(super) whole: bool,
}

impl Walked {
    const fn at_rate(rate: u32) -> Self {
        Self { samples: 0, rate, frames: 0, at: 0, whole: false }
    }

    /// The length of the frames that were seen, in ms.
    pub(super) fn seen_ms(&self) -> u64 {
        super::ms(self.samples, self.rate)
    }

    /// The length from `start` to `end`: exact if the walk reached the end, else the rest is taken to be like what was seen.
    pub(super) fn length(&self, start: u64, end: u64) -> Length {
        if self.whole { Length::Exact(self.seen_ms()) } else { Length::Estimated(self.ms_to(start, end)) }
    }

    fn ms_to(&self, start: u64, end: u64) -> u64 {
        let (seen, left) = (self.at.saturating_sub(start).max(1), end.saturating_sub(self.at));
        let rest = u128::from(self.seen_ms()) * u128::from(left) / u128::from(seen);
        self.seen_ms().saturating_add(u64::try_from(rest).unwrap_or(u64::MAX))
    }
}

/// Walks the frames from `start` to `end`. `None` if there is none near `start`.
pub(super) fn walk<R: Read + Seek>(
    window: &mut Window<'_, R>,
    codec: &Codec,
    (start, end): (u64, u64),
) -> Option<Walked> {
    let (mut at, mut lost, mut read_all) = (start, 0, false);
    let mut walked: Option<(Walked, u32)> = None;
    while at < end {
        let Some(header) = window.up_to(at, codec.header) else { break };
        let tag = tags::id3v2_len(header);
        let stream = walked.map(|(_, stream)| stream);
        let frame = (codec.read)(header).filter(|frame| stream.is_none_or(|stream| stream == frame.stream));
        match frame {
            Some(frame) if at + frame.len > end => {
                lost += end - at;
                read_all = true;
                break;
            }
            // The first frame is one only if another follows.
            Some(frame) if stream.is_some() || follows(window, codec, (at + frame.len, end), frame.stream) => {
                at += frame.len;
                let (walked, _) = walked.get_or_insert((Walked::at_rate(frame.rate), frame.stream));
                walked.samples += frame.samples;
                walked.frames += 1;
                walked.at = at;
            }
            _ => match tag.map(|len| at + len) {
                Some(next) => at = next,
                None => {
                    let next = search(window, codec, (at, end), stream);
                    lost += next.unwrap_or(end) - at;
                    // The last bytes were looked at.
                    read_all = next.is_none() && end - at <= MAX_LOST && window.up_to(at, 1).is_some();
                    let Some(next) = next else { break };
                    at = next;
                }
            },
        }
    }
    let whole = (read_all || at >= end) && lost <= MAX_LOST;
    walked.map(|(walked, _)| Walked { whole, ..walked })
}

/// The first place from `start` on where two frames follow each other.
pub(super) fn first<R: Read + Seek>(
    window: &mut Window<'_, R>,
    codec: &Codec,
    (start, end): (u64, u64),
) -> Option<u64> {
    let frame = (codec.read)(window.up_to(start, codec.header)?);
    match frame {
        Some(frame) if follows(window, codec, (start + frame.len, end), frame.stream) => Some(start),
        _ => search(window, codec, (start, end), None),
    }
}

/// Whether a frame of the stream begins at `at`, or the audio ends there.
fn follows<R: Read + Seek>(window: &mut Window<'_, R>, codec: &Codec, (at, end): (u64, u64), stream: u32) -> bool {
    let next = |header: &[u8]| (codec.read)(header).is_some_and(|next| next.stream == stream);
    at + codec.header as u64 > end || window.up_to(at, codec.header).is_some_and(next)
}

/// The next place after `from` where two frames of the stream follow each other.
fn search<R: Read + Seek>(
    window: &mut Window<'_, R>,
    codec: &Codec,
    (from, end): (u64, u64),
    stream: Option<u32>,
) -> Option<u64> {
    if !codec.has_sync {
        return None;
    }
    let bytes = window.up_to(from, MAX_SEARCH)?.to_vec();
    for (at, place) in (1..bytes.len()).zip(from + 1..end) {
        let Some(frame) = (codec.read)(&bytes[at..]) else { continue };
        if stream.is_none_or(|stream| stream == frame.stream)
            && place + frame.len <= end
            && follows(window, codec, (place + frame.len, end), frame.stream)
        {
            return Some(place);
        }
    }
    None
}
