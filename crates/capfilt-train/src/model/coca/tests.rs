use std::cell::Cell;

use super::*;
use crate::golden::{Golden, close};
use crate::model::clip::tests::{text, vision};
use crate::parameters::floats;

thread_local! {
    static TEXT_PASSES: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn count_text_pass() {
    TEXT_PASSES.set(TEXT_PASSES.get() + 1);
}

fn coca(variant: Variant, correct_cls_mask: bool) -> Coca {
    let (width, layers) = match variant {
        Variant::OpenClip => (24, 2),
        Variant::Paper => (32, 1),
    };
    Coca {
        variant,
        vision: vision(8),
        text: text(width, layers),
        upper_layers: 2,
        embed: width,
        queries: 5,
        pooler_heads: 2,
        correct_cls_mask,
        quick_gelu: false,
        contrastive_weight: Weight::known(1.0),
        caption_weight: Weight::known(2.0),
    }
}

#[test]
fn a_step_equals_open_clip_and_the_paper() {
    for (folder, inputs, variant, correct) in [
        ("coca", "coca", Variant::OpenClip, false),
        ("coca-correct-mask", "coca", Variant::OpenClip, true),
        ("coca-paper", "coca-paper", Variant::Paper, false),
    ] {
        let golden = Golden::open(folder);
        let inputs = Golden::open(inputs);
        let coca = coca(variant, correct);
        let weights = inputs.weights(coca.declare(64));
        let pairs = inputs.pairs(16, 8, vec![0, 1, 2, 3]);
        let image = coca.image(&weights, pairs.patches.clone());
        golden.assert_close("out.image_features", &floats(image.features), 1e-4);
        let (features, x) = coca.text(&weights, &pairs.tokens);
        golden.assert_close("out.text_features", &floats(features), 1e-4);
        let x = coca.decode(&weights, x, &image.tokens).narrow(1, 0, 7);
        let [batch, length, width] = x.dims();
        let logits = floats(Coca::word_logits(
            &weights,
            x.reshape([batch * length, width]),
        ));
        // Nobody asks what follows a pad, or what `open_clip` makes of it.
        let expected = golden.expected("out.logits").values;
        for (row, &tokens) in pairs.tokens.lengths().iter().enumerate() {
            let asked = row * length * 64..(row * length + tokens - 1) * 64;
            close("out.logits", &logits[asked.clone()], &expected[asked], 1e-4);
        }
        TEXT_PASSES.set(0);
        let losses = coca.losses(&weights, &pairs);
        assert_eq!(
            TEXT_PASSES.get(),
            1,
            "both losses come of one pass of the text"
        );
        golden.assert_losses("", &losses);
        golden.assert_gradients(&weights, losses.total());
    }
}
