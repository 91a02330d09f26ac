//! The recipes that always exist.

use super::ConfigureError;
use super::recipe::Recipe;

macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../assets/presets/", $name, ".ron")))),+]
    };
}

/// Presets that are offered together.
pub struct Group {
    pub name: &'static str,
    presets: &'static [(&'static str, &'static str)],
}

impl Group {
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.presets.iter().map(|(name, _)| *name)
    }
}

/// Name and text of every preset, in the order in which they are offered. The first group holds those that most
/// networks want to be held against.
pub const GROUPS: &[Group] = &[
    Group {
        name: "Common",
        presets: &presets![
            "fp32",
            "fp16",
            "w8",
            "w6",
            "w4",
            "w3",
            "w2",
            "w4-g32",
            "int8",
            "int8-dynamic",
            "prune50",
            "prune50-w8",
            "w4-guarded",
        ],
    },
    Group {
        name: "Data as integers",
        presets: &presets![
            "int8-per-tensor",
            "int8-dynamic-token",
            "int8-moving-average",
            "int8-percentile",
            "int8-entropy",
            "int8-mse",
            "int8-lp",
            "int8-gaussian",
            "int8-symmetric",
            "int16-activations",
            "w8a4",
            "w4a4",
            "int8-histogram",
            "int8-sums",
        ],
    },
    Group {
        name: "Integer weights",
        presets: &presets![
            "w16",
            "w4-full",
            "w4-g32-f16",
            "w8-pow2",
            "w4-block",
            "w3-guarded",
            "w4-mse",
            "w3-mse",
            "w4-lp",
            "w4-percentile",
            "w4-entropy",
            "w4-histogram",
            "w4-gaussian",
            "w4-importance",
            "w4-g32-zero",
            "w4-g32-hqq",
        ],
    },
    Group {
        name: "Corrected on calibration data",
        presets: &presets![
            "w4-bias",
            "w4-bn",
            "w3-deviation",
            "w4-gptq",
            "w3-gptq",
            "w4-best",
            "w3-best",
            "w2-best",
            "w4-adaround",
            "w3-adaround",
            "w4-adaround-act",
            "w3-adaround-act",
            "w4a8-best",
            "int8-equalized",
            "int8-smooth",
            "w4-g32-awq",
            "w4-g32-eora",
            "s50-ls",
            "s50-sparsegpt",
            "s50-lamp-ls",
            "s50-best",
            "s2x4-ls",
            "s2x4-best",
            "s70-best",
            "s80-best",
        ],
    },
    Group {
        name: "Floats and micro-scaled blocks",
        presets: &presets![
            "bf16",
            "fp8-e4m3",
            "fp8-e5m2",
            "mxfp4",
            "mxfp6-e2m3",
            "mxfp6-e3m2",
            "mxfp8-e4m3",
            "mxfp8-e5m2",
            "mxint8",
            "nvfp4",
            "nf4",
            "nf4-dq",
        ],
    },
    Group {
        name: "Pruning",
        presets: &presets![
            "c30",
            "c50",
            "c30x8",
            "c30-median",
            "c30-zeros",
            "c30-stability",
            "c30-w8",
            "c30-ls",
            "s2x4",
            "s1x4",
            "s2x4-inputs",
            "s2x4-w8",
            "s50-inputs",
            "b4x4",
        ],
    },
    Group {
        name: "Codebooks",
        presets: &presets![
            "codebook2",
            "codebook3",
            "codebook4",
            "codebook5",
            "codebook6",
            "codebook7",
            "codebook8",
            "codebook4-channel",
            "lloyd4",
            "equal-mass4",
            "log2-4",
            "vector2",
            "vector4",
            "codebook4-importance",
        ],
    },
    Group { name: "Signs, need training", presets: &presets!["ternary", "binary",] },
    Group {
        name: "GGUF blocks",
        presets: &presets![
            "q4_0",
            "q4_1",
            "q5_0",
            "q5_1",
            "q8_0",
            "q2_k",
            "q3_k",
            "q4_k",
            "q5_k",
            "q6_k",
            "iq4_nl",
            "iq4_xs",
            "tq1_0",
            "tq2_0",
            "mxfp4-gguf",
            "q4_0-importance",
            "q4_k-importance",
            "iq4_nl-importance",
        ],
    },
];

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(|group| group.presets.iter().copied())
}

#[must_use]
pub fn names() -> Vec<&'static str> {
    all().map(|(name, _)| name).collect()
}

/// Whether a preset belongs to the first group.
#[must_use]
pub fn is_common(name: &str) -> bool {
    GROUPS.first().is_some_and(|group| group.names().any(|n| n == name))
}

/// The preset of that name.
///
/// # Errors
/// When there is none, listing those that there are.
pub fn preset(name: &str) -> Result<Recipe, ConfigureError> {
    let Some((_, text)) = all().find(|(n, _)| *n == name) else {
        return Err(ConfigureError::UnknownPreset { name: name.to_owned(), known: names().join(", ") });
    };
    Recipe::from_ron(text, name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn groups_hold_what_their_name_says() {
        use crate::pipeline::configure::Family;
        let integers = [Family::Channel, Family::Tensor, Family::Group, Family::Asymmetric, Family::AsymmetricGroup];
        for group in super::GROUPS {
            for name in group.names() {
                let family = Family::of(super::preset(name).unwrap().default.weights);
                match group.name {
                    "Integer weights" | "Data as integers" => assert!(integers.contains(&family), "{name}"),
                    "GGUF blocks" => assert_eq!(family, Family::Blocks, "{name}"),
                    "Signs, need training" => assert_eq!(family, Family::Signs, "{name}"),
                    "Floats and micro-scaled blocks" => {
                        assert!(matches!(family, Family::Float | Family::Micro | Family::Levels), "{name}");
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn all_parse_and_bear_their_name() {
        for name in super::names() {
            let recipe = super::preset(name).unwrap();
            assert_eq!(recipe.name, name);
            assert!(!recipe.description.is_empty(), "{name} says what it is");
        }
    }
}
