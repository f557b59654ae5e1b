//! `capfilt score`.

use capfilt_models::{MatchOptions, Matcher};
use capfilt_onnx::Package;
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::cli;
use crate::commands::pictures;
use crate::exit::ExitCode;
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::session::Session;

/// One JSON line.
#[derive(Serialize)]
struct Line<'line> {
    image: &'line str,
    text: &'line str,
    #[serde(rename = "match")]
    match_probability: Option<f32>,
    similarity: f32,
}

/// Scores every text against every picture, in the order in which they were named.
pub(crate) async fn score(args: &cli::Score, session: &Session) -> Result<ExitCode, Failure> {
    let package = Package::open(&args.model)?;
    let options = MatchOptions {
        first_token: args.first_token.into(),
        batch: args.compute.batch(),
    };
    let matcher = Matcher::open(&package, &options, &args.compute.sessions(session))?;
    let preprocess = matcher.preprocess();
    let mut scores = stream::iter(&args.images)
        .map(async |path| {
            let scores = match pictures::pixels(path, preprocess).await? {
                Ok(pixels) => Ok(matcher.score(pixels, args.text.clone()).await?),
                Err(unusable) => Err(unusable),
            };
            Ok::<_, Failure>((path, scores))
        })
        .buffered(pictures::under_way(args.compute.batch()));
    let mut output = Output::new();
    let mut unusable = 0;
    while let Some(scored) = scores.next().await {
        let (path, scores) = scored?;
        match scores {
            Ok(scores) => {
                for (text, score) in args.text.iter().zip(scores) {
                    output.json_line(&Line {
                        image: &path.to_string_lossy(),
                        text,
                        match_probability: score.match_probability,
                        similarity: score.similarity,
                    })?;
                }
            }
            Err(error) => {
                failure::render(&error, None, session);
                unusable += 1;
            }
        }
    }
    failure::unless_all_used(unusable, args.images.len())
}
