//! MPEG layer III frames that each hold one tone: a single spectral line, which needs no encoder.

use super::tones::{Band, DIGITS, amplitude};
use crate::{audio::mp3, domain::synthesis_options::SampleRate};

/// The gain at which one line of value 1 has the amplitude of a full-scale tone, in steps of 1.5 dB.
const FULL_SCALE_GAIN: f64 = 208.5;
/// The code of two lines in Huffman table 1, by which of them is 1: neither, the second, the first, both.
const PAIRS: [(u32, usize); 4] = [(0b1, 1), (0b001, 3), (0b01, 2), (0b000, 3)];

/// How many tones of the murmur are in a frame: each is as loud as the digit's.
const MURMUR: usize = 1;

/// Frames of silence and of each digit's tone, at 32 kbit/s.
#[derive(Debug)]
pub(super) struct ToneFrames {
    pub(super) silence: Vec<u8>,
    pub(super) tones: [Vec<u8>; DIGITS],
}

impl ToneFrames {
    /// The frames of a voice, louder by `gain_db`. Where nothing is coded they carry the seed.
    pub(super) fn new(band: Band, rate: SampleRate, gain_db: f64, seed: u64) -> Self {
        let head = match rate {
            SampleRate::Hz44100 => [0xFF, 0xFB, 0x10, 0xC0],
            SampleRate::Hz24000 => [0xFF, 0xF3, 0x44, 0xC0],
            SampleRate::Hz16000 => [0xFF, 0xF3, 0x48, 0xC0],
            SampleRate::Hz8000 => [0xFF, 0xE3, 0x48, 0xC0],
        };
        let mut silence = mp3::Header::parse(&head).expect("heads of frames, by the book").silent_frame();
        // Digits, so that nothing in it looks like a frame's beginning.
        let seed = format!("{seed:016x}");
        let at = silence.len() - seed.len();
        silence[at..].copy_from_slice(seed.as_bytes());
        let granules = if rate == SampleRate::Hz44100 { 2 } else { 1 };
        let tones = std::array::from_fn(|digit| {
            let decibel = 20.0 * (amplitude(digit) / 32_768.0).log10() + gain_db;
            let gain = (FULL_SCALE_GAIN + decibel / 1.5).round().clamp(0.0, 255.0) as u32;
            // A line is half a turn a granule wide.
            let line = |turns: usize| turns * 2 / granules;
            let lines: Vec<usize> = band.murmur(digit).take(MURMUR).chain([band.turns(digit)]).map(line).collect();
            tone_frame(&silence, &lines, gain, granules)
        });
        Self { silence, tones }
    }
}

/// A frame with these lines, the lowest first.
fn tone_frame(silence: &[u8], lines: &[usize], gain: u32, granules: usize) -> Vec<u8> {
    let (side_len, private_bits) = if granules == 2 { (17, 9 + 5 + 4) } else { (9, 8 + 1) };
    let mut side = Bits::default();
    let mut data = Bits::default();
    let last = lines.last().copied().unwrap_or_default();
    side.push(0, private_bits);
    for granule in 0..granules {
        let before = data.len;
        for pair in 0..=last / 2 {
            let both = [2 * pair, 2 * pair + 1].map(|line| lines.contains(&line));
            let (code, bits) = PAIRS[usize::from(both[0]) * 2 + usize::from(both[1])];
            data.push(code, bits);
            // The sign by which the tone goes on from one granule to the next.
            let signs = (0..2).filter(|at| both[*at]).map(|at| (granule * (2 * pair + at) % 2) as u32);
            signs.for_each(|sign| data.push(sign, 1));
        }
        side.push((data.len - before) as u32, 12);
        side.push((last / 2 + 1) as u32, 9);
        side.push(gain, 8);
        side.push(0, if granules == 2 { 4 } else { 9 });
        side.push(0, 1);
        (0..3).for_each(|_| side.push(1, 5));
        side.push(7, 4);
        side.push(7, 3);
        side.push(0, if granules == 2 { 3 } else { 2 });
    }
    let mut frame = silence.to_vec();
    let data_at = mp3::Header::LEN + side_len;
    frame[mp3::Header::LEN..data_at].copy_from_slice(&side.bytes);
    frame[data_at..data_at + data.bytes.len()].copy_from_slice(&data.bytes);
    frame
}

/// Bits, the first one highest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    fn push(&mut self, value: u32, bits: usize) {
        for at in (0..bits).rev() {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            let last = self.bytes.len() - 1;
            self.bytes[last] |= bit << (7 - self.len % 8);
            self.len += 1;
        }
    }
}
