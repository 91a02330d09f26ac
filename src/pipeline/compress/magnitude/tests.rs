use super::apply::prune;
use crate::pipeline::configure::Sparsity;

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
}
