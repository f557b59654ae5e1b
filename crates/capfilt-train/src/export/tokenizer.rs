//! The tokenizer as `AutoTokenizer` of `transformers`, through which `open_clip` goes too, finds it.

use std::path::Path;

use capfilt_onnx::Vocabulary;
use serde_json::{Map, Value, json};

use super::{ExportError, write, write_json};

/// Its file.
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// Writes `tokenizer.json` and what says which of its tokens do what. Texts have at most `longest` tokens.
pub(super) fn write_tokenizer(
    folder: &Path,
    vocabulary: &Vocabulary,
    longest: usize,
) -> Result<(), ExportError> {
    write(folder, TOKENIZER, &vocabulary.framing()?)?;
    let tokens = vocabulary.tokens();
    let named = |id: u32| vocabulary.texts().token(id);
    let known = |name: &str| vocabulary.texts().id(name).map(|_| name.to_owned());
    let pad = named(tokens.pad);
    let mut config: Map<String, Value> = [
        (
            "bos_token",
            tokens
                .dec
                .map(|_| "[DEC]".to_owned())
                .or_else(|| named(tokens.cls)),
        ),
        ("cls_token", named(tokens.cls)),
        ("eos_token", named(tokens.sep)),
        ("sep_token", named(tokens.sep)),
        ("pad_token", pad.clone()),
        ("unk_token", known("[UNK]")),
        ("mask_token", known("[MASK]")),
    ]
    .into_iter()
    .filter_map(|(key, token)| Some((key.to_owned(), token?.into())))
    .collect();
    if pad.is_some_and(|pad| !PADS.contains(&pad.as_str())) {
        // CLIP fills up with a word. In a text it stays a word, if special tokens are not looked for there.
        config.insert("split_special_tokens".to_owned(), json!(true));
    }
    config.insert("model_max_length".to_owned(), json!(longest));
    config.insert("padding_side".to_owned(), json!("right"));
    config.insert("truncation_side".to_owned(), json!("right"));
    config.insert(
        "tokenizer_class".to_owned(),
        json!("PreTrainedTokenizerFast"),
    );
    write_json(folder, "tokenizer_config.json", &config.into())
}

/// Names of tokens that do nothing but fill up.
const PADS: [&str; 2] = ["[PAD]", "<pad>"];
