//! How much the network's output changes when weights are disturbed at random: `S = E[D(f(w⊙(1+σε)), f(w))]` with
//! signs ε, in opposite pairs ±ε, so that what the slope alone would change cancels. For small σ this is
//! `σ²/2 Σ w²H_ii`, optimal brain damage without labels or gradients. A high score is a weight that must not change.

use crate::engine::random::Random;

/// Mean of the pairs, and how certain it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stability {
    pub mean: f64,
    /// Of the mean; 0 where a single pair leaves it unknown.
    pub standard_error: f64,
}

/// The sign, 1 or −1, that pair `pair` gives to weight `index`: the same whoever else is disturbed.
#[must_use]
pub fn sign(seed: u64, pair: usize, index: usize) -> f32 {
    let drawn = Random::at(Random::at(seed, pair as u64), index as u64);
    if drawn >> 63 == 0 { 1.0 } else { -1.0 }
}

/// What each pair changed on average, `(D(+ε) + D(−ε))/2`, to the score.
#[must_use]
pub fn estimate(pairs: &[f64]) -> Stability {
    let count = pairs.len() as f64;
    if pairs.is_empty() {
        return Stability::default();
    }
    let mean = pairs.iter().sum::<f64>() / count;
    let spread = pairs.iter().map(|d| (d - mean).powi(2)).sum::<f64>();
    let standard_error = if pairs.len() > 1 { (spread / (count - 1.0) / count).sqrt() } else { 0.0 };
    Stability { mean, standard_error }
}
