//! Zero-shot classification: a picture belongs to the class whose prompts are nearest.

use crate::similarity::Similarities;

/// The features of a class from those of its prompts: each normalised, their mean, normalised again,
/// as CLIP and `open_clip` do it. `None` without prompts, or when a length is 0.
///
/// All prompts have features of the same width, which is that of the result.
pub fn class_features(prompts: &[Vec<f32>]) -> Option<Vec<f32>> {
    let mut mean = vec![0.0; prompts.first()?.len()];
    for prompt in prompts {
        let values: Vec<f64> = prompt.iter().map(|&value| f64::from(value)).collect();
        for (sum, value) in mean.iter_mut().zip(normalised(&values)?) {
            *sum += value;
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "features are f32")]
    let class = normalised(&mean)?.into_iter().map(|value| value as f32);
    Some(class.collect())
}

/// At which place each picture finds its class, from 0; `labels` has the indices of the classes.
///
/// `similarities` are those of the pictures with the classes, which stand for texts. Of equal scores
/// the lower index is placed first. The share of places below k is the top-k accuracy
/// ([`recall_at`](crate::recall_at)).
pub fn class_ranks(
    similarities: &impl Similarities,
    classes: usize,
    labels: &[usize],
) -> Vec<Option<usize>> {
    let mut row = vec![0.0; classes];
    labels
        .iter()
        .enumerate()
        .map(|(picture, &label)| {
            similarities.row(picture, &mut row);
            let own = *row.get(label)?;
            let scores = row.iter().copied().enumerate();
            Some(
                scores
                    .filter(|&(class, score)| score > own || (score >= own && class < label))
                    .count(),
            )
        })
        .collect()
}

/// The values at length 1; `None` when they have none.
fn normalised(values: &[f64]) -> Option<Vec<f64>> {
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let usable = length.is_finite() && length > 0.0;
    usable.then(|| values.iter().map(|value| value / length).collect())
}

#[cfg(test)]
mod tests;
