//! What an evaluation found. Plain data, saved as RON, never overwritten.

use super::contamination::Contamination;
use super::each::EachKl;
use super::finding::Finding;
use serde::{Deserialize, Serialize};

pub const REPORT_FORMAT: &str = "lapidary-report";
pub const REPORT_VERSION: u32 = 3;

/// A share of samples in percent with its 95 % Wilson interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentage {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Percentage {
    /// `hits` of `samples`, with the Wilson score interval (Wilson 1927) at 95 %.
    #[must_use]
    pub fn of(hits: usize, samples: usize) -> Self {
        if samples == 0 {
            return Self { value: 0.0, low: 0.0, high: 100.0 };
        }
        let (n, p, z) = (samples as f64, hits as f64 / samples as f64, 1.959_963_984_540_054_f64);
        let center = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        Self { value: 100.0 * hits as f64 / n, low: 100.0 * (center - half).max(0.0), high: 100.0 * (center + half).min(1.0) }
    }
}

/// How often the label is the first, or among the first five, of the outputs. Ties go to the lower
/// class number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskMetrics {
    pub top1: Percentage,
    pub top5: Percentage,
    /// Of language models, whose labels are the tokens that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<NextToken>,
}

/// How well the tokens of texts are predicted from those before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NextToken {
    /// exp of the mean negative log probability (natural) of the tokens that followed; 1 is perfect.
    pub perplexity: f64,
    /// Predicted ones: all but the first of each text.
    pub tokens: usize,
}

impl TaskMetrics {
    /// The metric that people ask for first.
    #[must_use]
    pub fn headline(&self) -> (&'static str, String) {
        match self.next_token {
            Some(text) => ("Perplexity", format!("{:.4}", text.perplexity)),
            None => ("Top-1", format!("{:.2} %", self.top1.value)),
        }
    }
}

/// How far the compressed model's outputs are from the original's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// KL(original ‖ compressed) in nats: mean, median, 99th percentile and largest over samples.
    pub kl_mean: f64,
    pub kl_median: f64,
    pub kl_p99: f64,
    pub kl_max: f64,
    /// Samples whose first class changed.
    pub flips: usize,
    /// Of these, right before and wrong after (needs labels).
    pub flips_to_wrong: usize,
    /// Of these, wrong before and right after (needs labels).
    pub flips_to_right: usize,
    /// Cosine similarity of the outputs, mean over samples.
    pub cosine: f64,
    /// Signal-to-noise ratio of the outputs in dB; `None` when they are identical.
    pub sqnr_db: Option<f64>,
}

/// The three errors of one layer, each in dB of signal to noise (more is better; `None`: no error).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    pub name: String,
    /// Of the weights alone.
    pub weight_sqnr_db: Option<f64>,
    /// Of the layer's output when only this layer is compressed.
    pub local_sqnr_db: Option<f64>,
    /// Of the layer's output when everything before it is compressed too.
    pub cumulative_sqnr_db: Option<f64>,
    /// Samples that the two output errors were measured on.
    pub samples: usize,
    /// What each step of its correction gained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepError>,
}

/// What a step of a correction did to a layer, on calibration samples that it did not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    pub name: String,
    /// Squared error of the layer's outputs over their variance, before and after.
    pub before: f64,
    pub after: f64,
    /// Whether it made the error smaller; if not it was taken back.
    pub kept: bool,
}

/// A sample whose predicted class changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedPrediction {
    /// Place in the data set.
    pub sample: usize,
    /// Place in the sample, where it is a text of several predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    pub label: Option<usize>,
    pub before: usize,
    pub after: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub format: String,
    pub version: u32,
    pub recipe: String,
    /// Hash of the resolved recipe: a report whose hash differs from the recipe's is stale.
    pub recipe_key: String,
    pub model_hash: String,
    /// Content hash of the data, its preprocessing and the chosen samples.
    pub data_key: String,
    /// The same of the calibration data; empty where the recipe needs none.
    #[serde(default)]
    pub calibration_key: String,
    /// `evaluate`, `calibrate` or `all`.
    pub split: String,
    pub samples: usize,
    pub seed: u64,
    /// Of the compressed model; `None` without labels.
    pub metrics: Option<TaskMetrics>,
    /// Of the original model on the same samples.
    pub baseline: Option<TaskMetrics>,
    pub fidelity: Fidelity,
    pub layers: Vec<LayerError>,
    /// What quantization did to the layers, in running order (since version 2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contamination: Vec<Contamination>,
    /// What is wrong with them, worst first (since version 2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Layers that computed on integers; `None` in simulated arithmetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer_layers: Option<usize>,
    pub changed: Vec<ChangedPrediction>,
    /// KL(original ‖ compressed) of every prediction (since version 3).
    #[serde(default, skip_serializing_if = "EachKl::is_empty")]
    pub each_kl: EachKl,
    /// Bytes of the exported file.
    pub bytes: u64,
    pub bytes_original: u64,
    pub seconds: f64,
    /// When it was made, seconds since 1970 (UTC).
    pub unix_time: u64,
}

impl Report {
    /// Top-1 in points against the original on the same samples.
    #[must_use]
    pub fn drop_points(&self) -> Option<f64> {
        Some(self.baseline?.top1.value - self.metrics?.top1.value)
    }

    /// What metrics are shares of: the samples, or the predicted tokens of texts.
    #[must_use]
    pub fn predictions(&self) -> usize {
        self.metrics.and_then(|m| m.next_token).map_or(self.samples, |t| t.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_interval() {
        let p = Percentage::of(8, 10);
        assert!((p.value - 80.0).abs() < 1e-12 && (p.low - 49.016).abs() < 1e-2 && (p.high - 94.331).abs() < 1e-2, "{p:?}");
        assert_eq!(Percentage::of(0, 0).value, 0.0);
    }
}
