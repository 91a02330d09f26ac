//! What a plan costs to store and to run: bytes to the last one, operations by count, energy and time by model.

mod machine;
mod roofline;

pub use machine::{Machine, calibrate};
pub use roofline::{Check, check};

use crate::engine::graph::{Fact, Layer, Model, Wire};
use crate::pipeline::configure::{Activations, Granularity, LayerPlan, Plan, Scheme, Sharing, Sparsity};
use crate::pipeline::load::Subject;
use serde::{Deserialize, Serialize};

/// How a layer computes once it is compressed, in this program's engine and in most runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    Float,
    /// 8-bit products, 32-bit sums.
    Integer,
}

/// What one layer costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerCost {
    pub name: String,
    /// Of the weight in the file, and of what stands beside it.
    pub bytes: u64,
    /// Multiply-accumulates for one sample, those of thin matrices beside the layer too; `None` where shapes are not
    /// known.
    pub macs: Option<u64>,
    /// Bit operations for one sample: multiply-accumulates times bits of a weight times bits of a datum (32 for
    /// floats). Of pruned weights only those that are left count, which no dense kernel makes use of.
    pub bops: Option<u64>,
    /// Energy for one sample in the units of the table, picojoules of a 45 nm chip: only ratios mean something.
    pub energy: Option<f64>,
    pub kernel: Kernel,
    /// Milliseconds for one sample, as the roofline of this machine has it.
    pub milliseconds: Option<f64>,
    /// Why the format will not be faster than floats, if so.
    pub slow: Option<String>,
}

/// What a plan costs. Sums are `None` where a layer's part is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub recipe: String,
    /// Exact size of the file.
    pub bytes: u64,
    pub macs: Option<u64>,
    pub bops: Option<u64>,
    /// Energy against the original in floats, by Horowitz's table (ISSCC 2014, 45 nm, 0.9 V): an estimate of the
    /// ratio, not of this machine's consumption.
    pub energy_ratio: Option<f64>,
    pub milliseconds: Option<f64>,
    pub layers: Vec<LayerCost>,
}

/// Energies in pJ at 45 nm, 0.9 V (Horowitz, "Computing's energy problem", ISSCC 2014): multiplications and additions
/// of floats and integers, a byte of off-chip memory (640 pJ for 32 bits) and of on-chip memory (5 pJ for 32 bits).
mod table {
    pub const MULTIPLY_F32: f64 = 3.7;
    pub const ADD_F32: f64 = 0.9;
    pub const MULTIPLY_I8: f64 = 0.2;
    pub const ADD_I32: f64 = 0.1;
    pub const DRAM_BYTE: f64 = 160.0;
    pub const SRAM_BYTE: f64 = 1.25;
}

/// The cost of a plan; times only where the machine has been measured.
#[must_use]
pub fn cost(plan: &Plan, subject: &Subject, machine: Option<&Machine>) -> Cost {
    let layers: Vec<LayerCost> = plan.layers.iter().map(|l| layer_cost(l, &subject.folded, machine)).collect();
    let original: Option<f64> = plan.layers.iter().map(|l| energy(l, &subject.folded, &Priced::original(l))).sum();
    let total: Option<f64> = layers.iter().map(|l| l.energy).sum();
    let beside = machine.map(|m| roofline::beside_layers(subject, m));
    Cost {
        recipe: plan.recipe.clone(),
        bytes: plan.bytes,
        macs: layers.iter().map(|l| l.macs).sum(),
        bops: layers.iter().map(|l| l.bops).sum(),
        energy_ratio: original.zip(total).filter(|(o, _)| *o > 0.0).map(|(o, t)| t / o),
        milliseconds: beside.and_then(|rest| Some(layers.iter().map(|l| l.milliseconds).sum::<Option<f64>>()? + rest)),
        layers,
    }
}

/// What energy depends on.
struct Priced {
    kernel: Kernel,
    weight_bits: f64,
    data_bits: f64,
    weight_bytes: f64,
    density: f64,
    /// Whether what stands beside the layer counts.
    is_planned: bool,
}

impl Priced {
    fn original(plan: &LayerPlan) -> Self {
        Self {
            kernel: Kernel::Float,
            weight_bits: 32.0,
            data_bits: 32.0,
            weight_bytes: plan.original_bytes as f64,
            density: 1.0,
            is_planned: false,
        }
    }

    fn planned(plan: &LayerPlan) -> Self {
        Self {
            kernel: kernel(plan),
            weight_bits: f64::from(plan.treatment.weights.bits()),
            data_bits: f64::from(plan.treatment.activations.bits()),
            weight_bytes: plan.bytes as f64,
            density: plan.treatment.sparsity.density(),
            is_planned: true,
        }
    }
}

fn layer_cost(plan: &LayerPlan, model: &Model, machine: Option<&Machine>) -> LayerCost {
    let priced = Priced::planned(plan);
    let macs = if plan.is_left_out { Some((0, 0)) } else { plan.layer.macs.map(|own| (own, beside(plan, own))) };
    let bops = |(own, beside): (u64, u64)| {
        let own = own as f64 * priced.weight_bits * priced.data_bits * priced.density;
        (own + beside as f64 * BESIDE_BITS).round() as u64
    };
    LayerCost {
        name: plan.layer.name.clone(),
        bytes: plan.bytes,
        macs: macs.map(|(own, beside)| own + beside),
        bops: macs.map(bops),
        energy: if plan.is_left_out { Some(0.0) } else { energy(plan, model, &priced) },
        kernel: priced.kernel,
        milliseconds: machine
            .and_then(|m| if plan.is_left_out { Some(0.0) } else { roofline::milliseconds(plan, model, priced.kernel, m) }),
        slow: slow(plan),
    }
}

/// Bits of a weight times bits of a datum in the thin matrices beside a layer: f16 and floats.
const BESIDE_BITS: f64 = 16.0 * 32.0;

/// Multiply-accumulates of the thin matrices beside a layer that does `own` itself: as many for each of their weights.
fn beside(plan: &LayerPlan, own: u64) -> u64 {
    let weights = plan.layer.parameters() as u64;
    // Two bytes each.
    let thin = plan.beside_bytes() / 2;
    if weights == 0 { 0 } else { (u128::from(own) * u128::from(thin) / u128::from(weights)) as u64 }
}

/// Values on a wire for one sample; `None` where its shape is not known.
#[must_use]
pub fn values(model: &Model, wire: &Wire) -> Option<f64> {
    let fact: &Fact = model.facts.get(wire).or_else(|| Some(&model.inputs.iter().find(|p| p.wire == *wire)?.fact))?;
    let dims = fact.shape.as_ref()?.iter().enumerate();
    dims.map(|(i, d)| if i == 0 { Some(1.0) } else { d.known().map(|n| n as f64) }).product()
}

/// Σ over multiply-accumulates, what is read of weights from far and of data from near. A multiplication of integers
/// grows with the product of the widths.
fn energy(plan: &LayerPlan, model: &Model, priced: &Priced) -> Option<f64> {
    let layer: &Layer = &plan.layer;
    let each = match priced.kernel {
        Kernel::Float => table::MULTIPLY_F32 + table::ADD_F32,
        Kernel::Integer => table::MULTIPLY_I8 * priced.weight_bits * priced.data_bits / 64.0 + table::ADD_I32,
    };
    let (input, output) = (values(model, &layer.input)?, values(model, &layer.output)?);
    let (own, data) = (layer.macs?, input * priced.data_bits / 8.0 + output * 4.0);
    let beside = if priced.is_planned { beside(plan, own) } else { 0 };
    // Beside it floats are read and written once more.
    let more = if beside > 0 { (input + output) * 4.0 } else { 0.0 };
    let products = own as f64 * each * priced.density + beside as f64 * (table::MULTIPLY_F32 + table::ADD_F32);
    Some(products + priced.weight_bytes * table::DRAM_BYTE + (data + more) * table::SRAM_BYTE)
}

/// Whether 8-bit integer kernels can take the layer: data in 8 bits with one range, weights in at most 8 bits with one
/// scale for all or for each output channel.
fn kernel(plan: &LayerPlan) -> Kernel {
    let data = match plan.treatment.activations {
        Activations::Static | Activations::Dynamic => true,
        Activations::StaticWith { bits, .. } => bits == 8,
        Activations::DynamicWith { bits, symmetric, per } => bits == 8 && !symmetric && per == Sharing::Tensor,
        Activations::None => false,
    };
    let scaled = matches!(plan.treatment.weights.granularity(), Some(Granularity::Tensor | Granularity::Channel));
    if data && scaled && plan.treatment.weights.bits() <= 8 { Kernel::Integer } else { Kernel::Float }
}

/// Why a compressed layer computes no faster, in words.
fn slow(plan: &LayerPlan) -> Option<String> {
    let treatment = &plan.treatment;
    if kernel(plan) == Kernel::Integer {
        let bits = treatment.weights.bits();
        let widened = format!("{bits}-bit weights are widened to 8 bits: smaller in memory, no faster than 8 bits");
        return (bits < 8).then_some(widened);
    }
    let format = treatment.weights;
    let unpacked = "weights are unpacked to float32 before they are used: smaller in the file, no faster";
    match (format, treatment.activations) {
        (Scheme::F32, Activations::None) if treatment.sparsity != Sparsity::Dense => {
            Some("zeros among the weights take as long as other values: no dense kernel skips them".to_owned())
        }
        (Scheme::F32, Activations::None) => None,
        (Scheme::F32, activations) => Some(format!("data in {activations} with float32 weights: rounding comes on top")),
        (_, Activations::None) => Some(format!("no fast kernel for {format} with data in floats: {unpacked}")),
        (_, activations) => Some(format!("no integer kernel takes {format} with data in {activations}: {unpacked}")),
    }
}
