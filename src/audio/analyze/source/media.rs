//! Files with a header that symphonia demuxes.

use std::{fs::File, path::Path};

use symphonia::core::{
    audio::GenericAudioBufferRef,
    codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known as ids},
    common::Limit,
    errors::Error,
    formats::{FormatOptions, Track, TrackType, probe::Hint},
    io::{MediaSourceStream, MediaSourceStreamOptions},
    meta::MetadataOptions,
    packet::Packet,
};

use super::{Feed, doubt::Doubter, opus};
use crate::audio::analyze::{
    error::HearError,
    hearing::{Break, Encoding, Found, Note},
};

/// Damaged packets one after another that end a recording.
const HOPELESS: u32 = 40;
/// How much shorter than its header says a recording may be, in ms.
const SLACK_MS: u64 = 250;
/// The least size that a writer to a pipe leaves where it does not know the size.
const LEAST_OPEN: u64 = 0x7FFF_0000;
/// The most bytes of tags and pictures.
const TAGS: usize = 1 << 20;

/// Whether it was read.
pub(super) enum Read {
    /// To its end or a limit.
    Done,
    /// There is no decoder for it here.
    NoDecoder {
        /// Its codec or container.
        what: String,
    },
}

/// What makes samples of packets.
enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<opus::Decoder>),
}

/// Reads a whole file.
pub(super) fn read(path: &Path, container: &str, feed: &mut Feed<'_>) -> Result<Read, HearError> {
    let file = File::open(path).map_err(HearError::Read)?;
    let stream = MediaSourceStream::new(Box::new(file), MediaSourceStreamOptions::default());
    let tags =
        MetadataOptions::default().limit_tag_bytes(Limit::Maximum(TAGS)).limit_visual_bytes(Limit::Maximum(TAGS));
    let mut format = match symphonia::default::get_probe().probe(&Hint::new(), stream, FormatOptions::default(), tags) {
        Ok(format) => format,
        Err(Error::Unsupported(_)) => return Ok(Read::NoDecoder { what: container.to_owned() }),
        Err(error) => return Err(HearError::Damaged { why: error.to_string() }),
    };
    let Some(track) = format.default_track(TrackType::Audio) else {
        return Err(HearError::NoAudio { container: container.to_owned() });
    };
    let id = track.id;
    let Some(params) = track.codec_params.as_ref().and_then(|params| params.audio()).cloned() else {
        return Ok(Read::NoDecoder { what: container.to_owned() });
    };
    let declared = declared_frames(track, &params);
    let Some((decoder, found)) = decoder_of(&params, container) else {
        return Ok(Read::NoDecoder { what: format!("{} in {container}", codec_of(&params)) });
    };
    let is_sized = matches!(container, "wav" | "flac" | "aiff" | "caf");
    let mut track = Decoding {
        decoder,
        found,
        doubter: doubter_of(&params),
        planes: Vec::new(),
        begun: false,
        bad: 0,
        all_bad: 0,
        gap: 0,
    };
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(Error::IoError(error)) => return Err(HearError::Read(error)),
            Err(Error::ResetRequired) => {
                let _ = feed.stop_with(Break::Changes);
                break;
            }
            Err(error) => {
                let _ = feed.stop_with(Break::Damaged(error.to_string()));
                break;
            }
        };
        if packet.track_id != id {
            if feed.over()?.is_break() {
                break;
            }
            continue;
        }
        if track.decode(&packet, feed)?.is_break() {
            break;
        }
    }
    if !track.begun && feed.broken.is_none() {
        return Err(HearError::Damaged { why: "no packet of it can be decoded".to_owned() });
    }
    if track.all_bad > 0 {
        feed.note(Note::Damage(track.all_bad));
    }
    if let Some(note) = track.doubter.as_ref().and_then(Doubter::note) {
        feed.note(note);
    }
    if let Some(declared) = declared.filter(|_| is_sized && feed.broken.is_none() && !feed.ended) {
        let declared_ms = declared * 1_000 / u64::from(track.found.rate);
        if declared_ms > feed.ms() + SLACK_MS {
            let _ = feed.stop_with(Break::CutShort { declared_ms });
        }
    }
    Ok(Read::Done)
}

/// A track on its way.
struct Decoding {
    decoder: Decoder,
    found: Found,
    doubter: Option<Doubter>,
    planes: Vec<Vec<f32>>,
    begun: bool,
    /// Damaged packets since the last good one, and in all.
    bad: u32,
    all_bad: u32,
    /// Samples that the damaged ones would have had.
    gap: u64,
}

impl Decoding {
    fn decode(&mut self, packet: &Packet, feed: &mut Feed<'_>) -> Result<std::ops::ControlFlow<()>, HearError> {
        let decoded = match &mut self.decoder {
            Decoder::Symphonia(decoder) => match decoder.decode(packet) {
                Ok(decoded) => {
                    let decoded: GenericAudioBufferRef<'_> = decoded;
                    let spec = decoded.spec();
                    let (rate, channels) = (spec.rate(), spec.channels().count());
                    decoded.copy_to_vecs_planar(&mut self.planes);
                    Ok((rate, channels))
                }
                Err(error) => Err(error.to_string()),
            },
            Decoder::Opus(decoder) => {
                decoder.decode(packet, &mut self.planes).map(|()| (self.found.rate, usize::from(self.found.channels)))
            }
        };
        match decoded {
            Ok((rate, channels)) => {
                if !self.begun {
                    // What the decoder says counts more than what the header says.
                    self.found.rate = rate;
                    self.found.channels = u16::try_from(channels).unwrap_or(u16::MAX);
                    feed.begin(self.found.clone())?;
                    self.begun = true;
                } else if rate != self.found.rate {
                    return Ok(feed.stop_with(Break::Changes));
                }
                if self.bad > 0 {
                    let gap = usize::try_from(self.gap.min(u64::from(rate) * 5)).unwrap_or_default();
                    let mut silence = vec![vec![0.0; gap]; usize::from(self.found.channels)];
                    (self.bad, self.gap) = (0, 0);
                    if feed.push(&mut silence)?.is_break() {
                        return Ok(std::ops::ControlFlow::Break(()));
                    }
                }
                if let (Some(doubter), Some(plane)) = (&mut self.doubter, self.planes.first()) {
                    doubter.hear(plane);
                }
                feed.push(&mut self.planes)
            }
            Err(why) => {
                self.bad += 1;
                // The first packets after a cut may need what was cut off.
                if self.begun {
                    self.all_bad += 1;
                    self.gap += packet.dur.get().min(u64::from(self.found.rate));
                }
                if self.bad > HOPELESS {
                    return Ok(feed.stop_with(Break::Damaged(why)));
                }
                feed.over()
            }
        }
    }
}

fn decoder_of(params: &AudioCodecParameters, container: &str) -> Option<(Decoder, Found)> {
    let channels = params.channels.as_ref().map_or(0, |channels| u16::try_from(channels.count()).unwrap_or(u16::MAX));
    let mut found = Found {
        container: container.to_owned(),
        codec: codec_of(params),
        rate: params.sample_rate.unwrap_or_default(),
        channels,
        by_ffmpeg: false,
    };
    if params.codec == ids::CODEC_ID_OPUS {
        let decoder = opus::Decoder::new(params.extra_data.as_deref()?)?;
        (found.rate, found.channels) = (opus::RATE, decoder.channels());
        return Some((Decoder::Opus(Box::new(decoder)), found));
    }
    let decoder = symphonia::default::get_codecs().make_audio_decoder(params, &AudioDecoderOptions::default()).ok()?;
    Some((Decoder::Symphonia(decoder), found))
}

/// The frames that a header declares; `None` if its writer did not know.
fn declared_frames(track: &Track, params: &AudioCodecParameters) -> Option<u64> {
    let frames = track.num_frames?;
    let bits = u64::from(params.bits_per_coded_sample.or(params.bits_per_sample).unwrap_or(8));
    let channels = params.channels.as_ref().map_or(1, |channels| channels.count() as u64);
    let is_open = frames.saturating_mul(bits * channels / 8) >= LEAST_OPEN;
    (!is_open).then_some(frames)
}

fn doubter_of(params: &AudioCodecParameters) -> Option<Doubter> {
    match params.codec {
        ids::CODEC_ID_PCM_MULAW => Some(Doubter::new(Encoding::ULaw)),
        ids::CODEC_ID_PCM_ALAW => Some(Doubter::new(Encoding::ALaw)),
        ids::CODEC_ID_PCM_S16LE => Some(Doubter::new(Encoding::S16Le)),
        _ => None,
    }
}

/// The name of a codec, as ffmpeg has it.
fn codec_of(params: &AudioCodecParameters) -> String {
    let name = match params.codec {
        ids::CODEC_ID_PCM_MULAW => "pcm_mulaw",
        ids::CODEC_ID_PCM_ALAW => "pcm_alaw",
        ids::CODEC_ID_PCM_U8 => "pcm_u8",
        ids::CODEC_ID_PCM_S8 => "pcm_s8",
        ids::CODEC_ID_PCM_S16LE => "pcm_s16le",
        ids::CODEC_ID_PCM_S16BE => "pcm_s16be",
        ids::CODEC_ID_PCM_S24LE => "pcm_s24le",
        ids::CODEC_ID_PCM_S24BE => "pcm_s24be",
        ids::CODEC_ID_PCM_S32LE => "pcm_s32le",
        ids::CODEC_ID_PCM_S32BE => "pcm_s32be",
        ids::CODEC_ID_PCM_F32LE => "pcm_f32le",
        ids::CODEC_ID_PCM_F32BE => "pcm_f32be",
        ids::CODEC_ID_PCM_F64LE => "pcm_f64le",
        ids::CODEC_ID_PCM_F64BE => "pcm_f64be",
        ids::CODEC_ID_ADPCM_MS => "adpcm_ms",
        ids::CODEC_ID_ADPCM_IMA_WAV => "adpcm_ima_wav",
        ids::CODEC_ID_ADPCM_IMA_QT => "adpcm_ima_qt",
        ids::CODEC_ID_ADPCM_G722 => "g722",
        ids::CODEC_ID_MP1 => "mp1",
        ids::CODEC_ID_MP2 => "mp2",
        ids::CODEC_ID_MP3 => "mp3",
        ids::CODEC_ID_AAC => "aac",
        ids::CODEC_ID_ALAC => "alac",
        ids::CODEC_ID_FLAC => "flac",
        ids::CODEC_ID_VORBIS => "vorbis",
        ids::CODEC_ID_OPUS => "opus",
        ids::CODEC_ID_SPEEX => "speex",
        ids::CODEC_ID_WMA => "wma",
        ids::CODEC_ID_AC3 => "ac3",
        ids::CODEC_ID_EAC3 => "eac3",
        _ => "an unknown codec",
    };
    name.to_owned()
}
