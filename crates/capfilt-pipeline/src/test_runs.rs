//! Whole runs without models: shards in, files out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use capfilt_data::{Footer, Reject};
use capfilt_models::Stop;
use tokio::sync::watch;

use crate::derive::PieceFiles;
use crate::error::RunError;
use crate::file::Dataset;
use crate::record::RunState;
use crate::test_shards::{bmp, column_texts, data_url, texts, write_parquet};
use crate::{Decision, Overrides, Progress, Retry, RunContext, RunReport, decide, load, run};

mod retry;

/// A pipeline in a folder of its own.
struct Lab {
    folder: tempfile::TempDir,
}

const PIPELINE: &str = r#"
name = "lab"
[source]
shards = "in/**/*.parquet"
columns = { url = "url", text = "text" }
rows-per-piece = 10
[[stage]]
where-text = "length(text) > 2"
[[stage]]
fetch = { retries = 0 }
[[stage]]
decode = { min-side = 2 }
[[stage]]
where = "width < 50"
[sink]
output = "out"
"#;

impl Lab {
    fn new() -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        lab.write_pipeline(PIPELINE);
        lab
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write_pipeline(&self, text: &str) {
        fs_err::write(self.path("p.toml"), text).unwrap();
    }

    /// A shard whose row `n` has the text `text n` and a picture of `n % 5 + 2` pixels.
    fn shard(&self, name: &str, rows: usize, group: usize) {
        let urls = (0..rows).map(|row| {
            let side = u32::try_from(row % 5 + 2).unwrap();
            Some(data_url(&bmp(side, side, u8::try_from(row % 200).unwrap())))
        });
        let captions = (0..rows).map(|row| Some(format!("text {row}")));
        let extra = (0..rows).map(|row| Some(format!("extra {row}")));
        let batch = texts(vec![
            ("url", urls.collect()),
            ("text", captions.collect()),
            ("width", extra.collect()),
        ]);
        write_parquet(
            &self.path("in").join(format!("{name}.parquet")),
            &batch,
            group,
        );
    }

    async fn try_run_with(
        &self,
        overrides: &Overrides,
        changed: bool,
    ) -> Result<RunReport, RunError> {
        let pipeline = load(&self.path("p.toml"), overrides)?;
        let (progress, _) = watch::channel(Progress::default());
        run(
            &pipeline,
            RunContext {
                runtime: None,
                stop: Stop::new(),
                progress,
                changed,
                retry: Retry::default(),
            },
        )
        .await
    }

    async fn try_run(&self) -> Result<RunReport, RunError> {
        self.try_run_with(&Overrides::default(), false).await
    }

    async fn run(&self) -> RunReport {
        self.try_run().await.unwrap()
    }

    fn read(&self, below: &str) -> RecordBatch {
        let footer = Footer::read(self.path("out").join(below)).unwrap();
        let batches: Vec<RecordBatch> = footer
            .batches(None, 1_000)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        match batches.first() {
            Some(first) => arrow::compute::concat_batches(&first.schema(), &batches).unwrap(),
            None => RecordBatch::new_empty(Arc::clone(&footer.schema)),
        }
    }

    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path("out"), &self.path("out"), &mut found);
        found.sort();
        found
    }
}

fn plain(texts: Vec<Option<String>>) -> Vec<String> {
    texts.into_iter().map(Option::unwrap_or_default).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_out_once_and_in_order_whatever_the_row_groups() {
    for group in [1, 3, 7, 10, 1_000] {
        let lab = Lab::new();
        lab.shard("a", 25, group);
        let report = lab.run().await;
        assert_eq!(report.record.state, RunState::Finished);
        let (manifests, files): (Vec<_>, Vec<_>) = lab
            .files()
            .into_iter()
            .partition(|file| file.starts_with("runs/"));
        assert_eq!(manifests.len(), 1);
        assert_eq!(
            files,
            [
                ".lock",
                "dataset/a/0.parquet",
                "dataset/a/10.parquet",
                "dataset/a/20.parquet",
                "rejected/a/0.parquet",
                "rejected/a/10.parquet",
                "rejected/a/20.parquet",
                "run.json",
                "scored/a/0.parquet",
                "scored/a/10.parquet",
                "scored/a/20.parquet",
            ]
        );
        let mut ids = Vec::new();
        let mut passed = Vec::new();
        for piece in [
            "scored/a/0.parquet",
            "scored/a/10.parquet",
            "scored/a/20.parquet",
        ] {
            let batch = lab.read(piece);
            ids.extend(plain(column_texts(&batch, "id")));
            passed.extend(plain(column_texts(&batch, "input_width")));
            assert_eq!(
                batch.column_by_name("reject").unwrap().null_count(),
                batch.num_rows()
            );
        }
        assert_eq!(
            ids,
            (0..25).map(|row| format!("a:{row}")).collect::<Vec<_>>()
        );
        assert_eq!(
            passed,
            (0..25)
                .map(|row| format!("extra {row}"))
                .collect::<Vec<_>>()
        );
        assert_eq!(report.record.counts.decided.images, 25);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_has_a_reason_and_what_stays_is_in_the_dataset() {
    let lab = Lab::new();
    let batch = texts(vec![
        (
            "url",
            vec![
                Some(data_url(&bmp(8, 8, 1))),
                Some(data_url(b"<html>")),
                None,
                Some(data_url(&bmp(60, 60, 1))),
                Some(data_url(&bmp(8, 8, 2))),
                Some(data_url(&bmp(8, 8, 3))),
            ],
        ),
        (
            "text",
            vec![
                Some("good \u{202e}\0".to_owned()),
                Some("not a picture".to_owned()),
                Some("no url".to_owned()),
                Some("too wide".to_owned()),
                Some("no".to_owned()),
                None,
            ],
        ),
    ]);
    write_parquet(&lab.path("in/b.parquet"), &batch, 4);
    let report = lab.run().await;

    let scored = lab.read("scored/b.parquet");
    assert_eq!(
        plain(column_texts(&scored, "reject")),
        ["", "not-an-image", "missing-url", "where", "", ""]
    );
    assert_eq!(
        plain(column_texts(&scored, "stage")),
        ["", "decode", "fetch", "where", "", ""]
    );
    assert_eq!(scored.column_by_name("image").unwrap().null_count(), 2);

    let rejected = lab.read("rejected/b.parquet");
    assert_eq!(
        plain(column_texts(&rejected, "id")),
        ["b:1", "b:2", "b:3", "b:4"]
    );
    assert_eq!(
        plain(column_texts(&rejected, "reason")),
        ["not-an-image", "missing-url", "where", "where-text"]
    );
    assert_eq!(
        plain(column_texts(&rejected, "stage")),
        ["decode", "fetch", "where", "where-text"]
    );
    assert_eq!(plain(column_texts(&rejected, "text")), ["", "", "", "no"]);

    let dataset = lab.read("dataset/b.parquet");
    assert_eq!(plain(column_texts(&dataset, "id")), ["b:0"]);
    let captions = dataset
        .column_by_name("captions")
        .unwrap()
        .as_list::<i32>()
        .value(0);
    assert_eq!(
        captions.as_struct().column(0).as_string::<i32>().value(0),
        "good \u{202e}\0"
    );

    let counts = &report.record.counts;
    assert_eq!(counts.scored.rows, 6);
    assert_eq!(counts.scored.rejected["missing-url"], 1);
    assert_eq!(counts.decided.images, 1);
    assert_eq!(counts.decided.images_without_captions, 2);
    assert_eq!(counts.decided.removed[Reject::WhereText.as_str()], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_run_does_nothing() {
    let lab = Lab::new();
    lab.shard("a", 25, 7);
    assert!(!lab.run().await.was_finished());
    let before = fs_err::read(lab.path("out/scored/a/10.parquet")).unwrap();
    let again = lab.run().await;
    assert!(again.was_finished());
    assert_eq!(again.record.counts.scored.rows, 25);
    assert_eq!(
        fs_err::read(lab.path("out/scored/a/10.parquet")).unwrap(),
        before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_after_each_step_of_publishing() {
    let lab = Lab::new();
    lab.shard("a", 25, 7);
    lab.run().await;
    let remove = |file: &str| fs_err::remove_file(lab.path("out").join(file)).unwrap();
    // Killed before `rejected` was published: decided again, nothing fetched.
    remove("rejected/a/10.parquet");
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (0, 1));
    // Killed after `scored` was published.
    remove("rejected/a/10.parquet");
    remove("dataset/a/10.parquet");
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (0, 1));
    // Killed before `scored` was published, with a file left behind.
    remove("scored/a/10.parquet");
    fs_err::write(lab.path("out/scored/a/.capfilt-x.unfinished"), "half").unwrap();
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (1, 0));
    assert_eq!(report.record.counts.scored.rows, 25);
    assert!(!lab.files().iter().any(|file| file.contains("unfinished")));
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_files_follow_the_scored_file_that_is_there() {
    let lab = Lab::new();
    lab.shard("a", 5, 7);
    lab.run().await;
    let files = PieceFiles::new(&lab.path("out").into(), Path::new("a.parquet"));
    let old = files.scored.read().unwrap();
    // Another writer published other rows under the same name.
    let mut footer = Footer::read(&files.scored).unwrap();
    assert!(
        files
            .derived(&footer, &decision(&lab), Dataset::Now)
            .is_some()
    );
    let other = Lab::new();
    other.shard("a", 4, 7);
    other.run().await;
    let scored = lab.path("out/scored/a.parquet");
    fs_err::copy(other.path("out/scored/a.parquet"), &scored).unwrap();
    footer = Footer::read(&files.scored).unwrap();
    assert!(
        files
            .derived(&footer, &decision(&lab), Dataset::Now)
            .is_none()
    );
    fs_err::write(&scored, old).unwrap();
    footer = Footer::read(&files.scored).unwrap();
    assert!(
        files
            .derived(&footer, &decision(&lab), Dataset::Now)
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_is_left_for_later_is_made_by_the_next_decision() {
    let lab = Lab::new();
    lab.write_pipeline(&format!("{PIPELINE}\n[store]\ndataset = \"later\""));
    lab.shard("a", 25, 7);
    let report = lab.run().await;
    assert_eq!(report.record.counts.decided.images, 25);
    let has_dataset = || lab.files().iter().any(|file| file.contains("dataset/"));
    assert!(!has_dataset());
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (0, 0));

    let output = lab.path("out").into();
    let decide = |decision: &Decision| decide(&output, decision, &Stop::new()).unwrap();
    assert_eq!(decide(&Decision::default()).datasets, 3);
    assert_eq!(lab.read("dataset/a/0.parquet").num_rows(), 10);
    assert_eq!(decide(&Decision::default()).unchanged, 3);
    // The dataset that a run would have written may stay; one of another decision may not.
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (0, 0));
    assert!(has_dataset());
    let nothing = Decision {
        set: vec!["keep.where=\"source = 'human'\"".to_owned()],
        ..Decision::default()
    };
    assert_eq!(decide(&nothing).after.images, 0);
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (0, 3));
    assert!(!has_dataset());
}

fn decision(lab: &Lab) -> String {
    load(&lab.path("p.toml"), &Overrides::default())
        .unwrap()
        .keep
        .digest()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_stage_is_run_again_and_an_edited_decision_is_only_decided_again() {
    let lab = Lab::new();
    lab.shard("a", 25, 7);
    lab.run().await;
    lab.write_pipeline(&PIPELINE.replace("width < 50", "width < 4"));
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (3, 0));
    assert_eq!(report.record.counts.scored.rejected["where"], 15);

    let keep = "[keep]\nwhere = \"text = 'text 0'\"\n[sink]";
    lab.write_pipeline(
        &PIPELINE
            .replace("width < 50", "width < 4")
            .replace("[sink]", keep),
    );
    let report = lab.run().await;
    assert_eq!((report.scored, report.decided), (0, 3));
    assert_eq!(report.record.counts.decided.images, 1);
    assert_eq!(report.record.counts.decided.removed["not-kept"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_change_no_result_make_nothing_again() {
    let lab = Lab::new();
    lab.shard("a", 5, 7);
    lab.run().await;
    lab.write_pipeline(&PIPELINE.replace("retries = 0", "retries = 0, concurrency = 3"));
    assert!(lab.run().await.was_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_of_another_pipeline_is_refused() {
    let lab = Lab::new();
    lab.shard("a", 5, 7);
    lab.run().await;
    lab.write_pipeline(&PIPELINE.replace("name = \"lab\"", "name = \"other\""));
    let error = lab.try_run().await.unwrap_err();
    assert!(matches!(error, RunError::OtherPipeline { .. }) && error.is_configuration());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_shard_does_not_stop_the_others() {
    let lab = Lab::new();
    lab.shard("a", 12, 7);
    lab.shard("c", 3, 7);
    lab.shard("e", 0, 7);
    fs_err::write(lab.path("in/b.parquet"), "not parquet").unwrap();
    // A file whose footer is whole and whose rows are not.
    let mut broken = fs_err::read(lab.path("in/a.parquet")).unwrap();
    let middle = broken.len() / 3;
    broken[4..middle].fill(0xff);
    fs_err::write(lab.path("in/d.parquet"), broken).unwrap();
    let report = lab.run().await;
    assert_eq!(report.record.state, RunState::Partial);
    let mut failed: Vec<_> = report
        .record
        .failed
        .iter()
        .map(|failed| failed.shard.as_str())
        .collect();
    failed.dedup();
    assert_eq!(failed, ["b", "d"]);
    assert_eq!(lab.read("scored/c.parquet").num_rows(), 3);
    assert_eq!(lab.read("scored/e.parquet").num_rows(), 0);
    assert_eq!(lab.read("scored/a/10.parquet").num_rows(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_changed_is_left_until_asked_for() {
    let lab = Lab::new();
    lab.shard("a", 5, 7);
    lab.run().await;
    lab.shard("a", 5, 2);
    assert!(lab.run().await.was_finished());
    let report = lab.try_run_with(&Overrides::default(), true).await.unwrap();
    assert_eq!(report.scored, 1);
    assert!(lab.run().await.was_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_cannot_write_to_one_folder() {
    let lab = Lab::new();
    lab.shard("a", 5, 7);
    let lock = crate::lock::OutputLock::take(&lab.path("out").into()).unwrap();
    assert!(matches!(
        lab.try_run().await.unwrap_err(),
        RunError::Busy { .. }
    ));
    drop(lock);
    lab.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_leaves_nothing_half_written() {
    let lab = Lab::new();
    lab.shard("a", 25, 7);
    let pipeline = load(&lab.path("p.toml"), &Overrides::default()).unwrap();
    let (progress, _) = watch::channel(Progress::default());
    let stop = Stop::new();
    stop.stop();
    let context = RunContext {
        runtime: None,
        stop,
        progress,
        changed: false,
        retry: Retry::default(),
    };
    let report = run(&pipeline, context).await.unwrap();
    assert_eq!(report.record.state, RunState::Stopped);
    assert!(!lab.files().iter().any(|file| file.contains("unfinished")));
    assert_eq!(lab.run().await.record.counts.scored.rows, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_one_name_are_refused_before_anything_runs() {
    let lab = Lab::new();
    lab.shard("x/a", 5, 7);
    lab.shard("y/a", 5, 7);
    let glob = |below: &str| lab.path(below).to_string_lossy().into_owned();
    let overrides = Overrides {
        inputs: vec![glob("in/x/*.parquet"), glob("in/y/*.parquet")],
        ..Overrides::default()
    };
    let error = lab.try_run_with(&overrides, false).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("would both be written to `a.parquet`"),
        "{cause}"
    );
    assert!(!lab.path("out").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_taken_again_without_the_shards() {
    let lab = Lab::new();
    lab.shard("a", 25, 7);
    lab.run().await;
    fs_err::remove_dir_all(lab.path("in")).unwrap();
    let by_text = |dry_run| Decision {
        set: vec!["keep.where=text = 'text 3'".to_owned()],
        dry_run,
        ..Decision::default()
    };
    let report = decide(&lab.path("out").into(), &by_text(true), &Stop::new()).unwrap();
    assert_eq!(
        (report.before.images, report.after.images, report.pieces),
        (25, 1, 3)
    );
    assert_eq!(lab.read("dataset/a/0.parquet").num_rows(), 10);
    decide(&lab.path("out").into(), &by_text(false), &Stop::new()).unwrap();
    assert_eq!(lab.read("dataset/a/0.parquet").num_rows(), 1);
    let again = decide(&lab.path("out").into(), &by_text(false), &Stop::new()).unwrap();
    assert_eq!(again.unchanged, 3);
}
