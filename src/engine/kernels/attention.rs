//! Scaled dot-product attention (Vaswani et al., "Attention Is All You Need", 2017), one key head with
//! the query heads that share it (Ainslie et al., "GQA", 2023).

use super::layout::transpose;
use super::matmul::{Left, matmul};
use super::softmax::{Kind, softmax};
use super::transcendental::{Function, apply};

/// Rows whose scores are held at once: they stay in the cache from the product to the softmax.
const ROWS: usize = 64;
/// With fewer queries it costs more to turn the keys around than to take inner products.
const FEW: usize = 8;
/// Sums that an inner product keeps apart, so that they fit vector registers.
const LANES: usize = 16;

/// Queries, keys and values, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `[queries, size]`: the queries of one head after those of another.
    pub query: &'a [f32],
    /// `[keys, size]`
    pub key: &'a [f32],
    /// `[keys, value_size]`
    pub value: &'a [f32],
    pub queries: usize,
    pub keys: usize,
    pub size: usize,
    pub value_size: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Scores are bent to stay within ± this; 0: they are not.
    pub softcap: f32,
    pub order: Order,
}

/// What comes first. ONNX's operator set 23 was published with the mask first, which lets masked keys
/// be seen a little; it was then turned around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    CapFirst,
    MaskFirst,
}

/// At which stage scores are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Product,
    Capped,
    Masked,
    Softmax,
}

/// Which keys a query sees.
pub trait Mask: Sync {
    /// Adds the mask to the scores of query `row`. Gives false where it leaves no key.
    fn apply(&self, row: usize, scores: &mut [f32]) -> bool;
}

/// Writes `[queries, value_size]` to `out`, and the scores at a stage to `shown` (`[queries, keys]`).
/// A query that sees no key gives zeros.
///
/// # Panics
/// When slices do not have the sizes given.
pub fn attend(head: Head<'_>, mask: &impl Mask, out: &mut [f32], mut shown: Option<(Stage, &mut [f32])>) {
    let Head { queries, keys, size, value_size, .. } = head;
    let turned = if queries < FEW { Vec::new() } else { transpose(head.key, 1, keys, size) };
    let mut scores = vec![0.0; ROWS.min(queries) * keys];
    for from in (0..queries).step_by(ROWS) {
        let count = ROWS.min(queries - from);
        let query = &head.query[from * size..][..count * size];
        let scores = &mut scores[..count * keys];
        if turned.is_empty() {
            for (row, query) in scores.chunks_mut(keys.max(1)).zip(query.chunks(size.max(1))) {
                for (score, key) in row.iter_mut().zip(head.key.chunks(size.max(1))) {
                    *score = dot(query, key);
                }
            }
        } else {
            matmul(Left { data: query, row_stride: size, column_stride: 1 }, &turned, (count, size, keys), scores);
        }
        for (i, row) in scores.chunks_mut(keys.max(1)).enumerate() {
            let mut show = |stage: Stage, row: &[f32]| {
                if let Some((wanted, shown)) = &mut shown
                    && *wanted == stage
                {
                    shown[(from + i) * keys..][..keys].copy_from_slice(row);
                }
            };
            for v in row.iter_mut() {
                *v *= head.scale;
            }
            show(Stage::Product, row);
            let seen = match head.order {
                Order::CapFirst => {
                    cap(row, head.softcap);
                    show(Stage::Capped, row);
                    let seen = mask.apply(from + i, row);
                    show(Stage::Masked, row);
                    seen
                }
                Order::MaskFirst => {
                    let seen = mask.apply(from + i, row);
                    show(Stage::Masked, row);
                    cap(row, head.softcap);
                    show(Stage::Capped, row);
                    seen
                }
            };
            if seen {
                softmax(Kind::Softmax, row, keys, 1);
            } else {
                row.fill(0.0);
            }
            show(Stage::Softmax, row);
        }
        let out = &mut out[from * value_size..][..count * value_size];
        matmul(Left { data: scores, row_stride: keys, column_stride: 1 }, head.value, (count, keys, value_size), out);
    }
}

/// Bends scores to stay within ± `softcap`, unless that is 0.
fn cap(row: &mut [f32], softcap: f32) {
    if softcap > 0.0 {
        for v in row.iter_mut() {
            *v /= softcap;
        }
        apply(Function::Tanh, row);
        for v in row.iter_mut() {
            *v *= softcap;
        }
    }
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    struct Causal;

    impl Mask for Causal {
        fn apply(&self, row: usize, scores: &mut [f32]) -> bool {
            scores.iter_mut().skip(row).for_each(|v| *v = f32::NEG_INFINITY);
            row > 0
        }
    }

    /// The same by the book, in f64, for a mask that lets query i see the keys before i.
    fn plain(head: Head<'_>) -> Vec<f64> {
        let at = |x: &[f32], row: usize, width: usize, i: usize| f64::from(x[row * width + i]);
        (0..head.queries)
            .flat_map(|q| {
                let score = |k: usize| {
                    let product: f64 =
                        (0..head.size).map(|i| at(head.query, q, head.size, i) * at(head.key, k, head.size, i)).sum();
                    product * f64::from(head.scale)
                };
                let weights: Vec<f64> = (0..q.min(head.keys)).map(|k| score(k).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let value = move |i: usize| -> f64 {
                    let mixed: f64 = weights.iter().enumerate().map(|(k, w)| w * at(head.value, k, head.value_size, i)).sum();
                    if sum > 0.0 { mixed / sum } else { 0.0 }
                };
                (0..head.value_size).map(value).collect::<Vec<f64>>()
            })
            .collect()
    }

    #[test]
    fn agrees_with_the_formula() {
        let mut random = Random::new(5);
        for (queries, keys, size, value_size) in [(1, 5, 19, 3), (3, 7, 16, 16), (70, 40, 33, 9)] {
            let mut normal = |count: usize| -> Vec<f32> { (0..count).map(|_| random.normal()).collect() };
            let (query, key, value) = (normal(queries * size), normal(keys * size), normal(keys * value_size));
            let (query, key, value) = (query.as_slice(), key.as_slice(), value.as_slice());
            let head =
                Head { query, key, value, queries, keys, size, value_size, scale: 0.3, softcap: 0.0, order: Order::CapFirst };
            let mut out = vec![f32::NAN; queries * value_size];
            let mut weights = vec![f32::NAN; queries * keys];
            attend(head, &Causal, &mut out, Some((Stage::Softmax, &mut weights)));
            for (a, b) in out.iter().zip(plain(head)) {
                assert!((f64::from(*a) - b).abs() < 1e-5);
            }
            for (q, row) in weights.chunks(keys).enumerate() {
                let sum: f32 = row.iter().sum();
                assert!((sum - f32::from(u8::from(q > 0))).abs() < 1e-5);
            }
        }
    }
}
