//! Stored tensors to candle tensors and back.

use super::{DType, Tensor, TensorError};
use candle_core::{DType as CandleType, Device};
use std::sync::Arc;

/// A tensor at work: a candle tensor on the CPU and the ONNX type it stands for.
///
/// candle has no type for every ONNX type, so floats narrower than 32 bits compute as f32
/// (`F64` as f64), all integers as i64 (`U64` as the same 64 bits), and booleans as u8. `dtype`
/// remembers what they stand for.
#[derive(Debug, Clone)]
pub struct Value {
    pub dtype: DType,
    pub data: candle_core::Tensor,
}

/// A boolean value from a u8 candle tensor of zeros and ones.
#[must_use]
pub fn bool_value(data: candle_core::Tensor) -> Value {
    Value { dtype: DType::Bool, data }
}

impl Value {
    /// # Errors
    /// When `values` does not fill `shape`.
    pub fn from_f32(values: Vec<f32>, shape: &[usize]) -> Result<Self, TensorError> {
        Ok(Self { dtype: DType::F32, data: candle_core::Tensor::from_vec(values, shape, &Device::Cpu)? })
    }

    /// # Errors
    /// When `values` does not fill `shape`.
    pub fn from_i64(values: Vec<i64>, shape: &[usize]) -> Result<Self, TensorError> {
        Ok(Self { dtype: DType::I64, data: candle_core::Tensor::from_vec(values, shape, &Device::Cpu)? })
    }

    /// # Errors
    /// For element types that cannot be computed with.
    pub fn from_stored(tensor: &Tensor) -> Result<Self, TensorError> {
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let data = match dtype {
            DType::F64 => {
                let bytes = tensor.bytes();
                let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
                candle_core::Tensor::from_vec(values, shape, &Device::Cpu)?
            }
            d if d.is_float() => candle_core::Tensor::from_vec(tensor.to_f32()?, shape, &Device::Cpu)?,
            DType::Bool => candle_core::Tensor::from_vec(tensor.bytes().to_vec(), shape, &Device::Cpu)?,
            _ => candle_core::Tensor::from_vec(tensor.to_i64()?, shape, &Device::Cpu)?,
        };
        Ok(Self { dtype, data })
    }

    /// Packs the value into the type it stands for.
    ///
    /// # Errors
    /// When candle refuses, or for element types that cannot be stored.
    pub fn to_stored(&self) -> Result<Tensor, TensorError> {
        let shape = self.shape().to_vec();
        match self.dtype {
            DType::F64 => {
                let values = self.data.flatten_all()?.to_vec1::<f64>()?;
                Tensor::from_bytes(DType::F64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
            }
            dtype if dtype.is_float() => Tensor::from_floats(dtype, shape, &self.to_f32()?),
            dtype => Tensor::from_integers(dtype, shape, &self.to_i64()?),
        }
    }

    /// Whether both are the same value in memory, not only equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.data.id() == other.data.id()
    }

    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.data.dims()
    }

    /// # Errors
    /// When candle refuses the conversion.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        if self.dtype == DType::U64 {
            return Ok(self.to_i64()?.into_iter().map(|v| v as u64 as f32).collect());
        }
        Ok(self.data.to_dtype(CandleType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// # Errors
    /// When candle refuses the conversion.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        Ok(self.data.to_dtype(CandleType::I64)?.flatten_all()?.to_vec1()?)
    }

    /// Calls `use_it` with the elements as f32 in row-major order, without a copy where candle
    /// already holds them so.
    ///
    /// # Errors
    /// When candle refuses the conversion.
    pub fn with_f32<R>(&self, use_it: impl FnOnce(&[f32]) -> R) -> Result<R, TensorError> {
        if self.data.dtype() != CandleType::F32 {
            return Ok(use_it(&self.to_f32()?));
        }
        let data = self.data.contiguous()?;
        let (storage, layout) = data.storage_and_layout();
        let candle_core::Storage::Cpu(cpu) = &*storage else {
            return Err(TensorError::Type { dtype: self.dtype, wanted: "a tensor in main memory" });
        };
        let all = cpu.as_slice::<f32>()?;
        let start = layout.start_offset();
        Ok(use_it(&all[start..start + layout.shape().elem_count()]))
    }
}

impl TryFrom<&Arc<Tensor>> for Value {
    type Error = TensorError;

    fn try_from(tensor: &Arc<Tensor>) -> Result<Self, TensorError> {
        Self::from_stored(tensor)
    }
}
