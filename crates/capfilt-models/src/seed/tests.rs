use super::*;

fn hex(seed: [u8; 32]) -> String {
    let bytes = seed.map(|byte| format!("{byte:02x}"));
    bytes.concat()
}

#[test]
fn the_seed_is_the_documented_digest() {
    // From Python's hashlib.
    assert_eq!(
        hex(row_seed(7, "caption", "shard:12")),
        "0b72dd1194862742e79e5f60ccedf65a052186663dded3bfcac1c1cc95c82393"
    );
}

#[test]
fn seed_stage_and_row_each_change_it() {
    let base = row_seed(7, "caption", "1");
    assert_ne!(base, row_seed(8, "caption", "1"));
    assert_ne!(base, row_seed(7, "captio", "n1"));
    assert_ne!(base, row_seed(7, "caption", "2"));
}
