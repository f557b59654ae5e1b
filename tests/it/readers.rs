//! What a run wrote is read by other programs' libraries, as it lies, without conversion.

use std::process::Command;

use crate::program::{Ran, models_can_run, root};
use crate::shards::Row;
use crate::work::{WITHOUT_MODELS, Work};

/// A Python with `tests/it/requirements.txt`, or nothing, visibly.
pub(crate) fn python() -> Option<String> {
    let python = crate::program::python();
    let found = Command::new(&python)
        .args(["-c", "import pyarrow, datasets, duckdb, PIL"])
        .output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    crate::program::skipped(format_args!(
        "`{python}` has no pyarrow, datasets and duckdb; CAPFILT_PYTHON names one that has"
    ));
    None
}

#[test]
fn pyarrow_datasets_and_duckdb_read_the_output() {
    let Some(python) = python() else { return };
    let stages = if models_can_run() {
        Work::model_stages()
    } else {
        WITHOUT_MODELS.to_owned()
    };
    let work = Work::new(&stages.replace("threshold = 0.5", "threshold = 0.0"));
    let mut rows: Vec<Row> = (0..6).map(|seed| Row::good(seed, "a red square")).collect();
    rows.push(Row::with_picture(b"nothing".to_vec(), "no picture"));
    work.shard("a", &rows);
    work.run().expect_code(0);
    let output = Command::new(python)
        .arg(root().join("tests/it/read_output.py"))
        .arg(work.output())
        .args(["7", "6", "96", "80"])
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", work.path("cache"))
        .output()
        .unwrap();
    let ran = Ran::from(output).expect_code(0);
    assert_eq!(ran.stdout.trim_end(), "pyarrow, datasets and duckdb agree");
}
