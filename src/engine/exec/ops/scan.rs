//! Running sums and products, and other operators that go by an element's place: triangles, diagonals.

use super::element::Element;
use super::{Call, Operator};
use crate::engine::exec::data::Held;
use crate::engine::exec::data::{OpResult, axis_of, fail, for_held, held_as, int_scalar, make, with};
use crate::engine::exec::memory::room;
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "CumSum" => |c| running(c, Running::Sum),
        "CumProd" => |c| running(c, Running::Product),
        "Trilu" => triangle,
        "EyeLike" => eye,
        _ => return None,
    })
}

#[derive(Clone, Copy)]
enum Running {
    Sum,
    Product,
}

fn running(c: &Call<'_>, kind: Running) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(int_scalar(c.input(1)?)?, x.shape().len())?;
    let (exclusive, reverse) = (c.int("exclusive", 0) != 0, c.int("reverse", 0) != 0);
    let length = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    for_held!(x, T => {
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        for block in out.chunks_mut((length * inner).max(1)) {
            for j in 0..inner {
                let mut sum = match kind {
                    Running::Sum => T::default(),
                    Running::Product => <T as Element>::ONE,
                };
                for step in 0..length {
                    let i = if reverse { length - 1 - step } else { step };
                    let cell = &mut block[i * inner + j];
                    let next = match kind {
                        Running::Sum => sum.plus(*cell, x.dtype),
                        Running::Product => sum.times(*cell, x.dtype),
                    };
                    *cell = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        Ok(vec![make::<T>(x.dtype, out, x.shape())?])
    })
}

fn triangle(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [.., rows, columns] = *x.shape() else { return fail("a matrix is needed") };
    let k = c.optional(1).map(int_scalar).transpose()?.unwrap_or(0);
    let upper = c.int("upper", 1) != 0;
    for_held!(x, T => {
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        for (flat, v) in out.iter_mut().enumerate() {
            let (row, column) = ((flat / columns % rows) as i64, (flat % columns) as i64);
            let kept = if upper { column - row >= k } else { column - row <= k };
            if !kept {
                *v = T::default();
            }
        }
        Ok(vec![make::<T>(x.dtype, out, x.shape())?])
    })
}

/// Ones on a diagonal of a matrix of the input's shape.
fn eye(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let &[rows, columns] = x.shape() else { return fail("a matrix is needed") };
    let k = c.int("k", 0);
    let dtype = c.node.int("dtype").map_or(x.dtype, |code| DType::from_onnx(code as i32));
    Ok(vec![match held_as(dtype)? {
        Held::F32 => diagonal::<f32>(dtype, rows, columns, k)?,
        Held::F64 => diagonal::<f64>(dtype, rows, columns, k)?,
        Held::Int => diagonal::<i64>(dtype, rows, columns, k)?,
        Held::Bool => diagonal::<u8>(dtype, rows, columns, k)?,
    }])
}

fn diagonal<T: Element>(dtype: DType, rows: usize, columns: usize, k: i64) -> OpResult<Value> {
    let mut out = vec![T::zero(); room::<T>(&[rows, columns])?];
    for row in 0..rows {
        let column = (row as i64).saturating_add(k);
        if (0..columns as i64).contains(&column) {
            out[row * columns + column as usize] = T::ONE;
        }
    }
    make(dtype, out, &[rows, columns])
}
