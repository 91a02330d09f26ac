//! Operators on the bits of integers.

use super::cast::wrap;
use super::elementwise::pairs_of_ints;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, fail, held, make, with};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "BitShift" => shift,
        "BitwiseAnd" => |c| pairs_of_ints(c, |a, b| a & b),
        "BitwiseOr" => |c| pairs_of_ints(c, |a, b| a | b),
        "BitwiseXor" => |c| pairs_of_ints(c, |a, b| a ^ b),
        "BitwiseNot" => not,
        _ => return None,
    })
}

fn shift(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let dtype = c.input(0)?.dtype;
    match c.node.text("direction") {
        Some("LEFT") => pairs_of_ints(c, move |x, by| shifted_left(dtype, x, by)),
        Some("RIGHT") => pairs_of_ints(c, move |x, by| shifted_right(dtype, x, by)),
        other => fail(format!("the direction is {other:?}, \"LEFT\" or \"RIGHT\" is needed")),
    }
}

/// Bits that leave the type are lost; so are all of them past its width.
fn shifted_left(dtype: DType, x: i64, by: i64) -> i64 {
    if (0..dtype.bits() as i64).contains(&by) { wrap(dtype, x << by) } else { 0 }
}

/// Signed numbers keep their sign, and a shift past the width leaves nothing else.
fn shifted_right(dtype: DType, x: i64, by: i64) -> i64 {
    let inside = (0..dtype.bits() as i64).contains(&by);
    match (dtype, inside) {
        (DType::U64, true) => ((x as u64) >> by) as i64,
        (DType::U64, false) => 0,
        (_, true) => x >> by,
        (_, false) => x >> 63,
    }
}

fn not(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    if held(x)? != Held::Int {
        return fail(format!("integers are needed, not {}", x.dtype));
    }
    Ok(vec![make(x.dtype, with::<i64, _>(x, |s| s.iter().map(|v| wrap(x.dtype, !v)).collect())?, x.shape())?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_stay_within_the_type() {
        assert_eq!(shifted_left(DType::U8, 0b1100_0001, 1), 0b1000_0010);
        assert_eq!(shifted_left(DType::I8, 64, 1), -128);
        assert_eq!(shifted_left(DType::U64, 1, 64), 0);
        assert_eq!(shifted_right(DType::U64, -1, 63), 1);
        assert_eq!(shifted_right(DType::I8, -128, 3), -16);
        assert_eq!(shifted_right(DType::I8, -128, 9), -1);
        assert_eq!(shifted_right(DType::U8, 255, 8), 0);
    }
}
