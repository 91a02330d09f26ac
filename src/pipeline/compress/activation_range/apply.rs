use crate::engine::Ctx;
use crate::engine::formats::observe::Range;
use crate::engine::formats::{Granularity, Integer, ScaleType, Symmetry};
use crate::engine::graph::{KnownRange, Wire};
use crate::engine::kernels::affine::{asymmetric, symmetric};
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{Activations, LayerPlan, StaticGrid};

pub(in crate::pipeline::compress) struct ActivationRange;

impl Technique for ActivationRange {
    fn name(&self) -> &'static str {
        "activation range"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.activations != Activations::None
    }

    fn needs(&self, plan: &LayerPlan) -> Vec<Wire> {
        plan.ranges_needed().cloned().collect()
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, statistics: &Statistics, _ctx: &Ctx) -> Result<(), CompressError> {
        let activations = plan.treatment.activations;
        let (scale, zero_point) = match activations.static_grid() {
            None => (1.0, 0),
            Some(grid) => {
                let range = range(plan, grid, statistics).ok_or_else(|| CompressError::NoRange {
                    layer: plan.layer.name.clone(),
                    wire: plan.layer.input.to_string(),
                })?;
                let parameters = if grid.symmetric {
                    symmetric(range.absmax(), grid.bits)
                } else {
                    asymmetric(range.low, range.high, grid.bits)
                };
                (parameters.scale, i64::from(parameters.zero_point))
            }
        };
        work.rounded = activations.rounded(scale, zero_point);
        Ok(())
    }
}

/// What the grid spans: the range of the layer's data, and of those that it shares one with. `None` where nothing
/// was seen.
fn range(plan: &LayerPlan, grid: StaticGrid, statistics: &Statistics) -> Option<Range> {
    let own = range_on(&plan.layer.input, plan.known, grid, statistics)?;
    plan.shares.iter().try_fold(own, |all, (wire, known)| {
        let next = range_on(wire, *known, grid, statistics)?;
        Some(Range { low: all.low.min(next.low), high: all.high.max(next.high) })
    })
}

/// Of the data on one wire: what the graph fixes, else what the observer chooses of what was seen, within the
/// bounds that the graph tells of.
fn range_on(wire: &Wire, known: KnownRange, grid: StaticGrid, statistics: &Statistics) -> Option<Range> {
    if let (KnownRange::Fixed { low, high }, true) = (known, grid.uses_bounds) {
        return Some(Range { low, high });
    }
    let target = Integer {
        bits: grid.bits,
        symmetry: if grid.symmetric { Symmetry::Restricted } else { Symmetry::Asymmetric },
        granularity: Granularity::Tensor,
        scales: ScaleType::F32,
    };
    let chosen = grid.observer.of_data(&statistics.wire(wire)?.values, &target)?;
    match known {
        KnownRange::Within { low, high } if grid.uses_bounds && !grid.symmetric => Some(chosen.within(Range { low, high })),
        _ => Some(chosen),
    }
}
