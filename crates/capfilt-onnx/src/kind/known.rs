//! The table of kinds, in the order in which they are looked for.

use super::Mark::{Architecture, Files, ModelType, OnlyEnding, Tensors};
use super::Then::{Import, Refuse};
use super::{Importer, Known};

/// What to do about a model that no importer takes.
pub(super) const NOT_IMPORTED: &str = "it is not imported; expected a BLIP captioner or retrieval model (a folder of transformers or an original `.pth`), or a CLIP, CoCa or FILIP folder of open_clip";

const OTHER_PROGRAM: &str = "expected weights of PyTorch: `model.safetensors`, `pytorch_model.bin` or an original `.pth` of the same model; publishers mostly offer one of them beside this";

const MERGE_ADAPTER: &str = "it has no weights of its own; merge it into its model with peft (`PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder)`), put the model's tokenizer and picture processor beside it, and import that folder";

pub(super) const KNOWN: &[Known] = &[
    Known {
        what: "a LoRA adapter, not a model",
        marks: &[
            Files(&["adapter_config.json"]),
            Files(&["adapter_model.safetensors"]),
            Files(&["adapter_model.bin"]),
            Tensors {
                with: &[".lora_A."],
                without: "",
            },
            Tensors {
                with: &[".lora_down."],
                without: "",
            },
        ],
        then: Refuse(MERGE_ADAPTER),
    },
    Known {
        what: "a model package, the result of an import",
        marks: &[Files(&["model.json", "weights.bin"])],
        then: Refuse(
            "use it as it is: in `caption` and `score`, on the command line or in a pipeline",
        ),
    },
    Known {
        what: "a pipeline of diffusers",
        marks: &[Files(&["model_index.json"])],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "a folder of the hub's cache",
        marks: &[Files(&["blobs", "snapshots"])],
        then: Refuse("pass the folder below its `snapshots/` that has the weights"),
    },
    Known {
        what: "weights of llama.cpp (GGUF)",
        marks: &[OnlyEnding(".gguf"), OnlyEnding(".ggml")],
        then: Refuse(OTHER_PROGRAM),
    },
    Known {
        what: "weights of TensorFlow",
        marks: &[
            OnlyEnding(".h5"),
            OnlyEnding(".tflite"),
            OnlyEnding("saved_model.pb"),
        ],
        then: Refuse(OTHER_PROGRAM),
    },
    Known {
        what: "weights of Flax",
        marks: &[OnlyEnding(".msgpack")],
        then: Refuse(OTHER_PROGRAM),
    },
    Known {
        what: "a graph of ONNX",
        marks: &[OnlyEnding(".onnx")],
        then: Refuse(OTHER_PROGRAM),
    },
    Known {
        what: "a folder of open_clip",
        marks: &[Files(&["open_clip_config.json"])],
        then: Import(Importer::OpenClip),
    },
    // Pretraining files have both text transformers, too, and the matching head.
    Known {
        what: "a BLIP that answers questions (`BlipForQuestionAnswering`, VQA)",
        marks: &[
            Architecture("BlipForQuestionAnswering"),
            Tensors {
                with: &[
                    "text_encoder.encoder.layer.",
                    "text_decoder.bert.encoder.layer.",
                ],
                without: "itm_head.",
            },
        ],
        then: Refuse(
            "it is not imported yet: its decoder reads the question's features instead of the picture's, so as a captioner it would never see the picture; expected a BLIP captioner or retrieval model",
        ),
    },
    Known {
        what: "a BLIP that compares two pictures (NLVR2)",
        marks: &[
            Tensors {
                with: &[".crossattention.self0.", ".crossattention.self1."],
                without: "",
            },
            Tensors {
                with: &[".crossattention0.", ".crossattention1."],
                without: "",
            },
        ],
        then: Refuse(
            "it is not imported: it reads two pictures at once, and nothing here gives it two; expected a BLIP captioner or retrieval model",
        ),
    },
    Known {
        what: "an ALBEF model",
        marks: &[Tensors {
            with: &["text_encoder.bert.encoder.layer."],
            without: "",
        }],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "a BLIP-2 model",
        marks: &[
            ModelType("blip-2"),
            ModelType("blip_2*"),
            Tensors {
                with: &["Qformer.bert.", "query_tokens"],
                without: "",
            },
        ],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "a BLIP folder of transformers",
        marks: &[ModelType("blip")],
        then: Import(Importer::Blip),
    },
    Known {
        what: "one half of a BLIP of transformers",
        marks: &[ModelType("blip_text_model"), ModelType("blip_vision_model")],
        then: Refuse("expected the whole model (`model_type` `blip`)"),
    },
    Known {
        what: "a CLIP model of transformers",
        marks: &[
            ModelType("clip"),
            ModelType("clip_text_model"),
            ModelType("clip_vision_model"),
            Tensors {
                with: &[
                    "text_model.embeddings.token_embedding.",
                    "vision_model.pre_layrnorm.",
                ],
                without: "",
            },
        ],
        then: Refuse(
            "it is not imported in this form yet; import open_clip's form of it: a folder with `open_clip_config.json`, the weights that open_clip saves and `tokenizer.json`",
        ),
    },
    Known {
        what: "weights of open_clip without their folder",
        marks: &[Tensors {
            with: &["visual.", "token_embedding.weight"],
            without: "vision_model.",
        }],
        then: Refuse(
            "put them into a folder as `open_clip_pytorch_model.bin` (or `open_clip_model.safetensors`) beside `open_clip_config.json` and `tokenizer.json`, and import the folder",
        ),
    },
    Known {
        what: "a SigLIP model of transformers",
        marks: &[ModelType("siglip*")],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "an InstructBLIP model",
        marks: &[ModelType("instructblip*")],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "a Florence-2 model",
        marks: &[ModelType("florence2")],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "a LLaVA model",
        marks: &[ModelType("llava*"), ModelType("vipllava")],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "a GIT model",
        marks: &[ModelType("git")],
        then: Refuse(NOT_IMPORTED),
    },
    Known {
        what: "an encoder and decoder of transformers (`VisionEncoderDecoderModel`, such as ViT-GPT2)",
        marks: &[ModelType("vision-encoder-decoder")],
        then: Refuse(NOT_IMPORTED),
    },
];
