//! Vectors of ONNX that ONNX itself has corrected since, and one that holds noise. A correction names
//! the value that is stored and the one that later releases store, so that it changes nothing where
//! the tests are newer; all other elements are compared as they are.

use crate::engine::tensor::{Tensor, TensorError};

/// Test, stored value, value that the operator's text asks for.
const CORRECTED: [(&str, f64, f64); 5] = [
    // "When the Lp norm is zero, the output is defined to be zero": it was stored as 0/0.
    ("test_l2normalization_axis_0", f64::NAN, 0.0),
    // What does not fit into int8 saturates: it was stored wrapped around (-236, -139 and -136).
    ("test_qlinearmatmul_2D_int8_float16", 20.0, -128.0),
    ("test_qlinearmatmul_2D_int8_float32", 20.0, -128.0),
    ("test_qlinearmatmul_3D_int8_float32", 117.0, -128.0),
    ("test_qlinearmatmul_3D_int8_float32", 120.0, -128.0),
];

/// Tests whose expected zeros are the rounding noise of sums over numbers near one, above ONNX's
/// absolute tolerance, and how far off a value may be.
const NOISE: [(&str, f64); 1] = [("test_dft_inverse_opset19", 1e-6)];

/// What the output of a test should be: as it is stored, or as later releases of ONNX store it.
pub(super) fn corrected(test: &str, expected: Tensor) -> Result<Tensor, TensorError> {
    let swaps: Vec<(f64, f64)> = CORRECTED.iter().filter(|c| c.0 == test).map(|c| (c.1, c.2)).collect();
    if swaps.is_empty() {
        return Ok(expected);
    }
    let right = |v: f64| {
        let swap = swaps.iter().find(|(stored, _)| v == *stored || (v.is_nan() && stored.is_nan()));
        swap.map_or(v, |(_, right)| *right)
    };
    let shape = expected.shape().to_vec();
    if expected.dtype().is_float() {
        let values: Vec<f32> = expected.to_f32()?.into_iter().map(|v| right(f64::from(v)) as f32).collect();
        return Tensor::from_f32(shape, &values);
    }
    let values: Vec<i64> = expected.to_i64()?.into_iter().map(|v| right(v as f64) as i64).collect();
    Tensor::from_integers(expected.dtype(), shape, &values)
}

/// The absolute tolerance of a test, where it is not that of all.
pub(super) fn noise(test: &str) -> Option<f64> {
    NOISE.iter().find(|n| n.0 == test).map(|n| n.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensor::DType;

    #[test]
    fn only_the_wrong_values_are_corrected() {
        let stored = Tensor::from_integers(DType::I8, vec![3], &[117, 120, 5]).unwrap();
        let right = corrected("test_qlinearmatmul_3D_int8_float32", stored.clone()).unwrap();
        assert_eq!((right.dtype(), right.to_i64().unwrap()), (DType::I8, vec![-128, -128, 5]));
        assert_eq!(corrected("test_qlinearmatmul_2D_int8_float32", stored).unwrap().to_i64().unwrap(), [117, 120, 5]);
        let norm = Tensor::from_f32(vec![2], &[f32::NAN, 0.5]).unwrap();
        assert_eq!(corrected("test_l2normalization_axis_0", norm.clone()).unwrap().to_f32().unwrap(), [0.0, 0.5]);
        assert!(corrected("test_relu", norm).unwrap().to_f32().unwrap()[0].is_nan());
    }
}
