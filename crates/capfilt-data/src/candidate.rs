//! Candidates and captions: the texts of a picture, in and out of Arrow.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray, StringArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields, Float32Type};
use arrow::error::ArrowError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::{candidate_fields, caption_fields, score_fields};
use crate::read::{ColumnError, Wanted, is_texts, lists, plain_list, text_column};

/// Where a text came from.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Found beside the picture; it is judged.
    Web,
    /// Written by a captioner; it is judged.
    Synthetic,
    /// Written by people for the picture; it is never filtered.
    Human,
}

impl Source {
    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Synthetic => "synthetic",
            Self::Human => "human",
        }
    }

    fn parse(text: &str) -> Result<Self, ColumnError> {
        [Self::Web, Self::Synthetic, Self::Human]
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or_else(|| ColumnError::value("source", text, "`web`, `synthetic` or `human`"))
    }
}

/// What a score says.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Probability that the text fits the picture, 0 to 1.
    Match,
    /// Cosine between picture and text, -1 to 1.
    Similarity,
}

impl Kind {
    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Similarity => "similarity",
        }
    }

    fn parse(text: &str) -> Result<Self, ColumnError> {
        [Self::Match, Self::Similarity]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ColumnError::value("kind", text, "`match` or `similarity`"))
    }
}

/// One judgement of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Name of the stage that judged.
    pub by: String,
    /// What the value says.
    pub kind: Kind,
    /// The value.
    pub value: f32,
}

/// A text that may become a caption of its row's picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The text as it came.
    pub text: String,
    /// Where it came from.
    pub source: Source,
    /// Name of the stage that wrote it.
    pub by: Option<String>,
    /// Log probability under the captioner that wrote it.
    pub log_prob: Option<f32>,
    /// What the scorers said, in the order of the stages.
    pub scores: Vec<Score>,
}

impl Candidate {
    /// The first score there is: a match probability, or the similarity of a model without one.
    pub fn score(&self) -> Option<f32> {
        self.scores.first().map(|score| score.value)
    }
}

/// A caption that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    /// The text as it came.
    pub text: String,
    /// Where it came from.
    pub source: Source,
    /// Name of the stage that wrote it.
    pub by: Option<String>,
    /// Its score.
    pub score: Option<f32>,
}

/// A column with one list of structs a row, none of them null.
fn list_column(
    lengths: impl Iterator<Item = usize>,
    fields: Fields,
    columns: Vec<ArrayRef>,
) -> Result<ListArray, ArrowError> {
    let DataType::List(element) = crate::columns::list_of_structs(fields.clone()) else {
        return Err(ArrowError::SchemaError(
            "a list of structs has another type".to_owned(),
        ));
    };
    let mut offsets = vec![0_i32];
    let mut end = 0_i32;
    for length in lengths {
        end = i32::try_from(length)
            .ok()
            .and_then(|length| end.checked_add(length))
            .ok_or_else(|| ArrowError::OffsetOverflowError(length))?;
        offsets.push(end);
    }
    let values = StructArray::try_new(fields, columns, None)?;
    ListArray::try_new(
        element,
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Arc::new(values),
        None,
    )
}

/// The `candidates` column: one list a row.
pub fn candidates_array<R: AsRef<[Candidate]>>(rows: &[R]) -> Result<ListArray, ArrowError> {
    // Arrow takes values only from iterators that know their length.
    let all: Vec<&Candidate> = rows.iter().flat_map(AsRef::as_ref).collect();
    let scores: Vec<&Score> = all.iter().flat_map(|candidate| &candidate.scores).collect();
    let scores = list_column(
        all.iter().map(|candidate| candidate.scores.len()),
        score_fields(),
        vec![
            Arc::new(StringArray::from_iter_values(
                scores.iter().map(|score| &score.by),
            )),
            Arc::new(StringArray::from_iter_values(
                scores.iter().map(|score| score.kind.as_str()),
            )),
            Arc::new(Float32Array::from_iter_values(
                scores.iter().map(|score| score.value),
            )),
        ],
    )?;
    list_column(
        rows.iter().map(|row| row.as_ref().len()),
        candidate_fields(),
        vec![
            Arc::new(StringArray::from_iter_values(
                all.iter().map(|candidate| &candidate.text),
            )),
            Arc::new(StringArray::from_iter_values(
                all.iter().map(|one| one.source.as_str()),
            )),
            Arc::new(
                all.iter()
                    .map(|candidate| candidate.by.as_deref())
                    .collect::<StringArray>(),
            ),
            Arc::new(
                all.iter()
                    .map(|candidate| candidate.log_prob)
                    .collect::<Float32Array>(),
            ),
            Arc::new(scores),
        ],
    )
}

/// The `captions` column: one list a row.
pub fn captions_array<R: AsRef<[Caption]>>(rows: &[R]) -> Result<ListArray, ArrowError> {
    let all: Vec<&Caption> = rows.iter().flat_map(AsRef::as_ref).collect();
    list_column(
        rows.iter().map(|row| row.as_ref().len()),
        caption_fields(),
        vec![
            Arc::new(StringArray::from_iter_values(
                all.iter().map(|caption| &caption.text),
            )),
            Arc::new(StringArray::from_iter_values(
                all.iter().map(|one| one.source.as_str()),
            )),
            Arc::new(
                all.iter()
                    .map(|caption| caption.by.as_deref())
                    .collect::<StringArray>(),
            ),
            Arc::new(
                all.iter()
                    .map(|caption| caption.score)
                    .collect::<Float32Array>(),
            ),
        ],
    )
}

fn text(array: &StringArray, row: usize) -> String {
    array.value(row).to_owned()
}

fn optional_text(array: &StringArray, row: usize) -> Option<String> {
    array.is_valid(row).then(|| array.value(row).to_owned())
}

/// Reads a `candidates` column: one list a row, empty where the row has null.
pub fn read_candidates(array: &ArrayRef) -> Result<Vec<Vec<Candidate>>, ColumnError> {
    let lists = plain_list(array, &crate::columns::candidates_type())?;
    let structs = lists.values().as_struct();
    let texts = structs.column(0).as_string::<i32>();
    let sources = structs.column(1).as_string::<i32>();
    let by = structs.column(2).as_string::<i32>();
    let log_probs = structs.column(3).as_primitive::<Float32Type>();
    let scores = structs.column(4).as_list::<i32>();
    let score_structs = scores.values().as_struct();
    let score_by = score_structs.column(0).as_string::<i32>();
    let kinds = score_structs.column(1).as_string::<i32>();
    let values = score_structs.column(2).as_primitive::<Float32Type>();
    let range = |lists: &ListArray, row: usize| {
        let offsets = lists.value_offsets();
        let bound = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
        if lists.is_valid(row) {
            bound(row)..bound(row + 1)
        } else {
            0..0
        }
    };
    (0..lists.len())
        .map(|row| {
            range(&lists, row)
                .map(|at| {
                    let scores = range(scores, at)
                        .map(|score| {
                            Ok(Score {
                                by: text(score_by, score),
                                kind: Kind::parse(kinds.value(score))?,
                                value: values.value(score),
                            })
                        })
                        .collect::<Result<_, ColumnError>>()?;
                    Ok(Candidate {
                        text: text(texts, at),
                        source: Source::parse(sources.value(at))?,
                        by: optional_text(by, at),
                        log_prob: log_probs.is_valid(at).then(|| log_probs.value(at)),
                        scores,
                    })
                })
                .collect()
        })
        .collect()
}

/// Reads a column of captions: a `captions` column, or any that holds texts. Captions without a
/// source of their own have the source `otherwise`; a text that is null is empty.
pub fn read_captions(
    array: &ArrayRef,
    otherwise: Source,
) -> Result<Vec<Vec<Caption>>, ColumnError> {
    let bare = |text: Option<&str>| Caption {
        text: text.unwrap_or_default().to_owned(),
        source: otherwise,
        by: None,
        score: None,
    };
    if !is_texts(array.data_type()) {
        return Err(Wanted::Texts.refuse(array.data_type()));
    }
    let Some(lists) = lists(array)? else {
        let texts = text_column(array)?;
        return Ok(texts
            .iter()
            .map(|text| text.map(|text| bare(Some(text))).into_iter().collect())
            .collect());
    };
    let lists = lists.as_list::<i64>();
    (0..lists.len())
        .map(|row| {
            if lists.is_null(row) {
                return Ok(Vec::new());
            }
            let elements = lists.value(row);
            let Some(structs) = elements.as_struct_opt() else {
                return Ok(text_column(&elements)?.iter().map(bare).collect());
            };
            let column = |name| structs.column_by_name(name).map(text_column).transpose();
            let (texts, sources) = (column("text")?, column("source")?);
            let texts = texts.iter().flatten();
            texts
                .enumerate()
                .map(|(at, text)| {
                    let source = sources.as_ref().filter(|sources| sources.is_valid(at));
                    let source = source.map(|sources| Source::parse(sources.value(at)));
                    Ok(Caption {
                        source: source.transpose()?.unwrap_or(otherwise),
                        ..bare(text)
                    })
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests;
