//! Thresholds by Kullback–Leibler divergence: where to cut a histogram so that, once it is quantized, it
//! says most of what it said before (Migacz 2017, GTC talk S7310). The talk leaves much open; two readings
//! are in use and give different thresholds.

use super::histogram::Bins;

/// The threshold for magnitudes, as NVIDIA's calibrators read the talk: `levels` equal groups of the kept
/// bins, each group's counts spread over its bins that are not empty. The last best cut wins.
///
/// `magnitudes` begin at zero. `None` where there are no counts.
#[must_use]
pub fn entropy(magnitudes: &Bins, levels: usize) -> Option<f32> {
    let mut counts: Vec<f64> = magnitudes.counts.iter().map(|c| *c as f64).collect();
    // Zeros, of which rectified data is full, would drown the rest.
    if let [first, second, ..] = counts.as_mut_slice() {
        *first = *second;
    }
    let total: f64 = counts.iter().sum();
    if total == 0.0 || levels == 0 {
        return (!magnitudes.counts.is_empty()).then(|| magnitudes.edge(magnitudes.counts.len()) as f32);
    }
    let (mut best, mut kept) = ((f64::INFINITY, counts.len()), 0.0);
    let first = levels.max(128).min(counts.len());
    kept += counts[..first - 1].iter().sum::<f64>();
    for cut in first..=counts.len() {
        kept += counts[cut - 1];
        let divergence = divergence(&counts[..cut], total - kept, levels);
        if divergence <= best.0 {
            best = (divergence, cut);
        }
    }
    Some(magnitudes.edge(best.1) as f32)
}

/// KL(P‖Q) of the kept bins with `tail` added to the last one, and of what `levels` groups leave of them.
fn divergence(kept: &[f64], tail: f64, levels: usize) -> f64 {
    let cut = kept.len();
    let p_total = kept.iter().sum::<f64>() + tail;
    let (mut sum, mut q_total) = (0.0, 0.0);
    // Σ p·ln(p/P ÷ q/Q) = Σ p·ln(p/q) + P·ln(Q/P), over P.
    for group in 0..levels {
        let bins = &kept[group * cut / levels..(group + 1) * cut / levels];
        let filled = bins.iter().filter(|c| **c > 0.0).count();
        if filled == 0 {
            continue;
        }
        let mass: f64 = bins.iter().sum();
        q_total += mass;
        let share = mass / filled as f64;
        sum += bins.iter().filter(|p| **p > 0.0).map(|p| p * (p / share).ln()).sum::<f64>();
    }
    if let (Some(last), true) = (kept.last(), tail > 0.0) {
        if *last == 0.0 {
            return f64::INFINITY;
        }
        // The last bin was taken without its tail above.
        let group = &kept[(levels - 1) * cut / levels..];
        let share = group.iter().sum::<f64>() / group.iter().filter(|c| **c > 0.0).count() as f64;
        let p = last + tail;
        sum += p * (p / share).ln() - last * (last / share).ln();
    }
    if q_total == 0.0 { f64::INFINITY } else { sum / p_total + (q_total / p_total).ln() }
}

/// The thresholds as ONNX Runtime's `quantize_static` reads the talk, to compare with its results: a
/// window that grows about the middle of the histogram, groups of whole bins, shares cut down to whole
/// numbers, empty bins smoothed away. The tool reckons in f32: of windows that differ by less than f32 can tell,
/// the first wins. `None` where there are too few bins.
///
/// With as many bins as levels (128, the tool's default) one window is left: all there is.
#[must_use]
pub fn entropy_window(bins: &Bins, levels: usize) -> Option<(f64, f64)> {
    let (half, middle) = (levels / 2, bins.counts.len() / 2);
    let window = |reach: usize| (middle - reach, (middle + reach + 1).min(bins.counts.len()));
    let divergence = |(start, end)| window_divergence(&bins.counts, start, end, levels);
    let all: Vec<f64> = (half..=middle).map(|reach| divergence(window(reach))).collect();
    let least = all.iter().copied().fold(f64::INFINITY, f64::min) * (1.0 + f64::from(f32::EPSILON) / 2.0);
    let (start, end) = window(half + all.iter().position(|d| *d <= least)?);
    Some((bins.edge(start), bins.edge(end)))
}

fn window_divergence(counts: &[u64], start: usize, end: usize, levels: usize) -> f64 {
    let kept = &counts[start..end];
    let mut p = kept.to_vec();
    if let Some(first) = p.first_mut() {
        *first += counts[..start].iter().sum::<u64>();
    }
    if let Some(last) = p.last_mut() {
        *last += counts[end..].iter().sum::<u64>();
    }
    let size = kept.len() / levels.max(1);
    let mut q = vec![0_u64; kept.len()];
    for group in 0..levels {
        let bins = group * size..(group + 1) * size;
        let mut mass: u64 = kept[bins.clone()].iter().sum();
        if group + 1 == levels {
            mass += kept[levels * size..].iter().sum::<u64>();
        }
        let filled = p[bins.clone()].iter().filter(|c| **c > 0).count() as u64;
        if let Some(share) = mass.checked_div(filled) {
            q[bins].fill(share);
        }
    }
    let (Some(p), Some(q)) = (smooth(&p), smooth(&q)) else { return f64::INFINITY };
    let (p_total, q_total) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    p.iter().zip(&q).map(|(p, q)| p / p_total * ((p / p_total) / (q / q_total)).ln()).sum()
}

/// Gives empty bins a little, taken evenly from the others.
fn smooth(counts: &[u64]) -> Option<Vec<f64>> {
    const LITTLE: f64 = 1e-4;
    let empty = counts.iter().filter(|c| **c == 0).count();
    let filled = counts.len() - empty;
    if filled == 0 {
        return None;
    }
    let taken = LITTLE * empty as f64 / filled as f64;
    Some(counts.iter().map(|c| if *c == 0 { LITTLE } else { *c as f64 - taken }).collect())
}
