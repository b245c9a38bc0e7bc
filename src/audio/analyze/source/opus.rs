//! Opus, in Ogg, WebM and Matroska.

use std::panic::{AssertUnwindSafe, catch_unwind};

use opus_rs::OpusDecoder;
use symphonia::core::packet::Packet;

/// The rate at which Opus is decoded.
pub(super) const RATE: u32 = 48_000;
/// The longest packet, in samples a channel: 120 ms.
const LONGEST: usize = 5_760;
/// Where a header has its number of channels, what it skips at the start, and how channels are mapped.
const CHANNELS: usize = 9;
const PRE_SKIP: usize = 10;
const MAPPING: usize = 18;

/// Decodes one track.
pub(super) struct Decoder {
    opus: OpusDecoder,
    channels: usize,
    /// Samples that the header drops at the beginning.
    skip: usize,
    interleaved: Vec<f32>,
}

impl Decoder {
    /// By the track's header; `None` for more than two channels, or if it is no header.
    pub(super) fn new(header: &[u8]) -> Option<Self> {
        let channels = usize::from(*header.get(CHANNELS).filter(|_| header.starts_with(b"OpusHead"))?);
        let skip = u16::from_le_bytes([*header.get(PRE_SKIP)?, *header.get(PRE_SKIP + 1)?]);
        if !matches!(channels, 1 | 2) || *header.get(MAPPING)? > 1 {
            return None;
        }
        let opus = OpusDecoder::new(RATE as i32, channels).ok()?;
        Some(Self { opus, channels, skip: usize::from(skip), interleaved: vec![0.0; LONGEST * channels] })
    }

    pub(super) const fn channels(&self) -> u16 {
        self.channels as u16
    }

    pub(super) fn decode(&mut self, packet: &Packet, planes: &mut Vec<Vec<f32>>) -> Result<(), String> {
        if packet.data.is_empty() {
            return Err("an empty packet".to_owned());
        }
        let Self { opus, interleaved, .. } = self;
        // A young crate: a panic of it is damage of this file, and no end of the program.
        let decoded = catch_unwind(AssertUnwindSafe(|| opus.decode(&packet.data, LONGEST, interleaved)));
        let frames = match decoded {
            Ok(Ok(frames)) => frames.min(LONGEST),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the decoder gave up".to_owned()),
        };
        let end = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let skip = self.skip.min(frames);
        self.skip -= skip;
        let to = frames.saturating_sub(end).max(skip);
        planes.resize(self.channels, Vec::new());
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.clear();
            let own = self.interleaved[skip * self.channels..to * self.channels].iter().skip(channel);
            plane.extend(own.step_by(self.channels));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use symphonia::core::units::{Duration, Timestamp};

    use super::*;
    use crate::sandbox::fixtures::Random;

    fn header(channels: u8, mapping: u8) -> Vec<u8> {
        let mut header = b"OpusHead\x01".to_vec();
        header.extend([channels, 0x38, 1, 0x80, 0xBB, 0, 0, 0, 0, mapping]);
        header
    }

    #[test]
    fn damaged_packets_do_no_harm() {
        assert!(Decoder::new(&header(6, 1)).is_none() && Decoder::new(b"OpusHead").is_none());
        let mut random = Random::new(3);
        for channels in [1, 2] {
            let mut decoder = Decoder::new(&header(channels, 0)).unwrap();
            let mut planes = Vec::new();
            for _ in 0..3_000 {
                let len = 1 + random.below(200);
                let data: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
                let packet = Packet::new(0, Timestamp::new(0), Duration::from(960u64), data);
                if decoder.decode(&packet, &mut planes).is_ok() {
                    assert!(planes.iter().all(|plane| plane.len() <= LONGEST));
                }
            }
        }
    }
}
