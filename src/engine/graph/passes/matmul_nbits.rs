//! Products with weights in blocks of 4 or 8 bits as `MatMulNBits` of ONNX Runtime, which computes on the codes.
//! Source: ONNX Runtime's `docs/ContribOperators.md`, com.microsoft.MatMulNBits.

use crate::engine::graph::lower::Names;
use crate::engine::graph::{Attribute, GraphError, Model, Node, Wire, consumers};
use crate::engine::tensor::{DType, Tensor, TensorError};
use std::collections::{BTreeMap, BTreeSet};

const DOMAIN: &str = "com.microsoft";
/// What the kernel computes in, at least: 1 stands for float32. Other kernels round the data too.
const ACCURACY_LEVEL: i64 = 1;
/// The operator knows blocks of powers of two from here on.
const LEAST_BLOCK: usize = 16;

/// `model`, with every product that `MatMulNBits` can do done by it: weights of 4 or 8 bits, stored as rows of outputs in
/// blocks with one float32 scale each, which `MatMul` and `Gemm` alone read. The rest stays.
///
/// # Errors
/// When sizes overflow, or the result is no valid graph.
pub fn matmul_nbits(model: &Model) -> Result<Model, GraphError> {
    let mut out = model.clone();
    let mut names = Names::of(model);
    let readers = consumers(model);
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    let mut sums: Vec<Node> = Vec::new();
    for (at, node) in model.nodes.iter().enumerate() {
        let Some(found) = Found::at(model, at, node, &readers) else { continue };
        let packed = found.pack().map_err(|e| GraphError::Patch {
            label: format!("store \"{}\" for MatMulNBits", found.weight),
            reason: e.to_string(),
        })?;
        let inputs = packed.into_iter().map(|(what, tensor)| {
            let wire = names.fresh(format!("{}_{what}", found.weight));
            out.constants.insert(wire.clone(), tensor);
            Some(wire)
        });
        let inputs: Vec<Option<Wire>> = inputs.collect();
        for &reader in &found.readers {
            let Some(product) = out.nodes.get_mut(reader) else { continue };
            sums.extend(found.replace(product, &inputs, &mut names));
        }
        gone.extend(&found.makers);
    }
    if gone.is_empty() {
        return Ok(out);
    }
    let first = out.next_id().0;
    let mut kept = 0..;
    out.nodes.retain(|_| kept.next().is_some_and(|at| !gone.contains(&at)));
    for (i, mut sum) in sums.into_iter().enumerate() {
        sum.id.0 = first + i;
        out.nodes.push(sum);
    }
    out.opsets.insert(DOMAIN.to_owned(), 1);
    out.validate()?;
    out.drop_unread_constants();
    Ok(out)
}

/// A weight that the operator can hold.
struct Found<'a> {
    weight: &'a Wire,
    codes: &'a Tensor,
    scales: &'a Tensor,
    zero_points: Option<&'a Tensor>,
    /// Outputs, inputs, weights of a block, bits of a code.
    n: usize,
    k: usize,
    size: usize,
    bits: usize,
    /// Places of the nodes that make the weight, and of the products that read it.
    makers: Vec<usize>,
    readers: Vec<usize>,
}

impl<'a> Found<'a> {
    fn at(model: &'a Model, at: usize, node: &'a Node, readers: &BTreeMap<Wire, Vec<usize>>) -> Option<Self> {
        let constant = |index: usize| node.input(index).map(|wire| model.constants.get(wire));
        let (codes, scales) = (constant(0)??, constant(1)??);
        let zero_points = match constant(2) {
            Some(found) => Some(found?),
            None => None,
        };
        let (&[n, k], size) = (codes.shape(), usize::try_from(node.int("block_size")?).ok()?) else { return None };
        let bits = match codes.dtype() {
            DType::I4 | DType::U4 => 4,
            DType::I8 | DType::U8 => 8,
            _ => return None,
        };
        let blocks = size.is_power_of_two() && size >= LEAST_BLOCK && scales.shape() == [n, k.div_ceil(size)];
        let signed = matches!(codes.dtype(), DType::I4 | DType::I8);
        // Codes with a sign are counted from the lowest: with zero points of their own they are left alone.
        let plain = zero_points.is_none_or(|z| !signed && z.dtype() == codes.dtype() && z.shape() == scales.shape());
        let is_linear = node.op == "DequantizeLinear" && node.domain.is_empty() && node.int("axis") == Some(1);
        if !is_linear || !blocks || !plain || scales.dtype() != DType::F32 || (!signed && zero_points.is_none()) {
            return None;
        }
        let rows = node.output(0)?;
        let (weight, makers, across) = match readers.get(rows).map(Vec::as_slice) {
            Some(&[turn]) if is_turned(model.nodes.get(turn)?) => (model.nodes.get(turn)?.output(0)?, vec![at, turn], true),
            _ => (rows, vec![at], false),
        };
        let readers = readers.get(weight)?.clone();
        let is_output = |wire: &Wire| model.outputs.iter().any(|p| p.wire == *wire);
        let fits = |&reader: &usize| model.nodes.get(reader).is_some_and(|n| multiplies(model, n, weight, across));
        let fits = !is_output(weight) && !is_output(rows) && readers.iter().all(fits);
        fits.then_some(Self { weight, codes, scales, zero_points, n, k, size, bits, makers, readers })
    }

    /// The operator's inputs behind the data: what each is called, and its values.
    fn pack(&self) -> Result<Vec<(&'static str, Tensor)>, TensorError> {
        let (blocks, blob) = (self.k.div_ceil(self.size), self.size * self.bits / 8);
        let codes = self.rows(self.codes, self.k, vec![self.n, blocks, blob])?;
        let mut all = vec![("nbits", codes), ("nbits_scale", self.scales.clone())];
        if let Some(zeros) = self.zero_points {
            let zeros = self.rows(zeros, blocks, vec![self.n, (blocks * self.bits).div_ceil(8)])?;
            all.push(("nbits_zero_point", zeros));
        }
        Ok(all)
    }

    /// Rows of `count` codes each as bytes of `shape`, the first code in the low bits, filled up with zeros.
    fn rows(&self, from: &Tensor, count: usize, shape: Vec<usize>) -> Result<Tensor, TensorError> {
        if !from.has_values() {
            return Tensor::zeros(DType::U8, shape);
        }
        // Codes with a sign are counted from the lowest; the operator takes the middle for zero.
        let lift = if matches!(from.dtype(), DType::I4 | DType::I8) { 1_u8 << (self.bits - 1) } else { 0 };
        let (per_byte, mask) = (8 / self.bits, u8::MAX >> (8 - self.bits));
        let width: usize = shape.iter().skip(1).product();
        let bytes = from.bytes();
        let code = |index: usize| {
            let byte = bytes.get(index / per_byte).copied().unwrap_or_default();
            (byte >> (index % per_byte * self.bits) & mask) ^ lift
        };
        let mut packed = Vec::with_capacity(self.n * width);
        for row in 0..self.n {
            let start = packed.len();
            packed.extend((0..count.div_ceil(per_byte)).map(|byte| {
                let places = (0..per_byte).filter(|place| byte * per_byte + place < count);
                places.fold(0, |all, place| all | code(row * count + byte * per_byte + place) << (place * self.bits))
            }));
            packed.resize(start + width, 0);
        }
        Tensor::from_bytes(DType::U8, shape, packed)
    }

    /// Makes a product one of the operator's; what it adds becomes a node of its own.
    fn replace(&self, node: &mut Node, weight: &[Option<Wire>], names: &mut Names) -> Option<Node> {
        let bias = if node.op == "Gemm" { node.input(2).cloned() } else { None };
        let ints = [
            ("K", self.k as i64),
            ("N", self.n as i64),
            ("bits", self.bits as i64),
            ("block_size", self.size as i64),
            ("accuracy_level", ACCURACY_LEVEL),
        ];
        node.attributes = ints.map(|(name, value)| (name.to_owned(), Attribute::Int(value))).into();
        node.op = "MatMulNBits".to_owned();
        node.domain = DOMAIN.to_owned();
        node.inputs.truncate(1);
        node.inputs.extend(weight.iter().cloned());
        let bias = bias?;
        let given = node.output(0)?.clone();
        let product = names.fresh(format!("{given}_product"));
        node.outputs = vec![Some(product.clone())];
        Some(Node {
            id: node.id,
            name: format!("{}_add_bias", node.label()),
            op: "Add".to_owned(),
            domain: String::new(),
            inputs: vec![Some(product), Some(bias)],
            outputs: vec![Some(given)],
            attributes: BTreeMap::new(),
        })
    }
}

fn is_turned(node: &Node) -> bool {
    matches!(node.attributes.get("perm"), Some(Attribute::Ints(perm)) if node.op == "Transpose" && *perm == [1, 0])
}

/// Whether a node is a product with `weight` on its right, whose rows are outputs (inputs, where it lies `across`).
fn multiplies(model: &Model, node: &Node, weight: &Wire, across: bool) -> bool {
    let once = node.inputs.iter().flatten().filter(|w| *w == weight).count() == 1 && node.input(1) == Some(weight);
    let is_one = |name: &str| node.float(name).is_none_or(|v| v == 1.0);
    let rank = || Some(model.facts.get(node.input(0)?)?.shape.as_ref()?.len());
    once && node.domain.is_empty()
        && match node.op.as_str() {
            "MatMul" => across && rank().is_some_and(|rank| rank >= 2),
            "Gemm" => {
                let turned = node.int("transB").unwrap_or(0) != 0;
                turned != across && node.int("transA").unwrap_or(0) == 0 && is_one("alpha") && is_one("beta")
            }
            _ => false,
        }
}
