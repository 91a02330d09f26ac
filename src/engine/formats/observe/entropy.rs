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
    let sums = Sums::new(&counts);
    let mut best = (f64::INFINITY, counts.len());
    for cut in levels.max(128).min(counts.len())..=counts.len() {
        let divergence = sums.divergence(cut, levels);
        if divergence <= best.0 {
            best = (divergence, cut);
        }
    }
    Some(magnitudes.edge(best.1) as f32)
}

/// Sums over the first bins, by how many they are, so that a cut costs as many steps as there are levels.
struct Sums {
    mass: Vec<f64>,
    filled: Vec<f64>,
    /// Of p·ln p.
    information: Vec<f64>,
}

/// p·ln p.
fn information(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

impl Sums {
    fn new(counts: &[f64]) -> Self {
        let over = |of: fn(f64) -> f64| {
            let running = counts.iter().scan(0.0, |sum, count| {
                *sum += of(*count);
                Some(*sum)
            });
            std::iter::once(0.0).chain(running).collect()
        };
        Self { mass: over(|p| p), filled: over(|p| f64::from(p > 0.0)), information: over(information) }
    }

    /// KL(P‖Q): P the first `cut` bins with the mass of all others added to the last of them, Q what
    /// `levels` groups leave of them without it.
    fn divergence(&self, cut: usize, levels: usize) -> f64 {
        let total = self.mass.last().copied().unwrap_or(0.0);
        let kept = self.mass[cut];
        let (last, tail) = (kept - self.mass[cut - 1], total - kept);
        if kept == 0.0 || tail > 0.0 && last == 0.0 {
            return f64::INFINITY;
        }
        // Σ p·ln(p/P ÷ q/Q) = Σ p·ln p − Σ p·ln q + P·ln(Q/P), over P.
        let mut sum = self.information[cut] + information(last + tail) - information(last);
        let mut share = 0.0;
        for group in 0..levels {
            let (from, to) = (group * cut / levels, (group + 1) * cut / levels);
            let (mass, filled) = (self.mass[to] - self.mass[from], self.filled[to] - self.filled[from]);
            if mass > 0.0 {
                share = mass / filled;
                sum -= mass * share.ln();
            }
        }
        // The tail lies in the last bin, which the last group spreads like all its bins.
        if tail > 0.0 {
            sum -= tail * share.ln();
        }
        sum / total + (kept / total).ln()
    }
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
