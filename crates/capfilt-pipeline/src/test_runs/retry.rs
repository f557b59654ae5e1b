//! Trying again rows of a finished run.

use super::*;

impl Lab {
    /// The shard `a` of 25 rows whose pictures are files, of which those of the rows 3 and 13 are
    /// missing.
    fn shard_of_files(&self) {
        let file = |row: usize| self.path(&format!("{row}.bmp"));
        let rows = 0..25;
        for row in rows.clone().filter(|row| ![3, 13].contains(row)) {
            fs_err::write(file(row), bmp(8, 8, 7)).unwrap();
        }
        let urls = rows
            .clone()
            .map(|row| Some(format!("file://{}", file(row).display())));
        let batch = texts(vec![
            ("url", urls.collect()),
            (
                "text",
                rows.map(|row| Some(format!("text {row}"))).collect(),
            ),
        ]);
        write_parquet(&self.path("in/a.parquet"), &batch, 7);
        let folder = format!("retries = 0, folder = \"{}\"", self.path("").display());
        self.write_pipeline(&PIPELINE.replace("retries = 0", &folder));
    }

    async fn retry(&self, reasons: &str) -> RunReport {
        let pipeline = load(&self.path("p.toml"), &Overrides::default()).unwrap();
        let (progress, _) = watch::channel(Progress::default());
        let context = RunContext {
            runtime: None,
            stop: Stop::new(),
            progress,
            changed: false,
            retry: reasons.parse().unwrap(),
        };
        run(&pipeline, context).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_left_are_tried_again_where_asked() {
    let lab = Lab::new();
    lab.shard_of_files();
    let report = lab.run().await;
    assert_eq!(report.record.counts.scored.rejected["not-found"], 2);
    assert_eq!(report.record.counts.retried, 0, "404 does not pass");
    assert!(lab.retry("transient").await.was_finished());

    let pieces = [
        "scored/a/0.parquet",
        "scored/a/10.parquet",
        "scored/a/20.parquet",
    ];
    let bytes = || pieces.map(|piece| fs_err::read(lab.path("out").join(piece)).unwrap());
    let before = bytes();
    let report = lab.retry("not-found").await;
    assert_eq!((report.scored, report.decided, report.retried), (0, 0, 2));
    let counts = &report.record.counts;
    assert_eq!(
        (counts.retried, counts.recovered, counts.scored.rows),
        (2, 0, 25)
    );
    assert_eq!(bytes(), before, "nothing came in, and yet a file changed");

    fs_err::write(lab.path("13.bmp"), bmp(8, 8, 7)).unwrap();
    let report = lab.retry("gone,not-found").await;
    let counts = &report.record.counts;
    assert_eq!(
        (counts.retried, counts.recovered, counts.scored.rows),
        (2, 1, 25)
    );
    assert_eq!(
        (counts.scored.rejected["not-found"], counts.decided.images),
        (1, 24)
    );
    let after = bytes();
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    let piece = lab.read("scored/a/10.parquet");
    assert_eq!(
        plain(column_texts(&piece, "id")),
        (10..20).map(|row| format!("a:{row}")).collect::<Vec<_>>()
    );
    assert_eq!(piece.column_by_name("reject").unwrap().null_count(), 10);
    assert_eq!(lab.read("dataset/a/10.parquet").num_rows(), 10);
    assert_eq!(lab.read("rejected/a/10.parquet").num_rows(), 0);
    assert!(lab.run().await.was_finished());
    assert!(!lab.files().iter().any(|file| file.contains("unfinished")));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_stored_as_those_of_the_rows_around_them() {
    let lab = Lab::new();
    lab.shard_of_files();
    let with = |images: &str| {
        let text = fs_err::read_to_string(lab.path("p.toml")).unwrap();
        let text = text
            .split("[keep]")
            .next()
            .unwrap()
            .split("[sink]")
            .next()
            .unwrap()
            .to_owned();
        let keep = "[keep]\nwhere = \"text <> 'text 4'\"";
        let tables = format!("{keep}\n[store]\nimages = \"{images}\"\n[sink]\noutput = \"out\"");
        lab.write_pipeline(&format!("{text}{tables}"));
    };
    let stored = |row: usize| {
        let piece = lab.read("scored/a/0.parquet");
        piece.column_by_name("image").unwrap().is_valid(row)
    };
    with("kept");
    lab.run().await;
    assert_eq!([2, 3, 4].map(stored), [true, false, false]);
    fs_err::write(lab.path("3.bmp"), bmp(8, 8, 7)).unwrap();
    assert_eq!(lab.retry("not-found").await.record.counts.recovered, 1);
    assert_eq!([2, 3, 4].map(stored), [true, true, false]);
    assert!(lab.run().await.was_finished());

    // Stored whole at first: what is there stays, whatever is said later.
    fs_err::remove_dir_all(lab.path("out")).unwrap();
    fs_err::remove_file(lab.path("3.bmp")).unwrap();
    with("all");
    lab.run().await;
    with("kept");
    fs_err::write(lab.path("3.bmp"), bmp(8, 8, 7)).unwrap();
    assert_eq!(lab.retry("not-found").await.record.counts.recovered, 1);
    assert_eq!([2, 3, 4].map(stored), [true, true, true]);
    assert!(lab.run().await.was_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_shard_that_changed_are_not_tried_again() {
    let lab = Lab::new();
    lab.shard_of_files();
    lab.run().await;
    let batch = texts(vec![("url", vec![None; 25]), ("text", vec![None; 25])]);
    write_parquet(&lab.path("in/a.parquet"), &batch, 7);
    assert!(lab.retry("not-found").await.was_finished());
}
