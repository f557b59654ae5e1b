//! A real S3 server for tests, and the program with its address.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{command, root, skipped};

/// moto's server with its bucket `photos`; it stops when dropped.
pub(crate) struct S3 {
    server: Child,
    talk: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    endpoint: String,
    faulty: String,
    /// What programs that were killed leave there goes with the server.
    scratch: TempDir,
}

impl S3 {
    /// A server; nothing, visibly, where there is no moto.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// One whose faulty way spoils a part of all requests.
    pub(crate) fn start_faulty(seed: u64, rate: f64) -> Option<Self> {
        Self::start_with(&[seed.to_string(), rate.to_string()])
    }

    /// One whose faulty way drops the conditions of writes, as an old server would.
    pub(crate) fn start_unconditional() -> Option<Self> {
        Self::start_with(&["0", "0", "unconditional"].map(str::to_owned))
    }

    fn start_with(arguments: &[String]) -> Option<Self> {
        let python = crate::program::python();
        let found = Command::new(&python)
            .args(["-c", "import moto.server, boto3"])
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            skipped(format_args!(
                "`{python}` has no moto and boto3; CAPFILT_PYTHON names one that has"
            ));
            return None;
        }
        let mut server = Command::new(python)
            .arg(root().join("tests/it/s3_server.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = server.stdin.take().unwrap();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        let addresses = answer(&mut stdout);
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Some(Self {
            server,
            talk: RefCell::new((stdin, stdout)),
            endpoint: address("endpoint"),
            faulty: address("faulty"),
            scratch: TempDir::new().unwrap(),
        })
    }

    fn ask(&self, question: &Value) -> Value {
        let (stdin, stdout) = &mut *self.talk.borrow_mut();
        writeln!(stdin, "{question}").unwrap();
        answer(stdout)
    }

    /// Puts the files of a folder below a prefix.
    pub(crate) fn upload(&self, folder: &Path, prefix: &str) {
        let count = self.ask(&json!(["upload", folder, prefix]));
        assert_ne!(count, 0, "`{}` is empty", folder.display());
    }

    /// Gets what is below a prefix into a folder.
    pub(crate) fn download(&self, prefix: &str, folder: &Path) {
        self.ask(&json!(["download", prefix, folder]));
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        serde_json::from_value(self.ask(&json!(["keys", prefix]))).unwrap()
    }

    pub(crate) fn put(&self, key: &str, text: &str) {
        self.ask(&json!(["put", key, text]));
    }

    pub(crate) fn get(&self, key: &str) -> String {
        self.ask(&json!(["get", key])).as_str().unwrap().to_owned()
    }

    /// Uploads in parts that nobody finished.
    pub(crate) fn unfinished_uploads(&self) -> u64 {
        self.ask(&json!(["unfinished_uploads"])).as_u64().unwrap()
    }

    /// How often what was spoiled.
    pub(crate) fn injected(&self) -> Value {
        self.ask(&json!(["injected"]))
    }

    /// The program with this server's address.
    pub(crate) fn program(&self) -> Command {
        self.at(&self.endpoint)
    }

    /// The program with the address where requests are spoiled.
    pub(crate) fn program_with_faults(&self) -> Command {
        self.at(&self.faulty)
    }

    fn at(&self, endpoint: &str) -> Command {
        let mut command = command();
        command
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("CAPFILT_LEASE", LEASE_MILLIS.to_string())
            .env("TMPDIR", self.scratch.path());
        command
    }
}

/// How long a lock outlives its owner in tests.
pub(crate) const LEASE_MILLIS: u64 = 1_500;

fn answer(stdout: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line)
        .unwrap_or_else(|error| panic!("the S3 server said `{line}`: {error}"))
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.server.kill();
        let _waited = self.server.wait();
    }
}
