use std::path::Path;
use std::time::Duration;

use capfilt_train::Peak;

use crate::file::BootstrapFile;
use crate::file::tests::{folder, write};
use crate::ledger::{Contents, Ledger, LedgerError, Outlook, State, digest, marks, outlook};
use crate::step::{Layout, Step};
use crate::steps::steps;

struct World {
    folder: tempfile::TempDir,
    file: BootstrapFile,
    layout: Layout,
    steps: Vec<Step>,
}

impl World {
    fn new() -> Self {
        let (folder, path) = folder("[[arm]]\nname = \"both\"");
        Self::of(folder, &path)
    }

    /// The one with the bootstrap file `path` in `folder`.
    fn of(folder: tempfile::TempDir, path: &Path) -> Self {
        let file = BootstrapFile::load(path, None).unwrap();
        let layout = Layout::new(&folder.path().join("out"));
        let (steps, _) = steps(&file);
        Self {
            folder,
            file,
            layout,
            steps,
        }
    }

    fn open(&self) -> Ledger {
        Ledger::open(self.layout.clone()).unwrap()
    }

    fn seconds(&self, step: &Step) -> f64 {
        marks(&self.layout).unwrap()[&step.name].seconds
    }

    /// Does the first `count` steps, as far as the ledger sees, and says how they were before.
    fn go(&self, count: usize) -> Vec<State> {
        let mut ledger = self.open();
        let steps = self.steps[..count].iter();
        steps
            .map(|step| {
                let state = ledger.begin(step, &self.file).unwrap();
                let folder = self.layout.folder(&step.name);
                fs_err::create_dir_all(folder.join("checkpoints/00000008")).unwrap();
                ledger.finish(step).unwrap();
                state
            })
            .collect()
    }
}

#[test]
fn a_step_is_done_until_what_it_uses_changes() {
    let mut world = World::new();
    assert_eq!(world.go(3), [State::Begun; 3]);
    assert_eq!(world.go(3), [State::Done; 3]);
    // The filter's own options: only it is done again.
    world.file.finetune_filter.learning_rate.peak = Peak::new(2e-4).unwrap();
    assert_eq!(world.go(3), [State::Done, State::Done, State::Begun]);
    // The web pairs: the first model and all that comes of it.
    write(&world.folder.path().join("web.parquet"), "a dog");
    assert_eq!(world.go(3), [State::Begun; 3]);
}

/// The same data, written again elsewhere, is the same; and so is the output, moved along.
#[test]
fn what_is_moved_is_not_done_again() {
    let world = World::new();
    assert_eq!(world.go(3), [State::Begun; 3]);
    let (elsewhere, path) = folder("[[arm]]\nname = \"both\"");
    fs_err::rename(&world.layout.output, elsewhere.path().join("out")).unwrap();
    let moved = World::of(elsewhere, &path);
    assert_eq!(moved.go(4)[..3], [State::Done; 3]);
}

/// Marks without a version are those of commit 497e7fa, which spelled paths and times.
#[test]
fn marks_of_version_1_count_by_their_rule() {
    let mut world = World::new();
    assert_eq!(world.go(3), [State::Begun; 3]);
    let path = world.layout.output.join("steps.json");
    let mut marks = marks(&world.layout).unwrap();
    for step in &world.steps[..3] {
        let mut contents = Contents::default();
        let old = digest(1, step, &world.file, &world.layout, &marks, &mut contents).unwrap();
        let mark = marks.get_mut(&step.name).unwrap();
        (mark.version, mark.digest) = (1, old);
    }
    let text = serde_json::to_string(&marks).unwrap();
    fs_err::write(&path, text.replace("\"version\":1,", "")).unwrap();
    assert_eq!(world.go(3), [State::Done; 3]);
    world.file.finetune_filter.learning_rate.peak = Peak::new(2e-4).unwrap();
    assert_eq!(world.go(3), [State::Done, State::Done, State::Begun]);
    assert_eq!(world.go(3), [State::Done; 3]);
    let versions = |world: &World| {
        let marks = super::marks(&world.layout).unwrap();
        let of = |step: &Step| marks[&step.name].version;
        world.steps[..3].iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(versions(&world), [1, 1, 2]);
}

#[test]
fn the_outlook_is_what_a_start_would_find() {
    let mut world = World::new();
    let look = |world: &World| outlook(&world.steps[..4], &world.file, &world.layout).unwrap();
    assert_eq!(look(&world), [Outlook::New; 4]);
    world.go(3);
    let done = Outlook::Done { seconds: 0.0 };
    assert_eq!(look(&world), [done, done, done, Outlook::New]);
    world.file.finetune_filter.learning_rate.peak = Peak::new(2e-4).unwrap();
    assert_eq!(look(&world), [done, done, Outlook::Changed, Outlook::New]);
    world.file.pretrain.learning_rate.peak = Peak::new(2e-4).unwrap();
    assert_eq!(look(&world)[..3], [Outlook::Changed; 3]);
    // Nothing was begun by looking.
    world.go(1);
    assert_eq!(look(&world)[..2], [done, Outlook::Changed]);
}

#[test]
fn what_was_begun_goes_on_and_what_changed_starts_anew() {
    let mut world = World::new();
    let step = world.steps[0].clone();
    let trace = world.layout.folder(&step.name).join("checkpoints");
    {
        let mut ledger = world.open();
        assert_eq!(ledger.begin(&step, &world.file).unwrap(), State::Begun);
        ledger.add(&step, Duration::from_secs(3)).unwrap();
        fs_err::create_dir_all(&trace).unwrap();
    }
    {
        let mut ledger = world.open();
        assert_eq!(ledger.begin(&step, &world.file).unwrap(), State::Begun);
        ledger.add(&step, Duration::from_secs(4)).unwrap();
        assert!((world.seconds(&step) - 7.0).abs() < 1e-9);
        assert!(trace.exists());
    }
    world.file.pretrain.learning_rate.peak = Peak::new(2e-3).unwrap();
    let mut ledger = world.open();
    assert_eq!(ledger.begin(&step, &world.file).unwrap(), State::Begun);
    assert!(!trace.exists());
    assert!(world.seconds(&step).abs() < 1e-9);
}

#[test]
fn a_result_that_is_gone_is_made_again() {
    let world = World::new();
    world.go(1);
    fs_err::remove_dir_all(world.layout.folder(&world.steps[0].name)).unwrap();
    assert_eq!(world.go(1), [State::Begun]);
}

#[test]
fn a_second_bootstrap_and_a_damaged_ledger_are_refused() {
    let world = World::new();
    let first = world.open();
    let second = Ledger::open(world.layout.clone()).unwrap_err();
    assert!(matches!(second, LedgerError::Busy { .. }), "{second}");
    drop(first);
    fs_err::write(world.layout.output.join("steps.json"), "{\"m0\":").unwrap();
    let damaged = Ledger::open(world.layout.clone()).unwrap_err();
    assert!(damaged.to_string().contains("remove it"), "{damaged}");
}
