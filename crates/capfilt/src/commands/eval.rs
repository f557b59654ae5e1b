//! `capfilt eval`.

use capfilt_data::Kind;
use capfilt_models::{CaptionOptions, Captioner, Decoding, MatchOptions, Matcher};
use capfilt_onnx::{Family, Manifest, Package, Task};
use serde::Deserialize;

use crate::cli;
use crate::commands::pictures;
use crate::eval::{
    Columns, Counts, Data, EvalError, Metric, Metrics, Report, caption_scores, filter_numbers,
    recalls, zero_shot,
};
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Computes metrics of a package on data.
pub(crate) async fn eval(args: &cli::Eval, session: &Session) -> Result<ExitCode, Failure> {
    args.decoding.check()?;
    let package = Package::open(&args.model)?;
    let metrics = metrics(args, &package.manifest)?;
    let by = filter_by(args, package.manifest.family)?;
    let columns = Columns {
        image: args.image.clone(),
        text: args.text.clone(),
        truth: args.truth.clone(),
        group: args.group.clone(),
    };
    let data = Data::read(&args.data, &columns).await?;
    let mut report = Report {
        model: package.digest().to_string(),
        device: String::new(),
        shards: data.shards(),
        rows: data.rows,
        incomplete: data.incomplete,
        counts: Counts::default(),
        metrics: Metrics::default(),
    };
    if metrics.iter().any(|metric| metric.is_of_captions()) {
        captions(args, &package, &metrics, &data, &mut report, session).await?;
    }
    if metrics.iter().any(|metric| !metric.is_of_captions()) {
        matches(args, &package, (&metrics, by), &data, &mut report, session).await?;
    }
    if report.counts.texts == 0 {
        return Err(Failure::Eval(EvalError::Nothing {
            rows: report.rows,
            incomplete: report.incomplete,
            unusable: report.counts.unusable,
        }));
    }
    for line in report.lines() {
        session.say(format_args!("{line}"));
    }
    Output::new().json_line(&report)?;
    Ok(ExitCode::Done)
}

/// What is asked for, or all that the package can do.
fn metrics(args: &cli::Eval, manifest: &Manifest) -> Result<Vec<Metric>, EvalError> {
    let tasks = &manifest.tasks;
    let captions = [Metric::Bleu, Metric::RougeL, Metric::CiderD];
    // Only BLIP has a matching head.
    let matches: &[Metric] = match manifest.family {
        Family::Blip => &[Metric::Recall, Metric::RecallReranked],
        Family::Clip | Family::Coca | Family::Filip => &[Metric::Recall],
    };
    if args.metrics.is_empty() {
        let mut metrics = Vec::new();
        if tasks.contains(&Task::Captioner) {
            metrics.extend(captions);
        }
        if tasks.contains(&Task::Filter) {
            metrics.extend(matches);
            metrics.extend(args.truth.is_some().then_some(Metric::Filter));
        }
        return Ok(metrics);
    }
    for &metric in &args.metrics {
        let needed = if metric.is_of_captions() {
            Task::Captioner
        } else {
            Task::Filter
        };
        if !tasks.contains(&needed) {
            let got: Vec<&str> = tasks.iter().map(|task| task.as_str()).collect();
            return Err(EvalError::Task {
                metric,
                needed: needed.as_str(),
                got: got.join(", "),
            });
        }
        if metric == Metric::RecallReranked && manifest.family != Family::Blip {
            return Err(EvalError::NoMatchingHead {
                option: "--metrics recall-reranked",
            });
        }
        if metric == Metric::Filter && args.truth.is_none() {
            return Err(EvalError::NoTruth);
        }
    }
    Ok(args.metrics.clone())
}

/// What the filter goes by.
fn filter_by(args: &cli::Eval, family: Family) -> Result<Kind, EvalError> {
    let has_matching_head = family == Family::Blip;
    match args.by.map(Kind::from) {
        Some(Kind::Match) if !has_matching_head => Err(EvalError::NoMatchingHead {
            option: "--by match",
        }),
        Some(by) => Ok(by),
        None if has_matching_head => Ok(Kind::Match),
        None => Ok(Kind::Similarity),
    }
}

async fn captions(
    args: &cli::Eval,
    package: &Package,
    metrics: &[Metric],
    data: &Data,
    report: &mut Report,
    session: &Session,
) -> Result<(), Failure> {
    let default =
        Decoding::deserialize(&package.manifest.decoding).map_err(Failure::PackageDecoding)?;
    let options = CaptionOptions {
        decoding: Some(args.decoding.over(default)?),
        prompt: args.prompt.clone(),
        batch: args.compute.batch(),
    };
    let captioner = Captioner::open(package, &options, &args.compute.sessions(session))?;
    let at_once = pictures::under_way(args.compute.batch());
    let (found, counts) =
        caption_scores(data, &captioner, metrics, (at_once, args.seed), session).await?;
    captioner.device().clone_into(&mut report.device);
    report.metrics = found;
    report.counts = counts;
    Ok(())
}

async fn matches(
    args: &cli::Eval,
    package: &Package,
    (metrics, by): (&[Metric], Kind),
    data: &Data,
    report: &mut Report,
    session: &Session,
) -> Result<(), Failure> {
    let options = MatchOptions {
        first_token: args.first_token.into(),
        batch: args.compute.batch(),
    };
    let matcher = Matcher::open(package, &options, &args.compute.sessions(session))?;
    matcher.device().clone_into(&mut report.device);
    let at_once = pictures::under_way(args.compute.batch());
    let reranked = metrics.contains(&Metric::RecallReranked);
    if reranked || metrics.contains(&Metric::Recall) {
        let candidates = reranked.then_some(args.candidates.into());
        let (recall, again, counts) = recalls(data, &matcher, candidates, at_once, session).await?;
        report.metrics.recall = metrics.contains(&Metric::Recall).then_some(recall);
        report.metrics.recall_reranked = again;
        report.counts = counts;
    }
    if metrics.contains(&Metric::ZeroShot) {
        let (numbers, counts) = zero_shot(data, &matcher, &args.template, at_once, session).await?;
        report.metrics.zero_shot = numbers;
        report.counts = counts;
    }
    if metrics.contains(&Metric::Filter) {
        let (numbers, counts) =
            filter_numbers(data, &matcher, (by, args.threshold), at_once, session).await?;
        report.metrics.filter = numbers;
        report.counts = counts;
    }
    Ok(())
}
