//! `capfilt model import` and `capfilt model show`.

use capfilt_onnx::{ImportOptions, Manifest, Package};

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Makes a model package from a checkpoint.
pub(crate) fn import(args: &cli::ModelImport, session: &Session) -> Result<ExitCode, Failure> {
    let options = ImportOptions {
        task: args.task.map(Into::into),
        tokenizer: args.tokenizer.clone(),
        prompt: args.prompt.clone(),
        image_size: args.image_size,
        precision: args.precision.into(),
    };
    let package = capfilt_onnx::import(&args.checkpoint, &args.output, &options)?;
    session.say(format_args!(
        "wrote the {} package `{}` ({}, {})",
        tasks(&package.manifest),
        package.folder.display(),
        package.manifest.precision,
        package.digest(),
    ));
    Ok(ExitCode::Done)
}

/// Prints what is inside a package.
pub(crate) fn show(args: &cli::ModelShow) -> Result<ExitCode, Failure> {
    let package = Package::open(&args.package)?;
    let manifest = &package.manifest;
    let (vision, text) = (&manifest.vision, &manifest.text);
    let mut output = Output::new();
    let mut line = |name: &str, value: String| output.line(format_args!("{name:<12}{value}"));
    line("package", package.folder.display().to_string())?;
    line("digest", package.digest().to_string())?;
    line("tasks", tasks(manifest))?;
    line("family", word(&manifest.family)?)?;
    line("precision", manifest.precision.to_string())?;
    line("picture", format!("{0} x {0} pixels", manifest.image.size))?;
    line(
        "vision",
        format!(
            "{} layers, width {}, {} heads, patch {}, {} tokens",
            vision.layers, vision.width, vision.heads, vision.patch, vision.tokens
        ),
    )?;
    line(
        "text",
        format!(
            "{} layers, width {}, {} heads, {} words, {} positions",
            text.layers, text.width, text.heads, text.vocabulary, text.positions
        ),
    )?;
    line("prompt", format!("{:?}", manifest.prompt))?;
    line("decoding", manifest.decoding.to_string())?;
    let checkpoint = &manifest.checkpoint;
    line(
        "checkpoint",
        format!(
            "{} ({}, {})",
            checkpoint.name,
            word(&checkpoint.format)?,
            checkpoint.digest
        ),
    )?;
    for (name, digest) in &manifest.files {
        line("file", format!("{name} {digest} verified"))?;
    }
    Ok(ExitCode::Done)
}

/// What a package is for, in words.
fn tasks(manifest: &Manifest) -> String {
    let tasks: Vec<&str> = manifest.tasks.iter().map(|task| task.as_str()).collect();
    tasks.join(" and ")
}

/// The stored name of a variant.
fn word<T: serde::Serialize>(variant: &T) -> Result<String, Failure> {
    let value = serde_json::to_value(variant).map_err(Failure::Json)?;
    Ok(value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned))
}
