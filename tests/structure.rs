//! Channels that are really cut: small graphs of every kind, and real networks (`LAPIDARY_CORPUS`, else
//! `../shared/data`; skipped, with a message, where it is not there). What is left computes what the network with
//! those channels at zero computes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[path = "structure/drawn.rs"]
mod drawn;

use common::corpus;
use drawn::Net;
use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request, prepare};
use lapidary::engine::graph::structure::{Branch, Structure, Values, cut, mask};
use lapidary::engine::graph::{Dim, Model, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{Tensor, Value};
use lapidary::pipeline::configure::{self, ChannelCut, ChannelScore, Override, Plan, Recipe, Sparsity, Treatment, presets};
use lapidary::pipeline::export::Source;
use lapidary::pipeline::load::{self, Dataset, Subject};
use lapidary::pipeline::{compress, export};
use std::path::Path;

/// What the model gives for drawn data of three samples (or as many as it insists on).
fn outputs(model: &Model, ctx: &Ctx) -> Vec<Vec<f32>> {
    let port = model.data_input().unwrap();
    let dims: Vec<usize> = port.fact.shape.as_ref().unwrap().iter().map(|d| if let Dim::Known(n) = d { *n } else { 3 }).collect();
    let mut random = Random::new(11);
    let values = (0..dims.iter().product()).map(|_| random.normal()).collect();
    let feeds: Vec<(Wire, Value)> = vec![(port.wire.clone(), Value::from_f32(values, &dims).unwrap())];
    let executor = Executor::new(model, &Request::default()).unwrap();
    let outputs = executor.run(&feeds, ctx, &mut |_, _| {}).unwrap();
    outputs.iter().map(|(_, value)| value.to_f32().unwrap()).collect()
}

/// Some of the channels of every group that can be cut, drawn by lot, at least one of each left.
fn drawn_channels(structure: &Structure, fraction: f32, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Random::new(seed);
    let of = |group: &lapidary::engine::graph::structure::ChannelGroup| {
        let mut all: Vec<usize> = (0..group.channels).collect();
        random.shuffle(&mut all);
        let count = if group.obstacle.is_some() { 0 } else { (fraction * group.channels as f32).ceil() as usize };
        all.truncate(count.min(group.channels - 1));
        all.sort_unstable();
        all
    };
    structure.groups.iter().map(of).collect()
}

/// The largest difference between the masked model and the cut one, relative to the largest output, and how many
/// parameters are left of how many.
fn difference(model: &Model, fraction: f32, seed: u64, ctx: &Ctx) -> (f32, u64, u64) {
    let structure = Structure::of(model);
    let removed = drawn_channels(&structure, fraction, seed);
    let small = cut(model, &structure, &removed, Values::Kept).unwrap();
    let foretold = cut(model, &structure, &removed, Values::SizesOnly).unwrap();
    for (wire, tensor) in &small.constants {
        assert_eq!((tensor.shape(), tensor.dtype()), (foretold.constants[wire].shape(), foretold.constants[wire].dtype()));
    }
    let masked = mask(model, &structure, &removed).unwrap();
    let (ours, theirs) = (outputs(&small, ctx), outputs(&masked, ctx));
    assert_eq!(ours.len(), theirs.len());
    let mut worst = 0.0_f32;
    for (a, b) in ours.iter().zip(&theirs) {
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
        assert!(largest.is_finite());
        worst = a.iter().zip(b).fold(worst, |w, (x, y)| w.max((x - y).abs() / largest));
    }
    (worst, small.parameters(), model.parameters())
}

/// Groups as (name, channels, whether they can be cut).
fn groups(model: &Model) -> Vec<(String, usize, bool)> {
    Structure::of(model).groups.iter().map(|g| (g.name.clone(), g.channels, g.obstacle.is_none())).collect()
}

fn check(net: &Net, expected: &[(&str, usize, bool)]) {
    let (model, ctx) = (prepare(&net.model()).unwrap(), Ctx::new(2).unwrap());
    let found = groups(&model);
    let found: Vec<(&str, usize, bool)> = found.iter().map(|(n, c, o)| (n.as_str(), *c, *o)).collect();
    assert_eq!(found, expected);
    for seed in 0..3 {
        let (worst, left, all) = difference(&model, 0.4, seed, &ctx);
        assert!(worst <= 1e-5, "seed {seed}: {worst:e}");
        assert!(left < all, "nothing was cut");
        let folded = lapidary::engine::graph::passes::fold_batch_norm(&model).unwrap();
        let (worst, _, _) = difference(&folded, 0.4, seed, &ctx);
        assert!(worst <= 1e-5, "seed {seed}, folded: {worst:e}");
    }
}

#[test]
fn residual_sums_tie_their_terms() {
    let mut net = Net::new(&[3, 8, 8]);
    net.conv("a", "x", [8, 3, 3], 1).norm("a_n", "a", 8).op("Relu", &["a_n"], "r");
    net.conv("b", "r", [6, 8, 3], 1).norm("b_n", "b", 6).op("Relu", &["b_n"], "s");
    net.conv("c", "s", [8, 6, 3], 1).norm("c_n", "c", 8).op("Add", &["c_n", "r"], "sum");
    net.op("GlobalAveragePool", &["sum"], "g").op("Flatten", &["g"], "f").gemm("d", "f", [5, 8]).output("d");
    check(&net, &[("a", 8, true), ("b", 6, true), ("d", 5, false)]);
}

/// Two residual blocks, the second with a convolution on the other way.
fn blocks() -> Model {
    let mut net = Net::new(&[3, 8, 8]);
    net.conv("a", "x", [8, 3, 3], 1).op("Relu", &["a"], "r");
    net.conv("b", "r", [6, 8, 3], 1).op("Relu", &["b"], "s").conv("c", "s", [8, 6, 3], 1);
    net.op("Add", &["c", "r"], "sum").op("Relu", &["sum"], "t");
    net.conv("d", "t", [8, 8, 3], 1).conv("e", "t", [8, 8, 1], 1).op("Add", &["e", "d"], "end").op("Relu", &["end"], "u");
    net.op("GlobalAveragePool", &["u"], "g").op("Flatten", &["g"], "f").gemm("h", "f", [5, 8]).output("h");
    prepare(&net.model()).unwrap()
}

#[test]
fn a_branch_that_is_left_out_gives_what_zeros_at_its_end_give() {
    let (model, ctx) = (blocks(), Ctx::new(1).unwrap());
    let node = |wire: &str| model.nodes.iter().find(|n| n.output(0).is_some_and(|w| &**w == wire)).unwrap().id;
    for (layer, last) in [("b", "c"), ("c", "c"), ("d", "d"), ("e", "e")] {
        let branch = Branch::of(&model, node(layer)).unwrap();
        let left = branch.left_out(&model).unwrap();
        let mut zeros = model.clone();
        for part in ["weight", "bias"] {
            let tensor = zeros.constants.get_mut(format!("{last}.{part}").as_str()).unwrap();
            *tensor = Tensor::zeros(tensor.dtype(), tensor.shape().to_vec()).unwrap();
        }
        assert_eq!(outputs(&left, &ctx), outputs(&zeros, &ctx), "{layer}");
        assert!(left.nodes.len() < model.nodes.len() && left.parameters() < model.parameters());
        assert!(!left.constants.contains_key(format!("{last}.weight").as_str()));
    }
    // What has nothing that goes past it stays, and says why.
    for stem in ["a", "h"] {
        assert!(Branch::of(&model, node(stem)).unwrap_err().contains("no residual branch"));
    }
    // Once one way is gone the other is all that there is.
    let left = Branch::of(&model, node("d")).unwrap().left_out(&model).unwrap();
    assert!(Branch::of(&left, node("e")).is_err());
}

#[test]
fn sums_that_need_both_ways_keep_them() {
    let mut net = Net::new(&[3, 8, 8]);
    // The other way is broadcast; the sum is an output; the ways never part.
    net.conv("a", "x", [8, 3, 3], 1).op("GlobalAveragePool", &["a"], "small");
    net.conv("b", "a", [8, 8, 3], 1).op("Add", &["b", "small"], "s");
    net.conv("c", "s", [8, 8, 3], 1).op("Add", &["c", "s"], "y").output("y");
    let model = prepare(&net.model()).unwrap();
    let why = |wire: &str| {
        let node = model.nodes.iter().find(|n| n.output(0).is_some_and(|w| &**w == wire)).unwrap().id;
        Branch::of(&model, node).unwrap_err()
    };
    assert!(why("b").contains("not shaped as the sum"), "{}", why("b"));
    assert!(why("c").contains("an output of the network"), "{}", why("c"));
}

#[test]
fn padded_and_strided_shortcuts_are_followed() {
    let mut net = Net::new(&[3, 8, 8]);
    net.conv("a", "x", [4, 3, 3], 1).op("Relu", &["a"], "r");
    net.strided("b", "r", [8, 4, 3], 2);
    net.ints("from", &[0, 0]).ints("to", &[8, 8]).ints("axes", &[2, 3]).ints("by", &[2, 2]);
    net.op("Slice", &["r", "from", "to", "axes", "by"], "half").ints("pads", &[0, 2, 0, 0, 0, 2, 0, 0]);
    net.op("Pad", &["half", "pads"], "wide").op("Add", &["b", "wide"], "sum").op("Relu", &["sum"], "t");
    net.op("GlobalMaxPool", &["t"], "g").op("Flatten", &["g"], "f").gemm("d", "f", [5, 8]).output("d");
    check(&net, &[("a", 4, true), ("b", 4, true), ("d", 5, false)]);
}

#[test]
fn concatenations_splits_and_slices_move_channels() {
    let mut net = Net::new(&[3, 6, 6]);
    net.conv("a", "x", [6, 3, 1], 1).conv("b", "x", [4, 3, 3], 1).op("Concat:1", &["a", "b"], "ab");
    net.op("Relu", &["ab"], "r").ints("sizes", &[3, 7]);
    net.split("r", "sizes", &["p", "q"]);
    net.conv("c", "p", [3, 3, 1], 1).conv("d", "q", [4, 7, 1], 1);
    net.ints("from", &[1]).ints("to", &[4]).ints("axis", &[1]);
    net.op("Slice", &["d", "from", "to", "axis"], "e").op("Add", &["c", "e"], "s").op("Flatten", &["s"], "f");
    net.gemm("g", "f", [5, 108]).output("g");
    check(&net, &[("a", 3, true), ("a #2", 3, true), ("b", 4, true), ("c", 3, true), ("d", 1, true), ("g", 5, false)]);
}

#[test]
fn depthwise_grouped_and_shuffled_convolutions() {
    let mut net = Net::new(&[3, 6, 6]);
    net.conv("a", "x", [8, 3, 1], 1).op("Relu6", &["a"], "ra").conv("b", "ra", [16, 1, 3], 8).op("Relu", &["b"], "rb");
    net.conv("c", "rb", [12, 16, 1], 1).conv("d", "c", [12, 6, 3], 2);
    net.ints("apart", &[0, 2, 6, 6, 6]).ints("whole", &[0, 12, 6, 6]);
    net.op("Reshape", &["d", "apart"], "five").op("Transpose:02134", &["five"], "turned");
    net.op("Reshape", &["turned", "whole"], "shuffled").conv("e", "shuffled", [15, 4, 1], 3).output_of("e", 15);
    check(&net, &[("a", 8, true), ("c", 6, true), ("d", 2, true), ("e", 5, true), ("end", 5, false)]);
}

#[test]
fn gates_of_any_activation_and_transposed_convolutions() {
    let mut net = Net::new(&[3, 6, 6]);
    net.conv("a", "x", [8, 3, 3], 1).op("HardSwish", &["a"], "h");
    net.op("GlobalAveragePool", &["h"], "p").conv("s", "p", [4, 8, 1], 1).op("Relu", &["s"], "t");
    net.conv("u", "t", [8, 4, 1], 1).op("Sigmoid", &["u"], "gate").op("Mul", &["h", "gate"], "m");
    net.transposed("v", "m", [8, 6, 2], 1).op("Relu", &["v"], "w").transposed("k", "w", [6, 1, 2], 6);
    net.transposed("z", "k", [6, 4, 2], 1).output_of("z", 4);
    check(&net, &[("a", 8, true), ("s", 4, true), ("v", 6, true), ("z", 4, true), ("end", 5, false)]);
}

#[test]
fn heads_of_attention_are_units() {
    let mut net = Net::new(&[7, 12]);
    for name in ["q", "k", "v"] {
        net.matmul(name, "x", [12, 12]).floats(&format!("{name}_b"), &[12]);
        net.op("Add", &[name, &format!("{name}_b")], &format!("{name}s")).ints("heads", &[0, 7, 4, 3]);
        net.op("Reshape", &[&format!("{name}s"), "heads"], &format!("{name}h"));
    }
    net.op("Transpose:0213", &["qh"], "qt").op("Transpose:0231", &["kh"], "kt").op("Transpose:0213", &["vh"], "vt");
    net.op("MatMul", &["qt", "kt"], "scores").op("Softmax", &["scores"], "shares").op("MatMul", &["shares", "vt"], "mixed");
    net.ints("flat", &[0, 7, 12]).op("Transpose:0213", &["mixed"], "back").op("Reshape", &["back", "flat"], "all");
    net.matmul("o", "all", [12, 12]).op("Add", &["o", "x"], "out").output("out");
    check(&net, &[("q", 4, true), ("o", 12, false)]);
}

#[test]
fn depth_becomes_space_and_what_is_picked_is_counted_anew() {
    let mut net = Net::new(&[3, 4, 4]);
    net.conv("a", "x", [24, 3, 1], 1).op("DepthToSpace:2", &["a"], "d").op("Relu", &["d"], "r");
    net.ints("order", &[5, 3, 1, 0, 2, 4]).op("Gather:1", &["r", "order"], "g").conv("b", "g", [4, 6, 3], 1);
    net.op("BatchNormalization", &["b", "s", "t", "m", "v"], "n");
    for name in ["s", "t", "m", "v"] {
        net.floats(name, &[4]);
    }
    net.op("Elu", &["n"], "e").output_of("e", 4);
    check(&net, &[("a", 6, true), ("b", 4, true), ("end", 5, false)]);
}

#[test]
fn shared_weights_go_together_and_what_is_not_followed_stays() {
    let mut net = Net::new(&[4, 6, 6]);
    net.conv("a", "x", [8, 4, 1], 1).conv("b", "a", [8, 8, 3], 1).op("Tanh", &["b"], "t");
    // The same weight a second time: its rows are now its columns' channels.
    net.op("Conv3", &["t", "b.weight"], "c").conv("d", "c", [6, 8, 1], 1).op("Softmax:1", &["d"], "soft");
    net.conv("e", "soft", [6, 6, 1], 1).op("LRN", &["e"], "l").conv("f", "l", [6, 6, 1], 1).output_of("f", 6);
    check(&net, &[("a", 8, true), ("d", 6, false), ("e", 6, false), ("f", 6, true), ("end", 5, false)]);
}

#[test]
fn a_group_says_why_it_stays_and_nothing_is_cut_to_nothing() {
    let mut net = Net::new(&[3, 6, 6]);
    net.conv("a", "x", [4, 3, 1], 1).op("Softmax:1", &["a"], "s").conv("b", "s", [4, 4, 1], 1).output_of("b", 4);
    let model = prepare(&net.model()).unwrap();
    let structure = Structure::of(&model);
    let obstacle = structure.groups[0].obstacle.as_deref().unwrap();
    assert!(obstacle.contains("(Softmax) computes across them"), "{obstacle}");
    assert!(structure.groups[2].obstacle.as_deref().unwrap().contains("reach the output \"y\""));
    let refused = |removed: &[Vec<usize>]| cut(&model, &structure, removed, Values::Kept).unwrap_err().to_string();
    assert!(refused(&[vec![1]]).contains("the channels of \"a\" cannot be cut"));
    assert!(refused(&[vec![], vec![0, 1, 2, 3]]).contains("nothing would be left"));
    assert!(refused(&[vec![], vec![4]]).contains("no channel 4"));
    assert_eq!(Structure::of(&model).groups, structure.groups, "the same every time");
}

#[test]
fn real_networks_lose_channels_and_compute_what_they_compute_masked() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    for (path, most_left) in [
        ("cifar_resnet20/resnet20.onnx", 0.55),
        ("mobilenet_v1_025_128/mobilenet_v1_0.25_128.dequant.onnx", 0.65),
        ("squeezenet_dc/squeezenet_v1.0_dc.onnx", 0.6),
        ("ultraface_slim/version-slim-320.onnx", 0.6),
        ("mlperf_kws/kws_dscnn_fp32.onnx", 0.6),
        ("mlperf_vww/vww_96.onnx", 0.6),
        ("mnist_deepconv/deep_convnet.onnx", 0.6),
        ("yunet_n/yunet_n_320_320.onnx", 0.7),
    ] {
        let subject = Subject::new(load::model(&corpus.join("models").join(path), &ctx).unwrap()).unwrap();
        let (worst, left, all) = difference(&subject.folded, 0.3, 5, &ctx);
        assert!(worst <= 1e-4, "{path}: {worst:e}");
        assert!((left as f64) < most_left * all as f64, "{path}: {left} of {all} parameters are left");
    }
}

fn subject(path: &Path, ctx: &Ctx) -> Subject {
    Subject::new(load::model(path, ctx).unwrap()).unwrap()
}

/// Cuts as the plan says, compresses, writes; the written network and the one with the same channels at zero.
fn written(plan: &Plan, subject: &Subject, ctx: &Ctx) -> (Model, Model) {
    let cuts = plan.cuts.as_ref().unwrap();
    let removed = compress::choose_channels(cuts, subject, &|_| Ok(None), ctx).unwrap();
    let left = compress::cut_channels(plan, subject, &|_| Ok(None), ctx).unwrap();
    let variant = compress::run(plan, &left, &|_, _| Ok(None), ctx).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let draft = export::run(plan.file, Source::Made(&variant), plan, &left, &out, ctx).unwrap();
    assert_eq!(draft.bytes, plan.bytes, "the plan is exact");
    draft.publish().unwrap();
    let reopened = subject_of(&out, ctx);
    (reopened, mask(&subject.folded, &cuts.structure, &removed).unwrap())
}

fn subject_of(path: &Path, ctx: &Ctx) -> Model {
    (*subject(path, ctx).original).clone()
}

fn worst(ours: &Model, theirs: &Model, ctx: &Ctx) -> f32 {
    let (ours, theirs) = (outputs(ours, ctx), outputs(theirs, ctx));
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    pairs.fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
}

#[test]
fn recipes_make_real_files_smaller() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    for path in [
        "cifar_resnet20/resnet20.onnx",
        "mobilenet_v1_025_128/mobilenet_v1_0.25_128.dequant.onnx",
        "squeezenet_dc/squeezenet_v1.0_dc.onnx",
        "ultraface_slim/version-slim-320.onnx",
    ] {
        let subject = subject(&corpus.join("models").join(path), &ctx);
        let plan = configure::plan(&presets::preset("c30").unwrap(), &subject).unwrap();
        assert!(10 * plan.bytes < 7 * plan.original_bytes, "{path}: {} of {}", plan.bytes, plan.original_bytes);
        let (cut, masked) = written(&plan, &subject, &ctx);
        let difference = worst(&cut, &masked, &ctx);
        assert!(difference <= 1e-4, "{path}: {difference:e}");
        // Rounding comes on top of the cut: the same shapes in a quarter of the bytes.
        let rounded = configure::plan(&presets::preset("c30-w8").unwrap(), &subject).unwrap();
        assert!(3 * rounded.bytes < 2 * plan.bytes, "{path}: {}", rounded.bytes);
        written(&rounded, &subject, &ctx);
    }
}

#[test]
fn recipes_leave_residual_branches_out() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&corpus.join("models/cifar_resnet20/resnet20.onnx"), &ctx);
    let mut recipe = Recipe::new("shorter", Treatment::UNCHANGED);
    for layer in ["conv1", "layer1.1.conv1", "layer3.2.conv2"] {
        let text = "Branch";
        recipe.overrides.push(Override { channels: Some(ron::from_str(text).unwrap()), ..Override::new(layer) });
    }
    let plan = configure::plan(&recipe, &subject).unwrap();
    let names: Vec<&str> = plan.layers.iter().map(|l| l.layer.name.as_str()).collect();
    assert_eq!(names, subject.layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), "the plan names all layers");
    let gone: Vec<&str> = plan.layers.iter().filter(|l| l.is_left_out).map(|l| l.layer.name.as_str()).collect();
    assert_eq!(gone, ["layer1.1.conv1", "layer1.1.conv2", "layer3.2.conv1", "layer3.2.conv2"]);
    assert!(plan.layers[0].refusal.as_deref().unwrap().contains("its branch stays: no residual branch"));
    let left = compress::prepare(&plan, &subject, &|_| Ok(None), &ctx).unwrap();
    let variant = compress::run(&plan, &left, &|_, _| Ok(None), &ctx).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let draft = export::run(plan.file, Source::Made(&variant), &plan, &left, &out, &ctx).unwrap();
    assert_eq!(draft.bytes, plan.bytes, "the plan is exact");
    assert!(10 * plan.bytes < 8 * plan.original_bytes, "{} of {}", plan.bytes, plan.original_bytes);
    draft.publish().unwrap();
    let mut zeros = (*subject.folded).clone();
    for layer in subject.layers.iter().filter(|l| ["layer1.1.conv2", "layer3.2.conv2"].contains(&l.name.as_str())) {
        for wire in [Some(&layer.weight), layer.bias.as_ref()].into_iter().flatten() {
            let tensor = zeros.constants.get_mut(wire).unwrap();
            *tensor = Tensor::zeros(tensor.dtype(), tensor.shape().to_vec()).unwrap();
        }
    }
    let difference = worst(&subject_of(&out, &ctx), &zeros, &ctx);
    assert!(difference <= 1e-4, "{difference:e}");
    // Channels of what is left may go besides.
    recipe.default.channels = ChannelCut::Share { share: 0.3, by: ChannelScore::L2, multiple: 1 };
    let smaller = configure::plan(&recipe, &subject).unwrap();
    let left = compress::prepare(&smaller, &subject, &|_| Ok(None), &ctx).unwrap();
    let variant = compress::run(&smaller, &left, &|_, _| Ok(None), &ctx).unwrap();
    let draft = export::run(smaller.file, Source::Made(&variant), &smaller, &left, &out, &ctx).unwrap();
    assert_eq!(draft.bytes, smaller.bytes, "the plan is exact");
    assert!(smaller.bytes < plan.bytes);
}

#[test]
fn overrides_protect_whole_groups_and_the_plan_says_so() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&corpus.join("models/cifar_resnet20/resnet20.onnx"), &ctx);
    let cut = |share| ChannelCut::Share { share, by: ChannelScore::L1, multiple: 4 };
    let mut recipe = Recipe::new("mixed", Treatment { channels: cut(0.5), ..Treatment::UNCHANGED });
    let name = |i: usize| subject.layers[i].name.clone();
    recipe.overrides.push(Override { channels: Some(ChannelCut::None), ..Override::new(name(2)) });
    recipe.overrides.push(Override { channels: Some(cut(0.99)), ..Override::new(name(1)) });
    let plan = configure::plan(&recipe, &subject).unwrap();
    let cuts = plan.cuts.as_ref().unwrap();
    // The first stage's sums: its layers make the same channels, and one of them keeps its own.
    let stream = cuts.groups.iter().find(|g| g.layers.contains(&0)).unwrap();
    assert!(stream.layers.contains(&2) && stream.kept == stream.channels, "{stream:?}");
    assert!(plan.layers[0].note.as_deref().unwrap().contains(&format!("those of \"{}\" too", name(2))));
    let inner = cuts.groups.iter().find(|g| g.layers == [1]).unwrap();
    assert_eq!((inner.channels, inner.kept), (16, 4), "{inner:?}");
    assert!(plan.layers[1].note.as_deref().unwrap().contains("none would be left"));
    assert!(plan.layers[19].note.as_deref().unwrap().contains("they reach the output"), "{:?}", plan.layers[19].note);
    assert!(plan.layers[3].treatment.channels != ChannelCut::None && plan.layers[0].treatment.channels == ChannelCut::None);
    written(&plan, &subject, &ctx);
}

/// The network as a file that was loaded, and a single sample for it.
fn loaded(net: &Net, sample: &[usize], folder: &Path, ctx: &Ctx) -> (Subject, Dataset) {
    let (model, data) = (folder.join("net.onnx"), folder.join("data.npy"));
    let source = load::onnx::OnnxSource::empty("net");
    std::fs::write(&model, load::onnx::to_bytes(&load::onnx::encode(&net.model(), &source).unwrap())).unwrap();
    let mut random = Random::new(8);
    let values: Vec<f32> = (0..sample.iter().product()).map(|_| random.normal()).collect();
    let shape = sample.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {shape}), }}");
    header += &" ".repeat((64 - (header.len() + 11) % 64) % 64);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(&data, bytes).unwrap();
    let subject = subject(&model, ctx);
    let input = subject.original.data_input().unwrap();
    let data = load::dataset(&data, &load::Preprocess::default(), input, ctx).unwrap();
    assert_eq!(data.len(), 1);
    (subject, data)
}

/// Without normalization, without rectifiers, one channel that is dead and one that never changes.
fn odd() -> Net {
    let mut net = Net::new(&[3, 6, 6]);
    net.conv("a", "x", [6, 3, 3], 1).op("Tanh", &["a"], "t").conv("b", "t", [6, 6, 3], 1).op("Tanh", &["b"], "u");
    net.zero("a.weight", 2).zero("a.bias", 2).zero("a.weight", 4);
    net.output_of("u", 6);
    net
}

#[test]
fn every_score_takes_odd_networks_and_a_single_sample() {
    let folder = tempfile::tempdir().unwrap();
    let [one, three] = [1, 3].map(|threads| Ctx::new(threads).unwrap());
    let (subject, data) = loaded(&odd(), &[3, 6, 6], folder.path(), &one);
    for by in ChannelScore::ALL {
        let channels = ChannelCut::Share { share: 0.34, by, multiple: 1 };
        let recipe = Recipe::new(by.name(), Treatment { channels, ..Treatment::UNCHANGED });
        let plan = configure::plan(&recipe, &subject).unwrap();
        assert_eq!(plan.needs_calibration(), by.needs_data(), "{}", by.name());
        let cuts = plan.cuts.as_ref().unwrap();
        let chosen = |ctx: &Ctx| compress::choose_channels(cuts, &subject, &|_| Ok(Some(data.clone())), ctx).unwrap();
        let removed = chosen(&one);
        assert_eq!(removed, chosen(&three), "{}: the same at any number of threads", by.name());
        assert_eq!(removed.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 0], "{}", by.name());
        assert!(removed[0].contains(&2), "{}: {removed:?}", by.name());
        let warned = one.take_warnings().iter().any(|w| w.message.contains("no batch normalization"));
        assert_eq!(warned, by == ChannelScore::BatchNorm);
        if by.needs_data() {
            let error = compress::cut_channels(&plan, &subject, &|_| Ok(None), &one).unwrap_err().to_string();
            assert!(error.contains(by.name()), "{error}");
            let without = plan.clone().without_data();
            compress::cut_channels(&without, &subject, &|_| Ok(None), &one).unwrap();
        }
        let left = compress::cut_channels(&plan, &subject, &|_| Ok(Some(data.clone())), &one).unwrap();
        assert!(outputs(&left.folded, &one).iter().flatten().all(|v| v.is_finite()));
        drop(one.take_warnings());
    }
}

#[test]
fn nothing_goes_without_a_word() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let (subject, _) = loaded(&odd(), &[3, 6, 6], folder.path(), &ctx);
    let compressed = |treatment: Treatment| {
        let plan = configure::plan(&Recipe::new("r", treatment), &subject).unwrap();
        let left = compress::cut_channels(&plan, &subject, &|_| Ok(None), &ctx).unwrap();
        compress::run(&plan, &left, &|_, _| Ok(None), &ctx).unwrap();
        let said: Vec<String> = ctx.take_warnings().iter().map(ToString::to_string).collect();
        (plan, said)
    };
    let (_, said) = compressed(Treatment { sparsity: Sparsity::Threshold(1e9), ..Treatment::UNCHANGED });
    assert!(said.iter().any(|s| s == "a: nothing is left of it: no weight passes \"|w| < 1000000000\""), "{said:?}");
    let channels = ChannelCut::Share { share: 0.99, by: ChannelScore::L2, multiple: 1 };
    let (plan, said) = compressed(Treatment { channels, ..Treatment::UNCHANGED });
    assert!(said.iter().any(|s| s == "b: 1 of 6 stay: none would be left"), "{said:?}");
    assert_eq!((plan.layers[0].layer.shape.clone(), plan.layers[1].layer.shape.clone()), (vec![1, 3, 3, 3], vec![1, 1, 3, 3]));
    // The first layer reads three inputs: no pattern of four fits them.
    let (plan, _) = compressed(Treatment { sparsity: Sparsity::Pattern { keep: 2, of: 4 }, ..Treatment::UNCHANGED });
    assert!(plan.layers[0].refusal.as_deref().unwrap().contains("reads 3 inputs"), "{:?}", plan.layers[0].refusal);
    assert!(plan.layers[1].note.as_deref().unwrap().contains("where a runtime packs 2 of 4"), "{:?}", plan.layers[1].note);
}
