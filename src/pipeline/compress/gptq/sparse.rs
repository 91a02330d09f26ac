use crate::engine::kernels::factor::dot;
use crate::engine::kernels::tasks;
use crate::pipeline::compress::system::{Feedback, System};

/// Columns in which the same share of weights is pruned.
const BLOCK: usize = 128;

/// Prunes a share of the weights [rows × width], in every block of columns those that cost least while the columns
/// after them make up for it; gives the weights that are left, moved as the errors before them ask for.
pub(in crate::pipeline::compress) fn choose(wanted: &[f64], fraction: f64, system: &System, feedback: &Feedback) -> Vec<f64> {
    let n = system.width;
    let rows = wanted.len() / n.max(1);
    let mut errors = vec![0.0; wanted.len()];
    for from in (0..n).step_by(BLOCK) {
        let to = (from + BLOCK).min(n);
        let mut costs: Vec<(f64, usize)> = Vec::with_capacity(rows * (to - from));
        for row in 0..rows {
            for k in from..to {
                let value = wanted[row * n + system.order[k]] + dot(&errors[row * n..row * n + from], feedback.row(k));
                costs.push((value * value * feedback.costs[k], row * (to - from) + k - from));
            }
        }
        let count = (fraction * costs.len() as f64).round() as usize;
        let mut pruned = vec![false; costs.len()];
        if count > 0 {
            let by_cost = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            let last = count.min(costs.len()) - 1;
            costs.select_nth_unstable_by(last, by_cost);
            costs.iter().take(count).for_each(|(_, at)| pruned[*at] = true);
        }
        let lines = errors.chunks_mut(n.max(1)).zip(wanted.chunks(n.max(1))).zip(pruned.chunks(to - from));
        tasks(lines, &|_, ((errors, wanted), pruned)| {
            for k in from..to {
                let value = wanted[system.order[k]] + dot(&errors[..k], feedback.row(k));
                // What is kept is moved to where the errors before it want it: no error is left of it but that.
                errors[k] = wanted[system.order[k]] - if pruned[k - from] { 0.0 } else { value };
            }
        });
    }
    let mut left = vec![0.0; wanted.len()];
    for (row, out) in left.chunks_mut(n.max(1)).enumerate() {
        for (k, col) in system.order.iter().enumerate() {
            let (w, e) = (wanted[row * n + col], errors[row * n + k]);
            out[*col] = if e == w { 0.0 } else { w - e };
        }
    }
    left
}
