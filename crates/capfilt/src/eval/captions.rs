//! A captioner's captions against the texts of the pictures.

use capfilt_eval::{Captions, bleu, cider_d, mean, rouge_l};
use capfilt_models::{Captioner, row_seed};

use super::data::{Data, Looked};
use super::report::{Counts, Metrics};
use super::{EvalError, Metric};
use crate::failure::Failure;
use crate::session::Session;

/// The stage name in the seed of the random draws.
const STAGE: &str = "eval";

/// Captions every picture that has a text of its own, and compares.
pub(crate) async fn caption_scores(
    data: &Data,
    captioner: &Captioner,
    metrics: &[Metric],
    (at_once, seed): (usize, u64),
    session: &Session,
) -> Result<(Metrics, Counts), Failure> {
    let Looked { results, unusable } = data
        .each(
            |index| data.pictures[index].right().next().is_some(),
            captioner.preprocess(),
            at_once,
            session,
            async |index, pixels| {
                let seed = row_seed(seed, STAGE, &index.to_string());
                Ok(captioner.caption(pixels, seed).await?.text)
            },
        )
        .await?;
    let (captions, references): (Vec<String>, Vec<Vec<&str>>) = data
        .pictures
        .iter()
        .zip(results)
        .filter_map(|(picture, caption)| Some((caption?, picture.right().collect())))
        .unzip();
    let texts = references.iter().map(Vec::len).sum();
    let compared = Captions::tokenized(&captions, &references).map_err(EvalError::from)?;
    let asked = |metric| metrics.contains(&metric) && !compared.is_empty();
    let metrics = Metrics {
        bleu: asked(Metric::Bleu).then(|| bleu(&compared)),
        rouge_l: asked(Metric::RougeL)
            .then(|| mean(&rouge_l(&compared)))
            .flatten(),
        cider_d: asked(Metric::CiderD)
            .then(|| mean(&cider_d(&compared)))
            .flatten(),
        ..Metrics::default()
    };
    let counts = Counts {
        pictures: compared.len(),
        texts,
        unusable,
    };
    Ok((metrics, counts))
}
