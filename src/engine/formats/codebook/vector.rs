//! Codebooks of vectors: k-means from seeds spread by k-means++ (Arthur and Vassilvitskii 2007).

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use crate::engine::Ctx;
use crate::engine::formats::error::FormatError;
use crate::engine::kernels::widest::{Work, widest};
use crate::engine::random::Random;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Vectors that the entries are first found for.
const SAMPLE: usize = 1 << 15;
/// Rounds on them, and then on all.
const ROUNDS: usize = 25;
const LAST_ROUNDS: usize = 4;
/// Vectors that one task takes.
const SHARE: usize = 1 << 13;

/// At most `count` entries of D values each, for the vectors of the rows.
pub(super) fn fit<const D: usize>(values: &[f32], cols: usize, count: usize, ctx: &Ctx) -> Result<Vec<f32>, FormatError> {
    let vectors: Vec<[f32; D]> = values.chunks(cols.max(1)).flat_map(|row| row.chunks(D).map(whole)).collect();
    let stride = vectors.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<[f32; D]> = vectors.iter().copied().step_by(stride).collect();
    let mut entries = seeds(&sample, count, ctx)?;
    for _ in 0..ROUNDS {
        if !improve(&sample, &mut entries, ctx)? {
            break;
        }
    }
    if stride > 1 {
        for _ in 0..LAST_ROUNDS {
            improve(&vectors, &mut entries, ctx)?;
        }
    }
    entries.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(entries.into_iter().flatten().collect())
}

/// A vector filled up with zeros.
fn whole<const D: usize>(part: &[f32]) -> [f32; D] {
    std::array::from_fn(|i| part.get(i).copied().unwrap_or(0.0))
}

fn distance<const D: usize>(a: &[f32; D], b: &[f32; D]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// Each next seed is drawn with a probability in proportion to its squared distance from those before.
fn seeds<const D: usize>(vectors: &[[f32; D]], count: usize, ctx: &Ctx) -> Result<Vec<[f32; D]>, FormatError> {
    let mut random = Random::new(ctx.seed);
    let Some(first) = vectors.get(random.below(vectors.len())) else { return Ok(Vec::new()) };
    let mut entries = vec![*first];
    let mut near: Vec<f64> = vectors.iter().map(|v| distance(v, first)).collect();
    while entries.len() < count {
        ctx.check()?;
        let total: f64 = near.iter().sum();
        if total == 0.0 {
            break;
        }
        let mut left = total * f64::from(random.uniform());
        let drawn = near.iter().position(|d| {
            left -= d;
            left < 0.0
        });
        // Rounding may leave a little: the last vector that is not an entry takes it.
        let Some(at) = drawn.or_else(|| near.iter().rposition(|d| *d > 0.0)) else { break };
        let entry = vectors[at];
        entries.push(entry);
        near.iter_mut().zip(vectors).for_each(|(near, v)| *near = near.min(distance(v, &entry)));
    }
    Ok(entries)
}

/// One round of Lloyd's iteration; whether an entry moved. An entry without vectors stays.
fn improve<const D: usize>(vectors: &[[f32; D]], entries: &mut [[f32; D]], ctx: &Ctx) -> Result<bool, FormatError> {
    let book: Vec<f32> = entries.iter().flatten().copied().collect();
    let parts: Vec<Vec<([f64; D], u64)>> = vectors
        .par_chunks(SHARE)
        .map(|vectors| {
            ctx.check()?;
            let mut codes = vec![0; vectors.len()];
            nearest::<D>(vectors, &book, &mut codes);
            let mut sums = vec![([0.0; D], 0); book.len() / D];
            for (vector, code) in vectors.iter().zip(&codes) {
                let (sum, count) = &mut sums[usize::from(*code)];
                sum.iter_mut().zip(vector).for_each(|(s, v)| *s += f64::from(*v));
                *count += 1;
            }
            Ok(sums)
        })
        .collect::<Result<_, FormatError>>()?;
    let mut moved = false;
    for (at, entry) in entries.iter_mut().enumerate() {
        let mut total = ([0.0; D], 0);
        for part in &parts {
            total.0.iter_mut().zip(part[at].0).for_each(|(t, s)| *t += s);
            total.1 += part[at].1;
        }
        if total.1 > 0 {
            let mean = total.0.map(|s| (s / total.1 as f64) as f32);
            moved |= mean != *entry;
            *entry = mean;
        }
    }
    Ok(moved)
}

/// The number of the nearest entry (of `book`, D values each) for every vector of a row.
pub(super) fn assign<const D: usize>(row: &[f32], book: &[f32], codes: &mut [u16]) {
    let vectors: Vec<[f32; D]> = row.chunks(D).map(whole).collect();
    codes.par_chunks_mut(SHARE).zip(vectors.par_chunks(SHARE)).for_each(|(codes, vectors)| nearest::<D>(vectors, book, codes));
}

fn nearest<const D: usize>(vectors: &[[f32; D]], book: &[f32], codes: &mut [u16]) {
    widest(Nearest { vectors, book: book.as_chunks::<D>().0, codes });
}

struct Nearest<'a, const D: usize> {
    vectors: &'a [[f32; D]],
    book: &'a [[f32; D]],
    codes: &'a mut [u16],
}

/// Vectors that are compared with an entry at once.
const LANES: usize = 16;

impl<const D: usize> Work for Nearest<'_, D> {
    #[inline(always)]
    fn run(self) {
        // A power of two that brings the entries to about 1: squares then neither overflow nor vanish.
        let absmax = self.book.as_flattened().iter().fold(f32::MIN_POSITIVE, |m, e| m.max(e.abs()));
        let unit = f32::from_bits((254 - (absmax.to_bits() >> 23).min(253)) << 23);
        for (vectors, codes) in self.vectors.chunks(LANES).zip(self.codes.chunks_mut(LANES)) {
            let mut x = [[0.0_f32; LANES]; D];
            for (i, vector) in vectors.iter().enumerate() {
                for (lanes, v) in x.iter_mut().zip(vector) {
                    lanes[i] = *v;
                }
            }
            let (mut least, mut found) = ([f32::INFINITY; LANES], [0_u32; LANES]);
            for (number, entry) in self.book.iter().enumerate() {
                let mut distance = [0.0_f32; LANES];
                for (lanes, e) in x.iter().zip(entry) {
                    for i in 0..LANES {
                        let apart = (lanes[i] - e) * unit;
                        distance[i] += apart * apart;
                    }
                }
                for i in 0..LANES {
                    let nearer = distance[i] < least[i];
                    least[i] = if nearer { distance[i] } else { least[i] };
                    found[i] = if nearer { number as u32 } else { found[i] };
                }
            }
            codes.iter_mut().zip(found).for_each(|(code, found)| *code = found as u16);
        }
    }
}
