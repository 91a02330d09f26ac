//! Matrices with two weights in every four, as compressed-tensors stores them: the weights that are left, and a bit for each
//! place that says whether it has one.
//! Source: vllm-project/compressed-tensors `compressors/sparse_compressors/sparse_24_bitmask.py`: `compressed`
//! [rows, columns / 2], `bitmask` [rows, ceil(columns / 8)] from the low bits up, `shape` [2, 1].

use crate::engine::graph::Wire;
use crate::engine::tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Of so many neighbors half have a weight.
const OF: usize = 4;
const KEEP: usize = OF / 2;

/// The weights that are left of rows of `cols` elements of `width` bytes, and the bits of their places. Where fewer than
/// two of four are not zero, the first zeros are kept with them: every four give two.
///
/// # Errors
/// The place of the first four that have more than two.
pub(super) fn pack(rows: &[u8], cols: usize, width: usize) -> Result<(Vec<u8>, Vec<u8>), usize> {
    let (mut left, mut mask) = (Vec::with_capacity(rows.len() / 2), Vec::new());
    for (number, row) in rows.chunks(cols * width).enumerate() {
        let mut bits = vec![0_u8; cols.div_ceil(8)];
        for (at, four) in row.chunks(OF * width).enumerate() {
            let kept = kept(four, width).ok_or(number * cols + at * OF)?;
            for (i, element) in four.chunks(width).enumerate().filter(|(i, _)| kept >> i & 1 == 1) {
                left.extend(element);
                let place = at * OF + i;
                if let Some(byte) = bits.get_mut(place / 8) {
                    *byte |= 1 << (place % 8);
                }
            }
        }
        mask.extend(bits);
    }
    Ok((left, mask))
}

/// Which two of four are kept, as bits; `None` where more are not zero. A zero with a sign is not zero: it would lose it.
fn kept(four: &[u8], width: usize) -> Option<u8> {
    let bits =
        |wanted: bool| four.chunks(width).enumerate().filter(move |(_, e)| e.iter().any(|b| *b != 0) == wanted).map(|(i, _)| i);
    let weights = bits(true).count();
    if weights > KEEP {
        return None;
    }
    Some(bits(true).chain(bits(false).take(KEEP - weights)).fold(0, |all, i| all | 1 << i))
}

/// Rows of `cols` elements of `width` bytes from what [`pack`] made of them; `None` where the two do not fit each other.
pub(super) fn unpack(left: &[u8], mask: &[u8], [rows, cols]: [usize; 2], width: usize) -> Option<Vec<u8>> {
    let across = cols.div_ceil(8);
    let size = rows.checked_mul(cols)?.checked_mul(width)?;
    let wanted: usize = mask.iter().map(|byte| byte.count_ones() as usize).sum();
    if mask.len() != rows.checked_mul(across)? || left.len() != wanted.checked_mul(width)? || left.len().checked_mul(2)? != size {
        return None;
    }
    let mut out = vec![0; size];
    let mut next = left.chunks_exact(width.max(1));
    for (row, bits) in mask.chunks(across.max(1)).enumerate() {
        for place in (0..across * 8).filter(|place| bits.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)) {
            let at = (row * cols + place) * width;
            // A bit behind the end of a row belongs to no weight.
            let slot = if place < cols { out.get_mut(at..at + width) } else { None };
            slot?.copy_from_slice(next.next()?);
        }
    }
    Some(out)
}

/// Puts matrices that a file holds so together again: each takes the name `….weight`. What does not fit stays as it is.
pub(in crate::pipeline::load) fn join(tensors: &mut BTreeMap<Wire, Tensor>) {
    let modules: Vec<String> = tensors.keys().filter_map(|name| name.strip_suffix(".bitmask").map(str::to_owned)).collect();
    for module in modules {
        let part = |end: &str| tensors.get(format!("{module}.{end}").as_str());
        let (Some(mask), Some(left), Some(shape)) = (part("bitmask"), part("compressed"), part("shape")) else { continue };
        let Some(dense) = dense(left, mask, shape) else { continue };
        let weight = Wire::from(format!("{module}.weight"));
        if tensors.contains_key(&weight) {
            continue;
        }
        for end in ["bitmask", "compressed", "shape"] {
            tensors.remove(format!("{module}.{end}").as_str());
        }
        tensors.insert(weight, dense);
    }
}

fn dense(left: &Tensor, mask: &Tensor, shape: &Tensor) -> Option<Tensor> {
    let dims: Vec<usize> = shape.to_i64().ok()?.into_iter().map(|d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    let width = left.dtype().bits() / 8;
    let &[rows, cols] = dims.as_slice() else { return None };
    if mask.dtype() != DType::U8 || width == 0 || !left.dtype().bits().is_multiple_of(8) {
        return None;
    }
    let bytes = unpack(&left.bytes(), &mask.bytes(), [rows, cols], width)?;
    Tensor::from_bytes(left.dtype(), dims, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn what_is_left_and_where_it_was() {
        // Twelve columns: the bits of a row fill a byte and a half.
        let row = [0.0, 1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, -0.0];
        let rows = bytes(&[row, row].concat());
        let (left, mask) = pack(&rows, 12, 4).unwrap();
        assert_eq!(left, bytes(&[1.0, 2.0, 3.0, 0.0, 4.0, -0.0, 1.0, 2.0, 3.0, 0.0, 4.0, -0.0]));
        assert_eq!(mask, [0b0011_1010, 0b1100, 0b0011_1010, 0b1100]);
        assert_eq!(unpack(&left, &mask, [2, 12], 4).unwrap(), rows);
        assert_eq!(pack(&bytes(&[1.0, 2.0, 0.0, 3.0]), 4, 4), Err(0));
    }

    #[test]
    fn parts_that_do_not_fit_are_left_alone() {
        let (left, mask) = pack(&bytes(&[1.0, 0.0, 2.0, 0.0]), 4, 4).unwrap();
        assert!(unpack(&left, &mask, [1, 8], 4).is_none() && unpack(&left, &[0xFF], [1, 4], 4).is_none());
        assert!(unpack(&left, &[0b1001_0000], [1, 4], 4).is_none(), "bits behind the row");
        assert!(unpack(&left, &mask, [usize::MAX, 4], 4).is_none());
        let tensor = |dtype, shape: &[usize], bytes: &[u8]| Tensor::from_bytes(dtype, shape.to_vec(), bytes.to_vec()).unwrap();
        let shape = |dims: [i64; 2]| Tensor::from_i64(vec![2, 1], &dims).unwrap();
        let file = |dims| {
            BTreeMap::from([
                (Wire::from("m.bitmask"), tensor(DType::U8, &[1, 1], &mask)),
                ("m.compressed".into(), tensor(DType::F32, &[1, 2], &left)),
                ("m.shape".into(), shape(dims)),
            ])
        };
        let mut whole = file([1, 4]);
        join(&mut whole);
        assert_eq!(whole.len(), 1);
        assert_eq!(whole["m.weight"].to_f32().unwrap(), [1.0, 0.0, 2.0, 0.0]);
        for dims in [[-1, 4], [2, 4], [i64::MAX, i64::MAX]] {
            let mut broken = file(dims);
            join(&mut broken);
            assert_eq!(broken.len(), 3);
        }
    }
}
