use super::*;

#[test]
fn every_outcome_is_listed_once_under_the_name_that_is_stored() {
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, index);
        assert_eq!(serde_json_name(outcome), outcome.as_str());
    }
    assert_eq!(Outcome::ALL.last(), Some(&Outcome::Broken));
}

fn serde_json_name(outcome: Outcome) -> String {
    // `Serialize` of a unit variant reaches `serialize_unit_variant` with the renamed name.
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let name = outcome.as_str();
    let deserializer: StrDeserializer<'_, Error> = name.into_deserializer();
    Outcome::deserialize(deserializer).unwrap().to_string()
}

#[test]
fn a_status_has_one_meaning() {
    for (status, outcome) in [
        (200, Outcome::Ok),
        (203, Outcome::Ok),
        (204, Outcome::UnexpectedStatus),
        (205, Outcome::UnexpectedStatus),
        (206, Outcome::Ok),
        (304, Outcome::UnexpectedStatus),
        (400, Outcome::UnexpectedStatus),
        (403, Outcome::Forbidden),
        (404, Outcome::NotFound),
        (408, Outcome::ServerError),
        (410, Outcome::Gone),
        (418, Outcome::UnexpectedStatus),
        (429, Outcome::TooManyRequests),
        (451, Outcome::Forbidden),
        (503, Outcome::ServerError),
        (999, Outcome::UnexpectedStatus),
    ] {
        assert_eq!(Outcome::of_status(status), outcome, "{status}");
    }
}

#[test]
fn only_what_may_pass_by_itself_is_transient() {
    let transient: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|o| o.is_transient())
        .collect();
    assert_eq!(
        transient,
        [
            Outcome::RobotsUnreachable,
            Outcome::TooManyRequests,
            Outcome::HostSuspended,
            Outcome::ServerError,
            Outcome::TimedOut,
            Outcome::Dns,
            Outcome::Connect,
            Outcome::Broken
        ]
    );
}
