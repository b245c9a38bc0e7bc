//! What is asserted: `src/fuzzed/manifests.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| wavebatch::fuzzed::manifests(wavebatch_fuzz::folder(), input));
