//! The committed reference numbers, the pictures that they are about, and models to compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray};
use capfilt_image::{DecodeOptions, Picture, Preprocess, decode};
use capfilt_models::{
    Caption, CaptionOptions, Captioner, Decoding, FirstToken, MatchOptions, Matcher,
    SessionOptions, TextScore, runtime,
};
use capfilt_onnx::{ImportOptions, Package, Precision, import};
use futures::future::join_all;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::program::root;

/// The random checkpoints, each in its own folder of `tests/golden/blip`.
pub(crate) const SHAPES: [&str; 4] = ["wide-patches", "prompted", "deep-text", "original"];

/// A picture of the reference numbers.
#[derive(Deserialize)]
pub(crate) struct Source {
    /// Its name in `pictures.parquet`.
    pub(crate) path: String,
    /// Size after decoding.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// SHA-256 of Pillow's RGB pixels.
    pub(crate) rgb_sha256: String,
}

/// What transformers said about one captioner and one filter.
#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) prompt: String,
    pub(crate) start: Vec<u32>,
    pub(crate) end: u32,
    pub(crate) greedy: Greedy,
    pub(crate) beam: Vec<Beam>,
    pub(crate) pairs: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct Greedy {
    pub(crate) options: capfilt_models::Greedy,
    pub(crate) captions: Vec<GreedyCaption>,
}

#[derive(Deserialize)]
pub(crate) struct GreedyCaption {
    pub(crate) ids: Vec<u32>,
    pub(crate) text: String,
    pub(crate) log_prob: f32,
    /// Per new token: how far its logit lies above the second best.
    pub(crate) margins: Vec<f32>,
}

#[derive(Deserialize)]
pub(crate) struct Beam {
    pub(crate) normalisation: capfilt_models::Normalisation,
    pub(crate) beams: u32,
    pub(crate) repetition_penalty: f32,
    pub(crate) min_length: u32,
    pub(crate) max_length: u32,
    pub(crate) captions: Vec<BeamCaption>,
}

#[derive(Deserialize)]
pub(crate) struct BeamCaption {
    pub(crate) ids: Vec<u32>,
    /// The least gap between scores that decided anything.
    pub(crate) margin: f32,
}

#[derive(Deserialize)]
pub(crate) struct Pair {
    pub(crate) picture: usize,
    pub(crate) text: String,
    /// Match probability with `[CLS]` at index 0.
    pub(crate) cls: f32,
    /// Match probability with `[ENC]` at index 0.
    pub(crate) enc: f32,
    pub(crate) similarity: f32,
}

/// A file of `tests/golden/blip`.
pub(crate) fn golden(path: &str) -> PathBuf {
    root().join("tests/golden/blip").join(path)
}

fn json<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// The answers in `tests/golden/blip/NAME.json`.
pub(crate) fn expected(name: &str) -> Expected {
    json(&golden(&format!("{name}.json")))
}

/// The pictures of the reference numbers.
pub(crate) fn sources() -> Vec<Source> {
    json(&golden("pictures.json"))
}

/// All pictures of the demo by name, decoded.
pub(crate) fn demo_pictures() -> &'static BTreeMap<String, Picture> {
    static PICTURES: OnceLock<BTreeMap<String, Picture>> = OnceLock::new();
    PICTURES.get_or_init(|| {
        let path = root().join("pipelines/demo/pictures.parquet");
        let file = std::fs::File::from(fs_err::File::open(path).unwrap());
        let batches = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        let mut pictures = BTreeMap::new();
        for batch in batches {
            let batch = batch.unwrap();
            let image = batch.column_by_name("image").unwrap().as_struct();
            let bytes = image.column_by_name("bytes").unwrap().as_binary::<i32>();
            let paths = image.column_by_name("path").unwrap().as_string::<i32>();
            for row in 0..image.len() {
                let picture = decode(bytes.value(row), &DecodeOptions::default()).unwrap();
                pictures.insert(paths.value(row).to_owned(), picture);
            }
        }
        pictures
    })
}

/// The pixel values of the reference pictures, in their order.
pub(crate) fn tensors(preprocess: &Preprocess) -> Vec<Vec<f32>> {
    let pictures = demo_pictures();
    sources()
        .iter()
        .map(|source| preprocess.tensor(&pictures[&source.path]))
        .collect()
}

/// Whether models can run here; says why not.
pub(crate) fn runtime_is_here() -> bool {
    match runtime::find(None) {
        Ok(_) => true,
        Err(error) => {
            crate::program::skipped(format_args!("{error}"));
            false
        }
    }
}

/// The trained checkpoints, where they are.
pub(crate) fn trained() -> Option<PathBuf> {
    let folder = root().join("../shared/models/mini-blip");
    if folder.is_dir() {
        return Some(folder);
    }
    crate::program::skipped(format_args!(
        "no trained checkpoints at `../shared/models/mini-blip`"
    ));
    None
}

/// Imports a checkpoint into a package in `folder`.
pub(crate) fn imported(
    folder: &TempDir,
    checkpoint: &Path,
    precision: Precision,
    options: ImportOptions,
) -> Package {
    let name = checkpoint.file_name().unwrap().to_str().unwrap();
    let output = folder.path().join(format!("{name}-{precision:?}"));
    import(
        checkpoint,
        &output,
        &ImportOptions {
            precision,
            ..options
        },
    )
    .unwrap()
}

/// Options of an import that change nothing.
pub(crate) fn plain() -> ImportOptions {
    ImportOptions::default()
}

/// Runs a future to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A seed of its own for every picture.
pub(crate) fn seed(picture: usize) -> [u8; 32] {
    capfilt_models::row_seed(7, "parity", &picture.to_string())
}

/// Opens a captioner on the CPU.
pub(crate) fn captioner(
    package: &Package,
    decoding: &Decoding,
    prompt: Option<&str>,
    batch: usize,
) -> Captioner {
    let options = CaptionOptions {
        decoding: Some(decoding.clone()),
        prompt: prompt.map(str::to_owned),
        batch: Some(batch),
    };
    Captioner::open(package, &options, &cpu()).unwrap()
}

fn cpu() -> SessionOptions {
    SessionOptions {
        device: capfilt_models::Device::Cpu,
        ..SessionOptions::default()
    }
}

/// Captions of all pictures at once, in their order; picture `i` draws with [`seed`] of `i`.
pub(crate) fn captions(captioner: &Captioner, tensors: &[Vec<f32>]) -> Vec<Caption> {
    let asked = tensors
        .iter()
        .enumerate()
        .map(|(i, pixels)| captioner.caption(pixels.clone(), seed(i)));
    wait(join_all(asked))
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// Opens a matcher on the CPU.
pub(crate) fn matcher(package: &Package, first_token: FirstToken, batch: usize) -> Matcher {
    let options = MatchOptions {
        first_token,
        batch: Some(batch),
    };
    Matcher::open(package, &options, &cpu()).unwrap()
}

/// Scores of all texts of all pictures at once, in their order.
pub(crate) fn scores(
    matcher: &Matcher,
    questions: &[(Vec<f32>, Vec<String>)],
) -> Vec<Vec<TextScore>> {
    let asked = questions
        .iter()
        .map(|(pixels, texts)| matcher.score(pixels.clone(), texts.clone()));
    wait(join_all(asked))
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// The texts of the reference pairs, by picture.
pub(crate) fn questions(preprocess: &Preprocess, pairs: &[Pair]) -> Vec<(Vec<f32>, Vec<String>)> {
    let mut questions: Vec<_> = tensors(preprocess)
        .into_iter()
        .map(|pixels| (pixels, Vec::new()))
        .collect();
    for pair in pairs {
        questions[pair.picture].1.push(pair.text.clone());
    }
    questions
}

/// Packages of the trained models that the repository carries, in fp16.
pub(crate) fn committed(task: &str) -> Package {
    Package::open(&crate::program::package(task)).unwrap()
}

/// Names the models of a comparison: what was imported and what is expected of it.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) captioner: Package,
    pub(crate) filter: Package,
    pub(crate) expected: Expected,
}

/// Everything that reference numbers exist for.
pub(crate) fn subjects() -> (TempDir, Vec<Subject>) {
    let folder = TempDir::new().unwrap();
    let mut subjects = Vec::new();
    for shape in SHAPES {
        let place = TempDir::new_in(folder.path()).unwrap();
        let package =
            |task: &str| imported(&place, &golden(shape).join(task), Precision::Fp32, plain());
        subjects.push(Subject {
            name: shape.to_owned(),
            captioner: package("captioner"),
            filter: package("filter"),
            expected: expected(&format!("{shape}/expected")),
        });
        // Kept until the folder around it goes.
        drop(place.keep());
    }
    subjects.push(Subject {
        name: "demo fp16".to_owned(),
        captioner: committed("captioner"),
        filter: committed("filter"),
        expected: expected("demo/fp16"),
    });
    if let Some(checkpoints) = trained() {
        let package =
            |task: &str| imported(&folder, &checkpoints.join(task), Precision::Fp32, plain());
        subjects.push(Subject {
            name: "mini fp32".to_owned(),
            captioner: package("captioner"),
            filter: package("filter"),
            expected: expected("mini/fp32"),
        });
    }
    (folder, subjects)
}

/// One shared import of everything, for the tests of one process.
pub(crate) fn shared_subjects() -> &'static [Subject] {
    static SUBJECTS: OnceLock<Arc<(TempDir, Vec<Subject>)>> = OnceLock::new();
    &SUBJECTS.get_or_init(|| Arc::new(subjects())).1
}
