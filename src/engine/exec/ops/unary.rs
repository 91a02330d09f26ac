//! Functions of one element: activations, roots, rounding, casts.

use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, fail, held, held_as, like, make, scalar, unsupported, with};
use crate::engine::kernels::map::map;
use crate::engine::kernels::transcendental;
use crate::engine::kernels::transcendental::Function;
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Relu" => relu,
        "Clip" => clip,
        "Sigmoid" => |c| fast(c, Function::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        "Tanh" => |c| fast(c, Function::Tanh, f64::tanh),
        "HardSigmoid" => hard_sigmoid,
        "HardSwish" => |c| float(c, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "LeakyRelu" => leaky_relu,
        "Elu" => elu,
        "Selu" => selu,
        "Celu" => celu,
        "ThresholdedRelu" => thresholded_relu,
        "Softplus" => |c| float(c, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        "Softsign" => |c| float(c, |x| x / (1.0 + x.abs())),
        "Mish" => |c| float(c, |x| x * (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh()),
        "Gelu" => gelu,
        "Erf" => |c| fast(c, Function::Erf, erf),
        "Exp" => |c| fast(c, Function::Exp, f64::exp),
        "Log" => |c| float(c, f64::ln),
        "Sqrt" => |c| float(c, f64::sqrt),
        "Reciprocal" => |c| float(c, |x| 1.0 / x),
        "Floor" => |c| float(c, f64::floor),
        "Ceil" => |c| float(c, f64::ceil),
        "Round" => |c| float(c, f64::round_ties_even),
        "Sin" => |c| float(c, f64::sin),
        "Cos" => |c| float(c, f64::cos),
        "Tan" => |c| float(c, f64::tan),
        "Atan" => |c| float(c, f64::atan),
        "Neg" => |c| number(c, |x| -x, |x| -x, i64::wrapping_neg),
        "Abs" => |c| number(c, f32::abs, f64::abs, i64::wrapping_abs),
        "Sign" => |c| number(c, sign32, sign64, i64::signum),
        "Not" => not,
        "IsNaN" => |c| test(c, f64::is_nan),
        "IsInf" => |c| {
            let (up, down) = (c.int("detect_positive", 1) != 0, c.int("detect_negative", 1) != 0);
            test(c, |x| (up && x == f64::INFINITY) || (down && x == f64::NEG_INFINITY))
        },
        "Identity" => identity,
        "Cast" => cast,
        "CastLike" => |c| Ok(vec![cast_to(c.input(0)?, c.input(1)?.dtype)?]),
        _ => return None,
    })
}

fn sign32(x: f32) -> f32 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn sign64(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

/// A function of real numbers, computed in f64 and rounded once.
fn float(c: &Call<'_>, f: impl Fn(f64) -> f64 + Sync + Send + Copy) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    Ok(vec![match held(x)? {
        Held::F32 => on_f32(c, x, |v| f(f64::from(v)) as f32)?,
        Held::F64 => make(x.dtype, with::<f64, _>(x, |s| s.iter().map(|v| f(*v)).collect())?, x.shape())?,
        _ => return fail(format!("{} needs floating-point values, not {}", c.node.op, x.dtype)),
    }])
}

/// A function that a kernel computes for f32; `f` is for f64.
fn fast(c: &Call<'_>, function: Function, f: impl Fn(f64) -> f64 + Sync + Send + Copy) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    if held(x)? != Held::F32 {
        return float(c, f);
    }
    Ok(vec![make(x.dtype, with::<f32, _>(x, |s| c.install(|| transcendental::map(function, s)))?, x.shape())?])
}

fn on_f32(c: &Call<'_>, x: &Value, f: impl Fn(f32) -> f32 + Sync + Send) -> OpResult<Value> {
    make(x.dtype, with::<f32, _>(x, |s| c.install(|| map(s, f)))?, x.shape())
}

fn number(
    c: &Call<'_>,
    f: impl Fn(f32) -> f32 + Sync + Send,
    g: impl Fn(f64) -> f64,
    h: impl Fn(i64) -> i64,
) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    Ok(vec![match held(x)? {
        Held::F32 => on_f32(c, x, f)?,
        Held::F64 => make(x.dtype, with::<f64, _>(x, |s| s.iter().map(|v| g(*v)).collect())?, x.shape())?,
        Held::Int => make(x.dtype, with::<i64, _>(x, |s| s.iter().map(|v| wrap(x.dtype, h(*v))).collect())?, x.shape())?,
        Held::Bool => return fail(format!("{} needs numbers, not {}", c.node.op, x.dtype)),
    }])
}

fn test(c: &Call<'_>, f: impl Fn(f64) -> bool) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let result = match held(x)? {
        Held::F64 => with::<f64, _>(x, |s| s.iter().map(|v| u8::from(f(*v))).collect())?,
        _ => with::<f32, _>(x, |s| s.iter().map(|v| u8::from(f(f64::from(*v)))).collect())?,
    };
    Ok(vec![make::<u8>(DType::Bool, result, x.shape())?])
}

// Comparisons instead of `max`, so that a NaN stays one.
fn relu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    number(c, |x| if x < 0.0 { 0.0 } else { x }, |x| if x < 0.0 { 0.0 } else { x }, |x| x.max(0))
}

/// The bounds of a `Clip` node: attributes before operator set 11, inputs since.
fn clip(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    if held(x)? == Held::Int {
        let low = c.optional(1).map(super::super::data::int_scalar).transpose()?.unwrap_or(i64::MIN);
        let high = c.optional(2).map(super::super::data::int_scalar).transpose()?.unwrap_or(i64::MAX);
        return Ok(vec![make(x.dtype, with::<i64, _>(x, |s| s.iter().map(|v| (*v).max(low).min(high)).collect())?, x.shape())?]);
    }
    let low = c.optional(1).map(scalar).transpose()?.or(c.node.float("min")).unwrap_or(f32::NEG_INFINITY);
    let high = c.optional(2).map(scalar).transpose()?.or(c.node.float("max")).unwrap_or(f32::INFINITY);
    let (low64, high64) = (f64::from(low), f64::from(high));
    let clip32 = move |x: f32| {
        let x = if x < low { low } else { x };
        if x > high { high } else { x }
    };
    let clip64 = move |x: f64| {
        let x = if x < low64 { low64 } else { x };
        if x > high64 { high64 } else { x }
    };
    number(c, clip32, clip64, |x| x)
}

fn hard_sigmoid(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (alpha, beta) = (f64::from(c.float("alpha", 0.2)), f64::from(c.float("beta", 0.5)));
    float(c, move |x| (alpha * x + beta).clamp(0.0, 1.0))
}

fn leaky_relu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let alpha = c.float("alpha", 0.01);
    number(c, |x| if x < 0.0 { alpha * x } else { x }, |x| if x < 0.0 { f64::from(alpha) * x } else { x }, |x| x)
}

fn elu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let alpha = f64::from(c.float("alpha", 1.0));
    float(c, move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
}

fn selu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (alpha, gamma) = (f64::from(c.float("alpha", 1.673_263_2)), f64::from(c.float("gamma", 1.050_701)));
    float(c, move |x| gamma * if x <= 0.0 { alpha * x.exp_m1() } else { x })
}

fn celu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let alpha = f64::from(c.float("alpha", 1.0));
    float(c, move |x| x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0))
}

fn thresholded_relu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let alpha = f64::from(c.float("alpha", 1.0));
    float(c, move |x| if x > alpha { x } else { 0.0 })
}

fn gelu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    if c.node.text("approximate") == Some("tanh") {
        let factor = (2.0 / std::f64::consts::PI).sqrt();
        return fast(c, Function::GeluTanh, move |x| 0.5 * x * (1.0 + (factor * (x + 0.044_715 * x * x * x)).tanh()));
    }
    fast(c, Function::Gelu, |x| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)))
}

/// Error function: Abramowitz and Stegun's series 7.1.5 near zero, continued fraction 7.1.14 in the tails.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    if a > 6.0 {
        return x.signum();
    }
    if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80_u32 {
            term *= -a * a / f64::from(n);
            let part = term / f64::from(2 * n + 1);
            sum += part;
            if part.abs() < 1e-17 * sum.abs() {
                break;
            }
        }
        return (sum * std::f64::consts::FRAC_2_SQRT_PI).copysign(x);
    }
    let fraction = (1..=60_u32).rev().fold(0.0, |t, n| f64::from(n) / 2.0 / (a + t));
    (1.0 - (-a * a).exp() / ((a + fraction) * std::f64::consts::PI.sqrt())).copysign(x)
}

fn not(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    Ok(vec![make(DType::Bool, with::<u8, _>(x, |s| s.iter().map(|v| u8::from(*v == 0)).collect())?, x.shape())?])
}

fn identity(c: &Call<'_>) -> OpResult<Vec<Value>> {
    Ok(vec![c.input(0)?.clone()])
}

fn cast(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let Some(code) = c.node.int("to") else { return fail("attribute \"to\" is missing") };
    Ok(vec![cast_to(c.input(0)?, DType::from_onnx(code as i32))?])
}

pub(in crate::engine::exec) fn cast_to(x: &Value, to: DType) -> OpResult<Value> {
    let shape = x.shape();
    if x.dtype == to {
        return Ok(x.clone());
    }
    match (held(x)?, held_as(to)?) {
        (Held::F32, Held::F32) => make(to, with::<f32, _>(x, |s| s.iter().map(|v| narrow(to, *v)).collect())?, shape),
        (_, Held::F32) => {
            let data: Vec<f64> = as_f64(x)?;
            make(to, data.iter().map(|v| narrow(to, *v as f32)).collect(), shape)
        }
        (_, Held::F64) => make(to, as_f64(x)?, shape),
        (Held::Int, Held::Int) => make(to, with::<i64, _>(x, |s| s.iter().map(|v| wrap(to, *v)).collect())?, shape),
        (Held::Bool, Held::Int) => make(to, with::<u8, _>(x, |s| s.iter().map(|v| i64::from(*v)).collect())?, shape),
        (_, Held::Int) => make(to, as_f64(x)?.iter().map(|v| wrap(to, *v as i64)).collect(), shape),
        (Held::Bool, Held::Bool) => Ok(like(x, x.data.clone())),
        (_, Held::Bool) => make(to, as_f64(x)?.iter().map(|v| u8::from(*v != 0.0)).collect(), shape),
    }
}

fn as_f64(x: &Value) -> OpResult<Vec<f64>> {
    Ok(match held(x)? {
        Held::F32 => with::<f32, _>(x, |s| s.iter().map(|v| f64::from(*v)).collect())?,
        Held::F64 => with::<f64, _>(x, <[f64]>::to_vec)?,
        Held::Int => with::<i64, _>(x, |s| s.iter().map(|v| *v as f64).collect())?,
        Held::Bool => with::<u8, _>(x, |s| s.iter().map(|v| f64::from(*v)).collect())?,
    })
}

/// The nearest number that a narrow float type can hold.
pub(super) fn narrow(to: DType, v: f32) -> f32 {
    match to {
        DType::F16 => half::f16::from_f32(v).to_f32(),
        DType::BF16 => half::bf16::from_f32(v).to_f32(),
        _ => v,
    }
}

/// What is left of an integer in a type of fewer bits: its low bits, as C casts do.
pub(super) fn wrap(dtype: DType, v: i64) -> i64 {
    let bits = dtype.bits();
    let Some((low, high)) = dtype.integer_range().filter(|_| bits < 64) else { return v };
    if (low..=high).contains(&v) {
        return v;
    }
    let kept = v & ((1 << bits) - 1);
    if kept > high { kept - (1 << bits) } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_matches_known_values() {
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.4, 0.999_311_486_103_354_9),
            (2.6, 0.999_763_965_583_470_7),
            (4.0, 0.999_999_984_582_742_1),
        ] {
            assert!((erf(x) - y).abs() < 1e-12, "{x}: {}", erf(x));
            assert!((erf(-x) + y).abs() < 1e-12);
        }
    }

    #[test]
    fn integers_wrap_as_c_casts() {
        assert_eq!(wrap(DType::U8, 256 + 3), 3);
        assert_eq!(wrap(DType::I8, 200), -56);
        assert_eq!(wrap(DType::U8, -1), 255);
    }
}
