//! Original `.pth` files against the Hugging Face form of the same weights.

use capfilt_models::{Decoding, FirstToken, Nucleus};
use capfilt_onnx::{ImportOptions, Package, Precision};
use tempfile::TempDir;

use super::reference::{
    captioner, captions, expected, golden, imported, matcher, plain, questions, runtime_is_here,
    scores, tensors,
};

fn both(folder: &TempDir, task: &str) -> [Package; 2] {
    let checkpoint = golden("original").join(task);
    let tokenizer = Some(checkpoint.join("tokenizer.json"));
    let file = golden("original").join(format!("{task}.pth"));
    [
        imported(folder, &checkpoint, Precision::Fp32, plain()),
        imported(
            folder,
            &file,
            Precision::Fp32,
            ImportOptions {
                tokenizer,
                ..plain()
            },
        ),
    ]
}

#[test]
fn original_and_hugging_face_files_of_the_same_weights_give_the_same_answers() {
    if !runtime_is_here() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let expected = expected("original/expected");
    let packages = both(&folder, "captioner");
    assert_eq!(packages[1].manifest.prompt, "a picture of ");
    assert_eq!(packages[0].manifest.prompt, "");
    for decoding in [
        Decoding::Greedy(expected.greedy.options.clone()),
        Decoding::Beam(capfilt_models::Beam::default()),
        Decoding::Nucleus(Nucleus::default()),
    ] {
        let [first, second] = packages.each_ref().map(|package| {
            let prompt = (package.manifest.prompt.is_empty()).then_some(expected.prompt.as_str());
            let model = captioner(package, &decoding, prompt, 8);
            captions(&model, &tensors(model.preprocess()))
        });
        assert_eq!(first, second, "{decoding:?}");
    }
    let [first, second] = both(&folder, "filter").each_ref().map(|package| {
        let model = matcher(package, FirstToken::Enc, 8);
        scores(&model, &questions(model.preprocess(), &expected.pairs))
    });
    assert_eq!(first, second);
    assert_eq!(
        first.iter().map(Vec::len).sum::<usize>(),
        expected.pairs.len()
    );
}
