//! When an output is right: the tolerances of ONNX's own test runner (`onnx.backend.test.runner`).

use crate::engine::graph::Model;
use crate::engine::tensor::{DType, Tensor};

/// Relative to the expected value.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// Operators whose result is exact by definition, in whatever type.
const EXACT: [&str; 6] = ["BitCast", "Cast", "CastLike", "DequantizeLinear", "Identity", "QuantizeLinear"];

/// How close a float has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// The same value: nothing was computed but the conversion between types.
    Equal,
    /// Within this absolute or ONNX's relative tolerance, or one step of a type that is coarser.
    Near(f64),
}

impl Rule {
    /// `absolute`: the tolerance of a test that has its own.
    pub(super) fn of(model: &Model, absolute: Option<f64>) -> Self {
        let exact = model.nodes.iter().all(|n| n.domain.is_empty() && EXACT.contains(&n.op.as_str()));
        if exact { Self::Equal } else { Self::Near(absolute.unwrap_or(ABSOLUTE)) }
    }
}

/// Says where `ours` differs from `expected`. Integers and booleans have to be equal.
pub(super) fn compare(ours: &Tensor, expected: &Tensor, rule: Rule) -> Result<(), String> {
    let (dtype, shape) = (ours.dtype(), ours.shape());
    if dtype != expected.dtype() || shape != expected.shape() {
        return Err(format!("{dtype} {shape:?} instead of {} {:?}", expected.dtype(), expected.shape()));
    }
    let text = |e: crate::engine::tensor::TensorError| e.to_string();
    if !dtype.is_float() {
        let (a, b) = (ours.to_i64().map_err(text)?, expected.to_i64().map_err(text)?);
        return match a.iter().zip(&b).position(|(a, b)| a != b) {
            Some(i) => Err(format!("element {i} is {} instead of {}", a[i], b[i])),
            None => Ok(()),
        };
    }
    let (a, b) = (floats(ours).map_err(text)?, floats(expected).map_err(text)?);
    let fits = |i: usize| {
        let (a, b) = (a[i], b[i]);
        let equal = a == b || (a.is_nan() && b.is_nan());
        let near = |absolute: f64| (a - b).abs() <= absolute + RELATIVE * b.abs() || one_step(ours, expected, i);
        equal || matches!(rule, Rule::Near(absolute) if a.is_finite() && b.is_finite() && near(absolute))
    };
    match (0..a.len().min(b.len())).find(|i| !fits(*i)) {
        Some(i) => Err(format!("element {i} is {} instead of {}", a[i], b[i])),
        None => Ok(()),
    }
}

fn floats(tensor: &Tensor) -> Result<Vec<f64>, crate::engine::tensor::TensorError> {
    if tensor.dtype() == DType::F64 {
        return Ok(tensor.bytes().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect());
    }
    Ok(tensor.to_f32()?.into_iter().map(f64::from).collect())
}

/// Whether element `i` of two tensors of one narrow float type is the same or the next number of it.
fn one_step(a: &Tensor, b: &Tensor, i: usize) -> bool {
    match (step_of(a, i), step_of(b, i)) {
        (Some(a), Some(b)) => (a - b).abs() <= 1,
        _ => false,
    }
}

/// The number of a value among all of its type, zero being 0; `None` for types of 32 bits and more.
fn step_of(tensor: &Tensor, i: usize) -> Option<i32> {
    let bytes = tensor.bytes();
    let (bits, code) = match tensor.dtype().bits() {
        4 => (4, i32::from(bytes.get(i / 2)? >> (4 * (i % 2)) & 0xF)),
        8 => (8, i32::from(*bytes.get(i)?)),
        16 => (16, i32::from(u16::from_le_bytes([*bytes.get(2 * i)?, *bytes.get(2 * i + 1)?]))),
        _ => return None,
    };
    // float8e8m0 has no sign: all bits are the exponent.
    if tensor.dtype().onnx_code() == 24 {
        return Some(code);
    }
    let sign = 1 << (bits - 1);
    Some(if code & sign == 0 { code } else { -(code & (sign - 1)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Rule = Rule::Near(ABSOLUTE);

    fn halves(codes: &[u16]) -> Tensor {
        let bytes: Vec<u8> = codes.iter().flat_map(|c| c.to_le_bytes()).collect();
        Tensor::from_bytes(DType::BF16, vec![codes.len()], bytes).unwrap()
    }

    #[test]
    fn one_step_of_a_coarse_type_is_near_and_two_are_not() {
        let one = halves(&[0x3F80, 0x0000]);
        assert!(compare(&halves(&[0x3F81, 0x8001]), &one, NEAR).is_ok());
        assert!(compare(&halves(&[0x3F82, 0x0000]), &one, NEAR).unwrap_err().contains("element 0"));
        assert!(compare(&halves(&[0x3F81, 0x0000]), &one, Rule::Equal).is_err());
        let (largest, infinite) = (halves(&[0x7F7F]), halves(&[0x7F80]));
        assert!(compare(&infinite, &largest, NEAR).is_err() && compare(&infinite, &infinite, NEAR).is_ok());
    }

    #[test]
    fn tolerances_are_those_of_onnx() {
        let of = |values: &[f32]| Tensor::from_f32(vec![values.len()], values).unwrap();
        assert!(compare(&of(&[1000.9, 9e-8]), &of(&[1000.0, 0.0]), NEAR).is_ok());
        assert!(compare(&of(&[1001.1]), &of(&[1000.0]), NEAR).is_err());
        assert!(compare(&of(&[2e-7]), &of(&[0.0]), NEAR).is_err());
        assert!(compare(&of(&[f32::NAN]), &of(&[f32::NAN]), Rule::Equal).is_ok());
        assert!(compare(&of(&[f32::NAN]), &of(&[1.0]), NEAR).is_err());
        assert!(compare(&of(&[1.0]), &Tensor::from_i64(vec![1], &[1]).unwrap(), NEAR).unwrap_err().contains("int64"));
        let (a, b) = (Tensor::from_i64(vec![1], &[1 << 60]).unwrap(), Tensor::from_i64(vec![1], &[(1 << 60) + 1]).unwrap());
        assert!(compare(&a, &b, NEAR).is_err(), "integers are not compared as floats");
    }
}
