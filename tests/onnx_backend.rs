//! The operators against the vectors of the ONNX project's own backend tests, as far as the
//! executor knows the operators. Needs the corpus: `LAPIDARY_CORPUS`, else `../shared/data`; skips without.

#![expect(clippy::unwrap_used, reason = "a test says what it finds and fails where it must")]

use lapidary::engine::Ctx;
use lapidary::engine::exec::{ExecError, Executor, Request, prepare};
use lapidary::engine::graph::Wire;
use lapidary::engine::tensor::Value;
use lapidary::pipeline::load::onnx::{decode_bytes, tensor_from_bytes};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Cases where we differ knowingly, by a part of their name, and why.
const KNOWN: [(&str, &str); 9] = [
    ("resize_downsample_sizes_nearest_not_", "sizes are rounded after the scale is, here and there differently"),
    ("resize_upsample_sizes_nearest_not_", "as above"),
    ("training", "batch normalization and dropout in training are not what this program runs"),
    ("maxpool_with_argmax", "indices of maxima are not computed"),
    ("antialias", "not implemented"),
    ("tf_crop_and_resize", "not implemented"),
    ("float8", "not computed with"),
    ("float4", "not computed with"),
    ("_string", "strings are not computed with"),
];

/// The files of a tar archive. Only plain files matter; names are short enough for the plain header.
fn untar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end_matches('\0').trim().to_owned();
    let mut files = BTreeMap::new();
    let mut at = 0;
    while at + 512 <= bytes.len() && bytes[at] != 0 {
        let header = &bytes[at..at + 512];
        let size = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        let prefix = text(&header[345..500]);
        let name = if prefix.is_empty() { text(&header[..100]) } else { format!("{prefix}/{}", text(&header[..100])) };
        if matches!(header[156], b'0' | 0) {
            files.insert(name, bytes[at + 512..at + 512 + size].to_vec());
        }
        at += 512 + size.next_multiple_of(512);
    }
    files
}

enum Outcome {
    Passed,
    /// Operators or types that are not supported.
    Unsupported,
    Failed(String),
}

fn tensor(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Option<Value> {
    let (_, stored) = tensor_from_bytes(files.get(name)?, Path::new(name)).ok()?;
    Value::from_stored(&stored).ok()
}

fn close(ours: &Value, expected: &Value) -> Result<(), String> {
    if ours.shape() != expected.shape() || ours.dtype != expected.dtype {
        return Err(format!("{} {:?} instead of {} {:?}", ours.dtype, ours.shape(), expected.dtype, expected.shape()));
    }
    let (a, b) = (ours.to_f32().map_err(|e| e.to_string())?, expected.to_f32().map_err(|e| e.to_string())?);
    let rounding = if ours.dtype.bits() == 16 && ours.dtype.is_float() { 1e-2 } else { 1e-3 };
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let fits = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 + rounding * b.abs();
        if !fits {
            return Err(format!("element {i} is {a} instead of {b}"));
        }
    }
    Ok(())
}

fn run(files: &BTreeMap<String, Vec<u8>>, folder: &str, ctx: &Ctx) -> Outcome {
    let bytes = files[&format!("{folder}/model.onnx")].clone();
    let Ok(decoded) = decode_bytes(bytes, Path::new(folder), ctx) else { return Outcome::Unsupported };
    let model = decoded.model;
    let mut feeds: Vec<(Wire, Value)> = Vec::new();
    for (i, port) in model.inputs.iter().enumerate() {
        let Some(value) = tensor(files, &format!("{folder}/test_data_set_0/input_{i}.pb")) else { return Outcome::Unsupported };
        feeds.push((port.wire.clone(), value));
    }
    let prepared = match prepare(&model) {
        Ok(prepared) => prepared,
        Err(e) => return Outcome::Failed(e.to_string()),
    };
    let executor = match Executor::new(&prepared, &Request::default()) {
        Ok(executor) => executor,
        Err(ExecError::Unsupported(_)) => return Outcome::Unsupported,
        Err(e) => return Outcome::Failed(e.to_string()),
    };
    let outputs = match executor.run(&feeds, ctx, &mut |_, _| {}) {
        Ok(outputs) => outputs,
        Err(e) => return Outcome::Failed(e.to_string()),
    };
    for (i, (wire, ours)) in outputs.iter().enumerate() {
        let Some(expected) = tensor(files, &format!("{folder}/test_data_set_0/output_{i}.pb")) else {
            return Outcome::Unsupported;
        };
        if let Err(reason) = close(ours, &expected) {
            return Outcome::Failed(format!("{wire}: {reason}"));
        }
        let inferred = prepared.facts.get(wire).and_then(lapidary::engine::graph::Fact::known_shape);
        if inferred.is_some_and(|s| s != ours.shape()) {
            return Outcome::Failed(format!("{wire}: the inferred shape is not {:?}", ours.shape()));
        }
    }
    Outcome::Passed
}

#[test]
fn operators_do_what_onnx_says() {
    let corpus = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let Ok(packed) = std::fs::read(corpus.join("onnx_backend_v1.20.0_dev.tar.gz")) else {
        println!("skipped: the corpus is not here; set LAPIDARY_CORPUS");
        return;
    };
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    let files = untar(&bytes);
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(corpus.join("onnx_backend_v1.20.0_dev_index.json")).unwrap()).unwrap();
    let ctx = Ctx::new(2).unwrap();
    let (mut passed, mut unsupported, mut failed) = (0, 0, Vec::new());
    for folder in files.keys().filter_map(|f| f.strip_suffix("/model.onnx")) {
        let name = folder.rsplit('/').next().unwrap();
        let doubtful = index[name]["ort"] != "pass" || KNOWN.iter().any(|(part, _)| name.to_lowercase().contains(part));
        if doubtful {
            continue;
        }
        match run(&files, folder, &ctx) {
            Outcome::Passed => passed += 1,
            Outcome::Unsupported => unsupported += 1,
            Outcome::Failed(reason) => failed.push(format!("{name}: {reason}")),
        }
    }
    println!("{passed} passed, {unsupported} not supported, {} failed", failed.len());
    println!("{}", failed.join("\n"));
    assert!(failed.is_empty(), "{} operators' cases fail", failed.len());
    assert!(passed >= 690, "only {passed} cases pass");
}
