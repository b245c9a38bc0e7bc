//! Padding of uploads: a file has exactly the size asked for or no plan, it can be looked at again, and without its
//! padding it is what it was.

use std::io::Cursor;

use bytes::Bytes;

use crate::{
    audio::wav,
    domain::padding::Patch,
    media::{
        padding::{plan, strip},
        probe::probe_bytes,
    },
};

/// One input.
///
/// # Panics
/// On a finding.
pub fn padding(bytes: &[u8]) {
    let file = Bytes::copy_from_slice(bytes);
    let Some(plan) = plan(&mut Cursor::new(&file)) else { return };
    let sizes = plan.takes();
    let before = stripped(&file);
    for extra in [sizes.least(), sizes.least() + 2, sizes.most() / 2, sizes.most()] {
        let Some(patch) = plan.apply(extra) else {
            assert!(!sizes.contains(extra), "{extra} of {sizes:?}");
            continue;
        };
        let padded = patch.apply(0, file.clone()).expect("it is the file that was looked at");
        assert_eq!(padded.len(), file.len() + extra as usize);
        assert_eq!(stripped(&padded), before, "{extra} bytes, and other content");
        assert_eq!(in_pieces(&patch, &file, 1 + bytes.len() / 3), padded);
        assert_eq!(probe_bytes(&padded).kind, probe_bytes(&file).kind);
        if let (Ok(was), Ok(is)) = (wav::read(&mut Cursor::new(&file)), wav::read(&mut Cursor::new(&padded))) {
            assert_eq!((is.data_offset, is.data_len, &is.comment), (was.data_offset, was.data_len, &was.comment));
            assert!(is.sizes_agree && was.sizes_agree);
        }
    }
}

fn stripped(file: &Bytes) -> Bytes {
    match strip(&mut Cursor::new(file)) {
        Some(patch) => patch.apply(0, file.clone()).expect("it is the file that was looked at"),
        None => file.clone(),
    }
}

fn in_pieces(patch: &Patch, file: &Bytes, len: usize) -> Bytes {
    let mut all = Vec::new();
    for at in (0..file.len()).step_by(len) {
        let piece = file.slice(at..file.len().min(at + len));
        all.extend(patch.apply(at as u64, piece).expect("it is the file that was looked at"));
    }
    all.into()
}
