//! All pictures of a dataset once, in order and unchanged: held-out data.

use std::num::NonZeroUsize;

use capfilt_image::Preprocess;

use super::dataset::{Budget, Dataset, Row};
use super::error::DataError;
use super::options::{DataSource, Sampling};
use super::ordered::Ordered;
use super::sample::{NO_TEXT, Unusable, decoded, is_blank};

/// What is read at a time: a quarter of it.
const AHEAD: Budget = Budget {
    rows: NonZeroUsize::new(1_024).unwrap(),
    bytes: 64 << 20,
};

/// A picture with all of its texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Viewed {
    /// The row's id.
    pub id: String,
    /// `[3, S, S]` (channel, row, column), normalised.
    pub pixels: Vec<f32>,
    /// The captions, at least one.
    pub texts: Vec<String>,
}

/// The pictures of a dataset in order, see [`evaluation`].
pub struct Evaluation {
    views: Ordered<Result<Result<Viewed, Unusable>, DataError>>,
    corrupt: Vec<Unusable>,
}

/// Opens `source` for evaluation. `workers` threads decode.
pub fn evaluation(
    source: &DataSource,
    preprocess: &Preprocess,
    workers: NonZeroUsize,
) -> Result<Evaluation, DataError> {
    source.check(Sampling::OneCaption)?;
    let dataset = Dataset::open(source, Sampling::OneCaption)?;
    let parts = dataset.parts(AHEAD).into_iter();
    let parts = Ordered::start(parts, 1, 1, move |part| {
        dataset.rows(part)?.collect::<Result<Vec<_>, _>>()
    });
    let rows = parts.flat_map(|rows: Result<Vec<Row>, DataError>| match rows {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    let preprocess = preprocess.clone();
    let views = Ordered::start(rows, workers.get(), 2 * workers.get(), move |row| {
        row.map(|row| view(row, &preprocess))
    });
    Ok(Evaluation {
        views,
        corrupt: Vec::new(),
    })
}

/// A row with its picture decoded, resized and normalised.
fn view(row: Row, preprocess: &Preprocess) -> Result<Viewed, Unusable> {
    let pixels = preprocess.tensor(&decoded(&row)?);
    let texts: Vec<String> = row
        .captions
        .into_iter()
        .map(|caption| caption.text)
        .filter(|text| !is_blank(text))
        .collect();
    if texts.is_empty() {
        return Err(Unusable {
            id: row.id,
            reason: NO_TEXT.to_owned(),
        });
    }
    Ok(Viewed {
        id: row.id,
        pixels,
        texts,
    })
}

impl Evaluation {
    /// Rows without a usable picture or a text, which were left out so far.
    pub fn corrupt(&self) -> &[Unusable] {
        &self.corrupt
    }
}

impl Iterator for Evaluation {
    type Item = Result<Viewed, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.views.next()? {
                Ok(Ok(viewed)) => return Some(Ok(viewed)),
                Ok(Err(unusable)) => self.corrupt.push(unusable),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
