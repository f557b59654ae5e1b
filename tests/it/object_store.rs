//! Pictures, input and output in object stores, at a real S3 server.

use crate::crash::same;
use crate::program::Ran;
use crate::s3::S3;
use crate::shards::{self, Row};
use crate::work::{WITHOUT_MODELS, Work};

#[test]
fn pictures_are_read_from_named_buckets_only() {
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"text\" }",
        "[[stage]]\nfetch = { buckets = [\"s3://photos/public\"], max-size = \"1 MiB\" }\n\
         [[stage]]\ndecode = {}\n",
    );
    let picture = Row::good(1, "").picture.unwrap();
    let large = vec![0; (1 << 20) + 1];
    let Some(s3) = S3::start() else { return };
    for (name, bytes) in [
        ("public/a b.png", &picture),
        ("public/large.png", &large),
        ("private/a.png", &picture),
    ] {
        let file = work.path("objects").join(name);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, bytes).unwrap();
    }
    s3.upload(&work.path("objects"), "");
    let urls = [
        "s3://photos/public/a%20b.png",
        "s3://photos/public/missing.png",
        "s3://photos/public/large.png",
        "s3://photos/private/a.png",
        "s3://photos/public/../private/a.png",
        "s3://other/public/a.png",
        "gs://photos/public/a.png",
    ];
    let column = |texts: &[&str]| -> arrow::array::ArrayRef {
        std::sync::Arc::new(arrow::array::StringArray::from(texts.to_vec()))
    };
    shards::write_columns(
        &work.shard_path("a"),
        vec![("url", column(&urls)), ("text", column(&["a text"; 7]))],
    );
    let mut program = s3.program();
    let ran = program.arg("run").arg(work.pipeline()).output().unwrap();
    Ran::from(ran).expect_code(0);
    let reasons = shards::texts(&work.read("scored", "a"), "reject");
    let reasons: Vec<_> = reasons.iter().map(Option::as_deref).collect();
    assert_eq!(
        reasons,
        [
            None,
            Some("not-found"),
            Some("too-large"),
            Some("outside-folder"),
            Some("outside-folder"),
            Some("outside-folder"),
            Some("outside-folder"),
        ]
    );
    assert_eq!(work.read("dataset", "a").num_rows(), 1);
}

/// Twelve rows in two shards, of which two are bad, and a run of them on disk.
fn run_on_disk() -> Work {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 4",
        WITHOUT_MODELS,
    );
    for (shard, first) in [("a", 0), ("deep/b", 5)] {
        let mut rows: Vec<Row> = (first..first + 5)
            .map(|seed| Row::good(seed, &format!("square {seed}")))
            .collect();
        rows.push(Row::with_picture(b"nothing".to_vec(), "no picture"));
        work.shard(shard, &rows);
    }
    work.run().expect_code(0);
    work
}

/// The program with these arguments.
fn run(s3: &S3, arguments: &[&str]) -> Ran {
    s3.program().args(arguments).output().unwrap().into()
}

/// Holds an output in the store against the one on disk.
#[track_caller]
fn assert_same(work: &Work, s3: &S3, prefix: &str) {
    let folder = work.path(&format!("downloaded/{prefix}"));
    if folder.exists() {
        fs_err::remove_dir_all(&folder).unwrap();
    }
    s3.download(&format!("{prefix}/"), &folder);
    assert_eq!(same(&work.output(), &folder), Ok(()));
}

#[test]
fn a_run_from_a_store_to_a_store_gives_the_rows_of_one_on_disk() {
    let work = run_on_disk();
    let Some(s3) = S3::start() else { return };
    s3.upload(&work.path("in"), "in/");
    let pipeline = work.pipeline();
    let pipeline = pipeline.to_str().unwrap();
    for (number, input) in [
        &["s3://photos/in/**/*.parquet"] as &[&str],
        &["s3://photos/in"],
        &["s3://photos/in/"],
    ]
    .iter()
    .enumerate()
    {
        let output = format!("s3://photos/out{number}");
        let arguments = [&["run", pipeline, "--output", &output, "--input"], *input].concat();
        run(&s3, &arguments).expect_code(0);
        assert_same(&work, &s3, &format!("out{number}"));
        let again = run(&s3, &arguments).expect_code(0);
        assert!(
            again.stderr.contains("there is nothing to do"),
            "{}",
            again.stderr
        );
    }
    // From disk to a store and back.
    run(&s3, &["run", pipeline, "--output", "s3://photos/up"]).expect_code(0);
    assert_same(&work, &s3, "up");
    let down = work.path("down");
    let down = down.to_str().unwrap();
    run(
        &s3,
        &[
            "run",
            pipeline,
            "--input",
            "s3://photos/in",
            "--output",
            down,
        ],
    )
    .expect_code(0);
    assert_eq!(same(&work.output(), down.as_ref()), Ok(()));
}

#[test]
fn all_commands_know_outputs_in_stores() {
    let work = run_on_disk();
    let Some(s3) = S3::start() else { return };
    s3.upload(&work.path("in"), "in/");
    // Named in the file.
    let text = work.pipeline_text();
    let [input, output] = [work.path("in/**/*.parquet"), work.output()];
    let text = text
        .replace(input.to_str().unwrap(), "s3://photos/in/**/*.parquet")
        .replace(output.to_str().unwrap(), "s3://photos/out");
    let pipeline = work.path("cloud.toml");
    fs_err::write(&pipeline, text).unwrap();
    let pipeline = pipeline.to_str().unwrap();

    let plan = run(&s3, &["check", pipeline]).expect_code(0).stdout;
    assert!(plan.contains("2 shards, 12 rows, 4 pieces"), "{plan}");
    assert!(plan.contains("output    s3://photos/out"), "{plan}");
    assert!(plan.contains("4 pieces will be made"), "{plan}");
    assert_eq!(s3.keys("out/"), [] as [&str; 0]);
    run(&s3, &["run", pipeline]).expect_code(0);
    let plan = run(&s3, &["check", pipeline]).expect_code(0).stdout;
    assert!(plan.contains("4 pieces finished"), "{plan}");

    let rule = "keep.where=text not like '%3'";
    let on_disk = work.output();
    for output in ["s3://photos/out", on_disk.to_str().unwrap()] {
        run(&s3, &["decide", output, "--set", rule]).expect_code(0);
        let told = run(&s3, &["report", output]).expect_code(0).stderr;
        assert!(
            told.contains(&format!("wrote `{output}/report.html`")),
            "{told}"
        );
    }
    assert_same(&work, &s3, "out");
    let page = s3.get("out/report.html");
    assert!(page.trim_end().ends_with("</html>"), "{page}");

    // A shard is added, and one is replaced.
    let row = |seed| Row::good(seed, &format!("new {seed}"));
    work.shard("c", &[row(20)]);
    work.shard("deep/b", &[row(21), row(22), row(23)]);
    s3.upload(&work.path("in"), "in/");
    let ran = run(&s3, &["run", pipeline, "--changed", "--set", rule]).expect_code(0);
    assert!(ran.stderr.contains("finished"), "{}", ran.stderr);
    work.run_with(&["--changed", "--set", rule]).expect_code(0);
    let scored = s3.keys("out/scored/");
    assert!(
        scored.contains(&"out/scored/c.parquet".to_owned()),
        "{scored:?}"
    );
    let other = run(&s3, &["run", pipeline, "--set", "name=other"]).expect_code(3);
    assert!(
        other.stderr.contains("`s3://photos/out` is the output of"),
        "{}",
        other.stderr
    );
}

#[test]
fn what_a_store_refuses_is_said_with_what_to_do() {
    let work = run_on_disk();
    let Some(s3) = S3::start() else { return };
    s3.upload(&work.path("in"), "in/");
    let pipeline = work.pipeline();
    let pipeline = pipeline.to_str().unwrap();
    for (arguments, code, expected) in [
        (
            ["--input", "s3://photos/none/*"],
            3,
            "`s3://photos/none/*` finds no file",
        ),
        (
            ["--input", "s3://nowhere/in/*"],
            3,
            "there is no bucket `nowhere`; make it",
        ),
        (
            ["--output", "s3://nowhere/out"],
            1,
            "there is no bucket `nowhere`; make it",
        ),
        (
            ["--output", "ftp://photos/out"],
            3,
            "expected a path, `s3://`, `gs://` or `az://`",
        ),
        (
            ["--output", "s3://"],
            3,
            "no bucket; expected `s3://BUCKET/..`",
        ),
    ] {
        let ran = run(&s3, &[&["run", pipeline], &arguments as &[&str]].concat()).expect_code(code);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    s3.put("in/broken.parquet", "no parquet at all");
    let ran = run(
        &s3,
        &[
            "run",
            pipeline,
            "--input",
            "s3://photos/in",
            "--output",
            "s3://photos/out",
        ],
    );
    let ran = ran.expect_code(4);
    let expected = "s3://photos/in/broken.parquet: `s3://photos/in/broken.parquet` is not a whole Parquet file";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn duplicates_are_found_in_a_store_too() {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 4",
        "[[stage]]\ndecode = {}\n[[stage]]\ndedup = { against = [\"evaluation/*.parquet\"] }\n",
    );
    let noisy = |seed: u32, text: &str| Row::with_picture(shards::noise(64, seed), text);
    let rows: Vec<Row> = [1, 2, 3, 1, 9, 2].map(|seed| noisy(seed, "a")).to_vec();
    work.shard("a", &rows);
    work.shard("b", &[noisy(3, "b"), noisy(4, "b")]);
    shards::write(&work.path("evaluation/test.parquet"), &[noisy(9, "")]);
    work.run().expect_code(0);
    let reasons = shards::texts(&work.read("rejected", "a/0"), "reason");
    assert_eq!(reasons, [Some("duplicate".to_owned())]);

    let Some(s3) = S3::start() else { return };
    s3.upload(&work.path("in"), "in/");
    s3.upload(&work.path("evaluation"), "evaluation/");
    let pipeline = work.pipeline();
    let pipeline = pipeline.to_str().unwrap();
    let arguments = [
        "run",
        pipeline,
        "--input",
        "s3://photos/in",
        "--output",
        "s3://photos/out",
        "--set",
        "stage.dedup.against=[\"s3://photos/evaluation/*.parquet\"]",
    ];
    run(&s3, &arguments).expect_code(0);
    assert_same(&work, &s3, "out");
    assert_eq!(s3.keys("out/.duplicates"), [] as [&str; 0]);
    let again = run(&s3, &arguments).expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );
}

#[test]
fn a_store_that_ignores_conditions_is_refused() {
    let work = run_on_disk();
    let Some(s3) = S3::start_unconditional() else {
        return;
    };
    let mut program = s3.program_with_faults();
    program.arg("run").arg(work.pipeline());
    let ran = program.args(["--output", "s3://photos/out"]).output();
    let ran = Ran::from(ran.unwrap()).expect_code(1);
    assert!(
        ran.stderr.contains("ignores conditional writes"),
        "{}",
        ran.stderr
    );
    assert_eq!(s3.keys("out/"), ["out/.lock"]);
}
