//! `[audio]`: what this machine decodes recordings with, and what is known of voices.

use std::path::PathBuf;

use crate::{
    definition::{
        fields::fields,
        text::some,
        walk::{Section, TomlWalk},
    },
    domain::{home::expand, synthesis_options::voice_id},
    process::home,
};

fields! {
    /// What this machine decodes recordings with, and what is known of voices.
    pub(super) AUDIO = "audio" {
        /// The ffmpeg for formats that wavebatch does not decode itself: GSM, AMR, WMA, G.722, video. It reads one file, in an empty folder, with limits of time and size.
        "ffmpeg": "a string" (or "the `ffmpeg` on PATH, if there is one");
        /// More voices that send the times of their words over a socket, besides `meher`, `devansh`, `kartik`, `maithili`, `liam` and `avery`. Captions of their speech are exact to the word.
        "word_voices": "a list of strings" (= "[]");
    }
}

/// The table, as it is written.
#[derive(Debug, Default)]
pub(super) struct Audio {
    /// The path of ffmpeg.
    pub(super) ffmpeg: Option<PathBuf>,
    /// More voices that send the times of their words.
    pub(super) word_voices: Vec<String>,
}

/// Reads the table.
pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> Audio {
    let ffmpeg = walk.text(&mut section, "ffmpeg", |text| expand(&some(text)?, home().as_deref()));
    let voice = |text: &str| voice_id(text).map(|()| text.to_owned());
    let word_voices = walk.list(&mut section, "word_voices", voice).unwrap_or_default();
    walk.close(section);
    Audio { ffmpeg, word_voices }
}
