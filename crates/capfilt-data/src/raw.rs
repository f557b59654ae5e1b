//! Values as a file stores them, and what they stand for.
//!
//! A Parquet reader ends at the first text that is no UTF-8, and the time of an INT96 that does not fit
//! its type comes out as another one. So shards are read as bytes, and each value is judged here: one
//! that is not what its column declares costs its row, and no other.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, GenericListArray,
    LargeStringArray, MapArray, OffsetSizeTrait, PrimitiveArray, StringArray, StructArray,
    UInt64Array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{can_cast_types, concat, take};
use arrow::datatypes::{
    ArrowTimestampType, DataType, FieldRef, Fields, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::temporal_conversions::timestamp_s_to_datetime;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::basic::Type as Physical;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder};
use parquet::schema::types::{ColumnDescPtr, Type, TypePtr};

use crate::footer::{Footer, FooterError};
use crate::leaves::{with_leaf_fields, with_leaves};
use crate::read::{ColumnError, plain_array};

/// Bytes of an INT96.
const INT96_BYTES: i32 = 12;
/// The Julian day of 1970-01-01.
const EPOCH_DAY: i64 = 2_440_588;
const DAY_SECONDS: i64 = 86_400;
const SECOND: i128 = 1_000_000_000;
/// Letters of a text that are shown.
const SHOWN: usize = 40;

/// A footer for a reader that takes texts and times as they are stored.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The columns in order, each with a name of its own: bytes in place of texts and of INT96.
    pub schema: SchemaRef,
    /// What a reader takes for the file's metadata.
    pub metadata: Arc<ParquetMetaData>,
}

impl Footer {
    /// The footer for a reader that takes texts and times as they are stored; [`typed`] then says what
    /// they stand for.
    pub fn raw(&self) -> Result<Raw, FooterError> {
        let refuse = |source| FooterError::of_parquet(&self.path, source);
        raw(&self.schema, &self.metadata).map_err(refuse)
    }
}

fn raw(schema: &Schema, metadata: &ParquetMetaData) -> ParquetResult<Raw> {
    let file = metadata.file_metadata();
    let leaves = file.schema_descr().columns();
    let mut next = leaves.iter();
    let mut stored = |field: &FieldRef| stored_field(field, next.next());
    let all = Arc::new(arrow::datatypes::Field::new_struct(
        "",
        schema.fields().clone(),
        false,
    ));
    let fields = match with_leaf_fields(&all, &mut stored).data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    };
    let mut is_bytes = leaf_types(&fields).into_iter();
    let columns = with_leaves(file.schema_descr(), &mut |leaf| {
        stored_type(leaf, is_bytes.next().unwrap_or(false))
    })?;
    let hint = encode_arrow_schema(&Schema::new_with_metadata(
        fields,
        schema.metadata().clone(),
    ));
    let pairs = file.key_value_metadata().into_iter().flatten();
    let pairs = pairs
        .filter(|pair| pair.key != ARROW_SCHEMA_META_KEY)
        .cloned()
        .chain([KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), hint)])
        .collect::<Vec<_>>();
    let schema = parquet_to_arrow_schema(&columns, Some(&pairs))?;
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        Arc::new(columns),
        file.column_orders().cloned(),
    );
    let metadata = ParquetMetaDataBuilder::new(file)
        .set_row_groups(metadata.row_groups().to_vec())
        .set_offset_index(metadata.offset_index().cloned())
        .build();
    Ok(Raw {
        schema: Arc::new(schema),
        metadata: Arc::new(metadata),
    })
}

/// For each leaf below `fields`, whether it is read as bytes of any length.
fn leaf_types(fields: &Fields) -> Vec<bool> {
    let mut found = Vec::new();
    for field in fields {
        with_leaf_fields(field, &mut |leaf| {
            found.push(matches!(
                leaf.data_type(),
                DataType::Binary | DataType::LargeBinary
            ));
            Arc::clone(leaf)
        });
    }
    found
}

/// A leaf as it is stored.
fn stored_field(field: &FieldRef, leaf: Option<&ColumnDescPtr>) -> FieldRef {
    let is_int96 = leaf.is_some_and(|leaf| leaf.physical_type() == Physical::INT96);
    let data_type = if is_int96 {
        DataType::FixedSizeBinary(INT96_BYTES)
    } else {
        bytes_type(field.data_type())
    };
    Arc::new(arrow::datatypes::Field::clone(field).with_data_type(data_type))
}

fn bytes_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::BinaryView => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        DataType::Dictionary(_, value) => bytes_type(value),
        other => other.clone(),
    }
}

fn stored_type(leaf: &TypePtr, is_bytes: bool) -> ParquetResult<TypePtr> {
    let Type::PrimitiveType {
        basic_info,
        physical_type,
        ..
    } = leaf.as_ref()
    else {
        return Ok(Arc::clone(leaf));
    };
    let (physical, length) = match physical_type {
        Physical::INT96 => (Physical::FIXED_LEN_BYTE_ARRAY, INT96_BYTES),
        Physical::BYTE_ARRAY if is_bytes => (Physical::BYTE_ARRAY, -1),
        _ => return Ok(Arc::clone(leaf)),
    };
    let leaf = Type::primitive_type_builder(leaf.name(), physical)
        .with_repetition(basic_info.repetition())
        .with_length(length)
        .with_id(basic_info.has_id().then(|| basic_info.id()))
        .build()?;
    Ok(Arc::new(leaf))
}

/// The values of a column that was read as it is stored.
#[derive(Clone, Debug)]
pub struct Typed {
    /// What they stand for; null in rows where that cannot be said.
    pub values: ArrayRef,
    /// Those rows, in order, and what is wrong.
    pub unreadable: Vec<(usize, String)>,
}

/// The values of `stored` as `data_type`, a type without views and dictionaries.
pub fn typed(stored: &ArrayRef, data_type: &DataType) -> Result<Typed, ColumnError> {
    match convert(stored, data_type, None) {
        Ok(values) => Ok(Typed {
            values,
            unreadable: Vec::new(),
        }),
        Err(Trouble::Column(error)) => Err(error),
        Err(Trouble::Value(_)) => row_by_row(stored, data_type),
    }
}

fn row_by_row(stored: &ArrayRef, data_type: &DataType) -> Result<Typed, ColumnError> {
    let mut unreadable = Vec::new();
    let mut rows = Vec::new();
    for row in 0..stored.len() {
        let one = take(stored, &UInt64Array::from(vec![row as u64]), None)?;
        rows.push(match convert(&one, data_type, None) {
            Ok(value) => value,
            Err(Trouble::Column(error)) => return Err(error),
            Err(Trouble::Value(why)) => {
                unreadable.push((row, why));
                new_null_array(data_type, 1)
            }
        });
    }
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok(Typed {
        values: concat(&rows)?,
        unreadable,
    })
}

/// Why a column cannot be converted.
enum Trouble {
    /// One of its values is not what the column declares.
    Value(String),
    /// Something else.
    Column(ColumnError),
}

impl From<ArrowError> for Trouble {
    fn from(error: ArrowError) -> Self {
        Self::Column(error.into())
    }
}

impl From<ColumnError> for Trouble {
    fn from(error: ColumnError) -> Self {
        Self::Column(error)
    }
}

/// `array` as `to`; where `shown` says that a value cannot be seen, it does not matter.
fn convert(
    array: &ArrayRef,
    to: &DataType,
    shown: Option<&NullBuffer>,
) -> Result<ArrayRef, Trouble> {
    Ok(match (array.data_type(), to) {
        (from, to) if from == to => Arc::clone(array),
        (DataType::Binary, DataType::Utf8) => {
            let bytes = array.as_binary::<i32>();
            let texts = StringArray::try_from_binary(bytes.clone());
            Arc::new(texts.map_err(|_| no_text(bytes.iter()))?)
        }
        (DataType::LargeBinary, DataType::LargeUtf8) => {
            let bytes = array.as_binary::<i64>();
            let texts = LargeStringArray::try_from_binary(bytes.clone());
            Arc::new(texts.map_err(|_| no_text(bytes.iter()))?)
        }
        (DataType::FixedSizeBinary(INT96_BYTES), DataType::Timestamp(unit, zone)) => {
            let stored = array.as_fixed_size_binary();
            let zone = zone.clone();
            match unit {
                TimeUnit::Second => {
                    Arc::new(times::<TimestampSecondType>(stored, shown)?.with_timezone_opt(zone))
                }
                TimeUnit::Millisecond => Arc::new(
                    times::<TimestampMillisecondType>(stored, shown)?.with_timezone_opt(zone),
                ),
                TimeUnit::Microsecond => Arc::new(
                    times::<TimestampMicrosecondType>(stored, shown)?.with_timezone_opt(zone),
                ),
                TimeUnit::Nanosecond => Arc::new(
                    times::<TimestampNanosecondType>(stored, shown)?.with_timezone_opt(zone),
                ),
            }
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let structs = array.as_struct();
            let nulls = structs.nulls();
            let shown = NullBuffer::union(shown, nulls);
            let columns = structs.columns().iter().zip(fields);
            let columns = columns
                .map(|(column, field)| convert(column, field.data_type(), shown.as_ref()))
                .collect::<Result<Vec<_>, _>>()?;
            let (fields, length) = (fields.clone(), structs.len());
            let nulls = nulls.cloned();
            Arc::new(StructArray::try_new_with_length(
                fields, columns, nulls, length,
            )?)
        }
        (DataType::List(_), DataType::List(element)) => list::<i32>(array, element)?,
        (DataType::LargeList(_), DataType::LargeList(element)) => list::<i64>(array, element)?,
        (DataType::FixedSizeList(_, _), DataType::FixedSizeList(element, size)) => {
            let lists = array.as_fixed_size_list();
            let values = convert(lists.values(), element.data_type(), None)?;
            let (element, nulls) = (Arc::clone(element), lists.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new(element, *size, values, nulls)?)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let maps = array.as_map();
            let pairs: ArrayRef = Arc::new(maps.entries().clone());
            let pairs = convert(&pairs, entries.data_type(), None)?;
            Arc::new(MapArray::try_new(
                Arc::clone(entries),
                maps.offsets().clone(),
                pairs.as_struct().clone(),
                maps.nulls().cloned(),
                *sorted,
            )?)
        }
        (from, to) => plain_array(array, to).map_err(|error| {
            if can_cast_types(from, to) {
                Trouble::Value(error.to_string())
            } else {
                Trouble::Column(error)
            }
        })?,
    })
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, element: &FieldRef) -> Result<ArrayRef, Trouble> {
    let lists = array.as_list::<O>();
    let values = convert(lists.values(), element.data_type(), None)?;
    let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
    let lists = GenericListArray::<O>::try_new(Arc::clone(element), offsets, values, nulls)?;
    Ok(Arc::new(lists))
}

/// The first of `values` that is no text, in words.
fn no_text<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Trouble {
    let mut values = values.flatten();
    let first = values.find_map(|bytes| Some((bytes, std::str::from_utf8(bytes).err()?)));
    let Some((bytes, error)) = first else {
        // Its pieces are texts and yet it is none: offsets inside letters, of a damaged page.
        return Trouble::Value("a text is cut inside a letter".to_owned());
    };
    let shown: String = String::from_utf8_lossy(bytes).chars().take(SHOWN).collect();
    let more = if bytes.len() > shown.len() { ".." } else { "" };
    Trouble::Value(format!(
        "`{shown}{more}` is no UTF-8: byte {} is {:#04x}",
        error.valid_up_to(),
        bytes.get(error.valid_up_to()).copied().unwrap_or_default()
    ))
}

/// The times of INT96 values, in the unit of `T`, to which nothing is rounded.
fn times<T: ArrowTimestampType>(
    stored: &FixedSizeBinaryArray,
    shown: Option<&NullBuffer>,
) -> Result<PrimitiveArray<T>, Trouble> {
    let is_shown =
        |row: usize| stored.is_valid(row) && shown.is_none_or(|shown| shown.is_valid(row));
    let times = (0..stored.len()).map(|row| {
        if is_shown(row) {
            time::<T>(stored.value(row)).map(Some)
        } else {
            // A field that is never null has some value below a struct that is.
            Ok(stored.is_valid(row).then_some(0))
        }
    });
    times.collect::<Result<_, _>>()
}

fn time<T: ArrowTimestampType>(int96: &[u8]) -> Result<i64, Trouble> {
    let (nanoseconds, day) = int96.split_at_checked(8).unwrap_or_default();
    let whole = |bytes: &[u8]| {
        let bytes = bytes.iter().rev();
        bytes.fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let day = whole(day).cast_signed() - EPOCH_DAY;
    let nanoseconds = whole(nanoseconds).cast_signed();
    let since = i128::from(day) * i128::from(DAY_SECONDS) * SECOND + i128::from(nanoseconds);
    let (step, unit) = match T::UNIT {
        TimeUnit::Second => (SECOND, "seconds"),
        TimeUnit::Millisecond => (1_000_000, "milliseconds"),
        TimeUnit::Microsecond => (1_000, "microseconds"),
        TimeUnit::Nanosecond => (1, "nanoseconds"),
    };
    let counted = i64::try_from(since / step).ok();
    counted.filter(|_| since % step == 0).ok_or_else(|| {
        let seconds = i64::try_from(since.div_euclid(SECOND)).ok();
        let told = seconds.and_then(timestamp_s_to_datetime).map_or_else(
            || format!("{since} nanoseconds since 1970"),
            |time| time.to_string(),
        );
        Trouble::Value(format!(
            "the time {told} of an INT96 cannot be told in whole {unit} of 64 bits; let the writer store \
             timestamps in microseconds instead of INT96"
        ))
    })
}

#[cfg(test)]
mod tests;
