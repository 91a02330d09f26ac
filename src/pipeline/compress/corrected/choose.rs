//! Which weights a layer keeps, and what those are before they are rounded.

use super::{Bench, RIDGE, narrow, wide};
use crate::pipeline::compress::covariance::{Side, covariance, hessian, towards};
use crate::pipeline::compress::gptq;
use crate::pipeline::compress::least_squares::{Cells, on_all, on_samples, on_support, pursue};
use crate::pipeline::compress::pattern::Lie;
use crate::pipeline::configure::{Recovery, Solver, Sparsity};

impl Bench<'_> {
    /// Makes up for channels that the network lost before the layer: what its weights are from here on held against
    /// is what comes nearest to what the whole network gave.
    pub(super) fn regain(&mut self) {
        if !self.correction().follows_original() || !self.moments.iter().any(|m| m.is_cut) {
            return;
        }
        let made = self.by_group(|group| {
            let rows = &self.original[group * self.group..][..self.group];
            match self.systems.get(group) {
                Some(system) => {
                    let (mut rows, m) = (wide(rows), &self.moments[group]);
                    let correction = self.correction();
                    on_all(&mut rows, &towards(m, correction), &hessian(m, correction), system);
                    narrow(&rows)
                }
                None => {
                    let mut rows = rows.to_vec();
                    self.samples.get(group).into_iter().for_each(|samples| on_samples(&mut rows, samples, RIDGE));
                    rows
                }
            }
        });
        let pruned: Vec<bool> = self.rows.iter().zip(&self.original).map(|(made, was)| *made == 0.0 && *was != 0.0).collect();
        let rows = std::mem::replace(&mut self.rows, self.original.clone());
        if self.take("lost channels", made) {
            self.original.clone_from(&self.rows);
            self.rows.iter_mut().zip(pruned).filter(|(_, gone)| *gone).for_each(|(w, _)| *w = 0.0);
        } else {
            self.rows = rows;
        }
    }

    /// Chooses better what is pruned, and solves for what is left.
    pub(super) fn prune(&mut self) {
        let Sparsity::Fraction(fraction) = self.plan.treatment.sparsity else {
            if self.plan.treatment.sparsity != Sparsity::Dense {
                self.solve_support();
            }
            return;
        };
        if matches!(self.correction().solver, Solver::Gptq { .. }) {
            let made = self.by_group(|group| {
                let wanted = self.moved(group, &self.original[group * self.group..][..self.group]);
                let system = &self.systems[group];
                narrow(&gptq::choose(&wanted, f64::from(fraction), system, &system.feedback()))
            });
            self.take("SparseGPT", made);
        }
        self.solve_support();
    }

    fn solve_support(&mut self) {
        if self.correction().recovery != Recovery::LeastSquares {
            return;
        }
        let made = self.by_group(|group| {
            let at = group * self.group;
            if let (true, Some(samples)) = (self.is_wide(), self.samples.get(group)) {
                let mut made = self.rows[at..at + self.group].to_vec();
                on_samples(&mut made, samples, RIDGE);
                return made;
            }
            let (original, mut made) = (wide(&self.original[at..][..self.group]), wide(&self.rows[at..][..self.group]));
            let cross = covariance(&self.moments[group].cross, &self.moments[group], Side::Cross);
            on_support(&mut made, &original, &self.systems[group].h, &cross, self.width, RIDGE);
            narrow(&made)
        });
        self.take("least squares", made);
        // Blocks, rows and thresholds say which weights go: there is nothing to choose better.
        let cells = match self.plan.treatment.sparsity {
            Sparsity::Fraction(_) => None,
            Sparsity::Pattern { of, .. } => Some(Cells { of: usize::from(of), taps: Lie::of(&self.plan.layer).taps }),
            _ => return,
        };
        if !self.is_wide() && matches!(self.correction().solver, Solver::Gptq { .. }) {
            self.exchange(cells);
        }
    }

    /// Exchanges what is pruned for what is better pruned, within `cells` where there are any.
    fn exchange(&mut self, cells: Option<Cells>) {
        let made = self.by_group(|group| {
            let at = group * self.group;
            let (original, mut made) = (wide(&self.original[at..][..self.group]), wide(&self.rows[at..][..self.group]));
            let cross = covariance(&self.moments[group].cross, &self.moments[group], Side::Cross);
            pursue(&mut made, &original, &self.systems[group].h, &cross, RIDGE, cells);
            narrow(&made)
        });
        self.take("exchange", made);
    }
}
