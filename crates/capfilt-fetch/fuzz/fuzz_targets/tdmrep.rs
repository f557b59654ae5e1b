//! Whatever the file holds, it is read and asked without a panic.
#![no_main]

use capfilt_fetch::tdm::Reservations;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str)| {
    let (json, path) = input;
    let rules = Reservations::parse(json);
    let answer = rules.reserve(path);
    assert_eq!(rules.reserve(path), answer);
    // A rule without a pattern that matches cannot come out of thin air.
    if !json.windows(1).any(|byte| byte == b"/" || byte == b"*" || byte == b"\\") {
        assert!(!answer);
    }
});
