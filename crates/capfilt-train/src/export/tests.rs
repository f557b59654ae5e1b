use capfilt_models::{
    CaptionOptions, Captioner, Device as ModelDevice, MatchOptions, Matcher, SessionOptions,
    runtime,
};
use capfilt_onnx::Package;

use super::*;
use crate::caption::captions;
use burn::tensor::Tensor;

use crate::data::{Viewed, evaluation};
use crate::layers::{indices, patches};
use crate::learner::tokens;
use crate::parameters::floats;
use crate::train::tests::{Folder, models};
use crate::{Outcome, train};

fn cpu() -> SessionOptions {
    SessionOptions {
        device: ModelDevice::Cpu,
        ..SessionOptions::default()
    }
}

/// The third point: what the trainer makes of pictures, and what its packages make of them.
#[tokio::test(flavor = "multi_thread")]
async fn packages_say_what_the_trainer_says() {
    if let Err(error) = runtime::find(None) {
        use std::io::Write as _;
        // Past the test harness, which hides what `eprintln!` prints in tests that pass.
        std::io::stderr()
            .write_all(format!("skipped: {error}\n").as_bytes())
            .unwrap();
        return;
    }
    let folder = Folder::new();
    for (name, model) in models() {
        let mut file = folder.file(&model, "steps = 100\nlog-every = 100", "");
        let output = folder.path().join(name);
        file.output = Some(output.clone());
        let outcome = train(&file, &|| false, &mut |_| {}).unwrap();
        let Outcome::Finished { exported, .. } = outcome else {
            panic!("{name}: {outcome:?}");
        };
        let vocabulary = file.model.vocabulary(file.tokenizer.as_deref()).unwrap();
        let device = burn::tensor::Device::flex();
        let declarations = file.model.declare(vocabulary.size);
        let mut weights = Parameters::new(declarations, 0, &device.clone().autodiff());
        let checkpoint =
            capfilt_onnx::Checkpoint::open(&output.join("checkpoints/00000100")).unwrap();
        weights
            .load(|name| {
                let shape = checkpoint.shape(name)?.to_vec();
                let values = checkpoint.read(name, &shape).ok()?;
                Some(Stored { shape, values })
            })
            .unwrap();
        let weights = weights.frozen(|_| true);
        let views: Vec<_> = evaluation(
            &file.data[0],
            &file.preprocess(),
            std::num::NonZeroUsize::MIN,
        )
        .unwrap()
        .map(Result::unwrap)
        .collect();
        let pixels = views
            .iter()
            .flat_map(|view| view.pixels.clone())
            .collect::<Vec<_>>();
        let vision = file.model.vision();
        let patches = patches(
            &pixels,
            views.len(),
            vision.image_size,
            vision.patch,
            &device,
        );
        for path in exported.packages {
            let trained = Trained {
                name,
                family: &file.model,
                weights: &weights,
                vocabulary: &vocabulary,
                views: &views,
                patches: &patches,
            };
            let package = Package::open(&path).unwrap();
            if path.ends_with("captioner") {
                trained.writes_as(&package).await;
            } else {
                trained.scores_as(&package).await;
            }
        }
    }
}

struct Trained<'a> {
    name: &'a str,
    family: &'a Family,
    weights: &'a Parameters,
    vocabulary: &'a Vocabulary,
    views: &'a [Viewed],
    patches: &'a Tensor<3>,
}

impl Trained<'_> {
    async fn writes_as(&self, package: &Package) {
        let patches = self.patches.clone();
        let own = captions(self.family, self.weights, self.vocabulary, patches, 12).unwrap();
        // As the pipeline opens it, without any options.
        Captioner::open(package, &CaptionOptions::default(), &cpu()).unwrap();
        let greedy = json!({"greedy": {"max-length": 12, "min-length": 0}});
        let options = CaptionOptions {
            decoding: Some(serde_json::from_value(greedy).unwrap()),
            ..CaptionOptions::default()
        };
        let captioner = Captioner::open(package, &options, &cpu()).unwrap();
        for (view, own) in self.views.iter().zip(own) {
            let caption = captioner
                .caption(view.pixels.clone(), [0; 32])
                .await
                .unwrap();
            assert_eq!(caption.text, own, "{}, {}", self.name, view.id);
        }
    }

    async fn scores_as(&self, package: &Package) {
        let (family, weights) = (self.family, self.weights);
        let matcher = Matcher::open(package, &MatchOptions::default(), &cpu()).unwrap();
        let texts: Vec<String> = self
            .views
            .iter()
            .take(5)
            .map(|view| view.texts[0].clone())
            .collect();
        let tokens = tokens(family, self.vocabulary, &texts).unwrap();
        let features = family.image_features(weights, self.patches.clone());
        let similarities = features.similarities(&family.text_features(weights, &tokens));
        for (row, view) in self.views.iter().enumerate() {
            let scores = matcher
                .score(view.pixels.clone(), texts.clone())
                .await
                .unwrap();
            let own = &similarities[row * texts.len()..];
            for (score, own) in scores.iter().zip(own) {
                self.assert_close(view, score.similarity, *own);
            }
            if let Family::Blip(blip) = family {
                let image = blip.image(weights, self.patches.clone().narrow(0, row, 1));
                let same = indices(&vec![0; texts.len()], &image.device());
                let cross = blip.cross(weights, Role::Encoder, &image);
                let cross: Vec<_> = cross.iter().map(|kv| kv.select(&same)).collect();
                let tokens = tokens.starting_with(self.vocabulary.tokens().enc.unwrap());
                let logits = blip.match_logits(weights, &tokens, &cross, None);
                let own = floats(burn::tensor::activation::softmax(logits, 1));
                for (score, own) in scores.iter().zip(own.chunks_exact(2)) {
                    self.assert_close(view, score.match_probability.unwrap(), own[1]);
                }
            }
        }
    }

    fn assert_close(&self, view: &Viewed, got: f32, own: f32) {
        assert!(
            (got - own).abs() < 1e-4,
            "{}, {}: {got}, trainer {own}",
            self.name,
            view.id
        );
    }
}
