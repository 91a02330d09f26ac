//! Windows that slide over spatial axes: what the attributes of convolutions and pooling say.

use super::Node;

type Result<T> = std::result::Result<T, String>;

/// Strides, dilations, pads and kernels lie below: nothing sensible is larger, and sums of products of
/// two of them cannot overflow.
const LIMIT: i64 = 1 << 30;

fn fail<T>(reason: impl Into<String>) -> Result<T> {
    Err(reason.into())
}

/// How automatic padding and rounding of sizes work for an operator.
#[derive(Debug, Clone, Copy)]
pub enum Auto {
    Conv,
    /// Pooling; `ceil` rounds sizes up.
    Window {
        ceil: bool,
    },
}

/// Strides, dilations, pads and output sizes of a window over spatial axes.
#[derive(Debug, Clone)]
pub struct WindowAxes {
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    pub pad_before: Vec<isize>,
    pub pad_after: Vec<isize>,
    pub output: Vec<usize>,
}

/// One number per spatial axis, `default` where the attribute is absent.
fn per_axis(node: &Node, name: &str, rank: usize, default: usize) -> Result<Vec<usize>> {
    match node.ints(name) {
        None => Ok(vec![default; rank]),
        Some(v) if v.len() == rank && v.iter().all(|n| (1..LIMIT).contains(n)) => Ok(v.iter().map(|&n| n as usize).collect()),
        Some(v) => fail(format!("attribute \"{name}\" is {v:?}, but {rank} positive numbers are needed")),
    }
}

/// Elements from the first tap of a kernel to the last.
fn reach_of(kernel: usize, dilation: usize) -> Result<usize> {
    if kernel == 0 || kernel >= LIMIT as usize {
        return fail(format!("a kernel of {kernel} elements is no kernel"));
    }
    Ok((kernel - 1) * dilation + 1)
}

/// Two numbers per spatial axis: padding before each, then after each.
fn pads_of(node: &Node, rank: usize) -> Result<Vec<i64>> {
    match node.ints("pads") {
        None => Ok(vec![0; 2 * rank]),
        Some(p) if p.len() == 2 * rank && p.iter().all(|n| (-LIMIT..LIMIT).contains(n)) => Ok(p.to_vec()),
        Some(p) => fail(format!("pads {p:?} do not fit {rank} spatial axes")),
    }
}

/// Works out the window of a `Conv` or pooling node.
///
/// # Errors
/// When attributes, kernel and input do not go together.
pub fn window_axes(node: &Node, input: &[usize], kernel: &[usize], auto: Auto) -> Result<WindowAxes> {
    let rank = input.len();
    if kernel.len() != rank {
        return fail(format!("a kernel of {} axes does not fit an input of {rank} spatial axes", kernel.len()));
    }
    let stride = per_axis(node, "strides", rank, 1)?;
    let dilation = per_axis(node, "dilations", rank, 1)?;
    let explicit: Vec<isize> = pads_of(node, rank)?.into_iter().map(|v| v as isize).collect();
    let mode = node.text("auto_pad").unwrap_or("NOTSET");
    let (mut pad_before, mut pad_after, mut output) = (Vec::new(), Vec::new(), Vec::new());
    for a in 0..rank {
        let reach = reach_of(kernel[a], dilation[a])?;
        let (before, after) = match mode {
            "SAME_UPPER" | "SAME_LOWER" => {
                let need = ((input[a].div_ceil(stride[a]).max(1) - 1) * stride[a] + reach).saturating_sub(input[a]);
                let (small, large) = ((need / 2) as isize, (need - need / 2) as isize);
                if mode == "SAME_UPPER" { (small, large) } else { (large, small) }
            }
            "VALID" => (0, 0),
            _ => (explicit[a], explicit[a + rank]),
        };
        let room = input[a] as isize + before + after - reach as isize;
        if room < 0 {
            return fail(format!("a window of {reach} does not fit an input of {} with pads {before} and {after}", input[a]));
        }
        let mut count = room as usize / stride[a] + 1;
        // With rounding up, a window that would start in the padding after the input is left out.
        if let Auto::Window { ceil: true } = auto {
            let up = (room as usize).div_ceil(stride[a]) + 1;
            let starts_inside = ((up - 1) * stride[a]) as isize - before < input[a] as isize;
            count = if starts_inside { up } else { up - 1 };
        }
        pad_before.push(before);
        pad_after.push(after);
        output.push(count);
    }
    Ok(WindowAxes { stride, dilation, pad_before, pad_after, output })
}

/// Window of the convolution over the spread-out input that a `ConvTranspose` node is.
///
/// # Errors
/// When attributes, kernel and input do not go together.
pub fn transposed_axes(node: &Node, input: &[usize], kernel: &[usize]) -> Result<WindowAxes> {
    let rank = input.len();
    let stride = per_axis(node, "strides", rank, 1)?;
    let dilation = per_axis(node, "dilations", rank, 1)?;
    let extra: Vec<i64> = node.ints("output_padding").map_or_else(|| vec![0; rank], <[i64]>::to_vec);
    let pads = pads_of(node, rank)?;
    if extra.len() != rank || kernel.len() != rank || extra.iter().any(|n| !(0..LIMIT).contains(n)) {
        return fail(format!("output_padding {extra:?} or a kernel {kernel:?} does not fit {rank} spatial axes"));
    }
    let wanted = node.ints("output_shape");
    if let Some(wanted) = wanted.filter(|w| w.len() < rank || w.iter().any(|n| !(0..1 << 40).contains(n))) {
        return fail(format!("output_shape {wanted:?} does not fit {rank} spatial axes"));
    }
    let mode = node.text("auto_pad").unwrap_or("NOTSET");
    let (mut pad_before, mut output) = (Vec::new(), Vec::new());
    for a in 0..rank {
        let reach = reach_of(kernel[a], dilation[a])? as i64;
        let spread = (stride[a] as i64).checked_mul(input[a] as i64 - 1).filter(|n| *n < 1 << 60);
        let Some(full) = spread.map(|n| n + extra[a] + reach) else {
            return fail(format!("a stride of {} spreads {} elements too far", stride[a], input[a]));
        };
        let target = match (wanted.and_then(|w| w.get(w.len() - rank + a)), mode) {
            (Some(n), _) => Some(*n),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some((input[a] * stride[a]) as i64),
            _ => None,
        };
        let (before, size) = match target {
            Some(n) => {
                let total = (full - n).max(0);
                (if mode == "SAME_UPPER" { total / 2 } else { total - total / 2 }, n)
            }
            None => (pads[a], full - pads[a] - pads[a + rank]),
        };
        if size < 1 {
            return fail(format!("the output would have {size} elements along spatial axis {a}"));
        }
        pad_before.push((reach - 1 - before) as isize);
        output.push(size as usize);
    }
    Ok(WindowAxes { stride, dilation, pad_after: vec![0; rank], pad_before, output })
}

/// The places that a slice along an axis of `length` takes (ONNX `Slice`).
///
/// # Errors
/// When the step is 0.
pub fn slice_places(start: i64, end: i64, step: i64, length: usize) -> Result<impl ExactSizeIterator<Item = usize> + Clone> {
    let n = length as i64;
    let wrap = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (first, reach) = match step {
        0 => return fail("a slice with step 0 never ends"),
        1.. => (wrap(start).clamp(0, n), wrap(end).clamp(0, n) - wrap(start).clamp(0, n)),
        // A backward slice that starts beyond either end starts at that end.
        _ => (wrap(start).clamp(0, (n - 1).max(0)), wrap(start).clamp(0, (n - 1).max(0)) - wrap(end).clamp(-1, n - 1)),
    };
    let reach = if length == 0 { 0 } else { reach.max(0) as usize };
    let count = reach.div_ceil(step.unsigned_abs() as usize);
    Ok((0..count).map(move |i| (first + i as i64 * step) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_as_onnx_says() {
        let places = |start, end, step| slice_places(start, end, step, 5).unwrap().collect::<Vec<usize>>();
        assert_eq!(places(1, 100, 2), [1, 3]);
        assert_eq!(places(-100, i64::MAX, 1), [0, 1, 2, 3, 4]);
        assert_eq!(places(-1, i64::MIN, -2), [4, 2, 0]);
        assert_eq!(places(100, -100, i64::MIN), [4]);
        assert_eq!(places(-100, i64::MIN, -1), [0]);
        assert_eq!(places(3, 3, 1), [0; 0]);
        assert_eq!(slice_places(0, i64::MIN, -1, 0).unwrap().len(), 0);
        assert!(slice_places(0, 1, 0, 5).is_err());
    }
}
