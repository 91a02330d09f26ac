//! Every scheme that a person is offered for a layer, by family.

use super::layer::fitting;
use super::scheme::{FloatFormat, Fp8, Fp8Scale, Granularity, Scheme};
use crate::engine::formats::blocks::BlockFormat;
use crate::engine::formats::{Entries, Fit, Micro, NormalScales, Scope, Sharing, Symmetry, Zeros};
use crate::engine::graph::Layer;

/// Schemes of one kind, which differ in width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Float,
    Channel,
    Tensor,
    Group,
    Asymmetric,
    AsymmetricGroup,
    Micro,
    Levels,
    Codebook,
    ChannelCodebook,
    Vector,
    Signs,
    Blocks,
}

/// Widths of integers that are offered, and the columns of heat maps.
pub const WIDTHS: [u8; 6] = [2, 3, 4, 5, 6, 8];
/// Weights of a group, where groups are offered.
const GROUP: Granularity = Granularity::Group(32);

fn codebooks(fit: Fit) -> impl Iterator<Item = Scheme> {
    let entries = Entries::Scalar { fit, zeros: Zeros::Shared };
    (1..=8).map(move |bits| Scheme::Codebook { bits, scope: Scope::Layer, entries })
}

impl Family {
    pub const ALL: [Self; 13] = [
        Self::Float,
        Self::Channel,
        Self::Tensor,
        Self::Group,
        Self::Asymmetric,
        Self::AsymmetricGroup,
        Self::Micro,
        Self::Levels,
        Self::Codebook,
        Self::ChannelCodebook,
        Self::Vector,
        Self::Signs,
        Self::Blocks,
    ];

    /// The schemes that are offered, narrow ones first.
    #[must_use]
    pub fn members(self) -> Vec<Scheme> {
        let integers = |symmetric, granularity| WIDTHS.map(|bits| Scheme::Integer { bits, symmetric, granularity }).to_vec();
        let fp8 = |kind| Scheme::Float(FloatFormat::Fp8 { kind, scale: Fp8Scale::Channel });
        let wide = |granularity| Scheme::Integer { bits: 16, symmetric: true, granularity };
        match self {
            Self::Float => {
                let halves = [FloatFormat::BF16, FloatFormat::F16, FloatFormat::F32].map(Scheme::Float);
                [vec![fp8(Fp8::E4M3), fp8(Fp8::E5M2)], halves.to_vec()].concat()
            }
            Self::Channel => [integers(true, Granularity::Channel), vec![wide(Granularity::Channel)]].concat(),
            Self::Tensor => integers(true, Granularity::Tensor),
            Self::Group => integers(true, GROUP),
            Self::Asymmetric => integers(false, Granularity::Channel),
            Self::AsymmetricGroup => integers(false, GROUP),
            Self::Micro => {
                use Micro::{MxFp4, MxFp6E2M3, MxFp6E3M2, MxFp8E4M3, MxFp8E5M2, MxInt8, NvFp4};
                [MxFp4, NvFp4, MxFp6E2M3, MxFp6E3M2, MxFp8E4M3, MxFp8E5M2, MxInt8].map(Scheme::Micro).to_vec()
            }
            Self::Levels => {
                let powers = codebooks(Fit::PowerOfTwo).skip(1).take(4);
                [NormalScales::Double, NormalScales::F32].map(Scheme::Normal).into_iter().chain(powers).collect()
            }
            Self::Codebook => {
                [Fit::Exact, Fit::Lloyd, Fit::EqualMass].into_iter().flat_map(codebooks).filter(keeps_few_rivals).collect()
            }
            Self::ChannelCodebook => {
                let entries = Entries::default();
                [2, 3, 4].map(|bits| Scheme::Codebook { bits, scope: Scope::Channels(1), entries }).to_vec()
            }
            Self::Vector => {
                let vector = |bits, entries| Scheme::Codebook { bits, scope: Scope::Layer, entries };
                vec![vector(8, Entries::Quad), vector(6, Entries::Pair), vector(8, Entries::Pair)]
            }
            Self::Signs => vec![Scheme::Binary, Scheme::Ternary(Sharing::Layer), Scheme::Ternary(Sharing::Filter)],
            Self::Blocks => {
                let mut blocks = BlockFormat::ALL.to_vec();
                blocks.sort_by_key(|b| b.nominal_bits());
                blocks.into_iter().map(Scheme::Block).collect()
            }
        }
    }

    /// The family of a scheme, whether or not it is one that is offered.
    #[must_use]
    pub fn of(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Float(_) => Self::Float,
            Scheme::Integer { symmetric, granularity, .. } => Self::integers(symmetric, granularity),
            Scheme::Affine { symmetry, granularity, .. } => Self::integers(symmetry != Symmetry::Asymmetric, granularity),
            Scheme::Micro(_) => Self::Micro,
            Scheme::Normal(_) | Scheme::Codebook { entries: Entries::Scalar { fit: Fit::PowerOfTwo, .. }, .. } => Self::Levels,
            Scheme::Codebook { entries: Entries::Pair | Entries::Quad, .. } => Self::Vector,
            Scheme::Codebook { scope: Scope::Channels(_), .. } => Self::ChannelCodebook,
            Scheme::Codebook { .. } => Self::Codebook,
            Scheme::Ternary(_) | Scheme::Binary => Self::Signs,
            Scheme::Block(_) => Self::Blocks,
        }
    }

    fn integers(symmetric: bool, granularity: Granularity) -> Self {
        match (symmetric, granularity) {
            (true, Granularity::Channel) => Self::Channel,
            (true, Granularity::Tensor) => Self::Tensor,
            (true, Granularity::Group(_) | Granularity::Block { .. }) => Self::Group,
            (false, Granularity::Tensor | Granularity::Channel) => Self::Asymmetric,
            (false, Granularity::Group(_) | Granularity::Block { .. }) => Self::AsymmetricGroup,
        }
    }
}

/// Of codebooks that are found by a cheaper rule than the exact one, only that of 4 bits is offered, to compare.
fn keeps_few_rivals(scheme: &Scheme) -> bool {
    matches!(scheme, Scheme::Codebook { bits: 4, .. } | Scheme::Codebook { entries: Entries::Scalar { fit: Fit::Exact, .. }, .. })
}

/// What a scheme would cost a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    pub family: Family,
    pub scheme: Scheme,
    /// Packed without a gap, with scales, zero points and codebooks.
    pub bits_per_weight: f64,
}

/// The schemes that a layer could have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offers {
    /// Those that it can have as they are, by family, narrow ones first.
    pub fitting: Vec<Offer>,
    /// The others, and why not.
    pub refused: Vec<(Scheme, String)>,
}

impl Offers {
    #[must_use]
    pub fn of(layer: &Layer) -> Self {
        let rows = layer.out_channels();
        let row = layer.parameters() / rows.max(1);
        let mut found = Self::default();
        for (family, scheme) in Family::ALL.into_iter().flat_map(|f| f.members().into_iter().map(move |s| (f, s))) {
            if let (_, Some(reason)) = fitting(layer, scheme) {
                found.refused.push((scheme, reason));
                continue;
            }
            let storage = scheme.format().map(|format| format.bytes(rows, row));
            let bits = match storage {
                Some(storage) => storage.ok().and_then(|s| s.bits_per_weight(rows, row)),
                None => Some(32.0),
            };
            found.fitting.extend(bits.map(|bits_per_weight| Offer { family, scheme, bits_per_weight }));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::LayerKind;
    use crate::pipeline::configure::presets;

    #[test]
    fn members_are_of_their_family_and_make_sense() {
        for family in Family::ALL {
            for scheme in family.members() {
                assert_eq!(Family::of(scheme), family, "{scheme}");
                scheme.validate().unwrap_or_else(|e| panic!("{scheme}: {e}"));
            }
        }
    }

    #[test]
    fn every_family_has_a_preset() {
        let presets: Vec<Family> =
            presets::names().iter().map(|n| Family::of(presets::preset(n).unwrap().default.weights)).collect();
        for family in Family::ALL {
            assert!(presets.contains(&family) || family == Family::Asymmetric, "{family:?}");
        }
    }

    #[test]
    fn only_what_fits_is_offered() {
        let Offers { fitting: narrow, refused } = Offers::of(&Layer::lone(LayerKind::Conv, &[16, 3, 3, 3]));
        assert!(refused.iter().any(|(s, why)| *s == Scheme::Block(BlockFormat::Q4K) && why.contains("256")), "{refused:?}");
        assert!(narrow.iter().any(|o| o.scheme == Scheme::per_channel(4)));
        assert!(
            !narrow.iter().any(|o| matches!(o.family, Family::Group | Family::AsymmetricGroup)),
            "27 weights are no group of 32"
        );
        assert!(!narrow.iter().any(|o| o.scheme == Scheme::Block(BlockFormat::Q4K)), "27 weights are no block of 256");
        let wide = Offers::of(&Layer::lone(LayerKind::Linear, &[64, 256])).fitting;
        let at = |scheme| wide.iter().find(|o| o.scheme == scheme).unwrap().bits_per_weight;
        assert_eq!(at(Scheme::Block(BlockFormat::Q4K)), 4.5);
        assert_eq!(at(Scheme::Integer { bits: 4, symmetric: true, granularity: GROUP }), 5.0);
        assert_eq!(at(Scheme::F32), 32.0);
    }
}
