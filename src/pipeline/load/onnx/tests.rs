use super::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto};
use super::{OnnxSource, decode_bytes, encode, encoded_len};
use crate::engine::Ctx;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Patch, Port};
use crate::engine::tensor::{DType, Tensor};
use crate::pipeline::load::error::LoadError;
use prost::Message;
use prost::bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;

fn ctx() -> Ctx {
    Ctx::new(1).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "fields of messages are optional")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// x → Gemm(w, b from a Constant node) → Relu → y, with things that only survive when kept.
fn small() -> ModelProto {
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: some(op),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let weight = TensorProto {
        name: some("w"),
        dims: vec![2, 3],
        data_type: Some(1),
        float_data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        doc_string: some("kept"),
        ..TensorProto::default()
    };
    let bias =
        TensorProto { dims: vec![3], data_type: Some(1), raw_data: Some(Bytes::from(vec![0_u8; 12])), ..TensorProto::default() };
    let constant = NodeProto {
        attribute: vec![super::proto::AttributeProto {
            name: some("value"),
            r#type: Some(super::proto::TENSOR),
            t: Some(bias),
            ..Default::default()
        }],
        ..node("Constant", &[], "b")
    };
    let info = |name: &str, shape: Vec<Dim>| {
        super::write::value_info(&name.into(), &Fact { dtype: Some(DType::F32), shape: Some(shape) }, None)
    };
    let batch = || Dim::Named("N".into());
    let graph = GraphProto {
        name: some("small"),
        node: vec![constant, node("Gemm", &["x", "w", "b"], "h"), node("Relu", &["h"], "y")],
        initializer: vec![weight],
        input: vec![info("x", vec![batch(), Dim::Known(2)]), info("w", vec![Dim::Known(2), Dim::Known(3)])],
        output: vec![info("y", vec![batch(), Dim::Known(3)])],
        value_info: vec![ValueInfoProto { doc_string: some("hidden"), ..info("h", vec![batch(), Dim::Known(3)]) }],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: some(""), version: Some(13) }],
        producer_name: some("test"),
        metadata_props: vec![StringStringEntryProto { key: some("k"), value: some("v") }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn decode(proto: &ModelProto) -> Result<(Model, OnnxSource), LoadError> {
    decode_bytes(proto.encode_to_vec(), Path::new("small.onnx"), &ctx()).map(|d| (d.model, d.source))
}

#[test]
fn an_untouched_model_is_written_as_it_was_read() {
    let proto = small();
    let (model, source) = decode(&proto).unwrap();
    assert_eq!(model.nodes.len(), 2);
    assert_eq!(model.constants["w"].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(model.constants["b"].to_f32().unwrap(), [0.0; 3]);
    assert_eq!(encode(&model, &source).unwrap(), proto);
    assert_eq!(encoded_len(&model, &source).unwrap(), proto.encoded_len() as u64);
}

#[test]
fn changes_are_written_and_all_else_stays() {
    let (model, source) = decode(&small()).unwrap();
    let mut patch = Patch::new("quantize", &model);
    patch.set_constant("w_q".into(), Tensor::from_integers(DType::I8, vec![2, 3], &[1, 2, 3, 4, 5, 6]).unwrap());
    patch.set_constant("w_s".into(), Tensor::scalar_f32(0.5));
    patch.set_constant("b".into(), Tensor::from_f32(vec![3], &[1.0; 3]).unwrap());
    let inputs = vec![Some("w_q".into()), Some("w_s".into())];
    patch.add_node("dq", "DequantizeLinear", inputs, vec!["w_dq".into()], [("axis", Attribute::Int(1))]);
    patch.set_input(NodeId(1), 1, Some("w_dq".into()));
    let mut changed = patch.apply(&model).unwrap();
    changed.opsets.insert(String::new(), 21);
    let proto = encode(&changed, &source).unwrap();
    assert_eq!(encoded_len(&changed, &source).unwrap(), proto.encoded_len() as u64);
    assert_eq!(proto.ir_version(), 10);
    assert_eq!(proto.metadata_props, small().metadata_props);
    let graph = proto.graph.as_ref().unwrap();
    let names: Vec<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    assert_eq!(names, ["b", "w_q", "w_s"]);
    assert_eq!(graph.input.len(), 1, "the input that named the removed initializer is gone");
    assert_eq!(graph.value_info[0].doc_string(), "hidden");
    let (again, _) = decode(&proto).unwrap();
    assert_eq!(again.constants["b"].to_f32().unwrap(), [1.0; 3]);
    assert_eq!(again.constants["w_q"].dtype(), DType::I8);
    assert_eq!(again.nodes.iter().map(|n| n.op.as_str()).collect::<Vec<_>>(), ["DequantizeLinear", "Gemm", "Relu"]);
}

#[test]
fn a_reused_node_id_does_not_bring_back_the_old_node() {
    let (mut model, source) = decode(&small()).unwrap();
    let last = model.nodes.iter_mut().find(|n| n.op == "Relu").unwrap();
    last.op = "LeakyRelu".to_owned();
    last.attributes.insert("alpha".to_owned(), Attribute::Float(0.25));
    let proto = encode(&model, &source).unwrap();
    let node = proto.graph.unwrap().node.pop().unwrap();
    assert_eq!((node.op_type(), node.attribute[0].f()), ("LeakyRelu", 0.25));
}

#[test]
fn the_size_of_weights_that_do_not_exist_yet_is_exact() {
    let (model, source) = decode(&small()).unwrap();
    for n in [1, 127, 128, 129, 16_383, 16_384, 70_000] {
        let with = |tensor: Tensor| {
            let mut changed = model.clone();
            changed.constants.insert("w".into(), tensor);
            changed
        };
        let predicted = encoded_len(&with(Tensor::zeros(DType::I4, vec![n, 3]).unwrap()), &source).unwrap();
        let real = Tensor::from_integers(DType::I4, vec![n, 3], &vec![-3; 3 * n]).unwrap();
        assert_eq!(predicted, encode(&with(real), &source).unwrap().encode_to_vec().len() as u64, "{n}");
    }
}

#[test]
fn more_than_two_gigabytes_is_refused_before_anything_is_made() {
    let (mut model, source) = decode(&small()).unwrap();
    model.constants.insert("w".into(), Tensor::zeros(DType::F32, vec![1 << 15, 1 << 15]).unwrap());
    assert!(matches!(encode(&model, &source), Err(LoadError::TooLarge { .. })));
}

#[test]
fn a_model_made_in_memory_can_be_written() {
    let node = Node {
        id: NodeId(0),
        name: "twice".to_owned(),
        op: "Add".to_owned(),
        domain: String::new(),
        inputs: vec![Some("x".into()), Some("c".into())],
        outputs: vec![Some("y".into())],
        attributes: BTreeMap::new(),
    };
    let port = |wire: &str| Port {
        wire: wire.into(),
        fact: Fact { dtype: Some(DType::F32), shape: Some(vec![Dim::Named("N".into()), Dim::Known(2)]) },
    };
    let model = Model {
        name: "made".to_owned(),
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        nodes: vec![node],
        constants: BTreeMap::from([("c".into(), Tensor::from_f32(vec![2], &[1.0, 2.0]).unwrap())]),
        opsets: BTreeMap::from([(String::new(), 17)]),
        ..Model::default()
    };
    let proto = encode(&model, &OnnxSource::empty("made")).unwrap();
    assert_eq!((proto.ir_version(), proto.producer_name()), (8, "lapidary"));
    let (again, _) = decode(&proto).unwrap();
    assert_eq!(again.inputs, model.inputs);
    assert_eq!(again.constants["c"].to_f32().unwrap(), [1.0, 2.0]);
}

#[expect(clippy::needless_pass_by_value, reason = "tensors are made in the call")]
fn one_tensor(tensor: TensorProto) -> Result<Tensor, LoadError> {
    super::tensor_from_bytes(&tensor.encode_to_vec(), Path::new("t.pb")).map(|(_, t)| t)
}

#[test]
fn every_field_of_a_tensor_is_read() {
    let with = |data_type, dims: Vec<i64>| TensorProto { data_type: Some(data_type), dims, ..TensorProto::default() };
    let half = i32::from(half::f16::from_f32(-1.5).to_bits());
    let t = one_tensor(TensorProto { int32_data: vec![half, 0], ..with(10, vec![2]) }).unwrap();
    assert_eq!(t.to_f32().unwrap(), [-1.5, 0.0]);
    let brain = i32::from(half::bf16::from_f32(3.0).to_bits());
    assert_eq!(one_tensor(TensorProto { int32_data: vec![brain], ..with(16, vec![1]) }).unwrap().to_f32().unwrap(), [3.0]);
    let t = one_tensor(TensorProto { int32_data: vec![0xE1, 0x07], ..with(22, vec![3]) }).unwrap();
    assert_eq!(t.to_i64().unwrap(), [1, -2, 7]);
    let t = one_tensor(TensorProto { int32_data: vec![-3, 5], ..with(3, vec![2]) }).unwrap();
    assert_eq!(t.to_i64().unwrap(), [-3, 5]);
    let t = one_tensor(TensorProto { uint64_data: vec![7], ..with(12, vec![1]) }).unwrap();
    assert_eq!(t.to_i64().unwrap(), [7]);
    let t = one_tensor(TensorProto { double_data: vec![0.5], ..with(11, vec![]) }).unwrap();
    assert_eq!(t.to_f32().unwrap(), [0.5]);
    let t = one_tensor(TensorProto { int64_data: vec![-9], ..with(7, vec![1]) }).unwrap();
    assert_eq!(t.to_i64().unwrap(), [-9]);
    assert!(one_tensor(TensorProto { float_data: vec![1.0], ..with(1, vec![2]) }).is_err());
    assert!(one_tensor(TensorProto { float_data: vec![1.0], ..with(1, vec![-1]) }).is_err());
    assert!(one_tensor(with(1, vec![i64::MAX, i64::MAX])).is_err());
}

#[test]
fn every_truncation_is_an_error_or_a_model_and_never_a_panic() {
    let bytes = small().encode_to_vec();
    for end in 0..bytes.len() {
        let result = decode_bytes(bytes[..end].to_vec(), Path::new("cut.onnx"), &ctx());
        match result {
            Err(error) => assert!(error.to_string().contains("cut.onnx")),
            // Only what the format lets go without a trace: the properties behind the model.
            Ok(d) => assert!(d.model.nodes.len() == 2 && d.model.opset() == 13, "{end} of {} bytes", bytes.len()),
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let bytes = small().encode_to_vec();
    let mut state = 1_u64;
    for _ in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut broken = bytes.clone();
        let place = (state >> 33) as usize % broken.len();
        broken[place] = (state >> 24) as u8;
        if let Ok(decoded) = decode_bytes(broken, Path::new("flipped.onnx"), &ctx()) {
            let _ = encode(&decoded.model, &decoded.source).map(|p| p.encode_to_vec());
        }
    }
}

fn with_external(folder: &Path, location: &str, length: Option<&str>) -> Result<Model, LoadError> {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: some(key), value: some(value) };
    let mut proto = small();
    let weight = &mut proto.graph.as_mut().unwrap().initializer[0];
    weight.float_data.clear();
    weight.data_location = Some(1);
    weight.external_data = vec![entry("location", location), entry("offset", "4")];
    weight.external_data.extend(length.map(|l| entry("length", l)));
    let path = folder.join("model.onnx");
    std::fs::write(&path, proto.encode_to_vec()).unwrap();
    let loaded = crate::pipeline::load::model(&path, &ctx())?;
    assert_eq!(loaded.bytes, proto.encoded_len() as u64 + 28);
    let inline = encode(&loaded.model, &loaded.source).unwrap();
    assert_eq!(encoded_len(&loaded.model, &loaded.source).unwrap(), inline.encoded_len() as u64);
    assert_eq!(decode(&inline).unwrap().0.constants["w"].to_f32().unwrap(), [0.5; 6]);
    Ok(loaded.model)
}

#[test]
fn external_data_is_read_from_the_folder_of_the_model_and_nowhere_else() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    let data: Vec<u8> = std::iter::repeat_n(0.5_f32.to_le_bytes(), 7).flatten().collect();
    std::fs::write(folder.join("w.bin"), &data).unwrap();
    std::fs::write(outer.path().join("out.bin"), &data).unwrap();
    assert_eq!(with_external(&folder, "w.bin", Some("24")).unwrap().constants["w"].to_f32().unwrap(), [0.5; 6]);
    with_external(&folder, "./w.bin", None).unwrap();
    let absolute = outer.path().join("out.bin");
    for (location, length) in [
        ("../out.bin", Some("24")),
        (absolute.to_str().unwrap(), Some("24")),
        ("missing.bin", Some("24")),
        ("w.bin", Some("25")),
        ("w.bin", Some("-1")),
        ("w.bin", Some("99999999999999999999")),
        ("w.bin", Some("18446744073709551615")),
        ("w.bin", Some("20")),
    ] {
        let error = with_external(&folder, location, length).unwrap_err();
        assert!(matches!(error, LoadError::External { .. }), "{location} {length:?}: {error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&absolute, folder.join("link.bin")).unwrap();
        assert!(with_external(&folder, "link.bin", None).is_err());
    }
}
