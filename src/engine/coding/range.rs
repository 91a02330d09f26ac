//! Bits of known probability as a stream: the range coder of the `constriction` library (Bamler 2022,
//! arXiv 2201.01741; range coding: Martin 1979).

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode as _, Encode as _};
use std::borrow::Borrow;
use std::num::NonZeroU32;

/// Probabilities are counted in 4096ths.
pub const PRECISION: usize = 12;
const ONE: u32 = 1 << PRECISION;

/// What takes bits in, or gives them out: models are written once for both ways.
pub trait BitCoder {
    /// Codes one bit that is 1 with probability `p` / 4096; gives the bit (when decoding, `bit` is not looked at).
    ///
    /// # Errors
    /// When a stream that is read is no such stream.
    fn bit(&mut self, bit: bool, p: u32) -> Result<bool, Damaged>;
}

/// A stream that nobody wrote so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coded stream is damaged")]
pub struct Damaged;

#[derive(Clone, Copy)]
struct Bit {
    one: NonZeroU32,
    zero: NonZeroU32,
}

impl Bit {
    fn new(p: u32) -> Self {
        let one = NonZeroU32::new(p.clamp(1, ONE - 1)).unwrap_or(NonZeroU32::MIN);
        Self { one, zero: NonZeroU32::new(ONE - one.get()).unwrap_or(NonZeroU32::MIN) }
    }
}

impl EntropyModel<PRECISION> for Bit {
    type Symbol = bool;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Bit {
    fn left_cumulative_and_probability(&self, symbol: impl Borrow<bool>) -> Option<(u32, NonZeroU32)> {
        Some(if *symbol.borrow() { (self.zero.get(), self.one) } else { (0, self.zero) })
    }
}

impl DecoderModel<PRECISION> for Bit {
    fn quantile_function(&self, quantile: u32) -> (bool, u32, NonZeroU32) {
        if quantile < self.zero.get() { (false, 0, self.zero) } else { (true, self.zero.get(), self.one) }
    }
}

#[derive(Default)]
pub struct Writer(DefaultRangeEncoder);

impl Writer {
    /// The stream: 32-bit words, little-endian.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let Ok(words) = self.0.into_compressed();
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

impl BitCoder for Writer {
    fn bit(&mut self, bit: bool, p: u32) -> Result<bool, Damaged> {
        self.0.encode_symbol(bit, Bit::new(p)).map(|()| bit).map_err(|_| Damaged)
    }
}

pub struct Reader(DefaultRangeDecoder);

impl Reader {
    /// # Errors
    /// When the stream is not of whole words.
    pub fn new(bytes: &[u8]) -> Result<Self, Damaged> {
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Damaged);
        }
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        DefaultRangeDecoder::from_compressed(words).map(Self).map_err(|_| Damaged)
    }
}

impl BitCoder for Reader {
    fn bit(&mut self, _bit: bool, p: u32) -> Result<bool, Damaged> {
        self.0.decode_symbol(Bit::new(p)).map_err(|_| Damaged)
    }
}
