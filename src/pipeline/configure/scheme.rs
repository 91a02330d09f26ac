//! How one layer's numbers are stored: sum types, so that what makes no sense cannot be written.

use crate::engine::formats::blocks::BlockFormat;
use crate::engine::formats::observe::Observer;
use crate::engine::formats::{
    Codebook, Entries, Float, Format, Integer, Micro, NormalScales, ScaleType, Scope, Sharing, Symmetry,
};
pub use crate::engine::formats::{Fp8, Fp8Scale, Granularity, Rounding};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A floating-point storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FloatFormat {
    F32,
    F16,
    BF16,
    Fp8 { kind: Fp8, scale: Fp8Scale },
}

/// The storage of weights: every format of the engine, as a recipe writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scheme {
    Float(FloatFormat),
    /// Affine integers of 1 to 8 or 16 bits as most runtimes have them: `w ≈ (q − z)·s`; where symmetric z = 0 and
    /// as many codes lie below zero as above. Scales are f32.
    Integer {
        bits: u8,
        symmetric: bool,
        granularity: Granularity,
    },
    /// The same with every choice written out.
    Affine {
        bits: u8,
        symmetry: Symmetry,
        granularity: Granularity,
        #[serde(default)]
        scales: ScaleType,
    },
    /// Narrow numbers in blocks of 16 or 32 with a scale of 8 bits: the MX formats and NVFP4.
    Micro(Micro),
    /// NF4.
    Normal(NormalScales),
    /// Few values that all weights share.
    Codebook {
        bits: u8,
        #[serde(default)]
        scope: Scope,
        #[serde(default)]
        entries: Entries,
    },
    Ternary(Sharing),
    Binary,
    /// Blocks of GGUF files, which ONNX cannot hold.
    Block(BlockFormat),
}

impl Scheme {
    pub const F32: Self = Self::Float(FloatFormat::F32);

    /// Symmetric integers, one scale per output channel.
    #[must_use]
    pub fn per_channel(bits: u8) -> Self {
        Self::Integer { bits, symmetric: true, granularity: Granularity::Channel }
    }

    /// What the engine knows it as; `None` for 32-bit floats, which are left as they are.
    #[must_use]
    pub fn format(self) -> Option<Format> {
        Some(match self {
            Self::Float(FloatFormat::F32) => return None,
            Self::Float(FloatFormat::F16) => Format::Float(Float::F16),
            Self::Float(FloatFormat::BF16) => Format::Float(Float::BF16),
            Self::Float(FloatFormat::Fp8 { kind, scale }) => Format::Float(Float::Fp8 { kind, scale }),
            Self::Integer { bits, symmetric, granularity } => {
                let symmetry = if symmetric { Symmetry::Restricted } else { Symmetry::Asymmetric };
                Format::Integer(Integer { bits, symmetry, granularity, scales: ScaleType::F32 })
            }
            Self::Affine { bits, symmetry, granularity, scales } => {
                Format::Integer(Integer { bits, symmetry, granularity, scales })
            }
            Self::Micro(micro) => Format::Micro(micro),
            Self::Normal(scales) => Format::Normal(scales),
            Self::Codebook { bits, scope, entries } => Format::Codebook(Codebook { bits, scope, entries }),
            Self::Ternary(sharing) => Format::Ternary(sharing),
            Self::Binary => Format::Binary,
            Self::Block(block) => Format::Block(block),
        })
    }

    /// Nominal bits of one weight: of its code, without scales; at least 1.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Float(FloatFormat::F32) => 32,
            Self::Float(FloatFormat::F16 | FloatFormat::BF16) => 16,
            Self::Float(FloatFormat::Fp8 { .. }) => 8,
            Self::Integer { bits, .. } | Self::Affine { bits, .. } => bits,
            Self::Micro(micro) => micro.bits(),
            Self::Normal(_) => 4,
            Self::Codebook { bits, entries, .. } => (bits / entries.width() as u8).max(1),
            Self::Ternary(_) => 2,
            Self::Binary => 1,
            Self::Block(block) => block.nominal_bits(),
        }
    }

    /// The same scheme at another width; what has no other widths becomes per-channel symmetric integers.
    #[must_use]
    pub fn with_bits(self, bits: u8) -> Self {
        match (bits, self) {
            (32, _) => Self::F32,
            (16, _) => Self::Float(FloatFormat::F16),
            (_, Self::Integer { symmetric, granularity, .. }) => Self::Integer { bits, symmetric, granularity },
            (_, Self::Affine { symmetry, granularity, scales, .. }) => Self::Affine { bits, symmetry, granularity, scales },
            (_, Self::Codebook { scope, entries, .. }) if entries.width() == 1 => Self::Codebook { bits, scope, entries },
            _ => Self::per_channel(bits),
        }
    }

    /// Which weights share a scale, of integers.
    #[must_use]
    pub fn granularity(self) -> Option<Granularity> {
        match self {
            Self::Integer { granularity, .. } | Self::Affine { granularity, .. } => Some(granularity),
            _ => None,
        }
    }

    /// The same integers with scales that are shared otherwise; anything else stays as it is.
    #[must_use]
    pub fn with_granularity(self, granularity: Granularity) -> Self {
        match self {
            Self::Integer { bits, symmetric, .. } => Self::Integer { bits, symmetric, granularity },
            Self::Affine { bits, symmetry, scales, .. } => Self::Affine { bits, symmetry, granularity, scales },
            other => other,
        }
    }

    /// Whether a rounding mode has a say: in blocks, signs and vectors codes follow rules of their own.
    #[must_use]
    pub fn rounds(self) -> bool {
        match self {
            Self::Block(_) | Self::Ternary(_) | Self::Binary => false,
            Self::Codebook { entries, .. } => entries.width() == 1,
            _ => true,
        }
    }

    /// Whether its scales span ranges that can be chosen in several ways; the other schemes have rules of their own.
    #[must_use]
    pub fn has_ranges(self) -> bool {
        matches!(self, Self::Integer { .. } | Self::Affine { .. })
    }

    /// Whether it stores a zero point beside each scale.
    #[must_use]
    pub fn has_zero_points(self) -> bool {
        matches!(self.format(), Some(Format::Integer(Integer { symmetry: Symmetry::Asymmetric, .. })))
    }

    /// Whether importance makes a difference where ranges are chosen so.
    #[must_use]
    pub fn weighs(self, range: Observer) -> bool {
        self.format().is_some_and(|format| format.weighs(range))
    }

    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(self) -> Result<(), String> {
        match self {
            Self::Integer { bits, .. } | Self::Affine { bits, .. } if !((1..=8).contains(&bits) || bits == 16) => {
                return Err(format!("integer weights have 2 to 8 bits (or 1, asymmetric, or 16), not {bits}"));
            }
            _ => {}
        }
        if let Some(Granularity::Group(size)) = self.granularity()
            && !(size >= 16 && size.is_multiple_of(16))
        {
            return Err(format!("a group holds a multiple of 16 weights (runtimes ask for 16, 32, 64 …), not {size}"));
        }
        self.format().map_or(Ok(()), |format| format.validate().map_err(|e| e.to_string()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format() {
            Some(format) => format.fmt(f),
            None => f.write_str("fp32"),
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
    /// Of every `of` inputs next to each other `keep` have a weight, in each row: 2 of 4 is what tensor cores take.
    Pattern { keep: u8, of: u8 },
    /// This share of the blocks of so many output channels and so many columns (inputs times taps).
    Blocks { rows: u16, columns: u16, share: f32 },
    /// This share of the output channels, set to zero and kept. (`channels` cuts them out.)
    Rows(f32),
}

/// What says which weights are small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Saliency {
    /// Their magnitude.
    #[default]
    Magnitude,
    /// Their magnitude times the size of what they are multiplied with, compared within each output channel
    /// (Wanda, arXiv 2306.11695). Takes calibration data.
    Inputs,
    /// What the layer's outputs lose without them when the others make up for it: `w²/[H⁻¹]_jj` (optimal brain surgeon,
    /// Hassibi and Stork 1993). Takes calibration data.
    Surgeon,
    /// What the loss changes without them, by its slope: `|w·g|`, summed over samples (first-order Taylor). Takes
    /// calibration data.
    Taylor,
}

impl Saliency {
    pub const ALL: [Self; 4] = [Self::Magnitude, Self::Inputs, Self::Surgeon, Self::Taylor];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Inputs => "magnitude times inputs",
            Self::Surgeon => "what others cannot make up for",
            Self::Taylor => "slope of the loss",
        }
    }
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
            Self::Blocks { share, .. } | Self::Rows(share) if !(0.0..1.0).contains(&share) => {
                Err(format!("the share of blocks or rows lies from 0 up to, not including, 1; not {share}"))
            }
            Self::Blocks { rows, columns, .. } if rows == 0 || columns == 0 => Err("a block has rows and columns".to_owned()),
            Self::Pattern { keep, of } if keep == 0 || keep >= of => {
                Err(format!("a pattern keeps at least 1 and fewer than all of its weights, not {keep} of {of}"))
            }
            _ => Ok(()),
        }
    }

    /// The share of weights that is left, as far as the recipe tells it.
    #[must_use]
    pub fn density(self) -> f64 {
        match self {
            Self::Dense | Self::Threshold(_) => 1.0,
            Self::Fraction(gone) | Self::Rows(gone) | Self::Blocks { share: gone, .. } => 1.0 - f64::from(gone),
            Self::Pattern { keep, of } => f64::from(keep) / f64::from(of.max(1)),
        }
    }
}

impl fmt::Display for Sparsity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense => f.write_str("dense"),
            Self::Threshold(t) => write!(f, "|w| < {t}"),
            Self::Fraction(p) => write!(f, "{:.0} % pruned", p * 100.0),
            Self::Pattern { keep, of } => write!(f, "{keep} of {of} kept"),
            Self::Blocks { rows, columns, share } => write!(f, "{:.0} % of blocks {rows}×{columns} pruned", share * 100.0),
            Self::Rows(share) => write!(f, "{:.0} % of rows pruned", share * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_words_mean_what_they_meant() {
        let read = |text: &str| ron::from_str::<Scheme>(text).unwrap();
        assert_eq!(read("Float(F16)"), Scheme::Float(FloatFormat::F16));
        assert_eq!(read("Integer(bits: 4, symmetric: true, granularity: Channel)"), Scheme::per_channel(4));
        let group = Scheme::Integer { bits: 3, symmetric: false, granularity: Granularity::Group(32) };
        assert_eq!(read("Integer(bits: 3, symmetric: false, granularity: Group(32))"), group);
        assert_eq!(group.to_string(), "uint3 group 32");
        assert_eq!((Scheme::F32.to_string().as_str(), Scheme::per_channel(4).to_string().as_str()), ("fp32", "int4 per channel"));
    }

    #[test]
    fn every_format_can_be_written() {
        for (text, name, bits) in [
            ("Float(Fp8(kind: E4M3, scale: Channel))", "fp8 e4m3 per channel", 8),
            ("Affine(bits: 4, symmetry: Full, granularity: Group(64), scales: F16)", "int4 group 64, full range, f16 scales", 4),
            ("Affine(bits: 8, symmetry: Asymmetric, granularity: Block(rows: 8, cols: 16))", "uint8 block 8×16", 8),
            ("Micro(NvFp4)", "nvfp4", 4),
            ("Normal(Double)", "nf4, double quantization", 4),
            ("Codebook(bits: 4)", "codebook of 4 bits, exact k-means per layer", 4),
            ("Codebook(bits: 8, entries: Pair)", "codebook of 8 bits, vectors of 2 per layer", 4),
            ("Codebook(bits: 3, scope: Channels(1), entries: Scalar(fit: Lloyd))", "codebook of 3 bits, k-means per channel", 3),
            ("Ternary(Filter)", "ternary per filter", 2),
            ("Binary", "binary", 1),
            ("Block(Q4_K)", "q4_k", 4),
            ("Block(IQ4_NL)", "iq4_nl", 4),
        ] {
            let scheme: Scheme = ron::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            scheme.validate().unwrap();
            assert_eq!((scheme.to_string().as_str(), scheme.bits()), (name, bits), "{text}");
            assert_eq!(ron::from_str::<Scheme>(&ron::to_string(&scheme).unwrap()).unwrap(), scheme, "{text}");
        }
        let names = BlockFormat::ALL.map(|block| ron::to_string(&Scheme::Block(block)).unwrap());
        for (block, text) in BlockFormat::ALL.iter().zip(&names) {
            assert_eq!(text, &format!("Block({})", block.name()), "a recipe names blocks as ggml does");
        }
    }

    #[test]
    fn patterns_are_written_and_judged() {
        let read = |text: &str| ron::from_str::<Sparsity>(text).unwrap();
        let half = read("Pattern(keep: 2, of: 4)");
        assert_eq!((half.to_string().as_str(), half.density(), half.validate()), ("2 of 4 kept", 0.5, Ok(())));
        assert_eq!(read("Blocks(rows: 4, columns: 8, share: 0.25)").to_string(), "25 % of blocks 4×8 pruned");
        assert_eq!(read("Rows(0.25)").density(), 0.75);
        for wrong in
            ["Pattern(keep: 4, of: 4)", "Pattern(keep: 0, of: 4)", "Rows(1.0)", "Blocks(rows: 0, columns: 1, share: 0.1)"]
        {
            assert!(read(wrong).validate().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "Integer(bits: 1, symmetric: true, granularity: Channel)",
            "Integer(bits: 12, symmetric: true, granularity: Channel)",
            "Integer(bits: 4, symmetric: true, granularity: Group(7))",
            "Codebook(bits: 9)",
            "Codebook(bits: 4, scope: Channels(0))",
            "Affine(bits: 4, symmetry: Full, granularity: Block(rows: 0, cols: 4))",
        ] {
            assert!(ron::from_str::<Scheme>(text).unwrap().validate().is_err(), "{text}");
        }
    }
}
