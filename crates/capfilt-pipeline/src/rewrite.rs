//! Writing a `scored` file again with other contents in some rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use capfilt_data::{Footer, PieceWriter, columns};

use crate::counts::ScoredCounts;
use crate::derive::passed;
use crate::error::RunError;
use crate::row::{BATCH_ROWS, candidates, project};
use crate::write::counted;

/// Writes the file `old` again under its name, not yet published, and counts what is in it. `change`
/// gets the place of a batch's first row in the file and the batch, and gives what is written instead. A
/// batch is held at a time. `stopped` is asked now and then; nothing where it said so.
pub(crate) fn rewrite(
    old: &Footer,
    stopped: &dyn Fn() -> bool,
    mut change: impl FnMut(u64, RecordBatch) -> Result<RecordBatch, RunError>,
) -> Result<Option<(PieceWriter, ScoredCounts)>, RunError> {
    // What is read has the file's pairs in its schema, too.
    let metadata = columns::scored(&passed(&old.schema)).metadata().clone();
    let fields = old.schema.fields().clone();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let mut writer = PieceWriter::create(&old.path, Arc::clone(&schema))?;
    let mut counts = ScoredCounts::default();
    let mut start = 0;
    for batch in old.batches(None, BATCH_ROWS)? {
        if stopped() {
            return Ok(None);
        }
        let batch = project(&batch?, &schema).map_err(|source| old.unreadable(source))?;
        let rows = batch.num_rows() as u64;
        let batch = change(start, batch)?;
        let found = candidates(&batch).and_then(|candidates| counted(&batch, &candidates));
        counts.add(&found.map_err(|source| RunError::Plan {
            piece: old.path.to_string(),
            source,
        })?);
        writer.write(&batch)?;
        start += rows;
    }
    Ok(Some((writer, counts)))
}
