//! Products of 8-bit matrices.

use super::{Order, Scale, scales, shift_of, signed, single, spread, unsigned, zeros};
use crate::engine::exec::data::{OpResult, fail, floats, ints, make, scalar, unsupported, with};
use crate::engine::exec::memory::room;
use crate::engine::exec::ops::Call;
use crate::engine::exec::ops::elementwise::broadcast_shape;
use crate::engine::exec::ops::matmul::places;
use crate::engine::kernels::integer::{Finish, Geometry, Rounding, Sink, Weights, convolve, quantize_bytes};
use crate::engine::kernels::layout::transpose;
use crate::engine::tensor::{DType, Value};

/// `MatMulInteger(a, b, a_zero_point, b_zero_point)`.
pub(super) fn integer(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let product = Product::new([c.input(0)?, c.input(1)?], [c.optional(2), c.optional(3)])?;
    let sums: Vec<i64> = product.sums(c)?.into_iter().map(i64::from).collect();
    Ok(vec![make(DType::I32, sums, &product.shape)?])
}

/// `QLinearMatMul(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)`.
pub(super) fn qlinear(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let y = Scale::of(c, 6)?;
    let product = Product::new([c.input(0)?, c.input(3)?], [c.optional(2), c.optional(5)])?;
    let sums = product.sums(c)?;
    let rows = spread(&floats(c.input(1)?)?, product.m, "rows")?;
    let columns = scales(c.input(4)?, product.n)?;
    let mut values = Vec::with_capacity(sums.len());
    for (row, sums) in sums.chunks(product.n.max(1)).enumerate() {
        let factors: Vec<f32> = columns.iter().map(|s| rows[row % product.m] * s).collect();
        values.extend(y.round(sums, &factors)?);
    }
    Ok(vec![make(y.dtype, values, &product.shape)?])
}

/// `MatMulIntegerToFloat(a, b, a_scale, b_scale, a_zero, b_zero, bias)`.
pub(super) fn to_float(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let product = Product::new([c.input(0)?, c.input(1)?], [c.optional(4), c.optional(5)])?;
    let a_scale = scalar(single(c.input(2)?, "the scale of the data")?)?;
    let values = product.floats(c, a_scale, c.input(3)?, c.optional(6))?;
    Ok(vec![make(DType::F32, values, &product.shape)?])
}

/// `DynamicQuantizeMatMul(a, b, b_scale, b_zero, bias)`: the data are rounded over the range they have.
pub(super) fn dynamic(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let a = c.input(0)?;
    let (bytes, scale, zero) = with::<f32, _>(a, |x| {
        let (low, high) = x.iter().fold((0.0_f32, 0.0_f32), |(low, high), v| (low.min(*v), high.max(*v)));
        let scale = if high == low { 1.0 } else { (high - low) / 255.0 };
        let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as i32;
        let mut bytes = vec![0; x.len()];
        quantize_bytes(x, scale, Rounding { inverse: 1.0 / scale, zero, range: (0, 255) }, &mut bytes);
        (bytes, scale, zero)
    })?;
    let b = c.input(1)?;
    let product = Product::of(a.shape(), bytes, vec![zero], b, c.optional(3))?;
    let values = product.floats(c, scale, c.input(2)?, c.optional(4))?;
    Ok(vec![make(DType::F32, values, &product.shape)?])
}

/// `QGemm(a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero)`; floats where no scale is given.
pub(super) fn gemm(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let turned = |value: &Value, attribute: &str| -> OpResult<Value> {
        let &[rows, columns] = value.shape() else {
            return fail(format!("matrices are needed, not shape {:?}", value.shape()));
        };
        if c.int(attribute, 0) == 0 {
            return Ok(value.clone());
        }
        make(value.dtype, with::<i64, _>(value, |s| transpose(s, 1, rows, columns))?, &[columns, rows])
    };
    let (a, b) = (turned(c.input(0)?, "transA")?, turned(c.input(3)?, "transB")?);
    let mut product = Product::new([&a, &b], [c.optional(2), c.optional(5)])?;
    if let Some(bias) = c.optional(6) {
        let bias = ints(bias)?.iter().map(|v| *v as i32).collect::<Vec<i32>>();
        if bias.len() == product.m * product.n && product.m > 1 {
            return unsupported("a bias for each element is not supported; one per column is");
        }
        product.bias = spread(&bias, product.n, "columns")?;
    }
    let factor = c.float("alpha", 1.0) * scalar(single(c.input(1)?, "the scale of the data")?)?;
    if c.optional(7).is_none() {
        let values = product.floats(c, factor, c.input(4)?, None)?;
        return Ok(vec![make(DType::F32, values, &product.shape)?]);
    }
    let y = Scale::of(c, 7)?;
    let factors: Vec<f32> = scales(c.input(4)?, product.n)?.iter().map(|s| factor * s).collect();
    Ok(vec![make(y.dtype, y.round(&product.sums(c)?, &factors)?, &product.shape)?])
}

/// `[…, m, k]` × `[…, k, n]`, shapes and zero points checked.
struct Product {
    a: Vec<u8>,
    b: Vec<i8>,
    m: usize,
    k: usize,
    n: usize,
    /// Which matrix of each side every result takes.
    pairs: Vec<[usize; 2]>,
    /// One per row, or one for all.
    a_zero: Vec<i32>,
    /// One per column.
    b_zero: Vec<i32>,
    /// Added to the sums, one per column.
    bias: Vec<i32>,
    shape: Vec<usize>,
}

impl Product {
    fn new([a, b]: [&Value; 2], [a_zero, b_zero]: [Option<&Value>; 2]) -> OpResult<Self> {
        let zero = zeros(a_zero, a, shift_of(a, "data")?)?;
        Self::of(a.shape(), unsigned(a, "data", Order::Rows)?, zero, b, b_zero)
    }

    fn of(a_shape: &[usize], a: Vec<u8>, a_zero: Vec<i32>, b: &Value, b_zero: Option<&Value>) -> OpResult<Self> {
        // A vector counts as a row on the left and as a column on the right, and its axis goes again.
        let left: Vec<usize> = if let &[k] = a_shape { vec![1, k] } else { a_shape.to_vec() };
        let right: Vec<usize> = if let &[k] = b.shape() { vec![k, 1] } else { b.shape().to_vec() };
        let ([batch_a @ .., m, k], [batch_b @ .., inner, n]) = (left.as_slice(), right.as_slice()) else {
            return fail("scalars cannot be multiplied as matrices");
        };
        if k != inner {
            return fail(format!("shapes {a_shape:?} and {:?} cannot be multiplied", b.shape()));
        }
        let batch = broadcast_shape(batch_a, batch_b)?;
        let mut shape = batch.clone();
        shape.extend((a_shape.len() > 1).then_some(*m));
        shape.extend((b.shape().len() > 1).then_some(*n));
        let one_right = batch_b.iter().product::<usize>() == 1 && batch_a == batch && a_zero.len() == 1;
        // One right matrix for all: the batch is more rows.
        let (m, pairs) = if one_right {
            (batch.iter().product::<usize>() * m, vec![[0, 0]])
        } else {
            let (at_a, at_b) = (places(batch_a, &batch), places(batch_b, &batch));
            (*m, at_a.into_iter().zip(at_b).map(|(a, b)| [a, b]).collect())
        };
        if a_zero.len() != 1 && a_zero.len() != m {
            return fail(format!("{} zero points of the left matrix do not fit {m} rows", a_zero.len()));
        }
        let b_zero = spread(&zeros(b_zero, b, shift_of(b, "a weight")? - 128)?, *n, "columns")?;
        let codes = signed(b, "a weight")?;
        Ok(Self { a, b: codes, m, k: *k, n: *n, pairs, a_zero, b_zero, bias: vec![0; *n], shape })
    }

    /// The exact sums, less what the zero points make.
    fn sums(&self, c: &Call<'_>) -> OpResult<Vec<i32>> {
        let (m, k, n) = (self.m, self.k, self.n);
        let mut out = vec![0; room::<i32>(&[self.pairs.len(), m, n])?];
        if out.is_empty() || k == 0 {
            return Ok(out);
        }
        let simple = self.a_zero.len() == 1 && self.b_zero.iter().all(|z| *z == 0);
        let mut packed: Option<(usize, Weights)> = None;
        for ([left, right], out) in self.pairs.iter().zip(out.chunks_mut(m * n)) {
            let a = &self.a[left * m * k..][..m * k];
            let weights = match packed.take() {
                Some((index, weights)) if index == *right => weights,
                _ => Weights::pack_matrix(&self.b[right * k * n..][..k * n], k, n),
            };
            let zero = if simple { self.a_zero[0] } else { 0 };
            let offset: Vec<i32> =
                weights.sums().iter().zip(&self.bias).map(|(s, b)| b.wrapping_sub(s.wrapping_mul(zero))).collect();
            let g = Geometry::rows(m);
            c.install(|| convolve(&g, &weights, 1, a, 0, &Finish::sums(&offset), Sink::Sums(out)));
            if !simple {
                self.correct(a, weights.sums(), out);
            }
            packed = Some((*right, weights));
        }
        Ok(out)
    }

    /// `Σ(a − za)(b − zb) = Σab − za·Σb − zb·(Σa − k·za)`.
    fn correct(&self, a: &[u8], column_sums: &[i32], out: &mut [i32]) {
        for (row, (a, out)) in a.chunks(self.k).zip(out.chunks_mut(self.n)).enumerate() {
            let zero = self.a_zero[row % self.a_zero.len()];
            let total: i32 = a.iter().map(|v| i32::from(*v) - zero).fold(0, i32::wrapping_add);
            for ((out, sum), b_zero) in out.iter_mut().zip(column_sums).zip(&self.b_zero) {
                *out = out.wrapping_sub(zero.wrapping_mul(*sum)).wrapping_sub(b_zero.wrapping_mul(total));
            }
        }
    }

    /// Sums times scales, plus a bias.
    fn floats(&self, c: &Call<'_>, scale: f32, columns: &Value, bias: Option<&Value>) -> OpResult<Vec<f32>> {
        let factors: Vec<f32> = scales(columns, self.n)?.iter().map(|s| scale * s).collect();
        let bias = match bias {
            Some(bias) => spread(&floats(bias)?, self.n, "columns")?,
            None => vec![0.0; self.n],
        };
        let place = factors.iter().zip(&bias).cycle();
        Ok(self.sums(c)?.iter().zip(place).map(|(sum, (f, b))| *sum as f32 * f + b).collect())
    }
}
