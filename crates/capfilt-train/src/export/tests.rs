use std::process::Command;

use burn::tensor::Tensor;
use capfilt_image::Picture;
use capfilt_models::{
    CaptionOptions, Captioner, Device as ModelDevice, MatchOptions, Matcher, SessionOptions,
    runtime,
};
use capfilt_onnx::Package;
use serde_json::json;

use super::*;
use crate::caption::captions;
use crate::data::{DataSource, Viewed, evaluation};
use crate::layers::{indices, patches};
use crate::learner::tokens;
use crate::model::blip::{Blip, Role};
use crate::parameters::floats;
use crate::tokens::Tokens;
use crate::train::tests::{Folder, models};
use crate::{Outcome, train};

fn cpu() -> SessionOptions {
    SessionOptions {
        device: ModelDevice::Cpu,
        ..SessionOptions::default()
    }
}

/// A model of every family, and a CLIP with a tokenizer of CLIP's kind, which fills up with a word: name, `[model]`, and
/// tokenizer where it is not the folder's.
fn exports() -> Vec<(&'static str, String, Option<PathBuf>)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/open_clip");
    let [.., (_, clip), _, _] = models();
    let own = models().map(|(name, model)| (name, model, None));
    let words = ("words", clip, Some(golden.join("clip/tokenizer.json")));
    own.into_iter().chain([words]).collect()
}

/// Trains a model below `folder`.
fn trained(
    folder: &Folder,
    (name, model, tokenizer): (&str, &str, Option<PathBuf>),
    steps: usize,
) -> (Trained, Exported) {
    let mut file = folder.file(model, &format!("steps = {steps}\nlog-every = {steps}"), "");
    file.tokenizer = tokenizer.or(file.tokenizer);
    let output = folder.path().join(name);
    file.output = Some(output.clone());
    let outcome = train(&file, &|| false, &mut |_| {}).unwrap();
    let Outcome::Finished { exported, .. } = outcome else {
        panic!("{name}: {outcome:?}");
    };
    let vocabulary = file.model.vocabulary(file.tokenizer.as_deref()).unwrap();
    let device = burn::tensor::Device::flex();
    let declarations = file.model.declare(vocabulary.size);
    let mut weights = Parameters::new(declarations, 0, &device.autodiff());
    let last = output.join(format!("checkpoints/{steps:08}"));
    let checkpoint = capfilt_onnx::Checkpoint::open(&last).unwrap();
    weights
        .load(|name| {
            let shape = checkpoint.shape(name)?.to_vec();
            let values = checkpoint.read(name, &shape).ok()?;
            Some(Stored { shape, values })
        })
        .unwrap();
    let trained = Trained {
        name: name.to_owned(),
        preprocess: file.preprocess(),
        family: file.model,
        weights: weights.frozen(|_| true),
        vocabulary,
    };
    (trained, exported)
}

fn skipped(reason: &dyn std::fmt::Display) {
    use std::io::Write as _;
    // Past the test harness, which hides what `eprintln!` prints in tests that pass.
    std::io::stderr()
        .write_all(format!("skipped: {reason}\n").as_bytes())
        .unwrap();
}

/// The third point: what the trainer makes of pictures, and what its packages make of them.
#[tokio::test(flavor = "multi_thread")]
async fn packages_say_what_the_trainer_says() {
    if let Err(error) = runtime::find(None) {
        skipped(&error);
        return;
    }
    let folder = Folder::new();
    let source = DataSource::new(folder.path().join("data.parquet").to_string_lossy());
    for (name, model) in models() {
        let (trained, exported) = trained(&folder, (name, &model, None), 100);
        let views: Vec<_> = evaluation(&source, &trained.preprocess, std::num::NonZeroUsize::MIN)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for path in exported.packages {
            let package = Package::open(&path).unwrap();
            if path.ends_with("captioner") {
                trained.writes_as(&package, &views).await;
            } else {
                trained.scores_as(&package, &views).await;
            }
        }
    }
}

/// A Python with the programs that exports are for.
fn python() -> Option<String> {
    let python = std::env::var("CAPFILT_PYTHON").unwrap_or_else(|_unset| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import open_clip, torch, transformers"])
        .output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skipped(&format_args!(
        "`{python}` has no open_clip and transformers; CAPFILT_PYTHON names one that has"
    ));
    None
}

/// Pictures of several shapes as files that every program reads, and as they are.
fn pictures(folder: &Path) -> Vec<(PathBuf, Picture)> {
    [(16, 16), (23, 40), (61, 17)]
        .into_iter()
        .map(|(width, height)| {
            let samples: Vec<u8> = (0..3 * width * height)
                .map(|place| u8::try_from((place * place + 7 * width) % 251).unwrap())
                .collect();
            let path = folder.join(format!("{width}x{height}.ppm"));
            let mut file = format!("P6 {width} {height} 255\n").into_bytes();
            file.extend(&samples);
            fs_err::write(&path, file).unwrap();
            let [width, height] = [width, height].map(|side| u32::try_from(side).unwrap());
            (path, Picture::try_new(width, height, samples).unwrap())
        })
        .collect()
}

/// What the trainer makes of pictures and texts, for `tests/golden/exported.py`.
fn expected(trained: &Trained, kind: &str, pictures: &[(PathBuf, Picture)]) -> Value {
    const LONGEST: usize = 12;
    let (family, weights) = (&trained.family, &trained.weights);
    let texts = [
        "row 3 caption 1",
        "a picture of 7!",
        "",
        "row row 11 a a of 2 picture caption caption 1 1 1 1 1 1 1 1 1",
    ];
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let framed: Vec<_> = texts
        .iter()
        .map(|text| {
            trained
                .vocabulary
                .texts()
                .framed(text, family.most_tokens())
                .unwrap()
        })
        .collect();
    let tokens = Tokens::new(&framed, trained.vocabulary.tokens().pad, family.width());
    let pixels: Vec<Vec<f32>> = pictures
        .iter()
        .map(|(_, picture)| trained.preprocess.tensor(picture))
        .collect();
    let patches = trained.patches(&pixels.concat(), pixels.len());
    let prompt = match family {
        Family::Blip(blip) if blip.mode == Mode::FinetuneCaptioner => blip.prompt.as_str(),
        _ => "",
    };
    let paths: Vec<_> = pictures.iter().map(|(path, _)| path).collect();
    let mut expected = json!({
        "kind": kind, "pictures": paths, "texts": texts, "ids": framed, "pixels": pixels,
        "longest": LONGEST, "prompt": prompt,
    });
    if family.compares() && kind != "huggingface/captioner" {
        let features = family.image_features(weights, patches.clone());
        let similarities = features.similarities(&family.text_features(weights, &tokens));
        let rows: Vec<_> = similarities.chunks_exact(texts.len()).collect();
        expected["similarity"] = json!(rows);
    }
    if let ("huggingface/filter", Family::Blip(blip)) = (kind, family) {
        // `transformers` leaves [CLS] where the text starts.
        let rows: Vec<Vec<f32>> = (0..pictures.len())
            .map(|row| trained.matches(blip, &patches, row, &tokens))
            .collect();
        expected["match"] = json!(rows);
    }
    if family.writes() && kind != "huggingface/filter" {
        let captions = captions(family, weights, &trained.vocabulary, patches, LONGEST);
        expected["captions"] = json!(captions.unwrap());
    }
    expected
}

/// What an exported folder says beside its numbers: its JSON files, and the shapes of its tensors.
fn files(folder: &Path) -> Value {
    let mut all = serde_json::Map::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let content = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
            all.insert(name, content);
        }
    }
    let checkpoint = capfilt_onnx::Checkpoint::open(folder).unwrap();
    let shapes: std::collections::BTreeMap<_, _> = checkpoint
        .names()
        .map(|name| (name, checkpoint.shape(name).unwrap()))
        .collect();
    all.insert("tensors".to_owned(), json!(shapes));
    all.into()
}

/// Where [`files`] of a folder lie that other programs opened.
fn opened(name: &str, folder: &Path) -> PathBuf {
    let kind = folder.file_name().unwrap().to_string_lossy();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/exported");
    golden.join(format!("{name}-{kind}.json"))
}

/// Without Python: the folders are those that `open_clip` and `transformers` opened. After a change,
/// `CAPFILT_RECORD=1 cargo test --release -p capfilt-train other_programs` opens and records them again.
#[test]
fn exported_folders_are_those_that_other_programs_opened() {
    let folder = Folder::new();
    for (name, model, tokenizer) in exports() {
        let mut file = folder.file(&model, "steps = 1", "");
        file.tokenizer = tokenizer.or(file.tokenizer);
        let vocabulary = file.model.vocabulary(file.tokenizer.as_deref()).unwrap();
        let declarations = file.model.declare(vocabulary.size);
        let device = burn::tensor::Device::flex().autodiff();
        let weights = Parameters::new(declarations, 0, &device).frozen(|_| true);
        let output = folder.path().join(name);
        fs_err::create_dir(&output).unwrap();
        let exported = export(
            &output,
            &file.model,
            &weights,
            &vocabulary,
            &file.preprocess(),
        );
        for path in exported.unwrap().folders {
            let golden = fs_err::read(opened(name, &path)).unwrap();
            let golden: Value = serde_json::from_slice(&golden).unwrap();
            assert_eq!(files(&path), golden, "{name}, {}", path.display());
        }
    }
}

/// Every exported folder, moved elsewhere, by `open_clip`'s and `transformers`' documented calls alone.
#[test]
fn other_programs_open_what_is_exported() {
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let pictures = pictures(elsewhere.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/exported.py");
    let script = script.canonicalize().unwrap();
    let mut told = Vec::new();
    for (name, model, tokenizer) in exports() {
        let (trained, exported) = trained(&folder, (name, &model, tokenizer), 20);
        for path in exported.folders {
            let kind = path.strip_prefix(folder.path().join(name)).unwrap();
            let mut expected = expected(&trained, &kind.to_string_lossy(), &pictures);
            let moved = Path::new(name).join(path.file_name().unwrap());
            expected["folder"] = json!(moved);
            let moved = elsewhere.path().join(moved);
            fs_err::create_dir_all(moved.parent().unwrap()).unwrap();
            fs_err::rename(&path, &moved).unwrap();
            let file = elsewhere.path().join(format!("{}.json", told.len()));
            fs_err::write(&file, expected.to_string()).unwrap();
            told.push((name, file, moved));
        }
    }
    let output = Command::new(&python)
        .arg(&script)
        .arg("--expected")
        .args(told.iter().map(|(_, file, _)| file))
        .current_dir(elsewhere.path())
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", elsewhere.path().join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{trouble}");
    assert_eq!(said.lines().count(), told.len(), "{said}");
    println!("{said}");
    if std::env::var_os("CAPFILT_RECORD").is_some() {
        for (name, _, moved) in told {
            fs_err::write(opened(name, &moved), format!("{}\n", files(&moved))).unwrap();
        }
    }
}

struct Trained {
    name: String,
    family: Family,
    weights: Parameters,
    vocabulary: Vocabulary,
    preprocess: Preprocess,
}

impl Trained {
    fn patches(&self, pixels: &[f32], count: usize) -> Tensor<3> {
        let vision = self.family.vision();
        let device = burn::tensor::Device::flex();
        patches(pixels, count, vision.image_size, vision.patch, &device)
    }

    fn patches_of(&self, views: &[Viewed]) -> Tensor<3> {
        let pixels: Vec<f32> = views.iter().flat_map(|view| view.pixels.clone()).collect();
        self.patches(&pixels, views.len())
    }

    /// How well picture `row` matches each of the texts.
    fn matches(&self, blip: &Blip, patches: &Tensor<3>, row: usize, tokens: &Tokens) -> Vec<f32> {
        let image = blip.image(&self.weights, patches.clone().narrow(0, row, 1));
        let same = indices(&vec![0; tokens.count()], &image.device());
        let cross = blip.cross(&self.weights, Role::Encoder, &image);
        let cross: Vec<_> = cross.iter().map(|kv| kv.select(&same)).collect();
        let logits = blip.match_logits(&self.weights, tokens, &cross, None);
        let shares = floats(burn::tensor::activation::softmax(logits, 1));
        shares.chunks_exact(2).map(|pair| pair[1]).collect()
    }

    async fn writes_as(&self, package: &Package, views: &[Viewed]) {
        let patches = self.patches_of(views);
        let own = captions(&self.family, &self.weights, &self.vocabulary, patches, 12).unwrap();
        // As the pipeline opens it, without any options.
        Captioner::open(package, &CaptionOptions::default(), &cpu()).unwrap();
        let greedy = json!({"greedy": {"max-length": 12, "min-length": 0}});
        let options = CaptionOptions {
            decoding: Some(serde_json::from_value(greedy).unwrap()),
            ..CaptionOptions::default()
        };
        let captioner = Captioner::open(package, &options, &cpu()).unwrap();
        for (view, own) in views.iter().zip(own) {
            let caption = captioner
                .caption(view.pixels.clone(), [0; 32])
                .await
                .unwrap();
            assert_eq!(caption.text, own, "{}, {}", self.name, view.id);
        }
    }

    async fn scores_as(&self, package: &Package, views: &[Viewed]) {
        let (family, weights) = (&self.family, &self.weights);
        let matcher = Matcher::open(package, &MatchOptions::default(), &cpu()).unwrap();
        let texts: Vec<String> = views
            .iter()
            .take(5)
            .map(|view| view.texts[0].clone())
            .collect();
        let tokens = tokens(family, &self.vocabulary, &texts).unwrap();
        let patches = self.patches_of(views);
        let features = family.image_features(weights, patches.clone());
        let similarities = features.similarities(&family.text_features(weights, &tokens));
        for (row, view) in views.iter().enumerate() {
            let scores = matcher
                .score(view.pixels.clone(), texts.clone())
                .await
                .unwrap();
            let own = &similarities[row * texts.len()..];
            for (score, own) in scores.iter().zip(own) {
                self.assert_close(view, score.similarity, *own);
            }
            if let Family::Blip(blip) = family {
                let tokens = tokens.starting_with(self.vocabulary.tokens().enc.unwrap());
                let own = self.matches(blip, &patches, row, &tokens);
                for (score, own) in scores.iter().zip(own) {
                    self.assert_close(view, score.match_probability.unwrap(), own);
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
