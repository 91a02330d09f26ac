//! Stored tensors: element type, shape, bytes (owned, mapped from a file, or zeros never made).
//! The bytes are little-endian and packed as ONNX packs them. The only bridge to candle is here.

mod bridge;
mod dtype;
mod minifloat;
mod view;

pub use bridge::{Value, bool_value};
pub use dtype::DType;
pub use minifloat::{MiniFloat, Overflow, PowerRounding, Rounding};
pub use view::{reach, row_major};

use crate::engine::formats::blocks::FormatError;
use half::{bf16, f16};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What can be wrong with a stored tensor.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    #[error("a tensor of type {dtype} and shape {shape:?} needs {expected} bytes, but {found} are there")]
    Size { dtype: DType, shape: Vec<usize>, expected: usize, found: usize },
    #[error("the shape {shape:?} has more elements than this machine can count")]
    TooLarge { shape: Vec<usize> },
    #[error("a tensor of type {dtype} was found where {wanted} is needed")]
    Type { dtype: DType, wanted: &'static str },
    #[error(transparent)]
    Blocks(#[from] FormatError),
    #[error("tensor arithmetic: {0}")]
    Candle(#[from] candle_core::Error),
}

impl TensorError {
    /// Whether the trouble is an element type that cannot be computed with (strings, complex numbers).
    #[must_use]
    pub fn is_unknown_type(&self) -> bool {
        matches!(self, Self::Type { dtype: DType::Other(_), .. })
    }
}

/// A read-only memory map of one file, shared by the tensors inside it.
#[derive(Debug, Clone)]
pub struct MappedFile(Arc<memmap2::Mmap>);

impl MappedFile {
    /// # Errors
    /// What opening or mapping the file says.
    #[expect(unsafe_code, reason = "the one memory map of the program")]
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        // SAFETY: the map is read-only and private to us; a file that another program changes
        // while we read it gives wrong numbers, which every reader of weights validates against
        // sizes alone, never memory that is not mapped, short of truncation by another program.
        let map = unsafe { memmap2::MmapOptions::new().map(&file)? };
        Ok(Self(Arc::new(map)))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Gives back the memory that a part of the file takes; who reads it again has it read from the file.
    #[expect(unsafe_code, reason = "advice on the one memory map of the program")]
    fn forget(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            // SAFETY: the map is read-only and backed by its file: dropped pages come back with the same bytes.
            let advice = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
            // Memory that is not given back is no fault.
            let _ = advice;
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

#[derive(Debug, Clone)]
enum Storage {
    Owned(Arc<[u8]>),
    Mapped(MappedFile, Range<usize>),
    /// Only the size is known: for predicting the bytes of a file before its values exist.
    Zeros(usize),
}

/// A tensor at rest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    storage: Storage,
}

/// Bytes that `count` packed elements of `dtype` need.
fn packed_len(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    let too_large = || TensorError::TooLarge { shape: shape.to_vec() };
    let product = |shape: &[usize]| shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).ok_or_else(too_large);
    if let DType::Block(format) = dtype {
        let cols = shape.last().copied().unwrap_or(1);
        let rows = product(shape.split_last().map_or(&[], |(_, rows)| rows))?;
        product(shape)?;
        return usize::try_from(format.bytes(rows, cols)?).map_err(|_| too_large());
    }
    product(shape)?.checked_mul(dtype.bits()).map(|bits| bits.div_ceil(8)).ok_or_else(too_large)
}

impl Tensor {
    /// # Errors
    /// When the number of bytes is not what type and shape need.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, bytes: impl Into<Arc<[u8]>>) -> Result<Self, TensorError> {
        let bytes = bytes.into();
        let expected = packed_len(dtype, &shape)?;
        if bytes.len() != expected {
            return Err(TensorError::Size { dtype, shape, expected, found: bytes.len() });
        }
        Ok(Self { dtype, shape, storage: Storage::Owned(bytes) })
    }

    /// # Errors
    /// When `range` lies outside the file or is not what type and shape need.
    pub fn from_map(dtype: DType, shape: Vec<usize>, file: &MappedFile, range: Range<usize>) -> Result<Self, TensorError> {
        let expected = packed_len(dtype, &shape)?;
        let found = range.end.min(file.len()).saturating_sub(range.start);
        if found != expected || range.len() != expected {
            return Err(TensorError::Size { dtype, shape, expected, found });
        }
        Ok(Self { dtype, shape, storage: Storage::Mapped(file.clone(), range) })
    }

    /// A tensor of zeros that takes no memory.
    ///
    /// # Errors
    /// When the shape overflows.
    pub fn zeros(dtype: DType, shape: Vec<usize>) -> Result<Self, TensorError> {
        let len = packed_len(dtype, &shape)?;
        Ok(Self { dtype, shape, storage: Storage::Zeros(len) })
    }

    /// # Errors
    /// When `values` does not fill `shape`.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        Self::from_bytes(DType::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// # Errors
    /// When `values` does not fill `shape`.
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Result<Self, TensorError> {
        Self::from_bytes(DType::I64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Integers stored as `dtype`, saturated to its range, two or four to a byte where it is narrow.
    ///
    /// # Errors
    /// When `dtype` is no integer or `values` does not fill `shape`.
    pub fn from_integers(dtype: DType, shape: Vec<usize>, values: &[i64]) -> Result<Self, TensorError> {
        Self::from_bytes(dtype, shape, dtype.pack_integers(values)?)
    }

    /// Floats stored as `dtype`, two to a byte where it has 4 bits; what does not fit becomes infinite or NaN
    /// where the type has such.
    ///
    /// # Errors
    /// When `dtype` is no float of up to 32 bits, `values` does not fill `shape`, or blocks cannot hold them.
    pub fn from_floats(dtype: DType, shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        let bytes = match dtype {
            DType::F32 => return Self::from_f32(shape, values),
            DType::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            DType::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            DType::Block(format) => {
                let mut bytes = vec![0; packed_len(dtype, &shape)?];
                format.quantize(values, shape.last().copied().unwrap_or(1), None, &mut bytes)?;
                bytes
            }
            _ => dtype.pack_minifloats(values)?,
        };
        Self::from_bytes(dtype, shape, bytes)
    }

    #[must_use]
    pub fn scalar_f32(value: f32) -> Self {
        Self { dtype: DType::F32, shape: Vec::new(), storage: Storage::Owned(value.to_le_bytes().to_vec().into()) }
    }

    #[must_use]
    pub fn scalar_u8(value: u8) -> Self {
        Self { dtype: DType::U8, shape: Vec::new(), storage: Storage::Owned(vec![value].into()) }
    }

    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is more than a size.
    #[must_use]
    pub fn has_values(&self) -> bool {
        !matches!(self.storage, Storage::Zeros(_))
    }

    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match &self.storage {
            Storage::Owned(bytes) => bytes.len(),
            Storage::Mapped(_, range) => range.len(),
            Storage::Zeros(len) => *len,
        }
    }

    /// The packed little-endian bytes.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.storage {
            Storage::Owned(bytes) => Cow::Borrowed(bytes),
            Storage::Mapped(file, range) => Cow::Borrowed(&file.as_slice()[range.clone()]),
            Storage::Zeros(len) => Cow::Owned(vec![0; *len]),
        }
    }

    /// Whether both are the same bytes in the same place, not merely equal ones: tells a tensor that
    /// was left alone from one that was made anew, without reading either.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_place = match (&self.storage, &other.storage) {
            (Storage::Owned(a), Storage::Owned(b)) => Arc::ptr_eq(a, b),
            (Storage::Mapped(a, x), Storage::Mapped(b, y)) => Arc::ptr_eq(&a.0, &b.0) && x == y,
            (Storage::Zeros(a), Storage::Zeros(b)) => a == b,
            _ => false,
        };
        same_place && self.dtype == other.dtype && self.shape == other.shape
    }

    /// The same bytes under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, TensorError> {
        let expected = packed_len(self.dtype, &shape)?;
        if shape.iter().product::<usize>() != self.len() {
            return Err(TensorError::Size { dtype: self.dtype, shape, expected, found: self.size_bytes() });
        }
        Ok(Self { shape, ..self.clone() })
    }

    /// Some of the places along the first axis; those of a file stay in it.
    ///
    /// # Errors
    /// When there are fewer places, or one of them does not fill whole bytes.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self, TensorError> {
        let mut shape = self.shape.clone();
        let Some(first) = shape.first_mut().filter(|first| rows.start <= rows.end && rows.end <= **first) else {
            return Err(TensorError::TooLarge { shape: self.shape.clone() });
        };
        let row = self.size_bytes() / (*first).max(1);
        *first = rows.len();
        let (start, end) = (rows.start * row, rows.end * row);
        let expected = packed_len(self.dtype, &shape)?;
        let storage = match &self.storage {
            Storage::Owned(bytes) => Storage::Owned(bytes.get(start..end).unwrap_or_default().into()),
            Storage::Mapped(file, range) => Storage::Mapped(file.clone(), range.start + start..range.start + end),
            Storage::Zeros(_) => Storage::Zeros(expected),
        };
        if end - start != expected {
            return Err(TensorError::Size { dtype: self.dtype, shape, expected, found: end - start });
        }
        Ok(Self { dtype: self.dtype, shape, storage })
    }

    /// Where the bytes lie in the file that they are mapped from.
    #[must_use]
    pub fn place_in_file(&self) -> Option<Range<usize>> {
        if let Storage::Mapped(_, range) = &self.storage { Some(range.clone()) } else { None }
    }

    /// Gives back the memory of values that lie in a file, when they are not needed soon.
    pub fn forget(&self) {
        if let Storage::Mapped(file, range) = &self.storage {
            file.forget(range.clone());
        }
    }

    /// Every element as f32 (integers, half floats and blocks converted).
    ///
    /// # Errors
    /// For element types that are no numbers.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        let bytes = self.bytes();
        Ok(match self.dtype {
            DType::F32 => read(&bytes, f32::from_le_bytes),
            DType::F64 => read(&bytes, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => read(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => read(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            DType::U64 => read(&bytes, |b| u64::from_le_bytes(b) as f32),
            DType::Block(format) => {
                let mut values = vec![0.0; self.len()];
                format.dequantize(&bytes, &mut values)?;
                values
            }
            d if d.is_minifloat() => d.unpack_minifloats(&bytes, self.len()),
            _ => self.to_i64()?.into_iter().map(|v| v as f32).collect(),
        })
    }

    /// Every element as i64 (floats truncated; of 64 bits without sign the same bits).
    ///
    /// # Errors
    /// For element types that are no numbers.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        let bytes = self.bytes();
        Ok(match self.dtype {
            DType::I64 => read(&bytes, i64::from_le_bytes),
            DType::U64 => read(&bytes, |b| u64::from_le_bytes(b) as i64),
            DType::I32 => read(&bytes, |b| i64::from(i32::from_le_bytes(b))),
            DType::U32 => read(&bytes, |b| i64::from(u32::from_le_bytes(b))),
            DType::I16 => read(&bytes, |b| i64::from(i16::from_le_bytes(b))),
            DType::U16 => read(&bytes, |b| i64::from(u16::from_le_bytes(b))),
            DType::I8 => bytes.iter().map(|&b| i64::from(b as i8)).collect(),
            DType::U8 | DType::Bool => bytes.iter().map(|&b| i64::from(b)).collect(),
            DType::I4 | DType::U4 | DType::I2 | DType::U2 => self.dtype.unpack_integers(&bytes, self.len()),
            DType::F32 => read(&bytes, |b| f32::from_le_bytes(b) as i64),
            DType::F64 => read(&bytes, |b| f64::from_le_bytes(b) as i64),
            d if d.is_float() => self.to_f32()?.into_iter().map(|v| v as i64).collect(),
            _ => return Err(TensorError::Type { dtype: self.dtype, wanted: "a number" }),
        })
    }
}

fn read<T, const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| from(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::formats::blocks::BlockFormat;

    #[test]
    fn narrow_integers_survive_packing() {
        for (dtype, low, high) in [(DType::I4, -8, 7), (DType::U4, 0, 15), (DType::I2, -2, 1), (DType::U2, 0, 3)] {
            let values: Vec<i64> = (low..=high).chain([low, high, low]).collect();
            let tensor = Tensor::from_integers(dtype, vec![values.len()], &values).unwrap();
            assert_eq!(tensor.to_i64().unwrap(), values, "{dtype}");
            assert_eq!(tensor.size_bytes(), (values.len() * dtype.bits()).div_ceil(8));
        }
    }

    #[test]
    fn narrow_floats_are_packed_and_unpacked() {
        let values = [0.0, 0.5, -6.0];
        let tensor = Tensor::from_floats(DType::F4E2M1, vec![3], &values).unwrap();
        assert_eq!(&*tensor.bytes(), &[0x10, 0x0F]);
        assert_eq!(tensor.to_f32().unwrap(), values);
        let tensor = Tensor::from_floats(DType::F8E4M3FN, vec![2], &[1.0, f32::NAN]).unwrap();
        assert_eq!(&*tensor.bytes(), &[0x38, 0x7F]);
        assert!(tensor.to_f32().unwrap()[1].is_nan());
    }

    #[test]
    fn large_numbers_without_sign_stay_large() {
        let tensor = Tensor::from_integers(DType::U64, vec![1], &[-1]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [18_446_744_073_709_551_615.0]);
        assert_eq!(tensor.to_i64().unwrap(), [-1]);
    }

    #[test]
    fn first_element_lies_in_the_low_bits() {
        let tensor = Tensor::from_integers(DType::I4, vec![3], &[1, -2, 7]).unwrap();
        assert_eq!(&*tensor.bytes(), &[0xE1, 0x07]);
    }

    #[test]
    fn blocks_take_their_bytes_and_give_their_values() {
        let values: Vec<f32> = (0..64).map(|i| (i % 32) as f32 - 16.0).collect();
        let dtype = DType::Block(BlockFormat::Q5_0);
        let tensor = Tensor::from_floats(dtype, vec![2, 32], &values).unwrap();
        assert_eq!((tensor.size_bytes(), tensor.len(), tensor.dtype().is_float()), (44, 64, true));
        assert_eq!(tensor.to_f32().unwrap(), values);
        assert_eq!(tensor.to_i64().unwrap()[1], -15);
        assert!(Tensor::from_bytes(dtype, vec![32, 2], vec![0; 44]).is_err(), "rows of 2 are no blocks");
        assert!(Tensor::from_bytes(dtype, vec![2, 32], vec![0; 43]).is_err());
        assert!(Tensor::zeros(dtype, vec![usize::MAX, 32]).is_err());
    }

    #[test]
    fn rows_are_a_part_of_the_whole() {
        let tensor = Tensor::from_f32(vec![3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let part = tensor.rows(1..3).unwrap();
        assert_eq!((part.shape(), part.to_f32().unwrap()), (&[2, 2][..], vec![2.0, 3.0, 4.0, 5.0]));
        assert!(tensor.rows(2..4).is_err());
        let narrow = Tensor::from_integers(DType::I4, vec![2, 1], &[1, 2]).unwrap();
        assert!(narrow.rows(0..1).is_err(), "half a byte");
        part.forget();
    }

    #[test]
    fn refuses_wrong_sizes() {
        assert!(Tensor::from_bytes(DType::F32, vec![2, 2], vec![0; 15]).is_err());
        assert!(Tensor::zeros(DType::F32, vec![usize::MAX, 2]).is_err());
    }
}
