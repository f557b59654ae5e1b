//! Getting ONNX Runtime: the pinned wheel through pip or uv, unpacked into the user's cache.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use super::{INSTALLED_VERSION, cache_folder, installed_name, library_in};

/// A wheel that holds the library for one kind of machine.
#[derive(Debug)]
struct Wheel {
    os: &'static str,
    arch: &'static str,
    cuda: bool,
    /// Platform as pip writes it.
    platform: &'static str,
    /// Platform as uv writes it.
    uv_platform: &'static str,
    sha256: &'static str,
}

impl Wheel {
    fn project(&self) -> &'static str {
        if self.cuda {
            "onnxruntime-gpu"
        } else {
            "onnxruntime"
        }
    }
}

/// The Python version that the pinned wheels are made for; none is needed to use the library.
const PYTHON: &str = "3.11";
const ABI: &str = "cp311";

const WHEELS: &[Wheel] = &[
    Wheel {
        os: "linux",
        arch: "x86_64",
        cuda: false,
        platform: "manylinux_2_28_x86_64",
        uv_platform: "x86_64-manylinux_2_28",
        sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    },
    Wheel {
        os: "linux",
        arch: "x86_64",
        cuda: true,
        platform: "manylinux_2_28_x86_64",
        uv_platform: "x86_64-manylinux_2_28",
        sha256: "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        cuda: false,
        platform: "manylinux_2_28_aarch64",
        uv_platform: "aarch64-manylinux_2_28",
        sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        cuda: false,
        platform: "macosx_14_0_arm64",
        uv_platform: "aarch64-apple-darwin",
        sha256: "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
    },
    Wheel {
        os: "windows",
        arch: "x86_64",
        cuda: false,
        platform: "win_amd64",
        uv_platform: "x86_64-pc-windows-msvc",
        sha256: "c3d91b5de31e2fc82d71bd65b2b22bddee8b49057a3a36338e9a868e0ea90c05",
    },
];

/// Why ONNX Runtime could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No wheel is pinned for this machine.
    #[error(
        "no ONNX Runtime {kind} is pinned for {os} on {arch}; get version {INSTALLED_VERSION} \
         yourself and set `ORT_DYLIB_PATH` to its library file"
    )]
    NoWheel {
        /// With or without CUDA.
        kind: &'static str,
        /// Operating system.
        os: &'static str,
        /// Processor.
        arch: &'static str,
    },
    /// The user's cache folder is unknown.
    #[error("the user's cache folder is unknown; set `XDG_CACHE_HOME` or `HOME`")]
    NoCache,
    /// Neither pip nor uv can be started.
    #[error(
        "neither `python3 -m pip` nor `uv` can be started; install one of them, or set \
         `ORT_DYLIB_PATH` to a library file of ONNX Runtime {INSTALLED_VERSION}"
    )]
    NoClient,
    /// pip or uv failed.
    #[error("`{client}` could not get {project} {INSTALLED_VERSION}: {output}")]
    Client {
        /// Which of them.
        client: &'static str,
        /// What it was asked for.
        project: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// The wheel is not the pinned one.
    #[error("the wheel `{file}` has SHA-256 `{got}`, expected `{expected}`; nothing was installed")]
    Digest {
        /// File name.
        file: String,
        /// Of the file.
        got: String,
        /// Pinned.
        expected: &'static str,
    },
    /// The wheel cannot be unpacked.
    #[error("the wheel cannot be unpacked: {reason}")]
    Wheel {
        /// What is wrong.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("ONNX Runtime could not be installed: {0}")]
    Io(#[from] io::Error),
}

/// Gets ONNX Runtime into the user's cache through pip or uv and gives the library file; does
/// nothing when it is there already.
///
/// The wheel's version and SHA-256 are pinned; where it comes from is up to pip's or uv's own
/// settings. The folder appears whole or not at all.
pub fn install(cuda: bool) -> Result<PathBuf, InstallError> {
    let wheel = wheel_for(std::env::consts::OS, std::env::consts::ARCH, cuda)?;
    let cache = cache_folder().ok_or(InstallError::NoCache)?;
    let folder = cache.join(installed_name(cuda));
    if let Some(library) = library_in(&folder) {
        return Ok(library);
    }
    fs_err::create_dir_all(&cache)?;
    let work = tempfile::Builder::new()
        .prefix("installing-")
        .tempdir_in(&cache)?;
    let unpacked = work.path().join("unpacked");
    fs_err::create_dir(&unpacked)?;
    get(wheel, work.path(), &unpacked)?;
    if library_in(&unpacked).is_none() {
        return Err(InstallError::Wheel {
            reason: "it holds no library".to_owned(),
        });
    }
    if folder.exists() {
        // Left half-made by something else: this program only ever renames whole folders.
        fs_err::remove_dir_all(&folder)?;
    }
    if let Err(error) = fs_err::rename(&unpacked, &folder) {
        // Another process was faster.
        return library_in(&folder).ok_or(error.into());
    }
    library_in(&folder).ok_or_else(|| InstallError::Wheel {
        reason: "it holds no library".to_owned(),
    })
}

fn wheel_for(
    os: &'static str,
    arch: &'static str,
    cuda: bool,
) -> Result<&'static Wheel, InstallError> {
    WHEELS
        .iter()
        .find(|wheel| wheel.os == os && wheel.arch == arch && wheel.cuda == cuda)
        .ok_or(InstallError::NoWheel {
            kind: if cuda { "with CUDA" } else { "library" },
            os,
            arch,
        })
}

/// Fills `unpacked` with the library's files.
fn get(wheel: &Wheel, work: &Path, unpacked: &Path) -> Result<(), InstallError> {
    let requirement = format!(
        "{}=={INSTALLED_VERSION} --hash=sha256:{}\n",
        wheel.project(),
        wheel.sha256
    );
    let requirements = work.join("requirements.txt");
    fs_err::write(&requirements, requirement)?;
    if let Some(python) = ["python3", "python"]
        .into_iter()
        .find(|python| has_pip(python))
    {
        let folder = work.join("wheel");
        let output = Command::new(python)
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
            ])
            .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
            .args([
                "--implementation",
                "cp",
                "--python-version",
                PYTHON,
                "--abi",
                ABI,
            ])
            .args(["--platform", wheel.platform])
            .arg("--dest")
            .arg(&folder)
            .arg("--requirement")
            .arg(&requirements)
            .output()?;
        check(&output, "python3 -m pip download", wheel)?;
        let file = fs_err::read_dir(&folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| InstallError::Wheel {
                reason: "pip left no wheel".to_owned(),
            })?;
        check_digest(&file, wheel.sha256)?;
        return unpack(&file, unpacked);
    }
    // uv unpacks by itself after it has checked the hash of the wheel.
    let target = work.join("target");
    let output = match Command::new("uv")
        .args([
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
        ])
        .args(["--require-hashes", "--python-version", PYTHON])
        .args(["--python-platform", wheel.uv_platform])
        // It needs some Python to look at, but none is to be fetched for that.
        .env("UV_PYTHON_DOWNLOADS", "never")
        .arg("--target")
        .arg(&target)
        .arg("--requirement")
        .arg(&requirements)
        .output()
    {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(InstallError::NoClient);
        }
        Err(error) => return Err(error.into()),
    };
    check(&output, "uv pip install", wheel)?;
    for folder in [target.join("onnxruntime"), target.join("onnxruntime/capi")] {
        for entry in fs_err::read_dir(&folder)?.filter_map(Result::ok) {
            let name = entry.file_name();
            if name.to_str().is_some_and(is_wanted) {
                fs_err::rename(entry.path(), unpacked.join(&name))?;
            }
        }
    }
    Ok(())
}

fn has_pip(python: &str) -> bool {
    Command::new(python)
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn check(output: &Output, client: &'static str, wheel: &Wheel) -> Result<(), InstallError> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(5)..].join("; ");
    let output = if last.is_empty() {
        output.status.to_string()
    } else {
        last
    };
    Err(InstallError::Client {
        client,
        project: wheel.project(),
        output,
    })
}

fn check_digest(file: &Path, expected: &'static str) -> Result<(), InstallError> {
    let mut digest = Sha256::new();
    io::copy(&mut fs_err::File::open(file)?, &mut HashWriter(&mut digest))?;
    let got = hex(digest.finalize().into());
    if got == expected {
        return Ok(());
    }
    let file = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Err(InstallError::Digest {
        file,
        got,
        expected,
    })
}

/// Feeds a digest from a reader.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(digest: [u8; 32]) -> String {
    digest.map(|byte| format!("{byte:02x}")).concat()
}

/// The files of a wheel that are kept: the libraries and their licences.
fn is_wanted(name: &str) -> bool {
    let library = (name.starts_with("libonnxruntime") || name.starts_with("onnxruntime"))
        && (name.contains(".so")
            || Path::new(name)
                .extension()
                .is_some_and(|end| end == "dylib" || end == "dll"));
    (library && !name.contains("pybind")) || name == "LICENSE" || name == "ThirdPartyNotices.txt"
}

/// Unpacks the wanted files of a wheel, flat, into a folder.
fn unpack(wheel: &Path, folder: &Path) -> Result<(), InstallError> {
    let broken = |error: zip::result::ZipError| InstallError::Wheel {
        reason: error.to_string(),
    };
    let mut archive = zip::ZipArchive::new(fs_err::File::open(wheel)?).map_err(broken)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let Some(path) = entry.enclosed_name() else {
            continue;
        };
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if entry.is_file() && path.starts_with("onnxruntime") && is_wanted(name) {
            io::copy(&mut entry, &mut fs_err::File::create(folder.join(name))?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
