//! Columns as Parquet brings them, in the one form that stages work with.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, ListArray, StringArray, StructArray, UInt64Array,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use crate::columns::image_fields;

/// A column that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// The column's type is none of those that are read.
    #[error("a column of type `{got}` cannot be used here: expected {expected}")]
    Type {
        /// The type it has.
        got: DataType,
        /// What would do.
        expected: &'static str,
    },
    /// A value outside a closed set.
    #[error("`{got}` is no {what}: expected {expected}")]
    Value {
        /// What the value stands for.
        what: &'static str,
        /// The value.
        got: String,
        /// The set.
        expected: &'static str,
    },
    /// Arrow could not convert the column.
    #[error("cannot convert a column")]
    Convert(#[from] ArrowError),
}

impl ColumnError {
    pub(crate) fn value(what: &'static str, got: &str, expected: &'static str) -> Self {
        Self::Value {
            what,
            got: got.to_owned(),
            expected,
        }
    }
}

/// Fails on values that do not fit, rather than making them null.
const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// Whether a column of `data_type` can hold texts.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// The field of a struct that is its text.
const TEXT: &str = "text";

/// Whether a column of `data_type` can hold some texts a row: a text column, or a list of texts or of
/// structs with a field `text`, as `captions` is.
pub fn is_texts(data_type: &DataType) -> bool {
    is_text(data_type) || element(data_type).is_some_and(is_text_or_struct)
}

fn is_text_or_struct(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields
            .iter()
            .any(|field| field.name() == TEXT && is_text(field.data_type())),
        other => is_text(other),
    }
}

/// The type of a list's elements.
fn element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}

/// Whether a column of `data_type` can hold row ids: texts or integers.
pub fn is_id(data_type: &DataType) -> bool {
    is_text(data_type) || data_type.is_integer()
}

fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Null => true,
        DataType::Dictionary(_, value) => is_binary(value),
        _ => false,
    }
}

/// Whether a column of `data_type` can hold pictures: binary, a struct with a binary field
/// `bytes`, or a list of either.
pub fn is_image(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields
            .iter()
            .any(|field| field.name() == "bytes" && is_binary(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => {
            !is_list(field.data_type()) && is_image(field.data_type())
        }
        other => is_binary(other),
    }
}

const fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
    )
}

/// What a column of the input must hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Texts.
    Text,
    /// Row ids: texts or integers.
    Id,
    /// Pictures.
    Image,
    /// Some texts a row.
    Texts,
    /// True or false.
    Truth,
}

impl Wanted {
    /// Whether a column of `data_type` will do.
    pub fn accepts(self, data_type: &DataType) -> bool {
        match self {
            Self::Text => is_text(data_type),
            Self::Id => is_id(data_type),
            Self::Image => is_image(data_type),
            Self::Texts => is_texts(data_type),
            Self::Truth => *data_type == DataType::Boolean,
        }
    }

    /// The error for a column of `data_type` that will not do.
    pub fn refuse(self, data_type: &DataType) -> ColumnError {
        let expected = match self {
            Self::Text => "text, in plain, large, view or dictionary form",
            Self::Id => "text or integers",
            Self::Image => "binary, a struct `{bytes: binary, path: string}`, or a list of either",
            Self::Texts => "text, or a list of texts or of structs with a field `text`",
            Self::Truth => "boolean",
        };
        ColumnError::Type {
            got: data_type.clone(),
            expected,
        }
    }
}

/// A text or id column as plain strings.
pub fn text_column(array: &ArrayRef) -> Result<StringArray, ColumnError> {
    if !is_id(array.data_type()) {
        return Err(Wanted::Text.refuse(array.data_type()));
    }
    let plain = cast_with_options(array, &DataType::Utf8, &STRICT)?;
    Ok(plain.as_string::<i32>().clone())
}

/// The texts of each row, those that are null left out.
pub fn texts_column(array: &ArrayRef) -> Result<Vec<Vec<String>>, ColumnError> {
    if !is_texts(array.data_type()) {
        return Err(Wanted::Texts.refuse(array.data_type()));
    }
    let Some(lists) = lists(array)? else {
        let texts = text_column(array)?;
        return Ok(texts
            .iter()
            .map(|text| text.map(str::to_owned).into_iter().collect())
            .collect());
    };
    (0..lists.len())
        .map(|row| {
            let lists = lists.as_list::<i64>();
            if lists.is_null(row) {
                return Ok(Vec::new());
            }
            let elements = lists.value(row);
            let texts = match elements.as_struct_opt() {
                Some(structs) => structs.column_by_name(TEXT),
                None => Some(&elements),
            };
            let texts = texts.map(text_column).transpose()?;
            Ok(texts
                .iter()
                .flatten()
                .flatten()
                .map(str::to_owned)
                .collect())
        })
        .collect()
}

/// A column of lists as large lists; `None` for one of anything else.
pub(crate) fn lists(array: &ArrayRef) -> Result<Option<ArrayRef>, ColumnError> {
    let Some(element) = element(array.data_type()) else {
        return Ok(None);
    };
    let field = Arc::new(Field::new_list_field(element.clone(), true));
    let large = DataType::LargeList(field);
    Ok(Some(cast_with_options(array, &large, &STRICT)?))
}

fn binary_column(array: &ArrayRef) -> Result<BinaryArray, ColumnError> {
    if !is_binary(array.data_type()) {
        return Err(ColumnError::Type {
            got: array.data_type().clone(),
            expected: "binary, in plain, large, view, fixed-size or dictionary form",
        });
    }
    let plain = cast_with_options(array, &DataType::Binary, &STRICT)?;
    Ok(plain.as_binary::<i32>().clone())
}

/// The first element of each list, null for a list that is empty or null.
fn first_elements(array: &ArrayRef) -> Result<ArrayRef, ColumnError> {
    let (DataType::List(field)
    | DataType::LargeList(field)
    | DataType::FixedSizeList(field, _)
    | DataType::ListView(field)
    | DataType::LargeListView(field)) = array.data_type()
    else {
        return Ok(Arc::clone(array));
    };
    let large = cast_with_options(array, &DataType::LargeList(Arc::clone(field)), &STRICT)?;
    let lists = large.as_list::<i64>();
    let offsets = lists.value_offsets();
    let first: UInt64Array = (0..lists.len())
        .map(|row| {
            let filled = lists.is_valid(row) && offsets[row] < offsets[row + 1];
            filled.then(|| u64::try_from(offsets[row]).ok()).flatten()
        })
        .collect();
    Ok(take(lists.values(), &first, None)?)
}

/// An image column as `{bytes, path}`, null where there are no bytes.
pub fn image_column(array: &ArrayRef) -> Result<StructArray, ColumnError> {
    if !is_image(array.data_type()) {
        return Err(Wanted::Image.refuse(array.data_type()));
    }
    let array = first_elements(array)?;
    let rows = array.len();
    let (bytes, path, outer) = match array.as_struct_opt() {
        Some(structs) => {
            let bytes = structs
                .column_by_name("bytes")
                .map(binary_column)
                .transpose()?;
            let path = structs
                .column_by_name("path")
                .filter(|path| is_text(path.data_type()))
                .map(text_column)
                .transpose()?;
            (bytes, path, structs.nulls().cloned())
        }
        None => (Some(binary_column(&array)?), None, None),
    };
    let bytes = bytes.unwrap_or_else(|| BinaryArray::new_null(rows));
    let path = path.map_or_else(
        || new_null_array(&DataType::Utf8, rows),
        |path| Arc::new(path) as ArrayRef,
    );
    let nulls = NullBuffer::union(outer.as_ref(), bytes.nulls());
    Ok(StructArray::try_new(
        image_fields(),
        vec![Arc::new(bytes), path],
        nulls,
    )?)
}

/// Any column without views and dictionaries: `crate::columns::plain_type` says how.
pub fn plain_array(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ColumnError> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    Ok(cast_with_options(array, data_type, &STRICT)?)
}

/// A list column in exactly the type `data_type`.
pub(crate) fn plain_list(array: &ArrayRef, data_type: &DataType) -> Result<ListArray, ColumnError> {
    let plain = cast_with_options(array, data_type, &STRICT)?;
    plain
        .as_list_opt::<i32>()
        .cloned()
        .ok_or_else(|| ColumnError::Type {
            got: array.data_type().clone(),
            expected: "a list of structs",
        })
}

#[cfg(test)]
mod tests;
