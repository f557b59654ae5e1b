//! A training from its first step to the finished model.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use capfilt_image::Preprocess;
use capfilt_onnx::{ImportError, TokenizerError, Vocabulary};

use crate::checkpoint::{self, CheckpointError};
use crate::data::{DataError, Feed, Loader};
use crate::export::{ExportError, Exported, export};
use crate::family::Family;
use crate::file::{DeviceName, HeldOut, TrainFile};
use crate::fingerprint::Fingerprint;
use crate::held_out::{HeldOutError, HeldOutNumbers, measure};
use crate::learner::{Learner, StepNumbers, StepPlan};
use crate::model::blip::Mode;
use crate::number::Number;
use crate::progress::{HeldOutLine, ProgressFile, StepLine};
use crate::start::{StartError, Started, begin};

#[cfg(test)]
pub(crate) mod tests;

/// Folder of checkpoints in the output.
const CHECKPOINTS: &str = "checkpoints";

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
            Self::Data(error) | Self::HeldOut(HeldOutError::Data(error)) => {
                !matches!(error, DataError::Corrupt { .. } | DataError::Worker)
            }
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
    fs_err::create_dir_all(&output).map_err(written(&output))?;
    let _lock = lock(&output)?;
    for folder in [output.clone(), output.join(CHECKPOINTS)] {
        checkpoint::remove_halves(&folder).map_err(written(&folder))?;
    }
    let mut run = Run::open(file, output, report)?;
    while run.step < run.steps {
        let begun = Instant::now();
        let numbers = run.learn()?;
        run.pace.add(begun.elapsed());
        let is_last = run.step == run.steps;
        if run.step.is_multiple_of(file.training.log_every.get()) || is_last {
            let line = run.line(numbers);
            run.note(&line)?;
            report(Event::Step(&line));
        }
        let improved = match &file.held_out {
            Some(held_out) if run.step.is_multiple_of(held_out.every.get()) || is_last => {
                run.look(held_out, report)?
            }
            _ => false,
        };
        let stopped = !is_last && stop();
        if improved || stopped || is_last || run.step.is_multiple_of(file.checkpoints.every.get()) {
            let checkpoint = run.save()?;
            report(Event::Saved(&checkpoint));
            if stopped {
                let step = run.step;
                return Ok(Outcome::Stopped { step, checkpoint });
            }
        }
    }
    let weights = run.learner.best_known();
    let (vocabulary, preprocess) = (&run.vocabulary, &run.preprocess);
    let exported = export(&run.output, &file.model, &weights, vocabulary, preprocess)?;
    Ok(Outcome::Finished {
        exported,
        held_out: run.measured,
        unusable: run.loader.corrupt().len(),
    })
}

fn written(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError + use<> {
    let path = path.to_owned();
    move |source| TrainError::Output { path, source }
}

/// Keeps others away from `output` until it is dropped.
fn lock(output: &Path) -> Result<fs_err::File, TrainError> {
    let path = output.join(".lock");
    let lock = fs_err::File::create(&path).map_err(written(&path))?;
    match lock.file().try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(TrainError::Busy {
            path: output.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(written(&path)(source)),
    }
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

/// A training under way.
struct Run<'a> {
    file: &'a TrainFile,
    output: PathBuf,
    fingerprint: Fingerprint,
    vocabulary: Vocabulary,
    preprocess: Preprocess,
    learner: Learner,
    loader: Loader,
    progress: ProgressFile,
    pace: Pace,
    /// Steps in all, and of an epoch.
    steps: u64,
    per_epoch: u64,
    /// Tokens of the prompt that are not asked for.
    prompt: usize,
    /// Steps that are done.
    step: u64,
    /// What held-out data said at best, and after which step; and what it said last.
    best: Option<(f64, u64)>,
    measured: Option<HeldOutNumbers>,
    /// The last checkpoint.
    last: Option<PathBuf>,
}

impl<'a> Run<'a> {
    /// Opens everything, and takes up the last checkpoint.
    fn open(
        file: &'a TrainFile,
        output: PathBuf,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let beside = file.start.model.as_deref().filter(|path| path.is_dir());
        let vocabulary = file
            .model
            .vocabulary(file.tokenizer.as_deref().or(beside))?;
        let average = file.training.average.map(Number::get);
        let mut learner = Learner::new(
            file.model.clone(),
            &vocabulary,
            &file.optimizer,
            average,
            file.seed,
            &device(file),
        );
        let preprocess = file.preprocess();
        let feed = Feed {
            sources: &file.data,
            loading: &file.loading,
            preprocess: &preprocess,
            batch: file.training.batch.get(),
            seed: file.seed,
        };
        let fingerprint = Fingerprint::of(file, &vocabulary)?;
        let mut kept = checkpoint::list(&output.join(CHECKPOINTS))?;
        let last = kept.pop().map(|(_, path)| path);
        let mut started = Vec::new();
        let (loader, step, best) = if let Some(path) = &last {
            let state = checkpoint::state(path, &fingerprint)?;
            let loader = Loader::open_at(&feed, &state.position)?;
            checkpoint::restore(path, &state, &mut learner)?;
            (loader, state.step, state.best)
        } else {
            let loader = Loader::open(&feed)?;
            started = begin(&file.start, &file.model, &mut learner.weights)?;
            learner.follow(average);
            (loader, 0, None)
        };
        let progress = output.join("progress.jsonl");
        let samples_per_epoch = loader.samples_per_epoch();
        let run = Self {
            file,
            progress: ProgressFile::open(&progress, step).map_err(written(&progress))?,
            pace: Pace::default(),
            steps: file.steps(samples_per_epoch),
            per_epoch: file.steps_per_epoch(samples_per_epoch),
            prompt: learner.prompt_tokens(&vocabulary)?,
            output,
            fingerprint,
            vocabulary,
            preprocess,
            learner,
            loader,
            step,
            best,
            measured: None,
            last,
        };
        report(Event::Begun {
            parameters: run.learner.weights.size(),
            steps: run.steps,
            done: step,
            samples_per_epoch,
            started: &started,
        });
        Ok(run)
    }

    /// Makes the next step.
    fn learn(&mut self) -> Result<StepNumbers, TrainError> {
        let training = &self.file.training;
        let mut batches = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..training.accumulate.get() {
            let batch = self.loader.next_batch()?;
            batches.push(self.learner.pairs(&batch, &self.vocabulary)?);
            ids.extend(batch.ids);
        }
        let step = self.step;
        let rate = &self.file.learning_rate;
        let plan = StepPlan {
            step,
            learning_rate: rate.at(step, self.steps, self.per_epoch),
            alpha: self.alpha(step),
            clip_norm: training.clip_norm.map(Number::get),
        };
        let numbers = self.learner.step(&batches, self.prompt, plan);
        self.step += 1;
        numbers.ok_or_else(|| TrainError::NotFinite {
            step,
            ids,
            checkpoint: self.last.clone(),
        })
    }

    /// Adds a line to the progress.
    fn note(&self, line: &impl serde::Serialize) -> Result<(), TrainError> {
        self.progress.add(line).map_err(written(&self.output))
    }

    /// Measures held-out data. Whether it is better than ever before.
    fn look(
        &mut self,
        held_out: &HeldOut,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, TrainError> {
        let numbers = measure(
            &self.file.model,
            &self.learner.best_known(),
            &self.vocabulary,
            &held_out.data,
            &self.preprocess,
            &self.learner.device.clone().inner(),
        )?;
        let step = self.step;
        let is_best = |score: &f64| self.best.is_none_or(|(best, _)| *score > best);
        let improved = numbers.score().filter(is_best);
        self.best = improved.map(|score| (score, step)).or(self.best);
        let line = HeldOutLine {
            step,
            held_out: numbers,
        };
        self.note(&line)?;
        report(Event::HeldOut(&line));
        self.measured = Some(line.held_out);
        Ok(improved.is_some())
    }

    /// Saves a checkpoint and removes old ones.
    fn save(&mut self) -> Result<PathBuf, TrainError> {
        let folder = self.output.join(CHECKPOINTS);
        let now = (self.step, self.loader.position(), self.best);
        let path = checkpoint::save(&folder, &self.fingerprint, &self.learner, now)?;
        let best = self.best.map(|(_, step)| step);
        checkpoint::prune(&folder, self.file.checkpoints.keep.get(), best)?;
        self.last = Some(path.clone());
        Ok(path)
    }

    /// Weight of the momentum model's opinion: it grows over the first two epochs of pretraining,
    /// and over the first one of finetuning.
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    fn alpha(&self, step: u64) -> f64 {
        match &self.file.model {
            Family::Blip(blip) => {
                let epochs = if blip.mode == Mode::Pretrain { 2 } else { 1 };
                blip.alpha.get() * (step as f64 / (epochs * self.per_epoch) as f64).min(1.0)
            }
            _ => 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "steps and samples are far below 2^52"
    )]
    fn line(&mut self, numbers: StepNumbers) -> StepLine {
        let of_a_step = self.file.samples_per_step();
        let (step, steps) = (self.step, self.steps);
        let steps_per_second = self.pace.lap();
        let losses = numbers.losses.into_iter();
        let rate = &self.file.learning_rate;
        StepLine {
            step,
            steps,
            epoch: (step * of_a_step) as f64 / self.loader.samples_per_epoch().max(1) as f64,
            samples: step * of_a_step,
            losses: losses.map(|(name, loss)| (name.to_owned(), loss)).collect(),
            total: numbers.total,
            gradient_norm: numbers.gradient_norm,
            learning_rate: rate.at(step - 1, steps, self.per_epoch),
            samples_per_second: steps_per_second * of_a_step as f64,
            unusable: self.loader.corrupt().len(),
            seconds_left: (steps - step) as f64 / steps_per_second.max(f64::MIN_POSITIVE),
        }
    }
}

/// Steps per second, without what comes between them.
#[derive(Default)]
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
