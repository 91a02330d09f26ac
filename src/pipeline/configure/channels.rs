//! Channels that are cut out of a network: how many of each group, and which groups stay.

use super::recipe::Treatment;
use crate::engine::graph::structure::{ChannelGroup, Left, Structure, Values, cut};
use crate::engine::graph::{GraphError, Layer, Wire};
use crate::pipeline::load::Subject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How many of the channels that a layer makes are cut, together with everything that belongs to them in other
/// layers. The network is really smaller then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum ChannelCut {
    /// None.
    #[default]
    None,
    /// This share of each group of channels (0 to 1), the least important first.
    Share {
        share: f32,
        #[serde(default)]
        by: ChannelScore,
        /// The number that is left is a multiple of this, where a group has as many.
        #[serde(default = "one")]
        multiple: u16,
    },
    /// The whole residual branch that the layer lies on: only what goes the other way is left of its sum.
    Branch,
}

fn one() -> u16 {
    1
}

/// What makes a channel important.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChannelScore {
    /// The sum of its weights' magnitudes (Li et al. 2017, arXiv 1608.08710).
    L1,
    /// The norm of its weights.
    #[default]
    L2,
    /// The scale of the batch normalization behind it (network slimming, arXiv 1708.06519).
    BatchNorm,
    /// How far its weights are from those of the others (geometric median, FPGM, arXiv 1811.00250).
    Median,
    /// The mean magnitude of its data.
    Activation,
    /// How seldom its data are zero (APoZ, arXiv 1607.03250).
    Zeros,
    /// What the loss would change without it, by its slope (first-order Taylor, arXiv 1906.10771).
    Taylor,
    /// The same by its curvature, from squares of slopes of single samples (Fisher, optimal brain damage).
    Fisher,
    /// How much the network's output changes when its weights are disturbed at random.
    Stability,
}

impl ChannelScore {
    pub const ALL: [Self; 9] = [
        Self::L1,
        Self::L2,
        Self::BatchNorm,
        Self::Median,
        Self::Activation,
        Self::Zeros,
        Self::Taylor,
        Self::Fisher,
        Self::Stability,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1 norm",
            Self::L2 => "L2 norm",
            Self::BatchNorm => "batch-norm scale",
            Self::Median => "distance from the median",
            Self::Activation => "mean activation",
            Self::Zeros => "share of zeros",
            Self::Taylor => "Taylor expansion",
            Self::Fisher => "Fisher information",
            Self::Stability => "stability",
        }
    }

    /// Whether it takes data to know.
    #[must_use]
    pub fn needs_data(self) -> bool {
        matches!(self, Self::Activation | Self::Zeros | Self::Taylor | Self::Fisher | Self::Stability)
    }
}

impl ChannelCut {
    /// # Errors
    /// A sentence on what is wrong.
    pub fn validate(self) -> Result<(), String> {
        match self {
            Self::Share { share, .. } if !(0.0..1.0).contains(&share) => {
                Err(format!("the share of channels to cut lies from 0 up to, not including, 1; not {share}"))
            }
            Self::Share { multiple: 0, .. } => Err("channels are left in multiples of 1 or more".to_owned()),
            _ => Ok(()),
        }
    }

    /// The share that is asked for, 0 to 1.
    #[must_use]
    pub fn share(self) -> f32 {
        match self {
            Self::None | Self::Branch => 0.0,
            Self::Share { share, .. } => share,
        }
    }
}

impl fmt::Display for ChannelCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("all channels"),
            Self::Branch => f.write_str("its residual branch left out"),
            Self::Share { share, by, multiple } => {
                write!(f, "{:.0} % of channels cut by {}", share * 100.0, by.name())?;
                if *multiple > 1 { write!(f, ", left in multiples of {multiple}") } else { Ok(()) }
            }
        }
    }
}

/// What happens to one group of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupCut {
    pub name: String,
    /// The layers that make its channels, as numbers of [`Subject::layers`].
    pub layers: Vec<usize>,
    pub channels: usize,
    /// How many are left.
    pub kept: usize,
    pub by: ChannelScore,
    /// Why they all stay, though cutting was asked for; or why more are left than asked.
    pub note: Option<String>,
}

/// The channels that a recipe cuts.
#[derive(Debug, Clone)]
pub struct Cuts {
    pub structure: Arc<Structure>,
    /// One for each group of `structure`.
    pub groups: Vec<GroupCut>,
}

impl Cuts {
    /// What the treatments ask for; `None` where no channel is to go.
    pub(super) fn of(treatments: &[Treatment], subject: &Subject) -> Option<Self> {
        if treatments.iter().all(|t| t.channels.share() == 0.0) || !subject.loaded.has_graph() {
            return None;
        }
        let structure = Structure::of(&subject.folded);
        let groups = structure.groups.iter().map(|group| group_cut(group, treatments, &subject.layers)).collect();
        Some(Self { structure: Arc::new(structure), groups })
    }

    /// Whether any channel goes.
    #[must_use]
    pub fn cuts_any(&self) -> bool {
        self.groups.iter().any(|g| g.kept < g.channels)
    }

    /// Whether a layer makes channels of which some go.
    pub(super) fn touches(&self, layer: usize) -> bool {
        self.groups.iter().any(|g| g.kept < g.channels && g.layers.contains(&layer))
    }

    /// The model as it will be, of which only the sizes exist: which channels go makes none bigger or smaller.
    ///
    /// # Errors
    /// When a cut does not fit the graph.
    pub(super) fn foreseen(&self, subject: &Subject) -> Result<Subject, GraphError> {
        let removed: Vec<Vec<usize>> = self.groups.iter().map(|g| (g.kept..g.channels).collect()).collect();
        let model = cut(&subject.folded, &self.structure, &removed, Values::SizesOnly)?;
        let left = Left::of(&subject.folded, &self.structure, &removed);
        Ok(subject.cut(model, left, ""))
    }

    /// Whether it takes data to choose.
    #[must_use]
    pub fn needs_data(&self) -> bool {
        self.groups.iter().any(|g| g.kept < g.channels && g.by.needs_data())
    }

    /// Chooses by weights what only data could have chosen.
    pub(super) fn refuse_data(&mut self) {
        for group in self.groups.iter_mut().filter(|g| g.by.needs_data() && g.kept < g.channels) {
            let said = format!("there are no calibration data to tell its {}: chosen by L2 norm", group.by.name());
            group.by = ChannelScore::L2;
            group.note = Some(said);
        }
    }

    /// What the person should know of each layer's channels, by its number.
    pub(super) fn notes(&self) -> BTreeMap<usize, String> {
        let mut notes: BTreeMap<usize, String> = BTreeMap::new();
        for group in &self.groups {
            let mut said = String::new();
            if group.kept < group.channels {
                said = format!("{} of {} channels are left", group.kept, group.channels);
                if let [_, _, ..] = group.layers[..] {
                    said += &format!(", the same in {} layers", group.layers.len());
                }
            }
            if let Some(note) = &group.note {
                said += if said.is_empty() { "" } else { ": " };
                said += note;
            }
            for layer in group.layers.iter().filter(|_| !said.is_empty()) {
                let note = notes.entry(*layer).or_default();
                *note += if note.is_empty() { "" } else { "; " };
                *note += &said;
            }
        }
        notes
    }
}

/// The least that any of the group's layers asks for: who protects one protects all.
fn group_cut(group: &ChannelGroup, treatments: &[Treatment], layers: &[Layer]) -> GroupCut {
    let number = |tensor: &Wire| layers.iter().position(|l| l.weight == *tensor);
    let made: Vec<usize> = group.makers().filter_map(|m| number(&m.tensor)).collect();
    let asked = || made.iter().filter_map(|i| Some((*i, treatments.get(*i)?.channels)));
    let least = asked().min_by(|a, b| a.1.share().total_cmp(&b.1.share()));
    let most = asked().map(|(_, cut)| cut.share()).fold(0.0, f32::max);
    let mut out = GroupCut {
        name: group.name.clone(),
        layers: made.clone(),
        channels: group.channels,
        kept: group.channels,
        by: ChannelScore::default(),
        note: None,
    };
    let cut = least.map_or(ChannelCut::None, |(_, cut)| cut);
    match (&group.obstacle, cut) {
        _ if most == 0.0 => {}
        (Some(obstacle), _) => out.note = Some(format!("its channels stay: {obstacle}")),
        (None, ChannelCut::Share { share, by, multiple }) if share > 0.0 => {
            (out.kept, out.note) = kept(group.channels, share, usize::from(multiple));
            out.by = by;
        }
        (None, _) => {
            let name = least.and_then(|(i, _)| layers.get(i)).map_or("", |l| l.name.as_str());
            out.note = Some(format!("its channels stay: they are those of \"{name}\" too, which keeps its own"));
        }
    }
    out
}

/// How many of `channels` are left, and a word where that is not what was asked.
fn kept(channels: usize, share: f32, multiple: usize) -> (usize, Option<String>) {
    let exact = channels as f64 * (1.0 - f64::from(share));
    let steps = (exact / multiple as f64).round() as usize;
    let wanted = (steps * multiple).min(channels);
    if wanted > 0 {
        return (wanted, None);
    }
    let least = multiple.min(channels);
    (least, Some(format!("{least} of {channels} stay: none would be left")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rounded_and_never_zero() {
        assert_eq!(kept(64, 0.3, 1), (45, None));
        assert_eq!(kept(64, 0.3, 8), (48, None));
        assert_eq!(kept(6, 0.3, 8).0, 6, "there are no eight");
        assert_eq!(kept(4, 0.99, 1), (1, Some("1 of 4 stay: none would be left".to_owned())));
        assert_eq!(kept(1, 0.3, 1), (1, None));
    }

    #[test]
    fn recipes_say_what_is_cut() {
        let cut: ChannelCut = ron::from_str("Share(share: 0.3, by: Median, multiple: 8)").unwrap();
        assert_eq!(cut.to_string(), "30 % of channels cut by distance from the median, left in multiples of 8");
        assert_eq!(ron::from_str::<ChannelCut>("Share(share: 0.5)").unwrap().to_string(), "50 % of channels cut by L2 norm");
        for wrong in ["Share(share: 1.0)", "Share(share: -0.1)", "Share(share: 0.1, multiple: 0)"] {
            assert!(ron::from_str::<ChannelCut>(wrong).unwrap().validate().is_err(), "{wrong}");
        }
    }
}
