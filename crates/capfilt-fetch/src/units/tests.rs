use super::*;

#[test]
fn sizes_read_as_people_write_them() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("20 MiB", 20 << 20),
        ("20mib", 20 << 20),
        (" 500 kB ", 500_000),
        ("1.5 GB", 1_500_000_000),
        ("0.1 KiB", 102),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_an_example() {
    for text in [
        "",
        "MiB",
        "-1 B",
        "1e3",
        "20 MiX",
        "1. MB",
        "99999999999 GiB",
        "ten",
    ] {
        let error = text.parse::<ByteSize>().unwrap_err();
        assert!(error.to_string().contains("20 MiB"), "{text}: {error}");
    }
}

#[test]
fn durations_read_as_people_write_them() {
    for (text, ms) in [
        ("10s", 10_000),
        ("250ms", 250),
        ("1.5 s", 1_500),
        ("2m", 120_000),
        ("1h", 3_600_000),
    ] {
        assert_eq!(
            text.parse(),
            Ok(Timeout(Duration::from_millis(ms))),
            "{text}"
        );
    }
    for text in ["", "10", "0s", "s", "-3s", "5 days"] {
        assert!(text.parse::<Timeout>().is_err(), "{text}");
    }
}

#[test]
fn what_is_printed_reads_back() {
    for bytes in [
        0,
        1,
        999,
        1_000,
        1_024,
        20 << 20,
        3_000_000,
        1 << 40,
        u64::MAX,
    ] {
        let text = ByteSize(bytes).to_string();
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    assert_eq!(ByteSize(20 << 20).to_string(), "20 MiB");
    for ms in [1, 250, 1_000, 1_500, 90_000, 3_600_000] {
        let text = Timeout(Duration::from_millis(ms)).to_string();
        assert_eq!(
            text.parse(),
            Ok(Timeout(Duration::from_millis(ms))),
            "{text}"
        );
    }
    assert_eq!(Timeout(Duration::from_secs(10)).to_string(), "10s");
}
