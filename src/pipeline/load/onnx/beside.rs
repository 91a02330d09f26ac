//! Tensors in a file beside the model's own, where that would be larger than the format holds.
//! Source: ONNX's `docs/ExternalData.md` and `TensorProto.external_data` of `onnx.proto`.

use super::proto::{StringStringEntryProto, TensorProto};
use super::tensors::EXTERNAL;
use crate::engine::tensor::{DType, Tensor};

/// Smaller tensors stay in the model's own file: readers that infer shapes want their values.
const LEAST_BYTES: usize = 1024;
/// Tensors begin at pages, so that readers can map them.
const ALIGNMENT: u64 = 4096;

/// A tensor, and where in the file it begins; zeros lie between tensors.
#[derive(Debug, Clone)]
pub struct Beside {
    pub offset: u64,
    pub tensor: Tensor,
}

impl Beside {
    /// Where in the file it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.tensor.size_bytes() as u64
    }
}

/// Where one tensor lies.
pub(super) struct Place<'a> {
    location: &'a str,
    offset: u64,
    length: usize,
}

impl Place<'_> {
    /// The message of a tensor that lies there.
    pub(super) fn of(&self, proto: TensorProto) -> TensorProto {
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
        let external_data = vec![
            entry("location", self.location.to_owned()),
            entry("offset", self.offset.to_string()),
            entry("length", self.length.to_string()),
        ];
        TensorProto { external_data, data_location: Some(EXTERNAL), ..proto }
    }
}

/// Gives tensors their places, one behind the other.
pub(super) struct Shelf<'a> {
    location: &'a str,
    tensors: Vec<Beside>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(location: &'a str) -> Self {
        Self { location, tensors: Vec::new() }
    }

    /// `None` for what stays where it is: small tensors, and texts, whose bytes we do not hold.
    pub(super) fn add(&mut self, tensor: &Tensor) -> Option<Place<'a>> {
        let length = tensor.size_bytes();
        if length < LEAST_BYTES || matches!(tensor.dtype(), DType::Other(_)) {
            return None;
        }
        let offset = self.tensors.last().map_or(0, Beside::end).next_multiple_of(ALIGNMENT);
        self.tensors.push(Beside { offset, tensor: tensor.clone() });
        Some(Place { location: self.location, offset, length })
    }

    pub(super) fn into_tensors(self) -> Vec<Beside> {
        self.tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Ctx;
    use crate::engine::graph::{Dim, Fact, Model, Node, NodeId, Port, Wire};
    use crate::pipeline::load::onnx::{Encoded, OnnxSource, encode_within, encoded_len, to_bytes};
    use std::path::Path;

    /// x + a + b, of so many numbers.
    fn model(count: usize) -> Model {
        let add = |id, inputs: [&str; 2], output: &str| Node {
            id: NodeId(id),
            name: String::new(),
            op: "Add".to_owned(),
            domain: String::new(),
            inputs: inputs.map(|w| Some(Wire::from(w))).into(),
            outputs: vec![Some(output.into())],
            attributes: std::collections::BTreeMap::new(),
        };
        let fact = || Fact { dtype: Some(DType::F32), shape: Some(vec![Dim::Known(count)]) };
        let port = |wire: &str| Port { wire: wire.into(), fact: fact() };
        let values = |from: f32| Tensor::from_f32(vec![count], &vec![from; count]).unwrap();
        Model {
            name: "sum".to_owned(),
            nodes: vec![add(0, ["x", "a"], "h"), add(1, ["h", "b"], "y")],
            constants: [("a".into(), values(0.5)), ("b".into(), values(-3.0))].into(),
            inputs: vec![port("x")],
            outputs: vec![port("y")],
            opsets: [(String::new(), 13)].into(),
            ..Model::default()
        }
    }

    #[test]
    fn what_lies_beside_is_read_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (model, source) = (model(300), OnnxSource::empty("sum"));
        let Encoded::Split { graph, data } = encode_within(&model, &source, 1000, "net.onnx.data").unwrap() else {
            panic!("more than 1000 bytes")
        };
        assert_eq!(data.iter().map(|d| (d.offset, d.end())).collect::<Vec<_>>(), [(0, 1200), (4096, 5296)]);
        let mut bytes = Vec::new();
        for tensor in &data {
            bytes.resize(tensor.offset as usize, 0);
            bytes.extend(tensor.tensor.bytes().iter());
        }
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("net.onnx"), to_bytes(&graph)).unwrap();
        std::fs::write(at("net.onnx.data"), &bytes).unwrap();
        let ctx = Ctx::new(1).unwrap();
        let read = |path: &Path| crate::pipeline::load::model(path, &ctx);
        let loaded = read(&at("net.onnx")).unwrap();
        assert_eq!(loaded.externals, [at("net.onnx.data").canonicalize().unwrap()]);
        assert!(loaded.model.constants.iter().all(|(wire, t)| model.constants[wire].bytes() == t.bytes()));
        // As one file again, and small enough to be one.
        assert!(matches!(encode_within(&loaded.model, &loaded.source, 1 << 20, "x").unwrap(), Encoded::Whole(_)));
        std::fs::write(at("net.onnx.data"), &bytes[..5000]).unwrap();
        assert!(read(&at("net.onnx")).is_err(), "cut off");
    }

    #[test]
    fn the_size_of_both_files_is_foreseen() {
        let mut model = model(300);
        let large = Tensor::zeros(DType::F32, vec![1 << 15, 1 << 15]).unwrap();
        model.constants.insert("a".into(), large);
        let source = OnnxSource::empty("sum");
        let Encoded::Split { graph, data } = encode_within(&model, &source, u64::MAX, "model.onnx.data").unwrap() else {
            panic!("4 GB")
        };
        let both = to_bytes(&graph).len() as u64 + data.last().unwrap().end();
        assert_eq!(encoded_len(&model, &source).unwrap(), both);
        assert!(both > 1 << 32);
    }
}
