//! `capfilt bootstrap`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use capfilt_bootstrap::{
    BootstrapFile, Kind, Layout, Ledger, LedgerError, Results, State, Step, marks, steps, summarise,
};
use capfilt_data::Location;
use tempfile::NamedTempFile;

use crate::children::Children;
use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::news;
use crate::output::Output;
use crate::report;
use crate::schedule::Outcome;
use crate::session::Session;
use crate::signals::{self, Signals};

/// How often it is looked whether a step has ended.
const REAP: Duration = Duration::from_millis(100);

/// How often the time that a step took is kept, should this program be killed.
const KEEP: Duration = Duration::from_secs(10);

/// Does the steps of a bootstrap file that are not done, and tells what came of all.
pub(crate) async fn bootstrap(
    args: &cli::Bootstrap,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let file = BootstrapFile::load(&args.file, args.output.as_deref())?;
    let output = file.output.clone().unwrap_or_default();
    let layout = Layout::new(&output);
    let (list, runs) = steps(&file);
    if args.plan {
        return plan(&list, &layout);
    }
    let mut ledger = Ledger::open(layout.clone())?;
    let began = capfilt_pipeline::now();
    let mut is_new = false;
    let mut signals = Signals::listen().map_err(Failure::Signals)?;
    let mut children = Children::new().map_err(Failure::Processes)?;
    for (place, step) in list.iter().enumerate() {
        let place = format!("{}/{}", place + 1, list.len());
        if ledger.begin(step, &file)? == State::Done {
            session.say(format_args!("step {place}  {}: done before", step.name));
            continue;
        }
        session.say(format_args!("step {place}  {}", step.name));
        let printed = start(step, &file, &layout, &mut children, session)?;
        watch(step, &mut children, &mut ledger, &mut signals, session).await?;
        if let Some(printed) = printed {
            let path = layout.printed(&step.name);
            printed.persist(&path).map_err(|error| LedgerError::Io {
                path,
                source: error.error,
            })?;
        }
        ledger.finish(step)?;
        is_new = true;
    }
    let results = Results::gather(&file, &runs, &layout, &ledger)?;
    results.write(&layout)?;
    let output = Location::File(output);
    if is_new {
        news::tell(&output, began)?;
    }
    let page = report::write(&output)?;
    session.say(format_args!("page       {page}"));
    let tables: Vec<String> = summarise(&results)
        .iter()
        .map(capfilt_bootstrap::Summary::markdown)
        .collect();
    Output::new().line(format_args!("{}", tables.join("\n")))?;
    Ok(ExitCode::Done)
}

/// Prints the steps and how far they are.
fn plan(list: &[Step], layout: &Layout) -> Result<ExitCode, Failure> {
    let marks = marks(layout)?;
    let mut output = Output::new();
    for step in list {
        let what = match &step.kind {
            Kind::Train(_) => "train",
            Kind::Run { .. } => "run",
            Kind::Eval { .. } => "eval",
        };
        let state = match marks.get(&step.name) {
            None => String::new(),
            Some(mark) => {
                let state = match mark.state {
                    State::Begun => "begun",
                    State::Done => "done",
                };
                format!("{state}, {:.0} s", mark.seconds)
            }
        };
        output.line(format_args!("{what:<6}{:<40}{state}", step.name))?;
    }
    Ok(ExitCode::Done)
}

/// Starts a step. What an evaluation prints goes to a file that gets its name when it is whole.
fn start(
    step: &Step,
    file: &BootstrapFile,
    layout: &Layout,
    children: &mut Children,
    session: &Session,
) -> Result<Option<NamedTempFile>, Failure> {
    let path = layout.printed(&step.name);
    let io = |source| LedgerError::Io {
        path: path.clone(),
        source,
    };
    let (printed, stdout) = if let Kind::Eval { .. } = step.kind {
        let folder = path.parent().unwrap_or(&path);
        fs_err::create_dir_all(folder).map_err(io)?;
        let printed = NamedTempFile::new_in(folder).map_err(io)?;
        let stdout = printed.reopen().map_err(io)?;
        (Some(printed), Stdio::from(stdout))
    } else {
        (None, Stdio::null())
    };
    children
        .start(&step.name, &step.arguments(file, layout), stdout, session)
        .map_err(Failure::Processes)?;
    Ok(printed)
}

/// Waits until the step has ended well. A signal is passed on to it.
async fn watch(
    step: &Step,
    children: &mut Children,
    ledger: &mut Ledger,
    signals: &mut Signals,
    session: &Session,
) -> Result<(), Failure> {
    let mut reap = tokio::time::interval(REAP);
    let mut kept = Instant::now();
    let mut is_stopping = false;
    loop {
        tokio::select! {
            _ = reap.tick() => {}
            () = signals.next() => {
                if is_stopping {
                    children.kill();
                    signals::exit_now();
                }
                is_stopping = true;
                session.say(format_args!(
                    "stopping `{}`; what is done stays (Ctrl-C again stops at once)", step.name
                ));
                children.stop();
            }
        }
        let ended = children.take_ended().map_err(Failure::Processes)?;
        if !ended.is_empty() || kept.elapsed() >= KEEP {
            ledger.add(step, kept.elapsed())?;
            kept = Instant::now();
        }
        match ended.into_iter().next() {
            None => {}
            Some((_, Outcome::ExitCode(0))) => return Ok(()),
            Some(_) if is_stopping => return Err(Failure::Interrupted),
            Some((name, outcome)) => {
                return Err(Failure::Step {
                    step: name,
                    outcome,
                });
            }
        }
    }
}
