use super::{descend, round};
use crate::engine::kernels::affine::AffineParameters;
use crate::engine::kernels::factor::dot;
use crate::engine::kernels::{serial, tasks};
use crate::pipeline::compress::system::{Feedback, System};

/// Scales that are tried for a row, in hundredths of the one that it has; of wide rows, where one trial takes long,
/// every third.
const TRIED: [u8; 15] = [100, 94, 106, 88, 112, 82, 118, 76, 124, 70, 130, 64, 136, 58, 142];
const WIDE: usize = 1024;
/// Sweeps of one trial.
const TRIAL_SWEEPS: u8 = 2;
/// How often codes and scale are set right in turn.
const ROUNDS: usize = 4;

/// For every row of `wanted` the scale with which rounding it makes the least error `(Q − W)·H·(Q − W)ᵀ`, and the
/// codes: scales around that of `grids` (one per row, symmetric) are tried, then codes and scale are each solved for
/// while the other stays. Gives codes, and what each scale is to be multiplied by.
pub(in crate::pipeline::compress) fn search(
    wanted: &[f64],
    system: &System,
    feedback: &Feedback,
    grids: &[AffineParameters],
    sweeps: u8,
    pruned: &(dyn Fn(usize, usize) -> bool + Sync),
) -> (Vec<i32>, Vec<f64>) {
    let n = system.width;
    let (mut codes, mut factors) = (vec![0; wanted.len()], vec![1.0; grids.len()]);
    let rows = codes.chunks_mut(n.max(1)).zip(&mut factors).zip(wanted.chunks(n.max(1)).zip(grids));
    tasks(rows, &|row, ((codes, factor), (wanted, grid))| {
        let one = Row { wanted, system, feedback, grid: *grid, pruned: &|_, col| pruned(row, col) };
        let (found, scale) = serial(|| one.search(sweeps));
        codes.copy_from_slice(&found);
        *factor = f64::from(scale) / f64::from(grid.scale);
    });
    (codes, factors)
}

struct Row<'a> {
    wanted: &'a [f64],
    system: &'a System,
    feedback: &'a Feedback,
    grid: AffineParameters,
    pruned: &'a (dyn Fn(usize, usize) -> bool + Sync),
}

impl Row<'_> {
    fn search(&self, sweeps: u8) -> (Vec<i32>, f32) {
        let step = if self.system.width > WIDE { 3 } else { 1 };
        let trials = TRIED.iter().step_by(step).map(|share| {
            let scale = self.grid.scale * f32::from(*share) / 100.0;
            let codes = self.round(scale, TRIAL_SWEEPS);
            (self.error(&codes, scale), codes, scale)
        });
        let best = trials.reduce(|a, b| if b.0 < a.0 { b } else { a });
        let (mut error, mut codes, mut scale) = best.unwrap_or((f64::INFINITY, vec![0; self.wanted.len()], self.grid.scale));
        for _ in 0..ROUNDS {
            let mut next = codes.clone();
            let fitted = self.fit(&next, scale);
            descend(&mut next, self.wanted, self.system, sweeps, &|_, _| self.at(fitted), self.pruned);
            let after = self.error(&next, fitted);
            if after >= error * (1.0 - 1e-6) {
                break;
            }
            (error, codes, scale) = (after, next, fitted);
        }
        (codes, scale)
    }

    fn at(&self, scale: f32) -> AffineParameters {
        AffineParameters { scale, ..self.grid }
    }

    fn round(&self, scale: f32, sweeps: u8) -> Vec<i32> {
        let grid = |_: usize, _: usize| self.at(scale);
        let mut codes = round(self.wanted, self.system, self.feedback, &grid, self.pruned);
        descend(&mut codes, self.wanted, self.system, sweeps, &grid, self.pruned);
        codes
    }

    fn error(&self, codes: &[i32], scale: f32) -> f64 {
        let off: Vec<f64> = codes.iter().zip(self.wanted).map(|(q, w)| f64::from(*q) * f64::from(scale) - w).collect();
        self.form(&off, &off)
    }

    /// `a·H·bᵀ`.
    fn form(&self, a: &[f64], b: &[f64]) -> f64 {
        let n = self.system.width;
        a.iter().zip(self.system.h.chunks(n)).filter(|(x, _)| **x != 0.0).map(|(x, h)| x * dot(h, b)).sum()
    }

    /// The scale that is best for codes; the one that they have where there is none.
    fn fit(&self, codes: &[i32], scale: f32) -> f32 {
        let levels: Vec<f64> = codes.iter().map(|q| f64::from(*q)).collect();
        let fitted = (self.form(&levels, self.wanted) / self.form(&levels, &levels)) as f32;
        if fitted.is_normal() && fitted > 0.0 { fitted } else { scale }
    }
}
