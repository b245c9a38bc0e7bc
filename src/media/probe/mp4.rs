//! MP4, M4A, 3GP and QuickTime: whole ones with their tables and edit lists, and fragmented ones, whose fragments are counted.

use std::io::{Read, Seek};

use super::{Found, ms, window::Window};
use crate::domain::length::Length;

/// More boxes than any real file has at one place.
const MAX_BOXES: usize = 500_000;
/// More entries of a table of durations than any real recording of one rate has.
const MAX_ENTRIES: u32 = 1 << 20;
/// A difference that no decoder and no listener minds, in ms.
const SLACK_MS: u64 = 1_000;

/// A box: its name, and where its content is.
#[derive(Debug, Clone, Copy)]
struct Atom {
    name: [u8; 4],
    from: u64,
    to: u64,
    /// Whether it has no size, but goes on to the end.
    open: bool,
}

impl Atom {
    /// The box at `at` of a place that ends at `end`. `None` if it cannot be read.
    fn read<R: Read + Seek>(window: &mut Window<'_, R>, at: u64, end: u64) -> Option<Self> {
        let [a, b, c, d, name @ ..]: [u8; 8] = window.bytes(at)?;
        let size = u32::from_be_bytes([a, b, c, d]);
        let open = size == 0;
        let (from, size) = match size {
            0 => (at + 8, end.saturating_sub(at)),
            1 => (at + 16, window.u64_be(at + 8)?),
            size => (at + 8, u64::from(size)),
        };
        let to = at.checked_add(size).filter(|to| *to >= from)?;
        Some(Self { name, from, to, open })
    }

    /// The boxes in `from..to`, as far as they can be read.
    fn all<R: Read + Seek>(window: &mut Window<'_, R>, (from, to): (u64, u64)) -> Vec<Self> {
        let (mut at, mut all) = (from, Vec::new());
        while at.checked_add(8).is_some_and(|end| end <= to) && all.len() < MAX_BOXES {
            let Some(atom) = Self::read(window, at, to) else { break };
            at = atom.to;
            all.push(atom);
        }
        all
    }

    /// The boxes inside it.
    fn inside<R: Read + Seek>(&self, window: &mut Window<'_, R>) -> Vec<Self> {
        Self::all(window, (self.from, self.to.min(window.len())))
    }

    /// The first box at this path inside it.
    fn find<R: Read + Seek>(&self, window: &mut Window<'_, R>, path: &[&[u8; 4]]) -> Option<Self> {
        path.iter().try_fold(*self, |atom, name| atom.inside(window).into_iter().find(|inner| &inner.name == *name))
    }

    /// The version of a box that has one.
    fn version<R: Read + Seek>(&self, window: &mut Window<'_, R>) -> Option<u8> {
        window.bytes::<1>(self.from).map(|[version]| version)
    }

    /// Timescale and duration of `mvhd` or `mdhd`; a duration of 0 or all ones is unknown.
    fn scale<R: Read + Seek>(&self, window: &mut Window<'_, R>) -> Option<(u32, Option<u64>)> {
        let (scale, duration) = match self.version(window)? {
            1 => (window.u32_be(self.from + 20)?, Some(window.u64_be(self.from + 24)?).filter(|n| *n != u64::MAX)),
            _ => {
                let duration = Some(window.u32_be(self.from + 16)?).filter(|n| *n != u32::MAX);
                (window.u32_be(self.from + 12)?, duration.map(u64::from))
            }
        };
        (scale > 0).then_some((scale, duration.filter(|n| *n > 0)))
    }
}

/// The track of the audio.
#[derive(Debug)]
struct Track {
    id: u32,
    scale: u32,
    channels: Option<u16>,
    /// Length of its samples in `moov`, in units of its scale.
    samples: u64,
    /// What its header says instead, in the same units.
    declared: Option<u64>,
    /// Length of the parts that are to be played, in ms, if it has a list of them.
    edited_ms: Option<u64>,
    /// The duration of a sample in a fragment that does not say it.
    default: u32,
}

impl Track {
    fn read<R: Read + Seek>(window: &mut Window<'_, R>, trak: &Atom, movie_scale: u32) -> Option<Self> {
        let handler = trak.find(window, &[b"mdia", b"hdlr"])?;
        if !window.has(handler.from + 8, b"soun") {
            return None;
        }
        let header = trak.find(window, &[b"tkhd"])?;
        let id_at = if header.version(window)? == 1 { 20 } else { 12 };
        let id = window.u32_be(header.from + id_at)?;
        let media = trak.find(window, &[b"mdia", b"mdhd"])?;
        let (scale, declared) = media.scale(window)?;
        let tables = trak.find(window, &[b"mdia", b"minf", b"stbl"])?;
        let samples = tables.find(window, &[b"stts"]).and_then(|stts| durations(window, &stts)).unwrap_or(0);
        let edits = trak.find(window, &[b"edts", b"elst"]);
        let media_ms = ms(samples.max(declared.unwrap_or(0)), scale);
        let edited_ms = edits.and_then(|edits| edited_ms(window, &edits, movie_scale, (scale, media_ms)));
        let channels = tables.find(window, &[b"stsd"]).and_then(|stsd| channels(window, &stsd));
        Some(Self { id, scale, channels, samples, declared, edited_ms, default: 0 })
    }
}

impl Track {
    /// Whether its header says another length than its table.
    fn contradicts_itself(&self) -> bool {
        let declared = self.declared.filter(|_| self.samples > 0);
        declared.is_some_and(|declared| ms(declared.abs_diff(self.samples), self.scale) > SLACK_MS)
    }
}

/// Channels of the first entry of `stsd`: of AAC by its own configuration, since some writers put 2 into each entry.
fn channels<R: Read + Seek>(window: &mut Window<'_, R>, stsd: &Atom) -> Option<u16> {
    let entry = window.up_to(stsd.from + 8, 256)?;
    let said = entry.get(24..26).map(|two| u16::from_be_bytes([two[0], two[1]]));
    aac_channels(entry).or(said).filter(|n| (1..=64).contains(n))
}

/// Channels by the configuration in an `esds` box; `None` if there is none, or it leaves them to the stream.
fn aac_channels(entry: &[u8]) -> Option<u16> {
    let at = entry.windows(4).position(|name| name == b"esds")?;
    // Version and flags, then descriptors: of the stream, of its decoder, of the decoder's configuration.
    let (_, stream) = descriptor(entry.get(at + 8..)?, 3)?;
    let (_, decoder) = descriptor(stream.get(3..)?, 4)?;
    let (len, config) = descriptor(decoder.get(13..)?, 5)?;
    let config = config.get(..len.min(config.len()))?;
    let bits = config.iter().chain(&[0; 8]).take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let kind = bits >> 59;
    let rate = bits >> 55 & 15;
    // The two kinds and the two rates that have more bits are rare.
    let channels = (bits >> 51 & 15) as u16;
    (kind != 31 && rate != 15 && (1..=7).contains(&channels)).then_some(if channels == 7 { 8 } else { channels })
}

/// The length and the start of the content of a descriptor with this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let digits = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let len = rest[..digits].iter().fold(0, |len, byte| len << 7 | usize::from(byte & 0x7F));
    (*first == tag).then_some((len, &rest[digits..]))
}

/// The sum of `stts`.
fn durations<R: Read + Seek>(window: &mut Window<'_, R>, stts: &Atom) -> Option<u64> {
    let entries = window.u32_be(stts.from + 4)?.min(MAX_ENTRIES);
    let mut sum = 0_u64;
    for entry in 0..u64::from(entries) {
        let at = stts.from + 8 + entry * 8;
        if at + 8 > stts.to {
            break;
        }
        let (count, duration) = (window.u32_be(at)?, window.u32_be(at + 4)?);
        sum = sum.saturating_add(u64::from(count) * u64::from(duration));
    }
    Some(sum)
}

/// Length of the parts of an edit list, in ms. A part without media is a pause, which no decoder plays.
fn edited_ms<R: Read + Seek>(
    window: &mut Window<'_, R>,
    edits: &Atom,
    movie_scale: u32,
    (scale, media_ms): (u32, u64),
) -> Option<u64> {
    let wide = edits.version(window)? == 1;
    let size = if wide { 20 } else { 12 };
    let entries = u64::from(window.u32_be(edits.from + 4)?.min(MAX_ENTRIES));
    let mut sum = None;
    for at in (0..entries).map(|entry| edits.from + 8 + entry * size).take_while(|at| at + size <= edits.to) {
        let (duration, from) = if wide {
            (window.u64_be(at)?, window.u64_be(at + 8)?.cast_signed())
        } else {
            (window.u32_be(at)?.into(), window.u32_be(at + 4)?.cast_signed().into())
        };
        let Ok(from) = u64::try_from(from) else { continue };
        let left = media_ms.saturating_sub(ms(from, scale));
        // 0 is the rest of it, as in files that are written fragment by fragment.
        let part = if duration == 0 { left } else { ms(duration, movie_scale).min(left) };
        sum = Some(sum.unwrap_or(0_u64).saturating_add(part));
    }
    sum
}

/// Reads an MP4 file.
pub(super) fn read<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let boxes = Atom::all(window, (0, window.len()));
    let whole = boxes.last().is_some_and(|last| last.to == window.len() && !last.open);
    let Some(movie) = boxes.iter().find(|atom| &atom.name == b"moov") else { return Found::default() };
    let Some((track, extends)) = track(window, movie) else { return Found::default() };
    let length = if extends {
        let mut fragments = Fragments { track: &track, sum: 0, readable: true };
        boxes.iter().filter(|atom| &atom.name == b"moof").for_each(|moof| fragments.add(window, moof));
        let (sum, readable) = (fragments.sum, fragments.readable);
        fragmented(window, &track, (&boxes, movie), (sum, whole && readable))
    } else {
        plain(&track, whole)
    };
    Found { length, channels: track.channels, header_differs: !extends && track.contradicts_itself() }
}

/// Where the first box is that cannot be read, if no index precedes it.
pub(super) fn unread_from<R: Read + Seek>(window: &mut Window<'_, R>) -> Option<u64> {
    let boxes = Atom::all(window, (0, window.len()));
    let has_index = boxes.iter().any(|atom| &atom.name == b"moov");
    boxes.last().map(|last| last.to).filter(|to| !has_index && *to < window.len())
}

/// The track of the audio, and whether fragments may add to it.
fn track<R: Read + Seek>(window: &mut Window<'_, R>, movie: &Atom) -> Option<(Track, bool)> {
    let inside = movie.inside(window);
    let header = inside.iter().find(|atom| &atom.name == b"mvhd");
    let movie_scale = header.and_then(|header| header.scale(window)).map_or(1_000, |(scale, _)| scale);
    let mut tracks = inside.iter().filter(|atom| &atom.name == b"trak");
    let mut track = tracks.find_map(|trak| Track::read(window, trak, movie_scale))?;
    let extends = inside.iter().find(|atom| &atom.name == b"mvex");
    for trex in extends.map(|mvex| mvex.inside(window)).unwrap_or_default() {
        if &trex.name == b"trex" && window.u32_be(trex.from + 4) == Some(track.id) {
            track.default = window.u32_be(trex.from + 12)?;
        }
    }
    Some((track, extends.is_some()))
}

/// The length of a file without fragments.
fn plain(track: &Track, whole: bool) -> Length {
    let media_ms = ms(if track.samples > 0 { track.samples } else { track.declared.unwrap_or(0) }, track.scale);
    let played = track.edited_ms.unwrap_or(media_ms);
    // Decoders differ on lists that leave out much, and on headers that contradict the table.
    let agree = track.samples > 0 && played.abs_diff(media_ms) <= SLACK_MS && !track.contradicts_itself();
    if played == 0 { Length::Unknown } else { Length::of(played, whole && agree) }
}

/// The length of a file with these fragments.
fn fragmented<R: Read + Seek>(
    window: &mut Window<'_, R>,
    track: &Track,
    (boxes, movie): (&[Atom], &Atom),
    (sum, whole): (u64, bool),
) -> Length {
    let media_ms = ms(track.samples.saturating_add(sum), track.scale);
    if whole && media_ms > 0 {
        return Length::Exact(media_ms);
    }
    let seen = boxes.last().map_or(0, |last| last.to).min(window.len());
    let declared = declared_ms(window, boxes, movie).filter(|ms| *ms >= media_ms);
    let by_bytes = || u128::from(media_ms) * u128::from(window.len()) / u128::from(seen.max(1));
    let ms = declared.unwrap_or_else(|| u64::try_from(by_bytes()).unwrap_or(u64::MAX));
    if ms == 0 { Length::Unknown } else { Length::Estimated(ms) }
}

/// What the index (`sidx`) or the header of the fragments (`mehd`) says of the whole.
fn declared_ms<R: Read + Seek>(window: &mut Window<'_, R>, boxes: &[Atom], movie: &Atom) -> Option<u64> {
    if let Some(mehd) = movie.find(window, &[b"mvex", b"mehd"]) {
        let header = movie.find(window, &[b"mvhd"])?;
        let (scale, _) = header.scale(window)?;
        let wide = mehd.version(window)? == 1;
        let units = if wide { window.u64_be(mehd.from + 4)? } else { window.u32_be(mehd.from + 4)?.into() };
        return Some(ms(units, scale)).filter(|ms| *ms > 0);
    }
    let index = boxes.iter().find(|atom| &atom.name == b"sidx")?;
    let scale = window.u32_be(index.from + 8).filter(|scale| *scale > 0)?;
    let entries = index.from + if index.version(window)? == 0 { 20 } else { 28 };
    let count = window.u32_be(entries)? & 0xFFFF;
    let mut sum = 0;
    for entry in 0..u64::from(count) {
        sum += u64::from(window.u32_be(entries + 4 + entry * 12 + 4)?);
    }
    Some(ms(sum, scale))
}

/// The samples of the fragments so far.
struct Fragments<'t> {
    track: &'t Track,
    sum: u64,
    readable: bool,
}

impl Fragments<'_> {
    fn add<R: Read + Seek>(&mut self, window: &mut Window<'_, R>, moof: &Atom) {
        for traf in moof.inside(window).iter().filter(|atom| &atom.name == b"traf") {
            match self.track_fragment(window, traf) {
                Some(samples) => self.sum = self.sum.saturating_add(samples),
                None => self.readable = false,
            }
        }
    }

    /// The length of a fragment of a track; 0 if it is another track's.
    fn track_fragment<R: Read + Seek>(&self, window: &mut Window<'_, R>, traf: &Atom) -> Option<u64> {
        let inside = traf.inside(window);
        let header = inside.iter().find(|atom| &atom.name == b"tfhd")?;
        let flags = window.u32_be(header.from)?;
        if window.u32_be(header.from + 4)? != self.track.id {
            return Some(0);
        }
        // An offset of 64 bits and an index may precede the duration.
        let at = header.from + 8 + if flags & 1 == 0 { 0 } else { 8 } + if flags & 2 == 0 { 0 } else { 4 };
        let default = if flags & 8 == 0 { self.track.default } else { window.u32_be(at)? };
        let mut sum = 0_u64;
        for run in inside.iter().filter(|atom| &atom.name == b"trun") {
            sum = sum.saturating_add(run_length(window, run, default)?);
        }
        Some(sum)
    }
}

/// The length of a run of samples.
fn run_length<R: Read + Seek>(window: &mut Window<'_, R>, run: &Atom, default: u32) -> Option<u64> {
    let flags = window.u32_be(run.from)?;
    let count = u64::from(window.u32_be(run.from + 4)?);
    if flags & 0x100 == 0 {
        return Some(count.saturating_mul(default.into()));
    }
    let fields = [0x100, 0x200, 0x400, 0x800].iter().filter(|bit| flags & **bit != 0).count() as u64;
    let first = run.from + 8 + if flags & 1 == 0 { 0 } else { 4 } + if flags & 4 == 0 { 0 } else { 4 };
    let mut sum = 0_u64;
    for sample in 0..count {
        let at = first + sample * fields * 4;
        if at + 4 > run.to {
            return None;
        }
        sum = sum.saturating_add(window.u32_be(at)?.into());
    }
    Some(sum)
}
