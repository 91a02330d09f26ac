//! Two recipes on the same samples: what one gets right and the other does not, and which is nearer to the original.

use crate::pipeline::evaluate::{ChangedPrediction, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Recipe `b` against recipe `a`, prediction by prediction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Places of the two among the reports.
    pub a: usize,
    pub b: usize,
    pub predictions: usize,
    /// `None` without labels, or where a report lists not all predictions that changed.
    pub top1: Option<Top1Change>,
    /// `None` where a report is older than the numbers that this takes.
    pub kl: Option<KlChange>,
}

/// What one gets right and the other does not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Top1Change {
    /// Right in `a`, wrong in `b`; and the other way about.
    pub lost: usize,
    pub won: usize,
    /// Predictions that differ.
    pub differ: usize,
    /// Top-1 of `b` less that of `a`, in points.
    pub change: f64,
    /// Half of the width of its 95 % interval: 1.96·√(lost + won − (lost − won)²/n)/n.
    pub half_width: f64,
    /// Two-sided probability of a split at least as uneven if both were equally good: McNemar's exact test.
    pub mcnemar: f64,
}

impl Top1Change {
    /// McNemar's probability as it is written: none is zero.
    #[must_use]
    pub fn p_text(&self) -> String {
        if self.mcnemar < 1e-4 { "< 0.0001".to_owned() } else { format!("{:.4}", self.mcnemar) }
    }
}

/// How much farther from the original one is than the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KlChange {
    /// Mean KL of `b` less that of `a`, in nats.
    pub change: f64,
    /// Half of the width of its 95 % interval: 1.96·s/√n of the differences of single predictions.
    pub half_width: f64,
}

/// All pairs of reports of the same samples, each with its successors; those that nothing can be told of are left out.
#[must_use]
pub fn pairs(reports: &[&Report]) -> Vec<Paired> {
    let mut found = Vec::new();
    for (a, one) in reports.iter().enumerate() {
        for (b, other) in reports.iter().enumerate().skip(a + 1).filter(|(_, other)| other.data_key == one.data_key) {
            let (top1, kl) = (top1_change(one, other), kl_change(one, other));
            if top1.is_some() || kl.is_some() {
                found.push(Paired { a, b, predictions: one.predictions(), top1, kl });
            }
        }
    }
    found
}

fn top1_change(one: &Report, other: &Report) -> Option<Top1Change> {
    let is_whole = |r: &Report| r.changed.len() == r.fidelity.flips;
    if one.metrics.is_none() || other.metrics.is_none() || !is_whole(one) || !is_whole(other) {
        return None;
    }
    let place = |c: &ChangedPrediction| (c.sample, c.position);
    let mut changed: BTreeMap<_, [Option<&ChangedPrediction>; 2]> = BTreeMap::new();
    for (i, report) in [one, other].into_iter().enumerate() {
        for c in &report.changed {
            changed.entry(place(c)).or_default()[i] = Some(c);
        }
    }
    let (mut lost, mut won, mut differ) = (0, 0, 0);
    for both in changed.values() {
        let Some(known) = both[0].or(both[1]) else { continue };
        // A sample that a report does not list is predicted as the original does.
        let [is_a, is_b] = both.map(|c| c.map_or(known.before, |c| c.after));
        differ += usize::from(is_a != is_b);
        let right = |class: usize| known.label == Some(class);
        lost += usize::from(right(is_a) && !right(is_b));
        won += usize::from(right(is_b) && !right(is_a));
    }
    let n = one.predictions().max(1) as f64;
    let (l, w) = (lost as f64, won as f64);
    let error = (l + w - (l - w).powi(2) / n).max(0.0).sqrt() / n;
    Some(Top1Change {
        lost,
        won,
        differ,
        change: 100.0 * (w - l) / n,
        half_width: 100.0 * 1.96 * error,
        mcnemar: mcnemar(lost, won),
    })
}

fn kl_change(one: &Report, other: &Report) -> Option<KlChange> {
    let count = one.each_kl.len();
    if count < 2 || other.each_kl.len() != count {
        return None;
    }
    let differences: Vec<f64> = one.each_kl.values().zip(other.each_kl.values()).map(|(a, b)| b - a).collect();
    let n = count as f64;
    let change = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|d| (d - change).powi(2)).sum::<f64>() / (n - 1.0);
    Some(KlChange { change, half_width: 1.96 * (variance / n).sqrt() })
}

/// McNemar's test, exact: the probability that of n = lost + won tosses of a fair coin so few, or fewer, of one kind come
/// out, on either side. 1 where nothing differs.
#[must_use]
pub fn mcnemar(lost: usize, won: usize) -> f64 {
    let n = lost + won;
    // Terms C(n, k)/2ⁿ by their logarithms: 2ⁿ leaves the range of floats.
    let (mut log_term, mut sum) = (-(n as f64) * std::f64::consts::LN_2, 0.0);
    for k in 0..=lost.min(won) {
        if k > 0 {
            log_term += ((n - k + 1) as f64 / k as f64).ln();
        }
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::mcnemar;

    #[test]
    fn exact_test_of_the_oracle() {
        assert!((mcnemar(18, 12) - 0.361_594_6).abs() < 1e-7);
        assert_eq!((mcnemar(0, 0), mcnemar(5, 5)), (1.0, 1.0));
        assert!((mcnemar(0, 10) - 2.0 / 1024.0).abs() < 1e-12);
        assert!((mcnemar(900, 1100) - mcnemar(1100, 900)).abs() < 1e-15 && mcnemar(900, 1100) < 1e-5);
    }
}
