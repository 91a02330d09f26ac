use crate::engine::graph::{Layer, ScaleLayout, StoredWeight, Wire};
use crate::engine::kernels::affine::{AffineParameters, asymmetric, min_max, symmetric};
use crate::engine::tensor::{DType, Tensor, TensorError};
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::channels::Channels;
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{FloatFormat, LayerPlan, Scheme, stored_shapes};
use half::f16;

pub(in crate::pipeline::compress) struct RoundToNearest;

impl Technique for RoundToNearest {
    fn name(&self) -> &'static str {
        "round to nearest"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.weights != Scheme::F32
    }

    fn needs(&self, _plan: &LayerPlan) -> Vec<Wire> {
        Vec::new()
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, _statistics: &Statistics) -> Result<(), CompressError> {
        let fail = |source: TensorError| CompressError::Tensor { layer: plan.layer.name.clone(), source };
        match plan.treatment.weights {
            Scheme::Float(FloatFormat::F32) => {}
            Scheme::Float(FloatFormat::F16) => {
                let bytes: Vec<u8> = work.weights.iter().flat_map(|w| half(*w).to_le_bytes()).collect();
                round_to_half(&mut work.weights);
                let tensor = Tensor::from_bytes(DType::F16, plan.layer.shape.clone(), bytes).map_err(fail)?;
                work.stored = Some(StoredWeight::Float16(tensor));
            }
            scheme @ Scheme::Integer { bits, symmetric, .. } => {
                let quantized = quantize(&work.weights, &plan.layer, plan.layout, Grid { bits, symmetric });
                work.stored = Some(quantized.store(&plan.layer, plan.layout, scheme).map_err(fail)?);
                work.weights = quantized.approximate;
            }
        }
        Ok(())
    }
}

pub(in crate::pipeline::compress) fn round_to_half(weights: &mut [f32]) {
    for weight in weights {
        *weight = half(*weight).to_f32();
    }
}

/// Nearest even; what lies outside the range becomes the largest value, not infinity.
fn half(weight: f32) -> f16 {
    f16::from_f32(weight.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// Width and symmetry of an integer grid.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline::compress) struct Grid {
    pub(in crate::pipeline::compress) bits: u8,
    pub(in crate::pipeline::compress) symmetric: bool,
}

impl Grid {
    fn fit(self, values: &[f32]) -> AffineParameters {
        let (low, high) = min_max(values);
        if self.symmetric { symmetric(low.abs().max(high.abs()), self.bits) } else { asymmetric(low, high, self.bits) }
    }
}

/// Codes, the groups' parameters and what the codes stand for.
pub(in crate::pipeline::compress) struct Quantized {
    /// In the weight's own order; for groups in [out, in] order.
    codes: Vec<i64>,
    pub(in crate::pipeline::compress) groups: Vec<AffineParameters>,
    /// In the weight's own order.
    pub(in crate::pipeline::compress) approximate: Vec<f32>,
}

/// Rounds `weights` (in the order of `layer.shape`) to the grids of their groups.
pub(in crate::pipeline::compress) fn quantize(weights: &[f32], layer: &Layer, layout: ScaleLayout, grid: Grid) -> Quantized {
    if layout == ScaleLayout::Tensor {
        let parameters = grid.fit(weights);
        let codes: Vec<i64> = weights.iter().map(|w| i64::from(parameters.quantize(*w))).collect();
        let approximate = codes.iter().map(|q| parameters.dequantize(*q as i32)).collect();
        return Quantized { codes, groups: vec![parameters], approximate };
    }
    let channels = Channels::new(&layer.shape, layer.out_axis);
    let (size, flat) = match layout {
        ScaleLayout::Blocked { size } => (size, true),
        _ => (channels.row_len().max(1), false),
    };
    let mut out = Quantized { codes: vec![0; weights.len()], groups: Vec::new(), approximate: vec![0.0; weights.len()] };
    let mut row = Vec::new();
    for channel in 0..channels.count {
        channels.gather(weights, channel, &mut row);
        let mut places = channels.places(channel);
        for (block, values) in row.chunks(size).enumerate() {
            let parameters = grid.fit(values);
            out.groups.push(parameters);
            for (offset, (value, place)) in values.iter().zip(&mut places).enumerate() {
                let code = parameters.quantize(*value);
                let at = if flat { channel * row.len() + block * size + offset } else { place };
                out.codes[at] = i64::from(code);
                out.approximate[place] = parameters.dequantize(code);
            }
        }
    }
    out
}

impl Quantized {
    fn store(&self, layer: &Layer, layout: ScaleLayout, scheme: Scheme) -> Result<StoredWeight, TensorError> {
        let (code_shape, scale_shape) = stored_shapes(layer, layout);
        let scales: Vec<f32> = self.groups.iter().map(|g| g.scale).collect();
        let zero_points = match scheme {
            Scheme::Integer { symmetric: false, .. } => {
                let points: Vec<i64> = self.groups.iter().map(|g| i64::from(g.zero_point)).collect();
                Some(Tensor::from_integers(scheme.storage(), scale_shape.clone(), &points)?)
            }
            _ => None,
        };
        Ok(StoredWeight::Integer {
            codes: Tensor::from_integers(scheme.storage(), code_shape, &self.codes)?,
            scales: Tensor::from_f32(scale_shape, &scales)?,
            zero_points,
            layout,
        })
    }
}
