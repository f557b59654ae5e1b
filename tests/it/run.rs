//! Whole runs: from shards to the dataset, and again.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type};

use crate::program::{capfilt, command, models_can_run};
use crate::shards::{Row, listed_texts, png, texts};
use crate::support::{FixtureServer, Response};
use crate::work::{WITHOUT_MODELS, Work, manifests};

/// Twelve rows in two shards, of which two are bad.
fn two_shards(work: &Work) {
    let rows = |first: u8| {
        let mut rows: Vec<Row> = (first..first + 5)
            .map(|seed| Row::good(seed, "a red square"))
            .collect();
        rows.push(Row::with_picture(b"nothing".to_vec(), "no picture"));
        rows
    };
    work.shard("a", &rows(0));
    work.shard("deep/b", &rows(5));
}

#[test]
fn a_finished_run_says_so_and_does_nothing() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    work.run().expect_code(0);
    let modified = |work: &Work| {
        let folder = work.output();
        let time = |file| {
            fs_err::metadata(folder.join(file))
                .unwrap()
                .modified()
                .unwrap()
        };
        work.files()
            .into_iter()
            .filter(|file| file.extension().is_some_and(|e| e == "parquet"))
            .map(time)
            .collect::<Vec<_>>()
    };
    let before = modified(&work);
    assert_eq!(before.len(), 6);
    let again = work.run().expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );
    assert_eq!(modified(&work), before);
}

#[test]
fn a_shard_is_cut_into_pieces_and_rows_keep_their_order() {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 4",
        WITHOUT_MODELS,
    );
    let rows: Vec<Row> = (0..10)
        .map(|seed| Row::good(seed, &format!("text {seed}")))
        .collect();
    work.shard("a", &rows);
    work.run().expect_code(0);
    let ids: Vec<_> = ["a/0", "a/4", "a/8"]
        .iter()
        .flat_map(|piece| texts(&work.read("scored", piece), "id"))
        .map(Option::unwrap)
        .collect();
    assert_eq!(
        ids,
        (0..10).map(|row| format!("a:{row}")).collect::<Vec<_>>()
    );
}

#[test]
fn an_input_that_grew_is_gone_on_with_and_each_run_keeps_its_manifest() {
    let work = Work::new(&format!(
        "{WITHOUT_MODELS}\n[keep]\nwhere = \"text <> ''\"\n"
    ));
    work.shard("a", &[Row::good(1, "one"), Row::good(2, "two")]);
    work.run().expect_code(0);
    let made = |file| {
        fs_err::metadata(work.output().join(file))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = made("scored/a.parquet");
    work.run().expect_code(0);
    assert_eq!(
        manifests(&work.output()).len(),
        1,
        "a run that had nothing to do left one"
    );
    work.shard("b", &[Row::good(3, "three")]);
    work.run().expect_code(0);
    assert_eq!(
        made("scored/a.parquet"),
        before,
        "the old piece was made again"
    );
    // Decisions count when they change something, and are told from the run by their time.
    let decide = |rule: &str, more: &[&str]| {
        let output = work.output();
        let rule = format!("keep.where={rule}");
        let arguments = ["decide", output.to_str().unwrap(), "--set", &rule];
        capfilt([&arguments[..], more].concat()).expect_code(0)
    };
    decide("text <> 'one'", &["--dry-run"]);
    assert_eq!(manifests(&work.output()).len(), 2);
    for _ in 0..2 {
        decide("text <> 'one'", &[]);
    }
    // A run that fails to read a shard is partial each time, and says so.
    fs_err::write(work.shard_path("c"), "no shard").unwrap();
    work.run().expect_code(4);
    let manifests = manifests(&work.output());
    let of_each = |key: fn(&serde_json::Value) -> &serde_json::Value| {
        manifests
            .iter()
            .map(|run| key(run).clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_each(|run| &run["timings"]["rows"]), [2, 1, 1, 0]);
    assert_eq!(
        of_each(|run| &run["counts"]["decided"]["images"]),
        [2, 3, 2, 3]
    );
    assert_eq!(
        of_each(|run| &run["state"]),
        ["finished", "finished", "finished", "partial"]
    );
    assert_eq!(
        manifests.last(),
        Some(&work.run_json()),
        "the last one is `run.json`"
    );
    work.assert_whole();
}

#[test]
fn missing_files_are_made_again_and_equal() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    work.run().expect_code(0);
    let all = |work: &Work| ["scored", "dataset", "rejected"].map(|kind| work.rows(kind));
    let before = all(&work);
    for file in [
        "scored/a.parquet",
        "dataset/deep/b.parquet",
        "rejected/a.parquet",
        "run.json",
    ] {
        fs_err::remove_file(work.output().join(file)).unwrap();
    }
    work.run().expect_code(0);
    assert_eq!(all(&work), before);
    work.assert_whole();
}

#[test]
fn an_edited_pipeline_is_redone_and_says_why() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    work.run().expect_code(0);
    assert_eq!(work.rows("dataset").len(), 10);
    work.write_pipeline(
        &work
            .pipeline_text()
            .replace("min-side = 16", "min-side = 90"),
    );
    let ran = work.run().expect_code(0);
    let why = "2 finished pieces are made again: `decode` changed (`min-side`)";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    assert_eq!(work.rows("dataset").len(), 0);
    assert_eq!(work.rows("scored").len(), 12);
}

#[test]
fn settings_and_places_of_the_command_line_win() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    let (input, output) = (work.path("in/deep/*.parquet"), work.path("elsewhere"));
    work.run_with(&[
        "--input",
        input.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--set",
        "source.rows-per-piece=3",
    ])
    .expect_code(0);
    assert!(
        output.join("scored/b/3.parquet").exists(),
        "{:?}",
        crate::shards::files(&output)
    );
    assert!(!work.output().exists());
}

#[test]
fn shards_may_lie_above_the_pipeline_file() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    let input = work.path("in/deep/../*.parquet");
    work.run_with(&["--input", input.to_str().unwrap()])
        .expect_code(0);
    assert_eq!(work.rows("scored").len(), 6);
}

#[test]
fn a_dataset_may_be_left_for_later() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    work.run().expect_code(0);
    let output = work.path("once");
    let folder = output.to_str().unwrap();
    let ran = work
        .run_with(&["--output", folder, "--set", "store.dataset=later"])
        .expect_code(0);
    let told = format!("dataset    left for later: `capfilt decide {folder}` makes it");
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    assert!(!output.join("dataset").exists());
    capfilt(["report", folder]).expect_code(0);
    capfilt(["decide", folder]).expect_code(0);
    let made = crate::shards::read(&output.join("dataset/a.parquet"));
    assert_eq!(made, work.read("dataset", "a"));
}

#[test]
fn pictures_are_fetched_over_http() {
    let server = FixtureServer::start();
    server.put("/good.png", Response::ok("image/png", png(64, 48, 1)));
    server.put(
        "/page.png",
        Response::ok("image/png", b"<html></html>".to_vec()),
    );
    let urls = ["good.png", "missing.png", "page.png", "good.png"]
        .map(|name| server.url(&format!("/{name}")));
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"alt\" }",
        "[[stage]]\nfetch = { timeout = \"5s\", allow-networks = [\"127.0.0.0/8\"] }\n[[stage]]\ndecode = {}\n",
    );
    let column = |texts: Vec<&str>| std::sync::Arc::new(arrow::array::StringArray::from(texts));
    let mut with_bad: Vec<&str> = urls.iter().map(String::as_str).collect();
    with_bad.push("no url at all");
    let alts = vec!["one", "two", "three", "four", "five"];
    crate::shards::write_columns(
        &work.shard_path("a"),
        vec![("url", column(with_bad)), ("alt", column(alts))],
    );
    work.run().expect_code(0);
    let reasons = texts(&work.read("scored", "a"), "reject");
    let reasons: Vec<&str> = reasons
        .iter()
        .map(|reason| reason.as_deref().unwrap_or("in"))
        .collect();
    assert_eq!(
        reasons,
        ["in", "not-found", "not-an-image", "in", "bad-url"]
    );
}

#[test]
fn captions_are_written_scored_and_kept() {
    if !models_can_run() {
        return;
    }
    let work = Work::new(&Work::model_stages());
    two_shards(&work);
    work.run().expect_code(0);
    let scored = work.read("scored", "a");
    let candidates = listed_texts(&scored, "candidates");
    assert_eq!(candidates[0].len(), 2);
    assert!(candidates[0].contains(&"a red square".to_owned()));
    assert_eq!(texts(&scored, "reject")[5].as_deref(), Some("not-an-image"));
    // What is kept scored above the threshold; what is removed did not.
    let above = |batch: &arrow::array::RecordBatch| {
        let score = batch.column_by_name("score").unwrap();
        let score = arrow::compute::cast(score, &arrow::datatypes::DataType::Float64).unwrap();
        score
            .as_primitive::<Float64Type>()
            .iter()
            .map(|score| score.map(|score| score > 0.5))
            .collect::<Vec<_>>()
    };
    let rejected = work.read("rejected", "a");
    let about_captions = texts(&rejected, "text");
    for (above, text) in above(&rejected).into_iter().zip(about_captions) {
        assert_eq!(above, text.map(|_| false));
    }
    let dataset = work.read("dataset", "a");
    let captions = dataset.column_by_name("captions").unwrap().as_list::<i32>();
    for row in 0..captions.len() {
        let captions = captions.value(row);
        let scores = captions.as_struct().column_by_name("score").unwrap();
        let scores = arrow::compute::cast(scores, &arrow::datatypes::DataType::Float32).unwrap();
        assert!(
            scores
                .as_primitive::<Float32Type>()
                .iter()
                .all(|score| score.unwrap() > 0.5)
        );
    }
    let kept: usize = ["a", "deep/b"]
        .iter()
        .map(|piece| {
            listed_texts(&work.read("dataset", piece), "captions")
                .concat()
                .len()
        })
        .sum();
    let removed = ["a", "deep/b"]
        .iter()
        .map(|piece| {
            texts(&work.read("rejected", piece), "text")
                .iter()
                .flatten()
                .count()
        })
        .sum::<usize>();
    assert_eq!(kept + removed, 20, "ten pictures with two texts each");
}

#[test]
fn equal_runs_give_equal_rows_whatever_the_batches() {
    if !models_can_run() {
        return;
    }
    let stages = Work::model_stages().replace("\"greedy\"", "{ nucleus = { p = 0.9 } }, seed = 3");
    let rows = |stages: &str| {
        let work = Work::new(stages);
        two_shards(&work);
        work.run().expect_code(0);
        ["scored", "dataset", "rejected"].map(|kind| work.rows(kind))
    };
    let all = rows(&stages);
    assert_eq!(rows(&stages), all);
    assert_eq!(
        rows(&stages.replace("seed = 3", "seed = 3, batch = 1")),
        all
    );
    assert_ne!(
        rows(&stages.replace("seed = 3", "seed = 4")),
        all,
        "the seed has no effect"
    );
}

#[test]
fn a_report_is_written_and_escapes_what_it_shows() {
    let stages = if models_can_run() {
        Work::model_stages()
    } else {
        WITHOUT_MODELS.to_owned()
    };
    let work = Work::new(&stages);
    let text = "<script>alert(1)</script>";
    work.shard(
        "a",
        &[Row::good(1, text), Row::with_picture(vec![], "empty")],
    );
    work.run().expect_code(0);
    capfilt(["report", work.output().to_str().unwrap()]).expect_code(0);
    let page = fs_err::read_to_string(work.output().join("report.html")).unwrap();
    assert!(!page.contains("<script"));
    // Only scored texts are shown.
    assert_eq!(page.contains("&lt;script&gt;alert(1)"), models_can_run());
}

#[test]
fn new_thresholds_are_decided_without_models() {
    if !models_can_run() {
        return;
    }
    let work = Work::new(&Work::model_stages());
    two_shards(&work);
    work.run().expect_code(0);
    let scored = work.rows("scored");
    let output = work.output();
    let decide = |more: &[&str]| {
        let mut arguments = vec!["decide", output.to_str().unwrap()];
        arguments.extend(more);
        capfilt(arguments).expect_code(0)
    };
    let before = work.rows("dataset");
    decide(&["--threshold", "0.0", "--dry-run"]);
    assert_eq!(
        work.rows("dataset"),
        before,
        "a dry run changed the dataset"
    );
    decide(&["--threshold", "0.0"]);
    let all: usize = ["a", "deep/b"]
        .iter()
        .map(|piece| {
            listed_texts(&work.read("dataset", piece), "captions")
                .concat()
                .len()
        })
        .sum();
    assert_eq!(all, 20);
    decide(&["--threshold", "1.0"]);
    assert_eq!(work.rows("dataset"), Vec::<String>::new());
    assert_eq!(work.rows("scored"), scored);
    work.assert_whole();
}

#[test]
fn a_run_that_nobody_listens_to_any_more_is_finished() {
    for format in ["text", "json"] {
        let work = Work::new(WITHOUT_MODELS);
        two_shards(&work);
        let (closed, stderr) = std::io::pipe().unwrap();
        drop(closed);
        let status = command()
            .args(["run", "--log-format", format])
            .arg(work.pipeline())
            .stderr(stderr)
            .status();
        assert_eq!(status.unwrap().code(), Some(0), "{format}");
        assert_eq!(work.run_json()["state"], "finished");
    }
}

#[test]
fn what_a_run_says_is_json_lines_when_logs_are_and_nothing_when_quiet() {
    let work = Work::new(WITHOUT_MODELS);
    two_shards(&work);
    let ran = work.run_with(&["--log-format", "json"]).expect_code(0);
    assert!(ran.stderr.lines().count() > 3, "{}", ran.stderr);
    for line in ran.stderr.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["level"], "INFO", "{line}");
    }
    let again = work.run_with(&["-q"]).expect_code(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", ""));
}
