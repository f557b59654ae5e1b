use super::*;

#[test]
fn seconds_are_dates() {
    for (seconds, date) in [
        (0, "1970-01-01 00:00 UTC"),
        (951_782_400, "2000-02-29 00:00 UTC"),
        (1_709_251_199, "2024-02-29 23:59 UTC"),
        (1_709_251_200, "2024-03-01 00:00 UTC"),
        (4_102_444_800, "2100-01-01 00:00 UTC"),
    ] {
        assert_eq!(utc(seconds), date);
    }
}
