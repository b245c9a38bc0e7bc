//! Padding of uploads: which sizes a recording can have, and the edits that produce one of them.
//!
//! The API has no idempotency key, but its log shows the size of each upload. A recording whose container allows padding
//! can be sent with a size that no other recent call has. A lost call can then be found in that log.

use std::sync::Arc;

use bytes::Bytes;

/// By how many bytes a recording can be lengthened: every second number from `least` to `most`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaddingSizes {
    least: u32,
    most: u32,
}

impl PaddingSizes {
    /// The distance from one size to the next, in bytes.
    pub const STEP: u32 = 2;

    /// Sizes from `least` to at most `most` extra bytes; `None` if there are none.
    #[must_use]
    pub const fn new(least: u32, most: u32) -> Option<Self> {
        if most < least {
            return None;
        }
        Some(Self { least, most: most - (most - least) % Self::STEP })
    }

    /// The smallest size, in extra bytes.
    #[must_use]
    pub const fn least(self) -> u32 {
        self.least
    }

    /// The largest size, in extra bytes.
    #[must_use]
    pub const fn most(self) -> u32 {
        self.most
    }

    /// Whether a recording can be lengthened by exactly that many bytes.
    #[must_use]
    pub const fn contains(self, extra: u32) -> bool {
        self.least <= extra && extra <= self.most && (extra - self.least).is_multiple_of(Self::STEP)
    }
}

/// One edit of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// Where it begins, in bytes from the start of the recording.
    pub at: u64,
    /// How many bytes of the recording it replaces.
    pub removes: u64,
    /// The first replaced bytes as they were when the recording was examined; if they differ now, the recording has changed.
    pub seen: Bytes,
    /// The bytes inserted in their place.
    pub inserts: Bytes,
}

impl Edit {
    /// Replaces the bytes `seen` at `at`.
    #[must_use]
    pub fn replace(at: u64, seen: &[u8], inserts: &[u8]) -> Self {
        let seen = Bytes::copy_from_slice(seen);
        Self { at, removes: seen.len() as u64, seen, inserts: Bytes::copy_from_slice(inserts) }
    }

    /// Inserts bytes before the one at `at`.
    #[must_use]
    pub fn insert(at: u64, inserts: Vec<u8>) -> Self {
        Self { at, inserts: inserts.into(), ..Self::default() }
    }

    /// Removes the bytes from `at` to `end`.
    #[must_use]
    pub fn remove(at: u64, end: u64) -> Self {
        Self { at, removes: end.saturating_sub(at), ..Self::default() }
    }

    const fn end(&self) -> u64 {
        self.at.saturating_add(self.removes)
    }
}

/// Edits of one recording, in order and not overlapping. Clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    source_len: u64,
    len: u64,
    edits: Arc<[Edit]>,
}

impl Patch {
    /// A patch for a recording of `source_len` bytes; `None` if the edits overlap, are out of order or exceed the recording.
    #[must_use]
    pub fn new(source_len: u64, edits: Vec<Edit>) -> Option<Self> {
        let (mut from, mut len) = (0, source_len);
        for edit in &edits {
            if edit.at < from || edit.end() > source_len || edit.seen.len() as u64 > edit.removes {
                return None;
            }
            from = edit.end();
            len = len.checked_add(edit.inserts.len() as u64)? - edit.removes;
        }
        Some(Self { source_len, len, edits: edits.into() })
    }

    /// The length of the unpatched recording, in bytes.
    #[must_use]
    pub const fn source_len(&self) -> u64 {
        self.source_len
    }

    /// The length of the patched recording, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of the recording; a patch is never empty")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Patches a piece of the recording that begins at `at`. The patched pieces, in order, make the patched recording.
    /// `None` if the piece differs from the recording that was examined, or exceeds it.
    #[must_use]
    pub fn apply(&self, at: u64, piece: Bytes) -> Option<Bytes> {
        let end = at.checked_add(piece.len() as u64).filter(|end| *end <= self.source_len)?;
        // An insertion before a byte belongs to that byte's piece; an insertion at the end belongs to the last piece.
        let begins = |edit: &Edit| edit.at >= at && (edit.at < end || end == self.source_len);
        let touches = |edit: &&Edit| begins(edit) || edit.at < at && edit.end() > at;
        let mut edits = self.edits.iter().filter(touches).peekable();
        if edits.peek().is_none() {
            return Some(piece);
        }
        let index = |position: u64| usize::try_from(position - at).expect("it lies inside of the piece");
        let mut out = Vec::with_capacity(piece.len());
        let mut from = at;
        for edit in edits {
            let (start, stop) = (edit.at.max(at), edit.end().min(end));
            let seen = edit.seen.iter().skip(usize::try_from(start - edit.at).unwrap_or(usize::MAX));
            if piece[index(start)..index(stop)].iter().zip(seen).any(|(is, was)| is != was) {
                return None;
            }
            if begins(edit) {
                out.extend_from_slice(&piece[index(from)..index(start)]);
                out.extend_from_slice(&edit.inserts);
            }
            from = stop;
        }
        out.extend_from_slice(&piece[index(from)..]);
        Some(out.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_every_second_number() {
        let sizes = PaddingSizes::new(8, 15).unwrap();
        assert_eq!((sizes.least(), sizes.most()), (8, 14));
        let all: Vec<u32> = (0..20).filter(|extra| sizes.contains(*extra)).collect();
        assert_eq!(all, [8, 10, 12, 14]);
        assert_eq!(PaddingSizes::new(8, 8).map(|s| (s.least(), s.most())), Some((8, 8)));
        assert_eq!(PaddingSizes::new(8, 7), None);
        assert!(!PaddingSizes::new(8, u32::MAX).unwrap().contains(7));
    }

    #[test]
    fn edits_that_cannot_be_made_are_no_patch() {
        let insert = |at| Edit::insert(at, vec![1]);
        for (edits, fits) in [
            (vec![insert(0), insert(0), insert(4)], true),
            (vec![Edit::remove(0, 4)], true),
            (vec![Edit::replace(0, b"ab", b"x"), insert(2)], true),
            (vec![insert(5)], false),
            (vec![Edit::remove(2, 5)], false),
            (vec![Edit::remove(u64::MAX, u64::MAX)], false),
            (vec![insert(2), insert(1)], false),
            (vec![Edit::replace(0, b"ab", b"x"), insert(1)], false),
            (vec![Edit { seen: Bytes::from_static(b"a"), ..Edit::default() }], false),
        ] {
            assert_eq!(Patch::new(4, edits.clone()).is_some(), fits, "{edits:?}");
        }
    }

    #[test]
    fn a_recording_that_is_not_what_it_was_is_not_patched() {
        let patch = Patch::new(4, vec![Edit::replace(1, b"bc", b"xyz")]).unwrap();
        let apply = |at, piece: &'static str| patch.apply(at, piece.into());
        assert_eq!((patch.source_len(), patch.len()), (4, 5));
        assert_eq!(apply(0, "abcd").unwrap(), "axyzd");
        assert_eq!(apply(0, "ab").unwrap(), "axyz");
        assert_eq!(apply(2, "cd").unwrap(), "d");
        for (at, piece) in [(0, "aBcd"), (0, "abCd"), (0, "aB"), (2, "Cd"), (0, "abcde"), (4, "e"), (u64::MAX, "ab")] {
            assert_eq!(apply(at, piece), None, "{piece} at {at}");
        }
        let untouched = apply(3, "d").unwrap();
        assert_eq!(untouched, "d");
    }

    /// The expected result: the edits applied to the whole recording from its end to its start.
    fn by_hand(source: &[u8], edits: &[Edit]) -> Vec<u8> {
        let mut whole = source.to_vec();
        for edit in edits.iter().rev() {
            whole.splice(edit.at as usize..edit.end() as usize, edit.inserts.iter().copied());
        }
        whole
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_make_the_same_recording(
            source in prop::collection::vec(any::<u8>(), 0..40),
            shape in prop::collection::vec((0_u64..12, 0_u64..6, prop::collection::vec(any::<u8>(), 0..5)), 0..5),
            lengths in prop::collection::vec(1_usize..9, 1..8),
        ) {
            let source = Bytes::from(source);
            let (mut from, mut edits) = (0, Vec::new());
            for (gap, removes, inserts) in shape {
                let at = (from + gap).min(source.len() as u64);
                from = (at + removes).min(source.len() as u64);
                let seen = source.slice(at as usize..from as usize);
                edits.push(Edit { at, removes: from - at, seen, inserts: inserts.into() });
            }
            let expected = by_hand(&source, &edits);
            let patch = Patch::new(source.len() as u64, edits).unwrap();
            prop_assert_eq!(patch.len(), expected.len() as u64);
            prop_assert_eq!(patch.apply(0, source.clone()).unwrap(), expected.clone());

            let (mut at, mut pieces) = (0, Vec::new());
            for len in lengths.iter().cycle() {
                let end = (at + len).min(source.len());
                pieces.extend(patch.apply(at as u64, source.slice(at..end)).unwrap());
                at = end;
                if at == source.len() {
                    break;
                }
            }
            prop_assert_eq!(pieces, expected);
        }
    }
}
