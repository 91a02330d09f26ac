//! Numbers with what they rest on.

use serde::{Deserialize, Serialize};

/// A measured mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    /// Standard error of `value` over samples; `None` where one sample tells nothing of the spread.
    pub standard_error: Option<f64>,
    /// Samples it was measured on: whole texts, not tokens.
    pub samples: usize,
}

impl Estimate {
    /// The ratio Σa / Σb over samples (aᵢ, bᵢ), each drawn as a whole: the rows of one text are not
    /// independent. Standard error by linearization (Cochran 1977, §6.3): √(n/(n−1)·Σ(aᵢ − R·bᵢ)²) / Σb.
    /// `None` where Σb is zero or a number is not finite.
    #[must_use]
    pub fn of_ratio(parts: &[(f64, f64)]) -> Option<Self> {
        let (above, below) = parts.iter().fold((0.0, 0.0), |(a, b), part| (a + part.0, b + part.1));
        let value = above / below;
        if !value.is_finite() {
            return None;
        }
        let n = parts.len() as f64;
        let squares: f64 = parts.iter().map(|(a, b)| (a - value * b).powi(2)).sum();
        let standard_error = (parts.len() > 1).then(|| (n / (n - 1.0) * squares).sqrt() / below);
        Some(Self { value, standard_error: standard_error.filter(|e| e.is_finite()), samples: parts.len() })
    }

    /// The same in other units, for a function that is smooth about the value: the error is scaled by its slope.
    #[must_use]
    pub fn scaled(self, value: f64, slope: f64) -> Self {
        Self { value, standard_error: self.standard_error.map(|e| e * slope.abs()), ..self }
    }

    /// Half the width of the interval that holds the mean with a confidence (0.5 to 1) from one side: the
    /// normal quantile times the standard error; infinite where nothing is known of the spread.
    #[must_use]
    pub fn margin(&self, confidence: f64) -> f64 {
        self.standard_error.map_or(f64::INFINITY, |e| e * normal_quantile(confidence))
    }
}

/// Quantile of the standard normal distribution, for 0.5 ≤ p < 1: rational approximation 26.2.23 of
/// Abramowitz and Stegun (1964), |error| < 4.5e-4.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let tail = (1.0 - p).clamp(1e-12, 0.5);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - above / below).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_their_errors() {
        let mean = Estimate::of_ratio(&[(1.0, 1.0), (2.0, 1.0), (6.0, 1.0)]).unwrap();
        // Sample variance 7, divided by 3.
        assert!((mean.value - 3.0).abs() < 1e-12 && (mean.standard_error.unwrap() - (7.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let texts = Estimate::of_ratio(&[(2.0, 4.0), (9.0, 6.0)]).unwrap();
        assert!((texts.value - 1.1).abs() < 1e-12 && texts.samples == 2);
        assert_eq!(Estimate::of_ratio(&[(1.0, 1.0)]).unwrap().standard_error, None);
        assert_eq!(Estimate::of_ratio(&[]), None);
        assert_eq!(Estimate::of_ratio(&[(f64::NAN, 1.0)]), None);
    }

    #[test]
    fn quantiles_of_the_tables() {
        for (p, z) in [(0.5, 0.0), (0.9, 1.281_55), (0.95, 1.644_85), (0.975, 1.959_96), (0.999, 3.090_23)] {
            assert!((normal_quantile(p) - z).abs() < 1e-3, "{p}");
        }
        let known = Estimate { value: 1.0, standard_error: Some(2.0), samples: 9 };
        assert!((known.margin(0.975) - 3.92).abs() < 0.01 && known.scaled(3.0, -2.0).standard_error == Some(4.0));
    }
}
