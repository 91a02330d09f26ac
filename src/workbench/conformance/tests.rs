use super::{ConformanceError, Outcome, run, watched};
use crate::engine::Ctx;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use crate::engine::tensor::DType;
use crate::pipeline::load::onnx;
use std::path::Path;
use std::time::Duration;

/// A `TensorProto` of one axis: dims, data type, raw data.
fn tensor(dtype: DType, count: usize, raw: &[u8]) -> Vec<u8> {
    let head = [0x08, count as u8, 0x10, dtype.onnx_code() as u8, 0x4A, raw.len() as u8];
    [&head[..], raw].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    tensor(DType::F32, values.len(), &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

/// A test of one node from `x` to `y`.
fn write(folder: &Path, op: &str, attributes: &[(&str, Attribute)], dtype: Option<DType>, input: &[u8], output: &[u8]) {
    let shape = dtype.map(|_| vec![Dim::Unknown]);
    let port = |name: &str| Port { wire: Wire::from(name), fact: Fact { dtype, shape: shape.clone() } };
    let node = Node {
        id: NodeId(0),
        name: "node".to_owned(),
        op: op.to_owned(),
        domain: String::new(),
        inputs: vec![Some("x".into())],
        outputs: vec![Some("y".into())],
        attributes: attributes.iter().map(|(name, a)| ((*name).to_owned(), a.clone())).collect(),
    };
    let model = Model {
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        nodes: vec![node],
        opsets: [(String::new(), 13)].into(),
        ..Model::default()
    };
    let set = folder.join("test_data_set_0");
    std::fs::create_dir_all(&set).unwrap();
    let proto = onnx::encode(&model, &onnx::OnnxSource::empty("test")).unwrap();
    std::fs::write(folder.join("model.onnx"), onnx::to_bytes(&proto)).unwrap();
    std::fs::write(set.join("input_0.pb"), input).unwrap();
    std::fs::write(set.join("output_0.pb"), output).unwrap();
}

/// Longer than the plain header of an archive has room for.
fn long_name() -> String {
    format!("test_{}", "long_".repeat(40))
}

fn suite(folder: &Path) {
    let (x, y) = (floats(&[-1.0, 2.0]), floats(&[0.0, 2.0]));
    let f32 = Some(DType::F32);
    write(&folder.join("node/test_relu"), "Relu", &[], f32, &x, &y);
    write(&folder.join("node").join(long_name()), "Relu", &[], f32, &x, &y);
    write(&folder.join("test_wrong"), "Relu", &[], f32, &x, &floats(&[0.0, 3.0]));
    write(&folder.join("test_shape"), "Relu", &[], f32, &x, &floats(&[0.0, 2.0, 0.0]));
    write(&folder.join("test_missing"), "Frobnicate", &[], f32, &x, &y);
    write(&folder.join("test_text"), "Identity", &[], Some(DType::from_onnx(8)), &x, &y);
    write(&folder.join("test_sequence"), "Identity", &[], None, &x, &y);
    std::fs::create_dir_all(folder.join("no_test")).unwrap();
    std::fs::write(folder.join("no_test/model.onnx"), b"").unwrap();
}

fn outcome<'a>(result: &'a super::Conformance, name: &str) -> &'a Outcome {
    &result.tests.iter().find(|t| t.name == name).unwrap().outcome
}

fn check(path: &Path) {
    let result = run(path, &Ctx::new(2).unwrap()).unwrap();
    assert_eq!((result.tests.len(), result.passed(), result.failed(), result.unsupported()), (7, 2, 2, 3), "{result:?}");
    assert_eq!(*outcome(&result, &long_name()), Outcome::Passed);
    for (name, says) in [
        ("test_wrong", "element 1 is 2 instead of 3"),
        ("test_shape", "[2] instead of float32 [3]"),
        ("test_missing", "Frobnicate (node \"node\")"),
        ("test_text", "string"),
        ("test_sequence", "no tensor"),
    ] {
        let reason = outcome(&result, name).reason().unwrap();
        assert!(reason.contains(says), "{name}: {reason}");
    }
}

#[test]
fn folders_and_archives_are_run_alike() {
    let folder = tempfile::tempdir().unwrap();
    let tests = folder.path().join("tests");
    suite(&tests);
    check(&tests);
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    archive.append_dir_all("all", &tests).unwrap();
    let packed = folder.path().join("tests.tar.gz");
    std::fs::write(&packed, archive.into_inner().unwrap().finish().unwrap()).unwrap();
    check(&packed);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", &tests).unwrap();
    let plain = folder.path().join("tests.tar");
    std::fs::write(&plain, archive.into_inner().unwrap()).unwrap();
    check(&plain);
}

#[test]
fn what_holds_no_tests_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(1).unwrap();
    assert!(matches!(run(folder.path(), &ctx), Err(ConformanceError::Empty { .. })));
    assert!(matches!(run(&folder.path().join("none"), &ctx), Err(ConformanceError::Io { .. })));
    let file = folder.path().join("broken.tar.gz");
    std::fs::write(&file, b"\x1f\x8bno archive at all").unwrap();
    assert!(matches!(run(&file, &ctx), Err(ConformanceError::Archive { .. })));
    suite(folder.path());
    ctx.cancel();
    assert!(matches!(run(folder.path(), &ctx), Err(ConformanceError::Cancelled(_))));
}

#[test]
fn panics_and_endless_tests_are_outcomes() {
    let ctx = Ctx::new(1).unwrap();
    let mut work = ctx.fresh();
    let mut watch_for =
        |limit: u64, test: fn(&Ctx) -> Outcome| watched(Duration::from_millis(limit), &mut work, &ctx, test).unwrap();
    // Printing where it happened may take a while.
    let panicking = watch_for(60_000, |_| panic!("by {}", "zero"));
    assert_eq!(panicking, Outcome::Failed("panic: by zero".to_owned()));
    let endless = watch_for(100, |ctx| {
        while ctx.check().is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Outcome::Passed
    });
    assert_eq!(endless, Outcome::Failed("stopped after 0.1 s".to_owned()));
    // One that does not listen keeps the only thread of the pool; the next gets another.
    let stubborn = watch_for(100, |ctx| {
        ctx.pool().install(|| std::thread::sleep(Duration::from_secs(10)));
        Outcome::Passed
    });
    assert!(matches!(stubborn, Outcome::Failed(_)));
    assert_eq!(watch_for(60_000, |ctx| ctx.pool().install(|| Outcome::Passed)), Outcome::Passed);
}
