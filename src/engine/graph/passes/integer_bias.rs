//! Biases of layers on integers as integers: what an integer kernel adds to its sums.
//! Sources: ONNX Runtime's `quantization/base_quantizer.py` (int32 codes, scale of the data times scale of the weights,
//! no zero point), the TFLite specification of 8-bit quantization.

use crate::engine::graph::lower::Names;
use crate::engine::graph::{GraphError, Model, Node, Patch, Wire, producers};
use crate::engine::tensor::{DType, Tensor, TensorError};
use std::collections::BTreeMap;

/// `model`, with the bias of every layer that reads data and weights rounded to 8 bits with known scales as int32 codes of
/// scale `s_x · s_w`. A layer with a bias that no such code can hold keeps it: next to a channel of vanishing weights
/// the step is as small.
///
/// # Errors
/// When sizes overflow, or the result is no valid graph.
pub fn integer_bias(model: &Model) -> Result<Model, GraphError> {
    let made = producers(model);
    let mut names = Names::of(model);
    let mut patch = Patch::new("biases as integers", model);
    let mut any = false;
    for node in model.nodes.iter().filter(|n| matches!(n.op.as_str(), "Conv" | "Gemm") && n.domain.is_empty()) {
        let Some(found) = Found::of(model, node, &made) else { continue };
        let fail = |e: TensorError| GraphError::Patch { label: format!("bias \"{}\"", found.bias_name), reason: e.to_string() };
        let Some([codes, scales]) = found.quantized().map_err(fail)? else { continue };
        let [q, s, out] = ["integer", "integer_scale", "rounded"].map(|s| names.fresh(format!("{}_{s}", found.bias_name)));
        let axis = (scales.shape().len() == 1).then_some(("axis", crate::engine::graph::Attribute::Int(0)));
        patch.set_constant(q.clone(), codes);
        patch.set_constant(s.clone(), scales);
        let name = format!("{}_dequantize", found.bias_name);
        patch.add_node(name, "DequantizeLinear", vec![Some(q), Some(s)], vec![out.clone()], axis);
        patch.set_input(node.id, 2, Some(out));
        any = true;
    }
    if any { patch.apply(model) } else { Ok(model.clone()) }
}

/// A layer whose bias can become integers.
struct Found<'a> {
    bias_name: &'a Wire,
    bias: &'a Tensor,
    /// Of the data: one number.
    input_scale: &'a Tensor,
    /// One, or one per output channel.
    weight_scale: &'a Tensor,
}

impl<'a> Found<'a> {
    fn of(model: &'a Model, node: &'a Node, made: &BTreeMap<&Wire, usize>) -> Option<Self> {
        let constant = |wire: Option<&Wire>| model.constants.get(wire?);
        let dequantizer = |index: usize| {
            let from = model.nodes.get(*made.get(node.input(index)?)?)?;
            (from.op == "DequantizeLinear" && from.domain.is_empty()).then_some(from)
        };
        let is_byte = |wire: Option<&Wire>| constant(wire).is_some_and(|t| matches!(t.dtype(), DType::I8 | DType::U8));
        let (data, weight) = (dequantizer(0)?, dequantizer(1)?);
        let rounds = model.nodes.get(*made.get(data.input(0)?)?)?;
        // The zero point tells the type of the codes.
        let on_grid = rounds.op == "QuantizeLinear" && is_byte(rounds.input(2)) && rounds.input(1) == data.input(1);
        let (bias_name, bias) = (node.input(2)?, constant(node.input(2))?);
        let (input_scale, weight_scale) = (constant(data.input(1))?, constant(weight.input(1))?);
        let per_channel = weight_scale.shape() == bias.shape() && weight.int("axis").unwrap_or(1) == out_axis(node);
        let floats = [bias, input_scale, weight_scale].iter().all(|t| t.dtype() == DType::F32);
        let fits = floats && input_scale.shape().is_empty() && bias.shape().len() == 1 && weight.int("block_size").is_none();
        let is_one = |name: &str| node.float(name).is_none_or(|v| v == 1.0);
        let whole = on_grid && is_byte(weight.input(0)) && fits && is_one("alpha") && is_one("beta");
        (whole && (weight_scale.shape().is_empty() || per_channel)).then_some(Self { bias_name, bias, input_scale, weight_scale })
    }

    /// Codes and scales; `None` where a number is too large for its code.
    fn quantized(&self) -> Result<Option<[Tensor; 2]>, TensorError> {
        let (shape, dims) = (self.bias.shape().to_vec(), self.weight_scale.shape().to_vec());
        if !self.weight_scale.has_values() {
            return Ok(Some([Tensor::zeros(DType::I32, shape)?, Tensor::zeros(DType::F32, dims)?]));
        }
        let step = self.input_scale.to_f32()?.first().copied().unwrap_or(1.0);
        let scales: Vec<f32> = self.weight_scale.to_f32()?.iter().map(|s| s * step).collect();
        let mut codes = Vec::with_capacity(self.bias.len());
        for (i, value) in self.bias.to_f32()?.into_iter().enumerate() {
            let scale = scales.get(if scales.len() == 1 { 0 } else { i }).copied().unwrap_or(0.0);
            let code = (f64::from(value) / f64::from(scale)).round_ties_even();
            if code.is_nan() || code.abs() > f64::from(i32::MAX) {
                return Ok(None);
            }
            codes.push(code as i64);
        }
        Ok(Some([Tensor::from_integers(DType::I32, shape, &codes)?, Tensor::from_f32(dims, &scales)?]))
    }
}

/// Where the output channels of a layer's weight lie.
fn out_axis(node: &Node) -> i64 {
    i64::from(node.op == "Gemm" && node.int("transB").unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::{Attribute, NodeId, Port};

    /// x → 8 bits → Conv with a weight of two channels and a bias.
    fn model(bias: &[f32], scales: &[f32]) -> Model {
        let node = |id, op: &str, inputs: &[&str], output: &str, axis: Option<i64>| Node {
            id: NodeId(id),
            name: output.to_owned(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
            outputs: vec![Some(output.into())],
            attributes: axis.map(|a| ("axis".to_owned(), Attribute::Int(a))).into_iter().collect(),
        };
        let port = |wire: &str| Port { wire: wire.into(), fact: crate::engine::graph::Fact::default() };
        Model {
            nodes: vec![
                node(0, "QuantizeLinear", &["x", "xs", "xz"], "xq", None),
                node(1, "DequantizeLinear", &["xq", "xs", "xz"], "xr", None),
                node(2, "DequantizeLinear", &["wq", "ws"], "w", Some(0)),
                node(3, "Conv", &["xr", "w", "b"], "y", None),
            ],
            constants: [
                ("xs", Tensor::scalar_f32(0.5)),
                ("xz", Tensor::scalar_u8(3)),
                ("wq", Tensor::from_integers(DType::I8, vec![2, 1, 1, 1], &[1, -2]).unwrap()),
                ("ws", Tensor::from_f32(vec![2], scales).unwrap()),
                ("b", Tensor::from_f32(vec![2], bias).unwrap()),
            ]
            .map(|(name, tensor)| (Wire::from(name), tensor))
            .into(),
            inputs: vec![port("x")],
            outputs: vec![port("y")],
            opsets: [(String::new(), 13)].into(),
            ..Model::default()
        }
    }

    #[test]
    fn a_bias_counts_in_steps_of_the_sums() {
        let whole = integer_bias(&model(&[1.0, -0.3], &[0.25, 0.125])).unwrap();
        let last = whole.nodes.iter().find(|n| n.op == "Conv").unwrap();
        let rounded = last.input(2).unwrap();
        let made = whole.nodes.iter().find(|n| n.output(0) == Some(rounded)).unwrap();
        assert_eq!(made.op, "DequantizeLinear");
        let constant = |index| &whole.constants[made.input(index).unwrap()];
        // 1 / (0.5 · 0.25) and −0.3 / (0.5 · 0.125) = −4.8.
        assert_eq!((constant(0).dtype(), constant(0).to_i64().unwrap()), (DType::I32, vec![8, -5]));
        assert_eq!(constant(1).to_f32().unwrap(), [0.125, 0.0625]);
        assert!(!whole.constants.contains_key("b"));
    }

    #[test]
    fn what_no_code_can_hold_stays_a_float() {
        let kept = |model: &Model| integer_bias(model).unwrap().constants.contains_key("b");
        assert!(kept(&model(&[1.0, -0.3], &[0.25, 1e-12])));
        assert!(kept(&model(&[1.0, -0.3], &[0.25, 0.0])));
        let mut dynamic = model(&[1.0, -0.3], &[0.25, 0.125]);
        dynamic.nodes[0].op = "Identity".to_owned();
        assert!(kept(&dynamic), "no known grid");
        let mut wide = model(&[1.0, -0.3], &[0.25, 0.125]);
        wide.constants.insert("xz".into(), Tensor::from_integers(DType::U16, Vec::new(), &[3]).unwrap());
        assert!(kept(&wide), "data of 16 bits");
    }
}
