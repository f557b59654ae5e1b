//! The fields of a processor's file, taken one by one until none is left.

use serde_json::{Map, Value};

use crate::error::ImportError;

pub(super) struct Fields {
    /// What names of fields are told with: the file, and the object in it.
    file: String,
    left: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(file: String, left: Map<String, Value>) -> Self {
        Self { file, left }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// A step that is done or not; `null` is not.
    pub(super) fn flag(&mut self, name: &str, absent: bool) -> Result<bool, ImportError> {
        match self.take(name) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::Null) => Ok(false),
            Some(other) => Err(self.refuse(name, &other, "true or false")),
        }
    }

    /// Refuses a field that is there, `null` too, and is not what `fits`.
    pub(super) fn exactly(
        &mut self,
        name: &str,
        expected: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<(), ImportError> {
        match self.take(name) {
            Some(value) if !fits(&value) => Err(self.refuse(name, &value, expected)),
            _ => Ok(()),
        }
    }

    /// Refuses a field that is there with a value, and is not what `fits`.
    pub(super) fn if_set(
        &mut self,
        name: &str,
        expected: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<(), ImportError> {
        self.exactly(name, expected, |value| value.is_null() || fits(value))
    }

    pub(super) fn drop_all(&mut self, names: &[&str]) {
        self.left.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// Refuses what is left, unless it asks for nothing: `null`, and a step that is not done.
    pub(super) fn finish(&self) -> Result<(), ImportError> {
        let asks = |(name, value): &(&String, &Value)| {
            !(value.is_null() || (name.starts_with("do_") && **value == false))
        };
        match self.left.iter().find(asks) {
            None => Ok(()),
            Some((name, value)) => Err(self.refuse(
                name,
                value,
                "no such field: it is not known here, and could change every picture; remove it if the model was trained without it",
            )),
        }
    }

    pub(super) fn refuse(&self, name: &str, got: &Value, expected: &str) -> ImportError {
        self.refuse_text(name, &got.to_string(), expected)
    }

    pub(super) fn refuse_text(&self, name: &str, got: &str, expected: &str) -> ImportError {
        ImportError::Config {
            field: format!("{}{name}", self.file),
            reason: format!("{got}, expected {expected}"),
        }
    }
}

/// A number as the models take it, if it is one.
pub(super) fn number(value: &Value) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to nearest; what is too large is not finite"
    )]
    let number = value.as_f64()? as f32;
    number.is_finite().then_some(number)
}
