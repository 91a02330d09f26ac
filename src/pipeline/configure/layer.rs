//! What a recipe does to one layer.

use super::activations::Activations;
use super::compensation::compensated;
use super::correction::Correction;
use super::file::{FileFormat, held, held_bytes};
use super::fitted::{corrected, readable};
use super::recipe::{Importance, Treatment};
use super::scheme::{FloatFormat, Saliency, Scheme, Sparsity};
use crate::engine::formats::blocks::BlockFormat;
use crate::engine::formats::{Granularity, Storage};
use crate::engine::graph::{BiasPlace, KnownRange, Layer, LayerKind, Model, Node, StoredWeight, Wire, known_range};
use crate::engine::tensor::{DType, Tensor, TensorError};
use crate::pipeline::load::Subject;
use std::sync::Arc;

/// What will happen to one layer.
#[derive(Debug, Clone)]
pub struct LayerPlan {
    pub layer: Layer,
    /// What the recipe asks for.
    pub wanted: Treatment,
    /// What will be done: `wanted`, less what was refused.
    pub treatment: Treatment,
    /// What the graph tells of the data that the layer reads.
    pub known: KnownRange,
    /// Other wires whose data get the same static range, and what the graph tells of them.
    pub shares: Vec<(Wire, KnownRange)>,
    /// What errors of the weights are weighed by.
    pub importance: ImportanceSource,
    /// Where the bias is that the correction mends; `None` where it mends none.
    pub bias: Option<BiasPlace>,
    /// Bytes that the scheme itself takes, packed without a gap; `None` for 32-bit floats. [`LayerPlan::bytes`] may
    /// be more, where the file has no type as narrow.
    pub storage: Option<Storage>,
    /// Bytes of the weight as the exported file stores it: codes, scales, zero points, codebooks.
    pub bytes: u64,
    /// Bytes of the weight in the original file.
    pub original_bytes: u64,
    /// Why something that the recipe asks for will not be done.
    pub refusal: Option<String>,
    /// What the person should know of how it will be done.
    pub note: Option<String>,
    /// Whether it goes with the residual branch that it lies on: nothing is left of it.
    pub is_left_out: bool,
}

/// Where it is known from how much the errors of a layer's weights count.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ImportanceSource {
    /// They count alike.
    #[default]
    None,
    /// The mean squares of the channels of the layer's input, which calibration finds.
    Calibrated,
    /// One number for each column of the weight's matrix, from a file.
    File(Arc<[f32]>),
}

/// The file that can hold every layer.
pub(super) fn file_of(layers: &[LayerPlan]) -> FileFormat {
    let blocks = layers.iter().any(|l| matches!(l.treatment.weights, Scheme::Block(_)));
    if blocks { FileFormat::Gguf } else { FileFormat::Onnx }
}

/// The scheme that a layer takes where `wanted` is asked for, and why it is another one, if it is.
#[must_use]
pub fn fitting(layer: &Layer, wanted: Scheme) -> (Scheme, Option<String>) {
    let Some(format) = wanted.format() else { return (wanted, None) };
    let rows = layer.out_channels();
    let row = layer.parameters() / rows.max(1);
    if layer.parameters() == 0 {
        return (Scheme::F32, Some("it has no weights".to_owned()));
    }
    if let Some(Granularity::Group(size)) = wanted.granularity() {
        let per_channel = wanted.with_granularity(Granularity::Channel);
        if row < size {
            let why = format!("a channel has only {row} weights, fewer than a group of {size}: one scale per channel instead");
            return (per_channel, Some(why));
        }
        if layer.shape.len() > 2 && layer.out_axis != 0 {
            let why = "groups need output channels first, which a transposed convolution has not: one scale per channel instead";
            return (per_channel, Some(why.to_owned()));
        }
    }
    match format.bytes(rows, row) {
        Ok(_) => (wanted, None),
        Err(reason) => match second_best(layer, wanted, row) {
            Some(other) => (other, Some(format!("{reason}: {other} instead, as ggml's tools do"))),
            None => (Scheme::F32, Some(format!("{reason}: left in fp32"))),
        },
    }
}

/// What ggml's own tool takes for rows that do not divide into a block: blocks of 32, else fp16 (of the matrices of
/// language models, which are all that it knows). Source: llama.cpp `src/llama-quant.cpp`, `llama_tensor_get_type`.
fn second_best(layer: &Layer, wanted: Scheme, row: usize) -> Option<Scheme> {
    let Scheme::Block(block) = wanted else { return None };
    let smaller = match block {
        BlockFormat::Q2K | BlockFormat::Q3K | BlockFormat::Iq4Xs => Some(BlockFormat::Iq4Nl),
        BlockFormat::Q4K => Some(BlockFormat::Q5_0),
        BlockFormat::Q5K => Some(BlockFormat::Q5_1),
        BlockFormat::Q6K => Some(BlockFormat::Q8_0),
        BlockFormat::Tq1_0 | BlockFormat::Tq2_0 => Some(BlockFormat::Q4_0),
        _ => None,
    };
    let fits = smaller.filter(|block| row.is_multiple_of(block.block_len())).map(Scheme::Block);
    let matrix = matches!(layer.kind, LayerKind::Linear | LayerKind::Embedding);
    fits.or_else(|| matrix.then_some(Scheme::Float(FloatFormat::F16)))
}

/// Bytes of a layer's weight as an ONNX file stores it under a scheme (of blocks, their own bytes).
///
/// # Errors
/// When sizes overflow.
pub fn stored_bytes(layer: &Layer, scheme: Scheme) -> Result<u64, TensorError> {
    match fitting(layer, scheme).0.format() {
        Some(format) => Ok(StoredWeight::of(format, layer, None)?.size_bytes()),
        None => Ok(Tensor::zeros(DType::F32, layer.shape.clone())?.size_bytes() as u64),
    }
}

/// A remark after another.
pub(super) fn and(before: Option<String>, more: &str) -> String {
    before.map_or_else(|| more.to_owned(), |before| format!("{before}; {more}"))
}

/// Where a layer's importance comes from, or why there is none.
fn importance_of(layer: &Layer, treatment: &Treatment, subject: &Subject) -> Result<ImportanceSource, String> {
    if treatment.importance == Importance::Alike {
        return Ok(ImportanceSource::None);
    }
    let columns = layer.parameters() / layer.out_channels().max(1);
    if let Some(found) = [&*layer.weight, layer.name.as_str()].into_iter().find_map(|name| subject.importance.get(name)) {
        return if found.len() == columns {
            Ok(ImportanceSource::File(found.as_slice().into()))
        } else {
            Err(format!("the importance file has {} numbers for it, and it has {columns} inputs", found.len()))
        };
    }
    channels_known(layer, &subject.folded).map(|()| ImportanceSource::Calibrated)
}

/// Whether calibration can tell what each weight of a layer is multiplied with.
///
/// # Errors
/// Why not.
fn channels_known(layer: &Layer, model: &Model) -> Result<(), String> {
    let node = layer.node.and_then(|id| model.node(id));
    match node {
        None => Err("the file holds weights without a graph, and no importance file knows it".to_owned()),
        Some(_) if model.constants.contains_key(&layer.input) => Err("its input is a constant of the model".to_owned()),
        Some(node) if node.int("transA").unwrap_or(0) != 0 => Err("its data have their channels first".to_owned()),
        Some(node) if !convolves(node) && convolution_reads(model, &layer.input) => {
            Err("a convolution reads its input too, along another axis".to_owned())
        }
        Some(_) => Ok(()),
    }
}

/// What can be done of a treatment's pruning, and why not the rest.
fn pruned(layer: &Layer, treatment: &mut Treatment, model: &Model) -> Option<String> {
    let mut refusal = None;
    let width = match (layer.kind, layer.out_axis) {
        (LayerKind::Conv | LayerKind::Depthwise, _) => layer.shape.get(1).copied().unwrap_or(1),
        (LayerKind::ConvTranspose, 0) => 1,
        (LayerKind::ConvTranspose, _) => layer.shape.first().copied().unwrap_or(1),
        _ => layer.parameters() / layer.out_channels().max(1),
    };
    if let Sparsity::Pattern { of, .. } = treatment.sparsity
        && width < usize::from(of)
    {
        refusal = Some(format!("an output channel reads {width} inputs, fewer than the {of} of the pattern: left dense"));
        treatment.sparsity = Sparsity::Dense;
    }
    if treatment.weighs_inputs()
        && let Err(reason) = channels_known(layer, model)
    {
        refusal = Some(and(refusal, &format!("{reason}: {BY_MAGNITUDE}")));
        treatment.saliency = Saliency::Magnitude;
    }
    if treatment.weighs_data()
        && let Err(reason) = readable(layer, model)
    {
        refusal = Some(and(refusal, &format!("{reason}: {BY_MAGNITUDE}")));
        treatment.saliency = Saliency::Magnitude;
    }
    refusal
}

const BY_MAGNITUDE: &str = "its weights are pruned by magnitude";

/// Bytes of a pruned layer on hardware that packs its pattern: what is kept, at its width, with its place in the
/// pattern.
fn packed_note(layer: &Layer, treatment: &Treatment) -> Option<String> {
    let Sparsity::Pattern { keep, of } = treatment.sparsity else { return None };
    let kept = layer.parameters() as u64 * u64::from(keep) / u64::from(of.max(1));
    let index = u64::from(of.next_power_of_two().trailing_zeros());
    let bytes = (kept * (u64::from(treatment.weights.bits()) + index)).div_ceil(8);
    Some(format!("{bytes} bytes where a runtime packs {keep} of {of}"))
}

fn convolves(node: &Node) -> bool {
    matches!(node.op.as_str(), "Conv" | "ConvTranspose")
}

/// Whether a wire's channels are those that a convolution has: statistics of a wire are along one axis.
fn convolution_reads(model: &Model, wire: &Wire) -> bool {
    model.nodes.iter().any(|node| convolves(node) && node.input(0) == Some(wire))
}

/// What can be done of a treatment's part for weights, what their errors are weighed by, and why not the rest.
fn fitted(layer: &Layer, wanted: Treatment, subject: &Subject) -> (Treatment, ImportanceSource, Option<String>) {
    let (weights, mut refusal) = fitting(layer, wanted.weights);
    let mut treatment = Treatment { weights, ..wanted }.sensible();
    if let (true, Some(reason)) = (weights == wanted.weights, wanted.useless()) {
        refusal = Some(and(refusal, &reason));
    }
    let importance = importance_of(layer, &treatment, subject).unwrap_or_else(|reason| {
        treatment.importance = Importance::Alike;
        refusal = Some(and(refusal.take(), &format!("{reason}: {COUNT_ALIKE}")));
        ImportanceSource::None
    });
    (treatment, importance, refusal)
}

const COUNT_ALIKE: &str = "errors of its weights count alike";

pub(super) fn layer_plan(layer: &Layer, wanted: Treatment, subject: &Subject) -> LayerPlan {
    let model = &*subject.folded;
    let original_bytes = model.constants.get(&layer.weight).map_or(0, |t| t.size_bytes() as u64);
    let (mut treatment, importance, mut refusal) = fitted(layer, wanted, subject);
    if let Some(reason) = pruned(layer, &mut treatment, model) {
        refusal = Some(and(refusal, &reason));
    }
    let mut note = packed_note(layer, &treatment);
    if treatment.weights == Scheme::F32 && treatment.sparsity != Sparsity::Dense {
        note = Some(and(note, "zeros take as many bytes in ONNX as other values"));
    }
    let (activations, reason) = wanted.activations.fitted(layer, model);
    treatment.activations = activations;
    if let Some(reason) = reason {
        refusal = Some(and(refusal, &reason));
    }
    if let Some(said) = activations.note() {
        note = Some(and(note, &said));
    }
    // What reads a weight in a graph expects its type; without a graph nothing does.
    let in_graph = model.constants.get(&layer.weight).filter(|_| layer.node.is_some());
    let dtype = in_graph.map(Tensor::dtype).filter(|d| *d != DType::F32);
    if let (Some(dtype), false) = (dtype, treatment.is_unchanged()) {
        treatment = Treatment::UNCHANGED;
        refusal =
            Some(format!("its weights are {dtype}, and only float32 weights are compressed yet; export the model in float32"));
    }
    let (compensate, reason) = compensated(layer, &treatment, model);
    treatment.compensate = compensate;
    if let Some(reason) = reason {
        refusal = Some(and(refusal, &reason));
    }
    let (correction, bias, reason) = corrected(layer, &treatment, subject);
    treatment.correction = correction;
    if let Some(reason) = reason {
        refusal = Some(and(refusal, &reason));
    }
    let inputs = model.nodes.iter().filter(|n| n.input(1) == Some(&layer.weight) && n.input(0) != Some(&layer.input)).count();
    if inputs > 0 && treatment.activations != Activations::None {
        note = Some(and(note, &format!("{inputs} more nodes share its weight; the data that they read stays float")));
    }
    let known = known_range(model, &layer.input);
    LayerPlan {
        layer: layer.clone(),
        wanted,
        treatment,
        known,
        shares: Vec::new(),
        importance: if treatment.is_unchanged() { ImportanceSource::None } else { importance },
        bias,
        storage: None,
        bytes: original_bytes,
        original_bytes,
        refusal,
        note,
        is_left_out: false,
    }
}

#[cfg(test)]
impl LayerPlan {
    /// A layer of which nothing but its treatment is known.
    pub(crate) fn bare(layer: Layer, treatment: Treatment) -> Self {
        let original_bytes = 4 * layer.parameters() as u64;
        Self {
            layer,
            wanted: treatment,
            treatment,
            known: KnownRange::Any,
            shares: Vec::new(),
            importance: ImportanceSource::None,
            bias: None,
            storage: None,
            bytes: original_bytes,
            original_bytes,
            refusal: None,
            note: None,
            is_left_out: false,
        }
    }
}

impl LayerPlan {
    /// A layer that goes with the branch that it lies on.
    pub(super) fn left_out(layer: Layer, wanted: Treatment, original_bytes: u64) -> Self {
        Self {
            layer,
            wanted,
            treatment: Treatment::UNCHANGED,
            known: KnownRange::Any,
            shares: Vec::new(),
            importance: ImportanceSource::None,
            bias: None,
            storage: None,
            bytes: 0,
            original_bytes,
            refusal: None,
            note: Some("left out of the network with its residual branch".to_owned()),
            is_left_out: true,
        }
    }

    /// Whether the layer stays as it is.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.treatment.is_unchanged() && !self.is_corrected()
    }

    /// Whether samples of what the layer reads make it, where there are some.
    #[must_use]
    pub fn is_corrected(&self) -> bool {
        self.needs_samples() || self.treatment.compensate > 0
    }

    /// Whether it cannot do without them.
    pub(super) fn needs_samples(&self) -> bool {
        let is_weighed = self.treatment.weighs_data() && self.treatment.saliency == Saliency::Surgeon;
        self.treatment.correction.needs_data() || is_weighed
    }

    /// Bytes of what stands beside the weights: two thin matrices in f16.
    #[must_use]
    pub fn beside_bytes(&self) -> u64 {
        self.compensation().ok().flatten().map_or(0, |low_rank| low_rank.size_bytes())
    }

    /// Whether the range of its data must be calibrated.
    #[must_use]
    pub fn needs_range(&self) -> bool {
        self.ranges_needed().next().is_some()
    }

    /// The wires whose ranges must be calibrated for the layer's data.
    pub fn ranges_needed(&self) -> impl Iterator<Item = &Wire> {
        let grid = self.treatment.activations.static_grid();
        let own = std::iter::once((&self.layer.input, self.known));
        own.chain(self.shares.iter().map(|(wire, known)| (wire, *known)))
            .filter(move |(_, known)| grid.is_some_and(|g| !(g.uses_bounds && matches!(known, KnownRange::Fixed { .. }))))
            .map(|(wire, _)| wire)
    }

    /// Whether calibration must tell the channels of its input apart.
    pub(super) fn needs_channels(&self) -> bool {
        self.importance == ImportanceSource::Calibrated || self.treatment.weighs_inputs()
    }

    /// Prunes by magnitude where there are no data to tell more.
    pub(super) fn refuse_saliency(&mut self) {
        if self.treatment.weighs_data() {
            self.treatment.saliency = Saliency::Magnitude;
            let reason = format!("there are no calibration data that tell what weights are multiplied with: {BY_MAGNITUDE}");
            self.refusal = Some(and(self.refusal.take(), &reason));
        }
    }

    /// What will be stored, without values; `None` where the weight stays as it is.
    ///
    /// # Errors
    /// When sizes overflow.
    pub fn form(&self, file: FileFormat) -> Result<Option<StoredWeight>, TensorError> {
        match self.treatment.weights.format() {
            Some(format) => {
                let stored = StoredWeight::of(format, &self.layer, None)?;
                file.adapted(stored, self.treatment.activations).map(Some)
            }
            None if self.treatment.sparsity == Sparsity::Dense && !self.is_corrected() => Ok(None),
            None => Ok(Some(StoredWeight::Float32(Tensor::zeros(DType::F32, self.layer.shape.clone())?))),
        }
    }

    /// Does without the calibrated importance that there is no data for.
    pub(super) fn refuse_importance(&mut self) {
        if self.importance != ImportanceSource::Calibrated {
            return;
        }
        self.importance = ImportanceSource::None;
        self.treatment.importance = Importance::Alike;
        let reason = format!("there are no calibration data that tell which inputs matter: {COUNT_ALIKE}");
        self.refusal = Some(and(self.refusal.take(), &reason));
    }

    /// The same layer, each weight to its nearest level and nothing set right. A bias that was to be mended is written
    /// all the same: the bytes are those of the plan.
    #[must_use]
    pub fn uncorrected(&self) -> Self {
        let mut plan = self.clone();
        plan.treatment.correction = self.treatment.correction.without_data();
        if plan.treatment.saliency == Saliency::Surgeon {
            plan.treatment.saliency = Saliency::Magnitude;
        }
        // What errors are weighed by comes with the data that correct.
        if self.treatment.correction.needs_data() {
            plan.importance = ImportanceSource::None;
        }
        plan
    }

    /// Does without the correction that there is no data for.
    pub(super) fn refuse_correction(&mut self) {
        if !self.treatment.correction.needs_data() {
            return;
        }
        // A bias that was to be added is written all the same, of zeros: its bytes are counted.
        self.treatment.correction = Correction::NONE;
        let reason = "there are no calibration data to correct with: each weight to its nearest level";
        self.refusal = Some(and(self.refusal.take(), reason));
    }

    /// Counts the bytes and says what they are; gives the tensors, of which only the size exists, or `None`
    /// where the weight stays as it is.
    ///
    /// # Errors
    /// When sizes overflow.
    pub(super) fn measure(&mut self, file: FileFormat) -> Result<Option<StoredWeight>, TensorError> {
        let layer = &self.layer;
        let Some(stored) = self.form(file)? else { return Ok(None) };
        let Some(format) = self.treatment.weights.format() else {
            self.bytes = stored.size_bytes();
            return Ok(Some(stored));
        };
        let rows = layer.out_channels();
        let storage = format.bytes(rows, layer.parameters() / rows.max(1)).unwrap_or_default();
        self.bytes = match (file, stored.whole()) {
            (FileFormat::Gguf, None) => 4 * layer.parameters() as u64,
            // What the file cannot hold is refused with the whole plan.
            (FileFormat::Safetensors | FileFormat::CompressedTensors, _) => {
                held(self, Some(&stored), file).map_or_else(|_| stored.size_bytes(), |held| held_bytes(&held, self, &stored))
            }
            _ => stored.size_bytes(),
        };
        self.storage = Some(storage);
        let note = self.note.take();
        self.note = match self.storage_note(file, &stored, storage.total()) {
            Some(said) => Some(and(note, &said)),
            None => note,
        };
        if format.needs_training() {
            let weights = self.treatment.weights;
            self.note =
                Some(and(self.note.take(), &format!("{weights} needs training: a network that was not trained for it breaks")));
        }
        Ok(Some(stored))
    }

    /// Where the file takes more bytes than the scheme: why.
    fn storage_note(&self, file: FileFormat, stored: &StoredWeight, own: u64) -> Option<String> {
        let held = stored.dtype().bits();
        match (self.treatment.weights, file) {
            (weights, _) if file.needs_values(&self.layer, stored) => {
                let (file, kind) = (file.name(), self.layer.kind.name().to_lowercase());
                let whose = if file == FileFormat::CompressedTensors.name() { format!(" for a {kind}") } else { String::new() };
                Some(format!(
                    "{file} has no {weights}{whose}: the rounded values are written as float32 ({own} bytes as {weights})"
                ))
            }
            (weights, FileFormat::CompressedTensors) if self.bytes > own => {
                Some(format!("{own} bytes as {weights}; packed in codes of 4 or 8 bits, {}", self.bytes))
            }
            (Scheme::Integer { bits, .. } | Scheme::Affine { bits, .. }, file)
                if file.holds_graph() && held > usize::from(bits) =>
            {
                Some(format!("ONNX has no {bits}-bit type: each value takes {held} bits in the file"))
            }
            (weights, file) if file.holds_graph() && self.bytes > own => {
                Some(format!("{own} bytes as {weights}; in ONNX, with codes of {held} bits, {}", self.bytes))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_divide_fall_back_as_with_ggml() {
        let fitted = |kind, cols, block| fitting(&Layer::lone(kind, &[4, cols]), Scheme::Block(block));
        let (scheme, why) = fitted(LayerKind::Linear, 96, BlockFormat::Q4K);
        assert_eq!(scheme, Scheme::Block(BlockFormat::Q5_0));
        assert!(why.unwrap().contains("instead"));
        assert_eq!(fitted(LayerKind::MatMul, 64, BlockFormat::Q6K).0, Scheme::Block(BlockFormat::Q8_0));
        assert_eq!(fitted(LayerKind::Linear, 172, BlockFormat::Q8_0).0, Scheme::Float(FloatFormat::F16));
        assert_eq!(fitted(LayerKind::Linear, 100, BlockFormat::Q5K).0, Scheme::Float(FloatFormat::F16));
        assert_eq!(fitted(LayerKind::Conv, 27, BlockFormat::Q4_0).0, Scheme::F32);
        assert_eq!(fitted(LayerKind::Linear, 256, BlockFormat::Q4K), (Scheme::Block(BlockFormat::Q4K), None));
    }

    #[test]
    fn counts_scales_and_zero_points() {
        let layer = Layer::lone(LayerKind::Conv, &[4, 3, 3, 3]);
        let bytes = |scheme| stored_bytes(&layer, scheme).unwrap();
        assert_eq!(bytes(Scheme::per_channel(4)), 54 + 16);
        assert_eq!(bytes(Scheme::Integer { bits: 8, symmetric: false, granularity: Granularity::Channel }), 108 + 16 + 4);
        assert_eq!(bytes(Scheme::F32), 432);
    }
}
