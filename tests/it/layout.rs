//! The rules of the workspace that a compiler does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::program::root;

/// Which of our crates a crate may name. ARCHITECTURE.md explains why.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("capfilt-data", &[]),
    ("capfilt-eval", &[]),
    ("capfilt-fetch", &[]),
    ("capfilt-image", &[]),
    ("capfilt-onnx", &["capfilt-image"]),
    ("capfilt-schedule", &[]),
    ("capfilt-models", &["capfilt-image", "capfilt-onnx"]),
    (
        "capfilt-pipeline",
        &[
            "capfilt-data",
            "capfilt-fetch",
            "capfilt-image",
            "capfilt-models",
            "capfilt-schedule",
        ],
    ),
    (
        "capfilt-train",
        &[
            "capfilt-data",
            "capfilt-eval",
            "capfilt-image",
            "capfilt-onnx",
            "capfilt-schedule",
        ],
    ),
    (
        "capfilt-bootstrap",
        &[
            "capfilt-data",
            "capfilt-models",
            "capfilt-schedule",
            "capfilt-train",
        ],
    ),
    (
        "capfilt",
        &[
            "capfilt-bootstrap",
            "capfilt-data",
            "capfilt-eval",
            "capfilt-fetch",
            "capfilt-image",
            "capfilt-models",
            "capfilt-onnx",
            "capfilt-pipeline",
            "capfilt-schedule",
            "capfilt-train",
        ],
    ),
];

/// Heavy dependencies and the only crates that may name them. A trailing `*` stands for any ending.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["capfilt"]),
    ("burn*", &["capfilt-train"]),
    ("clap", &["capfilt"]),
    ("croner", &["capfilt-schedule"]),
    ("datafusion*", &["capfilt-pipeline"]),
    ("hickory*", &["capfilt-fetch"]),
    ("hyper*", &["capfilt-fetch"]),
    ("image", &["capfilt-image"]),
    ("indicatif", &["capfilt"]),
    ("jpeg*", &["capfilt-image"]),
    ("maud", &["capfilt"]),
    (
        "object_store",
        &["capfilt-data", "capfilt-fetch", "capfilt-pipeline"],
    ),
    ("ort", &["capfilt-models"]),
    ("parquet", &["capfilt-data"]),
    ("prost", &["capfilt-onnx"]),
    ("re_rav1d", &["capfilt-image"]),
    ("regex*", &["capfilt-eval"]),
    ("reqwest", &["capfilt-fetch"]),
    ("rustls", &["capfilt-fetch"]),
    ("safetensors", &["capfilt-onnx"]),
    ("tiff", &["capfilt-image"]),
    ("tokenizers", &["capfilt-onnx"]),
    ("tracing-subscriber", &["capfilt"]),
    ("turbojpeg*", &["capfilt-image"]),
    ("zune*", &["capfilt-image"]),
];

/// A file longer than this is a design smell.
const MOST_LINES: usize = 600;

/// File names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "base",
    "common",
    "handler",
    "helpers",
    "imp",
    "manager",
    "misc",
    "processor",
    "types",
    "utils",
];

fn crates() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .expect("cargo metadata works");
    metadata.packages
}

/// Names of what the crate's own code may use; tests may use more.
fn dependencies(package: &Package) -> impl Iterator<Item = &str> {
    let for_code = |kind| matches!(kind, DependencyKind::Normal | DependencyKind::Build);
    package
        .dependencies
        .iter()
        .filter(move |dependency| for_code(dependency.kind))
        .map(|dependency| dependency.name.as_str())
}

#[test]
fn every_crate_is_in_the_table() {
    let in_table: BTreeSet<&str> = MAY_NAME.iter().map(|(name, _)| *name).collect();
    let crates = crates();
    let in_workspace: BTreeSet<&str> = crates.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(in_table, in_workspace);
}

#[test]
fn a_crate_names_only_crates_below_it() {
    let may_name: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    for package in crates() {
        let allowed = may_name[package.name.as_str()];
        for ours in dependencies(&package).filter(|name| name.starts_with("capfilt")) {
            assert!(
                allowed.contains(&ours),
                "`{}` may not depend on `{ours}`",
                package.name
            );
        }
    }
}

#[test]
fn a_heavy_dependency_has_one_owner() {
    let matches = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    for package in crates() {
        for name in dependencies(&package) {
            for (pattern, owners) in OWNERS {
                assert!(
                    !matches(pattern, name) || owners.contains(&package.name.as_str()),
                    "`{}` may not name `{name}`; only {owners:?} may",
                    package.name
                );
            }
        }
    }
}

#[test]
fn tests_build_no_shared_dependency_with_other_features() {
    // Else `cargo run` and `cargo test` would build DataFusion twice.
    let features = |edges: &str| -> BTreeSet<String> {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args([
                "tree",
                "--offline",
                "--locked",
                "--workspace",
                "--prefix",
                "none",
            ])
            .args(["--edges", edges, "--format", "{p} {f}"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| line.trim_end_matches(" (*)").to_owned())
            .collect()
    };
    let for_code = features("normal,build");
    assert!(
        for_code.iter().any(|line| line.starts_with("datafusion ")),
        "{for_code:?}"
    );
    let missing: Vec<_> = for_code
        .difference(&features("normal,build,dev"))
        .cloned()
        .collect();
    assert!(
        missing.is_empty(),
        "a test dependency adds features to these: {missing:#?}"
    );
}

#[test]
fn deny_toml_bans_what_the_table_bans() {
    let deny = fs_err::read_to_string(root().join("deny.toml")).unwrap();
    for (pattern, owners) in OWNERS.iter().filter(|(pattern, _)| !pattern.ends_with('*')) {
        let line = deny
            .lines()
            .find(|line| line.contains(&format!("crate = \"{pattern}\"")))
            .unwrap_or_else(|| panic!("deny.toml does not ban `{pattern}`"));
        for owner in *owners {
            assert!(
                line.contains(&format!("\"{owner}\"")),
                "deny.toml, `{pattern}`: no `{owner}`"
            );
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in crates() {
        let manifest = fs_err::read_to_string(&package.manifest_path).unwrap();
        let rules = manifest.split("[lints]").nth(1).unwrap_or_default();
        assert!(
            rules.trim_start().starts_with("workspace = true"),
            "{}",
            package.manifest_path
        );
    }
}

/// Every file of the project, without what is built or generated by running it.
fn project_files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let left_out = [".git", "target", "out", "__pycache__", ".venv"];
        for entry in fs_err::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if left_out.iter().any(|left_out| name == *left_out) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    assert!(
        found.len() > 50,
        "the walk found only {} files",
        found.len()
    );
    found
}

#[test]
fn no_source_file_is_too_long() {
    let mut too_long = Vec::new();
    for file in project_files()
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
    {
        let lines = fs_err::read_to_string(file).unwrap().lines().count();
        if lines > MOST_LINES {
            too_long.push(format!("{}: {lines}", file.display()));
        }
    }
    assert!(
        too_long.is_empty(),
        "over {MOST_LINES} lines: {too_long:#?}"
    );
}

#[test]
fn no_source_file_has_an_empty_name() {
    for file in project_files() {
        let is_source = file
            .extension()
            .is_some_and(|ending| ending == "rs" || ending == "py");
        let stem = file.file_stem().unwrap().to_string_lossy();
        assert!(
            !(is_source && EMPTY_NAMES.contains(&&*stem)),
            "{}",
            file.display()
        );
        let folder = file
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy();
        assert!(
            !(is_source && EMPTY_NAMES.contains(&&*folder)),
            "{}",
            file.display()
        );
    }
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    // In two halves, so that this file does not find itself.
    let machine = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for file in project_files() {
        let Ok(text) = fs_err::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            // Only where the path begins: `a/home/b` is nobody's machine.
            let names_one = |folder: &String| {
                line.match_indices(folder.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|before| {
                        !before.is_alphanumeric() && !"._-}$~*".contains(before)
                    })
                })
            };
            if machine.iter().any(names_one) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
