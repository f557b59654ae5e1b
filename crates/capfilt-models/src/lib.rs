//! A model at work: ONNX Runtime sessions, the tokenizer, decoding loops, captioner and matcher.
