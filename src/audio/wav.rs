//! RIFF/WAVE: reads headers as they occur in practice, and writes 16-bit PCM.
//!
//! Streaming recorders leave 0 or 0xFFFFFFFF as a size, and files may be cut short; so what a header *declares* and what the
//! file *has* are separate, and [`Wav::sizes_agree`] says whether the two agree.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// Linear PCM.
pub const PCM: u16 = 0x0001;
/// IEEE floating point samples.
pub const FLOAT: u16 = 0x0003;
/// G.711 A-law.
pub const ALAW: u16 = 0x0006;
/// G.711 µ-law.
pub const MULAW: u16 = 0x0007;
const EXTENSIBLE: u16 = 0xFFFE;

/// More chunks than any real file has; reading a damaged file stops here.
const MAX_CHUNKS: usize = 512;
/// The longest `LIST` that is read, in bytes.
const MAX_LIST: u64 = 1 << 20;
/// Bytes of our own header, without a comment, that the RIFF size counts.
const HEAD_AFTER_RIFF: u64 = 36;

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
    /// Where the samples begin, in bytes from the start of the file.
    pub data_offset: u64,
    /// Bytes of samples that the file really has.
    pub data_len: u64,
    /// Bytes of samples that the header declares; `None` if a streaming writer left the size open.
    pub declared_data_len: Option<u64>,
    /// Size of the file, in bytes.
    pub file_len: u64,
    /// Whether the sizes in the header and the size of the file agree (apart from a padding byte).
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

    /// Length of the samples that the file really has, in milliseconds. For compressed formats it follows from the declared
    /// average rate; `None` if the header lacks the necessary values.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        let rate = if self.has_fixed_frames() && self.block_align > 0 {
            u64::from(self.sample_rate) * u64::from(self.block_align)
        } else {
            u64::from(self.byte_rate)
        };
        (rate > 0).then(|| (u128::from(self.data_len) * 1000 / u128::from(rate)) as u64)
    }
}

/// Reads the header of `reader` and walks its chunks; samples are skipped, never read.
///
/// # Errors
/// `InvalidData` if it is no WAVE file, or one without `fmt` and `data`; otherwise the reader's error.
pub fn read<R: Read + Seek>(reader: &mut R) -> io::Result<Wav> {
    let file_len = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut head = [0; 12];
    reader.read_exact(&mut head).map_err(|_| invalid("shorter than a RIFF header"))?;
    if !matches!(&head[..4], b"RIFF" | b"RF64") || &head[8..] != b"WAVE" {
        return Err(invalid("not a RIFF/WAVE file"));
    }
    let riff_end = u64::from(u32_at(&head, 4)) + 8;
    let riff_agrees = riff_end.abs_diff(file_len) <= 1;

    let mut wav = Wav { file_len, ..Wav::default() };
    let (mut has_format, mut has_data) = (false, false);
    let mut at = 12;
    for _ in 0..MAX_CHUNKS {
        let mut chunk = [0; 8];
        if at + 8 > file_len {
            break;
        }
        reader.seek(SeekFrom::Start(at))?;
        reader.read_exact(&mut chunk)?;
        let (body, declared) = (at + 8, u64::from(u32_at(&chunk, 4)));
        let left = file_len - body;
        match &chunk[..4] {
            b"fmt " => {
                read_format(reader, declared.min(left), &mut wav)?;
                has_format = true;
            }
            b"data" if !has_data => {
                has_data = true;
                let open = declared == u64::from(u32::MAX) || (declared == 0 && !riff_agrees);
                wav.data_offset = body;
                wav.declared_data_len = (!open).then_some(declared);
                wav.data_len = if open { left } else { declared.min(left) };
                wav.sizes_agree = riff_agrees && !open && declared <= left;
                if open || declared > left {
                    break;
                }
            }
            b"LIST" if wav.comment.is_none() => wav.comment = read_comment(reader, declared.min(left))?,
            _ => {}
        }
        at = body + declared + declared % 2;
    }
    if has_format && has_data { Ok(wav) } else { Err(invalid("a WAVE file without `fmt` or `data`")) }
}

fn read_format<R: Read>(reader: &mut R, len: u64, wav: &mut Wav) -> io::Result<()> {
    let mut body = [0; 40];
    let len = (len as usize).min(body.len());
    reader.read_exact(&mut body[..len])?;
    if len < 14 {
        return Err(invalid("a `fmt` chunk that is too short"));
    }
    wav.format_tag = u16_at(&body, 0);
    wav.channels = u16_at(&body, 2);
    wav.sample_rate = u32_at(&body, 4);
    wav.byte_rate = u32_at(&body, 8);
    wav.block_align = u16_at(&body, 12);
    wav.bits_per_sample = u16_at(&body, 14);
    if wav.format_tag == EXTENSIBLE && len >= 26 {
        wav.format_tag = u16_at(&body, 24);
    }
    Ok(())
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
