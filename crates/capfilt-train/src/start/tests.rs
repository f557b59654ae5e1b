use std::collections::BTreeMap;

use capfilt_onnx::save_tensors;
use tempfile::TempDir;

use super::*;
use crate::golden::device;
use crate::model::blip::Blip;

fn blip(image_size: usize) -> Blip {
    serde_json::from_value(serde_json::json!({
        "vision": {"image-size": image_size, "patch": 8, "width": 16, "layers": 1, "heads": 2},
        "text": {"width": 16, "layers": 1, "heads": 2, "positions": 16},
        "projection": 8, "tokens": 12, "queue": 8,
    }))
    .unwrap()
}

fn folder(tensors: BTreeMap<String, Stored>) -> TempDir {
    let folder = TempDir::new().unwrap();
    let tensors = tensors
        .into_iter()
        .map(|(name, stored)| (name, stored.shape, stored.values));
    save_tensors(&folder.path().join("model.safetensors"), tensors).unwrap();
    folder
}

fn tensors(weights: &Parameters) -> BTreeMap<String, Stored> {
    weights
        .stored()
        .map(|(name, stored)| (name.to_owned(), stored))
        .collect()
}

fn started(
    from: &Start,
    blip: &Blip,
    vocabulary: usize,
) -> (Result<Vec<Started>, StartError>, Parameters) {
    let mut weights = Parameters::new(blip.declare(vocabulary), 1, &device());
    let started = begin(from, &Family::Blip(blip.clone()), &mut weights);
    (started, weights)
}

#[test]
fn a_captioner_gives_what_the_encoder_shares_with_it() {
    let own = Parameters::new(blip(16).declare(20), 0, &device());
    // As Hugging Face's captioner has it: everything of the text under the decoder's name.
    let captioner: BTreeMap<String, Stored> = tensors(&own)
        .into_iter()
        .filter_map(|(name, stored)| {
            if let Some(rest) = name.strip_prefix("text_encoder.") {
                let is_own = rest.contains(".attention.");
                return (!is_own).then(|| (format!("text_decoder.bert.{rest}"), stored));
            }
            let alone = ["vision_model.", "text_decoder."];
            alone
                .iter()
                .any(|start| name.starts_with(start))
                .then_some((name, stored))
        })
        .collect();
    let folder = folder(captioner);
    let start = Start {
        model: Some(folder.path().to_owned()),
        ..Start::default()
    };
    let (all, weights) = started(&start, &blip(16), 20);
    let all = all.unwrap();
    let heads = ["itm_head.", "text_proj.", "vision_proj.", "temp"];
    let is_head = |name: &String| heads.iter().any(|head| name.starts_with(head));
    assert!(all[0].drawn.iter().all(is_head), "{:?}", all[0].drawn);
    let word = "text_encoder.embeddings.word_embeddings.weight";
    assert_eq!(tensors(&weights)[word], tensors(&own)[word]);
}

#[test]
fn a_vision_transformer_and_a_bert_start_a_blip() {
    let own = Parameters::new(blip(16).declare(20), 0, &device());
    let mut timm_tensors = BTreeMap::new();
    let mut bert = BTreeMap::new();
    for (name, mut stored) in tensors(&own) {
        if let Some(name) = timm(&name) {
            timm_tensors.insert(name, stored);
        } else if let Some(rest) = name
            .strip_prefix("text_encoder.")
            .filter(|rest| !rest.contains("crossattention"))
        {
            // BERT does not know [DEC] and [ENC].
            if rest.ends_with("word_embeddings.weight") {
                stored.values.truncate(18 * 16);
                stored.shape[0] = 18;
            }
            bert.insert(format!("bert.{rest}"), stored);
        }
    }
    let (vision, text) = (folder(timm_tensors), folder(bert));
    let start = Start {
        vision: Some(vision.path().to_owned()),
        text: Some(text.path().to_owned()),
        model: None,
    };
    let (all, weights) = started(&start, &blip(16), 20);
    let all = all.unwrap();
    assert_eq!((&all[0].drawn, &all[1].drawn), (&vec![], &vec![]));
    let (weights, own) = (tensors(&weights), tensors(&own));
    for name in [
        "vision_model.post_layernorm.bias",
        "vision_model.embeddings.patch_embedding.weight",
    ] {
        assert_eq!(weights[name], own[name], "{name}");
    }
    // Encoder and decoder both start from BERT's self-attention.
    let query = "encoder.layer.0.attention.self.query.weight";
    assert_eq!(
        weights[&format!("text_decoder.bert.{query}")],
        own[&format!("text_encoder.{query}")]
    );
    let words = &weights["text_encoder.embeddings.word_embeddings.weight"];
    assert_eq!(
        words.values[..18 * 16],
        own["text_encoder.embeddings.word_embeddings.weight"].values[..18 * 16]
    );
}

#[test]
fn position_tables_are_resized_and_other_words_refused() {
    let own = Parameters::new(blip(16).declare(20), 0, &device());
    let folder = folder(tensors(&own));
    let start = Start {
        model: Some(folder.path().to_owned()),
        ..Start::default()
    };
    let (all, weights) = started(&start, &blip(32), 20);
    all.unwrap();
    let name = "vision_model.embeddings.position_embedding";
    let (resized, table) = (&tensors(&weights)[name], &tensors(&own)[name]);
    assert_eq!(resized.shape, [1, 17, 16]);
    assert_eq!(resized.values, resize_positions(&table.values, 16, 2, 4));
    let (error, _) = started(&start, &blip(16), 25);
    let said = error.unwrap_err().to_string();
    assert!(
        said.contains("trained with 20 words, and the tokenizer has 25"),
        "{said}"
    );
}
