use super::*;
use crate::golden::{Golden, close, device};
use crate::model::clip::tests::{text, vision};

fn filip(kept_tokens: f64) -> Filip {
    Filip {
        vision: vision(4),
        text: text(32, 2),
        embed: 16,
        quick_gelu: false,
        kept_tokens: Part::known(kept_tokens),
    }
}

#[test]
fn a_step_equals_pytorch() {
    let golden = Golden::open("filip");
    for (prefix, kept) in [("", 1.0), ("kept.", 0.25)] {
        let filip = filip(kept);
        let weights = golden.weights(filip.declare(64));
        let pairs = golden.pairs(16, 4, vec![0, 1, 2, 3]);
        let features = filip.image_features(&weights, pairs.patches.clone());
        golden.assert_close("out.image_tokens", &floats(features.rows), 1e-4);
        let losses = filip.losses(&weights, &pairs);
        golden.assert_losses(prefix, &losses);
        golden.assert_gradients_as(prefix, &weights, losses.total());
    }
}

fn tokens(of_each: &[&[[f32; 3]]]) -> TokenFeatures {
    let rows: Vec<f32> = of_each.iter().flat_map(|rows| rows.concat()).collect();
    let count = rows.len() / 3;
    TokenFeatures {
        rows: normalize(Tensor::from_data(
            TensorData::new(rows, [count, 3]),
            &device(),
        )),
        counts: of_each.iter().map(|rows| rows.len()).collect(),
    }
}

/// Numbers of `models.md`, section 10. The pad of the first text has no part in anything.
#[test]
fn late_interaction_leaves_pads_out() {
    let images = tokens(&[
        &[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]],
        &[[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]],
    ]);
    let texts = tokens(&[
        &[[1.0, 0.2, 0.0], [0.0, 1.0, 0.1]],
        &[[0.0, 0.1, 1.0], [1.0, 0.0, 0.9], [0.0, 1.0, 1.0]],
    ]);
    let (of_images, of_texts) = similarities(&images, &texts);
    let expected = [0.935_889_4, 0.658_663_1, 0.522_278_8, 0.997_885];
    close("s^I", &floats(of_images.clone()), &expected, 1e-5);
    // Rows are texts here, pictures there.
    let expected = [0.987_808_9, 0.733_666_3, 0.516_634_9, 0.997_885];
    close("s^T", &floats(of_texts.clone()), &expected, 1e-5);
    let (image_loss, text_loss) = both_ways(of_images.div_scalar(0.07), of_texts.div_scalar(0.07));
    close("L_I", &floats(image_loss), &[0.009_998_047], 1e-3);
    close("L_T", &floats(text_loss), &[0.013_593_874], 1e-3);
}
