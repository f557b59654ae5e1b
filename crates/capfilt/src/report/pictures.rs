//! The second pass: the pictures of the rows that were chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use capfilt_data::read::image_column;
use capfilt_data::{Footer, Location, columns};
use capfilt_image::Format;

use super::ReportError;
use super::chosen::{Row, Why};

/// A larger picture stays out of the page, so that the page can be opened.
const MOST_BYTES: usize = 2 << 20;
/// Rows held at once.
const ROWS: usize = 16;

/// A row as the page shows it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) why: Why,
    pub(crate) row: Row,
    /// A `data:` URL, or why there is none.
    pub(crate) picture: Result<String, &'static str>,
}

/// Reads the pictures of `rows`; what cannot be read is added to `problems`.
pub(crate) fn of(rows: Vec<(Why, Row)>, problems: &mut Vec<String>) -> Vec<Shown> {
    let mut wanted: BTreeMap<Arc<Location>, Vec<u64>> = BTreeMap::new();
    for (_, row) in &rows {
        wanted
            .entry(Arc::clone(&row.place.0))
            .or_default()
            .push(row.place.1);
    }
    let mut pictures = BTreeMap::new();
    for (path, mut rows) in wanted {
        rows.sort_unstable();
        if let Err(error) = read(&path, &rows, |row, picture| {
            pictures.insert((Arc::clone(&path), row), picture);
        }) {
            problems.push(error.to_string());
        }
    }
    let shown = |(why, row): (Why, Row)| {
        let picture = pictures
            .remove(&row.place)
            .unwrap_or(Err("picture not stored"));
        Shown { why, row, picture }
    };
    rows.into_iter().map(shown).collect()
}

/// Hands the pictures of `wanted`, which is sorted, to `take`.
fn read(
    path: &Location,
    wanted: &[u64],
    mut take: impl FnMut(u64, Result<String, &'static str>),
) -> Result<(), ReportError> {
    let Some(last) = wanted.last() else {
        return Ok(());
    };
    let column = columns::IMAGE;
    let unusable = |source| ReportError::Column {
        path: path.clone(),
        column,
        source,
    };
    let mut first = 0;
    for batch in Footer::read(path)?.batches(Some(&[column]), ROWS)? {
        let batch = batch?;
        let array = batch.column_by_name(column).ok_or_else(|| unusable(None))?;
        let images = image_column(array).map_err(|error| unusable(Some(error)))?;
        let bytes = images.column(0).as_binary::<i32>();
        for row in 0..images.len() {
            let place = first + row as u64;
            if wanted.binary_search(&place).is_ok() && images.is_valid(row) && bytes.is_valid(row) {
                take(place, data_url(bytes.value(row)));
            }
        }
        first += batch.num_rows() as u64;
        if first > *last {
            break;
        }
    }
    Ok(())
}

/// The picture as a `data:` URL of the type that its bytes have, whatever anybody said of them.
fn data_url(bytes: &[u8]) -> Result<String, &'static str> {
    let mime = match capfilt_image::sniff(bytes) {
        Some(Format::Jpeg) => "image/jpeg",
        Some(Format::Png) => "image/png",
        Some(Format::WebP) => "image/webp",
        Some(Format::Gif) => "image/gif",
        Some(Format::Bmp) => "image/bmp",
        Some(Format::Avif) => "image/avif",
        Some(Format::Tiff) => return Err("a TIFF, which browsers do not show"),
        None => return Err("not a picture"),
    };
    if bytes.len() > MOST_BYTES {
        return Err("too large for this page");
    }
    Ok(format!("data:{mime};base64,{}", STANDARD.encode(bytes)))
}
