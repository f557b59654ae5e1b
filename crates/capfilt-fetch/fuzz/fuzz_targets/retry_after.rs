//! Seconds and dates are read without a panic, and digits alone mean seconds.
#![no_main]

use std::time::{Duration, SystemTime};

use capfilt_fetch::retry::retry_after;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let pause = retry_after(value, now);
    if let Ok(seconds) = value.trim().parse::<u32>()
        && !value.contains('+')
    {
        assert_eq!(pause, Some(Duration::from_secs(seconds.into())));
    }
});
