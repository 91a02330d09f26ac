//! Raises a model to a newer ONNX operator set: what changed its form is rewritten, what changed
//! its meaning keeps the old meaning, and what we cannot vouch for is refused by name
//! (source: the ONNX operator changelog).

use crate::engine::graph::{Attribute, Dim, GraphError, Model, Node, Wire};
use crate::engine::tensor::{DType, Tensor};

/// Operators whose newer versions only add types or optional inputs and attributes.
const UNCHANGED: &str = "
    Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool Cast Ceil Concat Constant ConstantOfShape
    Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Einsum Elu
    Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity
    InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max
    MaxPool Mean Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pow
    QuantizeLinear RNN Range Reciprocal Relu Reshape Round ScatterElements ScatterND Selu Shape
    Sigmoid Sign Sin Size Softplus Softsign SpaceToDepth Sqrt Sub Sum Tan Tanh ThresholdedRelu Tile
    Transpose Trilu Where Xor Acosh Asinh Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    BlackmanWindow CenterCropPad Col2Im Compress Cosh CumProd DeformConv Det HammingWindow HannWindow
    MaxRoiPool MelWeightMatrix ReverseSequence STFT Sinh Swish Unique
";

/// # Errors
/// Names the first node whose operator changed between the two sets in a way that we do not know.
pub fn upgrade_opset(model: &Model, target: i64) -> Result<Model, GraphError> {
    let mut out = model.clone();
    let from = model.opset();
    if from >= target {
        return Ok(out);
    }
    for index in 0..out.nodes.len() {
        let mut node = out.nodes[index].clone();
        if node.domain.is_empty() || node.domain == "ai.onnx" {
            let mut added = Vec::new();
            rewrite(&out, &mut node, from, target, &mut added).map_err(|reason| GraphError::Patch {
                label: format!("raise the operator set from {from} to {target}"),
                reason: format!("node \"{}\" ({}): {reason}; choose {}", node.label(), node.op, instead(target)),
            })?;
            out.constants.extend(added);
            out.nodes[index] = node;
        }
    }
    out.opsets.remove("ai.onnx");
    out.opsets.insert(String::new(), target);
    Ok(out)
}

/// Schemes that ask for an older operator set than `target`.
fn instead(target: i64) -> &'static str {
    match target {
        14.. => "8 bits, per channel or per tensor",
        11..=13 => "8 bits per tensor with static activations, or fp16",
        _ => "fp16, or float weights",
    }
}

type Added = Vec<(Wire, Tensor)>;

fn rewrite(model: &Model, node: &mut Node, from: i64, to: i64, added: &mut Added) -> Result<(), String> {
    let crosses = |version: i64| from < version && version <= to;
    match node.op.as_str() {
        "Squeeze" | "Unsqueeze" | "ReduceSum" if crosses(13) => ints_to_input(node, "axes", 1, added),
        "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
        | "ReduceLogSumExp" | "ReduceSumSquare" => {
            if crosses(18) {
                ints_to_input(node, "axes", 1, added)
            } else {
                Ok(())
            }
        }
        "Slice" if crosses(10) => {
            ints_to_input(node, "starts", 1, added)?;
            ints_to_input(node, "ends", 2, added)?;
            ints_to_input(node, "axes", 3, added)
        }
        "Clip" if crosses(11) => {
            let (low, high) = (node.float("min"), node.float("max"));
            float_to_input(node, "min", low, 1, added);
            float_to_input(node, "max", high, 2, added);
            Ok(())
        }
        "Dropout" if crosses(12) => {
            node.attributes.remove("ratio");
            Ok(())
        }
        "Pad" if crosses(11) => {
            ints_to_input(node, "pads", 1, added)?;
            let value = node.float("value");
            float_to_input(node, "value", value, 2, added);
            Ok(())
        }
        "Split" => split(node, crosses(13), crosses(18), added),
        "TopK" if crosses(10) => Err("its count became an input".to_owned()),
        "Softmax" | "LogSoftmax" | "Hardmax" if crosses(13) => softmax(model, node),
        "Upsample" if crosses(10) => upsample(node, from, to, added),
        "BatchNormalization" if crosses(9) => match node.attributes.remove("spatial") {
            Some(Attribute::Int(0)) => Err("it normalizes each place by itself, which newer sets cannot say".to_owned()),
            _ => Ok(()),
        },
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Equal" | "Greater" | "Less" | "PRelu" if crosses(7) => {
            Err("its broadcasting is that of operator sets before 7".to_owned())
        }
        "If" | "Loop" | "Scan" => Err("the graphs inside it are not raised yet".to_owned()),
        "Resize" if from < 11 && to >= 11 => resize_from_10(node, added),
        // Not crossed: the form is the same on both sides.
        "Squeeze" | "Unsqueeze" | "ReduceSum" | "Slice" | "Clip" | "Dropout" | "Pad" | "TopK" | "Softmax" | "LogSoftmax"
        | "Hardmax" | "Resize" | "BatchNormalization" => Ok(()),
        op if UNCHANGED.split_whitespace().any(|known| known == op) => Ok(()),
        _ => Err("its meaning may differ there and we do not know how".to_owned()),
    }
}

/// The first output's name with `what` behind it and a mark that no exporter writes.
fn added_name(node: &Node, what: &str) -> Wire {
    let output = node.outputs.iter().flatten().next().map_or("node", |w| &**w);
    Wire::from(format!("{output}_{what}.upgraded"))
}

fn place(node: &mut Node, index: usize, wire: Wire) {
    if node.inputs.len() <= index {
        node.inputs.resize(index + 1, None);
    }
    node.inputs[index] = Some(wire);
}

fn ints_to_input(node: &mut Node, name: &'static str, index: usize, added: &mut Added) -> Result<(), String> {
    let Some(Attribute::Ints(values)) = node.attributes.remove(name) else { return Ok(()) };
    let wire = added_name(node, name);
    added.push((wire.clone(), Tensor::from_i64(vec![values.len()], &values).map_err(|e| e.to_string())?));
    place(node, index, wire);
    Ok(())
}

fn float_to_input(node: &mut Node, name: &'static str, value: Option<f32>, index: usize, added: &mut Added) {
    node.attributes.remove(name);
    if let Some(value) = value {
        let wire = added_name(node, name);
        added.push((wire.clone(), Tensor::scalar_f32(value)));
        place(node, index, wire);
    }
}

fn split(node: &mut Node, sizes_become_input: bool, count_needed: bool, added: &mut Added) -> Result<(), String> {
    if sizes_become_input {
        ints_to_input(node, "split", 1, added)?;
    }
    if count_needed && node.input(1).is_none() {
        node.attributes.insert("num_outputs".to_owned(), Attribute::Int(node.outputs.len() as i64));
    }
    Ok(())
}

/// Before opset 13 the tensor is flattened to two dimensions at `axis` (default 1); after it only
/// `axis` itself is normalized (default −1). The two agree where `axis` is the last.
fn softmax(model: &Model, node: &mut Node) -> Result<(), String> {
    let axis = node.int("axis").unwrap_or(1);
    let shape = node
        .input(0)
        .and_then(|w| model.facts.get(w))
        .or_else(|| node.output(0).and_then(|w| model.facts.get(w)))
        .and_then(|f| f.shape.as_ref());
    // The axes behind `axis` hold one value each, or there are none.
    let is_last = |s: &Vec<Dim>| {
        let axis = usize::try_from(if axis < 0 { axis + s.len() as i64 } else { axis }).unwrap_or(usize::MAX);
        s.get(axis.saturating_add(1)..).is_some_and(|rest| rest.iter().all(|d| d.known() == Some(1)))
    };
    match shape {
        Some(shape) if is_last(shape) => {
            node.attributes.insert("axis".to_owned(), Attribute::Int(axis));
            Ok(())
        }
        None if axis == -1 => Ok(()),
        _ => Err(format!("it normalizes over all axes from {axis} on, which newer sets cannot say in one node")),
    }
}

fn upsample(node: &mut Node, from: i64, to: i64, added: &mut Added) -> Result<(), String> {
    let scales = if from < 9 {
        let Some(Attribute::Floats(scales)) = node.attributes.remove("scales") else {
            return Err("it has no scales".to_owned());
        };
        let wire = added_name(node, "scales");
        added.push((wire.clone(), Tensor::from_f32(vec![scales.len()], &scales).map_err(|e| e.to_string())?));
        wire
    } else {
        node.input(1).cloned().ok_or("it has no scales")?
    };
    node.op = "Resize".to_owned();
    node.inputs.truncate(1);
    node.inputs.push(Some(scales));
    if to >= 11 { resize_from_10(node, added) } else { Ok(()) }
}

/// Resize of opset 10 has inputs X, scales; from opset 11 on X, roi, scales, and must name the old
/// rule for coordinates.
fn resize_from_10(node: &mut Node, added: &mut Added) -> Result<(), String> {
    let scales = node.input(1).cloned().ok_or("it has no scales")?;
    let roi = added_name(node, "roi");
    added.push((roi.clone(), Tensor::from_bytes(DType::F32, vec![0], Vec::new()).map_err(|e| e.to_string())?));
    node.inputs.truncate(1);
    node.inputs.extend([Some(roi), Some(scales)]);
    node.attributes.insert("coordinate_transformation_mode".to_owned(), Attribute::Text("asymmetric".to_owned()));
    if node.text("mode").unwrap_or("nearest") == "nearest" {
        node.attributes.insert("nearest_mode".to_owned(), Attribute::Text("floor".to_owned()));
    }
    Ok(())
}
