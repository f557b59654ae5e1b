//! Numbers of training files, of types that hold nothing out of range.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use End::{Excluded, Included};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// From 0 to below 1: what is dropped, smoothed, or kept of a moving average.
pub type Share<F = f64> = Number<BelowOne, F>;
/// From 0 to 1: how much of one thing and how little of another.
pub type Blend = Number<UpToOne>;
/// Above 0 and up to 1: a part of something, which is not empty.
pub type Part = Number<AboveZeroUpToOne>;
/// From 0, which counts nothing, to a million.
pub type Weight<F = f64> = Number<UpToAMillion, F>;
/// Above 0 and up to a thousand million.
pub type Positive<F = f64> = Number<AboveZero, F>;
/// From 0 to 10: a learning rate. Larger ones are slips of the exponent.
pub type Rate = Number<UpToTen>;
/// A learning rate that teaches something.
pub type Peak = Number<AboveZeroUpToTen>;

/// An end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// This number belongs to the range.
    Included(f64),
    /// It does not.
    Excluded(f64),
}

/// A range of numbers.
pub trait Range {
    /// Where it begins.
    const LEAST: End;
    /// Where it ends.
    const MOST: End;
}

macro_rules! ranges {
    ($($(#[$doc:meta])* $name:ident: $least:expr, $most:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;

        impl Range for $name {
            const LEAST: End = $least;
            const MOST: End = $most;
        }
    )*};
}

ranges! {
    /// See [`Share`].
    BelowOne: Included(0.0), Excluded(1.0);
    /// See [`Blend`].
    UpToOne: Included(0.0), Included(1.0);
    /// See [`Part`].
    AboveZeroUpToOne: Excluded(0.0), Included(1.0);
    /// See [`Weight`].
    UpToAMillion: Included(0.0), Included(1e6);
    /// See [`Positive`].
    AboveZero: Excluded(0.0), Included(1e9);
    /// See [`Rate`].
    UpToTen: Included(0.0), Included(10.0);
    /// See [`Peak`].
    AboveZeroUpToTen: Excluded(0.0), Included(10.0);
}

/// A float that a training file may have.
pub trait Float: Copy + Debug + Display + Into<f64> + JsonSchema {}

impl Float for f32 {}
impl Float for f64 {}

/// A finite number of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<R, F = f64>(F, PhantomData<R>);

/// A number out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("got {got}, expected {expected}")]
pub struct NumberError {
    /// The number.
    pub got: String,
    /// The range.
    pub expected: String,
}

impl<R, F: Float> Number<R, F> {
    /// A number that the program itself says; [`Number::new`] is for all others.
    pub(crate) const fn known(number: F) -> Self {
        Self(number, PhantomData)
    }

    /// The number.
    pub const fn get(self) -> F {
        self.0
    }
}

impl<R: Range, F: Float> Number<R, F> {
    /// The number, if it is finite and within the range.
    pub fn new(number: F) -> Result<Self, NumberError> {
        let value: f64 = number.into();
        let is_above = match R::LEAST {
            Included(least) => value >= least,
            Excluded(least) => value > least,
        };
        let is_below = match R::MOST {
            Included(most) => value <= most,
            Excluded(most) => value < most,
        };
        // No comparison holds for what is no number.
        if is_above && is_below {
            return Ok(Self::known(number));
        }
        Err(NumberError {
            got: number.to_string(),
            expected: range::<R>(),
        })
    }
}

/// A range in words.
fn range<R: Range>() -> String {
    let least = match R::LEAST {
        Included(least) => format!("at least {least}"),
        Excluded(least) => format!("above {least}"),
    };
    let most = match R::MOST {
        Included(most) => format!("at most {most}"),
        Excluded(most) => format!("below {most}"),
    };
    format!("{least} and {most}")
}

impl<R, F: Serialize> Serialize for Number<R, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, R: Range, F: Float + Deserialize<'de>> Deserialize<'de> for Number<R, F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(F::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<R: Range, F: Float> JsonSchema for Number<R, F> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({"type": "number"});
        if let Some(format) = F::json_schema(generator).get("format") {
            schema.insert("format".to_owned(), format.clone());
        }
        let mut end = |key: &str, value: f64| schema.insert(key.to_owned(), value.into());
        match R::LEAST {
            Included(least) => end("minimum", least),
            Excluded(least) => end("exclusiveMinimum", least),
        };
        match R::MOST {
            Included(most) => end("maximum", most),
            Excluded(most) => end("exclusiveMaximum", most),
        };
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_by_its_range() {
        for (refused, said) in [
            (
                Share::new(1.0).err(),
                "got 1, expected at least 0 and below 1",
            ),
            (
                Part::new(0.0).err(),
                "got 0, expected above 0 and at most 1",
            ),
            (
                Weight::new(-0.5).err(),
                "got -0.5, expected at least 0 and at most 1000000",
            ),
            (
                Positive::new(f64::INFINITY).err(),
                "got inf, expected above 0 and at most 1000000000",
            ),
            (
                Rate::new(f64::NAN).err(),
                "got NaN, expected at least 0 and at most 10",
            ),
            (
                Peak::new(0.0).err(),
                "got 0, expected above 0 and at most 10",
            ),
            (
                Blend::new(1.5).err(),
                "got 1.5, expected at least 0 and at most 1",
            ),
        ] {
            assert_eq!(refused.unwrap().to_string(), said);
        }
        assert!(Share::new(0.0).is_ok() && Part::new(1.0).is_ok() && Blend::new(1.0).is_ok());
        assert!(Share::<f32>::new(0.9).is_ok());
    }
}
