//! A recipe: what to do with every layer, as a person writes it down.

use super::ConfigureError;
use super::activations::Activations;
use super::balance::Balance;
use super::channels::ChannelCut;
use super::correction::{Correction, Level as CorrectionLevel};
use super::scheme::{Rounding, Saliency, Scheme, Sparsity};
use crate::engine::formats::observe::Observer;
use serde::{Deserialize, Serialize};

/// The tag that a recipe file starts with.
pub const RECIPE_FORMAT: &str = "lapidary-recipe";
/// The newest recipe version that this program reads.
pub const RECIPE_VERSION: u32 = 1;

/// What happens to one layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Treatment {
    pub weights: Scheme,
    #[serde(default)]
    pub sparsity: Sparsity,
    #[serde(default)]
    pub activations: Activations,
    /// How weights between two levels of the scheme are rounded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rounding: Rounding,
    /// How the range of every scale of integers is chosen from the weights that share it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub range: Observer,
    /// What the errors of weights count when scales and codebooks are searched for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub importance: Importance,
    /// What is done, given data, so that the layer gives what it gave before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub correction: Correction,
    /// How many of its channels are cut out of the network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channels: ChannelCut,
    /// What makes a weight small, where `sparsity` takes the small ones away.
    #[serde(default, skip_serializing_if = "is_default")]
    pub saliency: Saliency,
    /// The rank of the product of two matrices that makes up for what rounding took, as far as it can; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compensate: u16,
}

/// What the error of a weight counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Importance {
    /// As much as that of any other.
    #[default]
    Alike,
    /// The mean square `E[x²]` of the data that the weight is multiplied with: of the project's importance file
    /// where that knows the layer, else of the calibration data.
    Activations,
}

/// Which layers decide together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grouping {
    /// None: every layer is treated as it is asked.
    Apart,
    /// Matrices that read the same data, as those of queries, keys and values do: runtimes make one product of them.
    #[default]
    Projections,
    /// Besides, data that meet in residual sums have one static range: sums of integers then need no new scale.
    ProjectionsAndSums,
}

/// Whether weights are made alike across layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Equalization {
    #[default]
    None,
    /// Channels are scaled in one layer and scaled back in the next, so that one scale suits all of a tensor.
    Layers,
    /// Besides, what channels are nearly always above, as folded batch normalization tells, moves from their biases to
    /// those of the next layer: data span less. Not exact.
    LayersAndBiases,
}

/// How much of each layer is pruned, of those that a share is to be pruned of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allocation {
    /// The share that is asked for.
    #[default]
    Uniform,
    /// The shares hold for all such layers together: the smallest magnitudes of all go.
    Global,
    /// The same with magnitudes relative to what is left of their layer (LAMP).
    Lamp,
    /// The same by shapes alone: small layers keep more (ERK).
    Erk,
}

impl Allocation {
    pub const ALL: [Self; 4] = [Self::Uniform, Self::Global, Self::Lamp, Self::Erk];
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Treatment {
    /// Leaves a layer as it is.
    pub const UNCHANGED: Self = Self {
        weights: Scheme::F32,
        sparsity: Sparsity::Dense,
        activations: Activations::None,
        rounding: Rounding::NearestEven,
        range: Observer::MinMax,
        importance: Importance::Alike,
        correction: Correction::NONE,
        channels: ChannelCut::None,
        saliency: Saliency::Magnitude,
        compensate: 0,
    };

    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        // Where nothing is rounded, it does not matter how.
        let Self { weights, sparsity, activations, channels, .. } = *self;
        Self { weights, sparsity, activations, channels, ..Self::UNCHANGED } == Self::UNCHANGED
    }

    /// Whether weights are pruned by what they are multiplied with.
    #[must_use]
    pub fn weighs_inputs(&self) -> bool {
        self.weighs_data() && self.saliency == Saliency::Inputs
    }

    /// Whether it takes data to tell which weights are pruned.
    #[must_use]
    pub fn weighs_data(&self) -> bool {
        let chosen = !matches!(self.sparsity, Sparsity::Dense | Sparsity::Threshold(_));
        chosen && self.saliency != Saliency::Magnitude
    }

    /// With the correction of a level; the best also searches for scales, weighed by inputs.
    #[must_use]
    pub fn corrected(self, level: CorrectionLevel) -> Self {
        let correction = level.correction(self.sparsity != Sparsity::Dense);
        let was_best = CorrectionLevel::of(self.correction) == Some(CorrectionLevel::Best);
        let (range, importance) = match level {
            CorrectionLevel::Best => (Observer::Grid { exponent: 2.0 }, Importance::Activations),
            _ if was_best => (Observer::default(), Importance::default()),
            _ => (self.range, self.importance),
        };
        Self { range, importance, correction, ..self }.sensible()
    }

    /// The scheme, and in words what is chosen beside it.
    #[must_use]
    pub fn weights_text(&self) -> String {
        let mut text = self.weights.to_string();
        if self.rounding != Rounding::default() {
            text += &format!(", {}", self.rounding);
        }
        if self.range != Observer::default() {
            text += &format!(", {} ranges", self.range);
        }
        if self.importance != Importance::default() {
            text += ", weighed by inputs";
        }
        if self.correction != Correction::NONE {
            text += &format!("; {}", self.correction);
        }
        if self.compensate > 0 {
            text += &format!("; compensated by rank {}", self.compensate);
        }
        text
    }

    /// Without what its scheme has no use for: ways to round, to choose ranges and to weigh errors.
    #[must_use]
    pub fn sensible(self) -> Self {
        let rounding = if self.weights.rounds() { self.rounding } else { Rounding::default() };
        let movable = self.range != Observer::HalfQuadratic || self.weights.has_zero_points();
        let range = if self.weights.has_ranges() && movable { self.range } else { Observer::default() };
        let importance = if self.weights.weighs(range) { self.importance } else { Importance::default() };
        Self { rounding, range, importance, ..self }
    }

    /// Why the scheme has no use for something that is asked for beside it.
    #[must_use]
    pub fn useless(&self) -> Option<String> {
        let (weights, sensible) = (self.weights, self.sensible());
        if sensible.rounding != self.rounding {
            Some(format!("{weights} has its own rule of rounding; leave `rounding` out"))
        } else if sensible.range != self.range && weights.has_ranges() {
            Some(format!("{} ranges move zero points, and {weights} has none; take asymmetric integers", self.range))
        } else if sensible.range != self.range {
            Some(format!("{weights} has its own rule for scales; leave `range` out"))
        } else if sensible.importance != self.importance && weights.has_ranges() {
            let range = self.range;
            Some(format!("importance weighs errors, and {range} ranges look at none; take `range: Grid(exponent: 2.0)`"))
        } else if sensible.importance != self.importance {
            Some(format!("{weights} is found without looking at errors; leave `importance` out"))
        } else {
            None
        }
    }

    /// # Errors
    /// A sentence on what is wrong.
    fn validate(&self) -> Result<(), String> {
        self.weights.validate()?;
        self.sparsity.validate()?;
        self.activations.validate()?;
        self.range.validate()?;
        self.correction.validate()?;
        self.channels.validate()?;
        self.useless().map_or(Ok(()), Err)
    }
}

/// A change of the default for the layers that `layers` matches; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// A layer's exact name, a glob (`layer1.*`) over layer, weight and node names, or `@first` or `@last`.
    pub layers: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Scheme>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<Sparsity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<Activations>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Observer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelCut>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saliency: Option<Saliency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<u16>,
}

impl Override {
    #[must_use]
    pub fn new(layers: impl Into<String>) -> Self {
        Self {
            layers: layers.into(),
            weights: None,
            sparsity: None,
            activations: None,
            rounding: None,
            range: None,
            importance: None,
            correction: None,
            channels: None,
            saliency: None,
            compensate: None,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::new(self.layers.clone())
    }

    /// What a treatment becomes by it. A new scheme keeps of the old one's ways what it has a use for.
    #[must_use]
    pub fn over(&self, treatment: Treatment) -> Treatment {
        let kept = match self.weights {
            Some(weights) => Treatment { weights, ..treatment }.sensible(),
            None => treatment,
        };
        Treatment {
            weights: kept.weights,
            sparsity: self.sparsity.unwrap_or(kept.sparsity),
            activations: self.activations.unwrap_or(kept.activations),
            rounding: self.rounding.unwrap_or(kept.rounding),
            range: self.range.unwrap_or(kept.range),
            importance: self.importance.unwrap_or(kept.importance),
            correction: self.correction.unwrap_or(kept.correction),
            channels: self.channels.unwrap_or(kept.channels),
            saliency: self.saliency.unwrap_or(kept.saliency),
            compensate: self.compensate.unwrap_or(kept.compensate),
        }
    }

    /// # Errors
    /// A sentence on what is wrong.
    fn validate(&self) -> Result<(), String> {
        glob::Pattern::new(&self.layers).map_err(|e| format!("the pattern is malformed: {}", e.msg))?;
        self.weights.map_or(Ok(()), Scheme::validate)?;
        self.sparsity.map_or(Ok(()), Sparsity::validate)?;
        self.activations.map_or(Ok(()), Activations::validate)?;
        self.range.map_or(Ok(()), |range| range.validate())?;
        self.correction.map_or(Ok(()), |correction| correction.validate())?;
        self.channels.map_or(Ok(()), ChannelCut::validate)?;
        // What hangs on the default as well is judged in the plan, layer by layer.
        let alone = self.weights.is_some_and(|w| self.importance.is_none() || self.range.is_some() || !w.has_ranges());
        let useless = if alone { self.over(Treatment::UNCHANGED).useless() } else { None };
        useless.map_or(Ok(()), Err)
    }
}

/// A default and its exceptions; later overrides win over earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub format: String,
    pub version: u32,
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// How the recipe came about, a line each; of one that a person wrote it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<String>,
    pub default: Treatment,
    #[serde(default)]
    pub overrides: Vec<Override>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub groups: Grouping,
    /// How what is pruned is shared out to layers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allocation: Allocation,
    /// What is done to the network before anything is compressed, without a change of what it computes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub equalize: Equalization,
    /// What is done then, told by calibration data, without a change of what the network computes either.
    #[serde(default, skip_serializing_if = "is_default")]
    pub balance: Balance,
}

/// Read before the rest, so that a newer file is refused by its version and not by a field.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

impl Recipe {
    #[must_use]
    pub fn new(name: impl Into<String>, default: Treatment) -> Self {
        Self {
            format: RECIPE_FORMAT.to_owned(),
            version: RECIPE_VERSION,
            name: name.into(),
            description: String::new(),
            history: Vec::new(),
            default,
            overrides: Vec::new(),
            groups: Grouping::default(),
            allocation: Allocation::default(),
            equalize: Equalization::default(),
            balance: Balance::default(),
        }
    }

    /// Reads a recipe from RON text; `origin` names it in errors.
    ///
    /// # Errors
    /// With line and column where the text is no recipe, is newer than this program, or holds
    /// values that make no sense.
    pub fn from_ron(text: &str, origin: &str) -> Result<Self, ConfigureError> {
        let malformed = |e: ron::error::SpannedError| ConfigureError::Malformed {
            origin: origin.to_owned(),
            line: e.span.start.line,
            column: e.span.start.col,
            reason: e.code.to_string(),
        };
        let header: Header = ron::from_str(text).map_err(malformed)?;
        if header.format != RECIPE_FORMAT {
            return Err(ConfigureError::NotARecipe { origin: origin.to_owned(), found: header.format });
        }
        if header.version > RECIPE_VERSION {
            return Err(ConfigureError::Newer { origin: origin.to_owned(), version: header.version });
        }
        let recipe: Self = ron::from_str(text).map_err(malformed)?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// # Errors
    /// When RON cannot hold the recipe.
    pub fn to_ron(&self) -> Result<String, ConfigureError> {
        ron::ser::to_string_pretty(self, ron::ser::PrettyConfig::default().struct_names(false))
            .map(|text| text + "\n")
            .map_err(|e| ConfigureError::Unwritable { recipe: self.name.clone(), reason: e.to_string() })
    }

    /// # Errors
    /// When a width, a group, a threshold or a fraction makes no sense.
    pub fn validate(&self) -> Result<(), ConfigureError> {
        let bad = |place: &str, reason| ConfigureError::Invalid { recipe: self.name.clone(), place: place.to_owned(), reason };
        if self.name.trim().is_empty() {
            return Err(bad("the name", "a recipe needs a name".to_owned()));
        }
        self.default.validate().map_err(|r| bad("the default", r))?;
        self.balance.validate().map_err(|r| bad("the balance", r))?;
        for rule in &self.overrides {
            rule.validate().map_err(|r| bad(&format!("the override \"{}\"", rule.layers), r))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_ron() {
        let mut recipe = Recipe::new("mine", Treatment { weights: Scheme::per_channel(4), ..Treatment::UNCHANGED });
        recipe.overrides.push(Override {
            weights: Some(Scheme::F32),
            sparsity: Some(Sparsity::Fraction(0.5)),
            ..Override::new("layer1.*")
        });
        let text = recipe.to_ron().unwrap();
        assert_eq!(Recipe::from_ron(&text, "test").unwrap(), recipe);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let text = Recipe::new("a", Treatment::UNCHANGED).to_ron().unwrap();
        let newer = text.replace("version: 1", "version: 2").replace("name:", "shiny: 3, name:");
        assert!(matches!(Recipe::from_ron(&newer, "x"), Err(ConfigureError::Newer { version: 2, .. })));
        let unknown = text.replace("name:", "shiny: 3, name:");
        assert!(matches!(Recipe::from_ron(&unknown, "x"), Err(ConfigureError::Malformed { .. })));
        let nonsense = text.replace("Float(F32)", "Integer(bits: 9, symmetric: true, granularity: Channel)");
        assert!(Recipe::from_ron(&nonsense, "x").unwrap_err().to_string().contains("2 to 8 bits"));
    }
}
