//! What is done to a sample before the model sees it, as the person states it.

use crate::pipeline::load::error::LoadError;
use serde::{Deserialize, Serialize};

/// Order of the color channels that the model was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    Rgb,
    Bgr,
    Gray,
}

impl Channels {
    #[must_use]
    pub fn count(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// Order of the axes of the model's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

/// In this order: shorter side to `resize`, cut the middle out (`crop`), order the channels, divide
/// by `scale`, subtract `mean`, divide by `std`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Length of the shorter side in pixels.
    pub resize: Option<u32>,
    /// Side of the square in the middle, in pixels.
    pub crop: Option<u32>,
    /// `None`: as many as the model takes.
    pub channels: Option<Channels>,
    pub scale: Option<f32>,
    /// One value, or one per channel in the order of `channels`; empty: 0.
    pub mean: Vec<f32>,
    /// As `mean`; empty: 1.
    pub std: Vec<f32>,
    pub layout: Layout,
    /// Added to every class number of the data.
    pub label_offset: i64,
    /// At most so many samples, evenly spread over the data.
    pub limit: Option<usize>,
}

/// What happens to the number of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    pub scale: f32,
    pub mean: f32,
    pub std: f32,
}

impl Affine {
    pub(super) fn apply(self, value: f32) -> f32 {
        (value / self.scale - self.mean) / self.std
    }

    fn is_identity(self) -> bool {
        self == Self { scale: 1.0, mean: 0.0, std: 1.0 }
    }
}

impl Preprocess {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let fail = |text: &str| Err(LoadError::Preprocess(text.to_owned()));
        if self.resize == Some(0) || self.crop == Some(0) {
            return fail("--resize and --crop must be at least 1");
        }
        if self.resize.is_some_and(|n| n > 1 << 15) || self.crop.is_some_and(|n| n > 1 << 15) {
            return fail("--resize and --crop must be at most 32768");
        }
        if self.scale.is_some_and(|s| s == 0.0 || !s.is_finite()) {
            return fail("--scale must be a number other than 0: pixels are divided by it");
        }
        if self.std.iter().any(|s| *s == 0.0 || !s.is_finite()) {
            return fail("--std must hold numbers other than 0: samples are divided by them");
        }
        if self.mean.iter().any(|m| !m.is_finite()) {
            return fail("--mean must hold finite numbers");
        }
        if self.limit == Some(0) {
            return fail("--limit must be at least 1");
        }
        Ok(())
    }

    /// One [`Affine`] per channel.
    pub(super) fn affine(&self, channels: usize) -> Result<Vec<Affine>, LoadError> {
        let of = |flag: &str, values: &[f32], default: f32| match values.len() {
            0 => Ok(vec![default; channels]),
            1 => Ok(vec![values[0]; channels]),
            n if n == channels => Ok(values.to_vec()),
            n => Err(LoadError::Preprocess(format!(
                "{flag} has {n} values, but the samples have {channels} channels; give 1 or {channels}"
            ))),
        };
        let (mean, std) = (of("--mean", &self.mean, 0.0)?, of("--std", &self.std, 1.0)?);
        let scale = self.scale.unwrap_or(1.0);
        Ok(mean.into_iter().zip(std).map(|(mean, std)| Affine { scale, mean, std }).collect())
    }

    /// As [`Preprocess::affine`], but `None` where nothing would change.
    pub(super) fn affine_if_any(&self, channels: usize) -> Result<Option<Vec<Affine>>, LoadError> {
        Ok(Some(self.affine(channels)?).filter(|all| !all.iter().all(|a| a.is_identity())))
    }
}
