//! What the weights and channels of a layer count, asked for by itself: for a picture, before anything is cut.

use super::work::{Opened, WorkError};
use crate::engine::Ctx;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::{channel_scores, weight_scores, weight_scores_by_data};
use crate::pipeline::configure::{self, ChannelCut, ChannelScore, Recipe, Saliency, Treatment};
use std::collections::BTreeSet;

/// What is asked of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Question {
    /// What each of its weights counts.
    Weights(Saliency),
    /// What each of the channels counts that it makes, together with everything that belongs to them.
    Channels(ChannelScore),
}

impl Question {
    /// Whether it takes data to know.
    #[must_use]
    pub fn needs_data(self) -> bool {
        match self {
            Self::Weights(saliency) => saliency != Saliency::Magnitude,
            Self::Channels(score) => score.needs_data(),
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Importances {
    /// In order: the first go first. Of no unit; larger is more important.
    pub sorted: Vec<f64>,
    /// The layers whose channels these are: the one that was asked for, and those tied to it.
    pub layers: Vec<usize>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ImportanceError {
    #[error("there is no such layer")]
    NoLayer,
    #[error("its channels cannot be cut: {0}")]
    Uncuttable(String),
    #[error("its inputs were not seen: the project has no calibration data")]
    NoData,
    #[error("calibration data do not tell: its inputs are constant, or its rows are too wide")]
    Unseen,
    #[error(transparent)]
    Work(Box<WorkError>),
}

impl<E: Into<WorkError>> From<E> for ImportanceError {
    fn from(error: E) -> Self {
        Self::Work(Box::new(error.into()))
    }
}

impl Opened {
    /// # Errors
    /// When the layer's channels belong to what cannot be cut, data are needed and there are none, or on cancel.
    pub fn importance(&self, layer: usize, question: Question, ctx: &Ctx) -> Result<Importances, ImportanceError> {
        let mut found = match question {
            Question::Weights(saliency) => self.weights_importance(layer, saliency, ctx)?,
            Question::Channels(score) => self.channels_importance(layer, score, ctx)?,
        };
        found.sorted.sort_by(f64::total_cmp);
        Ok(found)
    }

    fn weights_importance(&self, index: usize, saliency: Saliency, ctx: &Ctx) -> Result<Importances, ImportanceError> {
        let layer = self.subject.layers.get(index).ok_or(ImportanceError::NoLayer)?;
        let tensor = self.subject.folded.constants.get(&layer.weight).ok_or(ImportanceError::NoLayer)?;
        let weights = tensor.to_f32().map_err(|_| ImportanceError::NoLayer)?;
        if matches!(saliency, Saliency::Surgeon | Saliency::Taylor) {
            let data = self.samples(ctx)?.ok_or(ImportanceError::NoData)?;
            let scores = weight_scores_by_data(layer, saliency, &self.subject, &data, ctx)?;
            return Ok(Importances { sorted: scores.ok_or(ImportanceError::Unseen)?, layers: vec![index] });
        }
        let statistics = if saliency == Saliency::Inputs {
            self.identify(ctx)?;
            let wires = BTreeSet::from([layer.input.clone()]);
            self.statistics(&wires, ctx)?.ok_or(ImportanceError::NoData)?.0
        } else {
            Statistics::default()
        };
        Ok(Importances { sorted: weight_scores(layer, &weights, saliency, &statistics)?, layers: vec![index] })
    }

    fn channels_importance(&self, layer: usize, by: ChannelScore, ctx: &Ctx) -> Result<Importances, ImportanceError> {
        let half = Treatment { channels: ChannelCut::Share { share: 0.5, by, multiple: 1 }, ..Treatment::UNCHANGED };
        let plan = configure::plan(&Recipe::new("importance", half), &self.subject)?;
        let none = || ImportanceError::Uncuttable("the model does not tell which belong together".to_owned());
        let mut cuts = plan.cuts.ok_or_else(none)?;
        let own = cuts.groups.iter().position(|g| g.layers.contains(&layer)).ok_or_else(none)?;
        for (_, other) in cuts.groups.iter_mut().enumerate().filter(|(number, _)| *number != own) {
            (other.kept, other.note) = (other.channels, None);
        }
        let group = &cuts.groups[own];
        if group.kept == group.channels {
            return Err(ImportanceError::Uncuttable(group.note.clone().unwrap_or_else(|| "it has one alone".to_owned())));
        }
        let layers = group.layers.clone();
        let samples = |ctx: &Ctx| self.samples(ctx);
        let mut scores = channel_scores(&cuts, &self.subject, &samples, ctx)?;
        Ok(Importances { sorted: scores.swap_remove(own), layers })
    }
}
