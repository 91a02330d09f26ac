//! Which weights go, given what each counts: the least of a layer, of a row, of every few along the inputs, or whole
//! blocks and rows.

use super::importance::least;
use crate::engine::graph::{Layer, LayerKind};
use crate::pipeline::configure::Sparsity;

/// How the weights of a layer lie as a matrix: a row per output channel; a row holds `taps` weights for each input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lie {
    pub rows: usize,
    pub row_len: usize,
    pub taps: usize,
}

impl Lie {
    #[must_use]
    pub fn of(layer: &Layer) -> Self {
        let rows = layer.out_channels();
        let row_len = layer.parameters() / rows.max(1);
        let inputs = match (layer.kind, layer.out_axis) {
            (LayerKind::Conv | LayerKind::Depthwise, _) => layer.shape.get(1).copied().unwrap_or(1),
            // Depthwise: each row is the kernel of one input.
            (LayerKind::ConvTranspose, 0) => 1,
            (LayerKind::ConvTranspose, _) => layer.shape.first().copied().unwrap_or(1),
            _ => row_len,
        };
        Self { rows, row_len, taps: row_len / inputs.max(1) }
    }
}

/// The places of the weights that go, in order. `scores` lie row by row; where `by_row`, a fraction is taken of
/// every row and not of the whole layer. At least one weight of the layer stays where a fraction is asked for.
#[must_use]
pub fn gone(scores: &[f64], lie: Lie, sparsity: Sparsity, by_row: bool) -> Vec<usize> {
    let share = |share: f32, of: usize| ((f64::from(share) * of as f64).round() as usize).min(of.saturating_sub(1));
    let mut gone = match sparsity {
        // A threshold is of magnitudes, which need no scores.
        Sparsity::Dense | Sparsity::Threshold(_) => Vec::new(),
        Sparsity::Fraction(fraction) if by_row && lie.row_len > 1 => scores
            .chunks(lie.row_len)
            .enumerate()
            .flat_map(|(row, scores)| shifted(least(scores, share(fraction, scores.len())), row * lie.row_len))
            .collect(),
        Sparsity::Fraction(fraction) => least(scores, share(fraction, scores.len())),
        Sparsity::Pattern { keep, of } => pattern(scores, lie, usize::from(keep), usize::from(of)),
        Sparsity::Blocks { rows, columns, share: fraction } => {
            let blocks = blocks(lie, usize::from(rows).max(1), usize::from(columns).max(1));
            let means: Vec<f64> = blocks.iter().map(|block| mean(scores, block)).collect();
            least(&means, share(fraction, blocks.len())).into_iter().flat_map(|b| blocks[b].iter().copied()).collect()
        }
        Sparsity::Rows(fraction) => {
            let sums: Vec<f64> = scores.chunks(lie.row_len.max(1)).map(|row| row.iter().sum()).collect();
            let rows = least(&sums, share(fraction, sums.len()));
            rows.into_iter().flat_map(|row| row * lie.row_len..(row + 1) * lie.row_len).collect()
        }
    };
    gone.sort_unstable();
    gone
}

fn shifted(places: Vec<usize>, by: usize) -> impl Iterator<Item = usize> {
    places.into_iter().map(move |place| place + by)
}

/// Of every `of` inputs next to each other `keep` stay, tap by tap.
fn pattern(scores: &[f64], lie: Lie, keep: usize, of: usize) -> Vec<usize> {
    let inputs = lie.row_len / lie.taps.max(1);
    let mut gone = Vec::new();
    for row in 0..lie.rows {
        for tap in 0..lie.taps {
            let place = |input: usize| row * lie.row_len + input * lie.taps + tap;
            for first in (0..inputs).step_by(of.max(1)) {
                let group: Vec<usize> = (first..inputs.min(first + of)).map(place).collect();
                let own: Vec<f64> = group.iter().filter_map(|p| scores.get(*p).copied()).collect();
                gone.extend(least(&own, own.len().saturating_sub(keep)).into_iter().map(|i| group[i]));
            }
        }
    }
    gone
}

/// The places of each block, those at the edges smaller.
fn blocks(lie: Lie, rows: usize, columns: usize) -> Vec<Vec<usize>> {
    let mut blocks = Vec::new();
    for top in (0..lie.rows).step_by(rows) {
        for left in (0..lie.row_len).step_by(columns) {
            let line = |row: usize| row * lie.row_len + left..row * lie.row_len + lie.row_len.min(left + columns);
            blocks.push((top..lie.rows.min(top + rows)).flat_map(line).collect());
        }
    }
    blocks
}

fn mean(scores: &[f64], places: &[usize]) -> f64 {
    places.iter().filter_map(|p| scores.get(*p)).sum::<f64>() / places.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: Lie = Lie { rows: 2, row_len: 6, taps: 1 };
    const SCORES: [f64; 12] = [3.0, 1.0, 2.0, 4.0, 9.0, 8.0, 5.0, 5.0, 5.0, 5.0, 0.1, 7.0];

    #[test]
    fn of_every_few_inputs_some_stay() {
        let two_of_four = Sparsity::Pattern { keep: 2, of: 4 };
        // The last two of a row are too few to lose any; of equals the first go.
        assert_eq!(gone(&SCORES, MATRIX, two_of_four, true), [1, 2, 6, 7]);
        // Two taps: inputs lie two apart.
        let conv = Lie { rows: 1, row_len: 8, taps: 2 };
        let scores = [1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0];
        assert_eq!(gone(&scores, conv, two_of_four, true), [0, 2, 5, 7]);
        assert_eq!(gone(&scores, conv, Sparsity::Pattern { keep: 1, of: 4 }, true), [0, 2, 3, 4, 5, 7]);
    }

    #[test]
    fn blocks_and_rows_go_whole() {
        let blocks = Sparsity::Blocks { rows: 2, columns: 4, share: 0.5 };
        assert_eq!(gone(&SCORES, MATRIX, blocks, false), [0, 1, 2, 3, 6, 7, 8, 9]);
        assert_eq!(gone(&SCORES, MATRIX, Sparsity::Rows(0.5), false), [0, 1, 2, 3, 4, 5]);
        assert!(gone(&SCORES[..6], Lie { rows: 1, ..MATRIX }, Sparsity::Rows(0.9), false).is_empty(), "the last row stays");
    }

    #[test]
    fn fractions_are_of_the_layer_or_of_each_row() {
        assert_eq!(gone(&SCORES, MATRIX, Sparsity::Fraction(0.25), false), [1, 2, 10]);
        assert_eq!(gone(&SCORES, MATRIX, Sparsity::Fraction(0.5), true), [0, 1, 2, 6, 7, 10]);
        assert_eq!(gone(&[1.0, 1.0], Lie { rows: 1, row_len: 2, taps: 1 }, Sparsity::Fraction(0.99), false), [0]);
        assert!(gone(&[], Lie { rows: 0, row_len: 0, taps: 0 }, Sparsity::Fraction(0.5), false).is_empty());
    }

    #[test]
    fn rows_lie_as_the_layer_reads() {
        let lie = |kind, shape: &[usize], out_axis| Lie::of(&Layer { out_axis, ..Layer::lone(kind, shape) });
        assert_eq!(lie(LayerKind::Conv, &[8, 4, 3, 3], 0), Lie { rows: 8, row_len: 36, taps: 9 });
        assert_eq!(lie(LayerKind::Depthwise, &[8, 1, 3, 3], 0), Lie { rows: 8, row_len: 9, taps: 9 });
        assert_eq!(lie(LayerKind::MatMul, &[4, 8], 1), Lie { rows: 8, row_len: 4, taps: 1 });
        assert_eq!(lie(LayerKind::ConvTranspose, &[4, 8, 2, 2], 1), Lie { rows: 8, row_len: 16, taps: 4 });
    }
}
