//! Sampling an image at places given by a grid, and grids from affine maps. Grids name places by
//! (x, y) or (x, y, z) with −1 and 1 at the borders: the last spatial axis comes first.

use super::shape::sizes;
use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpResult, doubles, fail, for_held, make, strides_of, with};
use crate::engine::exec::memory::room;
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "GridSample" => grid_sample,
        "AffineGrid" => affine_grid,
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// What lies outside the image.
#[derive(Clone, Copy, PartialEq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

struct Sampler {
    mode: Mode,
    outside: Outside,
    align_corners: bool,
}

impl Sampler {
    fn of(c: &Call<'_>) -> OpResult<Self> {
        let mode = match c.node.text("mode").unwrap_or("linear") {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" | "bicubic" => Mode::Cubic,
            other => return fail(format!("mode \"{other}\" is unknown")),
        };
        let outside = match c.node.text("padding_mode").unwrap_or("zeros") {
            "zeros" => Outside::Zeros,
            "border" => Outside::Border,
            "reflection" => Outside::Reflection,
            other => return fail(format!("padding mode \"{other}\" is unknown")),
        };
        Ok(Self { mode, outside, align_corners: c.int("align_corners", 0) != 0 })
    }

    /// The elements along an axis of `length` that make the value at `position`, and their weights.
    fn taps(&self, position: f64, length: usize) -> Vec<(usize, f64)> {
        let n = length as f64;
        let (low, high) = if self.align_corners { (0.0, n - 1.0) } else { (-0.5, n - 0.5) };
        let mut at = if self.align_corners { (position + 1.0) * (n - 1.0) / 2.0 } else { ((position + 1.0) * n - 1.0) / 2.0 };
        if at < low || at > high {
            at = match self.outside {
                Outside::Zeros => at,
                // The cubic's neighbors reach beyond the border each for itself.
                Outside::Border if self.mode == Mode::Cubic => at,
                Outside::Border => at.clamp(0.0, n - 1.0),
                Outside::Reflection => reflected(at, low, high),
            };
        }
        let base = if self.mode == Mode::Nearest { at.round_ties_even() } else { at.floor() };
        let t = at - base;
        let neighbors = match self.mode {
            Mode::Nearest => vec![(0.0, 1.0)],
            Mode::Linear => vec![(0.0, 1.0 - t), (1.0, t)],
            Mode::Cubic => cubic(t),
        };
        let inside = |(d, weight): (f64, f64)| {
            let i = base + d;
            let i = match self.outside {
                Outside::Zeros => i,
                Outside::Border => i.clamp(0.0, n - 1.0),
                Outside::Reflection => reflected(i, low, high),
            };
            // A place that is no number lies nowhere.
            (i >= 0.0 && i < n).then_some((i as usize, weight))
        };
        neighbors.into_iter().filter_map(inside).collect()
    }
}

/// Folded back at the borders until it lies between them.
fn reflected(at: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    if range <= 0.0 {
        return low.max(0.0);
    }
    let turn = (at - low).rem_euclid(2.0 * range);
    low + if turn > range { 2.0 * range - turn } else { turn }
}

/// Weights of the neighbors −1, 0, 1, 2 at distance `t` (Keys 1981, a = −0.75).
fn cubic(t: f64) -> Vec<(f64, f64)> {
    let a = -0.75;
    let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    vec![(-1.0, far(t + 1.0)), (0.0, near(t)), (1.0, near(1.0 - t)), (2.0, far(2.0 - t))]
}

fn grid_sample(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, grid) = (c.input(0)?, c.input(1)?);
    let sampler = Sampler::of(c)?;
    let ([n, channels, image @ ..], [grids, places @ .., axes]) = (x.shape(), grid.shape()) else {
        return fail("an image and a grid of places are needed");
    };
    if image.is_empty() || image.contains(&0) || *axes != image.len() || places.len() != image.len() || grids != n {
        return fail(format!("a grid of shape {:?} does not fit an image of shape {:?}", grid.shape(), x.shape()));
    }
    let shape: Vec<usize> = [*n, *channels].iter().chain(places).copied().collect();
    let (steps, size, count) = (strides_of(image), image.iter().product::<usize>(), places.iter().product::<usize>());
    let at = doubles(grid)?;
    for_held!(x, T => {
        let mut out = vec![T::default(); room::<T>(&shape)?];
        with::<T, _>(x, |s| {
            for (index, place) in at.chunks_exact(*axes).enumerate() {
                let mut taps = vec![(0_usize, 1.0_f64)];
                for (a, length) in image.iter().enumerate() {
                    let along = sampler.taps(place[*axes - 1 - a], *length);
                    taps = taps.iter().flat_map(|(at, w)| {
                        let step = steps[a];
                        along.iter().map(move |(i, v)| (at + i * step, w * v))
                    }).collect();
                }
                for channel in 0..*channels {
                    let plane = index / count * channels + channel;
                    let image = &s[plane * size..(plane + 1) * size];
                    let sum = taps.iter().map(|(at, w)| image[*at].to_f64() * w).sum();
                    out[plane * count + index % count] = <T as Number>::from_f64(sum);
                }
            }
        })?;
        Ok(vec![make::<T>(x.dtype, out, &shape)?])
    })
}

/// `[N, sizes…, axes]`: where `theta` (`[N, axes, axes + 1]`) takes each place of an image.
fn affine_grid(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (theta, wanted) = (c.input(0)?, sizes(c.input(1)?)?);
    let [n, _, image @ ..] = wanted.as_slice() else { return fail("the size of an image is needed") };
    let axes = image.len();
    if !(2..=3).contains(&axes) || theta.shape() != [*n, axes, axes + 1] {
        return fail(format!("maps of shape {:?} do not fit an image of shape {wanted:?}", theta.shape()));
    }
    let align = c.int("align_corners", 0) != 0;
    let position = |i: usize, length: usize| match (align, length) {
        (true, 1) => -1.0,
        (true, n) => 2.0 * i as f64 / (n as f64 - 1.0) - 1.0,
        (false, n) => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
    };
    let shape: Vec<usize> = [*n].iter().chain(image).chain(&[axes]).copied().collect();
    let (maps, steps) = (doubles(theta)?, strides_of(image));
    let count = image.iter().product::<usize>();
    for_held!(theta, T => {
        let mut out: Vec<T> = Vec::with_capacity(room::<T>(&shape)?);
        for map in maps.chunks_exact(axes * (axes + 1)) {
            for flat in 0..count {
                // The last axis of the image is x.
                let place: Vec<f64> = (0..axes).rev().map(|a| position(flat / steps[a] % image[a], image[a])).collect();
                for row in map.chunks_exact(axes + 1) {
                    let sum = row.iter().zip(&place).map(|(m, p)| m * p).sum::<f64>() + row[axes];
                    out.push(<T as Number>::from_f64(sum));
                }
            }
        }
        Ok(vec![make::<T>(theta.dtype, out, &shape)?])
    })
}
