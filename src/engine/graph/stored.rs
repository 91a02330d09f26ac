//! A layer's weight as a file stores it.

use crate::engine::tensor::{DType, Tensor, TensorError};

/// How codes and scales lie in a quantized weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleLayout {
    Tensor,
    Axis(usize),
    /// The weight is stored as [out, in] and the scales as [out, ceil(in / size)].
    Blocked {
        size: usize,
    },
}

/// Scales as they are stored; what computes with them is f32.
#[derive(Debug, Clone)]
pub enum Scales {
    /// f32, or a narrower type of floats.
    Plain(Tensor),
    /// Narrow floats, times one f32.
    Product { values: Tensor, by: Tensor },
    /// Codes of 8 bits [n, 1] with an f32 step [ceil(n / size), 1] per `size` of them, plus one mean; never
    /// below zero.
    Affine { codes: Tensor, steps: Tensor, mean: Tensor, size: usize },
}

/// A weight that looks its values up.
#[derive(Debug, Clone)]
pub struct Book {
    /// Numbers of entries: as the layer's weight lies, or in `lines`.
    pub codes: Tensor,
    /// f32: `[entries]`, or `[entries, weights of one]`.
    pub entries: Tensor,
    /// int32 [rows, 1]: where the codebook of a row begins; `None` where there is but one.
    pub offsets: Option<Tensor>,
    /// One per row of `codes`.
    pub scales: Option<Scales>,
    /// For codes that lie in a number of equal lines: how many lines, and how many weights of each count.
    pub lines: Option<(usize, usize)>,
}

/// A layer's weight as it is stored.
#[derive(Debug, Clone)]
pub enum StoredWeight {
    /// Still f32 (pruned, say).
    Float32(Tensor),
    /// Floats of 16 bits.
    Half(Tensor),
    /// Integers or narrow floats, times scales.
    Scaled {
        codes: Tensor,
        scales: Scales,
        zero_points: Option<Tensor>,
        layout: ScaleLayout,
    },
    Book(Book),
    /// Blocks of GGUF files [out, in]. ONNX has no place for them.
    Blocks(Tensor),
}

impl Scales {
    fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::Plain(values) => vec![values],
            Self::Product { values, by } => vec![values, by],
            Self::Affine { codes, steps, mean, .. } => vec![codes, steps, mean],
        }
    }

    fn opset(&self) -> i64 {
        match self {
            Self::Plain(values) | Self::Product { values, .. } => match values.dtype() {
                DType::F8E8M0 => 24,
                DType::F8E4M3FN => 19,
                _ => 9,
            },
            Self::Affine { .. } => 21,
        }
    }
}

impl StoredWeight {
    fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::Float32(t) | Self::Half(t) | Self::Blocks(t) => vec![t],
            Self::Scaled { codes, scales, zero_points, .. } => {
                std::iter::once(codes).chain(scales.tensors()).chain(zero_points).collect()
            }
            Self::Book(book) => {
                let scales = book.scales.iter().flat_map(Scales::tensors);
                [&book.codes, &book.entries].into_iter().chain(&book.offsets).chain(scales).collect()
            }
        }
    }

    /// Bytes of codes, scales, zero points and codebooks.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.tensors().into_iter().map(|t| t.size_bytes() as u64).sum()
    }

    /// The element type of the codes.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::Float32(t) | Self::Half(t) | Self::Blocks(t) => t.dtype(),
            Self::Scaled { codes, .. } => codes.dtype(),
            Self::Book(book) => book.codes.dtype(),
        }
    }

    /// The tensor that a file of weights without a graph can hold; `None` for what is put together by nodes.
    #[must_use]
    pub fn whole(&self) -> Option<&Tensor> {
        match self {
            Self::Float32(t) | Self::Half(t) | Self::Blocks(t) => Some(t),
            Self::Scaled { .. } | Self::Book(_) => None,
        }
    }

    /// The same values, with signed codes of 8 bits per tensor or channel counted from −128: bytes without a sign and
    /// zero points of 128.
    ///
    /// # Errors
    /// When sizes overflow.
    pub fn unsigned(self) -> Result<Self, TensorError> {
        match self {
            Self::Scaled {
                codes,
                scales: Scales::Plain(scales),
                zero_points: None,
                layout: layout @ (ScaleLayout::Tensor | ScaleLayout::Axis(_)),
            } if codes.dtype() == DType::I8 => {
                let lifted: Vec<u8> = codes.bytes().iter().map(|code| code ^ 0x80).collect();
                let zeros = Tensor::from_bytes(DType::U8, scales.shape().to_vec(), vec![128_u8; scales.len()])?;
                let codes = Tensor::from_bytes(DType::U8, codes.shape().to_vec(), lifted)?;
                Ok(Self::Scaled { codes, scales: Scales::Plain(scales), zero_points: Some(zeros), layout })
            }
            other => Ok(other),
        }
    }

    /// The operator set that the storage needs.
    #[must_use]
    pub(super) fn opset(&self) -> i64 {
        match self {
            Self::Float32(_) => 1,
            Self::Half(t) => {
                if t.dtype() == DType::BF16 {
                    13
                } else {
                    9
                }
            }
            Self::Scaled { codes, scales, layout, .. } => {
                let linear = match (codes.dtype(), layout) {
                    (DType::I2 | DType::U2, _) => 25,
                    (DType::F4E2M1, _) => 23,
                    (DType::I4 | DType::U4 | DType::I16 | DType::U16, _) | (_, ScaleLayout::Blocked { .. }) => 21,
                    (DType::F8E4M3FN | DType::F8E5M2, _) => 19,
                    (_, ScaleLayout::Axis(_)) => 13,
                    (_, ScaleLayout::Tensor) => 10,
                };
                linear.max(scales.opset())
            }
            Self::Book(book) => {
                let cast = match book.codes.dtype() {
                    DType::U2 => 25,
                    DType::U4 => 21,
                    _ => 13,
                };
                book.scales.as_ref().map_or(cast, |scales| cast.max(scales.opset()))
            }
            // Only our own executor reads them.
            Self::Blocks(_) => 5,
        }
    }
}
