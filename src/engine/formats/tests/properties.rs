use super::*;
use crate::engine::kernels::affine::ErrorSums;

const ROWS: usize = 7;
const COLS: usize = 192;

fn encode(format: Format, values: &[f32], rows: usize, rounding: Rounding) -> Encoded {
    let matrix = Matrix::new(values, rows, values.len() / rows).unwrap();
    format.encode(&matrix, &How { rounding, ..How::default() }, &ctx()).unwrap()
}

#[test]
fn the_bytes_are_those_foretold() {
    for (rows, cols) in [(ROWS, COLS), (3, 70), (9, 1), (1, 33), (65, 65), (0, 5), (5, 0), (2, 1000)] {
        let values = normal(rows * cols, 1);
        let matrix = Matrix::new(&values, rows, cols).unwrap();
        for (format, _) in all() {
            let encoded = format.encode(&matrix, &How::default(), &ctx()).unwrap();
            assert_eq!(encoded.storage(), format.bytes(rows, cols).unwrap(), "{format} of {rows} × {cols}");
            let parts = encoded.parts();
            let length = parts.values.len() + parts.scales.len() + parts.zero_points.len() + parts.codebook.len();
            assert_eq!(encoded.storage().total(), length as u64, "{format}");
        }
    }
}

#[test]
fn known_sizes() {
    let bytes = |format: Format| format.bytes(64, 256).unwrap();
    let group =
        |bits, symmetry, scales| Format::Integer(Integer { bits, symmetry, granularity: Granularity::Group(128), scales });
    let per_weight = |format: Format| bytes(format).bits_per_weight(64, 256).unwrap();
    assert_eq!(per_weight(group(4, Symmetry::Restricted, ScaleType::F16)), 4.125);
    assert_eq!(per_weight(group(4, Symmetry::Asymmetric, ScaleType::F16)), 4.15625);
    assert_eq!(per_weight(Format::per_channel(8)), 8.0 + 32.0 / 256.0);
    assert_eq!(per_weight(Format::Micro(Micro::MxFp4)), 4.25);
    assert_eq!(per_weight(Format::Micro(Micro::MxFp6E2M3)), 6.25);
    assert_eq!(bytes(Format::Micro(Micro::NvFp4)).total(), 64 * 256 * 9 / 16 + 4);
    assert_eq!(per_weight(Format::Normal(NormalScales::F32)), 4.5);
    // 256 blocks of 64: one byte each, a step and the mean.
    assert_eq!(bytes(Format::Normal(NormalScales::Double)).scales, 256 + 4 + 4);
    assert_eq!(bytes(Format::Codebook(scalar(4, Fit::Exact, Zeros::Apart))).codebook, 15 * 4);
    let pairs = Codebook { bits: 8, scope: Scope::Layer, entries: Entries::Pair };
    assert_eq!(bytes(Format::Codebook(pairs)), Storage { values: 64 * 128, codebook: 256 * 2 * 4, ..Storage::default() });
    assert_eq!(bytes(Format::Ternary(Sharing::Layer)).total(), 64 * 256 / 4 + 4);
    assert_eq!(Format::Micro(Micro::MxFp4).bytes(2, 33).unwrap().padding, 2 * 32 - 33);
}

#[test]
fn the_error_is_neither_too_large_nor_too_small() {
    let values = normal(ROWS * COLS, 2);
    for (format, bounds) in all() {
        let decoded = encode(format, &values, ROWS, Rounding::NearestEven).decode(&ctx());
        let mut sums = ErrorSums::default();
        sums.add_slices(&values, &decoded);
        assert!(bounds.contains(&sums.sqnr_db()), "{format}: {} dB, not {bounds:?}", sums.sqnr_db());
    }
}

#[test]
fn every_weight_becomes_the_nearest_level() {
    let values = normal(ROWS * COLS, 3);
    for (format, _) in all() {
        let vectors = matches!(format, Format::Codebook(Codebook { entries: Entries::Pair | Entries::Quad, .. }));
        let encoded = encode(format, &values, ROWS, Rounding::NearestEven);
        let decoded = encoded.decode(&ctx());
        for at in (0..values.len()).step_by(11) {
            let (x, y, levels) = (values[at], decoded[at], encoded.levels(at / COLS, at % COLS));
            assert!(levels.contains(&y), "{format}: {y} is no level");
            assert!(levels.windows(2).all(|w| w[0] < w[1]), "{format}");
            // With zeros apart, a weight next to zero must still not become it.
            let apart = format.to_string().contains("zeros apart");
            if !vectors && !apart && !matches!(format, Format::Ternary(_)) {
                let least = levels.iter().map(|l| (l - x).abs()).fold(f32::INFINITY, f32::min);
                assert!((x - y).abs() <= least * 1.00001 + 1e-6, "{format}: {x} became {y}, though {least} away is a level");
            }
        }
    }
}

#[test]
fn order_is_kept() {
    let mut values = normal(ROWS * COLS, 4);
    values[5] = 0.0;
    for (format, _) in all() {
        let vectors = matches!(format, Format::Codebook(Codebook { entries: Entries::Pair | Entries::Quad, .. }));
        // Weights of one run of 16 share all scales, but for groups of 50.
        if vectors || matches!(format, Format::Integer(Integer { granularity: Granularity::Group(50), .. })) {
            continue;
        }
        let decoded = encode(format, &values, ROWS, Rounding::NearestEven).decode(&ctx());
        for (x, y) in values.chunks(16).zip(decoded.chunks(16)) {
            for (i, j) in (0..16).flat_map(|i| (0..16).map(move |j| (i, j))) {
                assert!(x[i] > x[j] || y[i] <= y[j], "{format}: {} < {} became {} > {}", x[i], x[j], y[i], y[j]);
            }
        }
    }
}

#[test]
fn both_ways_at_once_are_both_ways() {
    let values = normal(ROWS * COLS, 5);
    let matrix = Matrix::new(&values, ROWS, COLS).unwrap();
    for rounding in [Rounding::NearestEven, Rounding::NearestAway, Rounding::Ceiling, Rounding::Stochastic { seed: 9 }] {
        for range in [Observer::MinMax, Observer::MSE] {
            let how = How { rounding, range, ..How::default() };
            for (format, _) in all() {
                let mut at_once = vec![0.0; values.len()];
                format.approximate(&matrix, &how, &ctx(), &mut at_once).unwrap();
                let encoded = format.encode(&matrix, &how, &ctx()).unwrap();
                assert!(
                    at_once.iter().zip(encoded.decode(&ctx())).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{format} {rounding:?}"
                );
                let again = Encoded::new(format, encoded.shape(), encoded.parts().clone()).unwrap();
                assert_eq!(again, encoded);
            }
        }
    }
}

#[test]
fn threads_make_no_difference() {
    let (rows, cols) = (300, 512);
    let values = normal(rows * cols, 6);
    let matrix = Matrix::new(&values, rows, cols).unwrap();
    let (one, four) = (Ctx::new(1).unwrap(), Ctx::new(4).unwrap());
    let how = How { rounding: Rounding::Stochastic { seed: 3 }, range: Observer::Gaussian, ..How::default() };
    for (format, _) in all().into_iter().step_by(3) {
        let (a, b) = (format.encode(&matrix, &how, &one).unwrap(), format.encode(&matrix, &how, &four).unwrap());
        assert_eq!(a, b, "{format}");
        assert_eq!(a.decode(&one), a.decode(&four), "{format}");
    }
}

#[test]
fn roundings_do_what_they_say() {
    let values: Vec<f32> = normal(ROWS * COLS, 7);
    let error = |format, rounding| {
        let decoded = encode(format, &values, ROWS, rounding).decode(&ctx());
        let all: Vec<f64> = values.iter().zip(&decoded).map(|(x, y)| f64::from(y - x)).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let (low, high) = all.iter().fold((0.0_f64, 0.0_f64), |(l, h), e| (l.min(*e), h.max(*e)));
        (mean, low, high)
    };
    let formats = [
        Format::per_channel(4),
        integer(4, Symmetry::Asymmetric, Granularity::Group(32)),
        Format::Micro(Micro::MxInt8),
        Format::Normal(NormalScales::F32),
        Format::Codebook(scalar(4, Fit::Lloyd, Zeros::Shared)),
        Format::Float(Float::Fp8 { kind: Fp8::E4M3, scale: Fp8Scale::Channel }),
    ];
    for format in formats {
        let (_, low, high) = error(format, Rounding::NearestEven);
        let step = high.max(-low);
        // What lies beyond the last level cannot go farther.
        let (mean, _, above) = error(format, Rounding::Floor);
        assert!(mean < -0.05 * step && above <= 1.01 * step, "{format}: {mean} {above}");
        let (mean, below, _) = error(format, Rounding::Ceiling);
        assert!(mean > 0.05 * step && below >= -1.01 * step, "{format}: {mean} {below}");
        let (mean, below, above) = error(format, Rounding::Stochastic { seed: 1 });
        assert!(
            mean.abs() < 0.06 * step && above > 1.05 * step && below < -1.05 * step,
            "{format}: {mean} {below} {above} {step}"
        );
        assert_ne!(error(format, Rounding::Stochastic { seed: 1 }), error(format, Rounding::Stochastic { seed: 2 }));
    }
    // Ties: scale 1, since the largest is 7.
    let ties = [7.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5];
    let rounded = |rounding| encode(Format::per_channel(4), &ties, 1, rounding).decode(&ctx());
    assert_eq!(rounded(Rounding::NearestEven), [7.0, 0.0, 2.0, 2.0, 0.0, -2.0, -2.0]);
    assert_eq!(rounded(Rounding::NearestAway), [7.0, 1.0, 2.0, 3.0, -1.0, -2.0, -3.0]);
    assert_eq!(rounded(Rounding::Floor), [7.0, 0.0, 1.0, 2.0, -1.0, -2.0, -3.0]);
    assert_eq!(rounded(Rounding::Ceiling), [7.0, 1.0, 2.0, 3.0, 0.0, -1.0, -2.0]);
}

#[test]
fn the_exact_codebook_is_the_best() {
    let values = normal(11, 8);
    let error = |decoded: &[f32]| values.iter().zip(decoded).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
    let mut sorted: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let cost = |part: &[f64]| {
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        part.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
    };
    // Every way to cut eleven values into four runs.
    let mut best = f64::INFINITY;
    for (a, b, c) in (1..9).flat_map(|a| (a + 1..10).flat_map(move |b| (b + 1..11).map(move |c| (a, b, c)))) {
        best = best.min(cost(&sorted[..a]) + cost(&sorted[a..b]) + cost(&sorted[b..c]) + cost(&sorted[c..]));
    }
    let decoded =
        encode(Format::Codebook(scalar(2, Fit::Exact, Zeros::Shared)), &values, 1, Rounding::NearestEven).decode(&ctx());
    assert!((error(&decoded) - best).abs() < 1e-6 * best, "{} {best}", error(&decoded));
    let many = normal(5000, 9);
    for bits in 1..=8 {
        let error = |fit| {
            let decoded =
                encode(Format::Codebook(scalar(bits, fit, Zeros::Shared)), &many, 1, Rounding::NearestEven).decode(&ctx());
            many.iter().zip(&decoded).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
        };
        let (exact, lloyd, mass) = (error(Fit::Exact), error(Fit::Lloyd), error(Fit::EqualMass));
        assert!(exact > 0.0 && exact <= lloyd * 1.00001 && exact < mass * 1.00001, "{bits} bits: {exact} {lloyd} {mass}");
    }
}

#[test]
fn pruned_weights_stay_pruned() {
    let mut values = normal(ROWS * COLS, 10);
    for v in values.iter_mut().filter(|v| v.abs() < 0.8) {
        *v = 0.0;
    }
    for fit in [Fit::Exact, Fit::Lloyd, Fit::EqualMass, Fit::PowerOfTwo] {
        let encoded = encode(Format::Codebook(scalar(3, fit, Zeros::Apart)), &values, ROWS, Rounding::NearestEven);
        for (x, y) in values.iter().zip(encoded.decode(&ctx())) {
            assert_eq!(*x == 0.0, y == 0.0, "{fit:?}: {x} became {y}");
        }
        assert!(encoded.levels(0, 0).contains(&0.0));
    }
}

#[test]
fn which_formats_need_training() {
    let need: Vec<Format> = all().into_iter().map(|f| f.0).filter(Format::needs_training).collect();
    assert_eq!(need, [Format::Ternary(Sharing::Layer), Format::Ternary(Sharing::Filter), Format::Binary]);
}
