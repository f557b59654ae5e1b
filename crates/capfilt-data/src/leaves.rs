//! The tree of a file's columns, in Parquet's words and in Arrow's side by side.
//!
//! Both have the same leaves in the same order: what stores values. Everything above a leaf (lists,
//! maps, structs) is the same on both sides.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use parquet::basic::LogicalType;
use parquet::errors::Result;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::columns::apart;

/// Key of the name of an extension type in the metadata of a field.
const EXTENSION: &str = "ARROW:extension:name";
/// Key of its parameters.
const PARAMETERS: &str = "ARROW:extension:metadata";

/// `schema` with every leaf as `change` gives it. Fields of one name in one struct are named apart.
pub(crate) fn with_leaves(
    schema: &SchemaDescriptor,
    change: &mut impl FnMut(&TypePtr) -> Result<TypePtr>,
) -> Result<SchemaDescriptor> {
    let root = schema.root_schema_ptr();
    Ok(SchemaDescriptor::new(changed(&root, root.name(), change)?))
}

fn changed(
    of: &TypePtr,
    name: &str,
    change: &mut impl FnMut(&TypePtr) -> Result<TypePtr>,
) -> Result<TypePtr> {
    let Type::GroupType { basic_info, fields } = of.as_ref() else {
        return renamed(&change(of)?, name);
    };
    let names = apart(fields.iter().map(|field| field.name()));
    let fields = fields.iter().zip(&names);
    let fields = fields
        .map(|(field, name)| changed(field, name, change))
        .collect::<Result<_>>()?;
    let mut group = Type::group_type_builder(name)
        .with_converted_type(basic_info.converted_type())
        .with_logical_type(basic_info.logical_type_ref().cloned())
        .with_fields(fields)
        .with_id(basic_info.has_id().then(|| basic_info.id()));
    if basic_info.has_repetition() {
        group = group.with_repetition(basic_info.repetition());
    }
    Ok(Arc::new(group.build()?))
}

fn renamed(leaf: &TypePtr, name: &str) -> Result<TypePtr> {
    if leaf.name() == name {
        return Ok(Arc::clone(leaf));
    }
    let Type::PrimitiveType {
        basic_info,
        physical_type,
        type_length,
        scale,
        precision,
    } = leaf.as_ref()
    else {
        return Ok(Arc::clone(leaf));
    };
    let leaf = Type::primitive_type_builder(name, *physical_type)
        .with_repetition(basic_info.repetition())
        .with_converted_type(basic_info.converted_type())
        .with_logical_type(basic_info.logical_type_ref().cloned())
        .with_length(*type_length)
        .with_scale(*scale)
        .with_precision(*precision)
        .with_id(basic_info.has_id().then(|| basic_info.id()))
        .build()?;
    Ok(Arc::new(leaf))
}

/// `field` with every leaf below it, or itself, as `change` gives it. Fields of one name in one struct
/// are named apart, as [`with_leaves`] does.
pub(crate) fn with_leaf_fields(
    field: &FieldRef,
    change: &mut impl FnMut(&FieldRef) -> FieldRef,
) -> FieldRef {
    let mut below = |field: &FieldRef| with_leaf_fields(field, change);
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(below(element)),
        DataType::ListView(element) => DataType::ListView(below(element)),
        DataType::LargeList(element) => DataType::LargeList(below(element)),
        DataType::LargeListView(element) => DataType::LargeListView(below(element)),
        DataType::FixedSizeList(element, size) => DataType::FixedSizeList(below(element), *size),
        DataType::Map(entries, sorted) => DataType::Map(below(entries), *sorted),
        DataType::Struct(fields) => {
            let names = apart(fields.iter().map(|field| field.name().as_str()));
            let named = fields.iter().zip(names).map(|(field, name)| {
                let field = below(field);
                Arc::unwrap_or_clone(field).with_name(name)
            });
            DataType::Struct(named.collect())
        }
        _ => return change(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The extension type of Arrow that says what a logical type of Parquet does, where no type of Arrow
/// does.
const fn extension(logical: &LogicalType) -> Option<&'static str> {
    match logical {
        LogicalType::Uuid => Some("arrow.uuid"),
        LogicalType::Json => Some("arrow.json"),
        _ => None,
    }
}

/// `fields`, which are the columns of `schema`, where each leaf says what its logical type does.
pub(crate) fn with_extensions<'a>(
    fields: impl IntoIterator<Item = &'a FieldRef>,
    schema: &SchemaDescriptor,
) -> Vec<FieldRef> {
    let mut leaves = schema.columns().iter();
    let mut named = |field: &FieldRef| {
        let logical = leaves.next().and_then(|leaf| leaf.logical_type_ref());
        let Some(name) = logical.and_then(extension) else {
            return Arc::clone(field);
        };
        let mut metadata = field.metadata().clone();
        if metadata.contains_key(EXTENSION) {
            return Arc::clone(field);
        }
        metadata.insert(EXTENSION.to_owned(), name.to_owned());
        metadata.insert(PARAMETERS.to_owned(), String::new());
        Arc::new(Field::clone(field).with_metadata(metadata))
    };
    let fields = fields.into_iter();
    fields
        .map(|field| with_leaf_fields(field, &mut named))
        .collect()
}

/// `schema`, as it would be written, with the logical types that the extension types of its columns
/// `fields` stand for; none where there is nothing to add.
pub(crate) fn with_logical_types<'a>(
    fields: impl IntoIterator<Item = &'a FieldRef>,
    schema: &SchemaDescriptor,
) -> Result<Option<SchemaDescriptor>> {
    let mut wanted = Vec::new();
    for field in fields {
        with_leaf_fields(field, &mut |leaf| {
            wanted.push(match leaf.metadata().get(EXTENSION).map(String::as_str) {
                Some("arrow.uuid") if *leaf.data_type() == DataType::FixedSizeBinary(16) => {
                    Some(LogicalType::Uuid)
                }
                Some("arrow.json")
                    if matches!(leaf.data_type(), DataType::Utf8 | DataType::LargeUtf8) =>
                {
                    Some(LogicalType::Json)
                }
                _ => None,
            });
            Arc::clone(leaf)
        });
    }
    if wanted.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut wanted = wanted.into_iter();
    let mut said = |leaf: &TypePtr| {
        let (Some(Some(logical)), Type::PrimitiveType { basic_info, .. }) =
            (wanted.next(), leaf.as_ref())
        else {
            return Ok(Arc::clone(leaf));
        };
        let (physical, length) = match leaf.as_ref() {
            Type::PrimitiveType {
                physical_type,
                type_length,
                ..
            } => (*physical_type, *type_length),
            Type::GroupType { .. } => return Ok(Arc::clone(leaf)),
        };
        let leaf = Type::primitive_type_builder(leaf.name(), physical)
            .with_repetition(basic_info.repetition())
            .with_logical_type(Some(logical))
            .with_length(length)
            .with_id(basic_info.has_id().then(|| basic_info.id()))
            .build()?;
        Ok(Arc::new(leaf))
    };
    with_leaves(schema, &mut said).map(Some)
}

#[cfg(test)]
mod tests;
