//! The nodes between a stored weight and the layer that reads it.

use super::{LoweredLayer, Names};
use crate::engine::graph::stored::{Book, ScaleLayout, Scales, StoredWeight};
use crate::engine::graph::{Attribute, GraphError, Patch, Wire};
use crate::engine::tensor::{DType, Tensor, TensorError};

pub(super) fn store(patch: &mut Patch, names: &mut Names, layer: &LoweredLayer, stored: &StoredWeight) -> Result<(), GraphError> {
    let name = &layer.weight;
    let fail = |e: TensorError| GraphError::Patch { label: format!("store \"{name}\""), reason: e.to_string() };
    let mut to = Writer { patch, names, layer };
    match stored {
        StoredWeight::Float32(tensor) => to.patch.set_constant(name.clone(), tensor.clone()),
        StoredWeight::Half(tensor) => {
            let half = to.constant(if tensor.dtype() == DType::BF16 { "bf16" } else { "fp16" }, tensor);
            to.chain(Some(half), vec![Step::cast("cast", "cast", DType::F32)]);
        }
        StoredWeight::Scaled { codes, scales, zero_points, layout } => {
            let q = to.constant("quantized", codes);
            let s = to.scales(scales);
            let z = zero_points.as_ref().map(|z| to.constant("zero_point", z));
            let (attributes, turned) = match *layout {
                ScaleLayout::Tensor => (Vec::new(), Vec::new()),
                ScaleLayout::Axis(axis) => (vec![("axis", Attribute::Int(axis as i64))], Vec::new()),
                ScaleLayout::Blocked { size } => (blocks(1, size), to.turn(codes.shape()).map_err(fail)?),
            };
            let after = std::iter::once(s).chain(z).collect();
            let dequantize = Step { after, attributes, ..Step::new("dequantize", "DequantizeLinear", "flat") };
            to.chain(Some(q), std::iter::once(dequantize).chain(turned).collect());
        }
        StoredWeight::Book(book) => to.book(book).map_err(fail)?,
        StoredWeight::Blocks(tensor) => {
            let turned = to.turn(tensor.shape()).map_err(fail)?;
            if turned.is_empty() {
                to.patch.set_constant(name.clone(), tensor.clone());
            } else {
                let blocks = to.constant("blocks", tensor);
                to.chain(Some(blocks), turned);
            }
        }
    }
    Ok(())
}

fn blocks(axis: i64, size: usize) -> Vec<(&'static str, Attribute)> {
    vec![("axis", Attribute::Int(axis)), ("block_size", Attribute::Int(size as i64))]
}

/// A node that takes what the one before it gives.
struct Step {
    /// What follows the weight's name in the node's.
    node: &'static str,
    op: &'static str,
    /// What follows the weight's name in that of what it gives, where that is not the weight.
    out: &'static str,
    before: Vec<Wire>,
    after: Vec<Wire>,
    attributes: Vec<(&'static str, Attribute)>,
}

impl Step {
    fn new(node: &'static str, op: &'static str, out: &'static str) -> Self {
        Self { node, op, out, before: Vec::new(), after: Vec::new(), attributes: Vec::new() }
    }

    fn cast(node: &'static str, out: &'static str, to: DType) -> Self {
        Self { attributes: vec![("to", Attribute::Int(i64::from(to.onnx_code())))], ..Self::new(node, "Cast", out) }
    }
}

struct Writer<'a> {
    patch: &'a mut Patch,
    names: &'a mut Names,
    layer: &'a LoweredLayer,
}

impl Writer<'_> {
    fn constant(&mut self, what: &str, tensor: &Tensor) -> Wire {
        let wire = self.names.fresh(format!("{}_{what}", self.layer.weight));
        self.patch.set_constant(wire.clone(), tensor.clone());
        wire
    }

    fn ints(&mut self, what: &str, values: &[i64]) -> Result<Wire, TensorError> {
        Ok(self.constant(what, &Tensor::from_i64(vec![values.len()], values)?))
    }

    fn dims(&mut self, what: &str, dims: &[usize]) -> Result<Wire, TensorError> {
        self.ints(what, &dims.iter().map(|d| *d as i64).collect::<Vec<_>>())
    }

    /// Adds nodes, one after the other; the last one gives the weight.
    fn chain(&mut self, start: Option<Wire>, steps: Vec<Step>) {
        let mut now = start;
        let last = steps.len().saturating_sub(1);
        for (i, step) in steps.into_iter().enumerate() {
            let out = if i == last { Some(self.layer.weight.clone()) } else { None };
            now = Some(self.node(now, step, out));
        }
    }

    /// Adds a node that gives `out`, or a wire of its own.
    fn node(&mut self, now: Option<Wire>, step: Step, out: Option<Wire>) -> Wire {
        let name = &self.layer.weight;
        let out = out.unwrap_or_else(|| self.names.fresh(format!("{name}_{}", step.out)));
        let inputs = step.before.into_iter().chain(now).chain(step.after).map(Some).collect();
        self.patch.add_node(format!("{name}_{}", step.node), step.op, inputs, vec![out.clone()], step.attributes);
        out
    }

    /// The wire of scales in f32.
    fn scales(&mut self, scales: &Scales) -> Wire {
        match scales {
            Scales::Plain(values) => {
                let stored = self.constant("scale", values);
                self.floats(stored, values.dtype())
            }
            Scales::Product { values, by } => {
                let stored = self.constant("scale", values);
                let (floats, by) = (self.floats(stored, values.dtype()), self.constant("scale_of_scales", by));
                self.node(Some(floats), Step { after: vec![by], ..Step::new("multiply_scales", "Mul", "scale_f32") }, None)
            }
            Scales::Affine { codes, steps, mean, size } => {
                let codes = self.constant("scale", codes);
                let (steps, mean) = (self.constant("scale_of_scales", steps), self.constant("scale_mean", mean));
                let dequantize = Step {
                    after: vec![steps],
                    attributes: blocks(0, *size),
                    ..Step::new("dequantize_scales", "DequantizeLinear", "scale_less_mean")
                };
                let parts = self.node(Some(codes), dequantize, None);
                let add = Step { after: vec![mean], ..Step::new("add_mean", "Add", "scale_signed") };
                let signed = self.node(Some(parts), add, None);
                self.node(Some(signed), Step::new("cut_scales", "Relu", "scale_f32"), None)
            }
        }
    }

    fn floats(&mut self, wire: Wire, dtype: DType) -> Wire {
        if dtype == DType::F32 {
            return wire;
        }
        self.node(Some(wire), Step::cast("cast_scales", "scale_cast", DType::F32), None)
    }

    fn book(&mut self, book: &Book) -> Result<(), TensorError> {
        let codes = self.constant("codes", &book.codes);
        let mut steps = vec![Step::cast("cast", "indices", DType::I32)];
        if let Some(offsets) = &book.offsets {
            let offsets = self.constant("offsets", offsets);
            steps.push(Step { after: vec![offsets], ..Step::new("choose_codebook", "Add", "places") });
        }
        let entries = self.constant("codebook", &book.entries);
        steps.push(Step { before: vec![entries], ..Step::new("look_up", "Gather", "values") });
        if let Some(scales) = &book.scales {
            let scales = self.scales(scales);
            steps.push(Step { after: vec![scales], ..Step::new("scale_up", "Mul", "scaled") });
        }
        if let Some((count, length)) = book.lines {
            let width = book.entries.shape().get(1).copied().unwrap_or(1);
            let held = (book.codes.len() * width).checked_div(count).unwrap_or(0);
            if held > length {
                let lines = self.dims("lines", &[count, held])?;
                steps.push(Step { after: vec![lines], ..Step::new("line_up", "Reshape", "padded") });
                let bounds = [("cut_from", 0), ("cut_to", length as i64), ("cut_axis", 1)];
                let after = bounds.iter().map(|(what, at)| self.ints(what, &[*at])).collect::<Result<_, _>>()?;
                steps.push(Step { after, ..Step::new("cut", "Slice", "lines_cut") });
            }
            steps.extend(self.turn(&[])?);
        }
        self.chain(Some(codes), steps);
        Ok(())
    }

    /// Steps from values in the order of rows, whose shape is `from`, to what the layer reads.
    fn turn(&mut self, from: &[usize]) -> Result<Vec<Step>, TensorError> {
        let (shape, axis) = (self.layer.shape.clone(), self.layer.out_axis);
        // A square weight looks the same both ways: the axis decides, not the shape.
        if axis == 0 || axis >= shape.len() {
            if from == shape {
                return Ok(Vec::new());
            }
            let to = self.dims("shape", &shape)?;
            return Ok(vec![Step { after: vec![to], ..Step::new("reshape", "Reshape", "reshaped") }]);
        }
        let rest = || (0..shape.len()).filter(|i| *i != axis);
        let rows_first: Vec<usize> = std::iter::once(axis).chain(rest()).filter_map(|i| shape.get(i).copied()).collect();
        let mut steps = Vec::new();
        if from != rows_first {
            let to = self.dims("shape", &rows_first)?;
            steps.push(Step { after: vec![to], ..Step::new("reshape", "Reshape", "reshaped") });
        }
        // Where each axis of the weight lies when rows come first.
        let perm = (0..shape.len()).map(|i| if i == axis { 0 } else { i as i64 + i64::from(i < axis) }).collect();
        let attributes = vec![("perm", Attribute::Ints(perm))];
        steps.push(Step { attributes, ..Step::new("transpose", "Transpose", "transposed") });
        Ok(steps)
    }
}
