//! Reads MP3 frame by frame from a stream, without the tags and headers around the frames.

use std::io::{self, Read};

use super::{
    Header,
    info::{self, Info},
};
use crate::audio::AudioError;

/// The read-ahead buffer, in bytes: room for the longest frame and [`MAX_JUNK`].
const WINDOW: usize = 64 << 10;
/// The most bytes, neither frame nor known tag, that are skipped at either end.
const MAX_JUNK: usize = 16 << 10;

/// One frame of audio.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// The whole frame, with its header.
    pub bytes: &'a [u8],
    /// Whether it needs bytes from before the first frame: alone it cannot be decoded, and after another part it would be
    /// decoded with that part's bytes. See [`Frame::muted`].
    pub needs_earlier_data: bool,
}

impl Frame<'_> {
    /// The frame made silent; later frames that need its bytes still find them.
    #[must_use]
    pub fn muted(&self) -> Vec<u8> {
        let mut frame = self.bytes.to_vec();
        self.header.mute(&mut frame);
        frame
    }
}

/// Reads the frames of one MP3 file. It skips ID3v2 tags before them, ID3v1 and APE tags after them, and a first frame that
/// holds a Xing, Info or VBRI header and no audio.
#[derive(Debug)]
pub struct Frames<R> {
    input: R,
    window: Vec<u8>,
    /// The position of the next byte in the window, and the end of the bytes.
    next: usize,
    end: usize,
    /// The position of the next byte in the stream.
    at: u64,
    /// The first header, with which all others must agree.
    kind: Option<Header>,
    info: Option<Info>,
    frames: u64,
    /// Bytes of main data so far that a frame may refer back to.
    main_data: usize,
    done: bool,
}

impl<R: Read> Frames<R> {
    /// Reads from the start of a file.
    pub fn new(input: R) -> Self {
        Self {
            input,
            window: vec![0; WINDOW],
            next: 0,
            end: 0,
            at: 0,
            kind: None,
            info: None,
            frames: 0,
            main_data: 0,
            done: false,
        }
    }

    /// The header (Xing, Info, VBRI) in the first frame, which then is no audio; known after the first read.
    pub const fn info(&self) -> Option<Info> {
        self.info
    }

    /// The next frame of audio; `None` after the last.
    ///
    /// # Errors
    /// `NotThat` if no frame is found, `Empty` if there are no bytes or no audio, `CutShort` if the last frame or frames of a
    /// declared number are missing, `Junk` if other bytes are between frames, `Read`.
    pub fn read_frame(&mut self) -> Result<Option<Frame<'_>>, AudioError> {
        if self.done {
            return Ok(None);
        }
        if self.kind.is_none() {
            self.begin()?;
        }
        let kind = self.kind;
        self.fill(Header::LEN)?;
        let Some(header) = Header::parse(self.rest()).filter(|h| kind.is_none_or(|kind| h.is_like(kind))) else {
            self.finish()?;
            self.done = true;
            return Ok(None);
        };
        let len = header.frame_len();
        if self.fill(len)? < len {
            let has = self.rest().len() as u64;
            return Err(AudioError::CutShort { unit: "bytes of its last frame", has, declared: len as u64 });
        }
        if info::is_alone(header, &self.rest()[..len]) {
            return Err(AudioError::Junk { at: self.at });
        }
        let start = self.next;
        self.skip_in_window(len);
        self.frames += 1;
        let bytes = &self.window[start..start + len];
        let needs_earlier_data = header.main_data_begin(bytes) > self.main_data;
        self.main_data = self.main_data.saturating_add(len - header.main_data_offset());
        Ok(Some(Frame { header, bytes, needs_earlier_data }))
    }

    /// Finds the first frame, and skips it if it is a header.
    fn begin(&mut self) -> Result<(), AudioError> {
        while self.fill(10)? >= 10 && self.rest().starts_with(b"ID3") {
            let tag = self.rest();
            let size = tag[6..10].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7F));
            let footer = if tag[5] & 0x10 == 0 { 0 } else { 10 };
            self.skip(10 + size + footer)?;
        }
        if self.fill(WINDOW)? == 0 {
            return Err(AudioError::Empty);
        }
        let junk = (0..=MAX_JUNK)
            .find(|at| self.is_frame(*at))
            .ok_or_else(|| AudioError::NotThat { format: "MP3", why: "no frame was found".into() })?;
        self.skip_in_window(junk);
        self.kind = Header::parse(self.rest());
        self.info = self.kind.and_then(|kind| info::of(kind, self.rest().get(..kind.frame_len())?));
        if let Some(info) = self.info {
            self.skip_in_window(info.frame_len);
        }
        Ok(())
    }

    /// Whether a frame begins at this position of the window: another frame, a tag or the end must follow it directly.
    fn is_frame(&self, at: usize) -> bool {
        let rest = self.rest().get(at..).unwrap_or_default();
        let Some(header) = Header::parse(rest).filter(|h| self.kind.is_none_or(|kind| h.is_like(kind))) else {
            return false;
        };
        match rest.get(header.frame_len()..) {
            Some([]) => true,
            Some(after) => {
                Header::parse(after).is_some_and(|next| next.is_like(header))
                    || after.starts_with(b"TAG")
                    || after.starts_with(b"APETAGEX")
            }
            // The file ends within its very first frame: "cut short" is a better message than "no frame".
            None => at == 0 && self.kind.is_none(),
        }
    }

    /// Skips what may follow the last frame, and checks that nothing is missing.
    fn finish(&mut self) -> Result<(), AudioError> {
        self.fill(32)?;
        if self.rest().starts_with(b"APETAGEX") && self.rest().len() >= 32 {
            let size = self.rest()[12..16].iter().rev().fold(0, |size, byte| size << 8 | u64::from(*byte));
            // Its size covers the items and the footer, not this header of 32 bytes.
            self.skip(32 + size)?;
        }
        let left = self.fill(WINDOW)?;
        if left > MAX_JUNK || (0..left).any(|at| self.is_frame(at)) {
            return Err(AudioError::Junk { at: self.at });
        }
        // The rest is shorter than a header, and begins like one. (An ID3v1 tag is junk of 128 bytes.)
        if left < Header::LEN && self.rest().first() == Some(&0xFF) {
            return Err(AudioError::CutShort { unit: "bytes of its last frame", has: left as u64, declared: 4 });
        }
        match self.info.and_then(|info| info.frames) {
            // Some writers count the header's own frame.
            Some(declared) if declared > self.frames + 1 => {
                Err(AudioError::CutShort { unit: "frames", has: self.frames, declared })
            }
            _ if self.frames == 0 => Err(AudioError::Empty),
            _ => Ok(()),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.window[self.next..self.end]
    }

    /// Reads until the window has `wanted` bytes, or the stream ends; returns how many it has.
    fn fill(&mut self, wanted: usize) -> Result<usize, AudioError> {
        if self.end - self.next >= wanted {
            return Ok(self.end - self.next);
        }
        self.window.copy_within(self.next..self.end, 0);
        (self.next, self.end) = (0, self.end - self.next);
        while self.end < WINDOW {
            match self.input.read(&mut self.window[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(AudioError::Read(error)),
            }
        }
        Ok(self.end)
    }

    /// Skips bytes in the window.
    fn skip_in_window(&mut self, len: usize) {
        self.next += len;
        self.at += len as u64;
    }

    /// Skips `len` bytes, or to the end.
    fn skip(&mut self, mut len: u64) -> Result<(), AudioError> {
        while len > 0 {
            let here = usize::try_from(len).unwrap_or(usize::MAX).min(self.fill(1)?);
            if here == 0 {
                break;
            }
            self.skip_in_window(here);
            len -= here as u64;
        }
        Ok(())
    }
}
