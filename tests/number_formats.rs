//! Number formats on real weights of the corpus (`LAPIDARY_CORPUS`, else `../shared/data`). Skipped,
//! with a message, where it is not there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::corpus;
use lapidary::engine::Ctx;
use lapidary::engine::formats::{
    Codebook, Entries, Fit, Float, Format, Fp8, Fp8Scale, Granularity, How, Integer, Matrix, Micro, NormalScales, ScaleType,
    Scope, Sharing, Symmetry, Zeros,
};
use lapidary::pipeline::load;
use std::path::Path;

/// One format of every kind, and every width of integers.
fn all() -> Vec<Format> {
    let mut all = Vec::new();
    for bits in (2..=8).chain([16]) {
        for symmetry in [Symmetry::Restricted, Symmetry::Full, Symmetry::Asymmetric] {
            for granularity in [Granularity::Channel, Granularity::Group(64), Granularity::Block { rows: 8, cols: 12 }] {
                all.push(Format::Integer(Integer { bits, symmetry, granularity, scales: ScaleType::F16 }));
            }
        }
    }
    let book = |bits, scope, entries| Format::Codebook(Codebook { bits, scope, entries });
    let scalar = |fit| Entries::Scalar { fit, zeros: Zeros::Apart };
    all.extend([
        Format::Float(Float::F16),
        Format::Float(Float::BF16),
        Format::Float(Float::Fp8 { kind: Fp8::E4M3, scale: Fp8Scale::Channel }),
        Format::Float(Float::Fp8 { kind: Fp8::E5M2, scale: Fp8Scale::Tensor }),
        Format::Normal(NormalScales::F32),
        Format::Normal(NormalScales::Double),
        book(4, Scope::Layer, scalar(Fit::Exact)),
        book(5, Scope::Channels(3), scalar(Fit::Lloyd)),
        book(6, Scope::Layer, scalar(Fit::EqualMass)),
        book(3, Scope::Layer, scalar(Fit::PowerOfTwo)),
        book(6, Scope::Layer, Entries::Pair),
        book(6, Scope::Layer, Entries::Quad),
        Format::Ternary(Sharing::Filter),
        Format::Binary,
    ]);
    let micro =
        [Micro::MxFp4, Micro::MxFp6E2M3, Micro::MxFp6E3M2, Micro::MxFp8E4M3, Micro::MxFp8E5M2, Micro::MxInt8, Micro::NvFp4];
    all.extend(micro.map(Format::Micro));
    all
}

/// Every tensor of two axes or more, as rows of its first axis.
fn matrices(path: &Path, ctx: &Ctx) -> Vec<(String, usize, Vec<f32>)> {
    let model = load::model(path, ctx).unwrap().model;
    let weights = model.constants.iter().filter(|(_, tensor)| tensor.shape().len() > 1 && tensor.dtype().is_float());
    weights.map(|(wire, tensor)| (wire.to_string(), tensor.shape()[0], tensor.to_f32().unwrap())).collect()
}

#[test]
fn every_layer_of_real_networks_takes_the_bytes_foretold() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    for model in ["cifar_resnet20/resnet20.onnx", "stories260K/stories260K.safetensors"] {
        let matrices = matrices(&corpus.join("models").join(model), &ctx);
        assert!(matrices.len() > 10, "{model}: {} weights", matrices.len());
        for (name, rows, values) in &matrices {
            let cols = values.len() / rows;
            let matrix = Matrix::new(values, *rows, cols).unwrap();
            for format in all() {
                let encoded = format.encode(&matrix, &How::default(), &ctx).unwrap();
                let parts = encoded.parts();
                let length = parts.values.len() + parts.scales.len() + parts.zero_points.len() + parts.codebook.len();
                let foretold = format.bytes(*rows, cols).unwrap();
                assert_eq!((encoded.storage(), foretold.total()), (foretold, length as u64), "{model} {name}: {format}");
            }
        }
    }
}
