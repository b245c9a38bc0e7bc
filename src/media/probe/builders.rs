//! Recordings in memory, byte by byte, for tests.

use crate::audio::wav;

/// A second of 16-bit mono at 8 kHz, times `seconds`.
pub(super) fn wav_of(seconds: usize) -> Vec<u8> {
    wav::pcm16(1, 8_000, None, &vec![1_234; 8_000 * seconds])
}

/// A WAV file with these sizes in its header: of the file after its first 8 bytes, and of the samples.
pub(super) fn sized(mut wav: Vec<u8>, riff: u32, data: u32) -> Vec<u8> {
    wav[4..8].copy_from_slice(&riff.to_le_bytes());
    wav[40..44].copy_from_slice(&data.to_le_bytes());
    wav
}

/// A RIFF file of these chunks.
pub(super) fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WAVE".to_vec();
    for (name, content) in chunks {
        body.extend(*name);
        body.extend((content.len() as u32).to_le_bytes());
        body.extend(*content);
        body.resize(body.len() + content.len() % 2, 0);
    }
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// The format of a WAV file of one channel: tag, rate, bytes a second, bytes of a block, bits, samples of a block.
pub(super) fn format(tag: u16, rate: u32, byte_rate: u32, block: u16, bits: u16, per_block: Option<u16>) -> Vec<u8> {
    let mut format = [tag.to_le_bytes(), 1_u16.to_le_bytes()].concat();
    format.extend(rate.to_le_bytes());
    format.extend(byte_rate.to_le_bytes());
    format.extend(block.to_le_bytes());
    format.extend(bits.to_le_bytes());
    if let Some(per_block) = per_block {
        format.extend(2_u16.to_le_bytes());
        format.extend(per_block.to_le_bytes());
    }
    format
}

/// RF64 or BW64 of 16-bit mono at 8 kHz, with this size of the samples in its 64-bit chunk.
pub(super) fn rf64(name: &[u8; 4], samples: usize, declared: u64) -> Vec<u8> {
    let riff = 8 + 4 + 36 + 24 + samples as u64 * 2 - 8 + 8;
    let mut file = [name.as_slice(), &u32::MAX.to_le_bytes(), b"WAVEds64", &28_u32.to_le_bytes()].concat();
    file.extend(riff.to_le_bytes());
    file.extend(declared.to_le_bytes());
    file.extend([0; 12]);
    file.extend(b"fmt \x10\0\0\0");
    file.extend(format(wav::PCM, 8_000, 16_000, 2, 16, None));
    file.extend(b"data\xFF\xFF\xFF\xFF");
    file.extend(vec![7; samples * 2]);
    file
}

/// Wave64 of 16-bit mono at 8 kHz.
pub(super) fn w64(samples: usize, declared: Option<u64>) -> Vec<u8> {
    const REST: &[u8] = b"\xF3\xAC\xD3\x11\x8C\xD1\x00\xC0\x4F\x8E\xDB\x8A";
    let mut file = b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\x00\x00".to_vec();
    file.extend((24 + 16 + 40 + 24 + samples as u64 * 2).to_le_bytes());
    file.extend([b"wave", REST, b"fmt ", REST].concat());
    file.extend(40_u64.to_le_bytes());
    file.extend(format(wav::PCM, 8_000, 16_000, 2, 16, None));
    file.extend([b"data", REST].concat());
    file.extend(declared.unwrap_or(24 + samples as u64 * 2).to_le_bytes());
    file.extend(vec![7; samples * 2]);
    file
}

/// AIFF or AIFF-C of 16-bit mono at 8 kHz with these declared numbers of frames and of bytes.
pub(super) fn aiff(codec: Option<&[u8; 4]>, frames: u32, data: u32, bytes: usize) -> Vec<u8> {
    let mut common = 1_u16.to_be_bytes().to_vec();
    common.extend(frames.to_be_bytes());
    common.extend(16_u16.to_be_bytes());
    // 8,000 as an 80-bit number.
    common.extend([0x40, 0x0B, 0xFA, 0, 0, 0, 0, 0, 0, 0]);
    common.extend(codec.map(|codec| [codec.as_slice(), &[0, 0]].concat()).unwrap_or_default());
    let kind: &[u8] = if codec.is_some() { b"AIFC" } else { b"AIFF" };
    let mut file = [b"FORM", (common.len() as u32 + bytes as u32 + 28).to_be_bytes().as_slice(), kind].concat();
    file.extend([b"COMM".as_slice(), &(common.len() as u32).to_be_bytes(), &common].concat());
    file.extend([b"SSND".as_slice(), &data.to_be_bytes(), &[0; 8]].concat());
    file.extend(vec![7; bytes]);
    file
}

/// AU at 8 kHz: its encoding, its declared bytes, and how many it has.
pub(super) fn au(encoding: u32, declared: u32, bytes: usize) -> Vec<u8> {
    let mut file = b".snd".to_vec();
    [24, declared, encoding, 8_000, 1].iter().for_each(|word| file.extend(u32::to_be_bytes(*word)));
    file.extend(vec![7; bytes]);
    file
}

/// Core Audio of 16-bit mono at 8 kHz with this declared size of the samples.
pub(super) fn caf(declared: i64, bytes: usize) -> Vec<u8> {
    let mut file = b"caff\0\x01\0\0desc".to_vec();
    file.extend(32_u64.to_be_bytes());
    file.extend(8_000_f64.to_be_bytes());
    file.extend(b"lpcm");
    [2_u32, 2, 1, 1, 16].iter().for_each(|word| file.extend(word.to_be_bytes()));
    file.extend(b"data");
    file.extend(declared.to_be_bytes());
    file.extend([0; 4]);
    file.extend(vec![7; bytes]);
    file
}

/// AMR of so many frames of 20 ms.
pub(super) fn amr(magic: &[u8], frames: usize, mode: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![0x55; len];
    frame[0] = mode << 3 | 4;
    [magic, &frame.repeat(frames)].concat()
}

/// A frame of layer III at 24 kHz, mono: 24 ms. `index` is that of its bit rate: 4 is 32 kbit/s, 8 is 64.
pub(super) fn mp3_frame(index: u8) -> Vec<u8> {
    let kbits = [0, 8, 16, 24, 32, 40, 48, 56, 64][usize::from(index)];
    let mut frame = vec![0xFF, 0xF3, index << 4 | 4, 0xC0];
    frame.resize(72 * kbits * 1_000 / 24_000, 0);
    frame
}

/// MP3 of so many frames of 24 ms, with bit rates that vary or not.
pub(super) fn mp3(frames: usize, varies: bool) -> Vec<u8> {
    (0..frames).flat_map(|at| mp3_frame(if varies && at % 3 > 0 { 8 } else { 4 })).collect()
}

/// A frame with a header of the whole file, which declares these frames and bytes.
pub(super) fn xing(frames: u32, bytes: Option<u32>) -> Vec<u8> {
    let mut frame = mp3_frame(8);
    let flags = if bytes.is_some() { 3_u32 } else { 1 };
    let fields = [b"Xing".as_slice(), &flags.to_be_bytes(), &frames.to_be_bytes(), &bytes.unwrap_or(0).to_be_bytes()];
    let fields = fields.concat();
    frame[13..13 + fields.len()].copy_from_slice(&fields);
    frame
}

/// A frame with Fraunhofer's header of the whole file.
pub(super) fn vbri(frames: u32, bytes: u32) -> Vec<u8> {
    let mut frame = mp3_frame(8);
    let fields = [b"VBRI\0\x01\0\0\0\0".as_slice(), &bytes.to_be_bytes(), &frames.to_be_bytes()].concat();
    frame[36..36 + fields.len()].copy_from_slice(&fields);
    frame
}

/// An ID3v2 tag of so many bytes after its header.
pub(super) fn id3v2(len: usize) -> Vec<u8> {
    let digits = [21, 14, 7, 0].map(|shift| (len >> shift & 0x7F) as u8);
    [b"ID3\x04\0\0".as_slice(), &digits, &vec![0; len]].concat()
}

/// An APE tag with a header, of so many bytes of items.
pub(super) fn ape(len: usize) -> Vec<u8> {
    let end = |flags: u32| {
        let size = (len as u32 + 32).to_le_bytes();
        [b"APETAGEX\xD0\x07\0\0".as_slice(), &size, &[1, 0, 0, 0], &flags.to_le_bytes(), &[0; 8]].concat()
    };
    [end(0xA000_0000), vec![b'x'; len], end(0x8000_0000)].concat()
}

/// FLAC at 8 kHz, mono, of so many frames of 800 constant samples; the header declares `total`.
pub(super) fn flac(frames: u16, total: u32) -> Vec<u8> {
    let mut file = b"fLaC\x80\0\0\x22\x03\x20\x03\x20\0\0\0\0\0\0".to_vec();
    // Rate, one channel, 16 bits, and 36 bits of samples.
    let packed = 8_000_u64 << 44 | 15 << 36 | u64::from(total);
    file.extend(packed.to_be_bytes());
    file.extend([0; 16]);
    for number in 0..frames {
        // A block size of 16 bits, the rate of the header, one channel, 16 bits.
        let number = match number {
            0..128 => vec![number as u8],
            _ => vec![0xC0 | (number >> 6) as u8, 0x80 | (number & 0x3F) as u8],
        };
        let mut frame = [&[0xFF, 0xF8, 0x70, 0x08], number.as_slice(), &[0x03, 0x1F]].concat();
        frame.push(sum(&frame, 8, 7) as u8);
        frame.extend([0, 0x12, 0x34]);
        let checksum = sum(&frame, 16, 0x8005);
        frame.extend(checksum.to_be_bytes());
        file.extend(frame);
    }
    file
}

/// A checksum of so many bits.
fn sum(bytes: &[u8], bits: u32, polynomial: u16) -> u16 {
    let (top, mask) = (1_u32 << (bits - 1), (1_u32 << bits) - 1);
    let mut crc = 0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte) << (bits - 8);
        for _ in 0..8 {
            crc = if crc & top == 0 { crc << 1 } else { crc << 1 ^ u32::from(polynomial) } & mask;
        }
    }
    crc as u16
}

/// An Ogg stream, page by page.
pub(super) struct Ogg {
    pub(super) file: Vec<u8>,
    serial: u32,
    number: u32,
}

impl Ogg {
    fn of(serial: u32) -> Self {
        Self { file: Vec::new(), serial, number: 0 }
    }

    /// A page of these packets, each shorter than 255 bytes.
    fn page(mut self, flags: u8, granule: u64, packets: &[&[u8]]) -> Self {
        self.file.extend([b"OggS\0".as_slice(), &[flags], &granule.to_le_bytes(), &self.serial.to_le_bytes()].concat());
        self.file.extend(self.number.to_le_bytes());
        self.file.extend([0; 4]);
        self.file.push(packets.len() as u8);
        self.file.extend(packets.iter().map(|packet| packet.len() as u8));
        packets.iter().for_each(|packet| self.file.extend(*packet));
        self.number += 1;
        self
    }

    /// Opus of so many packets of 20 ms, 50 a page, from this granule on.
    pub(super) fn opus(serial: u32, packets: u64, from: u64, ended: bool) -> Vec<u8> {
        const SKIP: u64 = 312;
        // One frame of 20 ms.
        let packet: &[u8] = &[0x98, 1, 2, 3];
        let head = [b"OpusHead\x01\x01".as_slice(), &(SKIP as u16).to_le_bytes(), &48_000_u32.to_le_bytes(), &[0; 3]];
        let mut ogg = Self::of(serial).page(2, 0, &[&head.concat()]).page(0, 0, &[b"OpusTags\0\0\0\0\0\0\0\0"]);
        let mut at = 0;
        while at < packets {
            let here = 50.min(packets - at);
            at += here;
            let flags = if at == packets && ended { 4 } else { 0 };
            ogg = ogg.page(flags, from + at * 960, &vec![packet; here as usize]);
        }
        ogg.file
    }

    /// Vorbis at 8 kHz with blocks of 256 and 1,024 samples, of so many pages of ten long blocks, from this granule on.
    pub(super) fn vorbis(serial: u32, pages: u64, from: u64) -> Vec<u8> {
        let mut head = b"\x01vorbis\0\0\0\0\x01".to_vec();
        head.extend(8_000_u32.to_le_bytes());
        head.extend([0; 12]);
        head.extend([0xA8, 1]);
        let packet: &[u8] = &[2; 30];
        let mut ogg = Self::of(serial).page(2, 0, &[&head]).page(0, 0, &[b"\x03vorbis", b"\x05vorbis"]);
        for page in 1..=pages {
            let samples = page * 10 * 512;
            ogg = ogg.page(if page == pages { 4 } else { 0 }, from + samples, &[packet; 10]);
        }
        ogg.file
    }

    /// Speex at 8 kHz, of so many packets of 20 ms on one page, from this granule on.
    pub(super) fn speex(packets: u64, from: u64) -> Vec<u8> {
        let mut head = b"Speex   1.2".to_vec();
        head.resize(36, 0);
        head.extend(8_000_u32.to_le_bytes());
        head.resize(48, 0);
        head.extend(1_u32.to_le_bytes());
        head.resize(56, 0);
        head.extend(160_u32.to_le_bytes());
        head.extend([0; 4]);
        head.extend(1_u32.to_le_bytes());
        head.resize(80, 0);
        let packet: &[u8] = &[7; 20];
        let ogg = Self::of(9).page(2, 0, &[&head]).page(0, 0, &[b"tags"]);
        ogg.page(4, from + packets * 160, &vec![packet; packets as usize]).file
    }
}

/// A box of MP4.
pub(super) fn mp4_box(name: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    [&(content.len() as u32 + 8).to_be_bytes(), name.as_slice(), &content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// What an MP4 file of one track at 8 kHz consists of.
#[derive(Debug, Clone, Default)]
pub(super) struct Mp4 {
    /// Samples of 1,024 units each in `stts`.
    pub(super) samples: u32,
    /// What `mdhd` declares, in units.
    pub(super) declared: u32,
    /// Entries of the edit list: duration in ms, and where in the media, in units.
    pub(super) edits: Vec<(u32, i32)>,
    /// Fragments, each of so many samples of 1,024 units. With any, the file has `mvex`.
    pub(super) fragments: Vec<u32>,
    /// Whether each sample of a fragment has its own duration.
    pub(super) each: bool,
    /// Whether the index follows the samples.
    pub(super) index_last: bool,
}

impl Mp4 {
    pub(super) fn file(&self) -> Vec<u8> {
        let mut file = mp4_box(b"ftyp", &[b"M4A \0\0\0\0isom"]);
        let samples = mp4_box(b"mdat", &[&vec![7; 4_096 + self.samples as usize]]);
        match (self.index_last, self.fragments.is_empty()) {
            (true, _) => file.extend([samples, self.movie()].concat()),
            (false, true) => file.extend([self.movie(), samples].concat()),
            (false, false) => file.extend(self.movie()),
        }
        for samples in &self.fragments {
            file.extend(self.fragment(*samples));
            file.extend(mp4_box(b"mdat", &[&vec![7; *samples as usize * 16]]));
        }
        file
    }

    fn movie(&self) -> Vec<u8> {
        let track_header = mp4_box(b"tkhd", &[&words(&[7, 0, 0, 1, 0, 0])]);
        let handler = mp4_box(b"hdlr", &[&[0; 8], b"soun", &[0; 12]]);
        let media_header = mp4_box(b"mdhd", &[&words(&[0, 0, 0, 8_000, self.declared, 0])]);
        let entry = mp4_box(b"alac", &[&[0; 16], &[0, 1, 0, 16], &[0; 8]]);
        let entries = mp4_box(b"stsd", &[&words(&[0, 1]), &entry]);
        let times: &[u32] = if self.samples > 0 { &[0, 1, self.samples, 1_024] } else { &[0, 0] };
        let table = mp4_box(b"stbl", &[&entries, &mp4_box(b"stts", &[&words(times)])]);
        let media = mp4_box(b"mdia", &[&media_header, &handler, &mp4_box(b"minf", &[&table])]);
        let list = |(ms, from): &(u32, i32)| words(&[*ms, from.cast_unsigned(), 0x1_0000]);
        let list = self.edits.iter().flat_map(list).collect::<Vec<_>>();
        let list = mp4_box(b"elst", &[&words(&[0, self.edits.len() as u32]), &list]);
        let edits = if self.edits.is_empty() { Vec::new() } else { mp4_box(b"edts", &[&list]) };
        let track = mp4_box(b"trak", &[&track_header, &edits, &media]);
        let default = mp4_box(b"trex", &[&words(&[0, 1, 1, 1_024, 0, 0])]);
        let extends = if self.fragments.is_empty() { Vec::new() } else { mp4_box(b"mvex", &[&default]) };
        mp4_box(b"moov", &[&mp4_box(b"mvhd", &[&words(&[0, 0, 0, 1_000, 1_000])]), &track, &extends])
    }

    fn fragment(&self, samples: u32) -> Vec<u8> {
        let run = match self.each {
            true => mp4_box(b"trun", &[&words(&[0x100, samples]), &words(&vec![1_024; samples as usize])]),
            false => mp4_box(b"trun", &[&words(&[0, samples])]),
        };
        mp4_box(b"moof", &[&mp4_box(b"traf", &[&mp4_box(b"tfhd", &[&words(&[0, 1])]), &run])])
    }
}

/// An element of Matroska; an id of up to four bytes.
fn element(id: &[u8], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    [id, &(1_u64 << 56 | content.len() as u64).to_be_bytes(), &content].concat()
}

/// WebM of one track with a block each 20 ms, 50 in a cluster. `duration_ms` is what its header says; `open` leaves the sizes of
/// segment and clusters open, as browsers do. `late_ms` is when the first block is.
pub(super) fn webm(blocks: u64, duration_ms: Option<f64>, open: bool, late_ms: u64) -> Vec<u8> {
    let duration = duration_ms.map(|ms| element(b"\x44\x89", &[&ms.to_be_bytes()])).unwrap_or_default();
    let info = element(b"\x15\x49\xA9\x66", &[&element(b"\x2A\xD7\xB1", &[&[0x0F, 0x42, 0x40]]), &duration]);
    let audio = element(b"\xE1", &[&element(b"\x9F", &[&[1]])]);
    let track = element(b"\xAE", &[&element(b"\xD7", &[&[1]]), &element(b"\x83", &[&[2]]), &audio]);
    let mut content = [info, element(b"\x16\x54\xAE\x6B", &[&track])].concat();
    let mut at = 0;
    while at < blocks {
        let here = 50.min(blocks - at);
        let block = |nth: u64| element(b"\xA3", &[&[0x81], &((nth * 20) as u16).to_be_bytes(), &[0x80, 1, 2, 3, 4, 5]]);
        let time = element(b"\xE7", &[&(late_ms + at * 20).to_be_bytes()]);
        let inside = [time, (0..here).flat_map(block).collect()].concat();
        content.extend(sized_element(b"\x1F\x43\xB6\x75", &inside, open));
        at += here;
    }
    [
        element(b"\x1A\x45\xDF\xA3", &[&element(b"\x42\x82", &[b"webm"])]),
        sized_element(b"\x18\x53\x80\x67", &content, open),
    ]
    .concat()
}

fn sized_element(id: &[u8], content: &[u8], open: bool) -> Vec<u8> {
    if open { [id, b"\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF", content].concat() } else { element(id, &[content]) }
}
