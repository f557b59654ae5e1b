//! The row: Arrow schemas, reject reasons, pieces, Parquet in and out.
