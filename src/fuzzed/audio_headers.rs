//! Headers of sounds: WAV, and whatever the probe looks into. Nothing is said of more bytes than there are; the probe of
//! a whole file and that of its ends agree on its kind, and the ends prove no length that the whole does not; what is written is
//! read.

use std::io::Cursor;

use crate::{
    audio::{check, mp3::Frames, wav},
    domain::synthesis_options::{AudioFormat, SampleRate},
    media::probe::{probe_bytes, probe_ends},
};

/// One input.
///
/// # Panics
/// On a finding.
pub fn audio_headers(bytes: &[u8]) {
    if let Ok(found) = wav::read(&mut Cursor::new(bytes)) {
        assert_eq!(found.file_len, bytes.len() as u64);
        assert!(found.data_offset + found.data_len <= found.file_len, "{found:?}");
        assert!(!found.sizes_agree || found.declared_data_len == Some(found.data_len), "{found:?}");
        let _ = found.duration_ms();
        if let Some(comment) = &found.comment {
            let samples: Vec<i16> = bytes.iter().map(|byte| i16::from(*byte)).collect();
            let again = wav::pcm16(2, found.sample_rate, Some(comment), &samples);
            let again = wav::read(&mut Cursor::new(again)).expect("what is written is read");
            assert_eq!(again.comment.as_ref(), Some(comment));
            assert_eq!(again.data_len, 2 * samples.len() as u64);
            assert!(again.sizes_agree);
        }
    }
    let probe = probe_bytes(bytes);
    assert_eq!(probe.bytes, bytes.len() as u64);
    assert!(probe.length.ms().is_none_or(|ms| ms / 1_000 <= probe.bytes));
    let cut = bytes.len().min(4096);
    let ends = probe_ends(&bytes[..cut], &bytes[bytes.len() - cut..], bytes.len() as u64);
    assert_eq!((ends.bytes, ends.kind), (probe.bytes, probe.kind));
    assert!(!ends.length.is_exact() || ends.length == probe.length, "{ends:?} is not {probe:?}");

    for format in [AudioFormat::Wav, AudioFormat::Mp3, AudioFormat::Pcm, AudioFormat::Ulaw, AudioFormat::Alaw] {
        let _ = check(&mut Cursor::new(bytes), format, SampleRate::Hz8000);
    }
    let mut frames = Frames::new(bytes);
    let mut read = 0;
    while let Ok(Some(frame)) = frames.read_frame() {
        read += frame.bytes.len();
        assert!(read <= bytes.len());
    }
}
