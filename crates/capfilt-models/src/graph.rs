//! One graph of a package, opened on a device and run through an IO binding.
//!
//! Inputs are bound as the runtime's own values and outputs are left on the graph's device, so that
//! what one run gives the next run takes without a copy; only outputs that are asked for on the host
//! come there.

#[cfg(test)]
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use capfilt_onnx::Package;
use ort::ep;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::DynValue;

use crate::device::Device;
use crate::error::ModelError;
use crate::runtime::{self, Loaded};
use crate::stop::Stop;

/// What a model needs of the process around it.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Where to run.
    pub device: Device,
    /// Threads that all models of the process share; the CPUs that the process may use by default.
    /// The first model that is opened decides.
    pub threads: Option<NonZeroUsize>,
    /// The runtime's library file; found as [`runtime::find`] says by default.
    pub runtime: Option<PathBuf>,
    /// The switch that ends what the model is doing.
    pub stop: Stop,
}

/// Where the graphs of one model run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Cpu,
    Cuda(u32),
}

/// Opens the graphs of one package on one device.
pub(crate) struct Opener<'a> {
    package: &'a Package,
    loaded: &'static Loaded,
    place: Place,
    chosen: String,
    stop: Stop,
}

impl<'a> Opener<'a> {
    /// Loads the runtime and decides on the device; `probe` names the graph that tries it.
    pub(crate) fn new(
        package: &'a Package,
        options: &SessionOptions,
        probe: &'static str,
    ) -> Result<Self, ModelError> {
        let library = runtime::find(options.runtime.as_deref())?;
        let loaded = runtime::load(&library, options.threads)?;
        let stop = options.stop.clone();
        let mut opener = Self {
            package,
            loaded,
            place: Place::Cpu,
            chosen: "cpu".to_owned(),
            stop,
        };
        let (number, named) = match options.device {
            Device::Cpu => return Ok(opener),
            Device::Cuda(number) => (number, true),
            Device::Auto => (0, false),
        };
        let refused = if loaded.providers.iter().any(|provider| provider == "CUDA") {
            opener.place = Place::Cuda(number);
            opener.open(probe, &[]).err().map(|error| match error {
                ModelError::Graph { reason, .. } => reason,
                other => other.to_string(),
            })
        } else {
            Some(format!(
                "the ONNX Runtime library `{}` is built without CUDA (it has {}); \
                 run `capfilt runtime install --cuda`",
                loaded.path.display(),
                loaded.providers.join(", ")
            ))
        };
        match refused {
            None => opener.chosen = format!("cuda:{number}"),
            Some(reason) if named => {
                return Err(ModelError::Device {
                    device: options.device.to_string(),
                    reason,
                });
            }
            Some(reason) => {
                opener.place = Place::Cpu;
                tracing::info!(reason, "`auto` chose the CPU");
            }
        }
        Ok(opener)
    }

    /// The device that was chosen: `cpu` or `cuda:N`.
    pub(crate) fn chosen(&self) -> &str {
        &self.chosen
    }

    /// Threads of the pool that the graphs share.
    pub(crate) fn threads(&self) -> usize {
        self.loaded.threads
    }

    /// Opens a graph; the outputs named in `host` come to the host, the others stay on the device.
    pub(crate) fn open(
        &self,
        name: &'static str,
        host: &'static [&'static str],
    ) -> Result<Graph, ModelError> {
        let failed = |error: &dyn std::fmt::Display| ModelError::Graph {
            graph: name,
            reason: error.to_string(),
        };
        let session = self.session(name).map_err(|error| failed(&error))?;
        let binding = session.create_binding().map_err(|error| failed(&error))?;
        let memory = |place| match place {
            Place::Cpu => MemoryInfo::new(
                AllocationDevice::CPU,
                0,
                AllocatorType::Device,
                MemoryType::Default,
            ),
            Place::Cuda(number) => MemoryInfo::new(
                AllocationDevice::CUDA,
                i32::try_from(number).unwrap_or(i32::MAX),
                AllocatorType::Device,
                MemoryType::Default,
            ),
        };
        let options = Arc::new(RunOptions::new().map_err(|error| failed(&error))?);
        self.stop.watch(&options);
        Ok(Graph {
            name,
            outputs: session
                .outputs()
                .iter()
                .map(|output| output.name().to_owned())
                .collect(),
            session,
            binding,
            host,
            host_memory: memory(Place::Cpu).map_err(|error| failed(&error))?,
            device_memory: memory(self.place).map_err(|error| failed(&error))?,
            options,
            stop: self.stop.clone(),
            #[cfg(test)]
            bound: BTreeMap::new(),
            #[cfg(test)]
            runs: Vec::new(),
        })
    }

    fn session(&self, name: &str) -> ort::Result<Session> {
        let cpu = ep::CPU::default().with_arena_allocator(true).build();
        let providers = match self.place {
            Place::Cpu => vec![cpu],
            Place::Cuda(number) => vec![
                ep::CUDA::default()
                    .with_device_id(i32::try_from(number).unwrap_or(i32::MAX))
                    // fp32 is meant when fp32 is asked for.
                    .with_tf32(false)
                    .build()
                    .error_on_failure(),
                cpu,
            ],
        };
        Session::builder(&self.loaded.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            // Shapes differ from run to run: a pattern per shape would only take memory.
            .with_memory_pattern(false)?
            .with_execution_providers(providers)?
            .commit_from_file(self.package.graph(name))
    }
}

/// An opened graph.
pub(crate) struct Graph {
    name: &'static str,
    session: Session,
    binding: IoBinding,
    outputs: Vec<String>,
    host: &'static [&'static str],
    host_memory: MemoryInfo<'static>,
    device_memory: MemoryInfo<'static>,
    options: Arc<RunOptions>,
    stop: Stop,
    #[cfg(test)]
    bound: BTreeMap<String, Seen>,
    /// What every run was given and gave.
    #[cfg(test)]
    pub(crate) runs: Vec<SeenRun>,
}

/// A value as a test sees it.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) address: usize,
    pub(crate) shape: Vec<i64>,
}

#[cfg(test)]
impl Seen {
    fn of(value: &DynValue) -> Self {
        let floats = value
            .try_extract_tensor::<f32>()
            .map(|(_, values)| values.as_ptr().addr());
        Self {
            address: floats.unwrap_or(0),
            shape: value.shape().to_vec(),
        }
    }
}

/// A run as a test sees it.
#[cfg(test)]
pub(crate) struct SeenRun {
    pub(crate) inputs: BTreeMap<String, Seen>,
    pub(crate) outputs: BTreeMap<String, Seen>,
}

impl Graph {
    /// Binds an input for this run and the following ones; the value is shared, not copied, when it
    /// lies on the graph's device.
    pub(crate) fn bind(&mut self, input: &str, value: &DynValue) -> Result<(), ModelError> {
        #[cfg(test)]
        self.bound.insert(input.to_owned(), Seen::of(value));
        self.binding
            .bind_input(input, value)
            .map_err(|error| self.failed(&error))
    }

    /// Runs the graph and gives its outputs in the order of [`Graph::outputs`].
    pub(crate) fn run(&mut self) -> Result<Vec<DynValue>, ModelError> {
        if self.stop.is_stopped() {
            return Err(ModelError::Cancelled);
        }
        // A bound output would be written over by the next run while its value is still in use.
        self.binding.clear_outputs();
        for output in &self.outputs {
            let on_host = self.host.contains(&output.as_str());
            let memory = if on_host {
                &self.host_memory
            } else {
                &self.device_memory
            };
            self.binding
                .bind_output_to_device(output, memory)
                .map_err(|error| failure(self.name, &self.stop, &error))?;
        }
        let mut values = self
            .session
            .run_binding_with_options(&self.binding, &self.options)
            .map_err(|error| failure(self.name, &self.stop, &error))?;
        let values = self
            .outputs
            .iter()
            .map(|output| {
                values.remove(output).ok_or_else(|| ModelError::Graph {
                    graph: self.name,
                    reason: format!("it gave no `{output}`"),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        #[cfg(test)]
        self.runs.push(SeenRun {
            inputs: self.bound.clone(),
            outputs: self
                .outputs
                .iter()
                .cloned()
                .zip(values.iter().map(Seen::of))
                .collect(),
        });
        Ok(values)
    }

    /// Its name in the package.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Names of the outputs.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Lets go of everything that is bound.
    pub(crate) fn release(&mut self) {
        self.binding.clear();
    }

    /// An error of the runtime as ours.
    pub(crate) fn failed(&self, error: &ort::Error) -> ModelError {
        failure(self.name, &self.stop, error)
    }
}

fn failure(graph: &'static str, stop: &Stop, error: &ort::Error) -> ModelError {
    if stop.is_stopped() {
        ModelError::Cancelled
    } else {
        ModelError::Graph {
            graph,
            reason: error.to_string(),
        }
    }
}
