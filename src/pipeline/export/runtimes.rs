//! What a runtime will do with a plan: which parts it computes as they are stored, which it turns back into floats
//! first, and which it refuses. The facts and where they come from lie in `assets/runtimes.ron`.

use super::Format;
use crate::engine::formats::{self, Float, Granularity, Integer, Symmetry};
use crate::pipeline::configure::{Activations, LayerPlan, Plan, Sharing, Sparsity};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A trait of a layer that runtimes differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    Float16,
    Bfloat16,
    Float8,
    /// Integers of up to 2, 4, 8 and 16 bits, with one scale per channel or tensor.
    Int2,
    Int4,
    Int8,
    Int16,
    /// The same of 4 and 8 bits with scales per group or block.
    Int4Groups,
    Int8Groups,
    /// Zero points beside weights.
    Asymmetric,
    /// MX formats and NVFP4.
    Micro,
    /// NF4 and other codebooks.
    Codebook,
    /// Two bits whose values are trained.
    Ternary,
    /// Blocks of GGUF files.
    Blocks,
    /// Weights that are zero.
    Zeros,
    /// Data in 8 bits with a known range; around zero or not.
    StaticSymmetric,
    Static,
    /// Data in 8 bits whose range is found for each batch, or each token.
    Dynamic,
    DynamicToken,
    /// Data in 4 or 16 bits.
    OtherData,
}

/// What a runtime does with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Runs {
    /// Computes with it as it is stored.
    Native,
    /// Runs it, but turns it into floats first: a smaller file, no faster network.
    Falls,
    Refused,
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Falls => "as floats",
            Self::Refused => "refused",
        })
    }
}

/// Facts about parts, and who says so.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    parts: Vec<Part>,
    /// The group sizes that it speaks of; empty: all that no rule before it speaks of.
    #[serde(default)]
    groups: Vec<usize>,
    runs: Runs,
    why: String,
    source: String,
    /// Said even where the part is native.
    #[serde(default)]
    caution: bool,
}

/// The kind of file that a runtime reads.
#[derive(Debug, Clone, Copy, Deserialize)]
enum File {
    Onnx,
    Gguf,
    CompressedTensors,
    CHeader,
}

/// A runtime.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// As it is asked for.
    pub name: String,
    pub title: String,
    file: File,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    runtimes: Vec<Runtime>,
}

/// What is wrong with the question.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("there is nothing known of a runtime \"{name}\"; known are {known}")]
    Unknown { name: String, known: String },
    #[error("the table of runtimes: {0}")]
    Table(#[from] ron::error::SpannedError),
}

/// What becomes of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub layer: String,
    /// The worst of its parts.
    pub runs: Runs,
    /// For each part that is not native, or not without caution: why, and who says so.
    pub remarks: Vec<(String, String)>,
}

/// Every runtime that something is known of.
///
/// # Errors
/// When the table is damaged.
pub fn all() -> Result<Vec<Runtime>, RuntimeError> {
    Ok(ron::from_str::<Table>(include_str!("../../../assets/runtimes.ron"))?.runtimes)
}

/// # Errors
/// When nothing is known of it, naming what is.
pub fn named(name: &str) -> Result<Runtime, RuntimeError> {
    let mut all = all()?;
    let known = all.iter().map(|r| r.name.clone()).collect::<Vec<_>>().join(", ");
    let place = all.iter().position(|r| r.name == name);
    place.map(|at| all.swap_remove(at)).ok_or_else(|| RuntimeError::Unknown { name: name.to_owned(), known })
}

impl Runtime {
    #[must_use]
    pub fn file(&self) -> Format {
        match self.file {
            File::Onnx => Format::Onnx,
            File::Gguf => Format::Gguf,
            File::CompressedTensors => Format::CompressedTensors,
            File::CHeader => Format::CHeader,
        }
    }

    /// What it does with one part of a layer whose weights have groups of a size: how, why, and who says so.
    fn rule(&self, part: Part, group: Option<usize>) -> Option<&Rule> {
        let fits = |rule: &&Rule| rule.groups.is_empty() || group.is_some_and(|size| rule.groups.contains(&size));
        self.rules.iter().filter(|rule| rule.parts.contains(&part)).find(fits)
    }

    /// What it does with each layer of a plan.
    #[must_use]
    pub fn verdicts(&self, plan: &Plan) -> Vec<Verdict> {
        plan.layers.iter().map(|layer| self.verdict(layer)).collect()
    }

    fn verdict(&self, layer: &LayerPlan) -> Verdict {
        let mut verdict = Verdict { layer: layer.layer.name.clone(), runs: Runs::Native, remarks: Vec::new() };
        let group = group_of(layer);
        for part in parts(layer) {
            // Of what nothing is known nothing good is promised.
            let (runs, why, source, said) = match self.rule(part, group) {
                Some(rule) => (rule.runs, rule.why.clone(), rule.source.clone(), rule.caution || rule.runs != Runs::Native),
                None => (Runs::Refused, format!("nothing is known of {part:?}"), String::new(), true),
            };
            verdict.runs = verdict.runs.max(runs);
            if said {
                verdict.remarks.push((why, source));
            }
        }
        verdict
    }
}

/// How many weights of a row share a scale, where not all do.
fn group_of(layer: &LayerPlan) -> Option<usize> {
    match layer.treatment.weights.format()? {
        formats::Format::Integer(Integer { granularity: Granularity::Group(size), .. }) => Some(size),
        formats::Format::Integer(Integer { granularity: Granularity::Block { cols, .. }, .. }) => Some(cols),
        _ => None,
    }
}

/// What a layer has that runtimes differ in.
fn parts(layer: &LayerPlan) -> Vec<Part> {
    let mut parts: Vec<Part> = layer.treatment.weights.format().into_iter().flat_map(weight_parts).collect();
    if layer.treatment.sparsity != Sparsity::Dense {
        parts.push(Part::Zeros);
    }
    parts.extend(match layer.treatment.activations {
        Activations::None => None,
        Activations::StaticWith { bits: 8, symmetric: true, .. } => Some(Part::StaticSymmetric),
        Activations::Static | Activations::StaticWith { bits: 8, symmetric: false, .. } => Some(Part::Static),
        Activations::DynamicWith { bits: 8, per: Sharing::Token, .. } => Some(Part::DynamicToken),
        Activations::Dynamic | Activations::DynamicWith { bits: 8, per: Sharing::Tensor, .. } => Some(Part::Dynamic),
        Activations::StaticWith { .. } | Activations::DynamicWith { .. } => Some(Part::OtherData),
    });
    parts
}

fn weight_parts(format: formats::Format) -> Vec<Part> {
    match format {
        formats::Format::Float(Float::F16) => vec![Part::Float16],
        formats::Format::Float(Float::BF16) => vec![Part::Bfloat16],
        formats::Format::Float(Float::Fp8 { .. }) => vec![Part::Float8],
        formats::Format::Integer(Integer { bits, symmetry, granularity, .. }) => {
            let groups = matches!(granularity, Granularity::Group(_) | Granularity::Block { .. });
            let width = match (bits, groups) {
                (..=2, _) => Part::Int2,
                (3..=4, false) => Part::Int4,
                (3..=4, true) => Part::Int4Groups,
                (5..=8, false) => Part::Int8,
                (5..=8, true) => Part::Int8Groups,
                _ => Part::Int16,
            };
            let zero_points = (symmetry == Symmetry::Asymmetric).then_some(Part::Asymmetric);
            std::iter::once(width).chain(zero_points).collect()
        }
        formats::Format::Micro(_) => vec![Part::Micro],
        formats::Format::Normal(_) | formats::Format::Codebook(_) => vec![Part::Codebook],
        formats::Format::Ternary(_) | formats::Format::Binary => vec![Part::Ternary],
        formats::Format::Block(_) => vec![Part::Blocks],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::{Layer, LayerKind};
    use crate::pipeline::configure::{Scheme, presets};

    const PARTS: [Part; 20] = [
        Part::Float16,
        Part::Bfloat16,
        Part::Float8,
        Part::Int2,
        Part::Int4,
        Part::Int8,
        Part::Int16,
        Part::Int4Groups,
        Part::Int8Groups,
        Part::Asymmetric,
        Part::Micro,
        Part::Codebook,
        Part::Ternary,
        Part::Blocks,
        Part::Zeros,
        Part::StaticSymmetric,
        Part::Static,
        Part::Dynamic,
        Part::DynamicToken,
        Part::OtherData,
    ];

    #[test]
    fn every_runtime_says_something_of_every_part_and_who_says_so() {
        let all = all().unwrap();
        assert!(all.len() >= 6);
        for runtime in &all {
            for part in PARTS {
                let rules: Vec<_> = runtime.rules.iter().filter(|r| r.parts.contains(&part)).collect();
                let whole = rules.iter().filter(|r| r.groups.is_empty()).count();
                assert_eq!(whole, 1, "{} on {part:?}", runtime.name);
                assert!(rules.last().unwrap().groups.is_empty(), "{} on {part:?}: what comes after is never read", runtime.name);
            }
            for rule in &runtime.rules {
                // A page or a file that can be looked up.
                assert!(rule.source.contains('/') || runtime.name == "c-header", "{}: {}", runtime.name, rule.source);
                assert!(rule.why.len() > 12, "{}", runtime.name);
            }
        }
        assert!(named("abacus").unwrap_err().to_string().contains("onnxruntime"));
    }

    #[test]
    fn the_worst_part_of_a_layer_counts() {
        let bare = |preset: &str| {
            let recipe = presets::preset(preset).unwrap();
            LayerPlan::bare(Layer::lone(LayerKind::Gemm, &[8, 64]), recipe.default)
        };
        let runs = |runtime: &str, preset: &str| named(runtime).unwrap().verdict(&bare(preset)).runs;
        assert_eq!(runs("onnxruntime", "int8"), Runs::Native);
        assert!(named("onnxruntime").unwrap().verdict(&bare("int8")).remarks[0].0.contains("VNNI"), "a caution is said");
        assert_eq!(runs("onnxruntime", "codebook4"), Runs::Falls);
        assert_eq!(runs("onnxruntime", "q4_k"), Runs::Refused);
        assert_eq!(runs("tensorrt", "int8"), Runs::Refused, "zero points beside data");
        assert_eq!(runs("llama.cpp", "q4_k"), Runs::Native);
        assert_eq!(runs("vllm", "w4-g32"), Runs::Native);
        let groups = |runtime: &str, size: usize| {
            let mut treatment = presets::preset("w4-g32").unwrap().default;
            treatment.weights = Scheme::Integer { bits: 4, symmetric: true, granularity: Granularity::Group(size) };
            named(runtime).unwrap().verdict(&LayerPlan::bare(Layer::lone(LayerKind::Gemm, &[8, 768]), treatment)).runs
        };
        assert_eq!([32, 64, 128].map(|size| groups("vllm", size)), [Runs::Native; 3]);
        assert_eq!([16, 48, 256].map(|size| groups("vllm", size)), [Runs::Refused; 3]);
        assert_eq!([16, 24].map(|size| groups("onnxruntime", size)), [Runs::Native, Runs::Falls]);
        assert_eq!(runs("vllm", "fp32"), Runs::Native);
        assert!(!named("tensorrt").unwrap().verdict(&bare("int8")).remarks.is_empty());
    }
}
