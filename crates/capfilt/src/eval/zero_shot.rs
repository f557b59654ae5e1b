//! Pictures that look for their classes.

use std::collections::BTreeMap;

use capfilt_eval::{Features, class_features, class_ranks, recall_at};
use capfilt_models::Matcher;

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
    let mut features = Vec::new();
    for (number, (class, place)) in classes.iter_mut().enumerate() {
        *place = number;
        let prompts: Vec<String> = templates
            .iter()
            .map(|template| template.replace(NAME, class))
            .collect();
        let prompts = matcher.text_features(&prompts).await?;
        let of_class = class_features(&prompts).ok_or_else(|| EvalError::NoClass {
            class: (*class).to_owned(),
        })?;
        features.extend(of_class);
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
            images.extend(image);
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
    let width = images.len() / own.len();
    let features = Features::new(width, images, &features).map_err(EvalError::from)?;
    let ranks = class_ranks(&features, classes.len(), &own);
    let numbers = ZeroShotNumbers {
        classes: classes.len(),
        templates: templates.len(),
        top_1: recall_at(1, &ranks),
        top_5: recall_at(5, &ranks),
    };
    Ok((Some(numbers), counts))
}
