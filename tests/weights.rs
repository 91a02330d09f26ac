//! Files of weights without a graph: that they open unread and hold what their ONNX twins hold, what
//! can be done with them, and that broken ones are refused. Tests over the corpus
//! (`LAPIDARY_CORPUS`, else `../shared/data`) skip where it is absent, and say so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use lapidary::engine::Ctx;
use lapidary::engine::graph::{Attribute, Dim, Fact, LayerKind, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor};
use lapidary::pipeline::configure::presets;
use lapidary::pipeline::load::families::{Group, family};
use lapidary::pipeline::load::{self, LoadedModel, Subject, onnx};
use lapidary::workbench::work::{self, NewProject, Split};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

fn models() -> Option<PathBuf> {
    Some(common::corpus()?.join("models"))
}

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

fn open(path: &Path) -> LoadedModel {
    load::model(path, &ctx()).unwrap_or_else(|e| panic!("{e}"))
}

/// A file of f32 tensors.
fn safetensors(tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, v)| v.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views =
        tensors.iter().zip(&bytes).map(|((name, shape, _), b)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), b).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn normal(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal()).collect()
}

/// Layers, and the tensors that are none.
const FILES: [(&str, usize, usize); 8] = [
    ("mnist_burn/mnist.safetensors", 5, 15),
    ("mnist_deepconv/deep_convnet.npz", 8, 8),
    ("mnist_mlp3/mlp3.npz", 3, 3),
    ("cifar_resnet20/resnet20-12fca82f.th", 20, 77),
    ("lpips/alex.pth", 5, 0),
    ("lpips/squeeze.pth", 7, 0),
    ("lpips/vgg.pth", 5, 0),
    ("stories260K/stories260K.safetensors", 37, 11),
];

#[test]
fn every_weight_file_of_the_corpus_opens() {
    let Some(models) = models() else { return };
    for (file, layers, others) in FILES {
        let loaded = open(&models.join(file));
        assert!(!loaded.has_graph());
        let subject = Subject::new(loaded).unwrap();
        let count = subject.original.constants.len();
        assert_eq!((subject.layers.len(), count - subject.layers.len()), (layers, others), "{file}");
    }
    let context = ctx();
    let loaded = load::model(&models.join("yunet_n/yunet_n.pth"), &context).unwrap();
    assert!(context.take_warnings().iter().any(|w| w.message.contains("left aside: optimizer")));
    assert!(loaded.model.constants.keys().all(|name| !name.contains("optimizer") && !name.starts_with("state_dict")));
    assert_eq!(Subject::new(loaded).unwrap().layers.len(), 59);
}

#[test]
fn weights_are_those_of_the_onnx_twin() {
    let Some(models) = models() else { return };
    for (weights, graph, least) in [
        ("mnist_burn/mnist.safetensors", "mnist_burn/mnist_burn.onnx", 18),
        ("mnist_deepconv/deep_convnet.npz", "mnist_deepconv/deep_convnet.onnx", 16),
        ("mnist_mlp3/mlp3.npz", "mnist_mlp3/mlp3.onnx", 6),
        ("cifar_resnet20/resnet20-12fca82f.th", "cifar_resnet20/resnet20.onnx", 97),
        ("yunet_n/yunet_n.pth", "yunet_n/yunet_n_dynamic.onnx", 50),
    ] {
        let (weights, twin) = (open(&models.join(weights)).model, open(&models.join(graph)).model);
        let both: Vec<&Wire> = weights.constants.keys().filter(|w| twin.constants.contains_key(*w)).collect();
        assert!(both.len() >= least, "{graph}: {} names agree", both.len());
        for wire in both {
            let (ours, theirs) = (&weights.constants[wire], &twin.constants[wire]);
            assert_eq!((ours.dtype(), ours.shape()), (theirs.dtype(), theirs.shape()), "{graph}: {wire}");
            assert!(ours.bytes() == theirs.bytes(), "{graph}: {wire}");
        }
    }
}

#[test]
fn a_transformer_is_grouped_by_its_names() {
    let Some(models) = models() else { return };
    let subject = Subject::new(open(&models.join("stories260K/stories260K.safetensors"))).unwrap();
    let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
    for layer in subject.layers.iter() {
        *groups.entry(Group::of(layer)).or_default() += 1;
    }
    let expected = [(Group::Embedding, 1), (Group::Attention, 20), (Group::Mlp, 15), (Group::Head, 1)];
    assert_eq!(groups, BTreeMap::from(expected));
    assert!(family(&subject.original).unwrap().contains("Llama"));
    assert_eq!(subject.layers[0].kind, LayerKind::Embedding);
}

#[test]
fn a_tied_file_scores_what_its_onnx_twin_scores() {
    let Some(models) = models() else { return };
    let (folder, ctx) = (tempfile::tempdir().unwrap(), ctx());
    let graph = models.join("cifar_resnet20/resnet20.onnx");
    let report = |name: &str, model: PathBuf, graph: Option<PathBuf>| {
        let new = NewProject { model, graph, evaluate: Some(models.join("../data/cifar10/calib")), ..NewProject::default() };
        work::init(&folder.path().join(name), &new, &ctx).unwrap();
        let (_, opened) = work::open(&folder.path().join(name), &ctx).unwrap();
        opened.evaluate(&presets::preset("w4").unwrap(), Split::All, Some(50), &ctx).unwrap()
    };
    let twin = report("onnx", graph.clone(), None);
    let tied = report("tied", models.join("cifar_resnet20/resnet20-12fca82f.th"), Some(graph));
    assert_eq!((tied.metrics, tied.fidelity), (twin.metrics, twin.fidelity));
    assert_ne!(tied.model_hash, twin.model_hash);
}

fn node(id: usize, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Node {
    Node {
        id: NodeId(id),
        name: String::new(),
        op: op.to_owned(),
        domain: String::new(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(output.into())],
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), Attribute::Int(*v))).collect(),
    }
}

/// `x·first + b`, then by `second`: [N, 4] → [N, 6] → [N, 4].
fn graph(folder: &Path, first: &str, second: &str) -> PathBuf {
    let port = |name: &str, width| Port {
        wire: name.into(),
        fact: Fact { dtype: Some(DType::F32), shape: Some(vec![Dim::Named("N".into()), Dim::Known(width)]) },
    };
    let constant = |name: &str, shape: &[usize], seed| {
        (Wire::from(name), Tensor::from_f32(shape.to_vec(), &normal(seed, shape.iter().product())).unwrap())
    };
    let model = Model {
        inputs: vec![port("x", 4)],
        outputs: vec![port("z", 4)],
        nodes: vec![
            node(0, "Gemm", &["x", first, "first.bias"], "y", &[]),
            node(1, "Gemm", &["y", second], "z", &[("transB", 1)]),
        ],
        constants: [constant(first, &[4, 6], 1), constant("first.bias", &[6], 2), constant(second, &[4, 6], 3)].into(),
        opsets: [(String::new(), 13)].into(),
        ..Model::default()
    };
    let path = folder.join("graph.onnx");
    std::fs::write(&path, onnx::to_bytes(&onnx::encode(&model, &onnx::OnnxSource::empty("graph")).unwrap())).unwrap();
    path
}

fn tied(graph: &Path, tensors: &[(&str, &[usize], Vec<f32>)]) -> Result<LoadedModel, String> {
    let path = graph.with_file_name("weights.safetensors");
    std::fs::write(&path, safetensors(tensors)).unwrap();
    load::tie(open(&path), open(graph), &ctx()).map_err(|e| e.to_string())
}

#[test]
fn tensors_find_their_twins_by_name_values_or_shape() {
    let folder = tempfile::tempdir().unwrap();
    let graph = graph(folder.path(), "first.weight", "onnx::Gemm_7");
    // By name, the first across; the second by its values, across.
    let across: Vec<f32> = (0..6).flat_map(|c| (0..4).map(move |r| normal(3, 24)[r * 6 + c])).collect();
    let found = tied(
        &graph,
        &[
            ("first.weight", &[6, 4], (0..24u8).map(f32::from).collect()),
            ("first.bias", &[6], vec![9.0; 6]),
            ("second.weight", &[6, 4], across),
        ],
    )
    .unwrap();
    let values = |name: &str| found.model.constants[name].to_f32().unwrap();
    assert_eq!(values("first.weight")[..3], [0.0, 4.0, 8.0]);
    assert_eq!(values("first.bias"), [9.0; 6]);
    assert_eq!(values("onnx::Gemm_7"), normal(3, 24));
    assert!(found.has_graph() && found.externals == [graph.clone()]);
    // The file puts something before every name.
    let prefixed = [
        ("net.first.weight", &[4_usize, 6][..], vec![1.0; 24]),
        ("net.first.bias", &[6], vec![2.0; 6]),
        ("net.onnx::Gemm_7", &[4, 6], vec![3.0; 24]),
        ("aside.first.bias", &[2], vec![4.0; 2]),
    ];
    let found = tied(&graph, &prefixed).unwrap();
    assert_eq!(found.model.constants["onnx::Gemm_7"].to_f32().unwrap(), [3.0; 24]);
    // By shape alone: said so.
    let context = ctx();
    let weights = graph.with_file_name("weights.safetensors");
    std::fs::write(
        &weights,
        safetensors(&[
            ("first.weight", &[4, 6], vec![1.0; 24]),
            ("first.bias", &[6], vec![9.0; 6]),
            ("second.weight", &[6, 4], vec![2.0; 24]),
        ]),
    )
    .unwrap();
    let found = load::tie(open(&weights), open(&graph), &context).unwrap();
    assert_eq!(found.model.constants["onnx::Gemm_7"].to_f32().unwrap(), [2.0; 24]);
    let said = context.take_warnings();
    assert!(said.iter().any(|w| w.message.contains("shape alone") && w.message.contains("onnx::Gemm_7")), "{said:?}");
}

#[test]
fn what_can_be_meant_in_two_ways_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let graph = graph(folder.path(), "w1", "w2");
    let bias = ("first.bias", &[6_usize][..], vec![9.0; 6]);
    for (tensors, says) in [
        // Two matrices of one shape, neither named as in the graph.
        (vec![bias.clone(), ("a", &[4, 6][..], vec![1.0; 24]), ("b", &[6, 4], vec![2.0; 24])], "may be any of \"a\", \"b\""),
        (vec![bias.clone(), ("w1", &[4, 6], vec![1.0; 24])], "nothing in the file fits \"w2\""),
        (vec![bias.clone(), ("w1", &[4, 5], vec![1.0; 20])], "[4, 5] in the file and [4, 6]"),
        // By shape alone, and the file holds more than the graph: norms folded away?
        (
            vec![bias, ("w1", &[4, 6], vec![1.0; 24]), ("c", &[4, 6], vec![2.0; 24]), ("bn.weight", &[3], vec![1.0; 3])],
            "by shape alone",
        ),
    ] {
        let error = tied(&graph, &tensors).err().unwrap();
        assert!(error.contains(says), "{error}");
    }
    let weights = folder.path().join("weights.safetensors");
    assert!(load::tie(open(&graph), open(&graph), &ctx()).unwrap_err().to_string().contains("graph of its own"));
    assert!(load::tie(open(&weights), open(&weights), &ctx()).unwrap_err().to_string().contains("holds no graph"));
}

#[test]
fn a_graph_with_norms_folded_into_it_is_refused() {
    let Some(models) = models() else { return };
    let graph = open(&models.join("yunet_n/yunet_n_dynamic.onnx"));
    assert!(load::tie(open(&models.join("yunet_n/yunet_n.pth")), graph, &ctx()).is_err());
}

/// Weights of a small network, one of them in half floats.
fn small(folder: &Path) -> PathBuf {
    let path = folder.join("net.safetensors");
    let tensors = [
        ("embed.weight", &[16_usize, 32][..], normal(1, 512)),
        ("layers.0.mlp.up_proj.weight", &[64, 32], normal(2, 2048)),
        ("layers.0.norm.weight", &[32], vec![1.0; 32]),
        ("head.weight", &[16, 32], normal(3, 512)),
    ];
    std::fs::write(&path, safetensors(&tensors)).unwrap();
    path
}

#[test]
fn what_needs_no_forward_pass_works_on_weights() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), ctx());
    let new = NewProject { model: small(folder.path()), ..NewProject::default() };
    let root = folder.path().join("p");
    work::init(&root, &new, &ctx).unwrap();
    let (_, opened) = work::open(&root, &ctx).unwrap();
    for name in ["fp32", "w8", "w4", "w4-g32", "fp16", "prune50", "prune50-w8", "int8"] {
        let recipe = presets::preset(name).unwrap();
        let (plan, variant) = opened.compress(&recipe, &ctx).unwrap();
        assert_eq!(variant.layers.len(), 3, "{name}");
        if name == "w4" {
            assert!(variant.layers.iter().all(|l| (15.0..30.0).contains(&l.weight_sqnr_db)), "{:?}", variant.layers);
            assert!(plan.bits_per_weight < 5.1, "{}", plan.bits_per_weight);
        }
        // Nothing to round is no reason to fail, but is said.
        assert_eq!(name == "int8", plan.layers.iter().all(|l| l.refusal.as_ref().is_some_and(|r| r.contains("without a graph"))));
        let exported = opened.export(&recipe, &folder.path().join(format!("{name}.onnx")), &ctx).unwrap();
        assert_eq!(exported.bytes, plan.bytes, "{name}");
        assert!(exported.checks.iter().all(|c| c.passed), "{:?}", exported.checks);
        let again = open(&exported.path).model;
        assert_eq!(again.outputs.len(), 4, "{name}");
    }
    let error = opened.evaluate(&presets::preset("w4").unwrap(), Split::All, None, &ctx).unwrap_err().to_string();
    assert!(error.contains("without a graph") && error.contains("--graph"), "{error}");
}

#[test]
fn half_floats_are_compressed_where_no_graph_asks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let bytes: Vec<u8> = normal(1, 2048).iter().flat_map(|v| v.to_le_bytes().into_iter().skip(2)).collect();
    let view = TensorView::new(Dtype::BF16, vec![64, 32], &bytes).unwrap();
    std::fs::write(&path, safetensors::serialize([("a.weight", view)], None).unwrap()).unwrap();
    let (_, opened) = work::init(&folder.path().join("p"), &NewProject { model: path, ..NewProject::default() }, &ctx()).unwrap();
    let (plan, variant) = opened.compress(&presets::preset("w8").unwrap(), &ctx()).unwrap();
    assert!(plan.layers[0].refusal.is_none());
    assert_eq!((plan.layers[0].original_bytes, plan.layers[0].bytes), (4096, 2048 + 64 * 4));
    assert!((38.0..60.0).contains(&variant.layers[0].weight_sqnr_db), "{:?}", variant.layers[0]);
}

#[test]
fn large_files_are_not_read_before_their_values_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    let count = 10 << 20;
    let mut header =
        format!("{{\"a.weight\":{{\"dtype\":\"F32\",\"shape\":[{},1024],\"data_offsets\":[0,{}]}}}}", count / 1024, count * 4);
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + count as u64 * 4).unwrap();
    file.seek(SeekFrom::End(-4)).unwrap();
    file.write_all(&f32::NAN.to_le_bytes()).unwrap();
    drop(file);
    let context = ctx();
    let loaded = load::model(&path, &context).unwrap();
    assert_eq!(context.take_warnings(), []);
    loaded.check_values(&context).unwrap();
    let said = context.take_warnings();
    assert!(said.len() == 1 && said[0].message.starts_with("1 of 10485760"), "{said:?}");
    // Once is enough, and clones know.
    loaded.clone().check_values(&context).unwrap();
    assert_eq!(context.take_warnings(), []);
    let cancelled = ctx();
    cancelled.cancel();
    assert!(loaded.hash_within(&cancelled).is_err());
    let hash = lapidary::engine::hash::of_file(&path).unwrap();
    assert_eq!((loaded.hash_within(&context).unwrap(), loaded.hash()), (hash.as_str(), hash.as_str()));
}

/// Two shards, of which the second holds a tensor that the index leaves out.
fn shards(folder: &Path) -> PathBuf {
    let first = safetensors(&[("a.weight", &[2, 2], vec![1.0; 4])]);
    let second = safetensors(&[("b.weight", &[2, 3], vec![2.0; 6]), ("stray", &[1], vec![0.0])]);
    std::fs::write(folder.join("m-00001-of-00002.safetensors"), first).unwrap();
    std::fs::write(folder.join("m-00002-of-00002.safetensors"), second).unwrap();
    let map = r#"{"a.weight":"m-00001-of-00002.safetensors","b.weight":"m-00002-of-00002.safetensors"}"#;
    let index = folder.join("m.safetensors.index.json");
    std::fs::write(&index, format!(r#"{{"metadata":{{"total_size":40}},"weight_map":{map}}}"#)).unwrap();
    index
}

#[test]
fn shards_open_by_their_index_their_folder_or_one_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let index = shards(folder.path());
    let shard = folder.path().join("m-00002-of-00002.safetensors");
    let mut hashes = Vec::new();
    for path in [index.as_path(), folder.path(), shard.as_path()] {
        let context = ctx();
        let loaded = load::model(path, &context).unwrap();
        assert_eq!(loaded.model.constants.keys().map(|w| &**w).collect::<Vec<_>>(), ["a.weight", "b.weight"]);
        assert_eq!((loaded.externals.len(), loaded.model.name.as_str()), (2, "m"));
        assert!(context.take_warnings().iter().any(|w| w.subject == "stray"));
        hashes.push(loaded.hash().to_owned());
    }
    assert!(hashes.windows(2).all(|h| h[0] == h[1]));
    let before = hashes.remove(0);
    std::fs::write(&shard, safetensors(&[("b.weight", &[2, 3], vec![3.0; 6])])).unwrap();
    assert_ne!(open(&index).hash(), before, "a shard that changed is another model");
}

#[test]
fn an_index_names_only_what_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let index = shards(folder.path());
    for (text, says) in [
        (r#"{"weight_map":{"a":"../a.safetensors"}}"#, "not one beside it"),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, "not one beside it"),
        (r#"{"weight_map":{"a":"missing.safetensors"}}"#, "missing.safetensors"),
        (r#"{"weight_map":{"a":"m-00001-of-00002.safetensors"}}"#, "does not hold it"),
        (r#"{"weight_map":{}}"#, "no tensors"),
        (r#"{"weight_map":7}"#, "as an index"),
        ("[[[[", "as an index"),
        ("", "empty"),
    ] {
        std::fs::write(&index, text).unwrap();
        let error = load::model(&index, &ctx()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // A broken index is no reason to refuse a file that lies beside it.
    let context = ctx();
    assert_eq!(load::model(&folder.path().join("m-00001-of-00002.safetensors"), &context).unwrap().externals.len(), 0);
    assert!(context.take_warnings()[0].message.contains("opened alone"));
    let mut nested = String::from(r#"{"weight_map":"#);
    let _ = write!(nested, "{}", "[".repeat(100_000));
    std::fs::write(&index, nested).unwrap();
    assert!(load::model(&index, &ctx()).is_err());
    assert!(load::model(tempfile::tempdir().unwrap().path(), &ctx()).unwrap_err().to_string().contains("without a model"));
}

/// An archive of two arrays, one of them in Fortran order.
fn npz(compression: zip::CompressionMethod) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(compression);
    for (name, order, values) in
        [("W1", "False", [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]), ("W2", "True", [1.0, 4.0, 2.0, 5.0, 3.0, 6.0])]
    {
        let header = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (2, 3), }}\n");
        out.start_file(format!("{name}.npy"), options).unwrap();
        out.write_all(b"\x93NUMPY\x01\x00").unwrap();
        out.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        out.write_all(header.as_bytes()).unwrap();
        out.write_all(&values.map(f32::to_le_bytes).concat()).unwrap();
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn arrays_open_stored_packed_and_in_either_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.npz");
    for compression in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        std::fs::write(&path, npz(compression)).unwrap();
        let loaded = open(&path);
        for name in ["W1", "W2"] {
            assert_eq!(loaded.model.constants[name].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "{name}");
        }
    }
}

/// An archive whose directory lists one stored member under many names.
fn overlapping(names: usize) -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (512, 2), }\n";
    let array = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &[0; 4096]].concat();
    let size = (array.len() as u32).to_le_bytes();
    // Version, flags, method, time and date, checksum.
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4], &size, &size, &6_u16.to_le_bytes(), &[0; 2]].concat();
    let mut bytes = [b"PK\x03\x04", common.as_slice(), b"00.npy", &array].concat();
    let start = bytes.len() as u32;
    for i in 0..names {
        bytes.extend([b"PK\x01\x02\x14\x00", common.as_slice(), &[0; 14], format!("{i:02}.npy").as_bytes()].concat());
    }
    let (len, count) = (bytes.len() as u32 - start, (names as u16).to_le_bytes());
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &len.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat());
    bytes
}

#[test]
fn members_that_share_their_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.npz");
    std::fs::write(&path, overlapping(1)).unwrap();
    assert_eq!(open(&path).model.constants.len(), 1);
    std::fs::write(&path, overlapping(60)).unwrap();
    let error = load::model(&path, &ctx()).unwrap_err().to_string();
    assert!(error.contains("other members"), "{error}");
}

#[test]
fn broken_files_are_refused_and_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("w.safetensors", safetensors(&[("a.weight", &[2, 2], vec![1.0; 4]), ("b", &[3], vec![2.0; 3])])),
        ("stored.npz", npz(zip::CompressionMethod::Stored)),
        ("packed.npz", npz(zip::CompressionMethod::Deflated)),
    ];
    let context = Ctx::new(1).unwrap();
    for (name, whole) in files {
        let path = folder.path().join(name);
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert!(load::model(&path, &context.fresh()).is_err(), "{name} cut at {end}");
        }
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                std::fs::write(&path, &bytes).unwrap();
                // It opens, and its layers are found, or it says why not.
                if let Ok(loaded) = load::model(&path, &context.fresh()) {
                    let _ = Subject::new(loaded);
                }
            }
        }
    }
}

#[test]
fn files_of_the_corpus_are_refused_cut_and_survive_flipped_bits() {
    let Some(models) = models() else { return };
    let (folder, context) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let mut random = Random::new(5);
    for file in ["lpips/alex.pth", "yunet_n/yunet_n.pth", "cifar_resnet20/resnet20-12fca82f.th", "mnist_mlp3/mlp3.npz"] {
        let whole = std::fs::read(models.join(file)).unwrap();
        let path = folder.path().join("weights");
        // Where the description lies: the first bytes of an older file, the last of an archive.
        let described = whole.len().min(8192);
        for round in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(4) {
                let at = if round % 2 == 0 { random.below(described) } else { whole.len() - 1 - random.below(described) };
                bytes[at] = random.below(256) as u8;
            }
            std::fs::write(&path, &bytes).unwrap();
            let _ = load::model(&path, &context.fresh());
            std::fs::write(&path, &whole[..random.below(whole.len())]).unwrap();
            assert!(load::model(&path, &context.fresh()).is_err(), "{file}");
        }
    }
}
