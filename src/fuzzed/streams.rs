//! Streams of speech. Wherever the pieces of a stream end, the same is heard; and no more audio than was sent. The first
//! byte is the length of the pieces.

use crate::{
    domain::synthesis_options::{AudioFormat, SampleRate},
    waves::fuzz::{hear, is_whole_audio},
};

/// One input.
///
/// # Panics
/// On a finding.
pub fn streams(input: &[u8]) {
    let Some((by, stream)) = input.split_first() else { return };
    let whole = hear(stream, stream.len().max(1));
    let pieces = hear(stream, usize::from(*by).max(1));
    assert_eq!(whole, pieces, "in pieces of {by}");
    assert!(whole.audio.len() <= stream.len());
    if let Err(why) = &whole.end {
        assert!(!why.is_empty() && why.len() < 4_000 && !why.chars().any(char::is_control), "{why:?}");
    }
    for format in [AudioFormat::Wav, AudioFormat::Mp3, AudioFormat::Pcm, AudioFormat::Ulaw] {
        let (framed, unframed) = is_whole_audio(stream, format, SampleRate::Hz24000);
        // Only a WAV file says itself where it ends.
        assert!(!unframed || (framed && format == AudioFormat::Wav));
    }
}
