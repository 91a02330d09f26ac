//! What is opened, over the test corpus (`LAPIDARY_CORPUS`, else `../shared/data`). Where it is
//! absent these tests skip, and say so.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::corpus;
use lapidary::engine::Ctx;
use lapidary::engine::graph::Model;
use lapidary::pipeline::load;
use lapidary::pipeline::load::onnx;
use lapidary::pipeline::load::onnx::proto::ModelProto;
use lapidary::pipeline::load::{Channels, Preprocess};
use prost::Message;
use std::path::{Path, PathBuf};

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

/// Writes the array `name` of an `.npz` as a data set of its own.
fn unpack(npz: &Path, name: &str, to: &Path) -> PathBuf {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(npz).unwrap()).unwrap();
    let path = to.join("array.npy");
    std::io::copy(&mut archive.by_name(&format!("{name}.npy")).unwrap(), &mut std::fs::File::create(&path).unwrap()).unwrap();
    path
}

/// Model, its input, its data, the preprocessing, and how far a value may lie from the reference:
/// nothing where the format loses nothing; JPEG decoders smooth colors differently, by up to 4 of 256
/// levels and 0.15 in the mean here.
fn references() -> Vec<(&'static str, &'static str, &'static str, &'static str, Preprocess, f32)> {
    let plain = Preprocess::default;
    let burn = Preprocess { scale: Some(255.0), mean: vec![0.1307], std: vec![0.3081], ..plain() };
    let cifar = Preprocess { scale: Some(255.0), mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225], ..plain() };
    let mobilenet = Preprocess {
        resize: Some(146),
        crop: Some(128),
        scale: Some(127.5),
        mean: vec![1.0; 3],
        std: vec![1.0; 3],
        label_offset: 1,
        ..plain()
    };
    let squeezenet = Preprocess { crop: Some(227), channels: Some(Channels::Bgr), mean: vec![104.0, 117.0, 123.0], ..plain() };
    vec![
        ("mnist_burn", "mnist_burn/mnist_burn.onnx", "mnist", "input", burn, 0.0),
        ("mnist_cntk", "mnist_cntk/opt-mnist.onnx", "mnist/images-idx3-ubyte.gz", "Input3", plain(), 0.0),
        ("mnist_mlp3", "mnist_mlp3/mlp3.onnx", "mnist", "input", Preprocess { scale: Some(255.0), ..plain() }, 0.0),
        ("cifar_resnet20", "cifar_resnet20/resnet20.onnx", "cifar10/eval", "input", cifar, 0.0),
        ("mlperf_resnet8", "mlperf_resnet8/resnet8_cifar10.onnx", "cifar10/eval", "input", plain(), 0.0),
        ("mlperf_kws", "mlperf_kws/kws_dscnn_fp32.onnx", "kws500/kws500_xy.npz", "mfcc", plain(), 0.0),
        ("squeezenet_dc", "squeezenet_dc/squeezenet_v1.0_dc.onnx", "imagenet500", "data", squeezenet, 8.0),
        (
            "mobilenet_v1_025_128",
            "mobilenet_v1_025_128/mobilenet_v1_0.25_128.dequant.onnx",
            "imagenet500",
            "input",
            mobilenet,
            8.0 / 127.5,
        ),
    ]
}

#[test]
fn samples_reach_the_model_as_in_the_reference() {
    let Some(corpus) = corpus() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, model, data, input, preprocess, tolerance) in references() {
        let loaded = load::model(&corpus.join("models").join(model), &ctx()).unwrap();
        let port = loaded.model.data_input().unwrap();
        let set = load::dataset(&corpus.join("data").join(data), &preprocess, port, &ctx()).unwrap();
        let golden = unpack(&corpus.join(format!("golden/{name}.npz")), &format!("in:{input}"), folder.path());
        let golden = load::dataset(&golden, &Preprocess::default(), port, &ctx()).unwrap();
        let indices: Vec<usize> = (0..golden.len()).collect();
        let (ours, theirs) = (set.batch(&indices, &ctx()).unwrap(), golden.batch(&indices, &ctx()).unwrap());
        assert_eq!(ours.shape(), theirs.shape(), "{name}");
        let pairs = ours.to_f32().unwrap().into_iter().zip(theirs.to_f32().unwrap());
        let gaps: Vec<f32> = pairs.map(|(a, b)| (a - b).abs()).collect();
        let (worst, mean) = (gaps.iter().copied().fold(0.0, f32::max), gaps.iter().sum::<f32>() / gaps.len() as f32);
        assert!(worst <= tolerance && mean <= tolerance / 32.0, "{name}: worst {worst}, mean {mean}");
        println!("{name}: {} samples, {} classes, worst {worst}, mean {mean}", set.len(), set.classes.len());
    }
}

#[test]
fn predicting_the_size_of_a_file_fits_into_a_frame() {
    let Some(corpus) = corpus() else { return };
    let loaded = load::model(&corpus.join("models/cifar_resnet20/resnet20.onnx"), &ctx()).unwrap();
    let start = std::time::Instant::now();
    for _ in 0..100 {
        onnx::encoded_len(&loaded.model, &loaded.source).unwrap();
    }
    let each = start.elapsed() / 100;
    println!("encoded_len of {} nodes: {each:?}", loaded.model.nodes.len());
    assert!(each.as_millis() < 5, "{each:?}");
}
