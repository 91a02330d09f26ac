//! `MatMulNBits`: weights of few bits, with a scale for each block along the inner axis.

use crate::engine::exec::data::{OpResult, fail, floats, ints, make, unsupported, with};
use crate::engine::exec::memory::room;
use crate::engine::exec::ops::Call;
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::tensor::{DType, Value};

/// The weight as the attributes describe it: `[n]` rows of blocks of codes, packed from the low bits up.
struct Blocks {
    k: usize,
    n: usize,
    bits: usize,
    size: usize,
}

impl Blocks {
    fn of(c: &Call<'_>) -> OpResult<Self> {
        let need = |name: &str| match c.node.int(name) {
            Some(v) if (1..=1 << 31).contains(&v) => Ok(v as usize),
            other => fail(format!("attribute \"{name}\" is {other:?}, but a positive number is needed")),
        };
        let bits = c.int("bits", 4);
        if !matches!(bits, 2 | 4 | 8) {
            return unsupported(format!("{bits} bits are not supported; 2, 4 and 8 are"));
        }
        let size = need("block_size")?;
        if size < 16 || !size.is_power_of_two() {
            return fail(format!("a block size of {size} is not a power of two of at least 16"));
        }
        Ok(Self { k: need("K")?, n: need("N")?, bits: bits as usize, size })
    }

    fn per_row(&self) -> usize {
        self.k.div_ceil(self.size)
    }

    /// The `index`-th code of bytes that hold several each.
    fn code(&self, bytes: &[i64], index: usize) -> i64 {
        let per_byte = 8 / self.bits;
        bytes[index / per_byte] >> (index % per_byte * self.bits) & ((1 << self.bits) - 1)
    }

    /// The zero point of each block: given as floats, packed as the weight is, or the middle.
    fn zeros(&self, value: Option<&Value>) -> OpResult<Vec<f32>> {
        let (rows, blocks) = (self.n, self.per_row());
        let Some(value) = value else { return Ok(vec![(1 << (self.bits - 1)) as f32; rows * blocks]) };
        let count: usize = value.shape().iter().product();
        if value.dtype.is_float() && count == rows * blocks {
            return floats(value);
        }
        let row = (blocks * self.bits).div_ceil(8);
        if value.dtype != DType::U8 || count != rows * row {
            return fail(format!("zero points of type {} and shape {:?} do not fit the weight", value.dtype, value.shape()));
        }
        let bytes = ints(value)?;
        Ok(bytes.chunks(row).flat_map(|row| (0..blocks).map(|b| self.code(row, b) as f32)).collect())
    }

    /// The weight in floats, `[k, n]`.
    fn dequantized(&self, codes: &Value, scales: &Value, zeros: Option<&Value>) -> OpResult<Vec<f32>> {
        let (blocks, row) = (self.per_row(), self.size * self.bits / 8);
        let wanted = self.n.checked_mul(blocks).and_then(|b| b.checked_mul(row));
        if codes.dtype != DType::U8 || Some(codes.shape().iter().product()) != wanted {
            let (dtype, shape) = (codes.dtype, codes.shape());
            return fail(format!("a weight of type {dtype} and shape {shape:?} does not hold [{}, {}]", self.n, self.k));
        }
        let (scales, zeros) = (floats(scales)?, self.zeros(zeros)?);
        if scales.len() != self.n * blocks {
            return fail(format!("{} scales do not fit {} blocks", scales.len(), self.n * blocks));
        }
        let mut out = vec![0.0; room::<f32>(&[self.k, self.n])?];
        with::<i64, _>(codes, |codes| {
            for (column, codes) in codes.chunks(blocks * row).enumerate() {
                for place in 0..self.k {
                    let block = column * blocks + place / self.size;
                    out[place * self.n + column] = (self.code(codes, place) as f32 - zeros[block]) * scales[block];
                }
            }
        })?;
        Ok(out)
    }
}

/// `MatMulNBits(a, b, scales, zero_points, g_idx, bias)`.
pub(super) fn matmul_nbits(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let a = c.input(0)?;
    if c.optional(4).is_some() {
        return unsupported("input \"g_idx\" is not supported");
    }
    let blocks = Blocks::of(c)?;
    let Some(&inner) = a.shape().last().filter(|k| **k == blocks.k) else {
        return fail(format!("data of shape {:?} do not fit an inner axis of {}", a.shape(), blocks.k));
    };
    let weight = blocks.dequantized(c.input(1)?, c.input(2)?, c.optional(3))?;
    let rows = a.shape()[..a.shape().len() - 1].iter().product::<usize>();
    let mut out = vec![0.0_f32; room::<f32>(&[rows, blocks.n])?];
    with::<f32, _>(a, |x| {
        let left = Left { data: x, row_stride: inner, column_stride: 1 };
        c.install(|| matmul(left, &weight, (rows, inner, blocks.n), &mut out));
    })?;
    if let Some(bias) = c.optional(5) {
        let bias = floats(bias)?;
        if bias.len() != blocks.n {
            return fail(format!("a bias of {} does not fit {} columns", bias.len(), blocks.n));
        }
        for row in out.chunks_mut(blocks.n) {
            row.iter_mut().zip(&bias).for_each(|(v, b)| *v += b);
        }
    }
    let shape: Vec<usize> = a.shape()[..a.shape().len() - 1].iter().copied().chain([blocks.n]).collect();
    let values = out.into_iter().map(|v| crate::engine::exec::ops::cast::narrow(a.dtype, v)).collect();
    Ok(vec![make::<f32>(a.dtype, values, &shape)?])
}
