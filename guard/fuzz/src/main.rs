//! The fuzz target: libFuzzer hands over texts, mutated towards new paths through
//! the guard; `run.sh` builds and starts it. A property that fails panics, which
//! ends the process and leaves the text in a file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // The guard takes text only; broken UTF-8 ends in the type before it.
    if let Ok(sql) = std::str::from_utf8(text) {
        nla_guard_fuzz::holds(sql);
    }
});
