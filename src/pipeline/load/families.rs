//! Layers of a file that holds weights without a graph, told by shapes and by the names that
//! well-known families of networks give.

use crate::engine::graph::{Layer, LayerKind, Model, Wire};
use crate::engine::tensor::Tensor;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What part of a network a layer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Embedding,
    Attention,
    Mlp,
    Convolution,
    Linear,
    Head,
}

impl Group {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Mlp => "MLP",
            Self::Convolution => "convolution",
            Self::Linear => "linear",
            Self::Head => "head",
        }
    }

    /// The group of a layer by the parts of its name, else by its kind.
    #[must_use]
    pub fn of(layer: &Layer) -> Self {
        let name = layer.weight.to_ascii_lowercase();
        let parts: Vec<&str> = parts(&name).collect();
        let any = |marks: &[&str]| parts.iter().any(|p| marks.contains(p));
        let holds = |marks: &[&str]| parts.iter().any(|p| marks.iter().any(|m| p.contains(m)));
        let first = parts.first().copied().unwrap_or_default();
        // The three matrices of a gated MLP; alone they are merely numbered.
        let numbered = parts.len() > 1 && any(&["w1", "w2", "w3"]);
        let convolves = matches!(layer.kind, LayerKind::Conv | LayerKind::Depthwise | LayerKind::ConvTranspose);
        if layer.kind == LayerKind::Embedding {
            Self::Embedding
        } else if parts.iter().any(|p| p.ends_with("head")) || any(HEADS) || matches!(first, "output" | "fc" | "cls") {
            Self::Head
        } else if convolves {
            Self::Convolution
        } else if holds(&["attn", "attention"]) || any(ATTENTION) {
            Self::Attention
        } else if holds(&["mlp", "ffn", "feed_forward", "feedforward", "expert"])
            || any(MLP)
            || is_bert_output(&parts)
            || numbered
        {
            Self::Mlp
        } else {
            Self::Linear
        }
    }
}

const HEADS: &[&str] = &["classifier", "score", "pooler", "qa_outputs"];
const ATTENTION: &[&str] = &[
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "qkv",
    "qkv_proj",
    "c_attn",
    "query",
    "key",
    "value",
    "wq",
    "wk",
    "wv",
    "wo",
    "query_key_value",
];
const MLP: &[&str] = &[
    "gate_proj",
    "up_proj",
    "down_proj",
    "gate_up_proj",
    "c_fc",
    "intermediate",
    "dense_h_to_4h",
    "dense_4h_to_h",
    "fc1",
    "fc2",
];
/// Last parts of names that are no weights, however many axes they have.
const NO_WEIGHTS: &[&str] = &[
    "bias",
    "b",
    "beta",
    "gamma",
    "running_mean",
    "running_var",
    "masked_bias",
    "inv_freq",
    "freqs",
    "freqs_cis",
    "rope_freqs",
    "mask",
    "scale",
    "scales",
    "zero_point",
    "zero_points",
    "qzeros",
    "anchors",
    "cos_cached",
    "sin_cached",
];
/// The family that a name is of, by parts that follow each other in it.
const FAMILIES: [(&str, &[&str]); 6] = [
    ("Llama and its kin, names of Hugging Face", &["self_attn", "q_proj"]),
    ("GPT-2", &["attn", "c_attn"]),
    ("BERT", &["attention", "self", "query"]),
    ("ggml", &["blk", "0"]),
    ("torchvision's residual networks", &["layer1", "0", "conv1"]),
    ("torchvision's sequences", &["features", "0"]),
];

/// The family whose names a model's weights bear.
#[must_use]
pub fn family(model: &Model) -> Option<&'static str> {
    let bears = |marks: &[&str]| {
        model.constants.keys().any(|wire| {
            let parts: Vec<&str> = parts(wire).collect();
            parts.windows(marks.len()).any(|w| w == marks)
        })
    };
    FAMILIES.iter().find(|(_, marks)| bears(marks)).map(|(name, _)| *name)
}

/// The number of the block that a layer lies in: the first number in its name.
#[must_use]
pub fn block(layer: &Layer) -> Option<usize> {
    parts(&layer.weight).find_map(|part| part.parse().ok())
}

/// Parts of names that tell apart matrices which read the same data.
const SIDE_BY_SIDE: [&[&str]; 7] = [
    &["q_proj", "k_proj", "v_proj"],
    &["wq", "wk", "wv"],
    &["query", "key", "value"],
    &["attn_q", "attn_k", "attn_v"],
    &["gate_proj", "up_proj"],
    &["ffn_gate", "ffn_up"],
    &["w1", "w3"],
];

/// Matrices of a file without a graph whose names say that they read the same data, as those of queries, keys
/// and values do. Numbers of `layers`, two at least in each group.
#[must_use]
pub fn projections(layers: &[Layer]) -> Vec<Vec<usize>> {
    let mut found: BTreeMap<(usize, String, usize), Vec<usize>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate().filter(|(_, l)| l.kind == LayerKind::Linear && l.shape.len() == 2) {
        let parts: Vec<&str> = parts(&layer.weight).collect();
        let set = |part: &&str| SIDE_BY_SIDE.iter().position(|set| set.contains(part));
        let Some((at, set)) = parts.iter().enumerate().find_map(|(at, part)| Some((at, set(part)?))) else { continue };
        if !reads_alike(&parts, at) {
            continue;
        }
        let rest = [&parts[..at], &parts[at + 1..]].map(|p| p.join(".")).join(".*.");
        let inputs = layer.parameters() / layer.out_channels().max(1);
        found.entry((set, rest, inputs)).or_default().push(index);
    }
    let mut groups: Vec<Vec<usize>> = found.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}

/// Whether a name that stands beside others means what it says: in cross-attention queries read other data than keys
/// and values do, and `w1` and `w3` read the same within a gated MLP alone.
fn reads_alike(parts: &[&str], at: usize) -> bool {
    let bears = |marks: &[&str]| parts.iter().any(|part| marks.iter().any(|mark| part.contains(mark)));
    match parts.get(at).copied() {
        Some("q_proj" | "wq" | "query" | "attn_q") => !bears(&["cross", "encoder_attn", "encdec"]),
        Some("w1" | "w3") => bears(&["ffn", "mlp", "feed_forward", "expert", "block_sparse_moe"]),
        _ => true,
    }
}

/// The weights of a model without nodes, as layers: embeddings first, then by their names with numbers
/// counted, the head last.
#[must_use]
pub(super) fn layers(model: &Model) -> Vec<Layer> {
    let weights = || model.constants.iter().filter(|(wire, tensor)| is_weight(wire, tensor));
    let depthwise = weights().filter(|(_, t)| one_input(t.shape())).count() > 1;
    // Files that multiply from the left, as NumPy code does, do so throughout.
    let told: Vec<usize> =
        weights().filter(|(_, t)| t.shape().len() == 2).filter_map(|(w, t)| axis_of_bias(model, w, t)).collect();
    let all_last = !told.is_empty() && told.iter().all(|axis| *axis == 1);
    let mut found: Vec<Layer> = weights()
        .map(|(wire, tensor)| {
            let told = axis_of_bias(model, wire, tensor);
            layer(wire, tensor, told, Habits { depthwise, all_last })
        })
        .collect();
    let place = |layer: &Layer| match Group::of(layer) {
        Group::Embedding => 0,
        Group::Head => 2,
        _ => 1,
    };
    found.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| natural(&a.weight, &b.weight)));
    found
}

/// What the other weights of the file tell.
#[derive(Clone, Copy)]
struct Habits {
    /// There is more than one kernel of a single input channel.
    depthwise: bool,
    /// Matrices whose bias tells have their outputs last.
    all_last: bool,
}

fn layer(wire: &Wire, tensor: &Tensor, told: Option<usize>, habits: Habits) -> Layer {
    let lower = wire.to_ascii_lowercase();
    let parts: Vec<&str> = parts(&lower).collect();
    let holds = |marks: &[&str]| parts.iter().any(|p| marks.iter().any(|m| p.contains(m)));
    let shape = tensor.shape().to_vec();
    let rank = shape.len();
    let last = parts.last().copied().unwrap_or_default();
    let (kind, usual) = if is_embedding(&parts) && rank < 4 {
        (LayerKind::Embedding, usize::from(rank == 3))
    } else if rank == 2 || holds(&["expert"]) {
        let of_gpt2 = parts.iter().any(|p| matches!(*p, "c_attn" | "c_proj" | "c_fc"));
        let outputs_last = of_gpt2 || last == "kernel" || habits.all_last;
        (LayerKind::Linear, if rank == 2 { usize::from(outputs_last) } else { rank - 2 })
    } else if last == "kernel" {
        (LayerKind::Conv, rank - 1)
    } else if holds(&["deconv", "convtranspose", "conv_transpose", "upconv"]) || told == Some(1) {
        (LayerKind::ConvTranspose, 1)
    } else if one_input(&shape) && (habits.depthwise || holds(&["depthwise", "dwconv"])) {
        (LayerKind::Depthwise, 0)
    } else {
        (LayerKind::Conv, 0)
    };
    Layer {
        name: wire.strip_suffix(".weight").filter(|s| !s.is_empty()).unwrap_or(wire).to_owned(),
        node: None,
        kind,
        input: wire.clone(),
        output: wire.clone(),
        weight: wire.clone(),
        bias: None,
        out_axis: if kind == LayerKind::Embedding { usual } else { told.unwrap_or(usual) },
        shape,
        macs: None,
    }
}

/// A kernel that reads one channel.
fn one_input(shape: &[usize]) -> bool {
    matches!(shape, [outputs, 1, rest @ ..] if *outputs > 1 && rest.iter().product::<usize>() > 1)
}

fn is_embedding(parts: &[&str]) -> bool {
    let table = |p: &&str| {
        let named = p.contains("embed") || p.contains("embd") || p.ends_with("_emb");
        (named || matches!(*p, "wte" | "wpe")) && !p.contains("patch")
    };
    parts.iter().any(table)
}

fn is_weight(wire: &Wire, tensor: &Tensor) -> bool {
    let name = wire.to_ascii_lowercase();
    let of_norm =
        |part: &str| part.contains("norm") || part.starts_with("ln_") || digits_after(part, "bn") || digits_after(part, "ln");
    let last = parts(&name).last().unwrap_or_default();
    let is_bias = NO_WEIGHTS.contains(&last) || last.ends_with("_bias");
    (2..=5).contains(&tensor.shape().len())
        && !tensor.is_empty()
        && tensor.dtype().is_float()
        && !is_bias
        && !parts(&name).any(of_norm)
}

/// `bn`, `bn1`, `bn23` …
fn digits_after(part: &str, stem: &str) -> bool {
    part.strip_prefix(stem).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

/// BERT's `layer.3.output.dense`.
fn is_bert_output(parts: &[&str]) -> bool {
    parts.windows(2).any(|w| w == ["output", "dense"])
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split(['.', '/', ':']).filter(|p| !p.is_empty())
}

/// The axis of `tensor` that is as long as the bias beside it, where there is exactly one.
fn axis_of_bias(model: &Model, wire: &Wire, tensor: &Tensor) -> Option<usize> {
    let bias = names_of_bias(wire).into_iter().find_map(|name| model.constants.get(name.as_str()))?;
    let [len] = *bias.shape() else { return None };
    let mut axes = tensor.shape().iter().enumerate().filter(|(_, size)| **size == len).map(|(axis, _)| axis);
    match (axes.next(), axes.next()) {
        (Some(axis), None) => Some(axis),
        _ => None,
    }
}

/// How the bias that belongs to a weight may be called.
fn names_of_bias(wire: &str) -> Vec<String> {
    let mut names: Vec<String> =
        ["weight", "kernel"].iter().filter_map(|w| wire.strip_suffix(w)).map(|stem| format!("{stem}bias")).collect();
    // `W3` and `b3`, `fc.w` and `fc.b`.
    let start = wire.rfind(['.', '/', '_']).map_or(0, |at| at + 1);
    let (stem, last) = wire.split_at(start);
    if let Some(number) = last.strip_prefix(['W', 'w']) {
        names.extend(["b", "B"].map(|b| format!("{stem}{b}{number}")));
    }
    names
}

/// By characters, runs of digits by their value.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let number = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let (x, y) = (number(a), number(b));
        let order = if x > 0 && y > 0 {
            let (left, right) = (a[..x].trim_start_matches('0'), b[..y].trim_start_matches('0'));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            (a, b) = (&a[x..], &b[y..]);
            order
        } else {
            let (mut left, mut right) = (a.chars(), b.chars());
            let order = left.next().cmp(&right.next());
            if a.is_empty() && b.is_empty() {
                return Ordering::Equal;
            }
            (a, b) = (left.as_str(), right.as_str());
            order
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensor::DType;

    fn model(tensors: &[(&str, &[usize])]) -> Model {
        let zeros = |shape: &[usize]| Tensor::zeros(DType::F32, shape.to_vec()).unwrap();
        Model { constants: tensors.iter().map(|(name, shape)| ((*name).into(), zeros(shape))).collect(), ..Model::default() }
    }

    fn told(tensors: &[(&str, &[usize])]) -> Vec<(String, LayerKind, Group, usize)> {
        layers(&model(tensors)).into_iter().map(|l| (l.name.clone(), l.kind, Group::of(&l), l.out_axis)).collect()
    }

    #[test]
    fn a_llama_is_grouped_and_ordered() {
        let found = told(&[
            ("lm_head.weight", &[32, 8]),
            ("model.embed_tokens.weight", &[32, 8]),
            ("model.layers.10.mlp.down_proj.weight", &[8, 16]),
            ("model.layers.10.self_attn.rotary_emb.inv_freq", &[4]),
            ("model.layers.2.input_layernorm.weight", &[8]),
            ("model.layers.2.self_attn.q_proj.weight", &[8, 8]),
            ("model.norm.weight", &[8]),
        ]);
        let expected = [
            ("model.embed_tokens", LayerKind::Embedding, Group::Embedding, 0),
            ("model.layers.2.self_attn.q_proj", LayerKind::Linear, Group::Attention, 0),
            ("model.layers.10.mlp.down_proj", LayerKind::Linear, Group::Mlp, 0),
            ("lm_head", LayerKind::Linear, Group::Head, 0),
        ];
        assert_eq!(found, expected.map(|(n, k, g, a)| (n.to_owned(), k, g, a)));
    }

    #[test]
    fn other_families_are_grouped() {
        for (name, shape, group, axis) in [
            ("blk.0.attn_q.weight", &[8_usize, 8][..], Group::Attention, 0),
            ("blk.0.ffn_down.weight", &[8, 16], Group::Mlp, 0),
            ("token_embd.weight", &[32, 8], Group::Embedding, 0),
            ("output.weight", &[32, 8], Group::Head, 0),
            ("h.0.attn.c_attn.weight", &[8, 24], Group::Attention, 1),
            ("h.0.mlp.c_proj.weight", &[32, 8], Group::Mlp, 1),
            ("wte.weight", &[32, 8], Group::Embedding, 0),
            ("bert.encoder.layer.0.attention.self.query.weight", &[8, 8], Group::Attention, 0),
            ("bert.encoder.layer.0.attention.output.dense.weight", &[8, 8], Group::Attention, 0),
            ("bert.encoder.layer.0.output.dense.weight", &[8, 32], Group::Mlp, 0),
            ("layer1.0.conv1.weight", &[8, 4, 3, 3], Group::Convolution, 0),
            ("fc.weight", &[10, 8], Group::Head, 0),
            ("model.layers.0.mlp.experts.gate_up_proj", &[4, 16, 8], Group::Mlp, 1),
            ("blocks.0.fc1.conv.weight", &[8, 8, 1, 1], Group::Convolution, 0),
            ("W1", &[8, 4], Group::Linear, 0),
            ("layers.0.w1.weight", &[8, 4], Group::Mlp, 0),
        ] {
            let found = told(&[(name, shape)]);
            assert_eq!((found[0].2, found[0].3), (group, axis), "{name}");
        }
    }

    #[test]
    fn what_is_no_weight_is_left_alone() {
        let left = [
            ("h.0.attn.bias", &[1_usize, 1, 8, 8][..]),
            ("bn1.weight", &[8, 1]),
            ("ln_f.weight", &[8, 1]),
            ("layer_norm.weight", &[8, 4]),
            ("fc.bias", &[10]),
            ("x.running_mean", &[8]),
            ("deep.weight", &[1, 2, 3, 4, 5, 6]),
        ];
        assert_eq!(told(&left), []);
    }

    #[test]
    fn a_bias_tells_the_axis_of_the_outputs() {
        let found = told(&[("W1", &[784, 50]), ("b1", &[50]), ("W2", &[50, 50]), ("b2", &[50]), ("W10", &[16, 1, 3, 3])]);
        let axes: Vec<(&str, usize)> = found.iter().map(|(n, _, _, a)| (n.as_str(), *a)).collect();
        assert_eq!(axes, [("W1", 1), ("W2", 1), ("W10", 0)]);
        let found =
            told(&[("up.weight", &[8, 4, 2, 2]), ("up.bias", &[4]), ("a.weight", &[8, 1, 3, 3]), ("b.weight", &[4, 1, 3, 3])]);
        let kinds: Vec<LayerKind> = found.iter().map(|(_, kind, ..)| *kind).collect();
        assert_eq!(kinds, [LayerKind::Depthwise, LayerKind::Depthwise, LayerKind::ConvTranspose]);
    }

    #[test]
    fn names_tell_what_reads_the_same_data() {
        let found = layers(&model(&[
            ("model.layers.0.self_attn.q_proj.weight", &[8, 4]),
            ("model.layers.0.self_attn.k_proj.weight", &[2, 4]),
            ("model.layers.0.self_attn.o_proj.weight", &[4, 8]),
            ("model.layers.1.self_attn.q_proj.weight", &[8, 4]),
            ("model.layers.1.self_attn.k_proj.weight", &[2, 6]),
            ("blk.0.ffn_gate.weight", &[8, 4]),
            ("blk.0.ffn_up.weight", &[8, 4]),
            ("blk.0.ffn_down.weight", &[4, 8]),
        ]));
        let named: Vec<Vec<&str>> =
            projections(&found).iter().map(|g| g.iter().map(|i| found[*i].name.as_str()).collect()).collect();
        let attention = ["model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.q_proj"];
        assert_eq!(named, [vec!["blk.0.ffn_gate", "blk.0.ffn_up"], attention.to_vec()]);
    }

    #[test]
    fn names_that_lie_about_what_is_read_are_left_apart() {
        let model = model(&[
            ("decoder.layers.0.encoder_attn.q_proj.weight", &[4, 4]),
            ("decoder.layers.0.encoder_attn.k_proj.weight", &[4, 4]),
            ("decoder.layers.0.encoder_attn.v_proj.weight", &[4, 4]),
            ("net.w1", &[4, 4]),
            ("net.w3", &[4, 4]),
            ("layers.0.feed_forward.w1.weight", &[4, 4]),
            ("layers.0.feed_forward.w3.weight", &[4, 4]),
        ]);
        let found = layers(&model);
        let named: Vec<Vec<&str>> =
            projections(&found).iter().map(|g| g.iter().map(|i| found[*i].name.as_str()).collect()).collect();
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named.iter().flatten().all(|n| !n.contains("q_proj") && !n.starts_with("net.")), "{named:?}");
    }

    #[test]
    fn names_are_ordered_as_people_do() {
        let mut names = ["b", "a10.x", "a9.y", "a09.x", "a", "a9", ""];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "a", "a9", "a09.x", "a9.y", "a10.x", "b"]);
    }

    #[test]
    fn families_are_known_by_their_names() {
        assert_eq!(family(&model(&[("model.layers.0.self_attn.q_proj.weight", &[2, 2])])), Some(FAMILIES[0].0));
        assert_eq!(family(&model(&[("blk.0.attn_q.weight", &[2, 2])])), Some("ggml"));
        assert_eq!(family(&model(&[("W1", &[2, 2])])), None);
    }
}
