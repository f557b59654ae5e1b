//! Sizes and durations: what is read is written and read again as the same.
#![no_main]

use capfilt_fetch::{ByteSize, Timeout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
    }
    if let Ok(timeout) = text.parse::<Timeout>() {
        assert_eq!(timeout.to_string().parse::<Timeout>(), Ok(timeout));
    }
});
