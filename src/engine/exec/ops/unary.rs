//! Functions of one element: activations, roots, rounding.

use super::cast::wrap;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, doubles, fail, held, ints, make, with};
use crate::engine::kernels::map::map;
use crate::engine::kernels::special::erf;
use crate::engine::kernels::transcendental;
use crate::engine::kernels::transcendental::Function;
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Relu" => relu,
        "Clip" => clip,
        "Sigmoid" => |c| fast(c, Function::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        "Swish" => |c| {
            let alpha = c.float("alpha", 1.0);
            fast(c, Function::Swish(alpha), move |x| x / (1.0 + (-f64::from(alpha) * x).exp()))
        },
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
        // The upper half of uint64 is held as negative numbers.
        "Abs" => |c| if is_u64(c) { identity(c) } else { number(c, f32::abs, f64::abs, i64::wrapping_abs) },
        "Sign" => |c| number(c, sign32, sign64, if is_u64(c) { |x| i64::from(x != 0) } else { i64::signum }),
        "Not" => not,
        "IsNaN" => |c| test(c, f64::is_nan),
        "IsInf" => |c| {
            let (up, down) = (c.int("detect_positive", 1) != 0, c.int("detect_negative", 1) != 0);
            test(c, |x| (up && x == f64::INFINITY) || (down && x == f64::NEG_INFINITY))
        },
        "Identity" => identity,
        _ => return None,
    })
}

fn is_u64(c: &Call<'_>) -> bool {
    c.optional(0).is_some_and(|x| x.dtype == DType::U64)
}

fn sign32(x: f32) -> f32 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn sign64(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

/// A function of real numbers, computed in f64 and rounded once.
pub(super) fn float(c: &Call<'_>, f: impl Fn(f64) -> f64 + Sync + Send + Copy) -> OpResult<Vec<Value>> {
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

/// The bounds of a `Clip` node: attributes before operator set 11, inputs since. Where the lower one is
/// above the upper one, the upper one wins.
fn clip(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    if held(x)? == Held::Int {
        // The upper half of uint64 is held as negative numbers: with the first bit turned, the order of
        // both kinds is the same.
        let turn = if x.dtype == DType::U64 { i64::MIN } else { 0 };
        let bound = |i: usize| -> OpResult<Option<i64>> {
            let Some(value) = c.optional(i) else { return Ok(None) };
            match ints(value)?.first() {
                Some(v) => Ok(Some(v ^ turn)),
                None => fail(format!("bound {i} is empty; give a number")),
            }
        };
        let (low, high) = (bound(1)?.unwrap_or(i64::MIN), bound(2)?.unwrap_or(i64::MAX));
        let values = with::<i64, _>(x, |s| s.iter().map(|v| (*v ^ turn).max(low).min(high) ^ turn).collect())?;
        return Ok(vec![make(x.dtype, values, x.shape())?]);
    }
    let bound = |i: usize, name: &str| -> OpResult<Option<f64>> {
        let Some(value) = c.optional(i) else { return Ok(c.node.float(name).map(f64::from)) };
        match doubles(value)?.first() {
            Some(v) => Ok(Some(*v)),
            None => fail(format!("bound {i} is empty; give a number")),
        }
    };
    let low64 = bound(1, "min")?.unwrap_or(f64::NEG_INFINITY);
    let high64 = bound(2, "max")?.unwrap_or(f64::INFINITY);
    let (low, high) = (low64 as f32, high64 as f32);
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

fn not(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    Ok(vec![make(DType::Bool, with::<u8, _>(x, |s| s.iter().map(|v| u8::from(*v == 0)).collect())?, x.shape())?])
}

fn identity(c: &Call<'_>) -> OpResult<Vec<Value>> {
    Ok(vec![c.input(0)?.clone()])
}
