//! How one layer's numbers are stored: sum types, so that what makes no sense cannot be written.

use crate::engine::tensor::DType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A floating-point storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloatFormat {
    F32,
    F16,
}

/// Which weights share one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granularity {
    /// The whole tensor.
    Tensor,
    /// One output channel.
    Channel,
    /// So many neighbours along the flattened input axis of one output channel.
    Group(usize),
}

/// The storage of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    Float(FloatFormat),
    /// Affine integers of 2 to 8 bits: `w ≈ (q − z)·s`, `z = 0` where symmetric.
    Integer {
        bits: u8,
        symmetric: bool,
        granularity: Granularity,
    },
}

impl Scheme {
    pub const F32: Self = Self::Float(FloatFormat::F32);

    /// Symmetric integers, one scale per output channel.
    #[must_use]
    pub fn per_channel(bits: u8) -> Self {
        Self::Integer { bits, symmetric: true, granularity: Granularity::Channel }
    }

    /// Nominal bits of one weight.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Float(FloatFormat::F32) => 32,
            Self::Float(FloatFormat::F16) => 16,
            Self::Integer { bits, .. } => bits,
        }
    }

    /// The same scheme at another width; a float becomes per-channel symmetric integers.
    #[must_use]
    pub fn with_bits(self, bits: u8) -> Self {
        match (bits, self) {
            (32, _) => Self::F32,
            (16, _) => Self::Float(FloatFormat::F16),
            (_, Self::Integer { symmetric, granularity, .. }) => Self::Integer { bits, symmetric, granularity },
            (_, Self::Float(_)) => Self::per_channel(bits),
        }
    }

    /// The narrowest ONNX type that holds the values: 2, 4 or 8 bits, signed where symmetric.
    #[must_use]
    pub fn storage(self) -> DType {
        match self {
            Self::Float(FloatFormat::F32) => DType::F32,
            Self::Float(FloatFormat::F16) => DType::F16,
            Self::Integer { bits, symmetric, .. } => match (bits, symmetric) {
                (..=2, true) => DType::I2,
                (..=2, false) => DType::U2,
                (3..=4, true) => DType::I4,
                (3..=4, false) => DType::U4,
                (_, true) => DType::I8,
                (_, false) => DType::U8,
            },
        }
    }

    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(self) -> Result<(), String> {
        match self {
            Self::Integer { bits, .. } if !(2..=8).contains(&bits) => {
                Err(format!("integer weights have 2 to 8 bits, not {bits}"))
            }
            Self::Integer { granularity: Granularity::Group(size), .. } if !(size >= 16 && size.is_multiple_of(16)) => {
                Err(format!("a group holds a multiple of 16 weights (runtimes ask for 16, 32, 64 …), not {size}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(FloatFormat::F32) => f.write_str("fp32"),
            Self::Float(FloatFormat::F16) => f.write_str("fp16"),
            Self::Integer { bits, symmetric, granularity } => {
                write!(f, "{}{bits}", if *symmetric { "int" } else { "uint" })?;
                match granularity {
                    Granularity::Tensor => f.write_str(" per tensor"),
                    Granularity::Channel => f.write_str(" per channel"),
                    Granularity::Group(size) => write!(f, " group {size}"),
                }
            }
        }
    }
}

/// Which weights are set to zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Sparsity {
    #[default]
    Dense,
    /// Every weight whose magnitude is below the threshold.
    Threshold(f32),
    /// This share of the weights (0 to 1), the smallest first.
    Fraction(f32),
}

impl Sparsity {
    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(self) -> Result<(), String> {
        match self {
            Self::Threshold(t) if !(t.is_finite() && t >= 0.0) => Err(format!("a pruning threshold is 0 or more, not {t}")),
            Self::Fraction(f) if !(0.0..1.0).contains(&f) => {
                Err(format!("a pruned fraction lies from 0 up to, not including, 1; not {f}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Sparsity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense => f.write_str("dense"),
            Self::Threshold(t) => write!(f, "|w| < {t}"),
            Self::Fraction(p) => write!(f, "{:.0} % pruned", p * 100.0),
        }
    }
}
