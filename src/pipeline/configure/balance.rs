//! Whether channels are made large or small, to and fro, so that less is lost when layers are compressed.

use super::layer::{LayerPlan, and};
use super::scheme::Scheme;
use crate::engine::graph::passes::Passages;
use crate::engine::graph::{Layer, Model};
use serde::{Deserialize, Serialize};

/// How channels are divided where they are made and multiplied in the weights that read them. The network computes
/// what it did; calibration data say how large the channels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Balance {
    #[default]
    None,
    /// By the channel's largest value to the power of `strength` (0 to 1), over its largest weight to the power of the rest: the
    /// data come to be as easily rounded as the weights (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438).
    Smooth {
        #[serde(default = "half")]
        strength: f32,
    },
    /// By the channel's mean magnitude to that power, of twenty, which leaves the least error in what the layers give once
    /// their weights are rounded: the weights that matter are rounded finer (AWQ, Lin et al. 2024, arXiv 2306.00978).
    Awq,
}

fn half() -> f32 {
    0.5
}

impl Balance {
    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(self) -> Result<(), String> {
        match self {
            Self::Smooth { strength } if !(0.0..=1.0).contains(&strength) => {
                Err(format!("channels are smoothed by a strength from 0 to 1, not {strength}"))
            }
            _ => Ok(()),
        }
    }

    /// What of it can be done to a network; each layer that is left out is told why.
    pub(super) fn fitted(self, model: &Model, layers: &[Layer], plans: &mut [LayerPlan]) -> Self {
        if self == Self::None {
            return self;
        }
        let passages = Passages::of(model, layers);
        for (number, plan) in plans.iter_mut().enumerate().filter(|(_, plan)| !plan.treatment.is_unchanged()) {
            let nothing = "the file does not tell which channels it reads".to_owned();
            let has_passage = passages.found.iter().any(|p| p.readers.iter().any(|r| r.layer == number));
            let reason = if has_passage { None } else { Some(passages.obstacles.get(&number).unwrap_or(&nothing)) };
            match reason {
                Some(reason) if passages.found.is_empty() => {
                    plan.refusal = Some(and(plan.refusal.take(), &format!("its channels are not balanced: {reason}")));
                }
                Some(reason) => plan.note = Some(and(plan.note.take(), &format!("its channels are not balanced: {reason}"))),
                None if self == Self::Awq && plan.treatment.weights == Scheme::F32 => {
                    plan.note = Some(and(plan.note.take(), "its weights are not rounded: balanced for other layers alone"));
                }
                None => {}
            }
        }
        if passages.found.is_empty() { Self::None } else { self }
    }
}

impl LayerPlan {
    /// Does without the balance that there is no data for.
    pub(super) fn refuse_balance(&mut self) {
        if !self.treatment.is_unchanged() {
            let reason = "there are no calibration data to balance its channels with";
            self.refusal = Some(and(self.refusal.take(), reason));
        }
    }
}
