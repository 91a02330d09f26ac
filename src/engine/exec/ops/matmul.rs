//! Matrix products.

use super::elementwise::broadcast_shape;
use super::plain::{Product, products, whole};
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, fail, held, make, unsupported, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::kernels::layout::transpose;
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::tensor::Value;
use candle_core::WithDType;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Gemm" => gemm,
        "MatMul" => product,
        _ => return None,
    })
}

/// A `Gemm` node, read: the product is `[m, k] · [k, n]`.
struct Gemm {
    size: (usize, usize, usize),
    turn_a: bool,
    turn_b: bool,
    alpha: f32,
    beta: f32,
}

impl Gemm {
    fn of(c: &Call<'_>, a: &Value, b: &Value) -> OpResult<Self> {
        let (turn_a, turn_b) = (c.int("transA", 0) != 0, c.int("transB", 0) != 0);
        let (&[a0, a1], &[b0, b1]) = (a.shape(), b.shape()) else {
            return fail(format!("matrices are needed, not shapes {:?} and {:?}", a.shape(), b.shape()));
        };
        let (m, k) = if turn_a { (a1, a0) } else { (a0, a1) };
        let (inner, n) = if turn_b { (b1, b0) } else { (b0, b1) };
        if k != inner {
            return fail(format!("shapes {:?} and {:?} cannot be multiplied", a.shape(), b.shape()));
        }
        Ok(Self { size: (m, k, n), turn_a, turn_b, alpha: c.float("alpha", 1.0), beta: c.float("beta", 1.0) })
    }

    /// How the matrices lie.
    fn product(&self) -> Product<'_> {
        let (m, k, n) = self.size;
        Product {
            size: self.size,
            left: if self.turn_a { (1, m) } else { (k, 1) },
            right: if self.turn_b { (1, k) } else { (n, 1) },
            places: &[(0, 0)],
        }
    }
}

fn gemm(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let gemm = Gemm::of(c, a, b)?;
    let (m, k, n) = gemm.size;
    let shape = [m, n];
    let result = match (held(a)?, held(b)?) {
        (Held::F32, Held::F32) => {
            let mut out = vec![0.0_f32; room::<f32>(&shape)?];
            with2::<f32, f32, _>(a, b, |x, w| {
                let (row_stride, column_stride) = gemm.product().left;
                let left = Left { data: x, row_stride, column_stride };
                c.install(|| {
                    if gemm.turn_b {
                        matmul(left, &transpose(w, 1, n, k), gemm.size, &mut out);
                    } else {
                        matmul(left, w, gemm.size, &mut out);
                    }
                });
            })?;
            if gemm.alpha != 1.0 {
                for v in &mut out {
                    *v *= gemm.alpha;
                }
            }
            add_bias::<f32>(c, &mut out, &shape, |v, b| v + gemm.beta * b)?;
            make(a.dtype, out, &shape)?
        }
        (Held::F64, Held::F64) => {
            let (alpha, beta) = (f64::from(gemm.alpha), f64::from(gemm.beta));
            let mut out = products::<f64>(c, a, b, &gemm.product())?;
            for v in &mut out {
                *v *= alpha;
            }
            add_bias::<f64>(c, &mut out, &shape, |v, b| v + beta * b)?;
            make(a.dtype, out, &shape)?
        }
        (Held::Int, Held::Int) if gemm.alpha == 1.0 && gemm.beta == 1.0 => {
            let mut out = products::<i64>(c, a, b, &gemm.product())?;
            add_bias::<i64>(c, &mut out, &shape, i64::wrapping_add)?;
            whole(a.dtype, out, &shape)?
        }
        (Held::Int, Held::Int) => return unsupported("alpha and beta other than 1 are not supported on integers"),
        _ => return fail(format!("numbers of one type are needed, not {} and {}", a.dtype, b.dtype)),
    };
    Ok(vec![result])
}

/// Joins the bias, which broadcasts to `[m, n]`, to every element.
fn add_bias<T: WithDType + Default>(c: &Call<'_>, out: &mut [T], &[m, n]: &[usize; 2], join: impl Fn(T, T) -> T) -> OpResult<()> {
    let Some(bias) = c.optional(2) else { return Ok(()) };
    let shape = bias.shape();
    let fits = |i: usize, d: usize| shape.len() < i || matches!(shape[shape.len() - i], s if s == d || s == 1);
    if shape.len() > 2 || !fits(1, n) || !fits(2, m) {
        return fail(format!("a bias of shape {shape:?} does not broadcast to [{m}, {n}]"));
    }
    let along = usize::from(shape.last().is_some_and(|d| *d != 1));
    let down = if shape.len() == 2 && shape[0] != 1 { shape[1] } else { 0 };
    with::<T, _>(bias, |b| {
        for (r, row) in out.chunks_mut(n.max(1)).enumerate() {
            for (j, v) in row.iter_mut().enumerate() {
                *v = join(*v, b[r * down + j * along]);
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
    let batch = broadcast_shape(batch_a, batch_b)?;
    room::<usize>(&batch)?;
    let mut shape = batch.clone();
    shape.extend((a.shape().len() > 1).then_some(m));
    shape.extend((b.shape().len() > 1).then_some(n));
    let places: Vec<(usize, usize)> = places(batch_a, &batch).into_iter().zip(places(batch_b, &batch)).collect();
    let plain = Product { size: (m, k, n), left: (k, 1), right: (n, 1), places: &places };
    Ok(vec![match (held(a)?, held(b)?) {
        (Held::F32, Held::F32) => {
            let together = batch_b.iter().product::<usize>() == 1 && batch_a == batch;
            make(a.dtype, product_f32(c, a, b, &plain, together)?, &shape)?
        }
        (Held::F64, Held::F64) => make(a.dtype, products::<f64>(c, a, b, &plain)?, &shape)?,
        (Held::Int, Held::Int) => whole(a.dtype, products::<i64>(c, a, b, &plain)?, &shape)?,
        _ => return fail(format!("numbers of one type are needed, not {} and {}", a.dtype, b.dtype)),
    }])
}

/// `together`: one right matrix for all, so that the batch is more rows.
fn product_f32(c: &Call<'_>, a: &Value, b: &Value, product: &Product<'_>, together: bool) -> OpResult<Vec<f32>> {
    let ((m, k, n), count) = (product.size, product.places.len());
    let mut out = vec![0.0_f32; room::<f32>(&[count, m, n])?];
    with2::<f32, f32, _>(a, b, |x, y| {
        c.install(|| {
            if together {
                matmul(Left { data: x, row_stride: k, column_stride: 1 }, y, (count * m, k, n), &mut out);
                return;
            }
            for (out, (i, j)) in out.chunks_mut((m * n).max(1)).zip(product.places) {
                let left = Left { data: &x[i * m * k..][..m * k], row_stride: k, column_stride: 1 };
                matmul(left, &y[j * k * n..][..k * n], product.size, out);
            }
        });
    })?;
    Ok(out)
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
