//! A training from its first step to the finished model.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use capfilt_onnx::{ImportError, TokenizerError, Vocabulary};

use crate::checkpoint::{self, CheckpointError};
use crate::data::{DataError, Feed, Loader};
use crate::export::{ExportError, Exported, export};
use crate::family::Family;
use crate::file::{DeviceName, TrainFile};
use crate::held_out::{HeldOutError, HeldOutNumbers, measure};
use crate::learner::{Learner, StepNumbers, StepPlan};
use crate::model::blip::Mode;
use crate::progress::{HeldOutLine, ProgressFile, StepLine};
use crate::start::{StartError, Started, begin};

#[cfg(test)]
pub(crate) mod tests;

/// What happens while a model is trained.
#[derive(Debug)]
pub enum Event<'a> {
    /// Everything is open and fits.
    Begun {
        /// Numbers that are trained.
        parameters: usize,
        /// Steps in all.
        steps: u64,
        /// Steps that a checkpoint has done before.
        done: u64,
        /// Pairs of an epoch.
        samples_per_epoch: u64,
        /// Checkpoints that parameters started from.
        started: &'a [Started],
    },
    /// Some steps are done.
    Step(&'a StepLine),
    /// Held-out data was measured.
    HeldOut(&'a HeldOutLine),
    /// A checkpoint was saved.
    Saved(&'a Path),
}

/// How a training ended.
#[derive(Debug)]
pub enum Outcome {
    /// All steps are done.
    Finished {
        /// What was written.
        exported: Exported,
        /// What held-out data says of it.
        held_out: Option<HeldOutNumbers>,
        /// Rows of the data that could not be used.
        unusable: usize,
    },
    /// It was asked to stop, and saved this checkpoint.
    Stopped {
        /// Steps that are done.
        step: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Why a model cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Another training writes there.
    #[error("another training is at work on `{}`: wait for it, or choose another output", path.display())]
    Busy {
        /// The output.
        path: PathBuf,
    },
    /// The output cannot be written.
    #[error("cannot write to the output `{}`", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Vocabulary(#[from] ImportError),
    /// A text cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The held-out data cannot be used.
    #[error(transparent)]
    HeldOut(#[from] HeldOutError),
    /// The model cannot start from a checkpoint.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A checkpoint cannot be saved or taken up.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The finished model cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A loss or a gradient is no number.
    #[error(
        "the loss of step {step} is no finite number. Its rows: {}. The last good checkpoint: {}. \
         Lower the learning rate, shorten gradients with `training.clip-norm`, or look at these rows",
        ids.join(", "), checkpoint.as_ref().map_or("none".to_owned(), |path| format!("`{}`", path.display()))
    )]
    NotFinite {
        /// The step, from 0.
        step: u64,
        /// Ids of its rows.
        ids: Vec<String>,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
    },
}

impl TrainError {
    /// Whether the training file, or what it names, is wrong.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Vocabulary(_) | Self::Start(_) => true,
            Self::Data(error) => !matches!(error, DataError::Corrupt { .. } | DataError::Worker),
            Self::Checkpoint(error) => matches!(error, CheckpointError::OtherFile { .. }),
            _ => false,
        }
    }
}

/// Trains what `file` says, from the last checkpoint of its output if there is one. `stop` is asked
/// after every step.
pub fn train(
    file: &TrainFile,
    stop: &dyn Fn() -> bool,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, TrainError> {
    let output = file.output.clone().unwrap_or_default();
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Output { path, source }
    };
    fs_err::create_dir_all(&output).map_err(written(&output))?;
    let lock = output.join(".lock");
    let lock_file = fs_err::File::create(&lock).map_err(written(&lock))?;
    match lock_file.file().try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(TrainError::Busy { path: output }),
        Err(TryLockError::Error(source)) => return Err(written(&lock)(source)),
    }

    let tokenizer =
        file.tokenizer
            .as_deref()
            .or(file.start.model.as_deref().filter(|path| path.is_dir()));
    let vocabulary = Vocabulary::open(tokenizer)?;
    let device = device(file);
    let mut learner = Learner::new(
        file.model.clone(),
        &vocabulary,
        &file.optimizer,
        file.training.average,
        file.seed,
        &device,
    );
    let preprocess = file.preprocess();
    let feed = Feed {
        sources: &file.data,
        loading: &file.loading,
        preprocess: &preprocess,
        batch: file.training.batch.get(),
        seed: file.seed,
    };
    let folder = output.join("checkpoints");
    let last = checkpoint::list(&folder)?.pop().map(|(_, path)| path);
    let (mut loader, mut step, mut best, started) = match &last {
        Some(path) => {
            let state = checkpoint::state(path, file)?;
            let loader = Loader::open_at(&feed, &state.position)?;
            checkpoint::restore(path, &state, &mut learner)?;
            (loader, state.step, state.best, Vec::new())
        }
        None => {
            let loader = Loader::open(&feed)?;
            let started = begin(&file.start, &file.model, &mut learner.weights)?;
            learner.follow(file.training.average);
            (loader, 0, None, started)
        }
    };
    let mut run = Run {
        file,
        progress: ProgressFile::open(&output.join("progress.jsonl"), step)
            .map_err(written(&output))?,
        folder,
        last,
        steps: file.steps(loader.samples_per_epoch()),
        per_epoch: file.steps_per_epoch(loader.samples_per_epoch()),
        prompt: learner.prompt_tokens(&vocabulary)?,
    };
    report(Event::Begun {
        parameters: learner.weights.size(),
        steps: run.steps,
        done: step,
        samples_per_epoch: loader.samples_per_epoch(),
        started: &started,
    });

    let mut measured: Option<HeldOutNumbers> = None;
    let mut pace = Pace {
        spent: Duration::ZERO,
        steps: 0,
    };
    while step < run.steps {
        let begun = Instant::now();
        let numbers = run.step(step, &mut learner, &mut loader, &vocabulary)?;
        pace.add(begun.elapsed());
        step += 1;
        let is_last = step == run.steps;
        if step.is_multiple_of(file.training.log_every) || is_last {
            let line = run.line(step, numbers, &mut pace, &loader);
            run.progress.add(&line).map_err(written(&output))?;
            report(Event::Step(&line));
        }
        let mut improved = false;
        if let Some(held_out) = &file.held_out
            && (step.is_multiple_of(held_out.every) || is_last)
        {
            let weights = learner.best_known();
            let inner = device.clone().inner();
            let (family, data) = (&file.model, &held_out.data);
            let numbers = measure(family, &weights, &vocabulary, data, &preprocess, &inner)?;
            if let Some(score) = numbers.score()
                && best.is_none_or(|(so_far, _)| score > so_far)
            {
                best = Some((score, step));
                improved = true;
            }
            let line = HeldOutLine {
                step,
                held_out: numbers,
            };
            run.progress.add(&line).map_err(written(&output))?;
            report(Event::HeldOut(&line));
            measured = Some(line.held_out);
        }
        let stopped = !is_last && stop();
        if improved || stopped || is_last || step.is_multiple_of(file.checkpoints.every) {
            let position = loader.position();
            let path = checkpoint::save(&run.folder, file, &learner, (step, position, best))?;
            checkpoint::prune(
                &run.folder,
                file.checkpoints.keep.get(),
                best.map(|(_, step)| step),
            )?;
            report(Event::Saved(&path));
            run.last = Some(path.clone());
            if stopped {
                return Ok(Outcome::Stopped {
                    step,
                    checkpoint: path,
                });
            }
        }
    }
    let exported = export(
        &output,
        &file.model,
        &learner.best_known(),
        &vocabulary,
        &preprocess,
    )?;
    Ok(Outcome::Finished {
        exported,
        held_out: measured,
        unusable: loader.corrupt().len(),
    })
}

fn device(file: &TrainFile) -> Device {
    let device = match file.training.device {
        DeviceName::Cpu => Device::flex(),
    };
    let device = device.autodiff();
    if file.training.recompute {
        device.gradient_checkpointing()
    } else {
        device
    }
}

struct Run<'a> {
    file: &'a TrainFile,
    progress: ProgressFile,
    folder: PathBuf,
    /// The last checkpoint.
    last: Option<PathBuf>,
    steps: u64,
    per_epoch: u64,
    prompt: usize,
}

impl Run<'_> {
    /// Step `step`, from 0.
    fn step(
        &self,
        step: u64,
        learner: &mut Learner,
        loader: &mut Loader,
        vocabulary: &Vocabulary,
    ) -> Result<StepNumbers, TrainError> {
        let training = &self.file.training;
        let mut batches = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..training.accumulate.get() {
            let batch = loader.next_batch()?;
            batches.push(learner.pairs(&batch, vocabulary, &learner.device)?);
            ids.extend(batch.ids);
        }
        let plan = StepPlan {
            step,
            learning_rate: self.file.learning_rate.at(step, self.steps, self.per_epoch),
            alpha: self.alpha(step),
            clip_norm: training.clip_norm,
        };
        learner
            .step(&batches, self.prompt, plan)
            .ok_or_else(|| TrainError::NotFinite {
                step,
                ids,
                checkpoint: self.last.clone(),
            })
    }

    /// Weight of the momentum model's opinion: it grows over the first two epochs of pretraining,
    /// and over the first one of finetuning.
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    fn alpha(&self, step: u64) -> f64 {
        match &self.file.model {
            Family::Blip(blip) => {
                let epochs = if blip.mode == Mode::Pretrain { 2 } else { 1 };
                blip.alpha * (step as f64 / (epochs * self.per_epoch) as f64).min(1.0)
            }
            _ => 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "steps and samples are far below 2^52"
    )]
    fn line(&self, step: u64, numbers: StepNumbers, pace: &mut Pace, loader: &Loader) -> StepLine {
        let of_a_step = self.file.samples_per_step();
        let steps_per_second = pace.lap();
        let learning_rate = &self.file.learning_rate;
        StepLine {
            step,
            steps: self.steps,
            epoch: (step * of_a_step) as f64 / loader.samples_per_epoch().max(1) as f64,
            samples: step * of_a_step,
            losses: numbers
                .losses
                .into_iter()
                .map(|(name, loss)| (name.to_owned(), loss))
                .collect(),
            total: numbers.total,
            gradient_norm: numbers.gradient_norm,
            learning_rate: learning_rate.at(step - 1, self.steps, self.per_epoch),
            samples_per_second: steps_per_second * of_a_step as f64,
            unusable: loader.corrupt().len(),
            seconds_left: (self.steps - step) as f64 / steps_per_second.max(f64::MIN_POSITIVE),
        }
    }
}

/// Steps per second, without what comes between them.
struct Pace {
    spent: Duration,
    steps: u64,
}

impl Pace {
    /// A step took `time`.
    fn add(&mut self, time: Duration) {
        self.spent += time;
        self.steps += 1;
    }

    /// Steps per second since it was asked last.
    #[expect(clippy::cast_precision_loss, reason = "steps are few")]
    fn lap(&mut self) -> f64 {
        let pace = self.steps as f64 / self.spent.as_secs_f64().max(1e-9);
        (self.spent, self.steps) = (Duration::ZERO, 0);
        pace
    }
}
