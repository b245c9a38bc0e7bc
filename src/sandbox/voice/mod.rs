//! The sandbox's voice, which carries its words: whatever becomes of its speech can be transcribed back.
//!
//! A word is a burst of tones, as long as the word would be: a gap, then a tone for each digit of its code ([`code`]), then tones
//! that mean nothing. Each voice has a band of its own between 500 and 2,710 Hz, so that two voices at once stay readable. A
//! tone lasts 24 ms, long enough for telephone and low bit rates. [`speech`] makes it, and [`listen`] reads it.

mod code;
mod listen;
mod mp3_tones;
#[cfg(test)]
mod quality_tests;
mod resample;
mod speech;
#[cfg(test)]
mod tests;
mod tones;
mod words;

pub(super) use self::{
    listen::{HeardWord, Listener},
    speech::{Speech, Spoken},
    tones::Band,
    words::WordTable,
};
