//! ONNX: the messages of the format, and both ways between them and a [`crate::engine::graph::Model`].
//!
//! What was read is kept as [`OnnxSource`], so that writing a model again changes only what was
//! changed in it: names, documentation, annotations and fields unknown to us survive.

mod beside;
mod decode;
mod encode;
pub mod proto;
mod tensors;
#[cfg(test)]
mod tests;
mod write;

pub use beside::Beside;
pub use decode::{Decoded, decode_bytes, decode_file};
pub use encode::{Encoded, LIMIT_BYTES, encode, encode_within, encoded_len};
pub use tensors::tensor_from_bytes;

use crate::engine::graph::{Attribute, Wire};
use crate::engine::tensor::Tensor;
use proto::{GraphProto, ModelProto};
use std::collections::BTreeMap;

/// Where a constant of a model came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Initializer(usize),
    Sparse(usize),
    /// A `Constant` node, by its place in the file.
    Node(usize),
}

/// One constant as it was read.
#[derive(Debug, Clone)]
struct Origin {
    home: Home,
    tensor: Tensor,
}

/// The file that a model was read from. The bytes of its tensors stay in the memory map.
#[derive(Debug, Clone, Default)]
pub struct OnnxSource {
    /// Everything but the graph.
    shell: ModelProto,
    graph: GraphProto,
    constants: BTreeMap<Wire, Origin>,
    /// Attributes of the nodes as they were read: what a node in the model is compared with.
    attributes: Vec<BTreeMap<String, Attribute>>,
}

impl OnnxSource {
    /// The source of a model that was made in memory: nothing, but for who made it.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self {
            shell: ModelProto {
                producer_name: Some("lapidary".to_owned()),
                producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                ..ModelProto::default()
            },
            graph: GraphProto { name: Some(name.to_owned()), ..GraphProto::default() },
            ..Self::default()
        }
    }

    /// Name and version of the program that made the file, as far as it says.
    #[must_use]
    pub fn producer(&self) -> String {
        format!("{} {}", self.shell.producer_name(), self.shell.producer_version()).trim().to_owned()
    }

    /// Version of the file format.
    #[must_use]
    pub fn ir_version(&self) -> i64 {
        self.shell.ir_version()
    }
}

/// The bytes of a file that holds `proto`.
#[must_use]
pub fn to_bytes(proto: &ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(proto)
}
