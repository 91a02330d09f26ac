use super::*;
use crate::engine::formats::observe::{Accumulator, Bins, ChannelSums, Range, entropy, entropy_window, shrink};
use crate::engine::kernels::affine::ErrorSums;

const INT8: Integer =
    Integer { bits: 8, symmetry: Symmetry::Restricted, granularity: Granularity::Tensor, scales: ScaleType::F32 };
const UINT8: Integer = Integer { symmetry: Symmetry::Asymmetric, ..INT8 };

/// Heavy tails, evenly drawn; the second adds two outliers.
fn tails() -> (Vec<f32>, Vec<f32>) {
    let x = |i: i32| {
        let u = (f64::from(i) + 0.5) / 8192.0;
        ((u - 0.5).signum() * (2.0 * u - 1.0).abs().powi(3) * 4.0) as f32
    };
    let plain: Vec<f32> = (0..8192).map(x).collect();
    let with = plain.iter().copied().chain([9.0, -6.0]).collect();
    (plain, with)
}

/// Counts as numpy has them: the last bin holds its upper edge.
fn bins(values: &[f32], reach: f64, count: usize) -> Bins {
    let width = 2.0 * reach / count as f64;
    let mut bins = Bins { low: -reach, width, counts: vec![0; count] };
    for value in values {
        let bin = ((f64::from(*value) + reach) / width) as usize;
        bins.counts[bin.min(count - 1)] += 1;
    }
    bins
}

fn seen(values: &[f32]) -> Accumulator {
    let mut seen = Accumulator::default();
    seen.add(values);
    seen
}

#[test]
fn thresholds_of_onnx_runtime() {
    let (_, x) = tails();
    let fine = bins(&x, 9.0, 2048);
    assert_eq!(entropy_window(&fine, 128), Some((-4.886_718_75, 4.895_507_812_5)));
    // At its defaults the tool has one window: all there is.
    assert_eq!(entropy_window(&bins(&x, 9.0, 128), 128), Some((-9.0, 9.0)));
    let percentile = |p: f64| {
        let cut = (100.0 - p) / 200.0;
        (fine.edge_at(cut).max(-6.0), fine.edge_at(1.0 - cut).min(9.0))
    };
    assert_eq!(percentile(99.0), (-3.893_554_687_5, 3.884_765_625));
    assert_eq!(percentile(99.9), (-3.990_234_375, 3.981_445_312_5));
    assert_eq!(percentile(99.99), (-6.0, 8.991_210_937_5));
}

#[test]
fn our_percentile_is_as_near_as_its_bins_are_wide() {
    let (_, x) = tails();
    let seen = seen(&x);
    // 9 lies below 16 = 4096 bins.
    let bin = 16.0 / 4096.0;
    for (p, low, high) in [(99.0, -3.8935, 3.8847), (99.9, -3.9902, 3.9814), (99.99, -6.0, 8.9912)] {
        let range = Observer::Percentile(p).of_data(&seen, &UINT8).unwrap();
        assert!((range.low - low).abs() < 2.5 * bin && (range.high - high).abs() < 2.5 * bin, "{p}: {range:?}");
    }
    let range = Observer::Percentile(100.0).of_data(&seen, &INT8).unwrap();
    assert!(range.high > 8.9 && range.low == -range.high);
}

#[test]
fn the_moving_average_of_torch() {
    let (plain, with) = tails();
    let mut seen = seen(&plain);
    seen.add(&with);
    let range = seen.average().unwrap();
    assert!((range.low + 4.018_549_9).abs() < 1e-6 && (range.high - 4.048_550_1).abs() < 1e-6, "{range:?}");
}

/// Counts over all there is, as torch has them.
fn bins_of_all(values: &[f32], count: usize) -> Bins {
    let all = seen(values).range().unwrap();
    let (low, width) = (f64::from(all.low), (f64::from(all.high) - f64::from(all.low)) / count as f64);
    let mut bins = Bins { low, width, counts: vec![0; count] };
    for value in values {
        let bin = ((f64::from(*value) - low) / width) as usize;
        bins.counts[bin.min(count - 1)] += 1;
    }
    bins
}

#[test]
fn the_histogram_observer_of_torch() {
    let (_, x) = tails();
    let range = shrink(&bins_of_all(&x, 2048), 256).unwrap();
    assert_eq!((range.low, range.high), (-6.0, 8.992_675_781_25));
    let grid = UINT8.grid(range).unwrap();
    assert!((grid.scale - 0.058_794_807_6).abs() < 1e-8 && grid.zero_point == 102, "{grid:?}");
}

#[test]
fn entropy_cuts_tails_that_say_little() {
    // Normal values with one far outlier: 2048 bins over it would leave few for the rest.
    let mut x = normal(100_000, 1);
    x.push(60.0);
    let range = Observer::Entropy.of_data(&seen(&x), &INT8).unwrap();
    assert!((2.5..30.0).contains(&range.high), "{range:?}");
    // Positive data on an asymmetric grid: twice the levels, no negative end.
    let positive: Vec<f32> = x.iter().map(|v| v.abs()).collect();
    let range = Observer::Entropy.of_data(&seen(&positive), &UINT8).unwrap();
    assert!(range.low == 0.0 || range.low > 0.0 && range.low < 0.01, "{range:?}");
    // What fits the levels exactly is kept whole.
    let flat = Bins { low: 0.0, width: 0.5, counts: vec![7; 2048] };
    assert_eq!(entropy(&flat, 128), Some(1024.0));
    assert_eq!(entropy(&Bins::default(), 128), None);
}

#[test]
fn normal_weights_lose_as_little_as_can_be() {
    let x = normal(1 << 18, 2);
    let matrix = Matrix::new(&x, 1, x.len()).unwrap();
    for (bits, best, all) in [(4, 19.25, 14.2), (6, 29.81, 27.1), (8, 40.6, 39.4)] {
        let sqnr = |range| {
            let mut out = vec![0.0; x.len()];
            let format = integer(bits, Symmetry::Full, Granularity::Tensor);
            format.approximate(&matrix, &How { range, ..How::default() }, &ctx(), &mut out).unwrap();
            let mut sums = ErrorSums::default();
            sums.add_slices(&x, &out);
            sums.sqnr_db()
        };
        assert!((sqnr(Observer::Gaussian) - best).abs() < 0.25, "{bits}: {}", sqnr(Observer::Gaussian));
        assert!((sqnr(Observer::MSE) - best).abs() < 0.25, "{bits}: {}", sqnr(Observer::MSE));
        assert!((sqnr(Observer::MinMax) - all).abs() < 1.5, "{bits}: {}", sqnr(Observer::MinMax));
        // From the histogram about the same range follows as from every weight.
        let Format::Integer(target) = integer(bits, Symmetry::Full, Granularity::Tensor) else { return };
        let (exact, near) = (Observer::MSE.of_weights(&x, &target), Observer::MSE.of_data(&seen(&x), &target).unwrap());
        assert!((exact.high / near.high - 1.0).abs() < 0.05, "{bits}: {exact:?} {near:?}");
    }
}

#[test]
fn parts_merge_to_the_whole() {
    let mut random = Random::new(4);
    let batches: Vec<Vec<f32>> =
        (0..9_i32).map(|i| (0..5000).map(|_| random.normal() * 10_f32.powi(i % 5 - 3)).collect()).collect();
    let mut whole = Accumulator::default();
    for batch in &batches {
        whole.add(batch);
    }
    let part = |batches: &[Vec<f32>]| {
        let mut part = Accumulator::default();
        for batch in batches {
            part.add(batch);
        }
        part
    };
    for cut in [0, 1, 4, 9] {
        let mut merged = part(&batches[..cut]);
        merged.merge(&part(&batches[cut..]));
        assert_eq!((merged.count(), merged.range(), merged.histogram()), (whole.count(), whole.range(), whole.histogram()));
        let (a, b) = (merged.average().unwrap(), whole.average().unwrap());
        assert!((a.low - b.low).abs() <= 1e-6 * b.low.abs() && (a.high - b.high).abs() <= 1e-6 * b.high.abs());
        assert!((merged.mean_square() - whole.mean_square()).abs() < 1e-12 * whole.mean_square());
    }
    assert_eq!(whole.histogram().total(), 45_000);
    // The bins hold what they say: counted again, one by one.
    let bins = whole.histogram().bins();
    let mut again = vec![0_u64; bins.counts.len()];
    batches.iter().flatten().for_each(|v| again[((f64::from(*v) - bins.low) / bins.width).floor() as usize] += 1);
    assert_eq!(again, bins.counts);
    let magnitudes = whole.histogram().magnitudes();
    assert!(magnitudes.counts.len() >= 2048 && magnitudes.counts.iter().sum::<u64>() == 45_000);
}

#[test]
fn large_batches_count_alike_on_any_threads() {
    let x = normal(3_000_000, 5);
    let on = |threads| Ctx::new(threads).unwrap().pool().install(|| seen(&x));
    assert_eq!(on(1), on(4));
    assert_eq!(on(2).histogram().total(), 3_000_000);
    let exact: f64 = x.iter().map(|v| f64::from(*v)).sum();
    assert!((on(2).mean() * 3e6 - exact).abs() < 1e-6 * 3e6);
}

#[test]
fn what_is_no_number_is_counted_apart() {
    let mut seen = seen(&[1.0, f32::NAN, -2.0, f32::INFINITY, 0.5]);
    seen.add(&[f32::NAN]);
    assert_eq!((seen.count(), seen.not_finite(), seen.range()), (3, 3, Some(Range { low: -2.0, high: 1.0 })));
    assert_eq!(seen.histogram().total(), 3);
    let nothing = Accumulator::default();
    for observer in [Observer::MinMax, Observer::MovingAverage, Observer::Entropy, Observer::MSE, Observer::Gaussian] {
        assert_eq!(observer.of_data(&nothing, &INT8), None);
    }
}

#[test]
fn channels_are_told_apart() {
    let mut linear = ChannelSums::new(3);
    linear.add(&[1.0, -2.0, 0.0, 3.0, 0.5, f32::NAN]);
    assert_eq!(linear.absmax(), [3.0, 2.0, 0.0]);
    assert_eq!(linear.mean_squares(), [5.0, 2.125, 0.0]);
    let mut planes = ChannelSums::new(3);
    planes.add_planes(&[1.0, 3.0, -2.0, 0.5, 0.0, f32::NAN], 2);
    assert_eq!(planes, linear);
    planes.merge(&linear);
    assert_eq!(planes.mean_squares(), linear.mean_squares());
}

#[test]
fn zero_points_move_where_that_makes_errors_less() {
    let x = normal(64 * 128, 7);
    // Long tails: what is left out of account while the zero point is sought.
    let x: Vec<f32> = x.iter().map(|v| 0.02 * v * (1.0 + v * v)).collect();
    let matrix = Matrix::new(&x, 64, 128).unwrap();
    for (bits, size) in [(2, 32), (3, 64), (4, 32), (4, 128), (8, 64)] {
        let made = |range, scales| {
            let Format::Integer(integer) = integer(bits, Symmetry::Asymmetric, Granularity::Group(size)) else { unreachable!() };
            let format = Format::Integer(Integer { scales, ..integer });
            format.encode(&matrix, &How { range, ..How::default() }, &ctx()).unwrap().decode(&ctx())
        };
        for scales in [ScaleType::F32, ScaleType::F16, ScaleType::PowerOfTwo] {
            let (plain, moved) = (made(Observer::MinMax, scales), made(Observer::HalfQuadratic, scales));
            let error =
                |made: &[f32], from: usize| -> f64 { (from..from + size).map(|i| f64::from((x[i] - made[i]).abs())).sum() };
            let groups = (0..x.len()).step_by(size);
            let less = groups.filter(|from| {
                let (before, after) = (error(&plain, *from), error(&moved, *from));
                assert!(after <= before * (1.0 + 1e-6), "{bits} bits, {size}: {before} became {after}");
                after < before
            });
            let (groups, less) = (x.len() / size, less.count());
            assert!(scales == ScaleType::PowerOfTwo || less * 2 > groups, "{bits} bits, {size}, {scales:?}: {less} of {groups}");
        }
    }
    // Symmetric grids have no zero point to move.
    let Format::Integer(target) = integer(4, Symmetry::Full, Granularity::Tensor) else { unreachable!() };
    assert_eq!(Observer::HalfQuadratic.of_weights(&x, &target), Observer::MinMax.of_weights(&x, &target));
}
