//! How fast texts are cut, and that a paragraph's length does not matter. `cargo bench --bench cutting [-- MB]`
#![expect(clippy::print_stdout, reason = "a bench is there to print")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use wavebatch::domain::{
    cut::{SentenceRules, parts},
    synthesis_options::PART_CHARS,
};

const ENGLISH: &str = "It was a dark night, and Mr. Hale (who had walked 3.5 miles in the rain) stood before the \
    door; nobody came. “Is there anyone?” he asked. “There is,” said a voice — it was not a friendly one — “but not \
    for you!” He waited... then he knocked again, e.g. with his stick. ";
const HINDI: &str = "रात अँधेरी थी, और डॉ. शर्मा बारिश में खड़े थे। दरवाज़ा बंद था; कोई नहीं आया। क्या यहाँ कोई है? उन्होंने फिर पूछा। ";
const CHINESE: &str = "那是一个漆黑的夜晚，他站在门前，没有人来。“有人吗？”他问。雨下了３．５个小时……他又敲了敲门！";
const UNBROKEN: &str = "theraindidnotstop";
/// Paragraphs of about this many bytes.
const PARAGRAPH: usize = 20_000;

fn main() {
    let asked = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let bytes = asked.unwrap_or(20_usize) * 1_000_000;
    for (name, sample) in [("English prose", ENGLISH), ("Hindi", HINDI), ("Chinese", CHINESE)] {
        measure(name, &paragraphs_of(sample, bytes));
    }
    for (name, sample) in [("words without a stop", "and the rain went on "), ("one endless word", UNBROKEN)] {
        let short = measure(&format!("{name}, 1 MB paragraph"), &sample.repeat(1_000_000 / sample.len()));
        let long = measure(&format!("{name}, 10 MB paragraph"), &sample.repeat(10_000_000 / sample.len()));
        println!("{name}: 10 MB to 1 MB in one paragraph: factor {:.1} (linear: 10)", ratio(long, short));
    }
}

fn paragraphs_of(sample: &str, bytes: usize) -> String {
    let paragraph = sample.repeat(PARAGRAPH / sample.len()) + "\n\n";
    paragraph.repeat(bytes / paragraph.len())
}

/// The best of three.
fn measure(name: &str, text: &str) -> Duration {
    let once = || {
        let start = Instant::now();
        let count = parts(black_box(text), PART_CHARS, SentenceRules::default()).map(black_box).count();
        (start.elapsed(), count)
    };
    let (took, count) = (0..3).map(|_| once()).min().expect("three");
    let mb = text.len() as f64 / 1e6;
    println!("{name}: {:.0} MB/s ({mb:.0} MB, {count} parts, {took:.0?})", mb / took.as_secs_f64());
    took
}

fn ratio(long: Duration, short: Duration) -> f64 {
    long.as_secs_f64() / short.as_secs_f64()
}
