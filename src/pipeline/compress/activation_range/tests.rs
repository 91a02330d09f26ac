use super::ActivationRange;
use crate::engine::Ctx;
use crate::engine::formats::observe::{Accumulator, Observer};
use crate::engine::graph::{KnownRange, Layer, LayerKind, NodeId, RoundedInput, Wire};
use crate::engine::tensor::DType;
use crate::pipeline::calibrate::{Statistics, WireStatistics};
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{Activations, LayerPlan, Treatment};

fn plan(activations: Activations) -> LayerPlan {
    let layer = Layer { node: Some(NodeId(0)), ..Layer::lone(LayerKind::Conv, &[1, 1, 1, 1]) };
    LayerPlan::bare(layer, Treatment { activations, ..Treatment::UNCHANGED })
}

fn work() -> LayerWork {
    LayerWork { original: vec![1.0], weights: vec![1.0], scores: Vec::new(), stored: None, rounded: None, low_rank: None }
}

fn seen(values: &[f32]) -> Statistics {
    let mut seen = Accumulator::default();
    seen.add(values);
    let mut statistics = Statistics::default();
    statistics.wires.insert("x".to_owned(), WireStatistics { values: seen, channels: None });
    statistics
}

/// Scale, zero point and type.
fn grid(plan: &LayerPlan, statistics: &Statistics) -> (f32, i64, DType) {
    let mut work = work();
    ActivationRange.apply(plan, &mut work, statistics, &Ctx::new(1).unwrap()).unwrap();
    let Some(RoundedInput::Static { scale, zero_point, dtype, .. }) = work.rounded else { panic!("{:?}", work.rounded) };
    (scale, zero_point, dtype)
}

fn with(bits: u8, symmetric: bool, observer: Observer) -> Activations {
    Activations::StaticWith { bits, symmetric, observer }
}

#[test]
fn static_ranges_become_scale_and_zero_point() {
    let seen = seen(&[-1.3, 0.2, 2.7]);
    // Scales are reckoned in f64 and then rounded.
    let (low, high) = (f64::from(-1.3_f32), f64::from(2.7_f32));
    let step = |width: f64, steps: f64| (width / steps) as f32;
    assert_eq!(grid(&plan(Activations::Static), &seen), (0.015_686_275_4, 83, DType::U8));
    assert_eq!(grid(&plan(with(8, false, Observer::MinMax)), &seen), (0.015_686_275_4, 83, DType::U8));
    assert_eq!(grid(&plan(with(8, true, Observer::MinMax)), &seen), (step(high, 127.0), 0, DType::I8));
    assert_eq!(grid(&plan(with(4, false, Observer::MinMax)), &seen), (step(high - low, 15.0), 5, DType::U4));
    assert_eq!(grid(&plan(with(16, true, Observer::MinMax)), &seen), (step(high, 32767.0), 0, DType::I16));
}

#[test]
fn an_outlier_that_min_max_keeps_is_clipped_by_the_others() {
    let mut random = crate::engine::random::Random::new(4);
    let mut values: Vec<f32> = (0..20_000).map(|_| random.normal()).collect();
    values.push(100.0);
    let seen = seen(&values);
    let scale = |observer, bits| grid(&plan(with(bits, false, observer)), &seen).0;
    let whole = scale(Observer::MinMax, 8);
    assert!((whole * 255.0 - 104.0).abs() < 2.0, "{whole}");
    for observer in [Observer::Percentile(99.9), Observer::Entropy, Observer::Gaussian] {
        let cut = scale(observer, 8);
        assert!(cut < whole / 4.0, "{observer}: {cut} of {whole}");
        assert!(cut * 255.0 > 3.0, "{observer}: {cut} is too narrow for normal values");
    }
    // The square minds the outlier at 8 bits; at 4 bits the rest weighs more.
    assert!(scale(Observer::MSE, 4) < scale(Observer::MinMax, 4) / 2.0);
}

#[test]
fn what_the_graph_knows_takes_the_place_of_what_was_seen() {
    let seen = seen(&[0.001, 0.4]);
    let mut plan = plan(with(8, false, Observer::MinMax));
    plan.known = KnownRange::Fixed { low: 0.0, high: 1.0 };
    assert_eq!(grid(&plan, &seen), (1.0 / 255.0, 0, DType::U8));
    assert!(!plan.needs_range() && ActivationRange.needs(&plan).is_empty());
    assert_eq!(grid(&plan, &Statistics::default()), (1.0 / 255.0, 0, DType::U8), "no data is needed");
    plan.known = KnownRange::Within { low: 0.0, high: 0.2 };
    assert_eq!(grid(&plan, &seen), (0.2_f32 / 255.0, 0, DType::U8));
    // The old word asks for what was seen and nothing else.
    plan.treatment.activations = Activations::Static;
    plan.known = KnownRange::Fixed { low: 0.0, high: 1.0 };
    assert_eq!(grid(&plan, &seen), (0.4_f32 / 255.0, 0, DType::U8));
    assert!(plan.needs_range());
}

#[test]
fn asks_for_what_it_needs_and_says_what_is_missing() {
    assert_eq!(ActivationRange.needs(&plan(Activations::Static)), [Wire::from("x")]);
    assert!(ActivationRange.needs(&plan(Activations::Dynamic)).is_empty());
    let missing = ActivationRange.apply(&plan(Activations::Static), &mut work(), &Statistics::default(), &Ctx::new(1).unwrap());
    assert!(matches!(missing, Err(CompressError::NoRange { .. })));
}
