//! Finding and loading ONNX Runtime, which is a library of its own and not part of this program.
//!
//! Looked for in this order: the explicit setting, `ORT_DYLIB_PATH`, the user's cache (filled by
//! [`install`]), the folder of the executable, the system's library folders. A setting or variable
//! that names something unusable is an error; it is never passed over in silence.

use std::env;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::ep::{self, ExecutionProvider};

mod install;

pub use install::{InstallError, install};

/// The version that [`install`] gets.
pub const INSTALLED_VERSION: &str = "1.31.1";

/// The variable that names a library file.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where a library file was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Named by a setting of the caller.
    Setting,
    /// Named by `ORT_DYLIB_PATH`.
    Variable,
    /// Installed by `capfilt runtime install`.
    Cache,
    /// Beside the executable.
    Executable,
    /// In a library folder of the system.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setting => "explicit setting",
            Self::Variable => "variable `ORT_DYLIB_PATH`",
            Self::Cache => "`capfilt runtime install`",
            Self::Executable => "folder of the executable",
            Self::System => "system",
        })
    }
}

/// A library file that was found and not yet loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuntimeLibrary {
    /// The file.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: Origin,
}

/// The library that this process uses.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: Origin,
    /// Version, such as `1.31.1`.
    pub version: String,
    /// Execution providers of the library that this program knows, the CPU's last.
    pub providers: Vec<String>,
    /// Threads of the pool that all models share.
    pub threads: usize,
    pub(crate) environment: Environment,
}

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No file was found anywhere.
    #[error(
        "no ONNX Runtime library was found (looked in {looked}); \
         run `capfilt runtime install`, or set `ORT_DYLIB_PATH` to a library file"
    )]
    NotFound {
        /// The places.
        looked: String,
    },
    /// A setting names something that is not a file.
    #[error(
        "the {origin} names `{}`, which is not a file; \
         correct it, or remove it and run `capfilt runtime install`", path.display()
    )]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// By whom.
        origin: Origin,
    },
    /// The file is not a library that this program can use.
    #[error(
        "`{}` (from {origin}) cannot be used as ONNX Runtime: {reason}; \
         run `capfilt runtime install` to get version {INSTALLED_VERSION}", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Where it was found.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
}

/// File name of the library on this system.
const FILE_NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// Finds a library file without loading it.
pub fn find(explicit: Option<&Path>) -> Result<RuntimeLibrary, RuntimeError> {
    find_in(&Places {
        explicit: explicit.map(Path::to_owned),
        variable: env::var_os(VARIABLE)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from),
        cache: cache_folder(),
        executable: env::current_exe()
            .ok()
            .and_then(|file| file.parent().map(Path::to_owned)),
        system: system_folders(),
    })
}

/// Everywhere a library can be.
struct Places {
    explicit: Option<PathBuf>,
    variable: Option<PathBuf>,
    cache: Option<PathBuf>,
    executable: Option<PathBuf>,
    system: Vec<PathBuf>,
}

fn find_in(places: &Places) -> Result<RuntimeLibrary, RuntimeError> {
    for (named, origin) in [
        (&places.explicit, Origin::Setting),
        (&places.variable, Origin::Variable),
    ] {
        if let Some(path) = named {
            // Also keeps the loader away from pipes and devices, which it would wait for.
            return if path.is_file() {
                Ok(RuntimeLibrary {
                    path: path.clone(),
                    origin,
                })
            } else {
                Err(RuntimeError::NotAFile {
                    path: path.clone(),
                    origin,
                })
            };
        }
    }
    let mut folders = Vec::new();
    if let Some(cache) = &places.cache {
        folders.push((cache.join(installed_name(true)), Origin::Cache));
        folders.push((cache.join(installed_name(false)), Origin::Cache));
    }
    folders.extend(
        places
            .executable
            .iter()
            .map(|folder| (folder.clone(), Origin::Executable)),
    );
    folders.extend(
        places
            .system
            .iter()
            .map(|folder| (folder.clone(), Origin::System)),
    );
    for (folder, origin) in &folders {
        if let Some(path) = library_in(folder) {
            return Ok(RuntimeLibrary {
                path,
                origin: *origin,
            });
        }
    }
    let looked: Vec<String> = folders
        .iter()
        .map(|(folder, _)| format!("`{}`", folder.display()))
        .collect();
    Err(RuntimeError::NotFound {
        looked: looked.join(", "),
    })
}

/// The library file of a folder: the plain name, else the highest version.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(FILE_NAME);
    if plain.is_file() {
        return Some(plain);
    }
    let mut versions: Vec<(Vec<u32>, PathBuf)> = folder
        .read_dir()
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = library_version(entry.file_name().to_str()?)?;
            entry.path().is_file().then(|| (version, entry.path()))
        })
        .collect();
    versions.sort();
    versions.pop().map(|(_, path)| path)
}

/// The version in a library's file name: `libonnxruntime.so.1.31.1` or `libonnxruntime.1.31.1.dylib`.
fn library_version(name: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix("libonnxruntime.so.").or_else(|| {
        name.strip_prefix("libonnxruntime.")
            .and_then(|rest| rest.strip_suffix(".dylib"))
    })?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// `capfilt` in the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| {
        if cfg!(windows) {
            absolute("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            absolute("HOME").map(|home| home.join("Library/Caches"))
        } else {
            absolute("HOME").map(|home| home.join(".cache"))
        }
    })?;
    Some(base.join("capfilt"))
}

/// Folder of an installed library below the cache folder.
fn installed_name(cuda: bool) -> String {
    format!(
        "onnxruntime-{INSTALLED_VERSION}{}",
        if cuda { "-cuda" } else { "" }
    )
}

fn system_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"]
        .into_iter()
        .filter_map(env::var_os)
        .flat_map(|value| env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .collect();
    if cfg!(unix) {
        let machine = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
        for folder in ["/usr/local/lib", machine.as_str(), "/usr/lib64", "/usr/lib"] {
            folders.push(PathBuf::from(folder));
        }
    }
    if cfg!(target_os = "macos") {
        folders.push(PathBuf::from("/opt/homebrew/lib"));
    }
    folders
}

static LOADED: OnceLock<Loaded> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// The runtime that this process runs models with, once one is loaded.
pub fn loaded() -> Option<&'static Loaded> {
    LOADED.get()
}

/// Loads a library, once per process: later calls give the one that is loaded already.
///
/// `threads` sizes the pool that all models of the process share, the CPUs that the process may use
/// by default.
pub fn load(
    library: &RuntimeLibrary,
    threads: Option<NonZeroUsize>,
) -> Result<&'static Loaded, RuntimeError> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = LOADED.get() {
        if loaded.path != library.path {
            tracing::warn!(
                used = %loaded.path.display(),
                ignored = %library.path.display(),
                "this process already uses another ONNX Runtime"
            );
        }
        return Ok(loaded);
    }
    let loaded = open(library, threads)?;
    tracing::info!(
        version = loaded.version,
        path = %loaded.path.display(),
        providers = loaded.providers.join(", "),
        "ONNX Runtime loaded"
    );
    Ok(LOADED.get_or_init(|| loaded))
}

fn open(library: &RuntimeLibrary, threads: Option<NonZeroUsize>) -> Result<Loaded, RuntimeError> {
    let unusable = |reason: String| RuntimeError::Unusable {
        path: library.path.clone(),
        origin: library.origin,
        reason,
    };
    if !library.path.is_file() {
        return Err(RuntimeError::NotAFile {
            path: library.path.clone(),
            origin: library.origin,
        });
    }
    // The loader resolves relative paths against the executable's folder, not the current one.
    let path = library
        .path
        .canonicalize()
        .map_err(|error| unusable(error.to_string()))?;
    let version = version(&path).map_err(&unusable)?;
    let builder = ort::init_from(&path).map_err(|error| unusable(error.to_string()))?;
    let threads = threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(threads)
        .and_then(|pool| pool.with_inter_threads(1))
        // Several models share few cores: a thread that spins takes the core from another model.
        .and_then(|pool| pool.with_spin_control(false))
        .map_err(|error| unusable(error.to_string()))?;
    let environment = builder
        .with_name("capfilt")
        .with_telemetry(false)
        .with_global_thread_pool(pool)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Loaded {
        path: library.path.clone(),
        origin: library.origin,
        version,
        providers: providers(),
        threads,
        environment,
    })
}

/// The version that a library states, or what is wrong with it.
///
/// Looked at before `ort` sees the file, which would keep the first library that it opens and panics
/// over one that is hollow.
fn version(path: &Path) -> Result<String, String> {
    #[expect(
        unsafe_code,
        reason = "opening a library runs its initialisers, as its user asked for; the entry point's \
                  signature is the same in every release, and a null from it is looked for"
    )]
    let version = unsafe {
        let library = libloading::Library::new(path)
            .map_err(|error| format!("the system's loader says: {error}"))?;
        let base: libloading::Symbol<'_, unsafe extern "C" fn() -> *const ort::sys::OrtApiBase> =
            library
                .get(b"OrtGetApiBase")
                .map_err(|_| "it is a library of something else".to_owned())?;
        let base = base()
            .as_ref()
            .ok_or_else(|| "it offers nothing".to_owned())?;
        let version = (base.GetVersionString)();
        if version.is_null() {
            return Err("it does not tell its version".to_owned());
        }
        std::ffi::CStr::from_ptr(version)
            .to_string_lossy()
            .into_owned()
    };
    let minor = version
        .strip_prefix("1.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= ort::MINOR_VERSION) {
        Ok(version)
    } else {
        Err(format!(
            "it is version `{version}`, expected 1.{} or later",
            ort::MINOR_VERSION
        ))
    }
}

fn providers() -> Vec<String> {
    fn name<E: ExecutionProvider>() -> Option<String> {
        let name = E::NAME.strip_suffix("ExecutionProvider").unwrap_or(E::NAME);
        matches!(E::is_available(), Ok(true)).then(|| name.to_owned())
    }
    [
        name::<ep::TensorRT>(),
        name::<ep::CUDA>(),
        name::<ep::CPU>(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
