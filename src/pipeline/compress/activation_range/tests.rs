use super::ActivationRange;
use crate::engine::Ctx;
use crate::engine::graph::{Layer, LayerKind, NodeId, RoundedInput, Wire};
use crate::pipeline::calibrate::{RangeStatistics, Statistics};
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{Activations, LayerPlan, Treatment};

fn plan(activations: Activations) -> LayerPlan {
    let layer = Layer {
        name: "l".to_owned(),
        node: Some(NodeId(0)),
        kind: LayerKind::Conv,
        input: Wire::from("x"),
        output: Wire::from("y"),
        weight: Wire::from("w"),
        bias: None,
        shape: vec![1, 1, 1, 1],
        out_axis: 0,
        macs: None,
    };
    let treatment = Treatment { activations, ..Treatment::UNCHANGED };
    LayerPlan { layer, wanted: treatment, treatment, storage: None, bytes: 4, original_bytes: 4, refusal: None, note: None }
}

fn work() -> LayerWork {
    LayerWork { original: vec![1.0], weights: vec![1.0], stored: None, rounded: None }
}

#[test]
fn static_ranges_become_scale_and_zero_point() {
    let mut statistics = Statistics::default();
    let range = RangeStatistics { min: -1.3, max: 2.7, count: 9, not_finite: 0 };
    statistics.ranges.insert("x".to_owned(), range);
    let mut work = work();
    ActivationRange.apply(&plan(Activations::Static), &mut work, &statistics, &Ctx::new(1).unwrap()).unwrap();
    assert_eq!(work.rounded, Some(RoundedInput::Static { scale: 0.015_686_275_4, zero_point: 83 }));
}

#[test]
fn asks_for_what_it_needs_and_says_what_is_missing() {
    assert_eq!(ActivationRange.needs(&plan(Activations::Static)), [Wire::from("x")]);
    assert!(ActivationRange.needs(&plan(Activations::Dynamic)).is_empty());
    let missing = ActivationRange.apply(&plan(Activations::Static), &mut work(), &Statistics::default(), &Ctx::new(1).unwrap());
    assert!(matches!(missing, Err(CompressError::NoRange { .. })));
}
