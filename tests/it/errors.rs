//! What is refused before anything runs, and how it is told: exit code 3, what was got, what was
//! expected, what to do next.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use insta::assert_snapshot;

use crate::program::{capfilt, package};
use crate::shards::{self, Row};
use crate::work::{WITHOUT_MODELS, Work};

/// A pipeline with one good shard.
fn work(stages: &str) -> Work {
    let work = Work::new(stages);
    work.shard("a", &[Row::good(1, "one")]);
    work
}

/// Runs what must be refused: exit code 3, and no output folder.
fn refused(work: &Work) -> String {
    let ran = work.run().expect_code(3);
    assert_eq!(ran.stdout, "");
    assert!(
        !work.output().join("scored").exists(),
        "something was written"
    );
    let checked = capfilt(["check", work.pipeline().to_str().unwrap()]).expect_code(3);
    assert_eq!(
        work.told(&checked),
        work.told(&ran),
        "`check` and `run` differ"
    );
    work.told(&ran)
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    let work = work("[[stage]]\ndecode = { min-sid = 16 }\n");
    assert_snapshot!(refused(&work), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: line 8, column 12: unknown field `min-sid`, expected one of `max-pixels`, `min-side`, `orientation`, `alpha`, `check`, `resize`; did you mean `min-side`?
          |
        8 | decode = { min-sid = 16 }
          |            ^^^^^^^

    hint: `capfilt schema pipeline` prints every key and its type
    ");
}

#[test]
fn an_unknown_stage_is_named_with_the_nearest_known_one() {
    assert_snapshot!(refused(&work("[[stage]]\ncaptoin = {}\n")), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: line 8, column 1: unknown field `captoin`, expected one of `name`, `where`, `where-text`, `fetch`, `decode`, `dedup`, `caption`, `score`; did you mean `caption`?
          |
        8 | captoin = {}
          | ^^^^^^^

    hint: `capfilt schema pipeline` prints every key and its type
    ");
}

#[test]
fn a_value_of_the_wrong_type_says_what_is_expected() {
    assert_snapshot!(refused(&work(
        "[[stage]]\ndecode = { min-side = \"big\" }\n"
    )), @r#"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: line 8, column 23: invalid type: string "big", expected u32
          |
        8 | decode = { min-side = "big" }
          |                       ^^^^^

    hint: `capfilt schema pipeline` prints every key and its type
    "#);
}

#[test]
fn a_size_without_a_known_unit_is_refused() {
    assert_snapshot!(refused(&work(
        "[[stage]]\nfetch = { max-size = \"20 stones\" }\n"
    )), @r#"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: line 8, column 22: `20 stones` is not a size; write it like "20 MiB" or "500 kB"
          |
        8 | fetch = { max-size = "20 stones" }
          |                      ^^^^^^^^^^^

    hint: `capfilt schema pipeline` prints every key and its type
    "#);
}

#[test]
fn broken_toml_is_shown_with_its_line() {
    assert_snapshot!(refused(&work("[[stage]\ndecode = {}\n")), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: line 7, column 9: unclosed array table, expected `]`
          |
        7 | [[stage]
          |         ^

    hint: `capfilt schema pipeline` prints every key and its type
    ");
}

#[test]
fn a_where_clause_that_is_no_sql_is_refused() {
    assert_snapshot!(refused(&work(
        "[[stage]]\nwhere = \"length(text) >>> 3\"\n"
    )), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: stage `where`
      caused by: `length(text) >>> 3` cannot be used: expected: an expression, found: > at Line: 1, Column: 16; known here: id, url, text
    ");
}

#[test]
fn a_where_clause_over_an_unknown_column_names_those_that_exist() {
    assert_snapshot!(refused(&work("[[stage]]\nwhere = \"lenght > 3\"\n")), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: stage `where`
      caused by: `lenght > 3` cannot be used: there is no column lenght; known here: id, url, text
    ");
}

#[test]
fn a_missing_column_is_refused_with_the_columns_that_exist() {
    let work = Work::new(WITHOUT_MODELS);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["one"]));
    shards::write_columns(
        &work.shard_path("a"),
        vec![("alt", Arc::clone(&texts)), ("link", texts)],
    );
    assert_snapshot!(refused(&work), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: `source.columns.text`: there is no column `text` in `[DIR]/in/a.parquet`; there are alt, link
    ");
}

#[test]
fn a_missing_model_package_is_refused() {
    assert_snapshot!(refused(&work(
        "[[stage]]\ndecode = {}\n[[stage]]\nscore = { model = \"no/such\" }\n"
    )), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: stage `score`
      caused by: `[DIR]/no/such` is no model package: it has no `model.json`; make one with `capfilt model import`
    ");
}

/// A copy of a committed package, to be damaged.
fn copied_package(work: &Work, name: &str) -> std::path::PathBuf {
    let copy = work.path(name);
    fs_err::create_dir_all(&copy).unwrap();
    for file in shards::files(&package(name)) {
        fs_err::copy(package(name).join(&file), copy.join(&file)).unwrap();
    }
    copy
}

#[test]
fn a_package_with_a_changed_file_is_refused() {
    let work = work("");
    let package = copied_package(&work, "filter");
    let tokenizer = package.join("tokenizer.json");
    let changed = fs_err::read_to_string(&tokenizer).unwrap() + " ";
    fs_err::write(&tokenizer, changed).unwrap();
    let text = work.pipeline_text().replace(
        "[sink]",
        &format!(
            "[[stage]]\ndecode = {{}}\n[[stage]]\nscore = {{ model = \"{}\" }}\n[sink]",
            package.display()
        ),
    );
    work.write_pipeline(&text);
    insta::with_settings!({filters => vec![(r"\b[0-9a-f]{16,64}\b", "[DIGEST]")]}, {
        assert_snapshot!(refused(&work), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: stage `score`
      caused by: `[DIR]/filter/tokenizer.json` has SHA-256 [DIGEST], expected [DIGEST]: the file was changed or damaged; import the checkpoint again
    ");
    });
}

#[test]
fn a_package_without_one_of_its_files_is_refused() {
    let work = work("");
    let package = copied_package(&work, "filter");
    fs_err::remove_file(package.join("tokenizer.json")).unwrap();
    let ran = capfilt(["model", "show", package.to_str().unwrap()]).expect_code(3);
    assert_snapshot!(work.told(&ran), @r"
    exit code 3
    error: cannot read `[DIR]/filter/tokenizer.json`: failed to open file `[DIR]/filter/tokenizer.json`: No such file or directory (os error 2)
    ");
}

#[test]
fn a_filter_where_a_captioner_is_wanted_is_refused() {
    let filter = package("filter");
    let stages = format!(
        "[[stage]]\ndecode = {{}}\n[[stage]]\ncaption = {{ model = \"{}\" }}\n",
        filter.display()
    );
    let work = work(&stages);
    let told = refused(&work).replace(&filter.display().to_string(), "[PACKAGE]");
    assert_snapshot!(told, @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: `stage.caption.model`: `[PACKAGE]` is no captioner package; import one with `capfilt model import --task captioner`
    ");
}

#[test]
fn two_shards_of_one_name_are_refused() {
    let work = Work::new(WITHOUT_MODELS);
    shards::write(&work.path("in/a.parquet"), &[Row::good(1, "one")]);
    shards::write(&work.path("more/a.parquet"), &[Row::good(2, "two")]);
    let pipeline = work.pipeline();
    let globs = [work.path("in/*.parquet"), work.path("more/*.parquet")];
    let ran = capfilt([
        "run",
        pipeline.to_str().unwrap(),
        "--input",
        globs[0].to_str().unwrap(),
        "--input",
        globs[1].to_str().unwrap(),
    ])
    .expect_code(3);
    assert_snapshot!(work.told(&ran), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: `[DIR]/in/a.parquet` and `[DIR]/more/a.parquet` would both be written to `a.parquet`; rename one, or choose a glob whose literal part ends before the folders that tell them apart
    ");
    assert!(!work.output().join("scored").exists());
}

#[test]
fn a_glob_that_finds_nothing_is_refused() {
    assert_snapshot!(refused(&Work::new(WITHOUT_MODELS)), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: `source.shards`: `[DIR]/in/**/*.parquet` finds no file
    ");
}

#[test]
fn a_missing_pipeline_file_is_refused() {
    let work = work(WITHOUT_MODELS);
    fs_err::remove_file(work.pipeline()).unwrap();
    assert_snapshot!(refused(&work), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: cannot read it
      caused by: failed to open file `[DIR]/pipeline.toml`: No such file or directory (os error 2)
    ");
}

#[test]
fn the_output_of_another_pipeline_is_refused_and_untouched() {
    let work = work(WITHOUT_MODELS);
    work.run().expect_code(0);
    let before = work.rows("scored");
    work.write_pipeline(
        &work
            .pipeline_text()
            .replace("name = \"test\"", "name = \"other\""),
    );
    let ran = work.run().expect_code(3);
    assert_snapshot!(work.told(&ran), @r"
    exit code 3
    error: `[DIR]/out` is the output of the pipeline `test`, not of `other`; choose another `[sink] output` or `--output`
    ");
    assert_eq!(work.rows("scored"), before);
    let checked = capfilt(["check", work.pipeline().to_str().unwrap()]).expect_code(3);
    assert_eq!(work.told(&checked), work.told(&ran));
}

#[test]
fn a_setting_that_does_not_exist_is_refused() {
    let work = work(WITHOUT_MODELS);
    let ran = work
        .run_with(&["--set", "keep.treshold=0.6"])
        .expect_code(3);
    assert_snapshot!(work.told(&ran), @r"
    exit code 3
    error: cannot use the pipeline `[DIR]/pipeline.toml`
      caused by: `--set keep.treshold=0.6`: unknown field `treshold`, expected `threshold` or `where`; did you mean `threshold`?
    ");
    let ran = work.run_with(&["--set", "keep.threshold"]);
    assert!(matches!(ran.code, Some(2 | 3)), "{}", ran.told());
}

#[test]
fn a_missing_runtime_names_the_command_that_mends_it() {
    let work = work(WITHOUT_MODELS);
    let picture = work.path("a.png");
    fs_err::write(&picture, shards::png(32, 32, 1)).unwrap();
    let filter = package("filter");
    let output = crate::program::command()
        .args([
            "score",
            "--model",
            filter.to_str().unwrap(),
            "--text",
            "a text",
        ])
        .arg(&picture)
        .env("ORT_DYLIB_PATH", work.path("no-such.so"))
        .output()
        .unwrap();
    let ran = crate::program::Ran::from(output).expect_code(1);
    assert!(ran.stderr.contains("no-such.so"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("capfilt runtime install"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_output_that_would_be_read_as_input_is_refused() {
    let work = work("[[stage]]\ndecode = {}\n");
    work.shard("a", &[Row::good(1, "a text")]);
    let output = work.path("in/out");
    let text = work.pipeline_text();
    let inside = text.replace(
        &work.output().display().to_string(),
        &output.display().to_string(),
    );
    work.write_pipeline(&inside);
    work.run().expect_code(0);
    let ran = work.run().expect_code(3);
    assert!(
        ran.stderr.contains("is output of this pipeline"),
        "{}",
        ran.stderr
    );
}
