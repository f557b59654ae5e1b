//! Get the bytes of every picture that the row does not bring along.
//!
//! A URL that brings no picture is a reason and never an error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray,
};
use arrow::buffer::NullBuffer;
use capfilt_data::{Reject, columns};
use capfilt_fetch::{FetchOptions, Fetched, Outcome, Room};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};

use crate::numbers::Numbers;
use crate::operator::{Asked, Operator, RowWork, for_each_row};
use crate::row::{
    Place, Rejection, column, image_at, image_with_bytes, numbers, reject, replace, text_at, texts,
};
use crate::shelf::Shelf;
use crate::window::{self, Window};

/// The operator of a `fetch` stage.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) stage: String,
    pub(crate) options: FetchOptions,
    /// Rows that were asked for in an earlier pass.
    pub(crate) asked: Numbers,
}

impl Operator for Fetch {
    const NAME: &'static str = "FetchExec";

    fn describe(&self) -> String {
        format!(
            "concurrency={}, per-host={}",
            self.options.concurrency, self.options.per_host
        )
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = input.schema();
        let shelf = Shelf::of(&context);
        let window = context.session_config().get_extension::<Window>();
        for_each_row(
            Fetching {
                fetch: self,
                shelf,
                window,
            },
            schema,
            input,
        )
    }
}

struct Fetching {
    fetch: Arc<Fetch>,
    shelf: Arc<Shelf>,
    window: Option<Arc<Window>>,
}

/// The room for one row's picture.
struct RoomInWindow {
    window: Arc<Window>,
    row: u64,
}

impl Room for RoomInWindow {
    fn is_free(&self) -> bool {
        self.window.has_room(self.row)
    }

    fn wait(&self) -> BoxFuture<'_, ()> {
        self.window.room(self.row).boxed()
    }
}

/// What came of a row: a fetch, or nothing to fetch from.
enum Answer {
    Fetched(Fetched),
    NoUrl,
}

impl RowWork for Fetching {
    type Answer = Answer;

    /// Far more than may be requested at once: a row waits for its host here, and others pass it.
    fn in_flight(&self) -> usize {
        window::FETCHING
    }

    fn ask(&self, place: &Place) -> Result<Asked<Answer>> {
        let (batch, row) = (place.batch(), place.row());
        if image_at(batch, row)?.is_some() {
            return Ok(Asked::Nothing);
        }
        let url = text_at(texts(batch, columns::URL)?, row).map(str::to_owned);
        let Some(url) = url.filter(|url| !url.trim().is_empty()) else {
            return Ok(Asked::Known(Answer::NoUrl));
        };
        let number = numbers(batch)?.value(row);
        let (shelf, window) = (Arc::clone(&self.shelf), self.window.clone());
        let fetch = Arc::clone(&self.fetch);
        let was_asked = fetch.asked.contains(number);
        Ok(Asked::work(async move {
            let fetcher = shelf.fetcher(&fetch.stage, &fetch.options).await?;
            let Some(window) = window else {
                return Ok(Answer::Fetched(fetcher.fetch(&url).await));
            };
            let room = RoomInWindow {
                window,
                row: number,
            };
            let fetched = fetcher.fetch_into(&url, &room, was_asked).await;
            match &fetched.body {
                Some(body) => room.window.hold(number, body.len() as u64),
                // Another may have the room that it was given.
                None => room.window.spill(&[number]),
            }
            Ok(Answer::Fetched(fetched))
        }))
    }

    fn bytes(answer: &Answer) -> usize {
        match answer {
            Answer::Fetched(fetched) => fetched.body.as_deref().map_or(0, <[u8]>::len),
            Answer::NoUrl => 0,
        }
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Answer>>) -> Result<RecordBatch> {
        let rejections: Vec<Option<Rejection>> = answers
            .iter()
            .map(|answer| match answer.as_ref()? {
                Answer::NoUrl => Some(Rejection::new(Reject::MissingUrl, None)),
                Answer::Fetched(fetched) => reason(fetched.outcome)
                    .map(|reason| Rejection::new(reason, fetched.detail.clone())),
            })
            .collect();
        let bytes = answers
            .iter()
            .enumerate()
            .map(|(row, answer)| match answer {
                Some(Answer::Fetched(fetched)) => Ok(fetched.body.as_deref()),
                Some(Answer::NoUrl) | None => image_at(rows, row),
            })
            .collect::<std::result::Result<Vec<Option<&[u8]>>, _>>()?;
        let image = image_with_bytes(rows, BinaryArray::from(bytes))?;
        let fetch = fetch_column(rows, &answers)?;
        let learnt = replace(rows, vec![(columns::IMAGE, image), (columns::FETCH, fetch)])?;
        Ok(reject(&learnt, &self.fetch.stage, &rejections)?)
    }
}

/// The `fetch` column: what is known of rows that were fetched now, and of the others what was.
fn fetch_column(rows: &RecordBatch, answers: &[Option<Answer>]) -> Result<ArrayRef> {
    let old = column(rows, columns::FETCH)?;
    let fetched: Vec<Option<&Fetched>> = answers
        .iter()
        .map(|answer| match answer {
            Some(Answer::Fetched(fetched)) => Some(fetched),
            Some(Answer::NoUrl) | None => None,
        })
        .collect();
    if old.null_count() < old.len() && fetched.iter().any(Option::is_none) {
        return merged_fetch_column(old, &fetched);
    }
    Ok(Arc::new(fetch_structs(&fetched)?))
}

/// Takes rows that were not fetched now from an earlier `fetch` stage.
pub(crate) fn merged_fetch_column(
    old: &ArrayRef,
    fetched: &[Option<&Fetched>],
) -> Result<ArrayRef> {
    let new = fetch_structs(fetched)?;
    let picks: Vec<(usize, usize)> = fetched
        .iter()
        .enumerate()
        .map(|(row, fetched)| (usize::from(fetched.is_some()), row))
        .collect();
    let old = old.as_struct();
    Ok(arrow::compute::interleave(&[old, &new], &picks)?)
}

fn fetch_structs(fetched: &[Option<&Fetched>]) -> Result<StructArray> {
    let of = |get: &dyn Fn(&Fetched) -> Option<i64>| -> Int64Array {
        fetched
            .iter()
            .map(|fetched| fetched.and_then(get))
            .collect()
    };
    let outcome: StringArray = fetched
        .iter()
        .map(|fetched| fetched.map(|fetched| fetched.outcome.as_str()))
        .collect();
    let status: Int32Array = fetched
        .iter()
        .map(|fetched| fetched.and_then(|one| one.status.map(i32::from)))
        .collect();
    let attempts: Int32Array = fetched
        .iter()
        .map(|fetched| fetched.map(|one| i32::try_from(one.attempts).unwrap_or(i32::MAX)))
        .collect();
    let final_url: StringArray = fetched
        .iter()
        .map(|fetched| fetched.and_then(|one| one.final_url.as_deref()))
        .collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(outcome),
        Arc::new(status),
        Arc::new(of(&|one| i64::try_from(one.bytes).ok())),
        Arc::new(attempts),
        Arc::new(final_url),
        Arc::new(of(&|one| i64::try_from(one.ms).ok())),
    ];
    let nulls: NullBuffer = fetched.iter().map(Option::is_some).collect();
    Ok(StructArray::try_new(
        columns::fetch_fields(),
        arrays,
        Some(nulls),
    )?)
}

/// Why a row leaves after a fetch that ended like this.
const fn reason(outcome: Outcome) -> Option<Reject> {
    Some(match outcome {
        Outcome::Ok => return None,
        Outcome::BadUrl => Reject::BadUrl,
        Outcome::SchemeNotAllowed => Reject::SchemeNotAllowed,
        Outcome::OutsideFolder => Reject::OutsideFolder,
        Outcome::ForbiddenAddress => Reject::ForbiddenAddress,
        Outcome::OptedOut => Reject::OptedOut,
        Outcome::RobotsTxt => Reject::RobotsTxt,
        Outcome::RobotsUnreachable => Reject::RobotsUnreachable,
        Outcome::RobotsTag => Reject::RobotsTag,
        Outcome::TdmReserved => Reject::TdmReserved,
        Outcome::NotFound => Reject::NotFound,
        Outcome::Gone => Reject::Gone,
        Outcome::Forbidden => Reject::Forbidden,
        Outcome::TooManyRequests => Reject::TooManyRequests,
        Outcome::HostSuspended => Reject::HostSuspended,
        Outcome::ServerError => Reject::ServerError,
        Outcome::UnexpectedStatus => Reject::UnexpectedStatus,
        Outcome::TooManyRedirects => Reject::TooManyRedirects,
        Outcome::TimedOut => Reject::TimedOut,
        Outcome::TooLarge => Reject::TooLarge,
        Outcome::ContentType => Reject::ContentType,
        Outcome::Dns => Reject::Dns,
        Outcome::Connect => Reject::Connect,
        Outcome::Tls => Reject::Tls,
        Outcome::Broken => Reject::Broken,
    })
}

#[cfg(test)]
mod tests;
