//! Models to be changed: some made here, and those of the ONNX suite where it is at hand.

use lapidary::engine::Ctx;
use lapidary::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::tensor::{DType, Tensor, Value};
use lapidary::pipeline::load::onnx::{decode_bytes, tensor_from_bytes};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Larger models take their time without showing more.
const LARGEST: usize = 200 << 10;

#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub model: Model,
    pub feeds: Vec<(Wire, Value)>,
}

/// One node on an f32 input `x`, further inputs constant.
fn one(op: &str, shape: &[usize], constants: &[(&str, Tensor)], outputs: usize, attributes: &[(&str, Attribute)]) -> Case {
    let dims = shape.iter().map(|&d| Dim::Known(d)).collect();
    let inputs = std::iter::once("x").chain(constants.iter().map(|(k, _)| *k)).map(|w| Some(w.into())).collect();
    let wires: Vec<Wire> = (0..outputs).map(|i| format!("y{i}").into()).collect();
    let node = Node {
        id: NodeId(0),
        name: op.to_lowercase(),
        op: op.to_owned(),
        domain: String::new(),
        inputs,
        outputs: wires.iter().cloned().map(Some).collect(),
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
    };
    let model = Model {
        inputs: vec![Port { wire: "x".into(), fact: Fact { dtype: Some(DType::F32), shape: Some(dims) } }],
        outputs: wires.into_iter().map(|wire| Port { wire, fact: Fact::default() }).collect(),
        nodes: vec![node],
        constants: constants.iter().map(|(k, v)| (Wire::from(*k), v.clone())).collect(),
        opsets: [(String::new(), 18)].into(),
        ..Model::default()
    };
    let values = (0..shape.iter().product::<usize>()).map(|v| v as f32 - 3.0).collect();
    Case { name: format!("built-in {op}"), model, feeds: vec![("x".into(), Value::from_f32(values, shape).unwrap())] }
}

pub fn built_in() -> Vec<Case> {
    let ints = |v: &[i64]| Tensor::from_i64(vec![v.len()], v).unwrap();
    let floats = |shape: &[usize]| Tensor::from_f32(shape.to_vec(), &vec![0.5; shape.iter().product()]).unwrap();
    let list = |v: &[i64]| Attribute::Ints(v.to_vec());
    let image = [2, 4, 5, 5];
    vec![
        one(
            "Conv",
            &image,
            &[("w", floats(&[6, 2, 3, 3])), ("b", floats(&[6]))],
            1,
            &[("group", Attribute::Int(2)), ("pads", list(&[1; 4]))],
        ),
        one(
            "ConvTranspose",
            &image,
            &[("w", floats(&[4, 3, 2, 2]))],
            1,
            &[("strides", list(&[2, 2])), ("output_padding", list(&[1, 0]))],
        ),
        one("MaxPool", &image, &[], 1, &[("kernel_shape", list(&[2, 2])), ("strides", list(&[2, 2]))]),
        one("AveragePool", &image, &[], 1, &[("kernel_shape", list(&[3, 3])), ("ceil_mode", Attribute::Int(1))]),
        one("Gemm", &[3, 4], &[("w", floats(&[5, 4])), ("b", floats(&[5]))], 1, &[("transB", Attribute::Int(1))]),
        one("MatMul", &[2, 3, 4], &[("w", floats(&[4, 5]))], 1, &[]),
        one(
            "BatchNormalization",
            &image,
            &[("a", floats(&[4])), ("b", floats(&[4])), ("c", floats(&[4])), ("d", floats(&[4]))],
            1,
            &[],
        ),
        one("Slice", &image, &[("s", ints(&[1])), ("e", ints(&[3])), ("a", ints(&[2])), ("t", ints(&[1]))], 1, &[]),
        one("Pad", &image, &[("p", ints(&[0, 0, 1, 1, 0, 0, 1, 1]))], 1, &[("mode", Attribute::Text("reflect".into()))]),
        one("Resize", &image, &[("r", floats(&[0])), ("s", Tensor::from_f32(vec![4], &[1.0, 1.0, 2.0, 2.0]).unwrap())], 1, &[]),
        one("TopK", &image, &[("k", ints(&[2]))], 2, &[("axis", Attribute::Int(1))]),
        one("Split", &image, &[("s", ints(&[1, 3]))], 2, &[("axis", Attribute::Int(1))]),
        one("QuantizeLinear", &image, &[("s", floats(&[4]))], 1, &[("axis", Attribute::Int(1))]),
        one("ReduceMean", &image, &[("a", ints(&[2, 3]))], 1, &[("keepdims", Attribute::Int(0))]),
    ]
}

/// The small models of the ONNX suite with their inputs; none where the corpus is not at hand.
pub fn suite() -> Vec<Case> {
    let corpus = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let Ok(packed) = std::fs::read(corpus.join("onnx_backend_v1.20.0_dev.tar.gz")) else { return Vec::new() };
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    let files = untar(&bytes);
    let ctx = Ctx::new(1).unwrap();
    files.keys().filter_map(|f| f.strip_suffix("/model.onnx")).filter_map(|folder| case(&files, folder, &ctx)).collect()
}

fn case(files: &BTreeMap<String, &[u8]>, folder: &str, ctx: &Ctx) -> Option<Case> {
    let bytes = files.get(&format!("{folder}/model.onnx"))?;
    if bytes.len() > LARGEST {
        return None;
    }
    let model = decode_bytes(bytes.to_vec(), Path::new(folder), ctx).ok()?.model;
    let feed = |(i, port): (usize, &Port)| -> Option<(Wire, Value)> {
        let name = format!("{folder}/test_data_set_0/input_{i}.pb");
        let (_, stored) = tensor_from_bytes(files.get(&name)?, Path::new(&name)).ok()?;
        Some((port.wire.clone(), Value::from_stored(&stored).ok()?))
    };
    let feeds = model.inputs.iter().enumerate().map(feed).collect::<Option<Vec<(Wire, Value)>>>()?;
    let small = feeds.iter().map(|(_, v)| v.shape().iter().product::<usize>()).sum::<usize>() * 4 < LARGEST;
    small.then(|| Case { name: folder.rsplit('/').next().unwrap_or(folder).to_owned(), model, feeds })
}

/// The plain files of a tar archive.
fn untar(bytes: &[u8]) -> BTreeMap<String, &[u8]> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end_matches('\0').trim().to_owned();
    let mut files = BTreeMap::new();
    let mut at = 0;
    while at + 512 <= bytes.len() && bytes[at] != 0 {
        let header = &bytes[at..at + 512];
        let size = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        let prefix = text(&header[345..500]);
        let name = if prefix.is_empty() { text(&header[..100]) } else { format!("{prefix}/{}", text(&header[..100])) };
        files.insert(name, &bytes[at + 512..at + 512 + size]);
        at += 512 + size.next_multiple_of(512);
    }
    files
}
