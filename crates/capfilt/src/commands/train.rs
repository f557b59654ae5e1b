//! `capfilt train`.

use std::time::{Duration, Instant};

use capfilt_data::Location;
use capfilt_train::{Event, HeldOutNumbers, Outcome, StepLine, TrainFile};
use indicatif::HumanDuration;

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::news;
use crate::report;
use crate::session::Session;
use crate::signals;

/// How long the step under way and its checkpoint may take after the first signal.
const GRACE: Duration = Duration::from_mins(2);

/// Steps are told no more often than this.
const BETWEEN: Duration = Duration::from_secs(2);

/// Trains what a training file says and tells what came of it.
pub(crate) async fn train(args: &cli::Train, session: &Session) -> Result<ExitCode, Failure> {
    let file = TrainFile::load(&args.training, args.output.as_deref())?;
    let told = session.clone();
    let began = capfilt_pipeline::now();
    let output = file.output.clone().unwrap_or_default();
    let work = tokio::task::spawn_blocking(move || {
        let stop = told.stop().clone();
        let mut last: Option<Instant> = None;
        let mut has_learnt = false;
        let outcome = capfilt_train::train(&file, &|| stop.is_stopped(), &mut |event| {
            has_learnt |= matches!(event, Event::Step(_));
            tell(&event, &mut last, &told);
        });
        (outcome, has_learnt)
    });
    let asked = "stopping after this step; a checkpoint is saved (Ctrl-C again stops at once)";
    let done = signals::stoppable_within(GRACE, asked, work, session).await?;
    let (outcome, has_learnt) = done.map_err(Failure::Worker)?;
    match outcome? {
        Outcome::Finished {
            exported,
            held_out,
            unusable,
        } => {
            if unusable > 0 {
                session.say(format_args!(
                    "left out   {unusable} rows without a usable picture or text"
                ));
            }
            if let Some(numbers) = held_out {
                session.say(format_args!("held out   {}", in_words(&numbers)));
            }
            for folder in &exported.folders {
                session.say(format_args!("model      {}", folder.display()));
            }
            for package in &exported.packages {
                session.say(format_args!("package    {}", package.display()));
            }
            let output = Location::File(output);
            if has_learnt {
                news::tell(&output, began)?;
            }
            let page = report::write(&output)?;
            session.say(format_args!("page       {page}"));
            Ok(ExitCode::Done)
        }
        Outcome::Stopped { .. } => Err(Failure::Interrupted),
    }
}

fn tell(event: &Event<'_>, last: &mut Option<Instant>, session: &Session) {
    match event {
        Event::Begun {
            parameters,
            steps,
            done,
            samples_per_epoch,
            started,
        } => {
            session.say(format_args!(
                "training {parameters} parameters for {steps} steps on {samples_per_epoch} pairs an epoch"
            ));
            for checkpoint in *started {
                let (taken, drawn) = (checkpoint.taken, checkpoint.drawn.len());
                session.say(format_args!(
                    "start      {}: {taken} tensors taken, {drawn} drawn",
                    checkpoint.path.display()
                ));
                if let Some(first) = checkpoint.drawn.first() {
                    session.say(format_args!("           it has no `{first}`, for one"));
                }
            }
            if done == steps {
                session.say(format_args!("nothing to learn: all {steps} steps are done"));
            } else if *done > 0 {
                session.say(format_args!("going on after step {done}"));
            }
        }
        Event::Step(line) => {
            let is_due = last.is_none_or(|last| last.elapsed() >= BETWEEN);
            if is_due || line.step == line.steps {
                *last = Some(Instant::now());
                session.say(format_args!("{}", step(line)));
            }
        }
        Event::HeldOut(line) => {
            session.say(format_args!("held out   {}", in_words(&line.held_out)));
        }
        Event::Saved(path) => session.say(format_args!("saved      {}", path.display())),
    }
}

fn step(line: &StepLine) -> String {
    let losses: Vec<String> = line
        .losses
        .iter()
        .map(|(name, loss)| format!("{name} {loss:.3}"))
        .collect();
    let left = Duration::try_from_secs_f64(line.seconds_left).unwrap_or_default();
    format!(
        "step {}/{}  epoch {:.2}  {}  rate {:.2e}  {:.0} pairs/s  {} left",
        line.step,
        line.steps,
        line.epoch,
        losses.join("  "),
        line.learning_rate,
        line.samples_per_second,
        HumanDuration(left),
    )
}

fn in_words(numbers: &HeldOutNumbers) -> String {
    let mut words = vec![format!("{} pictures", numbers.pictures)];
    let recalls = [
        ("text", numbers.text_recall),
        ("image", numbers.image_recall),
    ];
    for (what, recall) in recalls {
        if let Some(shares) = recall {
            let [one, five, ten] = shares.map(|share| 100.0 * share);
            words.push(format!("{what} R@1 {one:.1} R@5 {five:.1} R@10 {ten:.1} %"));
        }
    }
    words.extend(numbers.cider_d.map(|cider| format!("CIDEr-D {cider:.3}")));
    words.join("  ")
}
