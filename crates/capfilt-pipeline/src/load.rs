//! From the text of a pipeline file to a checked [`Pipeline`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use capfilt_data::{Location, absolute, shards_below};
use toml::Value;
use toml::de::Error as TomlError;

use crate::error::{PipelineError, PipelineErrorKind};
use crate::file::{Dataset, PipelineFile, StageTable};
use crate::keep::Rule;
use crate::stages::{Decode, Stage, Verb};

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Shards instead of the file's; relative to the current folder.
    pub inputs: Vec<String>,
    /// Output folder instead of the file's; relative to the current folder.
    pub output: Option<PathBuf>,
    /// `key.path=value`, in order.
    pub set: Vec<String>,
}

/// A pipeline that was checked as far as a look at its file can.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The file.
    pub path: PathBuf,
    /// What it says, with paths that do not depend on the current folder, and `--set` applied.
    pub file: PipelineFile,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// The output folder.
    pub output: Location,
    pub(crate) keep: Rule,
}

/// Reads and checks the pipeline file at `path`.
///
/// Shards, models and the output folder of the file are relative to its own folder, so that a
/// pipeline means the same from wherever it is started.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Pipeline, PipelineError> {
    let failed = |kind| PipelineError {
        path: path.to_owned(),
        kind,
    };
    let text =
        fs_err::read_to_string(path).map_err(|error| failed(PipelineErrorKind::Read(error)))?;
    parse(&text, path, overrides).map_err(failed)
}

/// The pipeline `file`, which was checked before, with `settings` on top: its paths are anchored.
pub(crate) fn reload(
    file: PipelineFile,
    settings: &[String],
    path: &Path,
    output: &Location,
) -> Result<Pipeline, PipelineErrorKind> {
    let file = if settings.is_empty() {
        file
    } else {
        let table = Value::try_from(&file).map_err(|error| value("set", error.to_string()))?;
        with_settings(table, settings)?
    };
    let stages = stages(&file.stage)?;
    let keep = Rule::check(file.keep.as_ref(), &stages)?;
    Ok(Pipeline {
        path: path.to_owned(),
        file,
        stages,
        output: output.clone(),
        keep,
    })
}

/// Checks the text of the pipeline file at `path`.
fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Pipeline, PipelineErrorKind> {
    let mut file: PipelineFile =
        toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
    if !overrides.set.is_empty() {
        let table = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        file = with_settings(table, &overrides.set)?;
    }
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    anchor(&mut file, &absolute(folder));
    if !overrides.inputs.is_empty() {
        file.source.shards.0.clone_from(&overrides.inputs);
    }
    if file.source.shards.0.is_empty() {
        return Err(value(
            "source.shards",
            "no shards; name a path or a glob here or with `--input`",
        ));
    }
    if overrides.output.is_some() {
        file.sink.output.clone_from(&overrides.output);
    }
    let output = file.sink.output.clone().ok_or_else(|| {
        value(
            "sink.output",
            "no output folder; name one here or with `--output`",
        )
    })?;
    let output = Location::parse(output).map_err(|source| PipelineErrorKind::Location {
        key: "sink.output",
        source,
    })?;
    if file.name.trim().is_empty() {
        return Err(value("name", "it is empty; a pipeline needs a name"));
    }
    let stages = stages(&file.stage)?;
    let keep = Rule::check(file.keep.as_ref(), &stages)?;
    if file.keep.is_some() && file.store.dataset == Dataset::Later {
        return Err(value(
            "store.dataset",
            "`[keep]` decides about a dataset, and `later` writes none; remove one of them",
        ));
    }
    Ok(Pipeline {
        path: path.to_owned(),
        file,
        stages,
        output,
        keep,
    })
}

pub(crate) fn value(key: impl Into<String>, message: impl Into<String>) -> PipelineErrorKind {
    PipelineErrorKind::Value {
        key: key.into(),
        message: message.into(),
    }
}

/// Makes the paths of the file, which is in `folder`, independent of the current folder.
fn anchor(file: &mut PipelineFile, folder: &Path) {
    for shards in &mut file.source.shards.0 {
        *shards = shards_below(folder, shards);
    }
    let dedups = file.stage.iter_mut().flat_map(|stage| &mut stage.dedup);
    for glob in dedups.flat_map(|dedup| &mut dedup.against) {
        *glob = shards_below(folder, glob);
    }
    let output = file.sink.output.iter_mut();
    let is_path = |output: &&mut PathBuf| !output.to_str().is_some_and(Location::is_url);
    let mut paths: Vec<&mut PathBuf> = output.filter(is_path).collect();
    paths.extend(&mut file.after);
    for stage in &mut file.stage {
        paths.extend(stage.caption.as_mut().map(|caption| &mut caption.model));
        paths.extend(stage.score.as_mut().map(|score| &mut score.model));
        if let Some(fetch) = &mut stage.fetch {
            fetch.anchor(|path| folder.join(path));
        }
    }
    for path in paths {
        *path = folder.join(&*path);
    }
}

/// The stages with their names, and a `decode` before the first model if there is none.
fn stages(tables: &[StageTable]) -> Result<Vec<Stage>, PipelineErrorKind> {
    let mut stages = Vec::new();
    let mut names = HashSet::new();
    for (index, table) in tables.iter().enumerate() {
        let key = format!("stage.{index}");
        let mut verbs = verbs(table);
        let verb = match (verbs.pop(), verbs.pop()) {
            (Some(verb), None) => verb,
            (None, _) => {
                return Err(value(
                    key,
                    "it does nothing; expected one of `where`, `where-text`, `fetch`, `decode`, \
                     `dedup`, `caption`, `score`",
                ));
            }
            (Some(second), Some(first)) => {
                return Err(value(
                    key,
                    format!(
                        "it has both `{}` and `{}`; begin a `[[stage]]` for each",
                        first.as_str(),
                        second.as_str()
                    ),
                ));
            }
        };
        if let Verb::Caption(caption) = &verb
            && let Some(decoding) = &caption.decoding
        {
            decoding
                .check()
                .map_err(|error| value(format!("{key}.caption.decoding"), error.to_string()))?;
        }
        let name = table
            .name
            .clone()
            .unwrap_or_else(|| verb.as_str().to_owned());
        if name.trim().is_empty() {
            return Err(value(format!("{key}.name"), "it is empty"));
        }
        if !names.insert(name.clone()) {
            return Err(value(
                key,
                format!("there is another stage `{name}`; give each a `name` of its own"),
            ));
        }
        stages.push(Stage { name, verb });
    }
    in_order(&mut stages)?;
    Ok(stages)
}

/// Puts a `decode` before the first stage that needs pictures, if there is none, and refuses stages that
/// stand where they can do nothing.
fn in_order(stages: &mut Vec<Stage>) -> Result<(), PipelineErrorKind> {
    let decodes = |stage: &Stage| matches!(stage.verb, Verb::Decode(_));
    if let Some(second) = stages.iter().filter(|stage| decodes(stage)).nth(1) {
        return Err(value(
            format!("stage.{}", second.name),
            "pictures are decoded once; put all options into the first `decode`",
        ));
    }
    let dedups = |stage: &&Stage| matches!(stage.verb, Verb::Dedup(_));
    if let Some(second) = stages.iter().filter(dedups).nth(1) {
        return Err(value(
            format!("stage.{}", second.name),
            "duplicates are looked for once; put all options into the first `dedup`",
        ));
    }
    let first = stages.iter().position(|stage| stage.verb.needs_pixels());
    let decode = stages.iter().position(decodes);
    match (first, decode) {
        (Some(first), None) => {
            let verb = Verb::Decode(Decode::default());
            stages.insert(
                first,
                Stage {
                    name: verb.as_str().to_owned(),
                    verb,
                },
            );
        }
        (Some(first), Some(decode)) if decode > first => {
            return Err(value(
                format!("stage.{}", stages[decode].name),
                format!(
                    "it must come before `{}`, which needs pictures",
                    stages[first].name
                ),
            ));
        }
        _ => {}
    }
    let fetch = stages
        .iter()
        .rposition(|stage| matches!(stage.verb, Verb::Fetch(_)));
    let decode = stages.iter().position(decodes);
    if let (Some(fetch), Some(decode)) = (fetch, decode)
        && fetch > decode
    {
        return Err(value(
            format!("stage.{}", stages[fetch].name),
            format!(
                "it must come before `{}`, which needs bytes",
                stages[decode].name
            ),
        ));
    }
    Ok(())
}

fn verbs(table: &StageTable) -> Vec<Verb> {
    let StageTable {
        name: _,
        where_,
        where_text,
        fetch,
        decode,
        dedup,
        caption,
        score,
    } = table.clone();
    [
        where_.map(Verb::Where),
        where_text.map(Verb::WhereText),
        fetch.map(|fetch| Verb::Fetch(Box::new(fetch))),
        decode.map(Verb::Decode),
        dedup.map(Verb::Dedup),
        caption.map(Verb::Caption),
        score.map(Verb::Score),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A TOML error with its place, the line and the nearest known key.
fn syntax_error(text: &str, error: &TomlError) -> PipelineErrorKind {
    let span = error.span().unwrap_or(0..0);
    let start = floor(text, span.start);
    let end = floor(text, span.end).max(start);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let column = text[line_start..start].chars().count() + 1;
    let marked = text[start..end.min(line_end).max(start)]
        .chars()
        .count()
        .max(1);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let snippet = format!(
        "{margin} |\n{number} | {}\n{margin} | {}{}",
        &text[line_start..line_end],
        " ".repeat(column - 1),
        "^".repeat(marked)
    );
    PipelineErrorKind::Syntax {
        line,
        column,
        message: with_nearest(error.message()),
        snippet,
    }
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// `message`, and where it names an unknown key or value, the known one that is nearest.
pub(crate) fn with_nearest(message: &str) -> String {
    let message = message.trim_end().replace('\n', " ");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = quoted.next().and_then(|unknown| {
        quoted
            .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
            .filter(|(distance, known)| *distance <= (known.len() / 2).max(2))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known.to_owned())
    });
    match nearest {
        Some(nearest) if message.starts_with("unknown") => {
            format!("{message}; did you mean `{nearest}`?")
        }
        _ => message,
    }
}

/// The file with every `key.path=value` in place.
fn with_settings(mut table: Value, settings: &[String]) -> Result<PipelineFile, PipelineErrorKind> {
    let mut file = Err(value("set", "nothing to set"));
    for setting in settings {
        let refuse = |message: String| PipelineErrorKind::Set {
            set: setting.clone(),
            message,
        };
        let (path, typed) = setting
            .split_once('=')
            .ok_or_else(|| refuse("expected `key.path=value`".to_owned()))?;
        // What is no TOML value is a text: `--set name=mine` needs no quotes inside quotes.
        let typed = toml::from_str::<toml::Table>(&format!("value = {typed}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(typed.to_owned()));
        let path: Vec<&str> = path.trim().split('.').collect();
        set(&mut table, &path, typed).map_err(refuse)?;
        // `[keep]` has one rule: the one that was set takes the place of the other.
        let other = match path.as_slice() {
            ["keep", "where"] => Some("threshold"),
            ["keep", "threshold"] => Some("where"),
            _ => None,
        };
        if let (Some(other), Some(keep)) =
            (other, table.get_mut("keep").and_then(Value::as_table_mut))
        {
            keep.remove(other);
        }
        file = table
            .clone()
            .try_into()
            .map_err(|error: TomlError| refuse(with_nearest(error.message())));
        if file.is_err() {
            break;
        }
    }
    file
}

/// Puts `new` at `path` below `at`. In a list of stages a step is an index, a stage's name, or a
/// verb that only one stage has.
fn set(at: &mut Value, path: &[&str], new: Value) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *at = new;
        return Ok(());
    };
    match at {
        Value::Table(table) => {
            let below = table
                .entry((*step).to_owned())
                .or_insert_with(|| Value::Table(toml::Table::new()));
            set(below, rest, new)
        }
        Value::Array(items) => {
            let named = |item: &Value| item.get("name").and_then(Value::as_str) == Some(*step);
            if let Ok(index) = step.parse::<usize>() {
                let count = items.len();
                let item = items
                    .get_mut(index)
                    .ok_or_else(|| format!("there is no entry {index}, only {count}"))?;
                return set(item, rest, new);
            }
            if let Some(item) = items.iter_mut().find(|item| named(item)) {
                return set(item, rest, new);
            }
            let mut with_verb = items.iter_mut().filter(|item| item.get(*step).is_some());
            match (with_verb.next(), with_verb.next()) {
                (Some(item), None) => set(item, path, new),
                (Some(_), Some(_)) => Err(format!("several stages have `{step}`; use a name")),
                (None, _) => Err(format!("there is no stage `{step}`")),
            }
        }
        other => Err(format!("`{step}` would be below a {}", other.type_str())),
    }
}

#[cfg(test)]
mod tests;
