//! A folder with input shards, a pipeline file and an output folder, for one test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, capfilt, package, without_folder};
use crate::shards::{self, Row};

/// Reads pictures from the column `image`, decodes and keeps all: needs no model.
pub(crate) const WITHOUT_MODELS: &str = r#"
[[stage]]
decode = { max-pixels = "1 MP", min-side = 16 }
"#;

/// One test's folder; removed at its end.
pub(crate) struct Work {
    folder: TempDir,
}

impl Work {
    /// A pipeline with these stages over `in/**/*.parquet`, written to `out`.
    pub(crate) fn new(stages: &str) -> Self {
        Self::with_source("columns = { image = \"image\", text = \"text\" }", stages)
    }

    /// The same, with these lines in `[source]`.
    pub(crate) fn with_source(source: &str, stages: &str) -> Self {
        let work = Self {
            folder: TempDir::new().unwrap(),
        };
        work.write_pipeline(&format!(
            "name = \"test\"\ndevice = \"cpu\"\n\n[source]\nshards = \"{}\"\n{source}\n{stages}\n[sink]\noutput = \"{}\"\n",
            work.path("in/**/*.parquet").display(),
            work.output().display(),
        ));
        work
    }

    /// A caption and a score stage with the committed packages.
    pub(crate) fn model_stages() -> String {
        format!(
            "[[stage]]\ndecode = {{}}\n\n[[stage]]\ncaption = {{ model = \"{}\", decoding = \"greedy\" }}\n\n\
             [[stage]]\nscore = {{ model = \"{}\" }}\n\n[keep]\nthreshold = 0.5\n",
            package("captioner").display(),
            package("filter").display(),
        )
    }

    /// A path in the folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The pipeline file.
    pub(crate) fn pipeline(&self) -> PathBuf {
        self.path("pipeline.toml")
    }

    /// The text of the pipeline file.
    pub(crate) fn pipeline_text(&self) -> String {
        fs_err::read_to_string(self.pipeline()).unwrap()
    }

    /// Writes the pipeline file.
    pub(crate) fn write_pipeline(&self, text: &str) {
        fs_err::write(self.pipeline(), text).unwrap();
    }

    /// The output folder.
    pub(crate) fn output(&self) -> PathBuf {
        self.path("out")
    }

    /// Writes the shard `in/<name>.parquet`.
    pub(crate) fn shard(&self, name: &str, rows: &[Row]) {
        shards::write(&self.shard_path(name), rows);
    }

    /// Where the shard of this name lies.
    pub(crate) fn shard_path(&self, name: &str) -> PathBuf {
        self.path(&format!("in/{name}.parquet"))
    }

    /// Runs the pipeline.
    pub(crate) fn run(&self) -> Ran {
        self.run_with(&[])
    }

    /// Runs the pipeline with more arguments.
    pub(crate) fn run_with(&self, more: &[&str]) -> Ran {
        let pipeline = self.pipeline();
        let mut arguments = vec!["run", pipeline.to_str().unwrap()];
        arguments.extend(more);
        capfilt(arguments)
    }

    /// What a finished program told, with the folder's name taken out.
    pub(crate) fn told(&self, ran: &Ran) -> String {
        without_folder(&ran.told(), self.folder.path())
    }

    /// One output file: `scored`, `dataset` or `rejected` of a piece.
    pub(crate) fn read(&self, kind: &str, piece: &str) -> RecordBatch {
        shards::read(&self.output().join(kind).join(format!("{piece}.parquet")))
    }

    /// `run.json`.
    pub(crate) fn run_json(&self) -> Value {
        let text = fs_err::read_to_string(self.output().join("run.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Every file of the output folder.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        shards::files(&self.output())
    }

    /// Asserts that every Parquet file of the output can be read to its end and nothing else is left behind.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        assert_whole(&self.output());
    }

    /// Every output row of a kind over all pieces, as text, without what may differ between equal runs.
    pub(crate) fn rows(&self, kind: &str) -> Vec<String> {
        rows(&self.output(), kind)
    }
}

/// Asserts that every Parquet file of an output can be read to its end and nothing else is left behind.
#[track_caller]
pub(crate) fn assert_whole(output: &Path) {
    for file in shards::files(output) {
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("parquet") => drop(shards::read(&output.join(&file))),
            Some("json" | "html") => {}
            _ if file.as_os_str() == ".lock" => {}
            _ => panic!("left behind: {}", file.display()),
        }
    }
}

/// The manifests of an output folder, oldest first.
pub(crate) fn manifests(output: &Path) -> Vec<Value> {
    let runs = output.join("runs");
    // One that is being written has another ending.
    let files: BTreeSet<String> = shards::files(&runs)
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "json"))
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let read = |name| fs_err::read(runs.join(format!("{name}.json"))).unwrap();
    files
        .iter()
        .map(|name| serde_json::from_slice(&read(name)).unwrap())
        .collect()
}

/// Every row of a kind in an output, as text, without what may differ between equal runs.
pub(crate) fn rows(output: &Path, kind: &str) -> Vec<String> {
    let folder = output.join(kind);
    shards::files(&folder)
        .iter()
        .flat_map(|file| printed(&folder.join(file)))
        .collect()
}

/// Every row of a Parquet file as one line, with `fetch.ms` and `fetch.attempts` left out.
fn printed(path: &Path) -> Vec<String> {
    let batch = shards::read(path);
    let options = arrow::util::display::FormatOptions::default().with_null("null");
    let schema = batch.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name(), lasting(field.name(), column)))
        .collect();
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, column)| {
            let formatter = arrow::util::display::ArrayFormatter::try_new(column, &options);
            (name, formatter.unwrap())
        })
        .collect();
    let line = |row: usize| {
        let values = columns
            .iter()
            .map(|(name, column)| format!("{name}={}", column.value(row)));
        values.collect::<Vec<_>>().join(" ")
    };
    (0..batch.num_rows()).map(line).collect()
}

/// A column without what may differ between equal runs.
fn lasting(name: &str, column: &ArrayRef) -> ArrayRef {
    if name != "fetch" {
        return Arc::clone(column);
    }
    let fetch = column.as_struct();
    let (fields, arrays): (Vec<_>, Vec<_>) = fetch
        .fields()
        .iter()
        .cloned()
        .zip(fetch.columns().iter().cloned())
        .filter(|(field, _)| !["ms", "attempts"].contains(&field.name().as_str()))
        .unzip();
    Arc::new(StructArray::new(
        fields.into(),
        arrays,
        fetch.nulls().cloned(),
    ))
}
