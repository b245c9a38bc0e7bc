//! Decodes files that have a header of their own, as a stream: WAV, MP3, AAC, MP4.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::ControlFlow,
};

pub use symphonia::core::io::MediaSource;
use symphonia::core::{
    audio::GenericAudioBufferRef,
    codecs::audio::AudioDecoderOptions,
    errors::Error,
    formats::{TrackType, probe::Hint},
    io::MediaSourceStream,
};

/// Why a file was not decoded to its end.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is of none of these formats, or has no audio.
    #[error("no decoder for it")]
    Unknown,
    /// It is damaged, or cannot be read.
    #[error("it cannot be decoded")]
    Damaged(#[source] Error),
}

/// Samples of all channels, as they are decoded.
#[derive(Debug, Clone, Copy)]
pub struct DecodedBlock<'a> {
    /// Samples a second.
    pub rate: u32,
    /// Number of channels.
    pub channels: usize,
    /// The samples, channels interleaved.
    pub samples: &'a [i16],
}

impl DecodedBlock<'_> {
    /// The mean of all channels, from -1 to 1.
    #[must_use]
    pub fn mono(&self) -> Vec<f32> {
        let full = 32_768.0 * self.channels as f32;
        let mean = |frame: &[i16]| frame.iter().map(|sample| f32::from(*sample)).sum::<f32>() / full;
        self.samples.chunks_exact(self.channels.max(1)).map(mean).collect()
    }
}

/// A reader whose length is known.
pub(super) struct Whole<R> {
    pub(super) reader: R,
    pub(super) bytes: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

impl<R: Seek> Seek for Whole<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for Whole<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.bytes)
    }
}

/// Hands block after block to `each`, until the end, or until that breaks.
///
/// # Errors
/// See [`DecodeError`]; blocks before the damage were handed on.
pub fn decode<R: MediaSource + 'static>(
    source: R,
    each: &mut dyn FnMut(DecodedBlock<'_>) -> ControlFlow<()>,
) -> Result<(), DecodeError> {
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let probe = symphonia::default::get_probe();
    let mut format =
        probe.probe(&Hint::new(), stream, Default::default(), Default::default()).map_err(|_| DecodeError::Unknown)?;
    let track = format.default_track(TrackType::Audio).ok_or(DecodeError::Unknown)?;
    let (id, params) = (track.id, track.codec_params.as_ref().and_then(|params| params.audio().cloned()));
    let params = params.ok_or(DecodeError::Unknown)?;
    let codecs = symphonia::default::get_codecs();
    let mut decoder =
        codecs.make_audio_decoder(&params, &AudioDecoderOptions::default()).map_err(|_| DecodeError::Unknown)?;
    let mut samples = Vec::new();
    while let Some(packet) = format.next_packet().map_err(DecodeError::Damaged)? {
        if packet.track_id != id {
            continue;
        }
        let decoded: GenericAudioBufferRef<'_> = decoder.decode(&packet).map_err(DecodeError::Damaged)?;
        samples.resize(decoded.samples_interleaved(), 0i16);
        decoded.copy_to_slice_interleaved(&mut samples);
        let spec = decoded.spec();
        let block = DecodedBlock { rate: spec.rate(), channels: spec.channels().count(), samples: &samples };
        if each(block).is_break() {
            break;
        }
    }
    Ok(())
}
