//! The product of two thin matrices beside a layer: what it gives is added to what the layer gives.

use super::{LoweredLayer, Names};
use crate::engine::graph::{Attribute, GraphError, LayerKind, Model, Node, Patch};
use crate::engine::tensor::{DType, Tensor, TensorError};

/// What makes up for a part of what a layer's stored weights lack: B·A, in f16.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// A as the layer's kind reads it: `[inputs, rank]`, of a convolution `[rank, inputs, kernel…]`.
    first: Tensor,
    /// B: `[rank, outputs]`, of a convolution `[outputs, rank, 1…]`.
    second: Tensor,
}

impl LowRank {
    /// From A [rank × weights of a row] and B [outputs × rank], row-major; without values where only sizes matter. A row has
    /// its weights in the order of a convolution's, `[inputs, kernel…]`.
    ///
    /// # Errors
    /// When sizes overflow, or values are not as many.
    pub fn of(
        kind: LayerKind,
        (shape, out_axis): (&[usize], usize),
        rank: usize,
        values: Option<(&[f32], &[f32])>,
    ) -> Result<Self, TensorError> {
        let outputs = shape.get(out_axis).copied().unwrap_or(1);
        let row = shape.iter().product::<usize>() / outputs.max(1);
        let is_window = matches!(kind, LayerKind::Conv);
        let (first, second) = if is_window {
            let kernel = shape.get(2..).unwrap_or_default();
            let first = [rank].iter().chain(shape.get(1..).unwrap_or_default()).copied().collect();
            (first, [outputs, rank].into_iter().chain(kernel.iter().map(|_| 1)).collect())
        } else {
            (vec![row, rank], vec![rank, outputs])
        };
        let turned = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
            // Convolutions have what they make first, products of matrices what they read.
            if is_window {
                return values.to_vec();
            }
            (0..rows * columns).map(|k| values.get(k % rows * columns + k / rows).copied().unwrap_or_default()).collect()
        };
        match values {
            None => Ok(Self { first: Tensor::zeros(DType::F16, first)?, second: Tensor::zeros(DType::F16, second)? }),
            Some((a, b)) => Ok(Self {
                first: Tensor::from_floats(DType::F16, first, &turned(a, rank, row))?,
                second: Tensor::from_floats(DType::F16, second, &turned(b, outputs, rank))?,
            }),
        }
    }

    /// The bytes of both.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        (self.first.size_bytes() + self.second.size_bytes()) as u64
    }

    /// The operator set that the nodes need: sums that spread no axis by attribute, casts from f16.
    pub(super) const OPSET: i64 = 9;

    /// The layer's output comes out of a sum, under the name that it had.
    pub(super) fn write(
        &self,
        patch: &mut Patch,
        names: &mut Names,
        model: &Model,
        layer: &LoweredLayer,
    ) -> Result<(), GraphError> {
        let name = &layer.weight;
        let fail = |reason: &str| GraphError::Patch { label: format!("compensate \"{name}\""), reason: reason.to_owned() };
        let own = |node: &&Node| node.input(1) == Some(name) && node.input(0) == Some(&layer.input);
        let node = model.nodes.iter().find(own).ok_or_else(|| fail("no node reads the weight"))?;
        let output = node.output(0).ok_or_else(|| fail("its node gives nothing"))?.clone();
        let mut floats = |what: &str, tensor: &Tensor| {
            let held = names.fresh(format!("{name}_{what}"));
            let wire = names.fresh(format!("{name}_{what}_f32"));
            patch.set_constant(held.clone(), tensor.clone());
            let to = [("to", Attribute::Int(i64::from(DType::F32.onnx_code())))];
            patch.add_node(format!("{name}_cast_{what}"), "Cast", vec![Some(held)], vec![wire.clone()], to);
            wire
        };
        let (first, second) = (floats("low_rank_first", &self.first), floats("low_rank_second", &self.second));
        let [narrow, made, plain] =
            ["narrow", "compensation", "uncompensated"].map(|what| names.fresh(format!("{output}_{what}")));
        let is_window = node.op == "Conv";
        let op = if is_window { "Conv" } else { "MatMul" };
        // The kernel stands where the layer's own does; the second one has a single tap.
        let kept = ["auto_pad", "dilations", "pads", "strides"].into_iter().filter(|_| is_window);
        let windows = kept.filter_map(|key| Some((key, node.attributes.get(key)?.clone())));
        let reads = vec![Some(layer.input.clone()), Some(first)];
        patch.add_node(format!("{name}_narrow"), op, reads, vec![narrow.clone()], windows);
        patch.add_node(format!("{name}_widen"), op, vec![Some(narrow), Some(second)], vec![made.clone()], []);
        patch.set_output(node.id, 0, plain.clone());
        patch.add_node(format!("{name}_compensate"), "Add", vec![Some(plain), Some(made)], vec![output], []);
        Ok(())
    }
}
