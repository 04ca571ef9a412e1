//! Runs `icecore_testkit::fuzz::sealed` on what libFuzzer makes.
#![no_main]

use icecore_testkit::fuzz::sealed::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_fuzz::run(check, bytes));
