//! Pairs of hashes that differ in few bits.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt8Array};
use arrow::compute::binary;
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::{Bucket, Search};

/// The bands of the hashes in the table `hashes`. A bucket's number is that of the band and, below
/// it, the band's 16 bits.
const BANDS: &str = "
    SELECT rank, hash, asks,
        CAST((band << CAST(16 AS BIGINT UNSIGNED))
            | ((hash >> (band * CAST(16 AS BIGINT UNSIGNED))) & CAST(65535 AS BIGINT UNSIGNED))
            AS INTEGER UNSIGNED) AS bucket
    FROM hashes CROSS JOIN (
        SELECT CAST(band AS BIGINT UNSIGNED) AS band FROM (VALUES (0), (1), (2), (3)) AS v (band)
    ) AS b";

/// Pairs of near hashes that share a bucket: `rank`, the earlier rank `of` (uint64), `distance`
/// (uint8), ordered by ranks. A pair comes once for each band that both share.
const PAIRS: &str = "
    SELECT late.rank, early.rank AS of, hamming_distance(late.hash, early.hash) AS distance
    FROM (
        SELECT * FROM bands LEFT ANTI JOIN oversized ON bands.bucket = oversized.bucket WHERE asks
    ) AS late
    JOIN bands AS early ON late.bucket = early.bucket
    WHERE early.rank < late.rank AND hamming_distance(late.hash, early.hash) <= $distance
    ORDER BY late.rank, of";

/// Buckets of more than `$largest` hashes.
const OVERSIZED: &str = "
    SELECT bucket, CAST(count(*) AS BIGINT UNSIGNED) AS hashes
    FROM bands GROUP BY bucket HAVING count(*) > $largest ORDER BY bucket";

/// Rows of a batch in memory, as elsewhere in DataFusion.
const BATCH_ROWS: usize = 8192;

/// Makes `hashes` the table that is searched: `rank` and `hash` (uint64), both different in every
/// row, and `asks` (boolean), whether near hashes before this one are wanted. Gives the buckets
/// that the search leaves out.
pub(super) async fn prepare(
    session: &SessionContext,
    hashes: &RecordBatch,
    search: &Search,
) -> Result<Vec<Bucket>> {
    session.register_udf(hamming_distance());
    let starts = (0..hashes.num_rows()).step_by(BATCH_ROWS);
    let batches = starts.map(|at| hashes.slice(at, BATCH_ROWS.min(hashes.num_rows() - at)));
    let table = MemTable::try_new(hashes.schema(), vec![batches.collect()])?;
    session.register_table("hashes", Arc::new(table))?;
    let bands = session.sql(BANDS).await?.into_view();
    session.register_table("bands", bands)?;
    let largest = i64::try_from(search.largest_bucket.get()).unwrap_or(i64::MAX);
    let largest = vec![("largest", ScalarValue::from(largest))];
    let oversized = session.sql(OVERSIZED).await?.with_param_values(largest)?;
    let oversized = oversized.cache().await?;
    session.register_table("oversized", oversized.clone().into_view())?;
    let batches = oversized.collect().await?;
    let buckets = batches.iter().flat_map(|batch| {
        let buckets = batch.column(0).as_primitive::<UInt32Type>().values();
        let hashes = batch.column(1).as_primitive::<UInt64Type>().values();
        buckets.iter().zip(hashes).map(|(bucket, hashes)| {
            let [_, band, high, low] = bucket.to_be_bytes();
            Bucket {
                band,
                value: u16::from_be_bytes([high, low]),
                hashes: *hashes,
            }
        })
    });
    Ok(buckets.collect())
}

/// The near pairs of what was prepared.
pub(super) async fn pairs(
    session: &SessionContext,
    search: &Search,
) -> Result<SendableRecordBatchStream> {
    let distance = vec![("distance", ScalarValue::from(search.distance.bits()))];
    let pairs = session.sql(PAIRS).await?.with_param_values(distance)?;
    pairs.execute_stream().await
}

/// SQL's `hamming_distance(a, b)`: in how many bits two uint64 differ, as uint8.
fn hamming_distance() -> ScalarUDF {
    let argument = DataType::UInt64;
    create_udf(
        "hamming_distance",
        vec![argument.clone(), argument],
        DataType::UInt8,
        Volatility::Immutable,
        Arc::new(|arguments| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let (a, b) = (
                arrays[0].as_primitive::<UInt64Type>(),
                arrays[1].as_primitive::<UInt64Type>(),
            );
            let distance: UInt8Array = binary(a, b, |a, b| {
                #[expect(clippy::cast_possible_truncation, reason = "64 at most")]
                let bits = (a ^ b).count_ones() as u8;
                bits
            })?;
            Ok(ColumnarValue::Array(Arc::new(distance)))
        }),
    )
}
