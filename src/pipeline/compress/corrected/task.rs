//! Weights of one group of output channels, on their way to codes.

use super::Bench;
use crate::engine::kernels::affine::AffineParameters;
use crate::pipeline::calibrate::LayerData;
use crate::pipeline::compress::adaround::{self, Search};
use crate::pipeline::compress::behind::Behind;
use crate::pipeline::compress::gptq;
use crate::pipeline::compress::grids::Grids;
use crate::pipeline::configure::{Loss, Solver, Sparsity};

/// Sweeps with which scales are searched for before AdaRound.
const ADAROUND_SWEEPS: u8 = 10;

/// The weights of one group of output channels, to be rounded.
pub(super) struct Task<'a> {
    pub bench: &'a Bench<'a>,
    pub group: usize,
    /// Its first output channel.
    pub first: usize,
    pub dense: &'a [f32],
    pub wanted: Vec<f64>,
}

/// What a solver makes of the weights of a group.
pub(super) struct Solved {
    pub codes: Vec<i32>,
    /// What the scale of each row is to be multiplied by.
    pub factors: Vec<f64>,
    /// What is to be added to each output; `None` where that is not for the solver to say.
    pub shift: Option<Vec<f64>>,
}

impl Task<'_> {
    pub fn solve(&self, grids: &Grids, data: &LayerData, behind: &Behind) -> Solved {
        let (width, system) = (self.bench.width, &self.bench.systems[self.group]);
        let rows = self.dense.len() / width.max(1);
        let is_sparse = self.bench.plan.treatment.sparsity != Sparsity::Dense;
        let pruned = |row: usize, col: usize| is_sparse && self.dense[row * width + col] == 0.0;
        let sweeps = match self.bench.correction().solver {
            Solver::Nearest => return Solved { codes: Vec::new(), factors: Vec::new(), shift: None },
            Solver::Gptq { sweeps, .. } => sweeps,
            Solver::AdaRound { .. } => ADAROUND_SWEEPS,
        };
        let feedback = system.feedback();
        let one = |row: usize| grids.at(self.first + row, 0);
        let is_free = grids.has_one_per_row() && (0..rows).all(|row| one(row).zero_point == 0 && one(row).low < 0);
        let own = |row: usize, col: usize| grids.at(self.first + row, col);
        let (codes, factors) = if is_free && sweeps > 0 {
            let own: Vec<AffineParameters> = (0..rows).map(one).collect();
            gptq::search(&self.wanted, system, &feedback, &own, sweeps, &pruned)
        } else {
            let mut codes = gptq::round(&self.wanted, system, &feedback, &own, &pruned);
            gptq::descend(&mut codes, &self.wanted, system, sweeps, &own, &pruned);
            (codes, vec![1.0; rows])
        };
        let Solver::AdaRound { iterations, loss } = self.bench.correction().solver else {
            return Solved { codes, factors, shift: None };
        };
        let scaled = |row: usize, col: usize| {
            let grid = own(row, col);
            AffineParameters { scale: (f64::from(grid.scale) * factors[row]) as f32, ..grid }
        };
        let seed = self.bench.ctx.seed + self.first as u64;
        let search = Search { wanted: &self.wanted, width, grid: &scaled, iterations, seed };
        match (loss, data.fitted.get(self.group)) {
            (Loss::Activation, Some(samples)) => {
                let moves = self.bench.correction().mends_bias();
                let (codes, shift) = adaround::on_samples(&search, samples, behind.biases(self.first, rows), behind.clip, moves);
                Solved { codes, factors, shift: moves.then_some(shift) }
            }
            _ => Solved { codes: adaround::on_moments(&search, &system.h), factors, shift: None },
        }
    }
}
