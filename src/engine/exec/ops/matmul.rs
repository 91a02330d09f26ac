//! Matrix products.

use super::elementwise::broadcast_shape;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, fail, held, make, unsupported, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::kernels::layout::transpose;
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Gemm" => gemm,
        "MatMul" => product,
        _ => return None,
    })
}

fn gemm(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (turn_a, turn_b) = (c.int("transA", 0) != 0, c.int("transB", 0) != 0);
    let (&[a0, a1], &[b0, b1]) = (a.shape(), b.shape()) else {
        return fail(format!("matrices are needed, not shapes {:?} and {:?}", a.shape(), b.shape()));
    };
    let (m, k) = if turn_a { (a1, a0) } else { (a0, a1) };
    let (inner, n) = if turn_b { (b1, b0) } else { (b0, b1) };
    if k != inner {
        return fail(format!("shapes {:?} and {:?} cannot be multiplied", a.shape(), b.shape()));
    }
    if held(a)? != Held::F32 {
        return unsupported(format!("values of type {} are not supported here; cast them to float32", a.dtype));
    }
    let mut out = vec![0.0_f32; room::<f32>(&[m, n])?];
    with2::<f32, f32, _>(a, b, |x, w| {
        let (row_stride, column_stride) = if turn_a { (1, a1) } else { (a1, 1) };
        let left = Left { data: x, row_stride, column_stride };
        c.install(|| {
            if turn_b {
                matmul(left, &transpose(w, 1, n, k), (m, k, n), &mut out);
            } else {
                matmul(left, w, (m, k, n), &mut out);
            }
        });
    })?;
    let alpha = c.float("alpha", 1.0);
    if alpha != 1.0 {
        for v in &mut out {
            *v *= alpha;
        }
    }
    if let Some(bias) = c.optional(2) {
        add_bias(&mut out, bias, c.float("beta", 1.0), m, n)?;
    }
    Ok(vec![make(a.dtype, out, &[m, n])?])
}

/// Adds `beta · bias`, which broadcasts to `[m, n]`.
fn add_bias(out: &mut [f32], bias: &Value, beta: f32, m: usize, n: usize) -> OpResult<()> {
    let shape = bias.shape();
    let fits = |i: usize, d: usize| shape.len() < i || matches!(shape[shape.len() - i], s if s == d || s == 1);
    if shape.len() > 2 || !fits(1, n) || !fits(2, m) {
        return fail(format!("a bias of shape {shape:?} does not broadcast to [{m}, {n}]"));
    }
    let along = usize::from(shape.last().is_some_and(|d| *d != 1));
    let down = if shape.len() == 2 && shape[0] != 1 { shape[1] } else { 0 };
    with::<f32, _>(bias, |b| {
        for (r, row) in out.chunks_mut(n.max(1)).enumerate() {
            for (j, v) in row.iter_mut().enumerate() {
                *v += beta * b[r * down + j * along];
            }
        }
    })
}

fn product(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    // A vector counts as a row on the left and as a column on the right, and its axis goes again.
    let left: Vec<usize> = if let &[k] = a.shape() { vec![1, k] } else { a.shape().to_vec() };
    let right: Vec<usize> = if let &[k] = b.shape() { vec![k, 1] } else { b.shape().to_vec() };
    let ([batch_a @ .., m, k], [batch_b @ .., inner, n]) = (left.as_slice(), right.as_slice()) else {
        return fail("scalars cannot be multiplied as matrices");
    };
    let (m, k, n) = (*m, *k, *n);
    if k != *inner {
        return fail(format!("shapes {:?} and {:?} cannot be multiplied", a.shape(), b.shape()));
    }
    if held(a)? != Held::F32 || held(b)? != Held::F32 {
        return unsupported(format!("values of type {} are not supported here; cast them to float32", a.dtype));
    }
    let batch = broadcast_shape(batch_a, batch_b)?;
    let count: usize = batch.iter().product();
    let mut out = vec![0.0_f32; room::<f32>(&[count, m, n])?];
    let (at_a, at_b) = (places(batch_a, &batch), places(batch_b, &batch));
    with2::<f32, f32, _>(a, b, |x, y| {
        c.install(|| {
            if batch_b.iter().product::<usize>() == 1 && batch_a == batch {
                // One right matrix for all: the batch is more rows.
                matmul(Left { data: x, row_stride: k, column_stride: 1 }, y, (count * m, k, n), &mut out);
                return;
            }
            for (i, out) in out.chunks_mut((m * n).max(1)).enumerate() {
                let left = Left { data: &x[at_a[i] * m * k..][..m * k], row_stride: k, column_stride: 1 };
                matmul(left, &y[at_b[i] * k * n..][..k * n], (m, k, n), out);
            }
        });
    })?;
    let mut shape = batch;
    shape.extend((a.shape().len() > 1).then_some(m));
    shape.extend((b.shape().len() > 1).then_some(n));
    Ok(vec![make(a.dtype, out, &shape)?])
}

/// For each matrix of the broadcast batch, which matrix of the operand it is.
pub(super) fn places(own: &[usize], batch: &[usize]) -> Vec<usize> {
    let lead = batch.len() - own.len();
    (0..batch.iter().product::<usize>())
        .map(|flat| {
            let (mut rest, mut place, mut step) = (flat, 0, 1);
            for i in (0..batch.len()).rev() {
                let along = rest % batch[i];
                rest /= batch[i];
                if i >= lead {
                    place += if own[i - lead] == 1 { 0 } else { along * step };
                    step *= own[i - lead];
                }
            }
            place
        })
        .collect()
}
