use crate::engine::graph::{Layer, LayerKind};
use crate::pipeline::configure::Sparsity;

fn prune(weights: &mut [f32], sparsity: Sparsity) {
    super::prune(weights, &Layer::lone(LayerKind::Gemm, &[1, weights.len()]), sparsity);
}

#[test]
fn prunes_the_smallest_and_earlier_first() {
    let mut weights = [0.5, -0.1, 0.1, -2.0, 0.3];
    prune(&mut weights, Sparsity::Fraction(0.2));
    assert_eq!(weights, [0.5, 0.0, 0.1, -2.0, 0.3]);
    prune(&mut weights, Sparsity::Fraction(0.6));
    assert_eq!(weights, [0.5, 0.0, 0.0, -2.0, 0.0]);
}

#[test]
fn threshold_is_exclusive() {
    let mut weights = [0.5, -0.5, 0.49];
    prune(&mut weights, Sparsity::Threshold(0.5));
    assert_eq!(weights, [0.5, -0.5, 0.0]);
}

#[test]
fn nothing_to_prune() {
    let mut weights: [f32; 0] = [];
    prune(&mut weights, Sparsity::Fraction(0.9));
    let mut one = [1.0];
    prune(&mut one, Sparsity::Fraction(0.4));
    assert_eq!(one, [1.0]);
    prune(&mut one, Sparsity::Fraction(0.99));
    assert_eq!(one, [1.0], "the last weight stays");
}

#[test]
fn patterns_lie_along_the_inputs_of_a_matrix_that_is_applied_from_the_right() {
    let layer = Layer { out_axis: 1, ..Layer::lone(LayerKind::MatMul, &[4, 2]) };
    let mut weights = [1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0];
    super::prune(&mut weights, &layer, Sparsity::Pattern { keep: 2, of: 4 });
    assert_eq!(weights, [0.0, 8.0, 0.0, 7.0, 3.0, 0.0, 4.0, 0.0]);
}
