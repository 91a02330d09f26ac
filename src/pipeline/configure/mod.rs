//! Stage 2. A recipe says what to do; a plan is a recipe read against one model: what will happen
//! to each layer, how many bytes come out, and which layers are left alone for which reason.
//! Touches no weight values and runs nothing.

mod activations;
mod balance;
mod branches;
mod channels;
mod compensation;
mod correction;
mod families;
mod file;
mod fitted;
mod groups;
mod layer;
mod plan;
pub mod presets;
mod recipe;
mod scheme;

pub use activations::{Activations, Sharing, StaticGrid};
pub use balance::Balance;
pub use branches::LeftOut;
pub use channels::{ChannelCut, ChannelScore, Cuts, GroupCut};
pub use correction::{Correction, Level as CorrectionLevel, Loss, Order, Recovery, Solver, Target};
pub use families::{Family, Offer, Offers, WIDTHS};
pub use file::{FileFormat, Held, WeightsFile, header_contents, header_text, module, weights_file, weights_of};
pub use groups::{Group, GroupKind, groups};
pub use layer::{ImportanceSource, LayerPlan, fitting, stored_bytes};
pub use plan::{Plan, plan, plan_for, prepared, resolve};
pub use recipe::{Allocation, Equalization, Grouping, Importance, Override, RECIPE_FORMAT, RECIPE_VERSION, Recipe, Treatment};
pub use scheme::{FloatFormat, Fp8, Fp8Scale, Granularity, Rounding, Saliency, Scheme, Sparsity};

use crate::engine::graph::GraphError;
use crate::pipeline::load::LoadError;
use crate::pipeline::load::gguf::write::GgufError;
use crate::pipeline::load::header::HeaderError;
use crate::pipeline::load::safetensors::write::SafetensorsError;

/// What can be wrong with a recipe, alone or against a model.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    #[error("recipe {origin}, line {line}, column {column}: {reason}")]
    Malformed { origin: String, line: usize, column: usize, reason: String },
    #[error("{origin} is no recipe: it says it is a \"{found}\"")]
    NotARecipe { origin: String, found: String },
    #[error(
        "recipe {origin} has version {version}, newer than this program reads ({RECIPE_VERSION}); open it with a newer Lapidary"
    )]
    Newer { origin: String, version: u32 },
    #[error("recipe \"{recipe}\": {place}: {reason}")]
    Invalid { recipe: String, place: String, reason: String },
    #[error("recipe \"{recipe}\" cannot be written: {reason}")]
    Unwritable { recipe: String, reason: String },
    #[error("there is no recipe or preset \"{name}\"; presets are {known}")]
    UnknownPreset { name: String, known: String },
    #[error("recipe \"{recipe}\": the pattern \"{pattern}\" matches no layer; the model's layers are {layers}")]
    MatchesNothing { recipe: String, pattern: String, layers: String },
    #[error("recipe \"{recipe}\": {source}")]
    Graph { recipe: String, source: GraphError },
    #[error("recipe \"{recipe}\": {source}")]
    Format { recipe: String, source: LoadError },
    #[error("recipe \"{recipe}\": {source}")]
    Gguf { recipe: String, source: GgufError },
    #[error("recipe \"{recipe}\": {source}")]
    Safetensors { recipe: String, source: SafetensorsError },
    #[error("recipe \"{recipe}\": {source}")]
    Header { recipe: String, source: HeaderError },
    #[error("recipe \"{recipe}\": layer \"{layer}\" cannot be written as {file}: {reason}")]
    Unholdable { recipe: String, layer: String, file: &'static str, reason: String },
}
