//! What is opened, over the test corpus (`LAPIDARY_CORPUS`, else `../shared/data`). Where it is
//! absent these tests skip, and say so.

use lapidary::engine::Ctx;
use lapidary::engine::graph::Model;
use lapidary::pipeline::load;
use lapidary::pipeline::load::onnx;
use lapidary::pipeline::load::onnx::proto::ModelProto;
use prost::Message;
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let place = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if place.join("models").is_dir() {
        return Some(place);
    }
    eprintln!("skipped: no test corpus at {} (set LAPIDARY_CORPUS)", place.display());
    None
}

fn files_with(extension: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files_with(extension, &entry));
        } else if entry.extension().is_some_and(|e| e == extension) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

#[test]
fn every_model_of_the_corpus_opens() {
    let Some(corpus) = corpus() else { return };
    for path in files_with("onnx", &corpus.join("models")) {
        let loaded = load::model(&path, &ctx()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(loaded.model.parameters() > 0, "{}", path.display());
        assert!(!loaded.model.nodes.is_empty());
        assert!(loaded.model.data_input().is_some());
        println!(
            "{} {} nodes {} parameters, opset {}",
            path.display(),
            loaded.model.nodes.len(),
            loaded.model.parameters(),
            loaded.model.opset()
        );
    }
    for path in files_with("safetensors", &corpus.join("models")) {
        let loaded = load::model(&path, &ctx()).unwrap();
        assert_eq!(loaded.format, load::Format::Safetensors);
        assert!(loaded.model.parameters() > 100_000 && loaded.model.nodes.is_empty());
    }
}

#[test]
fn every_model_of_the_corpus_survives_a_round_trip() {
    let Some(corpus) = corpus() else { return };
    for path in files_with("onnx", &corpus.join("models")) {
        let loaded = load::model(&path, &ctx()).unwrap();
        let original = ModelProto::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
        let mut written = onnx::encode(&loaded.model, &loaded.source).unwrap();
        assert_eq!(onnx::encoded_len(&loaded.model, &loaded.source).unwrap(), written.encoded_len() as u64, "{}", path.display());
        let again = onnx::decode_bytes(written.encode_to_vec(), &path, &ctx()).unwrap();
        assert_same(&loaded.model, &again.model);
        assert!(written.ir_version() >= original.ir_version());
        written.ir_version = original.ir_version;
        assert!(written == original, "{} is not what it was", path.display());
    }
}

fn assert_same(a: &Model, b: &Model) {
    assert_eq!((&a.name, &a.inputs, &a.outputs, &a.facts, &a.opsets), (&b.name, &b.inputs, &b.outputs, &b.facts, &b.opsets));
    let nodes = |m: &Model| m.nodes.iter().map(|n| (n.id, n.op.clone(), n.inputs.clone(), n.outputs.clone())).collect::<Vec<_>>();
    assert_eq!(nodes(a), nodes(b));
    assert!(a.constants.keys().eq(b.constants.keys()));
    for (x, y) in a.constants.values().zip(b.constants.values()) {
        assert_eq!((x.dtype(), x.shape()), (y.dtype(), y.shape()));
        assert!(x.bytes() == y.bytes());
    }
}
