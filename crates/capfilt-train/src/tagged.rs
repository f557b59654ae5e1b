//! Tables one key of which says what the others are. What serde makes for `tag` forgets at which
//! key of the table an error was; here it is told.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

/// A table without the key that says what it is.
pub(crate) struct Tagged(Table);

impl Tagged {
    /// What the key `tag` says, and the rest of the table.
    pub(crate) fn read<'de, D: Deserializer<'de>>(
        tag: &'static str,
        deserializer: D,
    ) -> Result<(String, Self), D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        match table.remove(tag) {
            Some(Value::String(kind)) => Ok((kind, Self(table))),
            Some(other) => Err(D::Error::custom(format!(
                "`{tag}` is {other}, expected a text"
            ))),
            None => Err(D::Error::missing_field(tag)),
        }
    }

    /// The rest as a `T`.
    pub(crate) fn of<T: DeserializeOwned, E: Error>(self) -> Result<T, E> {
        self.0.try_into().map_err(E::custom)
    }
}
