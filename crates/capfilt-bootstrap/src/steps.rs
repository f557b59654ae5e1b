//! Which commands a bootstrap file stands for.

use std::collections::BTreeMap;

use capfilt_train::Mode;

use crate::arm::{Arm, Models, Next};
use crate::file::BootstrapFile;
use crate::step::{Kind, On, Step, Training, WebPart};

#[cfg(test)]
mod tests;

/// Name of the model that everything starts from.
pub(crate) const FIRST: &str = "m0";

/// The steps that say how an arm did with a seed, after the last round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// The training that ended with the model that is compared.
    pub model: String,
    /// The run that cleaned the web pairs, unless they stayed raw.
    pub data: Option<String>,
    /// The training of the filter that cleaned them.
    pub filter: Option<String>,
    /// Evaluations of the model, by held-out set: of its captions, and of what it finds.
    pub measured: BTreeMap<String, [String; 2]>,
    /// The evaluation of the filter on the web pairs whose truth is known.
    pub judged: Option<String>,
}

/// All steps, each after those that it needs, and what says how each arm did.
pub fn steps(file: &BootstrapFile) -> (Vec<Step>, Vec<Run>) {
    let mut list = List::default();
    let mut runs = Vec::new();
    for &seed in &file.seeds {
        let m0 = list.pretrain(seed, FIRST, None, WebPart::Raw);
        for arm in &file.arm {
            runs.push(list.arm(file, seed, arm, &m0));
        }
    }
    (list.steps, runs)
}

#[derive(Default)]
struct List {
    steps: Vec<Step>,
}

impl List {
    /// Adds a step unless there is one of its name, and gives its name.
    fn add(&mut self, seed: u64, name: &str, kind: Kind, needs: Vec<String>) -> String {
        let name = format!("seed-{seed}/{name}");
        if !self.steps.iter().any(|step| step.name == name) {
            self.steps.push(Step {
                name: name.clone(),
                seed,
                kind,
                needs,
            });
        }
        name
    }

    fn train(&mut self, seed: u64, name: &str, training: Training) -> String {
        let mut needs: Vec<String> = training.start.iter().cloned().collect();
        if let WebPart::Repeated(run) | WebPart::Cleaned(run) = &training.web {
            needs.push(run.clone());
        }
        self.add(seed, name, Kind::Train(training), needs)
    }

    fn pretrain(&mut self, seed: u64, name: &str, start: Option<&str>, web: WebPart) -> String {
        let training = Training {
            mode: Mode::Pretrain,
            start: start.map(str::to_owned),
            web,
        };
        self.train(seed, name, training)
    }

    /// Finetunes `start` on the human pairs.
    fn finetune(&mut self, seed: u64, what: &str, mode: Mode, start: &str) -> String {
        let training = Training {
            mode,
            start: Some(start.to_owned()),
            web: WebPart::None,
        };
        self.train(seed, &format!("{}.{what}", own(start)), training)
    }

    fn arm(&mut self, file: &BootstrapFile, seed: u64, arm: &Arm, m0: &str) -> Run {
        let mut run = Run {
            arm: arm.name.clone(),
            seed,
            model: m0.to_owned(),
            ..Run::default()
        };
        for round in 1..=file.rounds.get() {
            let name = if round == 1 {
                arm.name.clone()
            } else {
                format!("{}.round-{round}", arm.name)
            };
            let start = run.model.clone();
            let web = if arm.is_raw() {
                match &arm.replicate {
                    None => WebPart::Raw,
                    Some(other) => WebPart::Repeated(format!("seed-{seed}/{}", data(file, other))),
                }
            } else {
                let [captioner, filter] = self.models(seed, arm, &start);
                let data = if round == 1 {
                    data(file, &arm.name)
                } else {
                    format!("{name}.data")
                };
                let kind = Kind::Run {
                    captioner: captioner.clone(),
                    filter: filter.clone(),
                    decoding: arm.decoding.clone(),
                    keep: arm.keep.unwrap_or(file.keep),
                };
                let needs = captioner.into_iter().chain(filter.clone()).collect();
                let data = self.add(seed, &data, kind, needs);
                run.data = Some(data.clone());
                run.filter = filter;
                WebPart::Cleaned(data)
            };
            let start = (arm.next == Next::Continued).then_some(start.as_str());
            // Raw pairs and a new model: that is the first model itself.
            if web != WebPart::Raw || start.is_some() {
                run.model = self.pretrain(seed, &name, start, web);
            }
        }
        self.measure(file, arm, &mut run);
        run
    }

    /// The trainings with the arm's captioner and filter.
    fn models(&mut self, seed: u64, arm: &Arm, start: &str) -> [Option<String>; 2] {
        match arm.models {
            Models::Decoupled => {
                let (writes, judges) = (Mode::FinetuneCaptioner, Mode::FinetuneFilter);
                let captioner = arm
                    .captioner
                    .then(|| self.finetune(seed, "captioner", writes, start));
                let filter = arm
                    .filter
                    .then(|| self.finetune(seed, "filter", judges, start));
                [captioner, filter]
            }
            Models::Shared => {
                let shared = self.finetune(seed, "shared", Mode::Pretrain, start);
                [
                    arm.captioner.then(|| shared.clone()),
                    arm.filter.then_some(shared),
                ]
            }
        }
    }

    fn measure(&mut self, file: &BootstrapFile, arm: &Arm, run: &mut Run) {
        let seed = run.seed;
        for set in file.held_out.keys() {
            let packages = [("captions", "captioner"), ("recall", "filter")];
            let names = packages.map(|(what, package)| {
                let kind = Kind::Eval {
                    model: run.model.clone(),
                    package,
                    on: On::HeldOut(set.clone()),
                };
                let name = format!("{}.{what}-{set}", own(&run.model));
                self.add(seed, &name, kind, vec![run.model.clone()])
            });
            run.measured.insert(set.clone(), names);
        }
        if let (Some(filter), Some(_)) = (&run.filter, &file.web.truth) {
            let kind = Kind::Eval {
                model: filter.clone(),
                package: "filter",
                on: On::Web(arm.keep.unwrap_or(file.keep)),
            };
            let name = match arm.keep {
                None => format!("{}.judged", own(filter)),
                Some(_) => format!("{}.judged-for-{}", own(filter), arm.name),
            };
            run.judged = Some(self.add(seed, &name, kind, vec![filter.clone()]));
        }
    }
}

/// The name of the first run that makes what the arm `name` needs.
fn data(file: &BootstrapFile, name: &str) -> String {
    let same = |arm: &&Arm| {
        let wanted = file.arm(name);
        wanted.is_some_and(|wanted| arm.has_data_of(wanted))
    };
    let first = file.arm.iter().find(same);
    format!("{}.data", first.map_or(name, |arm| &arm.name))
}

/// A name without its seed.
fn own(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, own)| own)
}
