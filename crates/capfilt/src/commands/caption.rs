//! `capfilt caption`.

use capfilt_models::{CaptionOptions, Captioner, Decoding, row_seed};
use capfilt_onnx::Package;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::commands::pictures;
use crate::exit::ExitCode;
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::session::Session;

/// The stage name in the seed of the random draws.
const STAGE: &str = "caption";

/// One JSON line.
#[derive(Serialize)]
struct Line<'line> {
    image: &'line str,
    caption: &'line str,
    token_ids: &'line [u32],
    log_prob: f32,
}

/// Captions pictures in the order in which they were named.
pub(crate) async fn caption(args: &cli::Caption, session: &Session) -> Result<ExitCode, Failure> {
    args.decoding.check()?;
    let package = Package::open(&args.model)?;
    let by_package = &package.manifest.decoding;
    let default = Decoding::deserialize(by_package).map_err(Failure::PackageDecoding)?;
    let options = CaptionOptions {
        decoding: Some(args.decoding.over(default)?),
        prompt: args.prompt.clone(),
        batch: args.compute.batch(),
    };
    let captioner = Captioner::open(&package, &options, &args.compute.sessions(session))?;
    let preprocess = captioner.preprocess();
    let mut captions = stream::iter(&args.images)
        .map(async |path| {
            let caption = match pictures::pixels(path, preprocess).await? {
                Ok(pixels) => {
                    let seed = row_seed(args.seed, STAGE, &path.to_string_lossy());
                    Ok(captioner.caption(pixels, seed).await?)
                }
                Err(unusable) => Err(unusable),
            };
            Ok::<_, Failure>((path, caption))
        })
        .buffered(pictures::under_way(args.compute.batch()));
    let mut output = Output::new();
    let mut unusable = 0;
    while let Some(captioned) = captions.next().await {
        let (path, caption) = captioned?;
        match caption {
            Ok(caption) => output.json_line(&Line {
                image: &path.to_string_lossy(),
                caption: &caption.text,
                token_ids: &caption.token_ids,
                log_prob: caption.log_prob,
            })?,
            Err(error) => {
                failure::render(&error, None, session);
                unusable += 1;
            }
        }
    }
    failure::unless_all_used(unusable, args.images.len())
}
