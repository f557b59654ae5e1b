//! Whatever the header says, it is read without a panic, case and spaces do not matter, and our own
//! name in front of a directive for all changes nothing.
#![no_main]

use capfilt_fetch::tags::refusal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    let refused = refusal(value);
    assert_eq!(refusal(&value.to_ascii_uppercase()), refused);
    assert_eq!(refusal(&format!(" {value} ")), refused);
    assert_eq!(refusal(&format!("otherbot: x, capfilt: x, {value}")), refused);
    if refused.is_none() {
        assert_eq!(refusal(&format!("{value}, *: noai")), Some("noai"));
    }
});
