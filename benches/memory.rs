//! Peak memory while large recordings are sent: 16 files of 100 MB, 8 at once. Whole processes; the sandbox runs in another.
//!
//! `cargo bench --bench memory` (Linux: the peak is read from /proc)
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use wavebatch::{
    audio::wav,
    sandbox::{Config, Sandbox},
};

const FILES: usize = 16;
const BYTES: usize = 100_000_000;
const AT_ONCE: &str = "8";

fn main() {
    if env::args().nth(1).as_deref() == Some("sandbox") {
        return sandbox();
    }
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let rec = dir.path().join("rec");
    fs::create_dir(&rec).expect("a folder");
    for i in 0..FILES {
        // The header of a recording of that length, and silence that takes no room on the disk.
        let small = wav::pcm16(1, 16_000, None, &[0; 8]);
        let mut file = File::create(rec.join(format!("{i:02}.wav"))).expect("a file");
        let data = u32::try_from(BYTES + 16 * i).expect("below 4 GB");
        let mut head = small[..small.len() - 16].to_vec();
        let riff = u32::try_from(head.len()).expect("small") - 8 + data;
        let at = head.len() - 4;
        head[4..8].copy_from_slice(&riff.to_le_bytes());
        head[at..].copy_from_slice(&data.to_le_bytes());
        file.write_all(&head).expect("a header");
        file.set_len(head.len() as u64 + u64::from(data)).expect("a length");
    }
    fs::write(dir.path().join("limits.toml"), "[limits.pulse]\nrequests_per_minute = 0\n").expect("a file");
    let mut server = Command::new(env::current_exe().expect("this program"))
        .arg("sandbox")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut url = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut url).expect("its address");
    let begin = Instant::now();
    let mut run = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(dir.path())
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", url.trim())
        .env_remove("WAVEBATCH_DATABASE")
        .args(["run", "rec", "--task", "transcribe", "--model", "pulse", "--language", "en", "--formats", "json"])
        .args(["--concurrency", AT_ONCE, "--config", "limits.toml", "-q"])
        .stdin(Stdio::null())
        .spawn()
        .expect("wavebatch");
    let status = format!("/proc/{}/status", run.id());
    let mut peak = 0;
    let exit = loop {
        if let Some(kb) = fs::read_to_string(&status).ok().and_then(|text| peak_kb(&text)) {
            peak = kb;
        }
        if let Some(exit) = run.try_wait().expect("a child") {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let seconds = begin.elapsed().as_secs_f64();
    let _ = server.kill();
    let _ = server.wait();
    assert!(exit.success(), "{exit}");
    println!("{FILES} files of 100 MB, {AT_ONCE} at once: peak memory {:.0} MB, {seconds:.1} s", peak as f64 / 1_000.0);
}

fn peak_kb(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().split(' ').next()?.parse().ok()
}

#[tokio::main]
async fn sandbox() {
    let sandbox = Sandbox::start(Config::default()).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}
