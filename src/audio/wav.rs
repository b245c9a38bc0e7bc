//! RIFF/WAVE: reads headers as they occur in practice, and writes 16-bit PCM.
//!
//! Streaming recorders leave 0 or 0xFFFFFFFF as a size, files may be cut short, and headers may be wrong; so what a header
//! *declares* and what the file *has* are separate, and [`Wav::extent`] says how the two compare.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::domain::length::Length;

/// Linear PCM.
pub const PCM: u16 = 0x0001;
/// IEEE floating point samples.
pub const FLOAT: u16 = 0x0003;
/// G.711 A-law.
pub const ALAW: u16 = 0x0006;
/// G.711 µ-law.
pub const MULAW: u16 = 0x0007;
const MS_ADPCM: u16 = 0x0002;
const IMA_ADPCM: u16 = 0x0011;
const GSM: u16 = 0x0031;
const EXTENSIBLE: u16 = 0xFFFE;

/// Sizes from here on that the file does not have are what writers to a pipe leave.
const LEAST_OPEN: u64 = 0x7FFF_0000;
/// Bytes without a meaning after the samples that change the length by less than anybody minds, in ms of audio.
const SLACK_MS: u128 = 250;
/// How many places of what follows the samples are read to determine whether it is padding, and how many bytes at each.
const PLACES: u64 = 16;
const PLACE: u64 = 512;

/// More chunks than any real file has; reading a damaged file stops here.
const MAX_CHUNKS: usize = 512;
/// The longest `LIST` that is read, in bytes.
const MAX_LIST: u64 = 1 << 20;
/// Bytes of our own header, without a comment, that the RIFF size counts.
const HEAD_AFTER_RIFF: u64 = 36;

/// How the size that a header declares for the samples compares with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// The file has these samples, and after them only other chunks, tags or padding.
    #[default]
    Agrees,
    /// A streaming writer left the size open. The samples go on to the end of the file.
    Open,
    /// The file ends before its samples do.
    Cut,
    /// The samples go on after their declared end.
    Exceeded,
    /// What is after the declared end cannot be looked at.
    Unseen,
}

/// What a WAVE header declares, and what the file has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wav {
    /// The sample format; for an extensible header, the one in its sub-format.
    pub format_tag: u16,
    /// Number of channels.
    pub channels: u16,
    /// Frames a second.
    pub sample_rate: u32,
    /// Average bytes a second, as declared.
    pub byte_rate: u32,
    /// Bytes of one frame (one sample of every channel), as declared.
    pub block_align: u16,
    /// Bits of one sample, as declared.
    pub bits_per_sample: u16,
    /// Samples of one channel in a block, for compressed formats; 0 if the header does not say.
    pub samples_per_block: u16,
    /// Samples of one channel in the file, as declared by compressed formats.
    pub declared_samples: Option<u32>,
    /// Where the samples begin, in bytes from the start of the file.
    pub data_offset: u64,
    /// Bytes of samples that the file really has.
    pub data_len: u64,
    /// Bytes of samples that the header declares; `None` if a streaming writer left the size open.
    pub declared_data_len: Option<u64>,
    /// Size of the file, in bytes.
    pub file_len: u64,
    /// How `declared_data_len` compares with the file.
    pub extent: Extent,
    /// Whether all sizes in the header and the size of the file agree (apart from a padding byte).
    pub sizes_agree: bool,
    /// The comment (`ICMT`) of the `LIST/INFO` chunk, without its terminator.
    pub comment: Option<String>,
}

impl Wav {
    /// Whether the length in time follows exactly from the number of bytes.
    #[must_use]
    pub const fn has_fixed_frames(&self) -> bool {
        matches!(self.format_tag, PCM | FLOAT | ALAW | MULAW)
    }

    /// Length of the samples that the file really has, in milliseconds; `None` if the header lacks the necessary values.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        self.length().ms()
    }

    /// Length of the samples that the file really has. It is exact if it follows from their number of bytes, and the file does
    /// not contradict the header.
    #[must_use]
    pub fn length(&self) -> Length {
        let Some((samples, proven)) = self.samples() else { return Length::Unknown };
        if self.sample_rate == 0 {
            return Length::Unknown;
        }
        let ms = u64::try_from(samples * 1_000 / u128::from(self.sample_rate)).unwrap_or(u64::MAX);
        Length::of(ms, proven && matches!(self.extent, Extent::Agrees | Extent::Open))
    }

    /// Samples of one channel, and whether they follow from the number of bytes.
    fn samples(&self) -> Option<(u128, bool)> {
        let bytes = u128::from(self.data_len);
        let (align, per_block) = (u128::from(self.block_align), u128::from(self.samples_per_block));
        if self.has_fixed_frames() {
            let bits = if matches!(self.format_tag, ALAW | MULAW) { 8 } else { self.bits_per_sample };
            let frame = u128::from(self.channels) * u128::from(bits.div_ceil(8));
            let used = if align > 0 { align } else { frame };
            return (used > 0).then(|| (bytes / used, frame == used));
        }
        if align > 0 && per_block > 0 && self.has_known_blocks() {
            let samples = bytes * per_block / align;
            let declared = self.declared_samples.map(u128::from).filter(|n| *n <= samples && n + per_block > samples);
            return Some((declared.unwrap_or(samples), true));
        }
        self.samples_by_rates()
    }

    /// Samples of a compressed format: two of the three numbers from which they follow have to agree, since each is often wrong.
    fn samples_by_rates(&self) -> Option<(u128, bool)> {
        let per = |times: u128, by: u128| (by > 0).then(|| u128::from(self.data_len) * times / by);
        let by_rate = per(self.sample_rate.into(), self.byte_rate.into());
        let by_bits = per(8, u128::from(self.channels) * u128::from(self.bits_per_sample));
        let all = [self.declared_samples.map(u128::from), by_bits, by_rate];
        let near = |one: u128, other: u128| one.abs_diff(other) * 100 <= one;
        let is_proven = |at: usize, one| all.iter().skip(at + 1).flatten().any(|other| near(one, *other));
        let mut given = all.iter().enumerate().filter_map(|(at, one)| Some((at, (*one)?)));
        match given.find(|(at, one)| is_proven(*at, *one)) {
            Some((_, samples)) => Some((samples, true)),
            None => by_rate.or(by_bits).map(|samples| (samples, false)),
        }
    }

    /// Whether the blocks have as many samples as blocks of their format and length have.
    fn has_known_blocks(&self) -> bool {
        let (channels, per_block) = (u32::from(self.channels.max(1)), u32::from(self.samples_per_block));
        let bytes = u32::from(self.block_align) / channels;
        match self.format_tag {
            GSM => (self.block_align, per_block) == (65, 320),
            MS_ADPCM => bytes > 7 && per_block == (bytes - 7) * 2 + 2,
            IMA_ADPCM => bytes > 4 && per_block == (bytes - 4) * 8 / u32::from(self.bits_per_sample.max(1)) + 1,
            _ => false,
        }
    }
}

/// Reads the header of `reader` and walks its chunks; samples are skipped, never read. RF64 and BW64, whose sizes have 64 bits,
/// are read, too. A reader may refuse places with [`io::ErrorKind::Unsupported`]: what is there after the samples stays unknown.
///
/// # Errors
/// `InvalidData` if it is no WAVE file, or one without `fmt` and `data`; otherwise the reader's error.
pub fn read<R: Read + Seek>(reader: &mut R) -> io::Result<Wav> {
    let file_len = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut head = [0; 12];
    reader.read_exact(&mut head).map_err(|_| invalid("shorter than a RIFF header"))?;
    if !matches!(&head[..4], b"RIFF" | b"RF64" | b"BW64") || &head[8..] != b"WAVE" {
        return Err(invalid("not a RIFF/WAVE file"));
    }
    let mut chunks = Chunks { wav: Wav { file_len, ..Wav::default() }, ..Chunks::default() };
    chunks.riff_len = u32_at(&head, 4).into();
    let mut at = 12;
    for _ in 0..MAX_CHUNKS {
        if at + 8 > file_len {
            break;
        }
        match chunks.take(reader, at) {
            Ok(Some(next)) => at = next,
            Ok(None) => break,
            Err(e) if e.kind() == io::ErrorKind::Unsupported && chunks.has_data => break,
            Err(e) => return Err(e),
        }
    }
    chunks.finish(reader)
}

/// The chunks of a file that were read.
#[derive(Default)]
struct Chunks {
    wav: Wav,
    /// Bytes after the first eight, as declared.
    riff_len: u64,
    /// The size of the samples in an RF64 or BW64 file.
    long_data_len: Option<u64>,
    has_format: bool,
    has_data: bool,
}

impl Chunks {
    /// Takes the chunk at `at`, and returns where the next one is; `None` if there is no place for one.
    fn take<R: Read + Seek>(&mut self, reader: &mut R, at: u64) -> io::Result<Option<u64>> {
        let mut chunk = [0; 8];
        reader.seek(SeekFrom::Start(at))?;
        reader.read_exact(&mut chunk)?;
        let (body, mut declared) = (at + 8, u64::from(u32_at(&chunk, 4)));
        let left = self.wav.file_len - body;
        match &chunk[..4] {
            b"fmt " => {
                read_format(reader, declared.min(left), &mut self.wav)?;
                self.has_format = true;
            }
            b"ds64" if declared >= 16 && left >= 16 => {
                let mut sizes = [0; 16];
                reader.read_exact(&mut sizes)?;
                self.riff_len = u64_at(&sizes, 0);
                self.long_data_len = Some(u64_at(&sizes, 8));
            }
            b"fact" if declared >= 4 && left >= 4 => {
                let mut samples = [0; 4];
                reader.read_exact(&mut samples)?;
                self.wav.declared_samples = Some(u32::from_le_bytes(samples)).filter(|n| *n > 0 && *n < u32::MAX);
            }
            b"data" if !self.has_data => {
                self.has_data = true;
                if declared == u64::from(u32::MAX) {
                    declared = self.long_data_len.unwrap_or(declared);
                }
                self.wav.data_offset = body;
                self.wav.declared_data_len = Some(declared);
                if declared > left {
                    return Ok(None);
                }
            }
            b"LIST" if self.wav.comment.is_none() => self.wav.comment = read_comment(reader, declared.min(left))?,
            _ => {}
        }
        Ok(body.checked_add(declared + declared % 2))
    }

    fn finish<R: Read + Seek>(self, reader: &mut R) -> io::Result<Wav> {
        let mut wav = self.wav;
        if !self.has_format || !self.has_data {
            return Err(invalid("a WAVE file without `fmt` or `data`"));
        }
        let (left, declared) = (wav.file_len - wav.data_offset, wav.declared_data_len.unwrap_or_default());
        wav.extent = match extent(reader, &wav, (declared, left)) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Extent::Unseen,
            extent => extent?,
        };
        let as_declared = matches!(wav.extent, Extent::Agrees | Extent::Unseen) && (declared > 0 || left < 8);
        wav.data_len = if as_declared { declared.min(left) } else { left };
        if wav.extent == Extent::Open {
            wav.declared_data_len = None;
        }
        let riff_agrees = self.riff_len.saturating_add(8).abs_diff(wav.file_len) <= 1;
        wav.sizes_agree = riff_agrees && wav.extent == Extent::Agrees && declared <= left;
        Ok(wav)
    }
}

/// How the declared size of the samples compares with what is `left` of the file from their start on.
fn extent<R: Read + Seek>(reader: &mut R, wav: &Wav, (declared, left): (u64, u64)) -> io::Result<Extent> {
    let second = match wav.has_fixed_frames() {
        true => u64::from(wav.sample_rate) * u64::from(wav.block_align),
        false => wav.byte_rate.into(),
    };
    let is_short = |bytes: u64| {
        u128::from(bytes) * 1_000 <= u128::from(second) * SLACK_MS && u128::from(bytes) * 20 <= u128::from(declared)
    };
    if declared > left {
        return Ok(match () {
            () if declared >= LEAST_OPEN => Extent::Open,
            () if is_short(declared - left) => Extent::Agrees,
            () => Extent::Cut,
        });
    }
    let rest = left - declared;
    let end = wav.data_offset + declared;
    if rest < 8 || is_short(rest) || chunks_fill(reader, end + declared % 2, wav.file_len)? {
        return Ok(Extent::Agrees);
    }
    // Some writers leave out the padding byte.
    if declared % 2 == 1 && chunks_fill(reader, end, wav.file_len)? {
        return Ok(Extent::Agrees);
    }
    Ok(if declared == 0 { Extent::Open } else { Extent::Exceeded })
}

/// Whether chunks, tags and padding fill the file from `at` on.
fn chunks_fill<R: Read + Seek>(reader: &mut R, mut at: u64, file_len: u64) -> io::Result<bool> {
    for _ in 0..MAX_CHUNKS {
        if at + 8 > file_len {
            return Ok(true);
        }
        let mut chunk = [0; 8];
        reader.seek(SeekFrom::Start(at))?;
        reader.read_exact(&mut chunk)?;
        if chunk.starts_with(b"ID3") || chunk == *b"APETAGEX" || (chunk.starts_with(b"TAG") && file_len - at == 128) {
            return Ok(true);
        }
        let declared = u64::from(u32_at(&chunk, 4));
        let next = at + 8 + declared + declared % 2;
        let is_chunk = is_chunk_name(&chunk[..4]) && next <= file_len + 1;
        if !is_chunk {
            return is_zero(reader, at, file_len);
        }
        at = next;
    }
    Ok(false)
}

/// Whether a chunk behind the samples may have this name. What has another one may be samples.
pub(crate) fn is_chunk_name(name: &[u8]) -> bool {
    name.iter().all(|byte| matches!(byte, b' '..=b'~')) && !name.starts_with(b"RIFF")
}

/// Whether the bytes from `at` on are zeros, as far as some of them show it.
fn is_zero<R: Read + Seek>(reader: &mut R, at: u64, file_len: u64) -> io::Result<bool> {
    let step = ((file_len - at) / PLACES).max(PLACE);
    let mut piece = Vec::with_capacity(PLACE as usize);
    for place in (at..file_len).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        piece.clear();
        reader.seek(SeekFrom::Start(place))?;
        reader.by_ref().take(PLACE).read_to_end(&mut piece)?;
        if piece.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_format<R: Read>(reader: &mut R, len: u64, wav: &mut Wav) -> io::Result<()> {
    let mut body = [0; 40];
    let len = (len as usize).min(body.len());
    reader.read_exact(&mut body[..len])?;
    wav.set_format(&body[..len])
}

impl Wav {
    /// Takes the content of a `fmt` chunk.
    ///
    /// # Errors
    /// `InvalidData` if it is too short.
    pub(crate) fn set_format(&mut self, body: &[u8]) -> io::Result<()> {
        if body.len() < 14 {
            return Err(invalid("a `fmt` chunk that is too short"));
        }
        let field = |at: usize| if at + 2 <= body.len() { u16_at(body, at) } else { 0 };
        self.format_tag = field(0);
        self.channels = field(2);
        self.sample_rate = u32_at(body, 4);
        self.byte_rate = u32_at(body, 8);
        self.block_align = field(12);
        self.bits_per_sample = field(14);
        if self.format_tag == EXTENSIBLE && body.len() >= 26 {
            self.format_tag = field(24);
        } else {
            self.samples_per_block = field(18);
        }
        Ok(())
    }
}

/// The `ICMT` of a `LIST` chunk, if it is an `INFO` list and has one.
fn read_comment<R: Read>(reader: &mut R, len: u64) -> io::Result<Option<String>> {
    let mut list = vec![0; len.min(MAX_LIST) as usize];
    reader.read_exact(&mut list)?;
    let Some(mut rest) = list.strip_prefix(b"INFO") else { return Ok(None) };
    while rest.len() >= 8 {
        let len = u32_at(rest, 4) as usize;
        let body = &rest[8..rest.len().min(8usize.saturating_add(len))];
        if &rest[..4] == b"ICMT" {
            let text = body.split(|b| *b == 0).next().unwrap_or_default();
            return Ok(Some(String::from_utf8_lossy(text).into_owned()));
        }
        rest = rest.get(8usize.saturating_add(len).saturating_add(len % 2)..).unwrap_or_default();
    }
    Ok(None)
}

/// Writes a 16-bit PCM file: header, comment if there is one, then `samples` (channels interleaved).
///
/// # Errors
/// `InvalidInput` if it would exceed a WAVE file's 4 GiB; otherwise the writer's error.
pub fn write_pcm16<W: Write>(
    out: &mut W,
    channels: u16,
    sample_rate: u32,
    comment: Option<&str>,
    samples: impl ExactSizeIterator<Item = i16>,
) -> io::Result<()> {
    let list = comment.map(info_list).unwrap_or_default();
    let head = head(channels, sample_rate, &list, samples.len() as u64 * 2)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too long for a WAVE file"))?;
    out.write_all(&head)?;

    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    for sample in samples {
        out.write_all(&sample.to_le_bytes())?;
    }
    out.flush()
}

/// Everything before `data_len` bytes of 16-bit samples, with a comment; `None` if they exceed a WAVE file's 4 GiB.
#[must_use]
pub fn header_with_comment(channels: u16, sample_rate: u32, comment: &str, data_len: u64) -> Option<Vec<u8>> {
    head(channels, sample_rate, &info_list(comment), data_len)
}

/// The 44 bytes before `samples` 16-bit mono samples; `None` if [`fits`] returns false.
#[must_use]
pub fn mono_header(sample_rate: u32, samples: u64) -> Option<Vec<u8>> {
    if fits(samples) { head(1, sample_rate, &[], samples * 2) } else { None }
}

/// Whether this many 16-bit mono samples fit into a WAVE file, whose sizes are 32 bits wide.
#[must_use]
pub const fn fits(samples: u64) -> bool {
    samples <= (u32::MAX as u64 - HEAD_AFTER_RIFF) / 2
}

/// Everything before `data_len` bytes of 16-bit samples; `None` if they are too many.
fn head(channels: u16, sample_rate: u32, list: &[u8], data_len: u64) -> Option<Vec<u8>> {
    let riff_len = u32::try_from(HEAD_AFTER_RIFF + list.len() as u64 + data_len).ok()?;
    let block_align = channels.saturating_mul(2);
    let mut head = Vec::with_capacity(44 + list.len());
    head.extend(b"RIFF");
    head.extend(riff_len.to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16u32.to_le_bytes());
    head.extend(PCM.to_le_bytes());
    head.extend(channels.to_le_bytes());
    head.extend(sample_rate.to_le_bytes());
    head.extend(sample_rate.saturating_mul(u32::from(block_align)).to_le_bytes());
    head.extend(block_align.to_le_bytes());
    head.extend(16u16.to_le_bytes());
    head.extend(list);
    head.extend(b"data");
    head.extend((data_len as u32).to_le_bytes());
    Some(head)
}

/// A complete 16-bit PCM file in memory; see [`write_pcm16`].
///
/// # Panics
/// The samples exceed a WAVE file's 4 GiB.
#[must_use]
pub fn pcm16(channels: u16, sample_rate: u32, comment: Option<&str>, samples: &[i16]) -> Vec<u8> {
    let mut file = Vec::with_capacity(samples.len() * 2 + 64);
    write_pcm16(&mut file, channels, sample_rate, comment, samples.iter().copied())
        .expect("a Vec takes all it is given");
    file
}

/// A `LIST/INFO` chunk with only a comment.
fn info_list(comment: &str) -> Vec<u8> {
    let text_len = comment.len() + 1;
    let padded = text_len + text_len % 2;
    let mut list = Vec::with_capacity(20 + padded);
    list.extend(b"LIST");
    list.extend((12 + padded as u32).to_le_bytes());
    list.extend(b"INFOICMT");
    list.extend((text_len as u32).to_le_bytes());
    list.extend(comment.as_bytes());
    list.resize(20 + padded, 0);
    list
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Wav> {
        read(&mut Cursor::new(bytes))
    }

    /// One second of mono at 8 kHz with a comment of odd length.
    fn second() -> Vec<u8> {
        pcm16(1, 8000, Some("Hello"), &[7; 8000])
    }

    /// A file of these chunks with a correct RIFF size.
    fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = b"WAVE".to_vec();
        for (id, data) in chunks {
            body.extend(*id);
            body.extend((data.len() as u32).to_le_bytes());
            body.extend(*data);
            body.resize(body.len() + data.len() % 2, 0);
        }
        [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
    }

    fn format(tag: u16, rate: u32, byte_rate: u32, align: u16, extra: &[u8]) -> Vec<u8> {
        let mut f = Vec::new();
        f.extend(tag.to_le_bytes());
        f.extend(1u16.to_le_bytes());
        f.extend(rate.to_le_bytes());
        f.extend(byte_rate.to_le_bytes());
        f.extend(align.to_le_bytes());
        f.extend(8u16.to_le_bytes());
        f.extend(extra);
        f
    }

    #[test]
    fn a_rate_beyond_all_sense_is_written_as_it_is() {
        let file = pcm16(2, u32::MAX - 7, None, &[1, 2]);
        let read = parse(&file).unwrap();
        assert_eq!((read.sample_rate, read.byte_rate, read.data_len), (u32::MAX - 7, u32::MAX, 4));
    }

    #[test]
    fn what_is_written_is_read() {
        let wav = parse(&second()).unwrap();
        assert_eq!((wav.format_tag, wav.channels, wav.sample_rate, wav.bits_per_sample), (PCM, 1, 8000, 16));
        assert_eq!((wav.block_align, wav.data_len, wav.declared_data_len), (2, 16_000, Some(16_000)));
        assert_eq!((wav.duration_ms(), wav.sizes_agree, wav.comment.as_deref()), (Some(1000), true, Some("Hello")));
        let stereo = parse(&pcm16(2, 44_100, None, &[0; 88_200])).unwrap();
        assert_eq!((stereo.channels, stereo.duration_ms(), stereo.comment), (2, Some(1000), None));
    }

    #[test]
    fn a_header_is_written_before_its_samples_are_there() {
        assert_eq!(mono_header(8000, 3).unwrap(), pcm16(1, 8000, None, &[1, 2, 3])[..44]);
        let most = (u64::from(u32::MAX) - 36) / 2;
        assert!(fits(most) && !fits(most + 1) && !fits(u64::MAX));
        assert!(mono_header(44_100, most).is_some() && mono_header(44_100, most + 1).is_none());
    }

    #[test]
    fn sizes_left_open_by_a_streaming_writer_mean_to_the_end() {
        for open in [0, u32::MAX] {
            let mut file = second();
            let data = file.len() - 16_000;
            file[4..8].copy_from_slice(&open.to_le_bytes());
            file[data - 4..data].copy_from_slice(&open.to_le_bytes());
            let wav = parse(&file).unwrap();
            assert_eq!((wav.duration_ms(), wav.declared_data_len, wav.sizes_agree), (Some(1000), None, false));
        }
    }

    #[test]
    fn a_cut_file_has_what_it_has() {
        let mut file = second();
        file.truncate(file.len() - 8000);
        let wav = parse(&file).unwrap();
        assert_eq!((wav.duration_ms(), wav.declared_data_len, wav.sizes_agree), (Some(500), Some(16_000), false));
    }

    #[test]
    fn an_empty_recording_is_no_open_size() {
        let wav = parse(&pcm16(1, 8000, Some(""), &[])).unwrap();
        assert_eq!((wav.duration_ms(), wav.sizes_agree, wav.comment.as_deref()), (Some(0), true, Some("")));
    }

    #[test]
    fn other_formats_and_orders_are_understood() {
        let list = [b"INFOISFT\x03\0\0\0abc\0ICMT\x02\0\0\0hi".as_slice()].concat();
        let mulaw = riff(&[
            (b"JUNK", b"odd"),
            (b"fmt ", &format(MULAW, 8000, 8000, 1, &[0, 0])),
            (b"fact", &[0; 4]),
            (b"data", &[0xFF; 4001]),
            (b"LIST", &list),
        ]);
        let wav = parse(&mulaw).unwrap();
        assert_eq!((wav.format_tag, wav.duration_ms(), wav.comment.as_deref()), (MULAW, Some(500), Some("hi")));
        assert!(wav.sizes_agree);

        let mut sub = vec![22, 0, 8, 0, 0, 0, 0, 0];
        sub.extend([6, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
        let alaw = riff(&[(b"fmt ", &format(EXTENSIBLE, 8000, 8000, 1, &sub)), (b"data", &[0; 8000])]);
        assert_eq!(parse(&alaw).unwrap().format_tag, ALAW);

        let gsm = riff(&[(b"fmt ", &format(0x31, 8000, 1625, 65, &[])), (b"data", &[0; 3250])]);
        let wav = parse(&gsm).unwrap();
        assert_eq!((wav.has_fixed_frames(), wav.duration_ms()), (false, Some(2000)));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let file = second();
        for cut in 0..100 {
            let _ = parse(&file[..cut]);
        }
        for at in 0..90 {
            for value in [0, 0x7F, 0xFF] {
                let mut bent = file.clone();
                bent[at] = value;
                let _ = parse(&bent);
            }
        }
        assert_eq!(parse(b"RIFF\0\0\0\0AVI fmt ").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
