//! Views that do not lie in row-major order, copied into it.

use super::{DType, Tensor, TensorError};

impl Tensor {
    /// The elements of a view over `bytes`: element `i` lies `Σ index·stride` elements after the
    /// first. `strides` has one entry per axis of `shape`, in elements.
    ///
    /// # Errors
    /// When the view leaves `bytes`, repeats so many elements that the copy would be larger than
    /// what it is a view of, or its elements are narrower than a byte.
    pub fn from_view(dtype: DType, shape: Vec<usize>, strides: &[usize], bytes: &[u8]) -> Result<Self, TensorError> {
        let width = dtype.bits() / 8;
        let expected = super::packed_len(dtype, &shape)?;
        let found = bytes.len();
        let reach = reach(&shape, strides).and_then(|elements| elements.checked_mul(width));
        let too_far = reach.is_none_or(|reach| reach > found) || expected > found;
        if width == 0 || strides.len() != shape.len() || too_far {
            return Err(TensorError::Size { dtype, shape, expected, found });
        }
        let mut out = Vec::with_capacity(expected);
        if expected > 0 {
            copy(bytes, width, &shape, strides, 0, &mut out);
        }
        Self::from_bytes(dtype, shape, out)
    }

    /// A matrix `[rows, columns]` as `[columns, rows]`.
    ///
    /// # Errors
    /// For what is no matrix, and for elements narrower than a byte.
    pub fn transposed(&self) -> Result<Self, TensorError> {
        match *self.shape() {
            [rows, columns] => Self::from_view(self.dtype(), vec![columns, rows], &[1, columns], &self.bytes()),
            _ => Err(TensorError::Type { dtype: self.dtype(), wanted: "a matrix" }),
        }
    }
}

/// One past the last element that a view reads; `None` where no machine has so many.
pub fn reach(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let steps = shape.iter().zip(strides).map(|(size, stride)| (size - 1).checked_mul(*stride));
    steps.into_iter().try_fold(1_usize, |sum, step| sum.checked_add(step?))
}

/// Strides of `shape` in row-major order.
#[must_use]
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

/// Appends the part of the view from `place` on. Depth of the recursion: the rank.
fn copy(bytes: &[u8], width: usize, shape: &[usize], strides: &[usize], place: usize, out: &mut Vec<u8>) {
    match (shape, strides) {
        ([], _) | (_, []) => out.extend_from_slice(&bytes[place * width..(place + 1) * width]),
        ([size], [1]) => out.extend_from_slice(&bytes[place * width..(place + size) * width]),
        ([size, inner @ ..], [stride, rest @ ..]) => {
            for index in 0..*size {
                copy(bytes, width, inner, rest, place + index * stride, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_turned_and_turned_back() {
        let matrix = Tensor::from_f32(vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let turned = matrix.transposed().unwrap();
        assert_eq!((turned.shape(), turned.to_f32().unwrap()), (&[3, 2][..], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        assert_eq!(turned.transposed().unwrap().bytes(), matrix.bytes());
    }

    #[test]
    fn a_view_stays_within_its_bytes() {
        let bytes = [0_u8, 1, 2, 3, 4, 5];
        let view = |shape: &[usize], strides: &[usize]| Tensor::from_view(DType::U8, shape.to_vec(), strides, &bytes);
        assert_eq!(&*view(&[2, 2], &[3, 2]).unwrap().bytes(), &[0, 2, 3, 5]);
        assert_eq!(&*view(&[2, 0], &[9, 9]).unwrap().bytes(), &[] as &[u8]);
        assert_eq!(&*view(&[3], &[0]).unwrap().bytes(), &[0, 0, 0]);
        assert!(view(&[2, 2], &[4, 2]).is_err());
        assert!(view(&[7], &[0]).is_err(), "a copy larger than what it copies");
        assert!(view(&[usize::MAX, 2], &[0, 0]).is_err());
        assert!(view(&[2], &[usize::MAX]).is_err());
        assert!(view(&[2], &[]).is_err());
    }

    #[test]
    fn strides_of_a_row_major_shape() {
        assert_eq!(row_major(&[2, 3, 4]), [12, 4, 1]);
        assert_eq!(row_major(&[]), [] as [usize; 0]);
    }
}
