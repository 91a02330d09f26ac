//! Pooling over regions of interest: boxes within feature maps of shape `[N, C, H, W]`.

use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpResult, doubles, fail, for_held, ints, make, with};
use crate::engine::exec::memory::room;
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "RoiAlign" => align,
        "MaxRoiPool" => max_pool,
        _ => return None,
    })
}

/// More samples than this per bin and axis have no use; boxes that ask for more are not boxes.
const MOST_SAMPLES: f64 = 1000.0;

fn planes(x: &Value) -> OpResult<[usize; 4]> {
    match *x.shape() {
        [n, channels, h, w] if h > 0 && w > 0 => Ok([n, channels, h, w]),
        _ => fail(format!("feature maps of shape [N, C, H, W] are needed, not {:?}", x.shape())),
    }
}

fn positive(what: &str, given: i64) -> OpResult<usize> {
    match usize::try_from(given) {
        Ok(n @ 1..) => Ok(n),
        _ => fail(format!("{what} is {given}, a positive number is needed")),
    }
}

fn image_of(index: f64, n: usize) -> OpResult<usize> {
    if index >= 0.0 && index < n as f64 {
        Ok(index as usize)
    } else {
        fail(format!("image {index} is none of the {n} in the batch"))
    }
}

/// The four elements around a place and their weights; none for a place beyond the border.
fn corners(y: f64, x: f64, h: usize, w: usize) -> [(usize, f64); 4] {
    if !(y >= -1.0 && y <= h as f64 && x >= -1.0 && x <= w as f64) {
        return [(0, 0.0); 4];
    }
    let split = |v: f64, n: usize| -> (usize, usize, f64) {
        let v = v.max(0.0);
        let low = (v as usize).min(n - 1);
        if low == n - 1 { (low, low, 0.0) } else { (low, low + 1, v - low as f64) }
    };
    let ((y0, y1, fy), (x0, x1, fx)) = (split(y, h), split(x, w));
    [
        (y0 * w + x0, (1.0 - fy) * (1.0 - fx)),
        (y0 * w + x1, (1.0 - fy) * fx),
        (y1 * w + x0, fy * (1.0 - fx)),
        (y1 * w + x1, fy * fx),
    ]
}

/// One axis of a box: where bins begin, how long they are, how often each is sampled.
struct Bins {
    start: f64,
    length: f64,
    samples: usize,
}

impl Bins {
    fn place(&self, bin: usize, sample: usize) -> f64 {
        self.start + self.length * (bin as f64 + (sample as f64 + 0.5) / self.samples as f64)
    }
}

fn align(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, rois, batch) = (c.input(0)?, c.input(1)?, ints(c.input(2)?)?);
    let [n, channels, h, w] = planes(x)?;
    let &[count, 4] = rois.shape() else { return fail("boxes of shape [count, 4] are needed") };
    if batch.len() != count {
        return fail(format!("{} batch indices do not fit {count} boxes", batch.len()));
    }
    let (rows, columns) =
        (positive("output_height", c.int("output_height", 1))?, positive("output_width", c.int("output_width", 1))?);
    let half = c.opset >= 16 && c.node.text("coordinate_transformation_mode").unwrap_or("half_pixel") == "half_pixel";
    let largest = match c.node.text("mode").unwrap_or("avg") {
        "avg" => false,
        "max" => true,
        other => return fail(format!("mode \"{other}\" is unknown")),
    };
    let scale = f64::from(c.float("spatial_scale", 1.0));
    let ratio = c.int("sampling_ratio", 0);
    let bins = |from: f64, to: f64, bins: usize| -> OpResult<Bins> {
        let offset = if half { 0.5 } else { 0.0 };
        let mut size = (to - from) * scale;
        if !half {
            size = size.max(1.0);
        }
        let samples = if ratio > 0 { ratio as f64 } else { (size / bins as f64).ceil() };
        if samples.is_nan() || samples > MOST_SAMPLES {
            return fail(format!("a box from {from} to {to} asks for {samples} samples in each of {bins} bins"));
        }
        Ok(Bins { start: from * scale - offset, length: size / bins as f64, samples: samples.max(0.0) as usize })
    };
    let boxes = doubles(rois)?;
    let shape = [count, channels, rows, columns];
    for_held!(x, T => {
        let mut out: Vec<T> = Vec::with_capacity(room::<T>(&shape)?);
        for (b, &image) in boxes.chunks_exact(4).zip(&batch) {
            let image = image_of(image as f64, n)?;
            let (down, across) = (bins(b[1], b[3], rows)?, bins(b[0], b[2], columns)?);
            let samples = down.samples * across.samples;
            // The same places in every channel.
            let places: Vec<[(usize, f64); 4]> = (0..rows * columns)
                .flat_map(|bin| (0..samples).map(move |s| (bin, s)))
                .map(|(bin, s)| {
                    let y = down.place(bin / columns, s / across.samples);
                    corners(y, across.place(bin % columns, s % across.samples), h, w)
                })
                .collect();
            with::<T, _>(x, |s| {
                for channel in 0..channels {
                    let plane = &s[(image * channels + channel) * h * w..][..h * w];
                    for bin in 0..rows * columns {
                        let taps = &places[bin * samples..(bin + 1) * samples];
                        let value = |(at, weight): &(usize, f64)| plane[*at].to_f64() * weight;
                        let sum: f64 = if samples == 0 {
                            0.0
                        } else if largest {
                            taps.iter().flatten().map(value).fold(f64::NEG_INFINITY, f64::max)
                        } else {
                            taps.iter().flatten().map(value).sum::<f64>() / samples as f64
                        };
                        out.push(<T as Number>::from_f64(sum));
                    }
                }
            })?;
        }
        Ok(vec![make::<T>(x.dtype, out, &shape)?])
    })
}

/// The largest element of each bin of each box (R. Girshick, Fast R-CNN, 2015).
fn max_pool(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, rois) = (c.input(0)?, c.input(1)?);
    let [n, channels, h, w] = planes(x)?;
    let &[count, 5] = rois.shape() else { return fail("boxes of shape [count, 5] are needed") };
    let Some(&[rows, columns]) = c.node.ints("pooled_shape") else { return fail("a pooled_shape of two numbers is needed") };
    let (rows, columns) = (positive("the pooled height", rows)?, positive("the pooled width", columns)?);
    let scale = f64::from(c.float("spatial_scale", 1.0));
    // First and last place of each bin along one axis of a box.
    let spans = |from: f64, to: f64, bins: usize, length: usize| -> Vec<(usize, usize)> {
        let (from, to) = ((from * scale).round(), (to * scale).round());
        let size = (to - from + 1.0).max(1.0) / bins as f64;
        let clip = |v: f64| (v + from).clamp(0.0, length as f64) as usize;
        (0..bins).map(|i| (clip((i as f64 * size).floor()), clip(((i + 1) as f64 * size).ceil()))).collect()
    };
    let boxes = doubles(rois)?;
    let shape = [count, channels, rows, columns];
    for_held!(x, T => {
        let mut out: Vec<T> = Vec::with_capacity(room::<T>(&shape)?);
        for b in boxes.chunks_exact(5) {
            let image = image_of(b[0], n)?;
            let (down, across) = (spans(b[2], b[4], rows, h), spans(b[1], b[3], columns, w));
            with::<T, _>(x, |s| {
                for channel in 0..channels {
                    let plane = &s[(image * channels + channel) * h * w..][..h * w];
                    for &(top, bottom) in &down {
                        for &(left, right) in &across {
                            let inside = (top..bottom).flat_map(|y| plane.get(y * w + left..y * w + right).unwrap_or_default());
                            out.push(inside.copied().reduce(|a, b| if b > a { b } else { a }).unwrap_or_default());
                        }
                    }
                }
            })?;
        }
        Ok(vec![make::<T>(x.dtype, out, &shape)?])
    })
}
