use super::{search::powers, smooth::between};

fn near(made: &[f32], wanted: &[f32]) {
    assert_eq!(made.len(), wanted.len());
    for (made, wanted) in made.iter().zip(wanted) {
        assert!((made - wanted).abs() < 2e-5 * wanted.abs(), "{made} is not {wanted}");
    }
}

#[test]
fn smooth_scales_are_those_of_the_reference() {
    let (data, weights) = ([10.0, 1.0, 0.1], [0.5, 0.5, 2.0]);
    near(&between(&data, &weights, 0.5), &[4.472_14, std::f32::consts::SQRT_2, 0.223_61]);
    near(&between(&data, &weights, 1.0), &data);
    near(&between(&data, &weights, 0.0), &[2.0, 2.0, 0.5]);
    // What is dead on one side stays; nothing becomes smaller than the least scale.
    near(&between(&[0.0, 1.0, 1e-30], &[1.0, 0.0, 1e30], 0.5), &[1.0, 1.0, 1e-5]);
}

#[test]
fn powers_of_magnitudes_are_those_of_the_reference() {
    near(&powers(&[4.0, 1.0, 0.25], 0.5), &[2.0, 1.0, 0.5]);
    near(&powers(&[4.0, 1.0, 0.25], 0.0), &[1.0, 1.0, 1.0]);
    // Dead channels have the least magnitude, not none.
    assert!(powers(&[0.0, 1.0], 0.95).iter().all(|s| s.is_finite() && *s > 0.0));
}
