//! One small number of every prediction, kept for comparisons in pairs.

use half::f16;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// KL in nats of every prediction, in the order of the data. As text four hexadecimal digits each, those of a 16-bit
/// float: three decimal digits, enough for means and intervals, and a tenth of what numbers in words would take.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EachKl(Vec<f16>);

impl EachKl {
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|v| v.to_f64())
    }
}

impl FromIterator<f64> for EachKl {
    /// What is too large for the type becomes the largest that is not.
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().map(|v| f16::from_f64(v.min(f16::MAX.to_f64()))).collect())
    }
}

impl Serialize for EachKl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: Vec<String> = self.0.iter().map(|v| format!("{:04x}", v.to_bits())).collect();
        serializer.serialize_str(&digits.concat())
    }
}

impl<'de> Deserialize<'de> for EachKl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (digits, rest) = text.as_bytes().as_chunks::<4>();
        let value = |digits: &[u8; 4]| {
            let value = f16::from_bits(u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            (value.is_finite() && value >= f16::ZERO).then_some(value)
        };
        let values: Option<Vec<f16>> = digits.iter().map(value).collect();
        values
            .filter(|_| rest.is_empty())
            .map(Self)
            .ok_or_else(|| D::Error::custom("divergences are four hexadecimal digits each, and none is negative"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_as_text() {
        let kept: EachKl = [0.0, 1e-6, 0.0123, 2.5, 1e9].into_iter().collect();
        let text = ron::to_string(&kept).unwrap();
        assert_eq!(ron::from_str::<EachKl>(&text).unwrap(), kept);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b + 6e-8;
        assert!(kept.values().zip([0.0, 1e-6, 0.0123, 2.5, 65504.0]).all(|(a, b)| near(a, b)), "{text}");
        for damaged in ["\"123\"", "\"zzzz\"", "\"fc00\"", "\"7e00\"", "\"bc00\""] {
            assert!(ron::from_str::<EachKl>(damaged).is_err(), "{damaged}");
        }
    }
}
