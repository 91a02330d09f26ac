//! [`Model`] → the messages of an ONNX file.
