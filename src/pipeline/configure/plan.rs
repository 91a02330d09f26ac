//! Recipe × model → plan.

use super::ConfigureError;
use super::activations::Activations;
use super::recipe::{Recipe, Treatment};
use super::scheme::{FloatFormat, Granularity, Scheme};
use crate::engine::graph::{KnownRange, Layer, LoweredLayer, Model, ScaleLayout, StoredWeight, known_range, lower};
use crate::engine::tensor::{DType, Tensor, TensorError};
use crate::pipeline::load::Subject;

/// What will happen to one layer.
#[derive(Debug, Clone)]
pub struct LayerPlan {
    pub layer: Layer,
    /// What the recipe asks for.
    pub wanted: Treatment,
    /// What will be done: `wanted`, less what was refused.
    pub treatment: Treatment,
    /// How codes and scales lie, for integers.
    pub layout: ScaleLayout,
    /// What the graph tells of the data that the layer reads.
    pub known: KnownRange,
    /// Bytes of the weight as the exported file stores it: codes, scales, zero points.
    pub bytes: u64,
    /// Bytes of the weight in the original file.
    pub original_bytes: u64,
    /// Why something that the recipe asks for will not be done.
    pub refusal: Option<String>,
    /// What the person should know of how it will be done.
    pub note: Option<String>,
}

impl LayerPlan {
    /// Whether the range of its data must be calibrated.
    #[must_use]
    pub fn needs_range(&self) -> bool {
        let fixed = matches!(self.known, KnownRange::Fixed { .. });
        self.treatment.activations.static_grid().is_some_and(|grid| !(grid.uses_bounds && fixed))
    }
}

/// What a recipe will do to a model, known before anything runs.
#[derive(Debug, Clone)]
pub struct Plan {
    pub recipe: String,
    pub layers: Vec<LayerPlan>,
    /// Exact size of the exported ONNX file.
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
        self.layers.iter().all(|l| l.treatment.is_unchanged())
    }

    #[must_use]
    pub fn layer(&self, name: &str) -> Option<&LayerPlan> {
        self.layers.iter().find(|l| l.layer.name == name)
    }

    /// Whether calibration data is needed.
    #[must_use]
    pub fn needs_calibration(&self) -> bool {
        self.layers.iter().any(LayerPlan::needs_range)
    }
}

/// The treatment of each layer, in the order of `subject.layers`.
///
/// # Errors
/// When a pattern matches nothing, naming it and the layers that there are.
pub fn resolve(recipe: &Recipe, subject: &Subject) -> Result<Vec<Treatment>, ConfigureError> {
    recipe.validate()?;
    let mut treatments = vec![recipe.default; subject.layers.len()];
    for rule in &recipe.overrides {
        let matched = matching(recipe, &rule.layers, subject)?;
        for index in matched {
            let treatment = &mut treatments[index];
            treatment.weights = rule.weights.unwrap_or(treatment.weights);
            treatment.sparsity = rule.sparsity.unwrap_or(treatment.sparsity);
            treatment.activations = rule.activations.unwrap_or(treatment.activations);
        }
    }
    Ok(treatments)
}

fn matching(recipe: &Recipe, pattern: &str, subject: &Subject) -> Result<Vec<usize>, ConfigureError> {
    if let Some(exact) = subject.layers.iter().position(|l| l.name == pattern) {
        return Ok(vec![exact]);
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
    let treatments = resolve(recipe, subject)?;
    let mut layers: Vec<LayerPlan> =
        subject.layers.iter().zip(treatments).map(|(layer, wanted)| layer_plan(layer, wanted, &subject.folded)).collect();
    let unchanged = layers.iter().all(|l| l.treatment.is_unchanged());
    let format = |source| ConfigureError::Format { recipe: recipe.name.clone(), source };
    let bytes =
        if unchanged { subject.unchanged_bytes().map_err(format)? } else { predicted_bytes(recipe, subject, &mut layers)? };
    let weights: u64 = layers.iter().map(|l| l.layer.parameters() as u64).sum();
    let stored: u64 = layers.iter().map(|l| l.bytes).sum();
    Ok(Plan {
        recipe: recipe.name.clone(),
        bits_per_weight: if weights == 0 { 0.0 } else { stored as f64 * 8.0 / weights as f64 },
        layers,
        bytes,
        original_bytes: subject.loaded.bytes,
    })
}

fn layer_plan(layer: &Layer, wanted: Treatment, model: &Model) -> LayerPlan {
    let original_bytes = model.constants.get(&layer.weight).map_or(0, |t| t.size_bytes() as u64);
    let (mut treatment, mut refusal, mut note) = (wanted, None, None);
    if let Scheme::Integer { bits, symmetric, granularity } = wanted.weights {
        let row = layer.parameters() / layer.out_channels().max(1);
        if let Granularity::Group(size) = granularity {
            if row < size {
                treatment.weights = Scheme::Integer { bits, symmetric, granularity: Granularity::Channel };
                refusal = Some(format!(
                    "a channel has only {row} weights, fewer than a group of {size}: one scale per channel instead"
                ));
            } else if layer.shape.len() > 2 && layer.out_axis != 0 {
                treatment.weights = Scheme::Integer { bits, symmetric, granularity: Granularity::Channel };
                refusal = Some(
                    "groups need output channels first, which a transposed convolution has not: one scale per channel instead"
                        .to_owned(),
                );
            }
        }
        let held = treatment.weights.storage().bits();
        if held > usize::from(bits) {
            note = Some(format!("ONNX has no {bits}-bit type: each value takes {held} bits in the file"));
        }
    }
    if wanted.weights == Scheme::F32 && wanted.sparsity != super::Sparsity::Dense {
        note = Some("zeros take as many bytes in ONNX as other values".to_owned());
    }
    let (activations, reason) = wanted.activations.fitted(layer, model);
    treatment.activations = activations;
    refusal = joined(refusal, reason);
    note = joined(note, activations.note());
    // What reads a weight in a graph expects its type; without a graph nothing does.
    let in_graph = model.constants.get(&layer.weight).filter(|_| layer.node.is_some());
    let dtype = in_graph.map(Tensor::dtype).filter(|d| *d != DType::F32);
    if let (Some(dtype), false) = (dtype, treatment.is_unchanged()) {
        treatment = Treatment::UNCHANGED;
        refusal =
            Some(format!("its weights are {dtype}, and only float32 weights are compressed yet; export the model in float32"));
    }
    let inputs = model.nodes.iter().filter(|n| n.input(1) == Some(&layer.weight) && n.input(0) != Some(&layer.input)).count();
    if inputs > 0 && treatment.activations != Activations::None {
        note = joined(note, Some(format!("{inputs} more nodes share its weight; the data that they read stays float")));
    }
    let layout = layout_of(layer, treatment.weights);
    let known = known_range(model, &layer.input);
    LayerPlan { layer: layer.clone(), wanted, treatment, layout, known, bytes: original_bytes, original_bytes, refusal, note }
}

/// Two remarks as one.
fn joined(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}

fn layout_of(layer: &Layer, scheme: Scheme) -> ScaleLayout {
    match scheme {
        Scheme::Integer { granularity: Granularity::Channel, .. } => ScaleLayout::Axis(layer.out_axis),
        Scheme::Integer { granularity: Granularity::Group(size), .. } => ScaleLayout::Blocked { size },
        _ => ScaleLayout::Tensor,
    }
}

/// The exact size of the exported file: the same rewrite that the export uses, with tensors of
/// which only the size exists.
fn predicted_bytes(recipe: &Recipe, subject: &Subject, layers: &mut [LayerPlan]) -> Result<u64, ConfigureError> {
    let graph = |source| ConfigureError::Graph { recipe: recipe.name.clone(), source };
    let lowered = layers.iter_mut().map(placeholder).collect::<Result<Vec<_>, _>>().map_err(|e| {
        graph(crate::engine::graph::GraphError::Patch { label: "predict bytes".to_owned(), reason: e.to_string() })
    })?;
    let model = lower(&subject.folded, &lowered).map_err(graph)?;
    subject.file_bytes(&model).map_err(|source| ConfigureError::Format { recipe: recipe.name.clone(), source })
}

fn placeholder(plan: &mut LayerPlan) -> Result<LoweredLayer, TensorError> {
    let stored = placeholder_weight(plan)?;
    if let Some(stored) = &stored {
        plan.bytes = stored.size_bytes();
    }
    Ok(LoweredLayer {
        weight: plan.layer.weight.clone(),
        shape: plan.layer.shape.clone(),
        out_axis: plan.layer.out_axis,
        stored,
        input: plan.layer.input.clone(),
        rounded: plan.treatment.activations.rounded(1.0, 0),
    })
}

fn placeholder_weight(plan: &LayerPlan) -> Result<Option<StoredWeight>, TensorError> {
    let shape = plan.layer.shape.clone();
    Ok(match plan.treatment.weights {
        Scheme::Float(FloatFormat::F32) if plan.treatment.sparsity == super::Sparsity::Dense => None,
        Scheme::Float(FloatFormat::F32) => Some(StoredWeight::Float32(Tensor::zeros(DType::F32, shape)?)),
        Scheme::Float(FloatFormat::F16) => Some(StoredWeight::Float16(Tensor::zeros(DType::F16, shape)?)),
        scheme @ Scheme::Integer { symmetric, .. } => {
            let (code_shape, scale_shape) = stored_shapes(&plan.layer, plan.layout);
            let zero_points = if symmetric { None } else { Some(Tensor::zeros(scheme.storage(), scale_shape.clone())?) };
            Some(StoredWeight::Integer {
                codes: Tensor::zeros(scheme.storage(), code_shape)?,
                scales: Tensor::zeros(DType::F32, scale_shape)?,
                zero_points,
                layout: plan.layout,
            })
        }
    })
}

/// Shapes of codes and scales of a layer under a layout.
#[must_use]
pub(crate) fn stored_shapes(layer: &Layer, layout: ScaleLayout) -> (Vec<usize>, Vec<usize>) {
    match layout {
        ScaleLayout::Tensor => (layer.shape.clone(), Vec::new()),
        ScaleLayout::Axis(_) => (layer.shape.clone(), vec![layer.out_channels()]),
        ScaleLayout::Blocked { size } => {
            let rows = layer.out_channels();
            let columns = layer.parameters() / rows.max(1);
            (vec![rows, columns], vec![rows, columns.div_ceil(size)])
        }
    }
}
