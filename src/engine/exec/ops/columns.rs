//! `Col2Im`: sums the columns of windows back into an image of any number of axes.

use super::shape::sizes;
use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, fail, for_held, make, strides_of, with};
use crate::engine::exec::memory::room;
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    (op == "Col2Im").then_some(columns_to_image as Operator)
}

/// One number per axis from an attribute, `default` where it is absent.
fn per_axis(c: &Call<'_>, name: &str, count: usize, default: i64, least: i64) -> OpResult<Vec<i64>> {
    match c.node.ints(name) {
        None => Ok(vec![default; count]),
        // Larger numbers are no distance within an image, and sums of them could overflow.
        Some(v) if v.len() == count && v.iter().all(|n| (least..1 << 31).contains(n)) => Ok(v.to_vec()),
        Some(v) => fail(format!("attribute \"{name}\" is {v:?}, {count} numbers from {least} on are needed")),
    }
}

fn columns_to_image(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let (image, block) = (sizes(c.input(1)?)?, sizes(c.input(2)?)?);
    let rank = image.len();
    if block.len() != rank || block.contains(&0) {
        return fail(format!("a block of shape {block:?} does not fit an image of shape {image:?}"));
    }
    let (strides, dilations) = (per_axis(c, "strides", rank, 1, 1)?, per_axis(c, "dilations", rank, 1, 1)?);
    let pads = per_axis(c, "pads", 2 * rank, 0, 0)?;
    room::<f64>(&image)?;
    let taps = room::<f64>(&block)?;
    let mut steps = Vec::with_capacity(rank);
    for a in 0..rank {
        let reach = i128::from(dilations[a]) * (block[a] as i128 - 1) + 1;
        let free = image[a] as i128 + i128::from(pads[a]) + i128::from(pads[a + rank]) - reach;
        if free < 0 {
            return fail(format!("a window of {reach} does not fit an axis of {} with its pads", image[a]));
        }
        steps.push((free / i128::from(strides[a]) + 1) as usize);
    }
    let windows = room::<f64>(&steps)?;
    let &[n, rows, columns] = x.shape() else { return fail("three axes are needed") };
    if !rows.is_multiple_of(taps) || columns != windows {
        return fail(format!("columns of shape {:?} do not fit {windows} windows of {taps} elements", x.shape()));
    }
    let channels = rows / taps;
    let shape: Vec<usize> = [n, channels].into_iter().chain(image.iter().copied()).collect();
    let (image_steps, size) = (strides_of(&image), image.iter().product::<usize>());
    let (step_steps, block_steps) = (strides_of(&steps), strides_of(&block));
    // Where element `tap` of window `column` lies in the image; `None` in the padding.
    let place = |tap: usize, column: usize| -> Option<usize> {
        (0..rank).try_fold(0, |sum, a| {
            let (w, t) = (column / step_steps[a] % steps[a], tap / block_steps[a] % block[a]);
            let at = w as i64 * strides[a] + t as i64 * dilations[a] - pads[a];
            usize::try_from(at).ok().filter(|at| *at < image[a]).map(|at| sum + at * image_steps[a])
        })
    };
    for_held!(x, T => {
        let mut out = vec![T::default(); room::<T>(&shape)?];
        with::<T, _>(x, |s| {
            for tap in 0..taps {
                for column in 0..columns {
                    let Some(at) = place(tap, column) else { continue };
                    for i in 0..n * channels {
                        out[i * size + at] += s[(i * taps + tap) * columns + column];
                    }
                }
            }
        })?;
        Ok(vec![make::<T>(x.dtype, out, &shape)?])
    })
}
