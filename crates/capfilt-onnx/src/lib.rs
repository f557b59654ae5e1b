//! A model at rest: packages, ONNX graphs, checkpoint import.
