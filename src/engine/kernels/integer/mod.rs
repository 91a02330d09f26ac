//! Arithmetic on 8-bit integers: unsigned data times signed weights, summed in 32 bits.
//!
//! Everything is laid out channels last. An output place reads its channels four at a time: one
//! 32-bit word, given to all lanes of a vector, meets four weights in each lane, one lane per output
//! channel (Rodriguez et al., "Lower Numerical Precision Deep Learning Inference and Training", 2018,
//! describe the instruction). Where the processor has no such instruction, channels go by twos, as words
//! of 16 bits: see `words`. Sums of integers are exact, so that all kernels agree to the bit.

mod bytes;
mod convolve;
mod depthwise;
mod finish;
mod pack;
mod tile;
mod walk;
mod winograd;
mod words;

pub use bytes::{dequantize_bytes, max_pool, quantize_bytes, quantize_planes};
pub use convolve::{Geometry, convolve};
pub use finish::{Finish, Rounding, Sink};
pub use pack::{Slide, Weights};

use std::sync::OnceLock;

/// What the processor offers for 8-bit products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Four products and their sum in one instruction, 16 lanes wide (AVX-512 VNNI).
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// On words of 16 bits: the 8-bit product of AVX2 saturates and would be wrong.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Isa {
    /// The fastest that this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::is_x86_feature_detected as has;
                if has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has!("avx512vnni") {
                    return Self::Vnni;
                }
                if has!("avx2") {
                    return Self::Avx2;
                }
            }
            Self::Plain
        })
    }

    /// Whether weights and data are multiplied as words of 16 bits.
    fn reads_words(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => true,
            _ => false,
        }
    }

    /// All that this processor can run, for tests.
    #[cfg(test)]
    fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        match Self::best() {
            Self::Vnni => vec![Self::Plain, Self::Avx2, Self::Vnni],
            Self::Avx2 => vec![Self::Plain, Self::Avx2],
            Self::Plain => vec![Self::Plain],
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Plain]
    }
}

/// Output channels per block: lanes of the widest vector.
const LANES: usize = 16;
/// Bytes that a word of input has.
const QUAD: usize = 4;
