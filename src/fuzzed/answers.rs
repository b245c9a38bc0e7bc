//! What comes back from a transcription: a 200 or an error, read into an outcome, and the transcript in it rendered in
//! every format. The first two bytes are the status and how the reply ended; the rest is the body.

use crate::{
    domain::{body::Body, call::Outcome, cut::SentenceRules, options::TranscriptFormat, transcript::Transcript},
    render,
    waves::fuzz::{Reply, stt_outcome},
};

const STATUSES: [u16; 16] = [200, 200, 200, 200, 202, 302, 400, 401, 402, 403, 404, 422, 429, 500, 503, 504];

/// One input.
///
/// # Panics
/// On a finding.
pub fn answers(input: &[u8]) {
    let [status, how, body @ ..] = input else { return };
    let status = STATUSES[usize::from(status & 15)];
    let reply = Reply { status, body, posted: how & 1 != 0, framed: how & 2 != 0, cut: how & 12 == 12 };
    let outcome = stt_outcome(&reply);
    match outcome {
        Outcome::Answered(answer) => {
            assert!(status < 300 && !reply.cut);
            assert_eq!(answer.body.whole().expect("it was packed just now"), body, "an answer is kept byte for byte");
            let transcript = Transcript::of(&answer.body).expect("what counts as an answer can be read");
            assert_eq!(answer.transcript.as_ref(), Some(&transcript));
            assert_eq!(Transcript::text_of(&answer.body).expect("likewise"), transcript.text);
            rendered(&transcript, &answer.body);
        }
        Outcome::Accepted { .. } => assert!(reply.posted && status < 300),
        Outcome::Refused(failure) => {
            assert!(status >= 300 && failure.retry_after.is_none(), "no header asked for a wait");
            well_said(&failure.message);
            assert_eq!(failure.status, Some(status));
        }
        Outcome::Unknown(failure) => well_said(&failure.message),
        Outcome::Unusable(failure) => {
            assert!(status < 300);
            well_said(&failure.message);
        }
        other => panic!("a reply was there, and yet: {other:?}"),
    }
}

/// One line of bounded length.
fn well_said(message: &str) {
    assert!(!message.is_empty() && message.len() < 4_000, "{} bytes", message.len());
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

fn rendered(transcript: &Transcript, answer: &Body) {
    let render = |format| {
        render::render(format, transcript, answer, SentenceRules::default()).expect("memory takes what it is given").0
    };
    assert_eq!(render(TranscriptFormat::Json), answer.whole().expect("it was packed just now"));
    let _ = render(TranscriptFormat::Txt);
    for format in [TranscriptFormat::Srt, TranscriptFormat::Vtt] {
        let file = render(format);
        let file = std::str::from_utf8(&file).expect("captions are text");
        let mut last_end = 0;
        for line in file.lines().filter(|line| line.contains(" --> ")) {
            let Some((start, end)) = line.split_once(" --> ") else { continue };
            let (start, end) = (clock(start), clock(end));
            assert!(start >= last_end && end > start, "{line} after {last_end}");
            last_end = end;
        }
        if let Some(length) = transcript.duration_ms.filter(|ms| *ms > 0) {
            assert!(last_end <= length, "beyond {length} ms");
        }
    }
}

fn clock(text: &str) -> u64 {
    let fields: Vec<u64> = text.split([':', '.', ',']).map(|digits| digits.parse().expect("a time")).collect();
    let [hours, minutes, seconds, ms] = fields[..] else { panic!("{text} is no time") };
    ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms
}
