use super::*;
use crate::golden::Golden;
use crate::parameters::floats;

pub(in crate::model) fn vision(patch: usize) -> Vision {
    Vision {
        image_size: 16,
        patch,
        width: 32,
        layers: 2,
        heads: 2,
        hidden: Some(64),
    }
}

pub(in crate::model) fn text(width: usize, layers: usize) -> Text {
    Text {
        width,
        layers,
        heads: 2,
        hidden: None,
        positions: 8,
    }
}

fn clip(loss: ClipLoss) -> Clip {
    Clip {
        vision: vision(8),
        text: text(32, 2),
        embed: 16,
        quick_gelu: false,
        loss,
    }
}

#[test]
fn a_step_equals_open_clip() {
    for (folder, loss) in [
        ("clip", ClipLoss::Softmax),
        ("clip-sigmoid", ClipLoss::Sigmoid),
    ] {
        let golden = Golden::open(folder);
        let clip = clip(loss);
        let weights = golden.weights(clip.declare(64));
        let pairs = golden.pairs(16, 8, vec![0, 1, 2, 3]);
        let features = clip.image_features(&weights, pairs.patches.clone());
        golden.assert_close("out.image_features", &floats(features), 1e-4);
        let features = clip.text_features(&weights, &pairs.tokens);
        golden.assert_close("out.text_features", &floats(features), 1e-4);
        let losses = clip.losses(&weights, &pairs);
        golden.assert_losses("", &losses);
        golden.assert_gradients(&weights, losses.total());
    }
}
