//! Rounding column by column, the error of each made up for by those that come after it (GPTQ, Frantar et al. 2022,
//! arXiv 2210.17323), given `E[x̂·x̂ᵀ]`, or the covariance where the bias is set right afterwards; towards the
//! original outputs, where the target was moved there before ([`target()`]); with coordinate descent behind it
//! ([`descend()`]) and with scales that were searched for on the same error ([`search`]). Of pruned layers the same with zero as the only level of what is pruned (SparseGPT, Frantar and
//! Alistarh 2023, arXiv 2301.00774, which also chooses what is). Limits: needs several times as many places as a row
//! has weights; fits the calibration data, so that what it gains there is more than what it gains elsewhere.

mod descend;
mod round;
mod scales;
mod sparse;
mod target;
#[cfg(test)]
mod tests;

pub(super) use descend::descend;
pub(super) use round::round;
pub(super) use scales::search;
pub(super) use sparse::choose;
pub(super) use target::target;
