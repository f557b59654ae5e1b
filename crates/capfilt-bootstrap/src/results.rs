//! What came of all steps: `bootstrap.json`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use capfilt_data::{Location, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::arm::Arm;
use crate::file::{BootstrapFile, Table};
use crate::ledger::Ledger;
use crate::step::{Layout, StepError, read_json};
use crate::steps::Run;

/// Name of the results in the output folder.
const NAME: &str = "bootstrap.json";

/// What came of a bootstrap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Results {
    /// Version of this form.
    pub format: u32,
    /// What was compared.
    pub arms: Vec<Arm>,
    /// Which arms are shown side by side.
    pub tables: Vec<Table>,
    /// Every arm with every seed.
    pub results: Vec<ArmResult>,
    /// Seconds of each step, by name.
    pub seconds: BTreeMap<String, f64>,
}

/// How an arm did with a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArmResult {
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Folder of the training of its model, below the output folder.
    pub model: String,
    /// Folder of the run that cleaned the web pairs, unless they stayed raw.
    pub data: Option<String>,
    /// Metrics of the model by held-out set, as `capfilt eval` prints them.
    pub held_out: BTreeMap<String, Map<String, Value>>,
    /// What was written, judged and kept, unless the pairs stayed raw.
    pub texts: Option<DataCounts>,
    /// How the filter did where the truth is known, as `capfilt eval` prints it.
    pub filter: Option<Value>,
}

/// What a run wrote, judged and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataCounts {
    /// Texts of the web.
    pub web: u64,
    /// Those that were kept.
    pub web_kept: u64,
    /// Synthetic captions.
    pub synthetic: u64,
    /// Those that were kept.
    pub synthetic_kept: u64,
}

/// Results that cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A file of a step is not as it should be.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The results cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An evaluation printed nothing of use.
    #[error("`{}` has no metrics; remove it to measure again", path.display())]
    NoMetrics {
        /// The file.
        path: PathBuf,
    },
}

impl Results {
    /// Reads what the steps made. All are done.
    pub fn gather(
        file: &BootstrapFile,
        runs: &[Run],
        layout: &Layout,
        ledger: &Ledger,
    ) -> Result<Self, ResultsError> {
        let tables = if file.table.is_empty() {
            vec![Table {
                title: "All arms".to_owned(),
                arms: file.arm.iter().map(|arm| arm.name.clone()).collect(),
            }]
        } else {
            file.table.clone()
        };
        let results = runs.iter().map(|run| result(run, layout));
        Ok(Self {
            format: 1,
            arms: file.arm.clone(),
            tables,
            results: results.collect::<Result<_, ResultsError>>()?,
            seconds: ledger.seconds(),
        })
    }

    /// Writes `bootstrap.json`.
    pub fn write(&self, layout: &Layout) -> Result<(), ResultsError> {
        let path = layout.output.join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(|source| StepError::Json {
            path: path.clone(),
            source,
        })?;
        Ok(Location::File(path).replace(&text)?)
    }

    /// Reads the `bootstrap.json` of `output`; [`None`] if there is none.
    pub fn read(output: &Location) -> Result<Option<Self>, ResultsError> {
        let path = output.join(NAME);
        let path = path.as_file().unwrap_or(Path::new(NAME)).to_owned();
        match fs_err::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(results) => Ok(Some(results)),
                Err(source) => Err(StepError::Json { path, source }.into()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StepError::Read { path, source }.into()),
        }
    }
}

fn result(run: &Run, layout: &Layout) -> Result<ArmResult, ResultsError> {
    let mut held_out = BTreeMap::new();
    for (set, evaluations) in &run.measured {
        let mut metrics = Map::new();
        for evaluation in evaluations {
            metrics.extend(printed(evaluation, layout)?);
        }
        held_out.insert(set.clone(), metrics);
    }
    let texts = run.data.as_deref().map(|data| {
        let counts = layout.counts(data)?;
        let of = |part: &Value, source: &str| part[source].as_u64().unwrap_or(0);
        let (all, kept) = (&counts["scored"]["candidates"], &counts["decided"]["kept"]);
        Ok::<_, StepError>(DataCounts {
            web: of(all, "web"),
            web_kept: of(kept, "web"),
            synthetic: of(all, "synthetic"),
            synthetic_kept: of(kept, "synthetic"),
        })
    });
    let filter = match &run.judged {
        Some(judged) => printed(judged, layout)?.remove("filter"),
        None => None,
    };
    Ok(ArmResult {
        arm: run.arm.clone(),
        seed: run.seed,
        model: run.model.clone(),
        data: run.data.clone(),
        held_out,
        texts: texts.transpose()?,
        filter,
    })
}

/// The metrics that the evaluation `name` printed.
fn printed(name: &str, layout: &Layout) -> Result<Map<String, Value>, ResultsError> {
    let path = layout.printed(name);
    match read_json(&path)?["metrics"].take() {
        Value::Object(metrics) => Ok(metrics),
        _ => Err(ResultsError::NoMetrics { path }),
    }
}
