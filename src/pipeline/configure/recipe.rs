//! A recipe: what to do with every layer, as a person writes it down.

use super::ConfigureError;
use super::activations::Activations;
use super::scheme::{Rounding, Scheme, Sparsity};
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
}

fn is_default(rounding: &Rounding) -> bool {
    *rounding == Rounding::default()
}

impl Treatment {
    /// Leaves a layer as it is.
    pub const UNCHANGED: Self =
        Self { weights: Scheme::F32, sparsity: Sparsity::Dense, activations: Activations::None, rounding: Rounding::NearestEven };

    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        // Where nothing is rounded, it does not matter how.
        Self { rounding: Self::UNCHANGED.rounding, ..*self } == Self::UNCHANGED
    }

    /// # Errors
    /// A sentence on what is wrong.
    fn validate(&self) -> Result<(), String> {
        self.weights.validate()?;
        self.sparsity.validate()?;
        self.activations.validate()?;
        if self.rounding != Rounding::NearestEven && !self.weights.rounds() {
            return Err(format!("{} has its own rule of rounding; leave `rounding` out", self.weights));
        }
        Ok(())
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
}

impl Override {
    #[must_use]
    pub fn new(layers: impl Into<String>) -> Self {
        Self { layers: layers.into(), weights: None, sparsity: None, activations: None, rounding: None }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::new(self.layers.clone())
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
        for rule in &self.overrides {
            let place = format!("the override \"{}\"", rule.layers);
            glob::Pattern::new(&rule.layers).map_err(|e| bad(&place, format!("the pattern is malformed: {}", e.msg)))?;
            if let Some(scheme) = rule.weights {
                scheme.validate().map_err(|r| bad(&place, r))?;
            }
            if let Some(sparsity) = rule.sparsity {
                sparsity.validate().map_err(|r| bad(&place, r))?;
            }
            if let Some(activations) = rule.activations {
                activations.validate().map_err(|r| bad(&place, r))?;
            }
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
