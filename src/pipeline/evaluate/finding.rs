//! What is wrong with a compressed network, worst first, each with a way out.

use super::contamination::Contamination;
use super::report::LayerError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Shares of Σ|x| from which on clipping or zeroing is worth a word.
const CLIPPED: f64 = 0.01;
const ZEROED_DATA: f64 = 0.02;
const ZEROED_WEIGHTS: f64 = 0.05;
/// The same for the number of values beyond a grid.
const SATURATED: f64 = 0.01;
/// Mean errors are worth a word where they are this share of the error, and this large beside the output.
const BIAS_SHARE: f64 = 0.25;
const BIAS_ERROR: f64 = 0.02;
/// Decibels below which an output is called noisy.
const NOISY_DB: f64 = 10.0;
/// A layer whose own error is a smaller share of the error at its output got the rest from before.
const INHERITED: f64 = 0.2;

/// What can be wrong with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Defect {
    NotFinite,
    Overflow,
    DeadChannels,
    ClippedData,
    ClippedWeights,
    ZeroedData,
    ZeroedWeights,
    Bias,
    Noise,
    Inherited,
}

impl Defect {
    /// A stable name, for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFinite => "not finite",
            Self::Overflow => "overflow",
            Self::DeadChannels => "dead channels",
            Self::ClippedData => "clipped data",
            Self::ClippedWeights => "clipped weights",
            Self::ZeroedData => "zeroed data",
            Self::ZeroedWeights => "zeroed weights",
            Self::Bias => "bias",
            Self::Noise => "noise",
            Self::Inherited => "inherited",
        }
    }

    /// What makes results wrong comes before what makes them worse, and both before what is only passed on.
    fn rank(self) -> u8 {
        match self {
            Self::NotFinite => 0,
            Self::Overflow => 1,
            Self::Inherited => 3,
            _ => 2,
        }
    }
}

/// One thing that is wrong with one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub layer: String,
    pub defect: Defect,
    /// How much of what the layer carries is at stake, 0 to 1.
    pub stake: f64,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.layer, self.found, self.way_out)
    }
}

/// All that is worth a word, worst first.
#[must_use]
pub fn findings(layers: &[LayerError], contamination: &[Contamination]) -> Vec<Finding> {
    let mut found = Vec::new();
    // The layer that does most harm by itself, of those before the one that is looked at.
    let mut source: Option<&LayerError> = None;
    for one in contamination {
        let error = layers.iter().find(|l| l.name == one.name);
        let mut report = |defect, stake: f64, text: String, way_out: &str| {
            let (layer, way_out) = (one.name.clone(), way_out.to_owned());
            found.push(Finding { layer, defect, stake: stake.clamp(0.0, 1.0), found: text, way_out });
        };
        wrong(one, &mut report);
        lost(one, &mut report);
        if let Some(error) = error {
            noise(one, error, source, &mut report);
            let db = |l: &LayerError| l.local_sqnr_db.unwrap_or(f64::INFINITY);
            source = match source {
                Some(worst) if db(worst) <= db(error) => Some(worst),
                _ => Some(error),
            };
        }
    }
    found.sort_by(|a, b| a.defect.rank().cmp(&b.defect.rank()).then(b.stake.total_cmp(&a.stake)));
    found
}

type Report<'a> = &'a mut dyn FnMut(Defect, f64, String, &str);

/// What makes results wrong.
fn wrong(one: &Contamination, report: Report<'_>) {
    if one.not_finite > 0 {
        let text = format!("{} outputs are NaN or infinite where the original's are not", one.not_finite);
        report(Defect::NotFinite, 1.0, text, "leave the layer in float, or store its weights in a format of wider range");
    }
    if let Some(share) = one.accumulator.filter(|share| *share > 1.0) {
        let text = format!("sums of integer products can reach {share:.1} times what 32 bits hold");
        report(
            Defect::Overflow,
            1.0,
            text,
            "use 8-bit activations or fewer bits for its weights, or a runtime that adds up in 64 bits or floats",
        );
    }
    if one.dead_channels > 0 {
        let share = one.dead_channels as f64 / one.channels.max(1) as f64;
        let text = format!("{} of {} output channels have lost all their weights", one.dead_channels, one.channels);
        report(Defect::DeadChannels, share, text, "use one scale per channel or group, more bits, or prune less");
    }
}

/// What is lost at the ends and in the middle of the grids.
fn lost(one: &Contamination, report: Report<'_>) {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    if let Some(data) = one.data {
        if data.clipped_mass > CLIPPED || data.saturated > SATURATED {
            let (count, mass) = (percent(data.saturated), percent(data.clipped_mass));
            let text = format!("{count} of the values that it reads lie beyond the grid; {mass} of their mass is cut off");
            let way_out =
                "let the observer clip less (min-max, a higher percentile), calibrate with more data, or use dynamic ranges";
            report(Defect::ClippedData, data.clipped_mass, text, way_out);
        }
        if data.zeroed_mass > ZEROED_DATA {
            let (count, mass) = (percent(data.zeroed), percent(data.zeroed_mass));
            let text = format!("{count} of the values that it reads, {mass} of their mass, are rounded to zero");
            let way_out =
                "a few large values widen every step: let the observer clip (percentile, MSE, entropy), or use more bits";
            report(Defect::ZeroedData, data.zeroed_mass, text, way_out);
        }
    }
    if let Some(weights) = one.weights {
        if weights.clipped_mass > CLIPPED || weights.saturated > SATURATED {
            let (count, mass) = (percent(weights.saturated), percent(weights.clipped_mass));
            let text = format!("{count} of its weights lie beyond their grid; {mass} of their mass is cut off");
            report(Defect::ClippedWeights, weights.clipped_mass, text, "choose min-max scales for its weights, or more bits");
        }
        if weights.zeroed_mass > ZEROED_WEIGHTS {
            let (count, mass) = (percent(weights.zeroed), percent(weights.zeroed_mass));
            let text = format!("{count} of its weights, {mass} of their mass, have become zero");
            let way_out = "use one scale per channel or group, more bits, or prune less";
            report(Defect::ZeroedWeights, weights.zeroed_mass, text, way_out);
        }
    }
}

/// How far the output is off, why, and where that began.
fn noise(one: &Contamination, error: &LayerError, source: Option<&LayerError>, report: Report<'_>) {
    if let (Some(bias), Some(share)) = (one.bias_error, one.bias_share)
        && share > BIAS_SHARE
        && bias > BIAS_ERROR
    {
        let text = format!(
            "the mean of an output channel is off by {:.1} % of the output; such means are {:.0} % of the layer's own error",
            100.0 * bias,
            100.0 * share
        );
        let way_out =
            "round to a grid that is even about zero, clip less, or use more bits; correcting its bias would take the means away";
        report(Defect::Bias, bias * share, text, way_out);
    }
    let power = |db: f64| 10_f64.powf(-db / 10.0);
    if let Some(db) = error.local_sqnr_db.filter(|db| *db < NOISY_DB) {
        let text = format!("alone it already leaves only {db:.1} dB of signal to noise");
        report(Defect::Noise, power(db), text, "give this layer more bits, or leave it in float");
    }
    if let (Some(db), Some(own), Some(source)) = (error.cumulative_sqnr_db, one.own_share, source)
        && db < NOISY_DB
        && own < INHERITED
    {
        let text = format!("{:.0} % of the error at its output ({db:.1} dB) comes from layers before it", 100.0 * (1.0 - own));
        let way_out = format!("mend those first: of them \"{}\" does most harm by itself", source.name);
        report(Defect::Inherited, power(db), text, &way_out);
    }
}
