use super::*;

#[test]
fn devices_are_read_and_written() {
    for (typed, device) in [
        ("auto", Device::Auto),
        ("cpu", Device::Cpu),
        ("cuda:0", Device::Cuda(0)),
        ("cuda:12", Device::Cuda(12)),
    ] {
        assert_eq!(typed.parse(), Ok(device));
        assert_eq!(device.to_string(), typed);
        assert_eq!(
            serde_json::from_str::<Device>(&format!("{typed:?}")).unwrap(),
            device
        );
    }
}

#[test]
fn other_words_are_refused_with_what_would_do() {
    for typed in [
        "cuda",
        "cuda:",
        "cuda:-1",
        "cuda:+1",
        "cuda:4000",
        "CPU",
        "gpu",
        "",
    ] {
        let message = typed.parse::<Device>().unwrap_err().to_string();
        assert!(
            message.contains(&format!("`{typed}`")) && message.contains("`cuda:N`"),
            "{message}"
        );
    }
}
