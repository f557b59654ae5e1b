//! SQL expressions over the columns that are known at some point of a pipeline.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use capfilt_data::columns::{HEIGHT, WIDTH};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::intervals::utils::check_support;
use datafusion::physical_expr::{AnalysisContext, ExprBoundaries, PhysicalExpr, analyze};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::row;

/// The longer side over the shorter one, at least 1: known once a picture is decoded.
pub(crate) const ASPECT: &str = "aspect";

/// An expression that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExpressionError {
    /// The expression does not parse, or names what is not known.
    #[error("`{sql}` cannot be used: {reason}; known here: {}", known.join(", "))]
    Invalid {
        /// The expression.
        sql: String,
        /// What DataFusion says.
        reason: String,
        /// Columns that may be named.
        known: Vec<String>,
    },
    /// The expression gives something else than true or false.
    #[error("`{sql}` gives {got}, expected a condition that is true or false")]
    NotBoolean {
        /// The expression.
        sql: String,
        /// The type it has.
        got: DataType,
    },
}

/// A condition on columns: true keeps, false and NULL do not.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    sql: String,
    schema: SchemaRef,
    expression: Arc<dyn PhysicalExpr>,
}

impl Condition {
    /// Plans `sql` over columns with the names and types of `schema`.
    pub(crate) fn plan(sql: &str, schema: SchemaRef) -> std::result::Result<Self, ExpressionError> {
        let invalid = |error: &DataFusionError| ExpressionError::Invalid {
            sql: sql.to_owned(),
            reason: reason(error),
            known: schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
        };
        // Names are taken as they are written (web data sets have columns like `NSFW`); only if
        // that fails are they read as SQL reads them, in lower case.
        let expression = plan(sql, &schema, false)
            .or_else(|error| plan(sql, &schema, true).map_err(|_| error))
            .map_err(|error| invalid(&error))?;
        let got = expression
            .data_type(&schema)
            .map_err(|error| invalid(&error))?;
        // NULL alone has no type, and is a condition that nothing meets.
        if !matches!(got, DataType::Boolean | DataType::Null) {
            return Err(ExpressionError::NotBoolean {
                sql: sql.to_owned(),
                got,
            });
        }
        Ok(Self {
            sql: sql.to_owned(),
            schema,
            expression,
        })
    }

    /// The expression as it was written.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The columns it may name.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether anything can meet it where its columns lie within `bounds`, as far as arithmetic of
    /// intervals says.
    pub(crate) fn can_be_met(&self, bounds: &[Bounds<'_>]) -> bool {
        if !check_support(&self.expression, &self.schema) {
            return true;
        }
        // What cannot be worked out may be met.
        self.feasible(bounds).unwrap_or(true)
    }

    fn feasible(&self, bounds: &[Bounds<'_>]) -> Result<bool> {
        let mut known = Vec::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            let of_column = bounds.iter().find(|bounds| bounds.column == field.name());
            let Some(bounds) = of_column.filter(|_| field.data_type().is_numeric()) else {
                if let Ok(interval) = Interval::make_unbounded(field.data_type()) {
                    known.push(boundaries(field.name(), index, interval));
                }
                continue;
            };
            let limit = |limit: f64| ScalarValue::from(limit).cast_to(field.data_type());
            let interval = Interval::try_new(limit(bounds.least)?, limit(bounds.most)?)?;
            known.push(boundaries(field.name(), index, interval));
        }
        let context = AnalysisContext::new(known);
        let found = analyze(&self.expression, context, &self.schema)?;
        // Where nothing can meet it, no column has any value left.
        Ok(found
            .boundaries
            .iter()
            .any(|column| column.interval.is_some()))
    }

    /// For each row of `batch`, which has the planned columns, whether the condition is met.
    pub(crate) fn met(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let value = self
            .expression
            .evaluate(batch)?
            .into_array(batch.num_rows())?;
        let Some(conditions): Option<&BooleanArray> = value.as_boolean_opt() else {
            return Ok(vec![false; batch.num_rows()]);
        };
        Ok(conditions.iter().map(|met| met == Some(true)).collect())
    }
}

/// Between which values a column lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    /// Its name.
    pub(crate) column: &'a str,
    /// The least value.
    pub(crate) least: f64,
    /// The greatest.
    pub(crate) most: f64,
}

fn boundaries(name: &str, index: usize, interval: Interval) -> ExprBoundaries {
    ExprBoundaries {
        column: Column::new(name, index),
        interval: Some(interval),
        distinct_count: Precision::Absent,
    }
}

fn plan(sql: &str, schema: &SchemaRef, lower_case: bool) -> Result<Arc<dyn PhysicalExpr>> {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.enable_ident_normalization = lower_case;
    let state = SessionContext::new_with_config(config).state();
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    let logical = state.create_logical_expr(sql, &columns)?;
    state.create_physical_expr(logical, &columns)
}

/// The first line of what DataFusion says, without its category.
fn reason(error: &DataFusionError) -> String {
    let message = error.strip_backtrace();
    let line = message.lines().next().unwrap_or_default();
    let line = line.split_once(" error: ").map_or(line, |(_, rest)| rest);
    // It ends with a list of columns; ours is given anyway.
    let line = line
        .split(" Valid fields are")
        .next()
        .unwrap_or(line)
        .trim_end_matches('.');
    // The parser's message comes in the form that Rust prints for debugging.
    let line = line
        .strip_prefix("ParserError(\"")
        .and_then(|line| line.strip_suffix("\")"))
        .unwrap_or(line);
    let line = line.replace("No field named", "there is no column");
    let mut letters = line.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

/// The columns that a `where` may name: `known` ones of the row, and `aspect` once `width` is.
pub(crate) fn visible(known: &[FieldRef]) -> SchemaRef {
    let mut fields = known.to_vec();
    let sized = fields.iter().any(|field| field.name() == WIDTH);
    if sized && !fields.iter().any(|field| field.name() == ASPECT) {
        fields.push(Arc::new(Field::new(ASPECT, DataType::Float64, true)));
    }
    Arc::new(Schema::new(fields))
}

/// The visible columns `schema` of `batch`.
pub(crate) fn visible_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> std::result::Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None if field.name() == ASPECT => aspect(batch),
            _ => row::column(batch, field.name()).cloned(),
        })
        .collect::<std::result::Result<_, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn aspect(batch: &RecordBatch) -> std::result::Result<ArrayRef, ArrowError> {
    let side = |name| {
        row::column(batch, name)?
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| ArrowError::SchemaError(format!("the column `{name}` is no int32")))
    };
    let (width, height) = (side(WIDTH)?, side(HEIGHT)?);
    let aspect: Float64Array = width
        .iter()
        .zip(height.iter())
        .map(|sides| match sides {
            (Some(width), Some(height)) if width > 0 && height > 0 => {
                Some(f64::from(width.max(height)) / f64::from(width.min(height)))
            }
            _ => None,
        })
        .collect();
    Ok(Arc::new(aspect))
}

#[cfg(test)]
mod tests;
