//! Rounds the data that layers read: nodes between a wire and the layers behind it.
//! Sources: the ONNX specifications of `QuantizeLinear`, `DequantizeLinear` and `DynamicQuantizeLinear`.

use super::lower::{LoweredLayer, Names};
use super::{Attribute, GraphError, Model, Node, Patch, Wire};
use crate::engine::tensor::{DType, Tensor};
use std::sync::Arc;

/// How the data on a wire is rounded before a layer reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum RoundedInput {
    /// One scale and one zero point, known beforehand.
    Static {
        scale: f32,
        zero_point: i64,
        /// The integer type of the codes: signed or unsigned, 4, 8 or 16 bits.
        dtype: DType,
        /// Where the range came from. Layers that read the same wire by the same rule share the nodes.
        rule: Arc<str>,
    },
    /// `DynamicQuantizeLinear`: unsigned bytes over the range of each batch.
    Dynamic,
    /// Any other grid whose range is found while the model runs. ONNX has no operator for it: it is
    /// spelled out in elementary ones, and the codes stay in floats.
    DynamicGrid {
        bits: u8,
        symmetric: bool,
        /// One range for each place along all axes but the last (each token), not one for all.
        rows: bool,
    },
}

impl RoundedInput {
    /// The operator set that the nodes need.
    pub(super) fn opset(&self) -> i64 {
        match self {
            Self::Static { dtype: DType::U8 | DType::I8, .. } => 10,
            Self::Static { .. } => 21,
            Self::Dynamic | Self::DynamicGrid { .. } => 11,
        }
    }
}

/// The nodes of each wire and rule come once, shared by the layers that read it so.
pub(super) fn round_inputs(
    patch: &mut Patch,
    names: &mut Names,
    model: &Model,
    layers: &[LoweredLayer],
) -> Result<(), GraphError> {
    let mut made: Vec<(&Wire, &RoundedInput, Wire)> = Vec::new();
    for layer in layers {
        let Some(rounded) = &layer.rounded else { continue };
        let known = made.iter().find(|(wire, how, _)| **wire == layer.input && *how == rounded);
        let out = match known {
            Some((.., out)) => out.clone(),
            None => {
                let out = round_wire(patch, names, model.opset(), &layer.input, rounded)?;
                made.push((&layer.input, rounded, out.clone()));
                out
            }
        };
        // A weight that several nodes share is one layer; those that read the same data read it rounded.
        let same = |n: &&Node| n.input(1) == Some(&layer.weight) && n.input(0) == Some(&layer.input);
        let product = |n: &&Node| matches!(n.op.as_str(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul");
        for node in model.nodes.iter().filter(same).filter(product) {
            patch.set_input(node.id, 0, Some(out.clone()));
        }
    }
    Ok(())
}

fn round_wire(
    patch: &mut Patch,
    names: &mut Names,
    opset: i64,
    input: &Wire,
    rounded: &RoundedInput,
) -> Result<Wire, GraphError> {
    let fail = |e: &dyn std::fmt::Display| GraphError::Patch { label: format!("round \"{input}\""), reason: e.to_string() };
    match rounded {
        RoundedInput::Static { scale, zero_point, dtype, .. } => {
            let [q, out] = ["quantized", "rounded"].map(|s| names.fresh(format!("{input}_{s}")));
            let [s, z] = ["scale", "zero_point"].map(|s| names.fresh(format!("{input}_{s}")));
            patch.set_constant(s.clone(), Tensor::scalar_f32(*scale));
            let zero_point = Tensor::from_integers(*dtype, Vec::new(), &[*zero_point]).map_err(|e| fail(&e))?;
            patch.set_constant(z.clone(), zero_point);
            let parameters = [Some(s), Some(z)];
            let inputs = |first: &Wire| std::iter::once(Some(first.clone())).chain(parameters.clone()).collect();
            patch.add_node(format!("{input}_quantize"), "QuantizeLinear", inputs(input), vec![q.clone()], []);
            patch.add_node(format!("{input}_dequantize"), "DequantizeLinear", inputs(&q), vec![out.clone()], []);
            Ok(out)
        }
        RoundedInput::Dynamic => {
            let [q, s, z, out] = ["dynamic", "dynamic_scale", "dynamic_zero_point", "dynamic_rounded"]
                .map(|s| names.fresh(format!("{input}_{s}")));
            let outputs = vec![q.clone(), s.clone(), z.clone()];
            let name = format!("{input}_dynamic_quantize");
            patch.add_node(name, "DynamicQuantizeLinear", vec![Some(input.clone())], outputs, []);
            let inputs = vec![Some(q), Some(s), Some(z)];
            patch.add_node(format!("{input}_dynamic_dequantize"), "DequantizeLinear", inputs, vec![out.clone()], []);
            Ok(out)
        }
        RoundedInput::DynamicGrid { bits, symmetric, rows } => {
            let mut steps = Steps { patch, names, opset, input, rows: *rows };
            steps.round(*bits, *symmetric).map_err(|e| fail(&e))
        }
    }
}

type Built = Result<Wire, crate::engine::tensor::TensorError>;

/// Writes a dynamic grid as elementary nodes.
struct Steps<'a, 'b> {
    patch: &'a mut Patch,
    names: &'a mut Names,
    opset: i64,
    input: &'b Wire,
    rows: bool,
}

impl Steps<'_, '_> {
    fn name(&self, what: &str) -> String {
        format!("{}_{}{what}", self.input, if self.rows { "row_" } else { "dynamic_" })
    }

    fn node(&mut self, what: &str, op: &str, inputs: &[&Wire]) -> Wire {
        let out = self.names.fresh(self.name(what));
        let inputs = inputs.iter().map(|w| Some((*w).clone())).collect();
        self.patch.add_node(out.to_string(), op, inputs, vec![out.clone()], []);
        out
    }

    fn constant(&mut self, what: &str, value: f32) -> Wire {
        let wire = self.names.fresh(self.name(what));
        self.patch.set_constant(wire.clone(), Tensor::scalar_f32(value));
        wire
    }

    /// Over each row, or over everything. Set 18 made an input of the axes.
    fn reduce(&mut self, what: &str, op: &str, of: &Wire) -> Built {
        let out = self.names.fresh(self.name(what));
        let mut inputs = vec![Some(of.clone())];
        let mut attributes = vec![("keepdims", Attribute::Int(i64::from(self.rows)))];
        match (self.rows, self.opset) {
            (true, 18..) => {
                let axes = self.names.fresh(self.name(&format!("{what}_axes")));
                self.patch.set_constant(axes.clone(), Tensor::from_i64(vec![1], &[-1])?);
                inputs.push(Some(axes));
            }
            (true, _) => attributes.push(("axes", Attribute::Ints(vec![-1]))),
            (false, _) => {}
        }
        self.patch.add_node(out.to_string(), op, inputs, vec![out.clone()], attributes);
        Ok(out)
    }

    /// A step of the grid, never zero.
    fn scale(&mut self, width: &Wire, steps: i32) -> Wire {
        let steps = self.constant("steps", steps as f32);
        let step = self.node("step", "Div", &[width, &steps]);
        let least = self.constant("least", f32::MIN_POSITIVE);
        self.node("scale", "Max", &[&step, &least])
    }

    /// x → round(x/s)·s, at most 2^bits levels, zero among them.
    fn round(&mut self, bits: u8, symmetric: bool) -> Built {
        let x = self.input;
        if symmetric {
            let magnitudes = self.node("magnitudes", "Abs", &[x]);
            let absmax = self.reduce("absmax", "ReduceMax", &magnitudes)?;
            let scale = self.scale(&absmax, (1 << (bits - 1)) - 1);
            let steps = self.node("quotients", "Div", &[x, &scale]);
            let codes = self.node("codes", "Round", &[&steps]);
            return Ok(self.node("rounded", "Mul", &[&codes, &scale]));
        }
        let zero = self.constant("zero", 0.0);
        let (low, high) = (self.reduce("lowest", "ReduceMin", x)?, self.reduce("highest", "ReduceMax", x)?);
        let (low, high) = (self.node("low", "Min", &[&low, &zero]), self.node("high", "Max", &[&high, &zero]));
        let width = self.node("width", "Sub", &[&high, &low]);
        let top = (1 << bits) - 1;
        let scale = self.scale(&width, top);
        // Codes are counted from zero, so that zero stays exact; the lowest is that of `low`.
        let bottom = self.node("bottom_quotient", "Div", &[&low, &scale]);
        let bottom = self.node("bottom", "Round", &[&bottom]);
        let top = self.constant("levels", top as f32);
        let top = self.node("top", "Add", &[&bottom, &top]);
        let steps = self.node("quotients", "Div", &[x, &scale]);
        let codes = self.node("all_codes", "Round", &[&steps]);
        let codes = self.node("codes", "Min", &[&codes, &top]);
        Ok(self.node("rounded", "Mul", &[&codes, &scale]))
    }
}
