//! GGUF files: what is written is read, what is wrong is refused, and the corpus (`LAPIDARY_CORPUS`, else
//! `../shared/data`) opens with the values that its other formats hold. Where it is absent, that test
//! skips, and says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use lapidary::engine::Ctx;
use lapidary::engine::formats::blocks::BlockFormat;
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor};
use lapidary::pipeline::compress;
use lapidary::pipeline::configure::{self, FileFormat, presets};
use lapidary::pipeline::evaluate::{self, Settings, Subjects};
use lapidary::pipeline::export::gguf::{self as writer, GgufError};
use lapidary::pipeline::load::gguf::{self, Gguf, Metadata, Value};
use lapidary::pipeline::load::{self, LoadError, Preprocess, Subject, imatrix};
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::PathBuf;

fn stories() -> Option<PathBuf> {
    Some(common::corpus()?.join("models/stories260K"))
}

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

/// Opens bytes as a file of that name, with the warnings.
fn opened(bytes: &[u8]) -> (Result<Gguf, LoadError>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let ctx = ctx();
    let result = gguf::open(&path, &ctx);
    (result, ctx.take_warnings().iter().map(|w| format!("{}: {}", w.subject, w.message)).collect())
}

fn refusal(bytes: &[u8]) -> String {
    opened(bytes).0.map(|_| ()).unwrap_err().to_string()
}

fn metadata() -> Metadata {
    let texts = ["", "▁a", "b"].map(|t| Value::Text(t.to_owned()));
    [
        ("general.architecture", Value::Text("llama".to_owned())),
        ("a.u8", Value::U8(255)),
        ("a.i8", Value::I8(-128)),
        ("a.u16", Value::U16(65535)),
        ("a.i16", Value::I16(-2)),
        ("a.u32", Value::U32(7)),
        ("a.i32", Value::I32(-7)),
        ("a.f32", Value::F32(1e-5)),
        ("a.bool", Value::Bool(true)),
        ("a.u64", Value::U64(u64::MAX)),
        ("a.i64", Value::I64(i64::MIN)),
        ("a.f64", Value::F64(0.1)),
        ("a.texts", Value::Array(8, texts.to_vec())),
        (
            "a.tokens",
            Value::Array(8, vec![Value::Bytes(vec![0xC3]), Value::Bytes(vec![0xE2, 0x96]), Value::Text("▖".to_owned())]),
        ),
        ("a.none", Value::Array(6, Vec::new())),
        ("a.nested", Value::Array(9, vec![Value::Array(0, vec![Value::U8(1)]), Value::Array(0, Vec::new())])),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect()
}

/// One tensor of every element type that GGUF and we have in common.
fn tensors() -> Vec<(String, Tensor)> {
    let mut random = Random::new(4);
    let values: Vec<f32> = (0..3 * 256).map(|_| random.normal()).collect();
    let integers: Vec<i64> = (0..6).map(|i| i * 20 - 60).collect();
    let blocks = BlockFormat::ALL.map(|f| Tensor::from_floats(DType::Block(f), vec![3, 256], &values).unwrap());
    let floats = [DType::F32, DType::F16, DType::BF16].map(|d| Tensor::from_floats(d, vec![3, 4, 8, 8], &values).unwrap());
    let whole = [DType::I8, DType::I16, DType::I32, DType::I64].map(|d| Tensor::from_integers(d, vec![2, 3], &integers).unwrap());
    let double = Tensor::from_bytes(DType::F64, vec![1], 2.5_f64.to_le_bytes().to_vec()).unwrap();
    let all = blocks.into_iter().chain(floats).chain(whole).chain([double, Tensor::scalar_f32(3.0)]);
    all.enumerate().map(|(i, t)| (format!("t{i}.weight"), t)).collect()
}

fn written(metadata: &Metadata, tensors: &[(String, Tensor)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    writer::write(metadata, tensors, &mut bytes).unwrap();
    assert_eq!(writer::file_len(metadata, tensors).unwrap(), bytes.len() as u64);
    bytes
}

#[test]
fn what_is_written_is_read() {
    for alignment in [None, Some(Value::U32(64)), Some(Value::U32(8))] {
        let mut metadata = metadata();
        metadata.extend(alignment.map(|a| (gguf::ALIGNMENT_KEY.to_owned(), a)));
        let (file, warnings) = opened(&written(&metadata, &tensors()));
        let file = file.unwrap();
        assert_eq!((file.version, &file.metadata, warnings.len()), (3, &metadata, 0));
        assert_eq!(file.model.constants.len(), tensors().len());
        for (name, tensor) in tensors() {
            let read = &file.model.constants[name.as_str()];
            assert_eq!((read.dtype(), read.shape()), (tensor.dtype(), tensor.shape()), "{name}");
            assert!(read.bytes() == tensor.bytes() && read.to_f32().unwrap() == tensor.to_f32().unwrap(), "{name}");
        }
    }
}

#[test]
fn what_gguf_cannot_hold_is_refused() {
    let write = |metadata: &Metadata, tensors: &[(String, Tensor)]| writer::write(metadata, tensors, &mut Vec::new());
    let named = |name: &str, tensor: Tensor| vec![(name.to_owned(), tensor)];
    let scalar = || Tensor::scalar_f32(1.0);
    let none = Metadata::new();
    for (tensors, says) in [
        (named("w", Tensor::scalar_u8(1)), "uint8"),
        (named("w", scalar().reshaped(vec![1; 5]).unwrap()), "5 dimensions"),
        (named(&"n".repeat(64), scalar()), "63 bytes"),
        ([named("w", scalar()), named("w", scalar())].concat(), "two"),
    ] {
        let error = write(&none, &tensors).unwrap_err();
        assert!(matches!(&error, GgufError::Tensor { .. }) && error.to_string().contains(says), "{error}");
    }
    for (key, value) in [("a", Value::Array(0, vec![Value::U32(1)])), (gguf::ALIGNMENT_KEY, Value::U32(3))] {
        let error = write(&[(key.to_owned(), value)].into(), &[]).unwrap_err();
        assert!(matches!(&error, GgufError::Metadata { key: k, .. } if k == key), "{error}");
    }
}

/// The head of a file by hand: counts, one key of a value with its type, one tensor.
struct Head {
    version: u32,
    tensors: u64,
    keys: u64,
    value: Vec<u8>,
    infos: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn info(name: &str, dims: &[u64], code: u32, place: u64) -> Vec<u8> {
    let dims: Vec<u8> =
        [&(dims.len() as u32).to_le_bytes()[..], &dims.iter().flat_map(|d| d.to_le_bytes()).collect::<Vec<_>>()].concat();
    [text(name), dims, code.to_le_bytes().to_vec(), place.to_le_bytes().to_vec()].concat()
}

impl Head {
    fn good() -> Self {
        Self {
            version: 3,
            tensors: 1,
            keys: 1,
            value: [&4_u32.to_le_bytes()[..], &1_u32.to_le_bytes()].concat(),
            infos: info("w", &[4, 2], 0, 0),
        }
    }

    /// With 64 bytes of data.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            [b"GGUF", &self.version.to_le_bytes()[..], &self.tensors.to_le_bytes(), &self.keys.to_le_bytes()].concat();
        bytes.extend(text("key"));
        bytes.extend(&self.value);
        bytes.extend(&self.infos);
        bytes.resize(bytes.len().next_multiple_of(32) + 64, 1);
        bytes
    }
}

#[test]
fn dimensions_are_turned_round_in_both_versions() {
    for version in [2, 3] {
        let file = opened(&Head { version, ..Head::good() }.bytes()).0.unwrap();
        assert_eq!((file.model.constants["w"].shape(), &file.metadata["key"]), (&[2, 4][..], &Value::U32(1)));
    }
}

#[test]
fn lies_are_refused() {
    let value = |code: u32, rest: &[u8]| [&code.to_le_bytes()[..], rest].concat();
    let array = |of: u32, count: u64| value(9, &[&of.to_le_bytes()[..], &count.to_le_bytes()].concat());
    let nested = (0..9).fold(value(9, &[]), |bytes, _| [bytes, value(9, &1_u64.to_le_bytes())].concat());
    let two = |place| [info("w", &[8], 0, 0), info("v", &[8], 0, place)].concat();
    let cases: [(Head, &str); 23] = [
        (Head { version: 1, ..Head::good() }, "version 1"),
        (Head { version: 4, ..Head::good() }, "version 4"),
        (Head { version: 3 << 24, ..Head::good() }, "big-endian"),
        (Head { tensors: u64::MAX, ..Head::good() }, "tensors"),
        (Head { tensors: 4_000_000_000, ..Head::good() }, "tensors"),
        (Head { keys: 1 << 62, ..Head::good() }, "keys"),
        (Head { value: value(13, &[]), ..Head::good() }, "unknown type 13"),
        (Head { value: value(8, &u64::MAX.to_le_bytes()), ..Head::good() }, "bytes of text"),
        (Head { value: array(0, u64::MAX), ..Head::good() }, "items"),
        (Head { value: array(8, 1 << 40), ..Head::good() }, "items"),
        (Head { value: array(77, 0), ..Head::good() }, "unknown type 77"),
        (Head { value: nested, ..Head::good() }, "nests"),
        (Head { infos: info("w", &[1; 5], 0, 0), ..Head::good() }, "5 dimensions"),
        (Head { infos: info("w", &[u64::MAX, 2], 0, 0), ..Head::good() }, "more elements"),
        (Head { infos: info("w", &[1 << 61, 8], 0, 0), ..Head::good() }, "more elements"),
        (Head { infos: info("w", &[17], 0, 0), ..Head::good() }, "outside the file"),
        (Head { infos: info("w", &[4], 0, 96), ..Head::good() }, "outside the file"),
        (Head { infos: info("w", &[4], 0, u64::MAX - 31), ..Head::good() }, "outside the file"),
        (Head { infos: info("w", &[4], 0, 4), ..Head::good() }, "no multiple"),
        (Head { infos: info("w", &[33], 8, 0), ..Head::good() }, "blocks of 32"),
        (Head { infos: info("w", &[], 14, 0), ..Head::good() }, "blocks of 256"),
        (Head { tensors: 2, infos: [info("w", &[9], 0, 0), info("v", &[8], 0, 32)].concat(), ..Head::good() }, "overlaps"),
        (Head { tensors: 2, infos: [two(32)[..44].to_vec(), info("w", &[1], 0, 32)].concat(), ..Head::good() }, ""),
    ];
    for (head, says) in cases {
        let text = refusal(&head.bytes());
        assert!(text.contains(says) && text.contains("model.gguf"), "{says}: {text}");
    }
    let twice = Head { tensors: 2, infos: [info("w", &[8], 0, 0), info("w", &[8], 0, 32)].concat(), ..Head::good() };
    assert!(refusal(&twice.bytes()).contains("two of that name"));
    assert!(opened(&Head { tensors: 2, infos: two(32), ..Head::good() }.bytes()).0.is_ok());
    for bad in [0_u32, 3, 1 << 30] {
        let mut metadata = Metadata::new();
        metadata.insert("general.alignmenT".to_owned(), Value::U32(bad));
        let bytes = written(&metadata, &[]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let at = text.find("alignmenT").unwrap() + 8;
        let mut bytes = bytes;
        bytes[at] = b't';
        assert!(refusal(&bytes).contains("alignment"), "{bad}");
    }
}

#[test]
fn types_that_we_lack_are_left_out_by_name() {
    let head = Head { tensors: 2, infos: [info("v", &[256], 16, 0), info("w", &[4], 0, 32)].concat(), ..Head::good() };
    let (file, warnings) = opened(&head.bytes());
    assert_eq!(file.unwrap().model.constants.keys().map(|k| &**k).collect::<Vec<_>>(), ["w"]);
    assert!(warnings.len() == 1 && warnings[0].starts_with("v:") && warnings[0].contains("IQ2_XXS"), "{warnings:?}");
}

#[test]
fn damaged_files_never_panic() {
    let few: Vec<_> = tensors().into_iter().take(3).collect();
    let whole = written(&metadata(), &few);
    let head = whole.windows(9).rposition(|w| w == b"t2.weight").unwrap() + 60;
    for end in 0..head {
        assert!(opened(&whole[..end]).0.is_err(), "cut at {end}");
    }
    let mut random = Random::new(9);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(head);
            bytes[at] = [0, 0xFF, 1 << random.below(8), random.next_u64() as u8][random.below(4)];
        }
        let outcome = catch_unwind(|| {
            if let Ok(file) = opened(&bytes).0 {
                for tensor in file.model.constants.values() {
                    tensor.to_f32().unwrap();
                }
            }
        });
        assert!(outcome.is_ok(), "{bytes:?}");
    }
}

#[test]
fn importance_is_read_from_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let sums = Tensor::from_f32(vec![2, 2], &[2.0, 4.0, 9.0, 0.0]).unwrap();
    let counts = Tensor::from_f32(vec![2, 1], &[2.0, 3.0]).unwrap();
    let tensors = [("w.in_sum2".to_owned(), sums), ("w.counts".to_owned(), counts)];
    let new = folder.path().join("imatrix.gguf");
    std::fs::write(&new, written(&Metadata::new(), &tensors)).unwrap();
    assert_eq!(imatrix::open(&new, &ctx()).unwrap()["w"], [1.0, 2.0, 3.0, 0.0]);
    std::fs::write(&new, written(&Metadata::new(), &tensors[..1])).unwrap();
    assert!(imatrix::open(&new, &ctx()).unwrap_err().to_string().contains("counts"));

    let integers = |v: &[i32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let floats: Vec<u8> = [8.0_f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let entry = [integers(&[1, 1]), b"w".to_vec(), integers(&[4, 2]), floats].concat();
    let old = folder.path().join("imatrix.dat");
    std::fs::write(&old, &entry).unwrap();
    assert_eq!(imatrix::open(&old, &ctx()).unwrap()["w"], [2.0, 0.5]);
    for end in 1..entry.len() {
        std::fs::write(&old, &entry[..end]).unwrap();
        assert!(imatrix::open(&old, &ctx()).is_err(), "{end}");
    }
    for bad in [integers(&[1, -1]), integers(&[i32::MAX, 0, 0, i32::MAX]), integers(&[0])] {
        std::fs::write(&old, bad).unwrap();
        assert!(imatrix::open(&old, &ctx()).is_err());
    }
}

/// What ggml calls a tensor → what the safetensors file does.
fn twin(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["token_embd", _] => "model.embed_tokens.weight".to_owned(),
        ["output_norm", _] => "model.norm.weight".to_owned(),
        ["output", _] => "lm_head.weight".to_owned(),
        ["blk", layer, part, _] => {
            let part = match part {
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_down" => "mlp.down_proj",
                "ffn_up" => "mlp.up_proj",
                "attn_norm" => "input_layernorm",
                other => other.strip_prefix("ffn_").map_or(other, |_| "post_attention_layernorm"),
            };
            format!("model.layers.{layer}.{part}.weight")
        }
        _ => panic!("{name}"),
    }
}

/// ggml keeps the two numbers that a rotary embedding turns side by side; the other file half a head apart.
fn as_ggml(name: &str, tensor: &Tensor) -> Vec<f32> {
    let values = tensor.to_f32().unwrap();
    if !(name.contains("attn_q") || name.contains("attn_k")) {
        return values;
    }
    let (rows, cols, head) = (tensor.shape()[0], tensor.shape()[1], 8);
    let from = |row: usize| row / head * head + row % 2 * (head / 2) + row % head / 2;
    (0..rows).flat_map(|row| values[from(row) * cols..][..cols].to_vec()).collect()
}

#[test]
fn the_corpus_holds_the_same_network_in_every_format() {
    let Some(folder) = stories() else { return };
    let reference = load::model(&folder.join("stories260K.safetensors"), &ctx()).unwrap().model;
    for (file, format) in [
        ("stories260K-f32.gguf", None),
        ("stories260K-q8_0.gguf", Some(BlockFormat::Q8_0)),
        ("stories260K-q4_0.gguf", Some(BlockFormat::Q4_0)),
    ] {
        let ctx = ctx();
        let loaded = load::model(&folder.join(file), &ctx).unwrap();
        assert!(loaded.format == load::Format::Gguf && ctx.take_warnings().is_empty());
        assert_eq!(loaded.model.constants.len(), reference.constants.len());
        let mut in_blocks = 0;
        for (name, tensor) in &loaded.model.constants {
            let original = &reference.constants[twin(name).as_str()];
            assert_eq!(tensor.shape(), original.shape(), "{name}");
            let (values, expected) = (tensor.to_f32().unwrap(), as_ggml(name, original));
            match tensor.dtype() {
                DType::F32 => assert!(values == expected, "{file} {name}"),
                DType::Block(found) => {
                    in_blocks += 1;
                    assert_eq!(Some(found), format);
                    // The file was made from the same weights: our quantizer gives its bytes.
                    let again = Tensor::from_floats(tensor.dtype(), tensor.shape().to_vec(), &expected).unwrap();
                    assert!(again.bytes() == tensor.bytes(), "{file} {name}");
                    let size = expected.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
                    let bound = size * if found == BlockFormat::Q8_0 { 0.005 } else { 0.13 };
                    assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= bound), "{file} {name}");
                    assert!(values != expected, "{file} {name}");
                }
                _ => assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= b.abs() * 1e-3 + 1e-6), "{file} {name}"),
            }
        }
        assert_eq!(in_blocks > 0, format.is_some(), "{file}");
        let metadata = gguf::open(&folder.join(file), &ctx).unwrap().metadata;
        assert_eq!(metadata["general.architecture"].text(), Some("llama"));
        assert_eq!(metadata["llama.embedding_length"].unsigned(), Some(64));
        assert!(matches!(&metadata["tokenizer.ggml.tokens"], Value::Array(8, items) if items.len() == 512));
    }
}

/// The reference's perplexities of its own files, all of whose matrices are in blocks: the embedding too, which a graph
/// gathers from and which is no layer there. It is taken from the reference's file, as what its blocks stand for.
#[test]
fn blocks_in_the_graph_are_as_good_as_the_reference_says() {
    let Some(stories) = stories() else { return };
    let Some(corpus) = common::corpus() else { return };
    let ctx = ctx();
    for (name, reference) in [("q8_0", 3.3268), ("q4_0", 3.5986)] {
        let mut loaded = load::model(&stories.join("stories260K.onnx"), &ctx).unwrap();
        let blocks = gguf::open(&stories.join(format!("stories260K-{name}.gguf")), &ctx).unwrap();
        let embedding = &blocks.model.constants["token_embd.weight"];
        let values = Tensor::from_f32(embedding.shape().to_vec(), &embedding.to_f32().unwrap()).unwrap();
        assert_eq!(loaded.model.constants["tok_emb"].shape(), values.shape());
        loaded.model.constants.insert("tok_emb".into(), values);
        let subject = Subject::new(loaded).unwrap();
        let port = subject.original.data_input().unwrap();
        let data = load::dataset(&corpus.join("data/text/tinystories_tokens.npz"), &Preprocess::default(), port, &ctx).unwrap();
        let plan = configure::plan_for(&presets::preset(name).unwrap(), &subject, Some(FileFormat::Gguf)).unwrap();
        let variant = compress::run(&plan, &subject, &|_, _| Ok(None), &ctx).unwrap();
        let subjects = Subjects {
            original: &subject.original,
            reference: &variant.base,
            variant: &variant.model,
            layers: &[],
            weight_sqnr_db: BTreeMap::new(),
        };
        let report = evaluate::run(&subjects, &data, &Settings::default(), &ctx).unwrap();
        let found = report.metrics.unwrap().next_token.unwrap();
        assert_eq!(found.tokens, 924);
        assert!((found.perplexity / reference - 1.0).abs() < 1e-3, "{name}: {} for {reference}", found.perplexity);
    }
}
