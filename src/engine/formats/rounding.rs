//! How a number between two levels of a format is rounded to one of them.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use crate::engine::random::Random;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which of the two neighboring levels is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rounding {
    /// The nearer one; of two as near, the one with the even code.
    #[default]
    NearestEven,
    /// The nearer one; of two as near, the one farther from zero.
    NearestAway,
    /// The lower one.
    Floor,
    /// The upper one.
    Ceiling,
    /// The upper one with the probability of the way there: right on average. The draw of an element
    /// depends on the seed and its place alone, so that it is the same at any number of threads.
    Stochastic { seed: u64 },
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NearestEven => f.write_str("rounded to nearest, ties to even"),
            Self::NearestAway => f.write_str("rounded to nearest, ties away from zero"),
            Self::Floor => f.write_str("rounded down"),
            Self::Ceiling => f.write_str("rounded up"),
            Self::Stochastic { seed } => write!(f, "rounded at random, seed {seed}"),
        }
    }
}

/// One [`Rounding`], known when loops are compiled.
pub(super) trait Rule: Copy + Send + Sync {
    /// `x` as a whole number; `at` is the place of the element. NaN stays NaN.
    fn whole(self, x: f32, at: u64) -> f32;
    /// The same in f64.
    fn whole64(self, x: f64, at: u64) -> f64;
    /// Which of two neighboring levels stands for a number `way` (0 to 1) of the way up between them:
    /// whether it is the upper one. `even` says whether the upper one has the even code, `away`
    /// whether it is farther from zero.
    fn up(self, way: f64, even: bool, away: bool, at: u64) -> bool;
}

#[derive(Clone, Copy)]
pub(super) struct NearestEven;
#[derive(Clone, Copy)]
pub(super) struct NearestAway;
#[derive(Clone, Copy)]
pub(super) struct Floor;
#[derive(Clone, Copy)]
pub(super) struct Ceiling;
#[derive(Clone, Copy)]
pub(super) struct Stochastic(pub(super) u64);

impl Rule for NearestEven {
    #[inline(always)]
    fn whole(self, x: f32, _at: u64) -> f32 {
        x.round_ties_even()
    }
    #[inline(always)]
    fn whole64(self, x: f64, _at: u64) -> f64 {
        x.round_ties_even()
    }
    #[inline(always)]
    fn up(self, way: f64, even: bool, _away: bool, _at: u64) -> bool {
        way > 0.5 || way == 0.5 && even
    }
}

impl Rule for NearestAway {
    #[inline(always)]
    fn whole(self, x: f32, _at: u64) -> f32 {
        x.round()
    }
    #[inline(always)]
    fn whole64(self, x: f64, _at: u64) -> f64 {
        x.round()
    }
    #[inline(always)]
    fn up(self, way: f64, _even: bool, away: bool, _at: u64) -> bool {
        way > 0.5 || way == 0.5 && away
    }
}

impl Rule for Floor {
    #[inline(always)]
    fn whole(self, x: f32, _at: u64) -> f32 {
        x.floor()
    }
    #[inline(always)]
    fn whole64(self, x: f64, _at: u64) -> f64 {
        x.floor()
    }
    #[inline(always)]
    fn up(self, way: f64, _even: bool, _away: bool, _at: u64) -> bool {
        way >= 1.0
    }
}

impl Rule for Ceiling {
    #[inline(always)]
    fn whole(self, x: f32, _at: u64) -> f32 {
        x.ceil()
    }
    #[inline(always)]
    fn whole64(self, x: f64, _at: u64) -> f64 {
        x.ceil()
    }
    #[inline(always)]
    fn up(self, way: f64, _even: bool, _away: bool, _at: u64) -> bool {
        way > 0.0
    }
}

impl Stochastic {
    /// Uniform in [0, 1), of 53 bits.
    #[inline(always)]
    fn draw(self, at: u64) -> f64 {
        (Random::at(self.0, at) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Rule for Stochastic {
    #[inline(always)]
    fn whole(self, x: f32, at: u64) -> f32 {
        self.whole64(f64::from(x), at) as f32
    }
    #[inline(always)]
    fn whole64(self, x: f64, at: u64) -> f64 {
        let low = x.floor();
        if self.draw(at) < x - low { low + 1.0 } else { low }
    }
    #[inline(always)]
    fn up(self, way: f64, _even: bool, _away: bool, at: u64) -> bool {
        self.draw(at) < way
    }
}

/// Runs an expression with the [`Rule`] of a [`Rounding`].
macro_rules! with_rule {
    ($rounding:expr, $rule:ident => $body:expr) => {
        match $rounding {
            $crate::engine::formats::rounding::Rounding::NearestEven => {
                let $rule = $crate::engine::formats::rounding::NearestEven;
                $body
            }
            $crate::engine::formats::rounding::Rounding::NearestAway => {
                let $rule = $crate::engine::formats::rounding::NearestAway;
                $body
            }
            $crate::engine::formats::rounding::Rounding::Floor => {
                let $rule = $crate::engine::formats::rounding::Floor;
                $body
            }
            $crate::engine::formats::rounding::Rounding::Ceiling => {
                let $rule = $crate::engine::formats::rounding::Ceiling;
                $body
            }
            $crate::engine::formats::rounding::Rounding::Stochastic { seed } => {
                let $rule = $crate::engine::formats::rounding::Stochastic(seed);
                $body
            }
        }
    };
}
pub(super) use with_rule;
