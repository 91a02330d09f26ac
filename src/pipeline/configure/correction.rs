//! How weights are rounded with an eye on what the layer gives, and what is done afterwards so that it gives what it
//! gave before. All of it takes calibration data, none of it labels or gradients of the network.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done beside pruning and rounding to nearest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// How each weight finds its place.
    #[serde(default)]
    pub solver: Solver,
    /// What follows.
    #[serde(default)]
    pub recovery: Recovery,
}

/// How weights are chosen, given second moments of the layer's inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Solver {
    /// Each for itself: to the nearest level; pruned, and the others stay.
    #[default]
    Nearest,
    /// Column by column, the error of each passed on to those that come after (GPTQ; of pruned layers SparseGPT).
    Gptq {
        #[serde(default)]
        order: Order,
        #[serde(default)]
        target: Target,
        /// Sweeps of coordinate descent that follow, at most; with any, scales of rows are searched for as well.
        #[serde(default)]
        sweeps: u8,
    },
    /// Up or down, as a relaxed search finds it (AdaRound).
    AdaRound {
        #[serde(default)]
        loss: Loss,
        #[serde(default = "thousand")]
        iterations: u32,
    },
}

fn thousand() -> u32 {
    1000
}

/// In which order columns are rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Those with the largest inputs first; scales stay those of the columns' places.
    #[default]
    Descending,
    Natural,
}

/// What the layer should give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// What the original weights would give of the inputs that the compressed layers before it make.
    #[default]
    Own,
    /// What the original network gives there: errors of the layers before are made up for.
    Original,
}

/// What AdaRound makes small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// The error before the activation, as second moments tell it; the target is what the original network gives.
    #[default]
    Moments,
    /// The error behind a ReLU or Clip that follows, on samples.
    Activation,
}

/// What is done to a layer whose weights are chosen. Every step is kept only where it makes the error on samples
/// smaller that it did not see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recovery {
    #[default]
    None,
    /// The mean of every output channel is set right, in the bias.
    Bias,
    /// The same without data: as batch normalization tells what a layer reads. For weights that are rounded to nearest.
    BatchNorm,
    /// Its deviation too, in the scales.
    Deviation,
    /// The weights that pruning left are solved for, row by row; then the bias.
    LeastSquares,
}

impl Correction {
    pub const NONE: Self = Self { solver: Solver::Nearest, recovery: Recovery::None };

    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        match self.solver {
            Solver::Gptq { sweeps, .. } if sweeps > 100 => {
                Err(format!("more than 100 sweeps gain nothing; {sweeps} are asked for"))
            }
            Solver::AdaRound { iterations, .. } if !(10..=100_000).contains(&iterations) => {
                Err(format!("AdaRound takes 10 to 100000 iterations, not {iterations}"))
            }
            Solver::Gptq { .. } | Solver::AdaRound { .. } if self.recovery == Recovery::BatchNorm => {
                Err("biases by batch normalization take no data, and the solver does; take `recovery: Bias`".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether weights are moved to where they follow what the original network gives.
    #[must_use]
    pub fn follows_original(&self) -> bool {
        let solver = match self.solver {
            Solver::Nearest => false,
            Solver::Gptq { target, .. } => target == Target::Original,
            Solver::AdaRound { .. } => true,
        };
        solver || self.recovery == Recovery::LeastSquares
    }

    /// Whether it takes samples.
    #[must_use]
    pub fn needs_data(&self) -> bool {
        self.solver != Solver::Nearest || !matches!(self.recovery, Recovery::None | Recovery::BatchNorm)
    }

    /// What of it can be done without data.
    #[must_use]
    pub fn without_data(self) -> Self {
        if self.needs_data() { Self::NONE } else { self }
    }

    /// Whether the bias is set right in the end.
    #[must_use]
    pub fn mends_bias(&self) -> bool {
        self.recovery != Recovery::None
    }
}

/// How much is done for a layer, where a person wants no more than to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    None,
    Fast,
    Balanced,
    Best,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::None, Self::Fast, Self::Balanced, Self::Best];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Best => "best",
        }
    }

    /// What it means for a layer that is pruned, and for one that is not.
    #[must_use]
    pub fn correction(self, is_pruned: bool) -> Correction {
        let recovery = if is_pruned { Recovery::LeastSquares } else { Recovery::Bias };
        let solver = match self {
            Self::None => return Correction::NONE,
            Self::Fast => Solver::Nearest,
            Self::Balanced => Solver::Gptq { order: Order::default(), target: Target::Own, sweeps: 0 },
            Self::Best => Solver::Gptq { order: Order::default(), target: Target::Original, sweeps: 20 },
        };
        Correction { solver, recovery }
    }

    /// The level that a correction is, if it is one.
    #[must_use]
    pub fn of(correction: Correction) -> Option<Self> {
        Self::ALL.into_iter().find(|level| [false, true].map(|pruned| level.correction(pruned)).contains(&correction))
    }
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest => f.write_str("nearest"),
            Self::Gptq { order, target, sweeps } => {
                f.write_str("GPTQ")?;
                if *order == Order::Natural {
                    f.write_str(" in natural order")?;
                }
                if *target == Target::Original {
                    f.write_str(" towards the original outputs")?;
                }
                if *sweeps > 0 { write!(f, ", {sweeps} sweeps") } else { Ok(()) }
            }
            Self::AdaRound { loss: Loss::Moments, iterations } => write!(f, "AdaRound on moments, {iterations} steps"),
            Self::AdaRound { loss: Loss::Activation, iterations } => {
                write!(f, "AdaRound behind the activation, {iterations} steps")
            }
        }
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.solver.fmt(f)?;
        match self.recovery {
            Recovery::None => Ok(()),
            Recovery::Bias => f.write_str(", then bias"),
            Recovery::BatchNorm => f.write_str(", then bias by batch norm"),
            Recovery::Deviation => f.write_str(", then deviation and bias"),
            Recovery::LeastSquares => f.write_str(", then least squares and bias"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_told_apart() {
        for level in Level::ALL {
            for is_pruned in [false, true] {
                assert_eq!(Level::of(level.correction(is_pruned)), Some(level));
            }
        }
        let own = Correction { solver: Solver::AdaRound { loss: Loss::Moments, iterations: 50 }, recovery: Recovery::Bias };
        assert_eq!(Level::of(own), None);
    }
}
