//! Remove pictures that are there more than once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duplicates::Distance;

/// Which pictures count as duplicates. Of those that match, the first stays: pictures of evaluation
/// sets before those that earlier runs kept, and those before this run's.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Dedup {
    /// In how many of their 64 bits the perceptual hashes of duplicates may differ, 0 to 3. Pictures
    /// whose bytes are the same are duplicates anyway.
    pub distance: Distance,
    /// Globs of Parquet files with pictures of evaluation sets, relative to the pipeline file: what
    /// resembles one of those is removed, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Dedup, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn everything_has_a_default() {
        let dedup = parsed("").unwrap();
        assert_eq!(dedup.distance, Distance::LARGEST);
        assert_eq!(dedup.against, Vec::<String>::new());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "distance = 2\nagainst = [\"eval/coco/*.parquet\"]\n";
        let dedup = parsed(text).unwrap();
        assert_eq!(dedup.distance.bits(), 2);
        assert_eq!(toml::to_string(&dedup).unwrap(), text);
    }

    #[test]
    fn a_distance_that_bands_cannot_find_is_refused() {
        let error = parsed("distance = 4").unwrap_err();
        assert!(
            error.contains("4 bits is too large; expected 0 to 3"),
            "{error}"
        );
        assert!(parsed("distance = -1").is_err());
        let error = parsed("distances = 3").unwrap_err();
        assert!(error.contains("unknown field `distances`"), "{error}");
    }
}
