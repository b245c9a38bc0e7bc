//! What is asserted: `src/fuzzed/definitions.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| wavebatch::fuzzed::definitions(wavebatch_fuzz::folder(), input));
