//! Conversions between element types.

use super::{Call, Operator};
use crate::engine::exec::data::{
    Held, OpResult, doubles, fail, held, held_as, make, make_alike, unsupported, with, with_any_order,
};
use crate::engine::tensor::{DType, Overflow, PowerRounding, Rounding, Tensor, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Cast" => cast,
        "CastLike" => |c| Ok(vec![convert(c.input(0)?, c.input(1)?.dtype, rounding_of(c)?)?]),
        "BitCast" => bit_cast,
        _ => return None,
    })
}

/// The type that attribute "to" names.
fn target(c: &Call<'_>) -> OpResult<DType> {
    match c.node.int("to").and_then(|code| i32::try_from(code).ok()) {
        Some(code) => Ok(DType::from_onnx(code)),
        None => fail("attribute \"to\" is missing or no element type"),
    }
}

/// What becomes of numbers that a type of 8 bits cannot hold, as the attributes say.
pub(super) fn overflow_of(c: &Call<'_>) -> Overflow {
    if c.int("saturate", 1) == 0 { Overflow::Special } else { Overflow::Saturate }
}

fn rounding_of(c: &Call<'_>) -> OpResult<Rounding> {
    let power = match c.node.text("round_mode") {
        None | Some("up") => PowerRounding::Up,
        Some("down") => PowerRounding::Down,
        Some("nearest") => PowerRounding::Nearest,
        Some(other) => return fail(format!("round_mode \"{other}\" is not one of up, down, nearest")),
    };
    Ok(Rounding { overflow: overflow_of(c), power })
}

fn cast(c: &Call<'_>) -> OpResult<Vec<Value>> {
    Ok(vec![convert(c.input(0)?, target(c)?, rounding_of(c)?)?])
}

/// The value in another type, rounded as `Cast` does where its attributes say nothing.
pub(in crate::engine::exec) fn cast_to(x: &Value, to: DType) -> OpResult<Value> {
    convert(x, to, Rounding::default())
}

fn convert(x: &Value, to: DType, rounding: Rounding) -> OpResult<Value> {
    let shape = x.shape();
    if x.dtype == to {
        return Ok(x.clone());
    }
    let unsigned = x.dtype == DType::U64;
    match (held(x)?, held_as(to)?) {
        // Whatever a narrower float holds, an f32 holds as well.
        (Held::F32, Held::F32) if to == DType::F32 => Ok(Value { dtype: to, data: x.data.clone() }),
        (Held::F32, Held::F32) if matches!(to, DType::F16 | DType::BF16) => {
            make(to, with::<f32, _>(x, |s| s.iter().map(|v| narrow(to, *v)).collect())?, shape)
        }
        // Not by way of f64: a number would be rounded twice.
        (Held::Int, Held::F32) if to == DType::F32 && !unsigned => {
            make(to, with::<i64, _>(x, |s| s.iter().map(|v| *v as f32).collect())?, shape)
        }
        (Held::Int, Held::F32) if to == DType::F32 => {
            make(to, with::<i64, _>(x, |s| s.iter().map(|v| *v as u64 as f32).collect())?, shape)
        }
        (_, Held::F32) => make(to, doubles(x)?.iter().map(|v| to.rounded(*v, rounding)).collect(), shape),
        (_, Held::F64) => make(to, doubles(x)?, shape),
        (Held::Int, Held::Int) => make(to, with::<i64, _>(x, |s| s.iter().map(|v| wrap(to, *v)).collect())?, shape),
        (_, Held::Int) => make(to, doubles(x)?.iter().map(|v| whole(to, *v)).collect(), shape),
        (_, Held::Bool) => make(to, doubles(x)?.iter().map(|v| u8::from(*v != 0.0)).collect(), shape),
    }
}

/// The same bits under another type.
fn bit_cast(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, to) = (c.input(0)?, target(c)?);
    if x.dtype.bits() != to.bits() {
        return fail(format!("{} has {} bits, {to} has {}: they must be as many", x.dtype, x.dtype.bits(), to.bits()));
    }
    if to == DType::Bool {
        return unsupported("bits as booleans are not supported: what a byte other than 0 and 1 means is left open");
    }
    let stored = x.to_stored()?;
    let shape = stored.shape().to_vec();
    Ok(vec![Value::from_stored(&Tensor::from_bytes(to, shape, stored.bytes().into_owned())?)?])
}

/// What is left of a real number in an integer type: cut off towards zero, then as [`wrap`]. ONNX leaves
/// open what becomes of numbers beyond 32 bits, or 64 for the types that have more than 31 bits of value;
/// here it is the lowest number of 32 or 64 bits, as x86-64 converts and other runtimes do.
pub(super) fn whole(to: DType, v: f64) -> i64 {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    if to == DType::U64 && v >= 0.0 {
        return v as u64 as i64;
    }
    let whole = if (-TOO_LARGE..TOO_LARGE).contains(&v) { v as i64 } else { i64::MIN };
    let is_wide = matches!(to, DType::I64 | DType::U64 | DType::U32);
    let whole = if is_wide || i32::try_from(whole).is_ok() { whole } else { i64::from(i32::MIN) };
    wrap(to, whole)
}

/// The nearest number that a narrow float type can hold.
pub(super) fn narrow(to: DType, v: f32) -> f32 {
    match to {
        DType::F16 => half::f16::from_f32(v).to_f32(),
        DType::BF16 => half::bf16::from_f32(v).to_f32(),
        _ if to.is_minifloat() => to.rounded(f64::from(v), Rounding::default()),
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

/// A result that stands for half floats, rounded to them: whatever an operator computed in between.
pub(super) fn to_own_type(value: Value) -> OpResult<Value> {
    let dtype = value.dtype;
    if !matches!(dtype, DType::F16 | DType::BF16) || held(&value)? != Held::F32 {
        return Ok(value);
    }
    let rounded = with_any_order(&value, |s| {
        let exact = s.iter().all(|v| v.is_nan() || narrow(dtype, *v) == *v);
        (!exact).then(|| s.iter().map(|v| narrow(dtype, *v)).collect::<Vec<f32>>())
    })?;
    rounded.map_or(Ok(value.clone()), |values| make_alike(&value, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Value {
        Value::from_f32(values.to_vec(), &[values.len()]).unwrap()
    }

    #[test]
    fn integers_wrap_as_c_casts() {
        assert_eq!(wrap(DType::U8, 256 + 3), 3);
        assert_eq!(wrap(DType::I8, 200), -56);
        assert_eq!(wrap(DType::U8, -1), 255);
        assert_eq!(wrap(DType::I4, 9), -7);
    }

    #[test]
    fn all_64_bits_without_sign_are_numbers() {
        let large = Value { dtype: DType::U64, ..Value::from_i64(vec![-1, 5], &[2]).unwrap() };
        assert_eq!(cast_to(&large, DType::F32).unwrap().to_f32().unwrap(), [18_446_744_073_709_551_615.0, 5.0]);
        let back = cast_to(&floats(&[1.8e19, 3.9]), DType::U64).unwrap();
        assert_eq!(back.to_f32().unwrap(), [1.8e19, 3.0]);
        assert_eq!(cast_to(&large, DType::U8).unwrap().to_i64().unwrap(), [255, 5]);
    }

    #[test]
    fn real_numbers_beyond_an_integer_type() {
        // Oracle: ONNX Runtime 1.31 on x86-64.
        let x = floats(&[3e9, f32::NAN, f32::INFINITY, -1e20, -1.5, 70000.0]);
        let cast = |to| cast_to(&x, to).unwrap().to_i64().unwrap();
        assert_eq!(cast(DType::I8), [0, 0, 0, 0, -1, 112]);
        assert_eq!(cast(DType::U16), [0, 0, 0, 0, 65535, 4464]);
        assert_eq!(cast(DType::I32)[..4], [i64::from(i32::MIN); 4]);
        assert_eq!(cast(DType::I64), [3_000_000_000, i64::MIN, i64::MIN, i64::MIN, -1, 70000]);
        assert_eq!(cast(DType::U32)[0], 3_000_000_000);
    }

    #[test]
    fn integers_are_rounded_once() {
        // 2^24 + 1 lies between two numbers of f32; 2^53 + 1 would be lost on the way through f64.
        let x = Value::from_i64(vec![(1 << 24) + 1, (1 << 60) + (1 << 36) + 1], &[2]).unwrap();
        let y = cast_to(&x, DType::F32).unwrap().to_f32().unwrap();
        assert_eq!(y, [16_777_216.0, (1_i64 << 60) as f32 + (1_i64 << 37) as f32]);
    }

    #[test]
    fn bits_stay_when_the_type_changes() {
        let x = floats(&[1.0, -2.5]);
        let convert = |x: &Value, to: DType| {
            let stored = x.to_stored().unwrap();
            Value::from_stored(&Tensor::from_bytes(to, vec![2], stored.bytes().into_owned()).unwrap()).unwrap()
        };
        let bits = convert(&x, DType::U32);
        assert_eq!(bits.to_i64().unwrap(), [0x3F80_0000, 0xC020_0000]);
        assert_eq!(convert(&bits, DType::F32).to_f32().unwrap(), [1.0, -2.5]);
    }

    #[test]
    fn results_of_half_floats_are_half_floats() {
        let half = Value { dtype: DType::F16, ..floats(&[1.0, 0.1, 1e6]) };
        let rounded = to_own_type(half).unwrap().to_f32().unwrap();
        assert_eq!(rounded, [1.0, 0.099_975_586, f32::INFINITY]);
        assert_eq!(to_own_type(floats(&[0.1])).unwrap().to_f32().unwrap(), [0.1]);
    }
}
