//! Pixels, greedy captions and both beam searches.

use capfilt_data::footer::hex_digest;
use capfilt_models::{Caption, Decoding};

use super::reference::{
    Subject, captioner, captions, demo_pictures, runtime_is_here, shared_subjects, sources, tensors,
};

/// A reference that decides by less than this may be decided otherwise.
const MARGIN: f32 = 1e-4;

/// Sums of up to 19 log-probabilities.
const LOG_PROB: f32 = 1e-3;

#[test]
fn pictures_have_the_pixels_that_pillow_gives() {
    let pictures = demo_pictures();
    let sources = sources();
    assert!(sources.len() >= 200);
    for source in &sources {
        let picture = &pictures[&source.path];
        assert_eq!(
            (picture.width(), picture.height()),
            (source.width, source.height)
        );
        let digest = hex_digest(picture.pixels());
        assert_eq!(digest, source.rgb_sha256, "pixels of `{}`", source.path);
    }
}

#[test]
fn greedy_captions_are_those_of_transformers() {
    if !runtime_is_here() {
        return;
    }
    for Subject {
        name,
        captioner: package,
        expected,
        ..
    } in shared_subjects()
    {
        let decoding = Decoding::Greedy(expected.greedy.options.clone());
        let model = captioner(package, &decoding, Some(&expected.prompt), 8);
        let got = captions(&model, &tensors(model.preprocess()));
        assert_eq!(got.len(), expected.greedy.captions.len());
        let mut other = 0;
        for (index, (got, expected_)) in got.iter().zip(&expected.greedy.captions).enumerate() {
            if got.token_ids == expected_.ids {
                assert_eq!(got.text, expected_.text, "{name}, picture {index}");
                let apart = (got.log_prob - expected_.log_prob).abs();
                assert!(
                    apart <= LOG_PROB,
                    "{name}, picture {index}: log_prob {apart} apart"
                );
                continue;
            }
            other += 1;
            let step = got
                .token_ids
                .iter()
                .zip(&expected_.ids)
                .take_while(|(a, b)| a == b)
                .count();
            let margin = expected_.margins[step - expected.start.len()];
            assert!(
                margin < MARGIN,
                "{name}, picture {index}: {:?} instead of {:?}, where the reference decided by {margin}",
                got.token_ids,
                expected_.ids
            );
        }
        report(name, "greedy", got.len(), other);
    }
}

#[test]
fn beam_captions_are_those_of_the_reference_for_both_normalisations() {
    if !runtime_is_here() {
        return;
    }
    for Subject {
        name,
        captioner: package,
        expected,
        ..
    } in shared_subjects()
    {
        for run in &expected.beam {
            let decoding = Decoding::Beam(capfilt_models::Beam {
                beams: run.beams,
                repetition_penalty: run.repetition_penalty,
                min_length: run.min_length,
                max_length: run.max_length,
                normalisation: run.normalisation,
            });
            let model = captioner(package, &decoding, Some(&expected.prompt), 8);
            let got = captions(&model, &tensors(model.preprocess()));
            assert_eq!(got.len(), run.captions.len());
            let mut other = 0;
            for (index, (got, expected)) in got.iter().zip(&run.captions).enumerate() {
                if got.token_ids == expected.ids {
                    continue;
                }
                other += 1;
                assert!(
                    expected.margin < MARGIN,
                    "{name}, picture {index}, {decoding:?}: {:?} instead of {:?}, where the reference decided by {}",
                    got.token_ids,
                    expected.ids,
                    expected.margin
                );
            }
            let what = format!("{} beams, {:?}", run.beams, run.normalisation);
            report(name, &what, got.len(), other);
        }
    }
}

fn report(name: &str, what: &str, compared: usize, other: usize) {
    assert!(
        compared >= 200,
        "{name}: only {compared} captions were compared"
    );
    eprintln!(
        "{name}, {what}: {compared} captions, {other} differ where the reference decided by less than {MARGIN:e}"
    );
}

#[test]
fn the_reference_captions_end_at_many_lengths_and_differ() {
    for Subject { name, expected, .. } in shared_subjects().iter().take(4) {
        let captions = &expected.greedy.captions;
        let ended = captions
            .iter()
            .filter(|caption| caption.ids.last() == Some(&expected.end));
        // As if the prompt were the start token alone.
        let mut lengths: Vec<usize> = ended
            .map(|caption| caption.ids.len() + 1 - expected.start.len())
            .collect();
        assert!(
            lengths.len() * 100 >= captions.len() * 85,
            "{name}: {} end",
            lengths.len()
        );
        lengths.sort_unstable();
        lengths.dedup();
        assert!(
            lengths.first() == Some(&3) && lengths.last() >= Some(&19),
            "{name}: {lengths:?}"
        );
        let mut distinct: Vec<&[u32]> = captions.iter().map(|caption| &caption.ids[..]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(
            distinct.len() * 10 >= captions.len() * 8,
            "{name}: {} differ",
            distinct.len()
        );
    }
}

#[test]
fn a_prompt_that_is_asked_for_stands_in_for_the_packages_own() {
    if !runtime_is_here() {
        return;
    }
    let subject = shared_subjects()
        .iter()
        .find(|subject| subject.name == "prompted")
        .unwrap();
    let decoding = Decoding::Greedy(subject.expected.greedy.options.clone());
    let tensors = |model: &capfilt_models::Captioner| tensors(model.preprocess())[..3].to_vec();
    let model = captioner(&subject.captioner, &decoding, Some(""), 3);
    let bare: Vec<Caption> = captions(&model, &tensors(&model));
    assert!(
        bare.iter()
            .all(|caption| caption.token_ids[0] == subject.expected.start[0])
    );
    assert!(
        bare.iter()
            .any(|caption| !caption.token_ids.starts_with(&subject.expected.start))
    );
}
