//! Kinds of files that compressed models are written in, and what those without a graph hold.

use super::ConfigureError;
use super::activations::{Activations, Sharing};
use super::layer::LayerPlan;
use super::scheme::Sparsity;
use crate::engine::graph::{GraphError, Layer, LayerKind, Model, StoredWeight, Wire, passes};
use crate::engine::tensor::{DType, Tensor, TensorError};
use crate::pipeline::load::Subject;
use crate::pipeline::load::header::{self, Array, HeaderLayer};
use crate::pipeline::load::safetensors::packed::{Inputs, PackedWeight};
use crate::pipeline::load::safetensors::write::{Entry, Sheet};
use crate::pipeline::load::{self, safetensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A kind of file that compressed models are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// ONNX with nodes that turn what is stored into weights.
    Onnx,
    /// The same with 8-bit weights without a sign where data are rounded too, for integer kernels on processors whose
    /// products of bytes with and without a sign saturate.
    OnnxUnsigned,
    /// ONNX as the kernels of ONNX Runtime have it: weights in blocks of 4 and 8 bits as `MatMulNBits`, biases of layers on
    /// 8-bit data as int32.
    OnnxRuntime,
    /// GGUF: the weights alone. Holds blocks, which ONNX does not.
    Gguf,
    /// safetensors: the weights alone, as floats.
    Safetensors,
    /// safetensors with packed integers, and a `config.json` that says how they are packed.
    CompressedTensors,
    /// Our own archive: the ONNX file, entropy-coded.
    Lapidary,
    /// Arrays of C, for microcontrollers.
    CHeader,
}

impl FileFormat {
    pub const ALL: [Self; 8] = [
        Self::Onnx,
        Self::OnnxUnsigned,
        Self::OnnxRuntime,
        Self::Gguf,
        Self::Safetensors,
        Self::CompressedTensors,
        Self::Lapidary,
        Self::CHeader,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "ONNX",
            Self::OnnxUnsigned => "ONNX, unsigned weights",
            Self::OnnxRuntime => "ONNX for ONNX Runtime",
            Self::Gguf => "GGUF",
            Self::Safetensors => "safetensors",
            Self::CompressedTensors => "compressed-tensors",
            Self::Lapidary => "Lapidary archive",
            Self::CHeader => "C header",
        }
    }

    /// What names of such files end with.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Onnx | Self::OnnxUnsigned | Self::OnnxRuntime => ".onnx",
            Self::Gguf => ".gguf",
            Self::Safetensors | Self::CompressedTensors => ".safetensors",
            Self::Lapidary => ".lapidary",
            Self::CHeader => ".h",
        }
    }

    /// The kind that a name asks for: by its end, else ONNX.
    #[must_use]
    pub fn of_name(path: &Path) -> Self {
        let end = path.extension().map(|e| format!(".{}", e.to_string_lossy().to_lowercase())).unwrap_or_default();
        match end.as_str() {
            ".gguf" => Self::Gguf,
            ".lapidary" => Self::Lapidary,
            ".h" => Self::CHeader,
            // Packed where anything is: real bytes, not floats that hold rounded values.
            ".safetensors" => Self::CompressedTensors,
            _ => Self::Onnx,
        }
    }

    /// Whether the file holds the network too, so that it can be run.
    #[must_use]
    pub fn holds_graph(self) -> bool {
        matches!(self, Self::Onnx | Self::OnnxUnsigned | Self::OnnxRuntime | Self::Lapidary)
    }

    /// A network with its weights stored and its data rounded, in the operators of the file. What is evaluated is what it
    /// gives.
    ///
    /// # Errors
    /// When sizes overflow, or the result is no valid graph.
    pub fn finished(self, model: Model) -> Result<Model, GraphError> {
        match self {
            Self::OnnxRuntime => passes::integer_bias(&passes::matmul_nbits(&model)?),
            _ => Ok(model),
        }
    }

    /// Whether the size is known before the file is there; else the plan's bytes are the most that it takes.
    #[must_use]
    pub fn has_known_size(self) -> bool {
        self != Self::Lapidary
    }

    /// What is stored of a layer, as the file has it.
    ///
    /// # Errors
    /// When sizes overflow.
    pub fn adapted(self, stored: StoredWeight, activations: Activations) -> Result<StoredWeight, TensorError> {
        match self {
            Self::OnnxUnsigned if activations != Activations::None => stored.unsigned(),
            _ => Ok(stored),
        }
    }

    /// Whether a layer is written as the values that what is stored stands for.
    #[must_use]
    pub fn needs_values(self, layer: &Layer, stored: &StoredWeight) -> bool {
        let floats = matches!(stored, StoredWeight::Float32(_) | StoredWeight::Half(_));
        match self {
            Self::Onnx | Self::OnnxUnsigned | Self::OnnxRuntime | Self::Lapidary | Self::CHeader => false,
            Self::Gguf => stored.whole().is_none(),
            Self::Safetensors => !floats,
            Self::CompressedTensors => !floats && layer.kind == LayerKind::Embedding,
        }
    }
}

/// How a layer's weight lies in a file of weights.
#[derive(Debug, Clone)]
pub enum Held {
    /// The tensor of the original.
    Original,
    /// What is stored, a tensor of floats.
    Stored,
    /// The values, as float32.
    Values,
    Packed(PackedWeight),
}

/// A safetensors file before there are values.
#[derive(Debug, Clone)]
pub struct WeightsFile {
    pub sheet: Sheet,
    /// For each layer.
    pub held: Vec<Held>,
    /// What belongs into `config.json` as `quantization_config`, where anything is packed.
    pub config: Option<serde_json::Value>,
}

/// How a layer lies in a safetensors file; `stored` needs no values.
///
/// # Errors
/// A sentence on what the file cannot hold.
pub(super) fn held(plan: &LayerPlan, stored: Option<&StoredWeight>, file: FileFormat) -> Result<Held, String> {
    let inputs = inputs(plan.treatment.activations);
    let packs = file == FileFormat::CompressedTensors;
    let Some(stored) = stored else {
        return match inputs {
            Inputs::Float => Ok(Held::Original),
            _ => Err("its inputs are rounded, which the file can say of packed weights alone".to_owned()),
        };
    };
    // Two weights in every four have a layout of their own, where the layer's shape allows.
    if packs
        && inputs == Inputs::Float
        && plan.treatment.sparsity == (Sparsity::Pattern { keep: 2, of: 4 })
        && let Ok(packed) = PackedWeight::sparse(stored, &plan.layer)
    {
        return Ok(Held::Packed(packed));
    }
    if matches!(stored, StoredWeight::Float32(_) | StoredWeight::Half(_)) || !packs || file.needs_values(&plan.layer, stored) {
        let values = file.needs_values(&plan.layer, stored);
        return match inputs {
            Inputs::Float if values => Ok(Held::Values),
            Inputs::Float => Ok(Held::Stored),
            _ => Err("its inputs are rounded, and the file holds weights alone".to_owned()),
        };
    }
    PackedWeight::of(stored, &plan.layer, inputs).map(Held::Packed)
}

fn inputs(activations: Activations) -> Inputs {
    match activations {
        Activations::None => Inputs::Float,
        Activations::Static => Inputs::Static { symmetric: false },
        Activations::StaticWith { bits: 8, symmetric, .. } => Inputs::Static { symmetric },
        Activations::DynamicWith { bits: 8, symmetric, per: Sharing::Token } => Inputs::Token { symmetric },
        Activations::Dynamic | Activations::StaticWith { .. } | Activations::DynamicWith { .. } => Inputs::Other,
    }
}

/// The module that a weight belongs to.
#[must_use]
pub fn module(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

/// The constants that a file of weights holds: of a network its floats, of a file of weights all.
pub fn weights_of(subject: &Subject) -> impl Iterator<Item = (&Wire, &Tensor)> {
    let graph = subject.loaded.has_graph();
    subject.folded.constants.iter().filter(move |(_, tensor)| !graph || tensor.dtype().is_float())
}

/// The safetensors file that a plan's layers make, `stored` being what is stored of each, with or without values.
///
/// # Errors
/// When the file cannot hold a layer, naming it, or two tensors would have one name.
pub fn weights_file(
    recipe: &str,
    subject: &Subject,
    layers: &[LayerPlan],
    stored: &[Option<StoredWeight>],
    file: FileFormat,
) -> Result<WeightsFile, ConfigureError> {
    let refuse = |layer: &LayerPlan, reason| ConfigureError::Unholdable {
        recipe: recipe.to_owned(),
        layer: layer.layer.name.clone(),
        file: file.name(),
        reason,
    };
    let held: Vec<Held> = layers
        .iter()
        .zip(stored)
        .map(|(layer, stored)| held(layer, stored.as_ref(), file).map_err(|reason| refuse(layer, reason)))
        .collect::<Result<_, _>>()?;
    let treated: BTreeMap<_, _> = layers.iter().zip(stored).zip(&held).map(|((l, s), h)| (&l.layer.weight, (l, s, h))).collect();
    let mut entries = Vec::new();
    for (wire, tensor) in weights_of(subject) {
        let whole = |dtype, shape: &[usize]| Entry { name: wire.to_string(), dtype, shape: shape.to_vec() };
        match treated.get(wire) {
            Some((layer, _, Held::Values)) => entries.push(whole(DType::F32, &layer.layer.shape)),
            Some((layer, Some(stored), Held::Stored)) => entries.push(whole(stored.dtype(), &layer.layer.shape)),
            Some((_, _, Held::Packed(packed))) => {
                let named = |(_, end, dtype, shape)| Entry { name: format!("{}.{end}", module(wire)), dtype, shape };
                entries.extend(packed.parts().into_iter().map(named));
            }
            None | Some(_) => match tensor.dtype() {
                // Blocks of a GGUF file have no type here.
                DType::Block(_) => entries.push(whole(DType::F32, tensor.shape())),
                dtype => entries.push(whole(dtype, tensor.shape())),
            },
        }
    }
    let sheet = Sheet::new(entries, &metadata(subject))
        .map_err(|source| ConfigureError::Safetensors { recipe: recipe.to_owned(), source })?;
    let config = config(layers, &held);
    Ok(WeightsFile { sheet, held, config })
}

/// What the original says of itself; Hugging Face's readers want to be told whose tensors they are.
fn metadata(subject: &Subject) -> BTreeMap<String, String> {
    let mut about = match subject.loaded.format {
        load::Format::Safetensors => safetensors::metadata(&subject.loaded.path),
        _ => BTreeMap::new(),
    };
    about.entry("format".to_owned()).or_insert_with(|| "pt".to_owned());
    about
}

/// `quantization_config`: a group for every scheme, with the modules that have it, and the modules that are sparse.
fn config(layers: &[LayerPlan], held: &[Held]) -> Option<serde_json::Value> {
    let mut groups: Vec<(serde_json::Value, Vec<&str>)> = Vec::new();
    let (mut ignored, mut sparse, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (layer, held) in layers.iter().zip(held) {
        let module = module(&layer.layer.weight);
        match held {
            Held::Packed(packed) => match packed.scheme() {
                Some(scheme) => {
                    names.insert(packed.packing.name());
                    match groups.iter_mut().find(|(known, _)| *known == scheme) {
                        Some((_, targets)) => targets.push(module),
                        None => groups.push((scheme, vec![module])),
                    }
                }
                None => sparse.push(module),
            },
            _ if layer.layer.kind == LayerKind::Embedding => {}
            _ => ignored.push(module),
        }
    }
    let format = match names.iter().next() {
        None if sparse.is_empty() => return None,
        None => "dense",
        Some(one) if names.len() == 1 => *one,
        Some(_) => "mixed-precision",
    };
    let groups: serde_json::Map<_, _> = (groups.into_iter().enumerate())
        .map(|(i, (mut scheme, targets))| {
            scheme["targets"] = serde_json::json!(targets);
            (format!("group_{i}"), scheme)
        })
        .collect();
    let mut config = serde_json::json!({
        "quant_method": "compressed-tensors", "quantization_status": "compressed", "format": format,
        "config_groups": groups, "ignore": ignored, "kv_cache_scheme": null, "global_compression_ratio": null,
    });
    if !sparse.is_empty() {
        let dense: Vec<&str> = layers.iter().map(|l| module(&l.layer.weight)).filter(|m| !sparse.contains(m)).collect();
        config["sparsity_config"] = serde_json::json!({
            "format": "sparse-24-bitmask", "sparsity_structure": "2:4", "global_sparsity": 0.5, "targets": sparse,
            "ignore": dense,
        });
    }
    Some(config)
}

/// What a C header of a plan's layers holds, `stored` with or without values: the layers, and the other tensors.
///
/// # Errors
/// When the header cannot hold a layer, naming it.
pub fn header_contents(
    recipe: &str,
    subject: &Subject,
    layers: &[LayerPlan],
    stored: &[Option<StoredWeight>],
) -> Result<(Vec<HeaderLayer>, Vec<Array>), ConfigureError> {
    let fail = |layer: &LayerPlan, reason: String| ConfigureError::Unholdable {
        recipe: recipe.to_owned(),
        layer: layer.layer.name.clone(),
        file: FileFormat::CHeader.name(),
        reason,
    };
    let mut made = Vec::new();
    for (layer, stored) in layers.iter().zip(stored) {
        let original = subject.folded.constants.get(&layer.layer.weight);
        let untouched = || original.map(|tensor| StoredWeight::Float32(tensor.clone()));
        if let Some(stored) = stored.clone().or_else(untouched) {
            made.push(HeaderLayer::of(&layer.layer, &stored).map_err(|e| fail(layer, e.to_string()))?);
        }
    }
    let is_layer = |wire: &Wire| layers.iter().any(|l| l.layer.weight == *wire);
    let others = (subject.folded.constants.iter())
        .filter(|(wire, tensor)| tensor.dtype().is_float() && !tensor.is_empty() && !is_layer(wire))
        .map(|(wire, tensor)| Array { name: wire.to_string(), tensor: tensor.clone() })
        .collect();
    Ok((made, others))
}

/// The text of a C header of a plan's layers for the file `out`, `stored` with or without values; it is as long for any
/// file.
///
/// # Errors
/// When the header cannot hold a layer, naming it.
pub fn header_text(
    recipe: &str,
    subject: &Subject,
    layers: &[LayerPlan],
    stored: &[Option<StoredWeight>],
    out: &Path,
) -> Result<String, ConfigureError> {
    let (layers, others) = header_contents(recipe, subject, layers, stored)?;
    let header = |source| ConfigureError::Header { recipe: recipe.to_owned(), source };
    header::text(header::Name::of(out), &layers, &others).map_err(header)
}

/// Bytes of a layer in a file of weights.
pub(super) fn held_bytes(held: &Held, layer: &LayerPlan, stored: &StoredWeight) -> u64 {
    match held {
        Held::Original => layer.original_bytes,
        Held::Stored => stored.size_bytes(),
        Held::Values => 4 * layer.layer.parameters() as u64,
        Held::Packed(packed) => packed
            .parts()
            .into_iter()
            .map(|(_, _, dtype, shape)| Tensor::zeros(dtype, shape).map_or(0, |t| t.size_bytes() as u64))
            .sum(),
    }
}
