//! Values computed by ONNX, ONNX Runtime, torch, ml_dtypes, scikit-learn and bitsandbytes.

use super::*;
use crate::engine::formats::observe::Range;
use crate::engine::kernels::affine;
use crate::engine::tensor::MiniFloat;
use crate::engine::tensor::Overflow;

fn grid(bits: u8, symmetry: Symmetry, low: f32, high: f32) -> (f32, i32) {
    let format = Integer { bits, symmetry, granularity: Granularity::Tensor, scales: ScaleType::F32 };
    let grid = format.grid(Range { low, high }).unwrap();
    (grid.scale, grid.zero_point)
}

fn codes(format: Format, values: &[f32]) -> Vec<i32> {
    let matrix = Matrix::new(values, 1, values.len()).unwrap();
    format.encode(&matrix, &How::default(), &ctx()).unwrap().integers().unwrap().0
}

#[test]
fn rounds_as_onnx_does() {
    // The largest is 127, so that the scale is 1.
    let x = [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 126.5, 127.0];
    assert_eq!(codes(Format::per_channel(8), &x), [-2, 0, 0, 2, 2, 4, 126, 127]);
}

#[test]
fn blocks_are_read_as_onnx_reads_them() {
    // int4 with zero points, blocks of three: codes and zero points moved up by 8, which changes nothing.
    let q: [[i32; 6]; 2] = [[-8, 2, 7, 4, -8, 2], [3, 5, -6, 6, -4, -2]];
    let (s, z) = ([0.1_f32, 1.0, 0.05, 1.25], [0, 0, 1, -2]);
    let mut parts = Parts::default();
    pack::pack(&q.as_flattened().iter().map(|q| (q + 8) as u16).collect::<Vec<_>>(), 4, &mut parts.values);
    pack::pack(&z.map(|z: i32| (z + 8) as u16), 4, &mut parts.zero_points);
    parts.scales = s.iter().flat_map(|s| s.to_le_bytes()).collect();
    let format = integer(4, Symmetry::Asymmetric, Granularity::Group(3));
    let decoded = Encoded::new(format, Shape::new(2, 6).unwrap(), parts).unwrap().decode(&ctx());
    for (at, value) in decoded.iter().enumerate() {
        let group = at / 3;
        assert_eq!(*value, (q[at / 6][at % 6] - z[group]) as f32 * s[group]);
    }
}

#[test]
fn scales_are_those_of_onnx_runtime() {
    use Symmetry::{Asymmetric, Full, Restricted};
    assert_eq!(grid(8, Asymmetric, -1.3, 2.7), (0.015_686_275_4, 83));
    assert_eq!(grid(8, Restricted, -1.3, 2.7), (0.021_259_842_4, 0));
    assert_eq!(grid(8, Full, -1.3, 2.7), (0.021_176_470_4, 0));
    assert_eq!(grid(4, Full, -1.3, 2.7), (0.36, 0));
    assert_eq!(grid(8, Asymmetric, 0.4, 2.7), (0.010_588_235_2, 0));
    assert_eq!(grid(8, Asymmetric, -3.0, -0.2), (0.011_764_706_1, 255));
    assert_eq!(codes(integer(4, Full, Granularity::Tensor), &[-0.7, -0.3, 0.05, 0.35, 0.7]), [-8, -3, 1, 4, 7]);
    // torch's observers: 9/127.5, and the range of its histogram observer.
    assert_eq!(grid(8, Full, -6.0, 9.0), (0.070_588_238_5, 0));
    assert_eq!(grid(8, Asymmetric, -6.0, 8.992_675_781_25), (0.058_794_807_6, 102));
}

/// What the pipeline did before there were formats must not change by a bit.
#[test]
fn min_max_grids_are_those_of_the_affine_kernels() {
    let values = normal(6 * 75, 12);
    let matrix = Matrix::new(&values, 6, 75).unwrap();
    for (bits, wide) in (2..=8).flat_map(|bits| [(bits, 75), (bits, 32)]) {
        for symmetry in [Symmetry::Restricted, Symmetry::Asymmetric] {
            let mut out = vec![0.0; values.len()];
            integer(bits, symmetry, Granularity::Group(wide)).approximate(&matrix, &How::default(), &ctx(), &mut out).unwrap();
            let groups = values.chunks(75).flat_map(|row| row.chunks(wide));
            let expected = groups.flat_map(|group| {
                let (low, high) = affine::min_max(group);
                let grid = match symmetry {
                    Symmetry::Asymmetric => affine::asymmetric(low, high, bits),
                    _ => affine::symmetric(low.abs().max(high.abs()), bits),
                };
                group.iter().map(move |x| grid.dequantize(grid.quantize(*x)))
            });
            assert!(out.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{bits} {symmetry:?} {wide}");
        }
    }
}

#[test]
fn powers_of_two_round_up() {
    let power = |s: f32| {
        let format =
            Integer { bits: 8, symmetry: Symmetry::Restricted, granularity: Granularity::Tensor, scales: ScaleType::PowerOfTwo };
        format.grid(Range { low: 0.0, high: s * 127.0 }).unwrap().scale
    };
    assert_eq!([0.0213, 0.03, 0.015_686_275_4].map(power), [0.03125, 0.03125, 0.015_625 * 2.0]);
}

#[test]
fn the_best_range_is_that_of_gptq() {
    let row = [0.02_f32, -0.11, 0.45, -0.3, 0.07, 0.18, -0.05, 2.2];
    let target = Integer { bits: 4, symmetry: Symmetry::Full, granularity: Granularity::Tensor, scales: ScaleType::F32 };
    let range = Observer::Grid { exponent: 2.4 }.of_weights(&row, &target);
    let grid = target.grid(range).unwrap();
    assert!(range.high == 2.2 && (grid.scale - 0.293_333_3).abs() < 1e-7, "{range:?} {grid:?}");
    let error: f64 = row.iter().map(|x| f64::from((grid.dequantize(grid.quantize(*x)) - x).abs()).powf(2.4)).sum();
    assert!((error - 0.031_322_4).abs() < 1e-6, "{error}");
}

#[test]
fn ternary_and_binary() {
    let row = [0.9_f32, -0.05, 0.4, -1.2, 0.1, 0.02, -0.6, 0.3];
    let matrix = Matrix::new(&row, 1, 8).unwrap();
    let ternary = Format::Ternary(Sharing::Filter).encode(&matrix, &How::default(), &ctx()).unwrap().decode(&ctx());
    let signs = [1.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0, 0.0];
    assert!(ternary.iter().zip(signs).all(|(t, sign)| (t - 0.775 * sign).abs() < 1e-6), "{ternary:?}");
    let binary = Format::Binary.encode(&matrix, &How::default(), &ctx()).unwrap().decode(&ctx());
    assert!(binary.iter().zip(row).all(|(b, x)| (b - 0.44625_f32.copysign(x)).abs() < 1e-6), "{binary:?}");
}

#[test]
fn small_floats() {
    let round = |float: &MiniFloat, x: f64| float.decode(float.encode_by(x, Overflow::Saturate, f64::round_ties_even));
    let pairs = [(1.0625, 1.0), (1.1875, 1.25), (2_f64.powi(-10), 0.0), (0.002_929_687_5, 0.003_906_25), (464.0, 448.0)];
    assert!(pairs.iter().all(|(x, y)| round(&MiniFloat::E4M3FN, *x) == *y as f32));
    assert!([(1.125, 1.0), (1.375, 1.5), (61439.0, 57344.0)].iter().all(|(x, y)| round(&MiniFloat::E5M2, *x) == *y));
    let x = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
    assert_eq!(x.map(|x| round(&MiniFloat::E2M1, x)), [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
    let sizes = [MiniFloat::E2M3, MiniFloat::E3M2, MiniFloat::F16, MiniFloat::BF16];
    assert_eq!(sizes.map(|f| (f.bits(), f.max())), [(6, 7.5), (6, 28.0), (16, 65504.0), (16, 3.389_531_389e38)]);
    assert_eq!(MiniFloat::E2M3.decode(1), 0.125);
    assert_eq!(MiniFloat::E3M2.decode(1), 0.0625);
}

#[test]
fn halves_are_those_of_the_library() {
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let x = f32::from_bits(random.next_u64() as u32);
        if !x.is_finite() {
            continue;
        }
        let code = |float: &MiniFloat| float.encode_by(f64::from(x), Overflow::Saturate, f64::round_ties_even);
        let half = half::f16::from_f32(x.clamp(-65504.0, 65504.0));
        assert_eq!((code(&MiniFloat::F16), MiniFloat::F16.decode(half.to_bits())), (half.to_bits(), half.to_f32()), "{x:e}");
        let brain = half::bf16::from_f32(x);
        if brain.is_finite() {
            assert_eq!(
                (code(&MiniFloat::BF16), MiniFloat::BF16.decode(brain.to_bits())),
                (brain.to_bits(), brain.to_f32()),
                "{x:e}"
            );
        }
    }
}

fn block(first: [f32; 8]) -> Vec<f32> {
    let mut block = first.to_vec();
    block.resize(32, 0.0);
    block
}

#[test]
fn microscaling_blocks() {
    let values = block([5.0, 2.5, -7.0, 0.3, 0.75, 1.25, -0.1, 3.5]);
    let matrix = Matrix::new(&values, 1, 32).unwrap();
    let encode = |micro| Format::Micro(micro).encode(&matrix, &How::default(), &ctx()).unwrap();
    let fp4 = encode(Micro::MxFp4);
    assert_eq!(fp4.parts().scales, [127]);
    assert_eq!(fp4.decode(&ctx())[..8], [4.0, 2.0, -6.0, 0.5, 1.0, 1.0, -0.0, 4.0]);
    let int8 = encode(Micro::MxInt8);
    assert_eq!(int8.parts().scales, [129]);
    assert_eq!(int8.parts().values[..8], [80, 40, -112_i8 as u8, 5, 12, 20, -2_i8 as u8, 56]);
    // NVFP4: g = 7/2688, the block's scale is the E4M3 number nearest to 7/(6·g) = 448.
    let nv = encode(Micro::NvFp4);
    assert_eq!(nv.parts().scales[..2], [0x7E, 0]);
    let largest = nv.decode(&ctx())[2];
    assert!((largest + 7.0).abs() < 1e-5, "{largest}");
}

#[test]
fn normal_float_codes() {
    let values = [0.9_f32, -1.3, 0.05, 0.6, -0.21, 2.0, -2.0, 0.0];
    let matrix = Matrix::new(&values, 1, 8).unwrap();
    let encoded = Format::Normal(NormalScales::F32).encode(&matrix, &How::default(), &ctx()).unwrap();
    let mut codes = [0; 8];
    pack::unpack(&encoded.parts().values, 4, &mut codes);
    assert_eq!(codes, [12, 1, 7, 11, 6, 15, 0, 7]);
}

#[test]
fn weight_sharing_of_deep_compression() {
    let weights = [2.09_f32, -0.98, 1.48, 0.09, 0.05, -0.14, -1.08, 2.12, -0.91, 1.92, 0.0, -1.03, 1.87, 0.0, 1.53, 1.49];
    let matrix = Matrix::new(&weights, 4, 4).unwrap();
    for fit in [Fit::Lloyd, Fit::Exact] {
        let format = Format::Codebook(scalar(2, fit, Zeros::Shared));
        let encoded = format.encode(&matrix, &How::default(), &ctx()).unwrap();
        let mut codes = [0; 16];
        pack::unpack(&encoded.parts().values, 2, &mut codes);
        assert_eq!(codes, [3, 0, 2, 1, 1, 1, 0, 3, 0, 3, 1, 0, 3, 1, 2, 2]);
        for (level, expected) in encoded.levels(0, 0).iter().zip([-1.0, 0.0, 1.5, 2.0]) {
            assert!((level - expected).abs() < 1e-6, "{level} {expected}");
        }
        let decoded = encoded.decode(&ctx());
        let inertia: f64 = weights.iter().zip(decoded).map(|(w, d)| f64::from(w - d).powi(2)).sum();
        assert!((inertia - 0.0932).abs() < 1e-6, "{inertia}");
        // 16 weights of 32 bits against 16 numbers of 2 bits and 4 entries.
        assert_eq!(64.0 / encoded.storage().total() as f64, 3.2);
    }
}
