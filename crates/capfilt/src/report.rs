//! The page: what a run did, as one HTML file that works from disk.
//!
//! An output folder is read twice. The first pass ([`survey`]) takes no pictures: it counts, fills
//! histograms and keeps the few rows worth showing, in heaps of fixed size. The second reads the
//! pictures of those rows. So the memory is bounded whatever the size of the run, apart from the
//! page itself.
//!
//! Everything from the output is untrusted: texts are escaped by maud, pictures go in only as
//! formats that were sniffed, the page has no script, and its policy forbids any.

mod bootstrap;
mod chosen;
mod facts;
mod histogram;
mod page;
mod pictures;
mod survey;
mod training;

pub(crate) use self::chosen::{Judged, Row, Why};
pub(crate) use self::page::visible;
pub(crate) use self::survey::Survey;

use std::io;

use capfilt_data::{ColumnError, FooterError, Location, WriteError};

use self::facts::Facts;
use self::pictures::Shown;

/// Name of the page in an output folder.
const NAME: &str = "report.html";
/// Pictures on the page.
const PICTURES: usize = 60;

/// A page that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The folder has no `scored` folder with files in it.
    #[error("`{}` is no output folder: it has neither `scored/*.parquet` of a run nor `progress.jsonl` of a training", .0)]
    NoOutput(Location),
    /// The output cannot be listed, or `run.json` not be read.
    #[error("cannot read the output")]
    Read(#[source] io::Error),
    /// A file cannot be read, or not as Parquet.
    #[error(transparent)]
    Footer(#[from] FooterError),
    /// A file has other columns than ours.
    #[error("`{path}` has no usable column `{column}`")]
    Column {
        /// The file.
        path: Location,
        /// The column.
        column: &'static str,
        /// What is wrong with it, unless it is missing.
        source: Option<ColumnError>,
    },
    /// `run.json` is not JSON.
    #[error("cannot read `{path}`")]
    Facts {
        /// The file.
        path: Location,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The results of a bootstrap cannot be read.
    #[error(transparent)]
    Bootstrap(capfilt_bootstrap::ResultsError),
    /// The page cannot be put on disk.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ReportError {
    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoOutput(_) => {
                Some("name the folder that `capfilt run` or `capfilt train` wrote into".to_owned())
            }
            Self::Footer(_) | Self::Column { .. } | Self::Facts { .. } => Some(
                "the file is damaged or not ours; remove it and run the pipeline again".to_owned(),
            ),
            Self::Read(_) | Self::Bootstrap(_) | Self::Write(_) => None,
        }
    }
}

/// Reads what a run did, apart from its pictures.
pub(crate) fn survey(output: &Location) -> Result<Survey, ReportError> {
    survey::take(output, &facts::read(output)?)
}

/// Reads what a run did, with up to `most` of its pictures.
fn look(output: &Location, most: usize) -> Result<(Facts, Survey, Vec<Shown>), ReportError> {
    let facts = facts::read(output)?;
    let mut survey = survey::take(output, &facts)?;
    let shown = pictures::of(survey.chosen.best(most), &mut survey.problems);
    Ok((facts, survey, shown))
}

/// Writes `report.html` into the output folder of a run, a training or a bootstrap, and says where it is.
pub(crate) fn write(output: &Location) -> Result<Location, ReportError> {
    let page = match bootstrap::page(output)? {
        Some(page) => Some(page),
        None => training::page(output)?,
    };
    if let Some(page) = page {
        let path = output.join(NAME);
        path.replace(page.as_bytes())?;
        return Ok(path);
    }
    let (facts, survey, shown) = look(output, PICTURES)?;
    let page = page::render(&facts, &survey, &shown);
    let path = output.join(NAME);
    path.replace(page.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests;
