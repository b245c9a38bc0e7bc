//! What is asserted: `src/fuzzed/audio_headers.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wavebatch_fuzz as _;

fuzz_target!(|input: &[u8]| wavebatch::fuzzed::audio_headers(input));
