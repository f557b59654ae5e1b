//! Match probabilities with both first tokens, and similarities.

use capfilt_models::FirstToken;

use super::reference::{Subject, matcher, questions, runtime_is_here, scores, shared_subjects};

const TOLERANCE: f32 = 1e-4;

#[test]
fn match_probabilities_and_similarities_are_those_of_transformers() {
    if !runtime_is_here() {
        return;
    }
    for Subject {
        name,
        filter,
        expected,
        ..
    } in shared_subjects()
    {
        assert!(expected.pairs.len() >= 200);
        for first_token in [FirstToken::Enc, FirstToken::Cls] {
            let model = matcher(filter, first_token, 8);
            let questions = questions(model.preprocess(), &expected.pairs);
            let mut got = scores(&model, &questions).into_iter().flatten();
            let (mut worst_match, mut worst_similarity) = (0.0_f32, 0.0_f32);
            for pair in &expected.pairs {
                let got = got.next().unwrap();
                let wanted = if first_token == FirstToken::Enc {
                    pair.enc
                } else {
                    pair.cls
                };
                let probability = got.match_probability.unwrap();
                let apart = (probability - wanted).abs();
                let similarity = (got.similarity - pair.similarity).abs();
                assert!(
                    apart <= TOLERANCE && similarity <= TOLERANCE,
                    "{name}, {first_token:?}, picture {}, `{}`: match {probability} instead of {wanted}, \
                     similarity {} instead of {}",
                    pair.picture,
                    pair.text,
                    got.similarity,
                    pair.similarity
                );
                worst_match = worst_match.max(apart);
                worst_similarity = worst_similarity.max(similarity);
            }
            assert!(got.next().is_none());
            eprintln!(
                "{name}, {first_token:?}: {} pairs, match within {worst_match:.1e}, similarity within {worst_similarity:.1e}",
                expected.pairs.len()
            );
        }
    }
}
