#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ids and counts of tests are small"
)]

use capfilt_onnx::SpecialTokens;

use super::*;
use crate::golden::{Golden, close, device};
use crate::model::Pairs;
use crate::parameters::floats;

const TOKENS: SpecialTokens = SpecialTokens {
    pad: 0,
    cls: 2,
    sep: 3,
    dec: Some(62),
    enc: Some(63),
};

const VOCABULARY: usize = 64;

fn blip(mode: Mode, sharing: Sharing) -> Blip {
    let vision = Vision {
        image_size: 16,
        patch: 8,
        width: 32,
        layers: 2,
        heads: 2,
        hidden: Some(64),
    };
    let text = Text {
        width: 32,
        layers: 2,
        heads: 2,
        hidden: Some(64),
        positions: 16,
    };
    Blip {
        mode,
        sharing,
        vision,
        text,
        projection: 16,
        dropout: Share::known(0.0),
        tokens: 8,
        prompt: String::new(),
        queue: NonZeroUsize::new(8).unwrap(),
        momentum: Share::known(0.995),
        alpha: Blend::known(0.4),
        smoothing: Share::known(0.1),
    }
}

fn pairs(golden: &Golden, pictures: Vec<u64>) -> Pairs {
    golden.pairs(16, 8, pictures)
}

fn momentum(golden: &Golden, weights: &Parameters) -> Momentum {
    let mut followed = weights.frozen(Blip::followed);
    followed
        .load(|name| Some(golden.input(&format!("momentum.{name}"))))
        .unwrap();
    let images = golden.matrix("image_queue").transpose();
    let length = images.dims()[0];
    Momentum {
        weights: followed,
        queue: Queue {
            images,
            texts: golden.matrix("text_queue").transpose(),
            pictures: vec![None; length],
            next: golden.places("queue_pointer")[0],
        },
    }
}

fn step(momentum: Option<&mut Momentum>, alpha: f64, prompt: usize) -> BlipStep<'_> {
    BlipStep {
        tokens: &TOKENS,
        momentum,
        alpha,
        prompt,
        dropped: None,
    }
}

#[test]
fn a_step_of_pretraining_equals_pytorch() {
    let golden = Golden::open("blip-pretrain");
    let blip = blip(Mode::Pretrain, Sharing::AllButSelfAttention);
    let weights = golden.weights(blip.declare(VOCABULARY));
    let pairs = pairs(&golden, vec![0, 1, 2, 3]);
    let mut momentum = momentum(&golden, &weights);

    let image = blip.image(&weights, pairs.patches.clone());
    golden.assert_close("out.image_embeds", &floats(image.clone()), 1e-4);
    let features = Blip::image_features(&weights, &image);
    golden.assert_close("out.image_feat", &floats(features), 1e-4);
    let features = blip.text_features(&weights, &pairs.tokens, None);
    golden.assert_close("out.text_feat", &floats(features), 1e-4);
    let cross = blip.cross(&weights, Role::Encoder, &image);
    let negatives = Negatives {
        images: golden.places("negative_image"),
        texts: golden.places("negative_text"),
    };
    let (_, logits) = blip.matching_loss(
        &weights,
        &pairs.tokens.starting_with(63),
        &cross,
        &negatives,
        None,
    );
    golden.assert_close("out.itm_logits", &floats(logits), 1e-4);

    let step = step(
        Some(&mut momentum),
        f64::from(golden.input("alpha").values[0]),
        1,
    );
    let losses = blip.losses(&weights, &pairs, step, |contrast| {
        golden.assert_close("out.weights_t2i", &contrast.text_to_image, 1e-4);
        golden.assert_close("out.weights_i2t", &contrast.image_to_text, 1e-4);
        negatives
    });
    golden.assert_losses("", &losses);
    golden.assert_gradients(&weights, losses.total());

    let mut compared = 0;
    for (name, stored) in momentum.weights.stored() {
        if let Some(expected) = golden.may_expect(&format!("momentum.{name}")) {
            close(name, &stored.values, &expected.values, 1e-5);
            compared += 1;
        }
    }
    assert!(
        compared > 10,
        "only {compared} momentum weights were compared"
    );
    let queue = momentum.queue.images.transpose();
    golden.assert_close("out.image_queue", &floats(queue), 1e-4);
    let queue = momentum.queue.texts.transpose();
    golden.assert_close("out.text_queue", &floats(queue), 1e-4);
    let next = golden.expected("out.queue_pointer").values[0];
    assert_eq!(momentum.queue.next, next as usize);
}

#[test]
fn every_way_of_sharing_equals_pytorch() {
    let golden = Golden::open("blip-sharing");
    let inputs = Golden::open("blip-pretrain");
    for (name, sharing) in [
        ("all-but-self-attention", Sharing::AllButSelfAttention),
        ("all", Sharing::All),
        ("all-but-cross-attention", Sharing::AllButCrossAttention),
        ("none", Sharing::None),
    ] {
        let blip = blip(Mode::Pretrain, sharing);
        let declarations = blip.declare(VOCABULARY);
        let mut weights = Parameters::new(declarations, 0, &device());
        weights.load(|name| Some(golden.weight(name))).unwrap();
        let parameters = golden.expected(&format!("{name}.parameters")).values[0];
        assert_eq!(weights.size(), parameters as usize, "{name}");
        let mut momentum = momentum(&inputs, &weights);
        let pairs = pairs(&inputs, vec![0, 1, 2, 3]);
        let step = step(
            Some(&mut momentum),
            f64::from(inputs.input("alpha").values[0]),
            1,
        );
        let losses = blip.losses(&weights, &pairs, step, |_| Negatives {
            images: inputs.places("negative_image"),
            texts: inputs.places("negative_text"),
        });
        golden.assert_losses(&format!("{name}."), &losses);
        let gradients = losses.total().backward();
        let mut total = 0.0;
        for declaration in weights.declarations() {
            let gradient = weights.get(&declaration.name).grad(&gradients);
            let square: f32 = gradient
                .map(|gradient| floats(gradient).iter().map(|value| value * value).sum())
                .unwrap_or_default();
            total += square;
        }
        golden.assert_close(&format!("{name}.grad_norm"), &[total.sqrt()], 1e-3);
    }
}

#[test]
fn a_step_of_the_captioner_equals_pytorch() {
    let golden = Golden::open("blip-captioner");
    let blip = blip(Mode::FinetuneCaptioner, Sharing::AllButSelfAttention);
    let weights = golden.weights(blip.declare(VOCABULARY));
    let step = step(None, 0.0, golden.places("prompt_length")[0]);
    let losses = blip.losses(&weights, &pairs(&golden, vec![0, 1, 2, 3]), step, |_| {
        unreachable!("a captioner needs no wrong pairs")
    });
    golden.assert_losses("", &losses);
    golden.assert_gradients(&weights, losses.total());
}

#[test]
fn a_step_of_the_filter_equals_pytorch() {
    let golden = Golden::open("blip-filter");
    let blip = blip(Mode::FinetuneFilter, Sharing::AllButSelfAttention);
    let weights = golden.weights(blip.declare(VOCABULARY));
    let pictures = golden
        .places("ids")
        .into_iter()
        .map(|id| id as u64)
        .collect();
    let pairs = pairs(&golden, pictures);
    let mut momentum = momentum(&golden, &weights);
    momentum.queue.pictures = golden
        .input("queue_ids")
        .values
        .iter()
        .map(|&id| (id >= 0.0).then_some(id as u64))
        .collect();
    let step = step(
        Some(&mut momentum),
        f64::from(golden.input("alpha").values[0]),
        1,
    );
    let losses = blip.losses(&weights, &pairs, step, |contrast| {
        golden.assert_close("out.weights_t2i", &contrast.text_to_image, 1e-4);
        golden.assert_close("out.weights_i2t", &contrast.image_to_text, 1e-4);
        Negatives {
            images: golden.places("negative_image"),
            texts: golden.places("negative_text"),
        }
    });
    golden.assert_losses("", &losses);
    golden.assert_gradients(&weights, losses.total());
}
