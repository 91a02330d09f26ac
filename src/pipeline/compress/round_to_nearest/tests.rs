use super::{decode, encode};
use crate::engine::Ctx;
use crate::engine::formats::{Encoded, Format, Granularity, How, Integer, ScaleType, Symmetry};
use crate::engine::graph::{Layer, LayerKind, NodeId, Wire};
use crate::engine::kernels::affine::ErrorSums;
use crate::engine::random::Random;

fn layer(shape: Vec<usize>, out_axis: usize) -> Layer {
    let wire = Wire::from("w");
    Layer {
        name: "l".to_owned(),
        node: Some(NodeId(0)),
        kind: LayerKind::Gemm,
        input: wire.clone(),
        output: wire.clone(),
        weight: wire,
        bias: None,
        shape,
        out_axis,
        macs: None,
    }
}

fn integer(bits: u8, symmetric: bool, granularity: Granularity) -> Format {
    let symmetry = if symmetric { Symmetry::Restricted } else { Symmetry::Asymmetric };
    Format::Integer(Integer { bits, symmetry, granularity, scales: ScaleType::F32 })
}

fn quantize(weights: &[f32], layer: &Layer, format: Format) -> (Encoded, Vec<f32>) {
    let encoded = encode(weights, layer, format, &How::default(), &Ctx::new(1).unwrap()).unwrap();
    let approximate = decode(&encoded, layer);
    (encoded, approximate)
}

fn sqnr(weights: &[f32], layer: &Layer, format: Format) -> f64 {
    let mut sums = ErrorSums::default();
    sums.add_slices(weights, &quantize(weights, layer, format).1);
    sums.sqnr_db()
}

#[test]
fn error_lies_within_half_a_step_of_every_group() {
    let mut random = Random::new(1);
    let layer = layer(vec![3, 40], 0);
    let weights: Vec<f32> = (0..120).map(|_| random.normal()).collect();
    for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Group(16)] {
        for symmetric in [true, false] {
            let (encoded, approximate) = quantize(&weights, &layer, integer(4, symmetric, granularity));
            let widest = encoded.integers().unwrap().1.iter().map(|g| g.scale).fold(0.0, f32::max);
            for (w, a) in weights.iter().zip(&approximate) {
                assert!((w - a).abs() <= 0.5001 * widest, "{granularity} {symmetric}: {w} became {a} with steps of {widest}");
            }
        }
    }
}

#[test]
fn each_bit_buys_about_six_decibels() {
    let mut random = Random::new(2);
    let layer = layer(vec![64, 256], 0);
    let weights: Vec<f32> = (0..64 * 256).map(|_| random.normal()).collect();
    let at = |bits| sqnr(&weights, &layer, integer(bits, true, Granularity::Channel));
    for bits in 4..8 {
        let gain = at(bits + 1) - at(bits);
        assert!((5.5..7.5).contains(&gain), "{bits} bits to {}: {gain} dB", bits + 1);
    }
    assert!((38.0..44.0).contains(&at(8)), "8 bits: {}", at(8));
}

#[test]
fn one_scale_breaks_channels_of_different_range() {
    let mut random = Random::new(3);
    let layer = layer(vec![8, 8], 1);
    // Column c has range 10^-(c/2): the small ones drown under one shared step.
    let weights: Vec<f32> = (0..64_i32).map(|i| random.normal() * 10_f32.powf(-((i % 8) as f32) / 2.0)).collect();
    let small_column_error = |granularity| {
        let (_, approximate) = quantize(&weights, &layer, integer(8, true, granularity));
        (0..8).map(|r| (weights[r * 8 + 7] - approximate[r * 8 + 7]).abs() / weights[r * 8 + 7].abs()).sum::<f32>() / 8.0
    };
    assert!(small_column_error(Granularity::Tensor) > 0.5);
    assert!(small_column_error(Granularity::Channel) < 0.05);
}

#[test]
fn zero_stays_zero() {
    let layer = layer(vec![1, 4], 0);
    for symmetric in [true, false] {
        for bits in 2..=8 {
            let (_, a) = quantize(&[0.0, 0.7, -0.31, 0.0], &layer, integer(bits, symmetric, Granularity::Channel));
            assert_eq!((a[0], a[3]), (0.0, 0.0), "{bits} {symmetric}");
        }
    }
}
