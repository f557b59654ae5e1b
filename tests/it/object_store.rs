//! Pictures behind `s3://` URLs, from a real S3 server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::program::{Ran, command, root, skipped};
use crate::shards::{self, Row};
use crate::work::Work;

/// moto's server; it stops when dropped.
struct S3 {
    server: Child,
    endpoint: String,
}

impl S3 {
    /// A server with these objects in its bucket `photos`; nothing, visibly, where there is no moto.
    fn start(work: &Work, objects: &[(&str, &[u8])]) -> Option<Self> {
        let python = std::env::var("CAPFILT_PYTHON").unwrap_or_else(|_unset| "python3".to_owned());
        let found = Command::new(&python)
            .args(["-c", "import moto.server, boto3"])
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            skipped(format_args!(
                "`{python}` has no moto and boto3; CAPFILT_PYTHON names one that has"
            ));
            return None;
        }
        let arguments = objects.iter().enumerate().map(|(number, (name, bytes))| {
            let file = work.path(&format!("object-{number}"));
            fs_err::write(&file, bytes).unwrap();
            format!("{name}={}", file.display())
        });
        let mut server = Command::new(python)
            .arg(root().join("tests/it/s3_server.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut endpoint = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut endpoint)
            .unwrap();
        Some(Self {
            server,
            endpoint: endpoint.trim().to_owned(),
        })
    }

    fn run(&self, work: &Work) -> Ran {
        command()
            .arg("run")
            .arg(work.pipeline())
            .env("AWS_ENDPOINT", &self.endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .output()
            .unwrap()
            .into()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.server.kill();
        let _waited = self.server.wait();
    }
}

#[test]
fn pictures_are_read_from_named_buckets_only() {
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"text\" }",
        "[[stage]]\nfetch = { buckets = [\"s3://photos/public\"], max-size = \"1 MiB\" }\n\
         [[stage]]\ndecode = {}\n",
    );
    let picture = Row::good(1, "").picture.unwrap();
    let large = vec![0; (1 << 20) + 1];
    let Some(s3) = S3::start(
        &work,
        &[
            ("public/a b.png", &picture),
            ("public/large.png", &large),
            ("private/a.png", &picture),
        ],
    ) else {
        return;
    };
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
    s3.run(&work).expect_code(0);
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
