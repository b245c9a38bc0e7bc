//! The four-byte header of a frame, and its fields.

use crate::domain::synthesis_options::SampleRate;

/// Bit rates in kbit/s by index; MPEG-1, then MPEG-2 and 2.5. Index 0 ("free") and 15 (forbidden) are not supported.
const KBITS: [[u32; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// The header of a layer III frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 4],
}

impl Header {
    /// Its length, in bytes.
    pub const LEN: usize = 4;

    /// The header at the start of `bytes`; `None` if there is none, or it has another layer or no bit rate.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let sync = bytes[0] == 0xFF && bytes[1] & 0xE0 == 0xE0;
        let version = bytes[1] >> 3 & 3 != 1;
        let layer_3 = bytes[1] >> 1 & 3 == 1;
        let bit_rate = !matches!(bytes[2] >> 4, 0 | 15);
        let sample_rate = bytes[2] >> 2 & 3 != 3;
        let emphasis = bytes[3] & 3 != 2;
        let all = sync && version && layer_3 && bit_rate && sample_rate && emphasis;
        all.then_some(Self { bytes }).filter(|header| header.frame_len() >= header.main_data_offset())
    }

    /// Whether it is MPEG-1; else MPEG-2 or 2.5, with half the samples a frame.
    const fn is_mpeg_1(self) -> bool {
        self.bytes[1] >> 3 & 3 == 3
    }

    /// Sample rate, in Hz.
    #[must_use]
    pub const fn rate(self) -> u32 {
        let mpeg_1 = [44_100, 48_000, 32_000][(self.bytes[2] >> 2 & 3) as usize];
        match self.bytes[1] >> 3 & 3 {
            3 => mpeg_1,
            2 => mpeg_1 / 2,
            _ => mpeg_1 / 4,
        }
    }

    /// Number of channels: 1 or 2.
    #[must_use]
    pub const fn channels(self) -> u16 {
        if self.bytes[3] >> 6 == 3 { 1 } else { 2 }
    }

    /// Bit rate, in bits a second.
    #[must_use]
    pub const fn bit_rate(self) -> u32 {
        KBITS[!self.is_mpeg_1() as usize][(self.bytes[2] >> 4) as usize] * 1_000
    }

    /// Samples of one channel in the frame.
    #[must_use]
    pub const fn samples(self) -> u64 {
        if self.is_mpeg_1() { 1_152 } else { 576 }
    }

    /// Length of the whole frame, in bytes.
    #[must_use]
    pub const fn frame_len(self) -> usize {
        let padding = (self.bytes[2] >> 1 & 1) as u32;
        (self.samples() as u32 / 8 * self.bit_rate() / self.rate() + padding) as usize
    }

    /// Where the side information begins: after a checksum, if there is one.
    pub(super) const fn side_offset(self) -> usize {
        if self.bytes[1] & 1 == 0 { Self::LEN + 2 } else { Self::LEN }
    }

    /// Where the main data begins: after the side information.
    pub(super) const fn main_data_offset(self) -> usize {
        let side = match (self.is_mpeg_1(), self.channels()) {
            (true, 1) | (false, 2) => 17,
            (true, _) => 32,
            (false, _) => 9,
        };
        self.side_offset() + side
    }

    /// Whether both may occur in one stream: same version, rate and number of channels.
    #[must_use]
    pub const fn is_like(self, other: Self) -> bool {
        self.bytes[1] & 0x18 == other.bytes[1] & 0x18
            && self.rate() == other.rate()
            && self.channels() == other.channels()
    }

    /// The number of bytes before the frame at which its main data begins, in earlier frames.
    pub(super) fn main_data_begin(self, frame: &[u8]) -> usize {
        let side = &frame[self.side_offset()..];
        if self.is_mpeg_1() { usize::from(side[0]) << 1 | usize::from(side[1] >> 7) } else { side[0].into() }
    }

    /// A frame of silence with the same parameters: no checksum, no padding, and side information that needs no data.
    #[must_use]
    pub fn silent_frame(self) -> Vec<u8> {
        let header = self.silent(0);
        let mut frame = header.bytes.to_vec();
        frame.resize(header.frame_len(), 0);
        frame
    }

    /// The header of a silent frame with room for this much main data, in bytes: with the same bit rate if it has that room.
    pub(super) const fn silent(self, room: usize) -> Self {
        let [sync, version, rates, mode] = self.bytes;
        // Without the mode extension: it says how two channels are joined, and nothing is joined here.
        let mut header = Self { bytes: [sync, version | 1, rates & !2, mode & !0x30] };
        while header.frame_len() < header.main_data_offset() + room && header.bytes[2] >> 4 < 14 {
            header.bytes[2] += 0x10;
        }
        header
    }

    /// Makes `frame` silent, and leaves its main data where later frames need it.
    pub(super) fn mute(self, frame: &mut [u8]) {
        frame[Self::LEN..self.main_data_offset()].fill(0);
        // A checksum would belong to the old side information. Without one the main data begins two bytes earlier; later frames
        // count back from its end.
        frame[1] |= 1;
    }
}

/// Samples of one channel in a frame of this rate.
#[must_use]
pub const fn samples_per_frame(rate: SampleRate) -> u64 {
    if rate.hz() >= 32_000 { 1_152 } else { 576 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: [u8; 4]) -> Header {
        Header::parse(&bytes).unwrap()
    }

    #[test]
    fn the_three_versions() {
        let mpeg_1 = header([0xFF, 0xFB, 0x92, 0x44]);
        assert_eq!((mpeg_1.rate(), mpeg_1.channels(), mpeg_1.bit_rate()), (44_100, 2, 128_000));
        assert_eq!((mpeg_1.samples(), mpeg_1.frame_len(), mpeg_1.main_data_offset()), (1_152, 418, 36));
        let mpeg_2 = header([0xFF, 0xF3, 0x84, 0xC4]);
        assert_eq!((mpeg_2.rate(), mpeg_2.channels(), mpeg_2.bit_rate()), (24_000, 1, 64_000));
        assert_eq!((mpeg_2.samples(), mpeg_2.frame_len(), mpeg_2.main_data_offset()), (576, 192, 13));
        let mpeg_25 = header([0xFF, 0xE2, 0x28, 0xC4]);
        assert_eq!((mpeg_25.rate(), mpeg_25.bit_rate(), mpeg_25.samples()), (8_000, 16_000, 576));
        assert_eq!((mpeg_25.frame_len(), mpeg_25.side_offset(), mpeg_25.main_data_offset()), (144, 6, 15));
        assert!(!mpeg_1.is_like(mpeg_2) && mpeg_2.is_like(header([0xFF, 0xF2, 0x36, 0xC0])));
        for rate in SampleRate::ALL.iter().copied() {
            assert_eq!(samples_per_frame(rate), if rate == SampleRate::Hz44100 { 1_152 } else { 576 });
        }
    }

    #[test]
    fn what_is_no_header() {
        for bytes in [
            [0xFE, 0xFB, 0x92, 0x44],
            [0xFF, 0xEB, 0x92, 0x44],
            [0xFF, 0xFD, 0x92, 0x44],
            [0xFF, 0xFB, 0x02, 0x44],
            [0xFF, 0xFB, 0xF2, 0x44],
            [0xFF, 0xFB, 0x9C, 0x44],
            [0xFF, 0xFB, 0x92, 0x46],
        ] {
            assert_eq!(Header::parse(&bytes), None, "{bytes:02x?}");
        }
        assert_eq!(Header::parse(&[0xFF, 0xFB, 0x92]), None);
    }

    #[test]
    fn silence_is_a_frame_of_the_same_kind() {
        for bytes in [[0xFF, 0xFB, 0x92, 0x64], [0xFF, 0xF3, 0x84, 0xC4], [0xFF, 0xE2, 0x2A, 0xC4]] {
            let (kind, frame) = (header(bytes), header(bytes).silent_frame());
            let silent = Header::parse(&frame).unwrap();
            assert!(silent.is_like(kind) && silent.bit_rate() == kind.bit_rate());
            assert_eq!((frame.len(), silent.side_offset()), (silent.frame_len(), 4));
            assert_eq!(silent.main_data_begin(&frame), 0);
        }
    }

    #[test]
    fn a_muted_frame_keeps_its_main_data() {
        let kind = header([0xFF, 0xE2, 0x28, 0xC4]);
        let mut frame = vec![0xAB; kind.frame_len()];
        frame[..4].copy_from_slice(&kind.bytes);
        assert_eq!(kind.main_data_begin(&frame), 0xAB);
        kind.mute(&mut frame);
        let muted = Header::parse(&frame).unwrap();
        assert_eq!((muted.main_data_begin(&frame), muted.frame_len()), (0, frame.len()));
        assert!(frame[4..15].iter().all(|b| *b == 0) && frame[15..].iter().all(|b| *b == 0xAB));
    }
}
