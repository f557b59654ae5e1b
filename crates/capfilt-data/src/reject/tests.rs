use super::*;

#[test]
fn the_stored_name_is_the_serialised_name() {
    for reason in Reject::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        assert_eq!(reason.as_str().parse::<Reject>().unwrap(), *reason);
    }
}

#[test]
fn a_name_outside_the_set_is_refused() {
    assert_eq!(
        "NotFound".parse::<Reject>().unwrap_err().to_string(),
        "`NotFound` is no reject reason"
    );
}

#[test]
fn only_trouble_that_passes_is_transient() {
    let transient: Vec<_> = Reject::ALL
        .iter()
        .filter(|reason| reason.is_transient())
        .map(|reason| reason.as_str())
        .collect();
    assert_eq!(
        transient,
        [
            "robots-unreachable",
            "too-many-requests",
            "host-suspended",
            "server-error",
            "timed-out",
            "dns",
            "connect",
            "broken"
        ]
    );
}
