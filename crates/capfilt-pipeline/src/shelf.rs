//! What a run opens once: fetchers and models, when the first row needs them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use capfilt_fetch::{FetchOptions, Fetcher};
use capfilt_image::{Picture, Preprocess};
use capfilt_models::{Captioner, Device, Matcher, ModelError, Package, SessionOptions, Stop};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use tokio::sync::OnceCell;

use crate::error::StageError;
use crate::stages::{Caption, Score};

/// Things by the name of the stage that uses them.
type Slots<T> = Mutex<HashMap<String, Arc<OnceCell<T>>>>;

/// Fetchers and models, shared by all pieces of a run.
#[derive(Default)]
pub(crate) struct Shelf {
    sessions: SessionOptions,
    packages: HashMap<PathBuf, Arc<Package>>,
    fetchers: Slots<Arc<Fetcher>>,
    captioners: Slots<Captioner>,
    matchers: Slots<Matcher>,
    devices: Mutex<Vec<String>>,
}

impl Shelf {
    /// An empty shelf.
    pub(crate) fn new(
        device: Device,
        runtime: Option<&Path>,
        stop: &Stop,
        packages: HashMap<PathBuf, Arc<Package>>,
    ) -> Self {
        let sessions = SessionOptions {
            device,
            threads: None,
            runtime: runtime.map(Path::to_owned),
            stop: stop.clone(),
        };
        Self {
            sessions,
            packages,
            ..Self::default()
        }
    }

    /// The shelf of the run that `context` belongs to; an empty one outside of a run.
    pub(crate) fn of(context: &TaskContext) -> Arc<Self> {
        context
            .session_config()
            .get_extension::<Self>()
            .unwrap_or_default()
    }

    /// The devices that models were opened on, each once.
    pub(crate) fn devices(&self) -> Vec<String> {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The fetcher of `stage`.
    pub(crate) async fn fetcher(
        &self,
        stage: &str,
        options: &FetchOptions,
    ) -> Result<Arc<Fetcher>> {
        let slot = slot(&self.fetchers, stage);
        let open = || async {
            Fetcher::new(options)
                .map(Arc::new)
                .map_err(|error| StageError::Fetch(error).into())
        };
        slot.get_or_try_init(open).await.cloned()
    }

    /// The captioner of `stage`.
    pub(crate) async fn captioner(&self, stage: &str, options: &Caption) -> Result<Captioner> {
        let slot = slot(&self.captioners, stage);
        let open = || async {
            let (package, sessions) = (self.package(&options.model)?, self.sessions.clone());
            let options = options.options();
            let opened = blocking(move || Captioner::open(&package, &options, &sessions)).await?;
            let captioner = answered(opened)?;
            self.opened(stage, captioner.device());
            Ok::<_, DataFusionError>(captioner)
        };
        slot.get_or_try_init(open).await.cloned()
    }

    /// The matcher of `stage`.
    pub(crate) async fn matcher(&self, stage: &str, options: &Score) -> Result<Matcher> {
        let slot = slot(&self.matchers, stage);
        let open = || async {
            let (package, sessions) = (self.package(&options.model)?, self.sessions.clone());
            let options = options.options();
            let opened = blocking(move || Matcher::open(&package, &options, &sessions)).await?;
            let matcher = answered(opened)?;
            self.opened(stage, matcher.device());
            Ok::<_, DataFusionError>(matcher)
        };
        slot.get_or_try_init(open).await.cloned()
    }

    fn package(&self, folder: &Path) -> Result<Arc<Package>> {
        self.packages.get(folder).map(Arc::clone).ok_or_else(|| {
            DataFusionError::Internal(format!("package `{}` was not planned", folder.display()))
        })
    }

    fn opened(&self, stage: &str, device: &str) {
        tracing::info!(stage, device, "model opened");
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if !devices.iter().any(|known| known == device) {
            devices.push(device.to_owned());
        }
    }
}

/// A model's answer, or its error as operators hand it on.
pub(crate) fn answered<T>(answer: std::result::Result<T, ModelError>) -> Result<T> {
    answer.map_err(|error| StageError::Model(error).into())
}

/// What a model reads of a picture that was brought to its square.
pub(crate) async fn tensor(preprocess: &Preprocess, rgb: Vec<u8>) -> Result<Vec<f32>> {
    let preprocess = preprocess.clone();
    let tensor = blocking(move || {
        let size = preprocess.size;
        Picture::try_new(size, size, rgb).map(|picture| preprocess.tensor(&picture))
    });
    tensor
        .await?
        .map_err(|error| DataFusionError::External(Box::new(error)))
}

fn slot<T>(slots: &Slots<T>, stage: &str) -> Arc<OnceCell<T>> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(slots.entry(stage.to_owned()).or_default())
}

/// Runs `work` where blocking does not hold up other rows.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    SpawnedTask::spawn_blocking(work)
        .join()
        .await
        .map_err(|error| DataFusionError::External(Box::new(error)))
}
