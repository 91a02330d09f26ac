//! Recipe × model → plan.

use super::ConfigureError;
use super::activations::Activations;
use super::balance::Balance;
use super::branches::LeftOut;
use super::channels::{ChannelCut, Cuts};
use super::file::{FileFormat, header_text, weights_file};
use super::groups::{Decided, Group, groups, share_ranges, together};
use super::layer::{LayerPlan, and, file_of, layer_plan};
use super::recipe::{Allocation, Equalization, Recipe, Treatment};
use crate::engine::graph::{GraphError, Layer, LowRank, LoweredLayer, StoredWeight, Wire, lower};
use crate::engine::tensor::{DType, Tensor, TensorError};
use crate::pipeline::load::{Subject, gguf};
use std::path::Path;

/// What a recipe will do to a model, known before anything runs.
#[derive(Debug, Clone)]
pub struct Plan {
    pub recipe: String,
    pub layers: Vec<LayerPlan>,
    /// Layers that decide together.
    pub groups: Vec<Group>,
    /// How what is pruned is shared out: known when weights are.
    pub allocation: Allocation,
    /// What is done before to the network as a whole.
    pub equalize: Equalization,
    /// The residual branches that are left out before that.
    pub left_out: Option<LeftOut>,
    /// How its channels are balanced then; nothing where none can be.
    pub balance: Balance,
    /// The channels that are cut before anything else; shapes of `layers` are those of what is left.
    pub cuts: Option<Cuts>,
    /// The file that is counted: ONNX, unless a layer is stored in blocks that only GGUF holds, or it was asked for.
    pub file: FileFormat,
    /// Exact size of the exported file.
    pub bytes: u64,
    /// Size of the file that was loaded, its external data included.
    pub original_bytes: u64,
    /// Stored bits per weight over all layers, scales and zero points included.
    pub bits_per_weight: f64,
}

impl Plan {
    /// Whether the recipe leaves the whole model as it is.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.layers.iter().all(LayerPlan::is_unchanged) && !self.cuts_channels() && self.left_out.is_none()
    }

    /// Whether channels are cut.
    #[must_use]
    pub fn cuts_channels(&self) -> bool {
        self.cuts.as_ref().is_some_and(Cuts::cuts_any)
    }

    #[must_use]
    pub fn layer(&self, name: &str) -> Option<&LayerPlan> {
        self.layers.iter().find(|l| l.layer.name == name)
    }

    /// Whether something that is asked for cannot be done as well without calibration data.
    #[must_use]
    pub fn needs_calibration(&self) -> bool {
        let chosen = self.cuts.as_ref().is_some_and(Cuts::needs_data);
        chosen
            || self.balance != Balance::None
            || self.layers.iter().any(|l| l.needs_samples() || l.needs_range() || l.needs_channels() || l.treatment.weighs_data())
    }

    /// Whether the result depends on calibration data where there are some: thin matrices beside a layer can be told by
    /// its weights alone, but data tell them better.
    #[must_use]
    pub fn uses_calibration(&self) -> bool {
        self.needs_calibration() || self.is_corrected()
    }

    /// The same plan, no layer corrected.
    #[must_use]
    pub fn uncorrected(&self) -> Self {
        Self { layers: self.layers.iter().map(LayerPlan::uncorrected).collect(), ..self.clone() }
    }

    /// Whether some layer is to be corrected, which takes samples.
    #[must_use]
    pub fn is_corrected(&self) -> bool {
        self.layers.iter().any(LayerPlan::is_corrected)
    }

    /// The same where there are no data to calibrate with: what only data can tell of weights is refused.
    /// (Static ranges are left as they are; they cannot be done without, and compressing says so.)
    #[must_use]
    pub fn without_data(mut self) -> Self {
        self.layers.iter_mut().for_each(LayerPlan::refuse_importance);
        self.layers.iter_mut().for_each(LayerPlan::refuse_correction);
        self.layers.iter_mut().for_each(LayerPlan::refuse_saliency);
        self.cuts.iter_mut().for_each(Cuts::refuse_data);
        if self.balance != Balance::None {
            self.balance = Balance::None;
            self.layers.iter_mut().for_each(LayerPlan::refuse_balance);
        }
        self
    }
}

/// The treatment of each layer, in the order of `subject.layers`.
///
/// # Errors
/// When a pattern matches nothing, naming it and the layers that there are.
pub fn resolve(recipe: &Recipe, subject: &Subject) -> Result<Vec<Treatment>, ConfigureError> {
    Ok(decide(recipe, subject, &groups(recipe.groups, subject))?.treatments)
}

fn decide(recipe: &Recipe, subject: &Subject, groups: &[Group]) -> Result<Decided, ConfigureError> {
    recipe.validate()?;
    let mut treatments = vec![recipe.default; subject.layers.len()];
    let mut named = vec![false; treatments.len()];
    for rule in &recipe.overrides {
        for index in matching(recipe, &rule.layers, subject)? {
            treatments[index] = rule.over(treatments[index]);
            named[index] = true;
        }
    }
    Ok(together(groups, &named, treatments, subject))
}

/// Patterns of overrides for the first and the last layer, in the order of [`Subject::layers`].
const FIRST: &str = "@first";
const LAST: &str = "@last";

fn matching(recipe: &Recipe, pattern: &str, subject: &Subject) -> Result<Vec<usize>, ConfigureError> {
    if let Some(exact) = subject.layers.iter().position(|l| l.name == pattern) {
        return Ok(vec![exact]);
    }
    match pattern {
        FIRST => return Ok((0..subject.layers.len().min(1)).collect()),
        LAST => return Ok(subject.layers.len().checked_sub(1).into_iter().collect()),
        _ => {}
    }
    let glob = glob::Pattern::new(pattern).map_err(|e| ConfigureError::Invalid {
        recipe: recipe.name.clone(),
        place: format!("the override \"{pattern}\""),
        reason: e.msg.to_owned(),
    })?;
    let node = |layer: &Layer| layer.node.and_then(|id| subject.folded.node(id));
    let node_name = |layer: &Layer| node(layer).map(|n| n.name.clone()).unwrap_or_default();
    let matched: Vec<usize> = (0..subject.layers.len())
        .filter(|&i| {
            let layer = &subject.layers[i];
            glob.matches(&layer.name) || glob.matches(&layer.weight) || glob.matches(&node_name(layer))
        })
        .collect();
    if matched.is_empty() {
        return Err(ConfigureError::MatchesNothing {
            recipe: recipe.name.clone(),
            pattern: pattern.to_owned(),
            layers: shorten(subject.layers.iter().map(|l| l.name.as_str())),
        });
    }
    Ok(matched)
}

fn shorten<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let mut text = names.take(12).collect::<Vec<_>>().join(", ");
    if count > 12 {
        text += &format!(" and {} more", count - 12);
    }
    text
}

/// # Errors
/// When a pattern matches nothing, or the model cannot be written with what the recipe asks for.
pub fn plan(recipe: &Recipe, subject: &Subject) -> Result<Plan, ConfigureError> {
    plan_for(recipe, subject, None)
}

/// [`plan`] for a kind of file; `None` takes the one that can hold every layer.
///
/// # Errors
/// As [`plan`].
pub fn plan_for(recipe: &Recipe, subject: &Subject, file: Option<FileFormat>) -> Result<Plan, ConfigureError> {
    let graph = |source| ConfigureError::Graph { recipe: recipe.name.clone(), source };
    let subject = &prepared(recipe.equalize, subject).map_err(graph)?;
    let groups = groups(recipe.groups, subject);
    let decided = decide(recipe, subject, &groups)?;
    let (left_out, refusals) = LeftOut::of(&decided.treatments, subject).map_err(graph)?;
    let mut plan = match left_out {
        Some(left_out) => {
            let (left, groups) = left_out.decided(&decided, &groups);
            let mut plan = plan_layers(recipe, &left_out.without(subject).map_err(graph)?, left, groups, file)?;
            left_out.put_back(&mut plan, &decided, subject);
            plan
        }
        None => plan_layers(recipe, subject, decided, groups, file)?,
    };
    for (number, reason) in refusals {
        if let Some(layer) = plan.layers.get_mut(number) {
            layer.refusal = Some(and(layer.refusal.take(), &reason));
        }
    }
    Ok(plan)
}

/// The plan of a network that has lost all branches that it is to lose.
fn plan_layers(
    recipe: &Recipe,
    subject: &Subject,
    Decided { treatments, notes }: Decided,
    groups: Vec<Group>,
    file: Option<FileFormat>,
) -> Result<Plan, ConfigureError> {
    let graph = |source| ConfigureError::Graph { recipe: recipe.name.clone(), source };
    let cuts = Cuts::of(&treatments, subject);
    let whole = subject;
    let cut = cuts.as_ref().filter(|cuts| cuts.cuts_any()).map(|cuts| cuts.foreseen(subject)).transpose().map_err(graph)?;
    let subject = cut.as_ref().unwrap_or(subject);
    let mut layers: Vec<LayerPlan> =
        subject.layers.iter().zip(treatments).map(|(layer, wanted)| layer_plan(layer, wanted, subject)).collect();
    for (layer, said) in layers.iter_mut().zip(notes) {
        layer.note = said.into_iter().chain(layer.note.take()).reduce(|before, more| and(Some(before), &more));
    }
    say_what_is_cut(cuts.as_ref(), &mut layers, whole.loaded.has_graph());
    for (layer, before) in layers.iter_mut().zip(whole.layers.iter()) {
        layer.original_bytes = whole.folded.constants.get(&before.weight).map_or(0, |t| t.size_bytes() as u64);
    }
    let balance = match recipe.balance {
        // What is regained of a cut is held against the whole network, whose channels are as they were.
        wanted if subject.whole.is_some() && wanted != Balance::None => {
            for layer in layers.iter_mut().filter(|l| !l.treatment.is_unchanged()) {
                let reason = "its channels are not balanced: the network lost branches or channels";
                layer.refusal = Some(and(layer.refusal.take(), reason));
            }
            Balance::None
        }
        wanted => wanted.fitted(&subject.folded, &subject.layers, &mut layers),
    };
    share_ranges(&groups, &mut layers);
    let file = file.unwrap_or_else(|| file_of(&layers));
    let lowered = layers.iter_mut().map(|layer| placeholder(layer, file)).collect::<Result<Vec<_>, _>>().map_err(graph)?;
    let unchanged = layers.iter().all(LayerPlan::is_unchanged) && subject.whole.is_none();
    let bytes = predicted_bytes(recipe, subject, unchanged, &layers, &lowered, file)?;
    let weights: u64 = layers.iter().map(|l| l.layer.parameters() as u64).sum();
    let stored: u64 = layers.iter().map(|l| l.bytes).sum();
    Ok(Plan {
        recipe: recipe.name.clone(),
        bits_per_weight: if weights == 0 { 0.0 } else { stored as f64 * 8.0 / weights as f64 },
        layers,
        groups,
        allocation: recipe.allocation,
        equalize: recipe.equalize,
        left_out: None,
        balance,
        cuts,
        file,
        bytes,
        original_bytes: subject.loaded.bytes,
    })
}

/// The network as a recipe's layers are compressed: equalized, where that is asked for.
///
/// # Errors
/// When the rewritten graph is not valid.
pub fn prepared(equalize: Equalization, subject: &Subject) -> Result<Subject, GraphError> {
    match equalize {
        Equalization::None => Ok(subject.clone()),
        Equalization::Layers => subject.equalized(),
        Equalization::LayersAndBiases => subject.equalized()?.absorbed(),
    }
}

/// Tells each layer what becomes of its channels.
fn say_what_is_cut(cuts: Option<&Cuts>, layers: &mut [LayerPlan], has_graph: bool) {
    let mut notes = cuts.map(Cuts::notes).unwrap_or_default();
    for (number, layer) in layers.iter_mut().enumerate().filter(|(_, l)| l.wanted.channels != ChannelCut::None) {
        if !cuts.is_some_and(|cuts| cuts.touches(number)) {
            layer.treatment.channels = ChannelCut::None;
        }
        if !has_graph && layer.wanted.channels != ChannelCut::Branch {
            let reason = "a file without a graph does not tell which channels belong together: none is cut";
            layer.refusal = Some(and(layer.refusal.take(), reason));
        }
    }
    for (number, layer) in layers.iter_mut().enumerate() {
        if let Some(said) = notes.remove(&number) {
            layer.note = Some(and(layer.note.take(), &said));
        }
    }
}

/// The exact size of the exported file: the same rewrite that the export uses, with tensors of
/// which only the size exists.
fn predicted_bytes(
    recipe: &Recipe,
    subject: &Subject,
    unchanged: bool,
    layers: &[LayerPlan],
    lowered: &[LoweredLayer],
    file: FileFormat,
) -> Result<u64, ConfigureError> {
    if let Some(layer) = layers.iter().find(|l| l.treatment.compensate > 0 && !file.holds_graph()) {
        return Err(ConfigureError::Unholdable {
            recipe: recipe.name.clone(),
            layer: layer.layer.name.clone(),
            file: file.name(),
            reason: "two matrices beside it make up for what rounding took, and the file holds no graph that adds them; set its `compensate` to 0".to_owned(),
        });
    }
    let format = |source| ConfigureError::Format { recipe: recipe.name.clone(), source };
    // Made for either kind of file: what cannot be made is refused here, not when it is compressed.
    let model = if unchanged {
        None
    } else {
        let graph = |source| ConfigureError::Graph { recipe: recipe.name.clone(), source };
        Some(lower(&subject.folded, lowered).and_then(|model| file.finished(model)).map_err(graph)?)
    };
    match (file, model) {
        // The blocks' own bytes count: the file that was asked for cannot be written, as the export says.
        (file, Some(_)) if file.holds_graph() && file_of(layers) == FileFormat::Gguf => Ok(layers.iter().map(|l| l.bytes).sum()),
        (FileFormat::Safetensors | FileFormat::CompressedTensors, _) => {
            let stored: Vec<_> = lowered.iter().map(|l| l.stored.clone()).collect();
            Ok(weights_file(&recipe.name, subject, layers, &stored, file)?.sheet.bytes())
        }
        (FileFormat::CHeader, _) => {
            if let Some(layer) = layers.iter().find(|l| l.treatment.activations != Activations::None) {
                return Err(ConfigureError::Unholdable {
                    recipe: recipe.name.clone(),
                    layer: layer.layer.name.clone(),
                    file: file.name(),
                    reason: "its inputs are rounded, and the header holds weights alone; set its activations to None".to_owned(),
                });
            }
            let stored: Vec<_> = lowered.iter().map(|l| l.stored.clone()).collect();
            Ok(header_text(&recipe.name, subject, layers, &stored, Path::new("model.h"))?.len() as u64)
        }
        (FileFormat::Gguf, _) => {
            let replaced = layers.iter().zip(lowered).filter_map(|(plan, lowered)| whole(plan, lowered)).collect();
            let (metadata, tensors) = gguf::write::contents(&subject.folded, &subject.loaded.metadata, &replaced);
            let gguf = |source| ConfigureError::Gguf { recipe: recipe.name.clone(), source };
            gguf::write::file_len(&metadata, &tensors).map_err(gguf)
        }
        (FileFormat::Onnx | FileFormat::OnnxUnsigned | FileFormat::OnnxRuntime | FileFormat::Lapidary, model) => {
            model.map_or_else(|| subject.unchanged_bytes(), |model| subject.file_bytes(&model)).map_err(format)
        }
    }
}

/// The tensor that stands for a layer's weight in a file without a graph, if it is a new one.
fn whole(plan: &LayerPlan, lowered: &LoweredLayer) -> Option<(Wire, Tensor)> {
    let stored = lowered.stored.as_ref()?;
    let tensor = match stored.whole() {
        Some(tensor) => tensor.clone(),
        None => Tensor::zeros(DType::F32, plan.layer.shape.clone()).ok()?,
    };
    Some((plan.layer.weight.clone(), tensor))
}

fn placeholder(plan: &mut LayerPlan, file: FileFormat) -> Result<LoweredLayer, GraphError> {
    let label = format!("store \"{}\"", plan.layer.name);
    let failed = |e: TensorError| GraphError::Patch { label: label.clone(), reason: e.to_string() };
    let stored: Option<StoredWeight> = plan.measure(file).map_err(failed)?;
    let low_rank = plan.compensation().map_err(failed)?;
    plan.bytes += low_rank.as_ref().map_or(0, LowRank::size_bytes);
    Ok(LoweredLayer {
        weight: plan.layer.weight.clone(),
        shape: plan.layer.shape.clone(),
        out_axis: plan.layer.out_axis,
        stored,
        input: plan.layer.input.clone(),
        rounded: plan.treatment.activations.rounded(1.0, 0),
        bias: plan.bias.clone().map(|place| (place, vec![0.0; plan.layer.out_channels()])),
        low_rank,
    })
}
