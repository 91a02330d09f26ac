//! How the data that a layer reads is rounded.

use crate::engine::formats::observe::Observer;
use crate::engine::graph::{Layer, LayerKind, Model, RoundedInput};
use crate::engine::tensor::DType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which data share one range that is found while the model runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// All of a batch.
    #[default]
    Tensor,
    /// One place along all axes but the last: a token of a text.
    Token,
}

/// How the data that a layer reads is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Activations {
    /// As the model has them.
    #[default]
    None,
    /// Unsigned bytes, the range found anew for every batch.
    Dynamic,
    /// Unsigned bytes, the range found once: all that calibration saw.
    Static,
    /// A grid whose range an observer chooses from what calibration saw. Behind softmax, sigmoid and tanh
    /// the range is theirs; behind ReLU and Clip it is cut to theirs.
    StaticWith {
        /// 4, 8 or 16.
        #[serde(default = "eight")]
        bits: u8,
        /// Signed codes around zero, without a zero point.
        #[serde(default)]
        symmetric: bool,
        #[serde(default)]
        observer: Observer,
    },
    /// A grid whose range is found while the model runs.
    DynamicWith {
        /// 4, 8 or 16.
        #[serde(default = "eight")]
        bits: u8,
        #[serde(default)]
        symmetric: bool,
        #[serde(default)]
        per: Sharing,
    },
}

fn eight() -> u8 {
    8
}

/// A grid whose range comes from calibration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StaticGrid {
    pub bits: u8,
    pub symmetric: bool,
    pub observer: Observer,
    /// Whether bounds that the graph tells of take the place of what was seen.
    pub uses_bounds: bool,
}

impl Activations {
    /// `None` where no calibrated range is asked for.
    #[must_use]
    pub fn static_grid(self) -> Option<StaticGrid> {
        match self {
            Self::Static => Some(StaticGrid { bits: 8, symmetric: false, observer: Observer::MinMax, uses_bounds: false }),
            Self::StaticWith { bits, symmetric, observer } => Some(StaticGrid { bits, symmetric, observer, uses_bounds: true }),
            Self::None | Self::Dynamic | Self::DynamicWith { .. } => None,
        }
    }

    /// Nominal bits of one value.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::None => 32,
            Self::Dynamic | Self::Static => 8,
            Self::StaticWith { bits, .. } | Self::DynamicWith { bits, .. } => bits,
        }
    }

    /// The same at another width; without any, static with all defaults.
    #[must_use]
    pub fn with_bits(self, bits: u8) -> Self {
        match (self, bits) {
            (Self::Static | Self::Dynamic, 8) => self,
            (Self::None, _) => Self::StaticWith { bits, symmetric: false, observer: Observer::default() },
            (Self::Static, _) => Self::StaticWith { bits, symmetric: false, observer: Observer::MinMax },
            (Self::StaticWith { symmetric, observer, .. }, _) => Self::StaticWith { bits, symmetric, observer },
            (Self::Dynamic, _) => Self::DynamicWith { bits, symmetric: false, per: Sharing::Tensor },
            (Self::DynamicWith { symmetric, per, .. }, _) => Self::DynamicWith { bits, symmetric, per },
        }
    }

    /// What the graph is told; scale and zero point are those of a static grid, else unused.
    #[must_use]
    pub fn rounded(self, scale: f32, zero_point: i64) -> Option<RoundedInput> {
        match self {
            Self::None => None,
            Self::Dynamic | Self::DynamicWith { bits: 8, symmetric: false, per: Sharing::Tensor } => Some(RoundedInput::Dynamic),
            Self::DynamicWith { bits, symmetric, per } => {
                Some(RoundedInput::DynamicGrid { bits, symmetric, rows: per == Sharing::Token })
            }
            Self::Static => Some(self.fixed(scale, zero_point, DType::U8)),
            Self::StaticWith { bits, symmetric, .. } => {
                let dtype = match (bits, symmetric) {
                    (4, true) => DType::I4,
                    (4, false) => DType::U4,
                    (16, true) => DType::I16,
                    (16, false) => DType::U16,
                    (_, true) => DType::I8,
                    (_, false) => DType::U8,
                };
                Some(self.fixed(scale, zero_point, dtype))
            }
        }
    }

    fn fixed(self, scale: f32, zero_point: i64, dtype: DType) -> RoundedInput {
        RoundedInput::Static { scale, zero_point, dtype, rule: self.to_string().into() }
    }

    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(self) -> Result<(), String> {
        if let Self::StaticWith { bits, .. } | Self::DynamicWith { bits, .. } = self
            && !matches!(bits, 4 | 8 | 16)
        {
            return Err(format!("activations have 4, 8 or 16 bits, not {bits}"));
        }
        match self {
            Self::StaticWith { observer: Observer::HalfQuadratic, .. } => {
                Err("half-quadratic ranges are for weights; take min-max or MSE for data".to_owned())
            }
            Self::StaticWith { observer, .. } => observer.validate(),
            _ => Ok(()),
        }
    }

    /// What can be done of it on a layer, and why not the rest.
    pub(super) fn fitted(self, layer: &Layer, model: &Model) -> (Self, Option<String>) {
        if self != Self::None && model.constants.contains_key(&layer.input) {
            let reason = match layer.node {
                Some(_) => "its input is a constant of the model: there is no data to round",
                None => "the file holds weights without a graph: there is no data to round",
            };
            return (Self::None, Some(reason.to_owned()));
        }
        let Self::DynamicWith { bits, symmetric, per: Sharing::Token } = self else { return (self, None) };
        let turned = layer.node.and_then(|id| model.node(id)).is_some_and(|n| n.int("transA").unwrap_or(0) != 0);
        if matches!(layer.kind, LayerKind::Gemm | LayerKind::MatMul) && !turned {
            return (self, None);
        }
        let reason = "it reads no tokens along the last axis of its data: one range for all of a batch instead";
        (Self::DynamicWith { bits, symmetric, per: Sharing::Tensor }, Some(reason.to_owned()))
    }

    /// What the person should know of how it will be done.
    pub(super) fn note(self) -> Option<String> {
        match self {
            Self::StaticWith { bits, .. } if bits != 8 => {
                Some(format!("{bits}-bit data need operator set 21; integer arithmetic takes 8 bits: computed in floats here"))
            }
            _ => match self.rounded(1.0, 0) {
                Some(RoundedInput::DynamicGrid { .. }) => Some(
                    "ONNX has no operator for this dynamic grid: it is spelled out in elementary ones, which run in floats"
                        .to_owned(),
                ),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let integer = |symmetric: bool| if symmetric { "int" } else { "uint" };
        match self {
            Self::None => f.write_str("float"),
            Self::Dynamic => f.write_str("uint8 dynamic"),
            Self::Static => f.write_str("uint8 static"),
            Self::StaticWith { bits, symmetric, observer } => write!(f, "{}{bits} static, {observer}", integer(*symmetric)),
            Self::DynamicWith { bits, symmetric, per } => {
                write!(f, "{}{bits} dynamic{}", integer(*symmetric), if *per == Sharing::Token { " per token" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_words_mean_what_they_meant_and_new_ones_have_defaults() {
        let read = |text: &str| ron::from_str::<Activations>(text).unwrap();
        for (text, expected) in [("None", Activations::None), ("Dynamic", Activations::Dynamic), ("Static", Activations::Static)]
        {
            assert_eq!(read(text), expected);
            assert_eq!(read(&ron::to_string(&expected).unwrap()), expected);
        }
        let grid = |text: &str| read(text).static_grid().unwrap();
        assert_eq!(grid("Static"), StaticGrid { bits: 8, symmetric: false, observer: Observer::MinMax, uses_bounds: false });
        assert_eq!(grid("StaticWith()"), StaticGrid { uses_bounds: true, ..grid("Static") });
        let said = read("StaticWith(bits: 4, symmetric: true, observer: Percentile(99.9))");
        assert_eq!(said.to_string(), "int4 static, percentile 99.9");
        assert_eq!(read(&ron::to_string(&said).unwrap()), said);
        assert_eq!(read("DynamicWith(per: Token)").to_string(), "uint8 dynamic per token");
        assert!(ron::from_str::<Activations>("StaticWith(depth: 4)").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let with = |bits, observer| Activations::StaticWith { bits, symmetric: false, observer }.validate();
        assert!(with(5, Observer::MinMax).unwrap_err().contains("4, 8 or 16 bits"));
        assert!(with(4, Observer::Percentile(0.0)).unwrap_err().contains("percentile"));
        assert!(with(16, Observer::Entropy).is_ok());
    }

    #[test]
    fn what_onnx_can_say_it_says() {
        let dynamic = |bits, symmetric, per| Activations::DynamicWith { bits, symmetric, per }.rounded(1.0, 0).unwrap();
        assert_eq!(dynamic(8, false, Sharing::Tensor), RoundedInput::Dynamic);
        assert_eq!(dynamic(8, true, Sharing::Token), RoundedInput::DynamicGrid { bits: 8, symmetric: true, rows: true });
    }
}
