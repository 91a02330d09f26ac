//! Element types, as ONNX names them.

use super::TensorError;
use super::minifloat::{self, Overflow, PowerRounding, Rounding};
use crate::engine::formats::blocks::BlockFormat;
use std::fmt;

/// An element type. The order and the codes of [`DType::onnx_code`] are those of
/// `TensorProto.DataType` (ONNX IR specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
    I4,
    U4,
    I2,
    U2,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    /// Powers of two alone: a scale.
    F8E8M0,
    F4E2M1,
    /// Floats quantized in blocks along the last axis, which divides into them. No type of ONNX.
    Block(BlockFormat),
    /// A type of the format that we carry but do not compute with, by its ONNX code.
    Other(i32),
}

const CODES: [(DType, i32, usize, &str); 23] = [
    (DType::F32, 1, 32, "float32"),
    (DType::U8, 2, 8, "uint8"),
    (DType::I8, 3, 8, "int8"),
    (DType::U16, 4, 16, "uint16"),
    (DType::I16, 5, 16, "int16"),
    (DType::I32, 6, 32, "int32"),
    (DType::I64, 7, 64, "int64"),
    (DType::Bool, 9, 8, "bool"),
    (DType::F16, 10, 16, "float16"),
    (DType::F64, 11, 64, "float64"),
    (DType::U32, 12, 32, "uint32"),
    (DType::U64, 13, 64, "uint64"),
    (DType::BF16, 16, 16, "bfloat16"),
    (DType::F8E4M3FN, 17, 8, "float8e4m3fn"),
    (DType::F8E4M3FNUZ, 18, 8, "float8e4m3fnuz"),
    (DType::F8E5M2, 19, 8, "float8e5m2"),
    (DType::F8E5M2FNUZ, 20, 8, "float8e5m2fnuz"),
    (DType::F4E2M1, 23, 4, "float4e2m1"),
    (DType::F8E8M0, 24, 8, "float8e8m0"),
    (DType::U4, 21, 4, "uint4"),
    (DType::I4, 22, 4, "int4"),
    (DType::U2, 25, 2, "uint2"),
    (DType::I2, 26, 2, "int2"),
];

impl DType {
    #[must_use]
    pub fn from_onnx(code: i32) -> Self {
        CODES.iter().find(|row| row.1 == code).map_or(Self::Other(code), |row| row.0)
    }

    /// 0, which stands for no type, where ONNX has none.
    #[must_use]
    pub fn onnx_code(self) -> i32 {
        match self {
            Self::Other(code) => code,
            known => CODES.iter().find(|row| row.0 == known).map_or(0, |row| row.1),
        }
    }

    /// Bits that one element takes when packed; of blocks, an element's share rounded up.
    #[must_use]
    pub fn bits(self) -> usize {
        match self {
            Self::Block(format) => format.bits_per_weight().ceil() as usize,
            Self::Other(14) => 64,  // complex64
            Self::Other(15) => 128, // complex128
            Self::Other(_) => 8,    // strings, and types that are not known
            known => CODES.iter().find(|row| row.0 == known).map_or(8, |row| row.2),
        }
    }

    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16 | Self::Block(_)) || self.is_minifloat()
    }

    /// Whether this is a floating-point type of 4 or 8 bits.
    #[must_use]
    pub fn is_minifloat(self) -> bool {
        matches!(self, Self::F8E4M3FN | Self::F8E4M3FNUZ | Self::F8E5M2 | Self::F8E5M2FNUZ | Self::F8E8M0 | Self::F4E2M1)
    }

    /// The number of this type that `x` rounds to (half to even, but for [`Self::F8E8M0`]), as f32 holds it. In
    /// f64, f32 and all types that are no floats it is `x` as f32.
    #[must_use]
    pub fn rounded(self, x: f64, rounding: Rounding) -> f32 {
        match self {
            Self::F16 => half::f16::from_f64(x).to_f32(),
            Self::BF16 => half::bf16::from_f64(x).to_f32(),
            _ => minifloat::encode(self, x, rounding).and_then(|bits| minifloat::decode(self, bits)).unwrap_or(x as f32),
        }
    }

    /// Numbers as packed bit patterns of a 4- or 8-bit float type.
    pub(super) fn pack_minifloats(self, values: &[f32]) -> Result<Vec<u8>, TensorError> {
        let rounding = Rounding { overflow: Overflow::Special, power: PowerRounding::Up };
        let codes: Option<Vec<u8>> = values.iter().map(|v| minifloat::encode(self, f64::from(*v), rounding)).collect();
        let Some(codes) = codes else {
            return Err(TensorError::Type { dtype: self, wanted: "a float of 4 or 8 bits" });
        };
        if self.bits() == 8 {
            return Ok(codes);
        }
        Ok(codes.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)).collect())
    }

    /// The numbers that packed bit patterns of a 4- or 8-bit float type stand for.
    pub(super) fn unpack_minifloats(self, bytes: &[u8], count: usize) -> Vec<f32> {
        let table: Vec<f32> = (0..=u8::MAX).map(|code| minifloat::decode(self, code).unwrap_or(f32::NAN)).collect();
        if self.bits() == 8 {
            return bytes.iter().take(count).map(|b| table[usize::from(*b)]).collect();
        }
        bytes.iter().flat_map(|b| [b & 15, b >> 4]).take(count).map(|code| table[usize::from(code)]).collect()
    }

    /// Smallest and largest value of an integer type; `None` for all others. 64 bits without sign are
    /// held as the same 64 bits with one, so their range is that of [`Self::I64`].
    #[must_use]
    pub fn integer_range(self) -> Option<(i64, i64)> {
        Some(match self {
            Self::I2 => (-2, 1),
            Self::U2 => (0, 3),
            Self::I4 => (-8, 7),
            Self::U4 => (0, 15),
            Self::I8 => (-128, 127),
            Self::U8 => (0, 255),
            Self::I16 => (-32768, 32767),
            Self::U16 => (0, 65535),
            Self::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Self::U32 => (0, i64::from(u32::MAX)),
            Self::I64 | Self::U64 => (i64::MIN, i64::MAX),
            Self::Bool => (0, 1),
            _ => return None,
        })
    }

    pub(super) fn pack_integers(self, values: &[i64]) -> Result<Vec<u8>, TensorError> {
        let Some((low, high)) = self.integer_range() else {
            return Err(TensorError::Type { dtype: self, wanted: "an integer" });
        };
        let bits = self.bits();
        if bits >= 8 {
            let width = bits / 8;
            return Ok(values.iter().flat_map(|v| v.clamp(&low, &high).to_le_bytes().into_iter().take(width)).collect());
        }
        let (per_byte, mask) = (8 / bits, (1_u8 << bits) - 1);
        Ok(values
            .chunks(per_byte)
            .map(|chunk| {
                chunk.iter().enumerate().fold(0_u8, |byte, (i, v)| byte | ((*v.clamp(&low, &high) as u8 & mask) << (i * bits)))
            })
            .collect())
    }

    pub(super) fn unpack_integers(self, bytes: &[u8], count: usize) -> Vec<i64> {
        let bits = self.bits();
        let (per_byte, mask) = (8 / bits, (1_u8 << bits) - 1);
        let signed = matches!(self, Self::I4 | Self::I2);
        (0..count)
            .map(|i| {
                let raw = i64::from((bytes[i / per_byte] >> (i % per_byte * bits)) & mask);
                if signed && raw >> (bits - 1) == 1 { raw - (1 << bits) } else { raw }
            })
            .collect()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(8) => f.write_str("string"),
            Self::Other(code) => write!(f, "ONNX type {code}"),
            Self::Block(format) => format.fmt(f),
            known => f.write_str(CODES.iter().find(|row| row.0 == *known).map_or("unknown", |row| row.3)),
        }
    }
}
