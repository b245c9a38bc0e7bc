//! ffmpeg as a helper for what this program cannot decode: one file, one demuxer, no network, no playlists.

use std::{
    env,
    io::Read,
    ops::ControlFlow,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};

use super::{Feed, raw::codec_of};
use crate::audio::analyze::{
    error::HearError,
    hearing::{Break, Encoding, Found, HearSettings, RawFormat},
};

/// How often is looked whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// How long its last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes that are read at once, and pieces that wait.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;
/// How much is kept of what it prints: from the beginning, where it names the codec, and the last line.
const KEPT: usize = 16 << 10;
const LAST_LINE: usize = 300;
/// The address space that it may take, in bytes.
const MEMORY: u64 = 2 << 30;
/// The least header of the AU format, and the number of its 16-bit encoding.
const AU_HEAD: usize = 24;
const AU_S16: u32 = 3;

/// What ffmpeg is to read.
pub(super) struct Input {
    demuxer: &'static str,
    /// What it is, for a person.
    what: String,
    container: &'static str,
}

impl Input {
    pub(super) const fn of(demuxer: &'static str, what: String) -> Self {
        Self { demuxer, what, container: demuxer }
    }

    pub(super) fn raw(format: RawFormat) -> Self {
        let demuxer = match format.encoding {
            Encoding::G722 => "g722",
            Encoding::ULaw => "mulaw",
            Encoding::ALaw => "alaw",
            Encoding::S16Le => "s16le",
            Encoding::S16Be => "s16be",
            Encoding::U8 => "u8",
        };
        Self { demuxer, what: codec_of(format.encoding).to_owned(), container: "raw" }
    }
}

/// Reads a whole file.
pub(super) fn read(path: &Path, settings: &HearSettings, input: Input, feed: &mut Feed<'_>) -> Result<(), HearError> {
    let Some(program) = settings.ffmpeg.clone().or_else(on_path) else {
        return Err(HearError::NeedsFfmpeg { what: input.what });
    };
    let path = std::path::absolute(path).map_err(HearError::Read)?;
    let dir = tempfile::tempdir().map_err(HearError::Read)?;
    let mut file = std::ffi::OsString::from("file:");
    file.push(path);
    let mut command = Command::new(&program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(dir.path())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "info", "-threads", "1"])
        .args(["-protocol_whitelist", "file,pipe", "-format_whitelist", input.demuxer])
        .args(["-f", input.demuxer, "-i"])
        .arg(file)
        .args(["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-c:a", "pcm_s16be"])
        .args(["-f", "au", "pipe:1"]);
    let Ok(child) = command.spawn() else {
        return Err(HearError::NeedsFfmpeg { what: input.what });
    };
    let mut helper = Helper::new(child);
    let outcome = helper.run(&input, feed);
    let (finished, printed) = helper.end();
    outcome?;
    if feed.broken.is_some() || feed.ended {
        return Ok(());
    }
    if !finished || feed.found.is_none() {
        let why = last_line(&printed.last).unwrap_or_else(|| "it ended without a word".to_owned());
        if feed.frames == 0 {
            return Err(HearError::Ffmpeg { why });
        }
        let _ = feed.stop_with(Break::Damaged(why));
    }
    Ok(())
}

/// The ffmpeg on PATH.
fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("ffmpeg"))
        .find(|path| path.is_absolute() && path.is_file())
}

/// A running ffmpeg. It and whatever it started end with this.
struct Helper {
    child: Child,
    output: Receiver<Vec<u8>>,
    printed: Option<Receiver<Printed>>,
    codec: Receiver<String>,
}

/// What it printed.
#[derive(Default)]
struct Printed {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Helper {
    fn new(mut child: Child) -> Self {
        limit(&child);
        let (send, output) = sync_channel(WAITING);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || pass_on(stdout, &send));
        }
        let (tell, codec) = sync_channel(1);
        let (ended, printed) = sync_channel(1);
        if let Some(stderr) = child.stderr.take() {
            // Nobody waits for it: something that outlives ffmpeg may hold its end open.
            thread::spawn(move || drop(ended.send(keep(stderr, &tell))));
        }
        let printed = Some(printed);
        Self { child, output, printed, codec }
    }

    fn run(&mut self, input: &Input, feed: &mut Feed<'_>) -> Result<(), HearError> {
        let mut bytes = Vec::new();
        let mut planes: Vec<Vec<f32>> = Vec::new();
        loop {
            match self.output.recv_timeout(LOOK) {
                Ok(piece) => bytes.extend(piece),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    if feed.over()?.is_break() {
                        return Ok(());
                    }
                    continue;
                }
            }
            if planes.is_empty() {
                let Some(head) = AuHead::parse(&bytes)? else { continue };
                let codec = self.codec.recv_timeout(LOOK).unwrap_or_else(|_| input.what.clone());
                feed.begin(Found {
                    container: input.container.to_owned(),
                    codec,
                    rate: head.rate,
                    channels: head.channels,
                    by_ffmpeg: true,
                })?;
                planes = vec![Vec::new(); usize::from(head.channels)];
                bytes.drain(..head.len);
            }
            let frame = planes.len() * 2;
            let whole = bytes.len() - bytes.len() % frame;
            let samples = bytes[..whole].as_chunks::<2>().0;
            let channels = planes.len();
            for (channel, plane) in planes.iter_mut().enumerate() {
                plane.clear();
                let own = samples.iter().skip(channel).step_by(channels);
                plane.extend(own.map(|bytes| f32::from(i16::from_be_bytes(*bytes)) / 32_768.0));
            }
            bytes.drain(..whole);
            if feed.push(&mut planes)? == ControlFlow::Break(()) {
                return Ok(());
            }
        }
    }

    /// Ends it. Whether it had ended well by itself, and what it printed.
    fn end(mut self) -> (bool, Printed) {
        // Its output is closed once it ends: a moment later it has.
        let mut status = None;
        for _ in 0..20 {
            status = self.child.try_wait().ok().flatten();
            if status.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        let printed = self.printed.take().and_then(|printed| printed.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        (status.is_some_and(|status| status.success()), printed)
    }

    fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if self.printed.is_some() {
            self.kill();
        }
    }
}

/// Bounds its memory, and forbids it to write files.
fn limit(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    for (resource, most) in [(Resource::As, MEMORY), (Resource::Fsize, 0), (Resource::Core, 0)] {
        // Where this is not allowed, the bounds of time and output hold all the same.
        let _ = prlimit(pid, resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
}

fn pass_on(mut from: impl Read, to: &SyncSender<Vec<u8>>) {
    let mut piece = vec![0; PIECE];
    while let Ok(has @ 1..) = from.read(&mut piece) {
        if to.send(piece[..has].to_vec()).is_err() {
            break;
        }
    }
}

/// Reads all that it prints and keeps little of it.
fn keep(mut from: impl Read, tell: &SyncSender<String>) -> Printed {
    let mut printed = Printed::default();
    let mut piece = vec![0; 4 << 10];
    let mut told = false;
    while let Ok(has @ 1..) = from.read(&mut piece) {
        let room = KEPT - printed.first.len();
        printed.first.extend(&piece[..has.min(room)]);
        printed.last.extend(&piece[..has]);
        let surplus = printed.last.len().saturating_sub(KEPT);
        printed.last.drain(..surplus);
        if !told && let Some(codec) = codec_in(&printed.first) {
            told = tell.try_send(codec).is_ok();
        }
    }
    printed
}

/// The codec in a line such as `Stream #0:0: Audio: amr_nb (samr / …), 8000 Hz, mono, flt`.
fn codec_in(printed: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(printed);
    let line = text.lines().find(|line| line.contains("Stream #0") && line.contains("Audio: "))?;
    let name = line.split("Audio: ").nth(1)?.split([' ', ',']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The last line with anything in it, without control characters.
fn last_line(printed: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(printed);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(LAST_LINE).collect())
}

/// The header of what it writes.
struct AuHead {
    len: usize,
    rate: u32,
    channels: u16,
}

impl AuHead {
    /// `None`: more is needed.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, HearError> {
        let odd = || HearError::Ffmpeg { why: "it wrote something else than was asked for".to_owned() };
        let Some(head) = bytes.first_chunk::<AU_HEAD>() else { return Ok(None) };
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = number(4) as usize;
        if !head.starts_with(b".snd") || !(AU_HEAD..=4_096).contains(&len) || number(12) != AU_S16 {
            return Err(odd());
        }
        let channels = u16::try_from(number(20)).ok().filter(|channels| *channels > 0).ok_or_else(odd)?;
        Ok((bytes.len() >= len).then_some(Self { len, rate: number(16), channels }))
    }
}
