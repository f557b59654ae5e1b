//! Captions of a model that is being trained: always the likeliest next token.

use burn::tensor::{Int, Tensor};
use capfilt_onnx::{TokenizerError, Vocabulary};

use crate::family::Family;
use crate::layers::{KeyValue, indices};
use crate::model::blip::{Blip, Mode, Role};
use crate::model::coca::Coca;
use crate::parameters::{Parameters, floats};
use crate::tokens::Tokens;

/// What a caption looks at.
enum Seen {
    /// Keys and values of BLIP's layers.
    Cross(Vec<KeyValue>),
    /// Pooled image tokens of CoCa.
    Tokens(Box<Tensor<3>>),
}

/// Greedy captions of pictures, patches `[B, P, 3·p·p]`. A caption ends with the last token, or with
/// the `most`th of all, the first and the prompt's included.
pub(crate) fn captions(
    family: &Family,
    weights: &Parameters,
    vocabulary: &Vocabulary,
    patches: Tensor<3>,
    most: usize,
) -> Result<Vec<String>, TokenizerError> {
    let count = patches.dims()[0];
    let tokens = vocabulary.tokens();
    let (seen, start) = match family {
        Family::Blip(blip) => {
            let prompt = if blip.mode == Mode::FinetuneCaptioner {
                blip.prompt.as_str()
            } else {
                ""
            };
            let image = blip.image(weights, patches);
            let cross = blip.cross(weights, Role::Decoder, &image);
            (Seen::Cross(cross), vocabulary.texts().prompt(prompt)?)
        }
        Family::Coca(coca) => (
            Seen::Tokens(Box::new(coca.image(weights, patches).tokens)),
            vec![tokens.cls],
        ),
        Family::Clip(_) | Family::Filip(_) => return Ok(Vec::new()),
    };
    let prompt = start.len();
    let mut texts = vec![start; count];
    let mut open: Vec<usize> = (0..count).collect();
    for length in prompt..most {
        let rows: Vec<Vec<u32>> = open.iter().map(|&row| texts[row].clone()).collect();
        let next = next(
            family,
            weights,
            &Tokens::new(&rows, tokens.pad, family.width()),
            &seen,
            &open,
            length,
        );
        for (&row, token) in open.iter().zip(next) {
            texts[row].push(token);
        }
        open.retain(|&row| texts[row].last() != Some(&tokens.sep));
        if open.is_empty() {
            break;
        }
    }
    texts
        .iter()
        .map(|text| vocabulary.texts().caption(text, prompt))
        .collect()
}

/// The likeliest token after the first `length` of every text; `rows` are the pictures of the texts.
fn next(
    family: &Family,
    weights: &Parameters,
    texts: &Tokens,
    seen: &Seen,
    rows: &[usize],
    length: usize,
) -> Vec<u32> {
    let last = |x: Tensor<3>| -> Tensor<2> { x.narrow(1, length - 1, 1).squeeze_dim(1) };
    let logits = match (family, seen) {
        (Family::Blip(blip), Seen::Cross(cross)) => {
            let rows: Tensor<1, Int> = indices(rows, &cross[0].key.device());
            let cross: Vec<KeyValue> = cross.iter().map(|kv| kv.select(&rows)).collect();
            let x = blip.text(weights, Role::Decoder, texts, Some(&cross), None);
            Blip::word_logits(blip, weights, last(x))
        }
        (Family::Coca(coca), Seen::Tokens(image)) => {
            let rows: Tensor<1, Int> = indices(rows, &image.device());
            let (_, x) = coca.text(weights, texts);
            let x = coca.decode(weights, x, &image.as_ref().clone().select(0, rows));
            Coca::word_logits(weights, last(x))
        }
        _ => return Vec::new(),
    };
    let width = logits.dims()[1];
    floats(logits)
        .chunks_exact(width)
        .map(|row| {
            let mut best = 0;
            for (token, logit) in row.iter().enumerate() {
                if *logit > row[best] {
                    best = token;
                }
            }
            u32::try_from(best).unwrap_or(u32::MAX)
        })
        .collect()
}
