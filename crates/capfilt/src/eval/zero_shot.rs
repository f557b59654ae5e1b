//! Pictures that look for their classes.

use std::collections::BTreeMap;

use capfilt_eval::{Features, Matrix, class_features, class_ranks, recall_at};
use capfilt_models::{Matcher, Similarity};

use super::EvalError;
use super::data::Data;
use super::report::{Counts, ZeroShotNumbers};
use crate::failure::Failure;
use crate::session::Session;

/// Where the name of the class stands in a template.
const NAME: &str = "{}";

/// Classifies every picture. The classes are the distinct texts; the class of a picture is its first
/// text.
pub(crate) async fn zero_shot(
    data: &Data,
    matcher: &Matcher,
    templates: &[String],
    at_once: usize,
    session: &Session,
) -> Result<(Option<ZeroShotNumbers>, Counts), Failure> {
    let label = |index: usize| data.pictures[index].right().next();
    let labels = (0..data.pictures.len()).filter_map(label);
    let mut classes: BTreeMap<&str, usize> = labels.map(|class| (class, 0)).collect();
    // Of every class the features of its prompts.
    let mut prompts = Vec::new();
    for (number, (class, place)) in classes.iter_mut().enumerate() {
        *place = number;
        let of_class: Vec<String> = templates
            .iter()
            .map(|template| template.replace(NAME, class))
            .collect();
        prompts.push(matcher.text_features(&of_class).await?);
    }
    let looked = data
        .each(
            |index| label(index).is_some(),
            matcher.preprocess(),
            at_once,
            session,
            async |_, pixels| matcher.image_features(pixels).await,
        )
        .await?;
    let mut own = Vec::new();
    let mut images = Vec::new();
    for (index, image) in looked.results.into_iter().enumerate() {
        if let Some((image, class)) = image.zip(label(index)) {
            own.push(classes[class]);
            images.push(image);
        }
    }
    let counts = Counts {
        pictures: own.len(),
        texts: own.len(),
        unusable: looked.unusable,
    };
    if own.is_empty() {
        return Ok((None, counts));
    }
    let ranks = if matcher.similarity() == Similarity::Cosine {
        let mut of_classes = Vec::new();
        for (class, prompts) in classes.keys().zip(&prompts) {
            let of_class = class_features(prompts).ok_or_else(|| EvalError::NoClass {
                class: (*class).to_owned(),
            })?;
            of_classes.extend(of_class);
        }
        let features = Features::new(images[0].len(), images.concat(), &of_classes);
        class_ranks(&features.map_err(EvalError::from)?, classes.len(), &own)
    } else {
        let scores = token_scores(matcher.similarity(), &images, &prompts);
        let matrix = Matrix::new(scores, classes.len()).map_err(EvalError::from)?;
        class_ranks(&matrix, classes.len(), &own)
    };
    let numbers = ZeroShotNumbers {
        classes: classes.len(),
        templates: templates.len(),
        top_1: recall_at(1, &ranks),
        top_5: recall_at(5, &ranks),
    };
    Ok((Some(numbers), counts))
}

/// FILIP's scores of pictures and classes, `[pictures, classes]`: the mean over a class's prompts of what
/// the picture finds in them. Features of tokens are not averaged, since prompts have not as many.
fn token_scores(
    similarity: Similarity,
    images: &[Vec<f32>],
    prompts: &[Vec<Vec<f32>>],
) -> Vec<f32> {
    let score = |image: &Vec<f32>, prompts: &Vec<Vec<f32>>| {
        let found = prompts
            .iter()
            .map(|prompt| similarity.both_ways(image, prompt)[0]);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a few prompts, and cosines"
        )]
        let mean = (found.sum::<f64>() / prompts.len() as f64) as f32;
        mean
    };
    let of_image = |image| prompts.iter().map(move |prompts| score(image, prompts));
    images.iter().flat_map(of_image).collect()
}
