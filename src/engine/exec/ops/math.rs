//! Further functions of real numbers: inverse and hyperbolic functions, SwiGLU, determinants.

use super::cast::narrow;
use super::unary::float;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, Number, OpResult, fail, for_held, held, make, with, with2};
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Acos" => |c| float(c, f64::acos),
        "Acosh" => |c| float(c, f64::acosh),
        "Asin" => |c| float(c, f64::asin),
        "Asinh" => |c| float(c, f64::asinh),
        "Atanh" => |c| float(c, f64::atanh),
        "Cosh" => |c| float(c, f64::cosh),
        "Sinh" => |c| float(c, f64::sinh),
        "SwiGLU" => gated,
        "Det" => determinants,
        _ => return None,
    })
}

fn swish(x: f64, alpha: f64) -> f64 {
    x / (1.0 + (-alpha * x).exp())
}

/// The Swish of the first input times the second.
fn gated(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (gate, x) = (c.input(0)?, c.input(1)?);
    if gate.shape() != x.shape() {
        return fail(format!("a gate of shape {:?} does not fit values of shape {:?}", gate.shape(), x.shape()));
    }
    let alpha = f64::from(c.float("alpha", 1.0));
    Ok(vec![match held(gate)? {
        Held::F32 => {
            let one = |g: &f32, x: &f32| narrow(gate.dtype, (swish(f64::from(*g), alpha) * f64::from(*x)) as f32);
            let values = with2::<f32, f32, _>(gate, x, |g, x| g.iter().zip(x).map(|(g, x)| one(g, x)).collect())?;
            make::<f32>(gate.dtype, values, x.shape())?
        }
        Held::F64 => {
            let values = with2::<f64, f64, _>(gate, x, |g, x| g.iter().zip(x).map(|(g, x)| swish(*g, alpha) * x).collect())?;
            make::<f64>(gate.dtype, values, x.shape())?
        }
        _ => return fail(format!("floating-point values are needed, not {}", gate.dtype)),
    }])
}

fn determinants(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let (lead, n) = match x.shape() {
        [lead @ .., rows, columns] if rows == columns => (lead, *rows),
        other => return fail(format!("square matrices are needed, not shape {other:?}")),
    };
    if !x.dtype.is_float() {
        return fail(format!("floating-point values are needed, not {}", x.dtype));
    }
    let count: usize = lead.iter().product();
    for_held!(x, T => {
        let values = with::<T, _>(x, |s| {
            let one = |i: usize| determinant(s[i * n * n..(i + 1) * n * n].iter().map(|v| v.to_f64()).collect(), n);
            (0..count).map(|i| T::from_f64(one(i))).collect::<Vec<T>>()
        })?;
        Ok(vec![make::<T>(x.dtype, values, lead)?])
    })
}

/// Gaussian elimination with the largest pivot of each column.
fn determinant(mut m: Vec<f64>, n: usize) -> f64 {
    let mut product = 1.0;
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| m[a * n + k].abs().total_cmp(&m[b * n + k].abs())).unwrap_or(k);
        if m[pivot * n + k] == 0.0 {
            return 0.0;
        }
        if pivot != k {
            product = -product;
            for j in 0..n {
                m.swap(pivot * n + j, k * n + j);
            }
        }
        product *= m[k * n + k];
        for row in k + 1..n {
            let factor = m[row * n + k] / m[k * n + k];
            for j in k..n {
                m[row * n + j] -= factor * m[k * n + j];
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinants_of_small_matrices() {
        assert_eq!(determinant(vec![], 0), 1.0);
        assert_eq!(determinant(vec![0.0, 2.0, 3.0, 4.0], 2), -6.0);
        assert_eq!(determinant(vec![1.0, 2.0, 2.0, 4.0], 2), 0.0);
        assert!((determinant(vec![2.0, 0.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0, 4.0], 3) - 18.0).abs() < 1e-12);
    }
}
