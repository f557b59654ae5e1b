//! `capfilt demo`: the main job from nothing to a finished dataset and a page.
//!
//! The repository carries 300 clip-art pictures with the titles that people gave them
//! (`pipelines/demo`). The demo serves them over HTTP on loopback, among them a dozen that
//! misbehave ([`server`]), writes shards that name their URLs ([`input`]), and runs
//! `pipelines/demo.toml` on them as `capfilt run` would. Then it tells what came of it
//! ([`summary`]).

mod input;
mod pictures;
mod server;
mod summary;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use capfilt_data::{ColumnError, FooterError, WriteError};
use capfilt_models::runtime::{self, RuntimeError};
use capfilt_pipeline::{Overrides, Progress, Retry, RunContext, RunState};
use tokio::sync::watch;

use self::input::Input;
use self::pictures::Pictures;
use self::server::Server;
use crate::failure::Failure;
use crate::session::Session;
use crate::{progress, report, signals};

/// Where the output goes when nothing else is said.
const OUTPUT: &str = "out/demo";
const PIPELINE: &str = "pipelines/demo.toml";
const PICTURES: &str = "demo/pictures.parquet";

/// A demo that cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// There is no `pipelines/demo.toml` where it is looked for.
    #[error(
        "cannot find `{PIPELINE}` in the current folder or above it, or above the program itself"
    )]
    NoPipeline,
    /// The pictures cannot be read.
    #[error("cannot read the demo's pictures")]
    Pictures(#[from] FooterError),
    /// The pictures' file has other columns.
    #[error("`{}` has no usable column `{column}`", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What is wrong with it, unless it is missing.
        source: Option<ColumnError>,
    },
    /// No server can be started on loopback.
    #[error("cannot serve pictures on 127.0.0.1")]
    Serve(#[source] io::Error),
    /// The shards cannot be written.
    #[error("cannot write the demo's input")]
    Input(#[from] WriteError),
    /// The shards cannot be put together.
    #[error("cannot make the demo's input")]
    Rows(#[from] arrow::error::ArrowError),
}

impl DemoError {
    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoPipeline => Some(
                "run it from a checkout of the repository, for example with \
                 `cargo run --release -- demo`"
                    .to_owned(),
            ),
            Self::Pictures(_) | Self::Column { .. } => {
                Some("restore `pipelines/demo` from the repository".to_owned())
            }
            Self::Serve(_) | Self::Input(_) | Self::Rows(_) => None,
        }
    }
}

/// Runs the demo. A second time it goes on where the first one ended, or says what came of it.
pub(crate) async fn run(output: Option<&Path>, session: &Session) -> Result<(), Failure> {
    let start = Instant::now();
    let output = output.unwrap_or(Path::new(OUTPUT));
    let path = find().ok_or(DemoError::NoPipeline)?;
    get_runtime(session).await?;

    let pictures = Pictures::read(&path.with_file_name(PICTURES))?;
    let input = Input::new(output, &pictures);
    // The port is part of every URL: with another one the shards would be other shards.
    let server = Server::start(&pictures, input.port())
        .await
        .map_err(DemoError::Serve)?;
    let shards = input.write(&pictures, server.address())?;
    session.say(format_args!(
        "serving {} pictures and {} troubles at http://{}",
        pictures.len(),
        server::TROUBLES.len(),
        server.address()
    ));

    let overrides = Overrides {
        inputs: vec![shards],
        output: Some(output.to_owned()),
        set: Vec::new(),
    };
    let pipeline = capfilt_pipeline::load(&path, &overrides)?;
    let (sender, watched) = watch::channel(Progress::default());
    let context = RunContext {
        runtime: None,
        stop: session.stop().clone(),
        progress: sender,
        // Where the old port was taken, the URLs of the shards changed and nothing else.
        changed: true,
        retry: Retry::default(),
    };
    let run = progress::shown(capfilt_pipeline::run(&pipeline, context), watched, session);
    let done = signals::stoppable(Box::pin(run), session).await??;
    if done.record.state == RunState::Stopped {
        return Err(Failure::Interrupted);
    }
    if done.was_finished() {
        session.say(format_args!("`{}` was finished before", output.display()));
    }

    let page = report::write(&pipeline.output)?;
    summary::tell(&report::survey(&pipeline.output)?, session);
    session.say(format_args!(
        "dataset   {}",
        output.join("dataset").display()
    ));
    session.say(format_args!("page      {page} (open it in a browser)"));
    session.say(format_args!(
        "time      {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The demo's pipeline: in the current folder or above it, above the program (which a build puts
/// below the checkout), or where cargo says that the program's sources are.
fn find() -> Option<PathBuf> {
    let current = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let sources = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    [current, program, sources]
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(PIPELINE))
        .find(|path| path.is_file())
}

/// Makes sure that there is an ONNX Runtime.
async fn get_runtime(session: &Session) -> Result<(), Failure> {
    match runtime::find(None) {
        Ok(_) => Ok(()),
        Err(RuntimeError::NotFound { .. }) => {
            session.say(format_args!("getting ONNX Runtime with pip (24 MB, once)"));
            let installed = tokio::task::spawn_blocking(|| runtime::install(false));
            let path = installed.await.map_err(Failure::Worker)??;
            session.say(format_args!("installed `{}`", path.display()));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
