//! `[audio]`: what this machine decodes recordings with.

use std::path::PathBuf;

use crate::{
    definition::{
        fields::fields,
        text::some,
        walk::{Section, TomlWalk},
    },
    domain::home::expand,
    process::home,
};

fields! {
    /// What this machine decodes recordings with.
    pub(super) AUDIO = "audio" {
        /// The ffmpeg for formats that wavebatch does not decode itself: GSM, AMR, WMA, G.722, video. It reads one file, in an empty folder, with limits of time and size.
        "ffmpeg": "a string" (or "the `ffmpeg` on PATH, if there is one");
    }
}

/// Reads the table: the path of ffmpeg, as it is written.
pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> Option<PathBuf> {
    let ffmpeg = walk.text(&mut section, "ffmpeg", |text| expand(&some(text)?, home().as_deref()));
    walk.close(section);
    ffmpeg
}
