//! `capfilt bootstrap`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use capfilt_bootstrap::{
    BootstrapFile, Kind, Layout, Ledger, LedgerError, Outlook, Results, State, Step, outlook,
    steps, summarise,
};
use capfilt_data::Location;
use tempfile::NamedTempFile;

use crate::children::Children;
use crate::cli;
use crate::cores::Cores;
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
        return plan(&list, &file, &layout);
    }
    let began = capfilt_pipeline::now();
    let mut work = Work::new(&file, &layout, &list, args.jobs.get(), session)?;
    work.finish().await?;
    let results = Results::gather(&file, &runs, &layout, &work.ledger)?;
    results.write(&layout)?;
    let output = Location::File(output);
    if work.is_new {
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

/// Prints the steps, how far they are, and which of them would be done again.
fn plan(list: &[Step], file: &BootstrapFile, layout: &Layout) -> Result<ExitCode, Failure> {
    let mut output = Output::new();
    for (step, found) in list.iter().zip(outlook(list, file, layout)?) {
        let what = match &step.kind {
            Kind::Train(_) => "train",
            Kind::Run { .. } => "run",
            Kind::Eval { .. } => "eval",
        };
        let state = match found {
            Outlook::New => String::new(),
            Outlook::Changed => "changed".to_owned(),
            Outlook::Begun { seconds } => format!("begun, {seconds:.0} s"),
            Outlook::Done { seconds } => format!("done, {seconds:.0} s"),
        };
        output.line(format_args!("{what:<6}{:<40}{state}", step.name))?;
    }
    Ok(ExitCode::Done)
}

/// Steps that wait, are under way and are done.
struct Work<'a> {
    file: &'a BootstrapFile,
    layout: &'a Layout,
    list: &'a [Step],
    session: &'a Session,
    ledger: Ledger,
    children: Children,
    /// Places in the list.
    waiting: Vec<usize>,
    under_way: BTreeMap<String, UnderWay<'a>>,
    done: BTreeSet<&'a str>,
    /// Cores for steps that may begin.
    free: Vec<Cores>,
    /// Whether a step was done that was not before.
    is_new: bool,
}

/// A step that a process is at work on.
struct UnderWay<'a> {
    step: &'a Step,
    /// What it prints, until that is whole.
    printed: Option<NamedTempFile>,
    cores: Cores,
    /// Until when its time is in the ledger.
    kept: Instant,
}

impl<'a> Work<'a> {
    fn new(
        file: &'a BootstrapFile,
        layout: &'a Layout,
        list: &'a [Step],
        jobs: usize,
        session: &'a Session,
    ) -> Result<Self, Failure> {
        Ok(Self {
            file,
            layout,
            list,
            session,
            ledger: Ledger::open(layout.clone())?,
            children: Children::new().map_err(Failure::Processes)?,
            waiting: (0..list.len()).collect(),
            under_way: BTreeMap::new(),
            done: BTreeSet::new(),
            free: Cores::parts(jobs).map_err(Failure::Processes)?,
            is_new: false,
        })
    }

    /// Does all that is not done. The first step that fails stops the others; what they did so far stays.
    async fn finish(&mut self) -> Result<(), Failure> {
        let mut signals = Signals::listen().map_err(Failure::Signals)?;
        let mut reap = tokio::time::interval(REAP);
        let mut failure = None;
        let mut is_stopping = false;
        loop {
            if failure.is_none()
                && let Err(error) = self.begin_some()
            {
                failure = Some(error);
                self.children.stop();
            }
            if self.under_way.is_empty() {
                return failure.map_or(Ok(()), Err);
            }
            tokio::select! {
                _ = reap.tick() => {}
                () = signals.next() => {
                    if is_stopping {
                        self.children.kill();
                        signals::exit_now();
                    }
                    is_stopping = true;
                    let names: Vec<String> = self.under_way.keys().map(|name| format!("`{name}`")).collect();
                    self.session.say(format_args!(
                        "stopping {}; what is done stays (Ctrl-C again stops at once)", names.join(" and ")
                    ));
                    failure.get_or_insert(Failure::Interrupted);
                    self.children.stop();
                }
            }
            for (name, outcome) in self.children.take_ended().map_err(Failure::Processes)? {
                if let Err(error) = self.end(&name, outcome)
                    && failure.is_none()
                {
                    failure = Some(error);
                    self.children.stop();
                }
            }
            self.keep_times()?;
        }
    }

    /// Begins steps that wait for nothing, in the order of the list, while there are cores for them.
    fn begin_some(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while at < self.waiting.len() && !self.free.is_empty() {
            let (list, place) = (self.list, self.waiting[at]);
            let step = &list[place];
            if !step
                .needs
                .iter()
                .all(|need| self.done.contains(need.as_str()))
            {
                at += 1;
                continue;
            }
            self.waiting.remove(at);
            let place = format!("{}/{}", place + 1, list.len());
            if self.ledger.begin(step, self.file)? == State::Done {
                self.session
                    .say(format_args!("step {place}  {}: done before", step.name));
                self.done.insert(&step.name);
                continue;
            }
            self.session
                .say(format_args!("step {place}  {}", step.name));
            if let Some(cores) = self.free.pop() {
                self.begin(step, cores)?;
            }
        }
        Ok(())
    }

    /// Begins a step. What an evaluation prints goes to a file that gets its name when it is whole.
    fn begin(&mut self, step: &'a Step, cores: Cores) -> Result<(), Failure> {
        let path = self.layout.printed(&step.name);
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
        let arguments = step.arguments(self.file, self.layout);
        cores
            .during(|| {
                self.children
                    .start(&step.name, &arguments, stdout, self.session)
            })
            .map_err(Failure::Processes)?;
        let under_way = UnderWay {
            step,
            printed,
            cores,
            kept: Instant::now(),
        };
        self.under_way.insert(step.name.clone(), under_way);
        Ok(())
    }

    /// Takes up what came of a step.
    fn end(&mut self, name: &str, outcome: Outcome) -> Result<(), Failure> {
        let Some(UnderWay {
            step,
            printed,
            cores,
            kept,
        }) = self.under_way.remove(name)
        else {
            return Ok(());
        };
        self.free.push(cores);
        self.ledger.add(step, kept.elapsed())?;
        if outcome != Outcome::ExitCode(0) {
            return Err(Failure::Step {
                step: name.to_owned(),
                outcome,
            });
        }
        if let Some(printed) = printed {
            let path = self.layout.printed(name);
            printed.persist(&path).map_err(|error| LedgerError::Io {
                path,
                source: error.error,
            })?;
        }
        self.ledger.finish(step)?;
        self.done.insert(&step.name);
        self.is_new = true;
        Ok(())
    }

    /// Keeps the time that steps took so far, should this program be killed.
    fn keep_times(&mut self) -> Result<(), Failure> {
        for under_way in self.under_way.values_mut() {
            let took = under_way.kept.elapsed();
            if took >= KEEP {
                self.ledger.add(under_way.step, took)?;
                under_way.kept = Instant::now();
            }
        }
        Ok(())
    }
}
