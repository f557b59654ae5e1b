//! Which rows match a request, and what is left of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, new_null_array,
};
use arrow::compute::interleave;
use arrow::error::ArrowError;
use capfilt_data::candidate::candidates_array;
use capfilt_data::footer::digest;
use capfilt_data::{Candidate, Reject, columns};
use capfilt_fetch::opt_out;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{Stream, StreamExt};

use super::request::{Form, Request};
use super::{Removals, STEP};
use crate::operator::Operator;
use crate::row::{ROW, Rejection, reject, replace, text_at};
use crate::shelf::blocking;

/// The columns of some rows that requests are held against, as far as they were read.
struct Columns<'a> {
    reasons: Option<&'a StringArray>,
    ids: Option<&'a StringArray>,
    urls: Option<&'a StringArray>,
    final_urls: Option<&'a StringArray>,
    digests: Option<&'a BinaryArray>,
    pictures: Option<&'a BinaryArray>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Self {
        let field = |column: &str, field: &str| {
            let column = rows.column_by_name(column)?.as_struct_opt()?;
            column.column_by_name(field)
        };
        let text = |name| rows.column_by_name(name)?.as_string_opt::<i32>();
        Self {
            reasons: text(columns::REJECT),
            ids: text(columns::ID),
            urls: text(columns::URL),
            final_urls: field(columns::FETCH, "final_url")
                .and_then(|column| column.as_string_opt::<i32>()),
            digests: rows
                .column_by_name(columns::SHA256)
                .and_then(|column| column.as_binary_opt::<i32>()),
            pictures: field(columns::IMAGE, "bytes")
                .and_then(|column| column.as_binary_opt::<i32>()),
        }
    }

    fn is_removed(&self, row: usize) -> bool {
        let reason = self.reasons.and_then(|reasons| text_at(reasons, row));
        reason == Some(Reject::Removed.as_str())
    }

    /// The digest of the row's picture; made only where none is stored.
    fn digest(&self, row: usize) -> Option<[u8; 32]> {
        let value = |column: Option<&'a BinaryArray>| {
            let column = column?;
            column.is_valid(row).then(|| column.value(row))
        };
        let stored = value(self.digests).and_then(|stored| stored.try_into().ok());
        stored.or_else(|| value(self.pictures).map(digest))
    }
}

impl Removals {
    /// The requests that each of `rows` matches, by the columns that are there: id, URLs, digest or
    /// picture. Rows that were taken out already match none.
    pub(super) fn matches(&self, rows: &RecordBatch) -> Vec<Vec<Request>> {
        let columns = Columns::of(rows);
        let all = 0..rows.num_rows();
        all.map(|row| {
            if columns.is_removed(row) {
                Vec::new()
            } else {
                self.of_row(&columns, row)
            }
        })
        .collect()
    }

    fn of_row(&self, columns: &Columns<'_>, row: usize) -> Vec<Request> {
        let mut found = Vec::new();
        let mut look = |request| {
            if self.contains(request) && !found.contains(&request) {
                found.push(request);
            }
        };
        if self.has(Form::Id)
            && let Some(id) = columns.ids.and_then(|ids| text_at(ids, row))
        {
            look(Request::of(Form::Id, id));
        }
        let urls = [columns.urls, columns.final_urls];
        for url in urls.iter().flatten().filter_map(|urls| text_at(urls, row)) {
            if self.has(Form::Url) {
                look(Request::of(Form::Url, url));
                if let Some(normal) = opt_out::normal(url) {
                    look(Request::of(Form::Url, &normal));
                }
            }
            if self.has(Form::Domain) {
                for domain in opt_out::domains(url) {
                    look(Request::of(Form::Domain, &domain));
                }
            }
        }
        if self.has(Form::Picture)
            && let Some(digest) = columns.digest(row)
        {
            look(Request::digested(Form::Picture, digest));
        }
        found
    }

    /// `rows` where those that match are taken out.
    fn without(&self, rows: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let matches = self.matches(rows);
        let first: Vec<Option<Request>> = matches.iter().map(|row| row.first().copied()).collect();
        taken_out(rows, &first)
    }
}

/// `rows` where of those with a request only the id is left, and which request it was.
pub(super) fn taken_out(
    rows: &RecordBatch,
    requests: &[Option<Request>],
) -> std::result::Result<RecordBatch, ArrowError> {
    if requests.iter().all(Option::is_none) {
        return Ok(rows.clone());
    }
    let picks: Vec<(usize, usize)> = requests
        .iter()
        .enumerate()
        .map(|(row, request)| request.map_or((0, row), |_| (1, 0)))
        .collect();
    let mut emptied: Vec<(&str, ArrayRef)> = Vec::new();
    for (field, array) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let nothing: ArrayRef = match field.name().as_str() {
            columns::ID | columns::REJECT | columns::DETAIL | columns::STAGE | ROW => continue,
            columns::CANDIDATES => Arc::new(candidates_array::<Vec<Candidate>>(&[Vec::new()])?),
            _ => new_null_array(array.data_type(), 1),
        };
        let array = interleave(&[array.as_ref(), nothing.as_ref()], &picks)?;
        emptied.push((field.name(), array));
    }
    let rejections: Vec<Option<Rejection>> = requests
        .iter()
        .map(|request| Some(Rejection::new(Reject::Removed, (*request)?.to_string())))
        .collect();
    reject(&replace(rows, emptied)?, STEP, &rejections)
}

/// The operator that takes out rows that somebody asked for, whether they are still in or have left.
/// It stands wherever something is learnt by which a row can match: where rows come from, after they
/// were fetched, and after their pictures got the bytes that are stored.
#[derive(Debug)]
pub(crate) struct RemoveRows;

impl Operator for RemoveRows {
    const NAME: &'static str = "RemoveExec";

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let removals = context.session_config().get_extension::<Removals>();
        let removals = removals.filter(|removals| !removals.is_empty());
        input.then(move |batch| {
            let removals = removals.clone();
            async move {
                let batch = batch?;
                match removals {
                    None => Ok(batch),
                    // Digests of large pictures take their time.
                    Some(removals) => Ok(blocking(move || removals.without(&batch)).await??),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
