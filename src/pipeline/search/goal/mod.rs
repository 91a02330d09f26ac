//! The best recipe within a limit that a person sets: sensitivities → frontier → a few plans built and measured for
//! real → small steps about the best of them. At any moment there is a best so far.

mod options;
mod planner;
mod run;
mod steps;
mod words;

pub use options::{Counted, Objective, Options};
pub use planner::Planner;
pub use run::run;

use super::sensitivity::{Cell, Method, SharedStatistics, Store};
use super::{TaskUnit, Verdict};
use crate::pipeline::compress::DataSource;
use crate::pipeline::configure::{Recipe, Treatment};
use crate::pipeline::load::{Dataset, Subject};
use crate::pipeline::search::cost::Machine;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the recipe must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Goal {
    /// The least loss in so many bytes.
    MaxBytes(u64),
    /// The least loss in this share of the original's bytes.
    MaxRatio(f64),
    /// The smallest that loses no more than this, with a confidence of 0.5 to 1 on the selection samples: points of
    /// top-1; of texts percent of perplexity; without labels percent of the predictions that change.
    MaxDrop { points: f64, confidence: f64 },
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxBytes(bytes) => write!(f, "at most {bytes} bytes"),
            Self::MaxRatio(ratio) => write!(f, "at most {:.2} % of the original's bytes", 100.0 * ratio),
            Self::MaxDrop { points, confidence } => {
                // As it was given, not as floats multiply.
                write!(f, "at most {points} points lost with {} % confidence", (1e10 * confidence).round() / 1e8)
            }
        }
    }
}

/// When to stop, whatever is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Plans that are built and measured at most, not counting the map.
    pub evaluations: usize,
    pub seconds: Option<f64>,
}

impl Default for Effort {
    fn default() -> Self {
        Self { evaluations: 60, seconds: None }
    }
}

/// The plans there are.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    pub subject: &'a Subject,
    /// What a layer may become, for all layers; staying as it is comes on its own.
    pub choices: &'a [Treatment],
    /// Layers that share one choice, by their places; those that are in none choose alone.
    pub ties: &'a [Vec<usize>],
    pub objective: Objective,
    pub counted: Counted,
    /// A limit on the objective that is not kept small, as a share of what the original takes.
    pub max_other: Option<(Objective, f64)>,
    /// Needed where time is counted.
    pub machine: Option<&'a Machine>,
}

/// What is searched, and with what.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    pub space: Space<'a>,
    pub goal: Goal,
    pub effort: Effort,
    pub method: Method,
    /// Samples that sensitivities are measured on.
    pub survey: &'a Dataset,
    /// Samples that choose among plans; the final numbers come from others.
    pub selection: &'a Dataset,
    pub statistics: SharedStatistics<'a>,
    /// What plans that are built are corrected with, where the choices ask for that.
    pub samples: DataSource<'a>,
    pub calibration_key: &'a str,
    pub store: &'a dyn Store,
}

/// Where a plan comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Every layer alike.
    Uniform(String),
    Frontier,
    /// A better one was sought about a measured one.
    Step(usize),
}

/// A plan that was built and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub origin: Origin,
    /// The option of each group of layers.
    pub plan: Vec<usize>,
    /// Exact, as the goal counts them.
    pub bytes: u64,
    /// What is kept small.
    pub size: u64,
    /// KL in nats by the additive model.
    pub predicted: f64,
    /// On the selection samples; `None` where outputs are not finite.
    pub measured: Option<Verdict>,
    /// Whether it keeps to the goal, as far as the selection samples tell.
    pub keeps: bool,
}

/// A point that the additive model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    pub size: u64,
    pub kl: f64,
}

/// What is found, as it is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Found {
    Cell(Cell),
    Frontier(Vec<Predicted>),
    Candidate(Candidate),
    /// This one is the best so far.
    Best(Candidate),
}

/// Why the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// No step about the best plan made it better.
    Settled,
    Evaluations,
    Time,
    Cancelled,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub goal: Goal,
    /// At most a few thousand points of it, evenly spread.
    pub frontier: Vec<Predicted>,
    pub frontier_points: usize,
    /// Whether the frontier holds every Pareto point.
    pub is_exact: bool,
    pub frontier_seconds: f64,
    pub task_unit: TaskUnit,
    pub candidates: Vec<Candidate>,
    /// Place of the best among the candidates; `None` where none keeps to the goal.
    pub best: Option<usize>,
    /// The best as a recipe, with its history; where none keeps to the goal the nearest to it.
    pub recipe: Recipe,
    pub ended: Ended,
    pub evaluations: usize,
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::Goal;

    #[test]
    fn confidence_is_said_as_it_was_given() {
        for (confidence, said) in [(0.95, " 95 %"), (0.995, " 99.5 %"), (0.57, " 57 %"), (0.9999, " 99.99 %")] {
            let text = Goal::MaxDrop { points: 1.0, confidence }.to_string();
            assert!(text.contains(said), "{text}");
        }
    }
}
