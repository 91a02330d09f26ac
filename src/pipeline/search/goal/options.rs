//! What each group of layers may become, and what that takes.

use super::Space;
use crate::pipeline::configure::{self, Activations, ChannelCut, Override, Plan, Recipe, Scheme, Sparsity, Treatment};
use crate::pipeline::load::Subject;
use crate::pipeline::search::SearchError;
use crate::pipeline::search::cost::{Cost, cost};
use crate::pipeline::search::frontier::Choice;
use crate::pipeline::search::sensitivity::{Map, Setting};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is kept small while little is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    #[default]
    Bytes,
    /// Bit operations.
    Bops,
    /// Time by the roofline of this machine, in nanoseconds.
    Latency,
}

impl Objective {
    /// What sizes are counted in.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Bops => "bit operations",
            Self::Latency => "nanoseconds",
        }
    }
}

/// Which bytes count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Counted {
    /// Those of the exported file, in which codes may take more bits than they need.
    #[default]
    File,
    /// The same with codes packed without a gap: what a runtime with a type of every width would store.
    Packed,
}

impl Counted {
    /// Bytes of a plan.
    #[must_use]
    pub fn of(self, plan: &Plan) -> u64 {
        match self {
            Self::File => plan.bytes,
            Self::Packed => {
                let (stored, packed) = plan.layers.iter().fold((0, 0), |(s, p), l| (s + l.bytes, p + packed(l)));
                (plan.bytes + packed).saturating_sub(stored)
            }
        }
    }

    /// Bytes of a plan beside the weights.
    fn beside(self, plan: &Plan) -> u64 {
        let stored: u64 = plan.layers.iter().map(|l| self.layer(l)).sum();
        self.of(plan).saturating_sub(stored)
    }

    fn layer(self, layer: &configure::LayerPlan) -> u64 {
        match self {
            Self::File => layer.bytes,
            Self::Packed => packed(layer),
        }
    }
}

fn packed(layer: &configure::LayerPlan) -> u64 {
    layer.storage.map_or(layer.bytes, |s| s.total() + layer.beside_bytes())
}

/// The options of all groups: a choice each, and staying as it is.
#[derive(Debug)]
pub struct Options {
    /// Places of layers by group.
    pub groups: Vec<Vec<usize>>,
    pub settings: Vec<Setting>,
    /// What each setting does to all layers.
    plans: Vec<Plan>,
    costs: Vec<Cost>,
    /// What the file takes beside the weights, by setting.
    beside: Vec<u64>,
    counted: Counted,
    objective: Objective,
    /// What the limited quantity is.
    other: Option<Objective>,
}

impl Options {
    /// # Errors
    /// When there are no layers or choices, or a choice makes no sense.
    pub fn new(space: &Space<'_>) -> Result<Self, SearchError> {
        let layers = space.subject.layers.len();
        if layers == 0 {
            return Err(SearchError::NoLayers);
        }
        let mut treatments = space.choices.to_vec();
        // A search decides layer by layer; channels belong to several.
        for treatment in &mut treatments {
            treatment.channels = ChannelCut::None;
        }
        treatments.retain(|t| !t.is_unchanged());
        if treatments.is_empty() {
            return Err(SearchError::NoSettings);
        }
        if space.counted == Counted::File {
            check_one_file(&treatments)?;
        }
        treatments.push(Treatment::UNCHANGED);
        let settings: Vec<Setting> = treatments.iter().map(|t| Setting { label: label(t), treatment: *t }).collect();
        let plan = |s: &Setting| Ok(configure::plan(&Recipe::new(s.label.clone(), s.treatment), space.subject)?);
        let plans = settings.iter().map(plan).collect::<Result<Vec<Plan>, SearchError>>()?;
        let costs = plans.iter().map(|p| cost(p, space.subject, space.machine)).collect();
        let beside = besides(&settings, &plans, space)?;
        let other = space.max_other.map(|(objective, _)| objective);
        let groups = groups(layers, space.ties);
        Ok(Self { groups, settings, plans, costs, beside, counted: space.counted, objective: space.objective, other })
    }

    /// The options of each group with what they take and cost; layers of a group add up.
    #[must_use]
    pub fn choices(&self, map: &Map) -> Vec<Vec<Choice>> {
        let group =
            |layers: &Vec<usize>| -> Vec<Choice> { (0..self.settings.len()).map(|s| self.choice(layers, s, map)).collect() };
        self.groups.iter().map(group).collect()
    }

    fn choice(&self, layers: &[usize], setting: usize, map: &Map) -> Choice {
        let kl = |layer: &usize| map.scores.get(*layer).and_then(|row| row.get(setting)?.kl).map_or(f64::NAN, |kl| kl.value);
        Choice {
            size: layers.iter().map(|l| self.taken(self.objective, *l, setting)).sum(),
            cost: layers.iter().map(kl).sum(),
            other: self.other.map_or(0, |o| layers.iter().map(|l| self.taken(o, *l, setting)).sum()),
        }
    }

    /// What one layer takes of a quantity. Bytes hold its share of what the file takes beside the weights.
    fn taken(&self, objective: Objective, layer: usize, setting: usize) -> u64 {
        let (Some(plan), Some(cost)) = (self.plans.get(setting), self.costs.get(setting)) else { return 0 };
        let priced = cost.layers.get(layer);
        match objective {
            Objective::Bytes => {
                let beside = self.beside.get(setting).copied().unwrap_or(0);
                let count = plan.layers.len() as u64;
                // Rounded so that the shares of all layers add up.
                let share = beside * (layer as u64 + 1) / count - beside * layer as u64 / count;
                plan.layers.get(layer).map_or(0, |l| self.counted.layer(l)) + share
            }
            Objective::Bops => priced.and_then(|l| l.bops).unwrap_or(0),
            Objective::Latency => (1e6 * priced.and_then(|l| l.milliseconds).unwrap_or(0.0)).round() as u64,
        }
    }

    /// What the original takes.
    #[must_use]
    pub fn original(&self, objective: Objective) -> u64 {
        if let (Objective::Bytes, Some(plan)) = (objective, self.plans.last()) {
            return self.counted.of(plan);
        }
        let unchanged = self.settings.len() - 1;
        (0..self.plans.first().map_or(0, |p| p.layers.len())).map(|l| self.taken(objective, l, unchanged)).sum()
    }

    /// A plan of groups as a recipe: the most common treatment is the default, the others are exceptions by name.
    #[must_use]
    pub fn recipe(&self, name: &str, plan: &[usize], subject: &Subject) -> Recipe {
        let by_layer = self.by_layer(plan);
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for setting in &by_layer {
            *counts.entry(*setting).or_default() += 1;
        }
        let common = counts.iter().max_by_key(|(_, count)| **count).map_or(0, |(setting, _)| *setting);
        let treatment = |setting: usize| self.settings.get(setting).map_or(Treatment::UNCHANGED, |s| s.treatment);
        let default = treatment(common);
        let mut recipe = Recipe::new(name, default);
        for (layer, setting) in subject.layers.iter().zip(&by_layer).filter(|(_, s)| **s != common) {
            let own = treatment(*setting);
            recipe.overrides.push(exception(&layer.name, own, default));
        }
        recipe
    }

    /// The setting of each layer.
    #[must_use]
    pub fn by_layer(&self, plan: &[usize]) -> Vec<usize> {
        let mut by_layer = vec![0; self.groups.iter().map(Vec::len).sum()];
        for (group, option) in self.groups.iter().zip(plan) {
            for layer in group {
                if let Some(place) = by_layer.get_mut(*layer) {
                    *place = *option;
                }
            }
        }
        by_layer
    }
}

/// One layer in blocks makes the whole file GGUF, in which all other layers take other bytes than in ONNX: then bytes
/// of layers do not add up.
fn check_one_file(treatments: &[Treatment]) -> Result<(), SearchError> {
    let is_block = |t: &&Treatment| matches!(t.weights, Scheme::Block(_));
    let (blocks, others): (Vec<&Treatment>, Vec<&Treatment>) = treatments.iter().partition(is_block);
    match (blocks.first(), others.first()) {
        (Some(block), Some(other)) => Err(SearchError::TwoFiles { block: label(block), other: label(other) }),
        _ => Ok(()),
    }
}

/// What the file takes beside the weights where all layers have a setting. As soon as one layer changes, the folded
/// graph is written: layers that stay as they are share its bytes, not those of the original file.
fn besides(settings: &[Setting], plans: &[Plan], space: &Space<'_>) -> Result<Vec<u64>, SearchError> {
    let mut beside: Vec<u64> = plans.iter().map(|p| space.counted.beside(p)).collect();
    let changed = plans.iter().zip(settings).find_map(|(plan, setting)| {
        let layer = plan.layers.iter().find(|l| !l.treatment.is_unchanged())?;
        Some((layer.layer.name.as_str(), setting.treatment))
    });
    if let (Some((layer, treatment)), Some(unchanged)) = (changed, beside.last_mut()) {
        let mut recipe = Recipe::new("one layer", Treatment::UNCHANGED);
        recipe.overrides.push(exception(layer, treatment, Treatment::UNCHANGED));
        *unchanged = space.counted.beside(&configure::plan(&recipe, space.subject)?);
    }
    Ok(beside)
}

/// What makes `own` of `default`. A new scheme drops what it has no use for: the rest is told from what is left.
fn exception(layer: &str, own: Treatment, default: Treatment) -> Override {
    let weights = (own.weights != default.weights).then_some(own.weights);
    let left = Override { weights, ..Override::new(layer) }.over(default);
    Override {
        weights,
        sparsity: (own.sparsity != left.sparsity).then_some(own.sparsity),
        channels: None,
        saliency: (own.saliency != left.saliency).then_some(own.saliency),
        activations: (own.activations != left.activations).then_some(own.activations),
        rounding: (own.rounding != left.rounding).then_some(own.rounding),
        range: (own.range != left.range).then_some(own.range),
        importance: (own.importance != left.importance).then_some(own.importance),
        correction: (own.correction != left.correction).then_some(own.correction),
        compensate: (own.compensate != left.compensate).then_some(own.compensate),
        ..Override::new(layer)
    }
}

/// In a few words: what tells one choice from another.
fn label(treatment: &Treatment) -> String {
    let parts = [
        (!treatment.is_unchanged()).then(|| treatment.weights_text()),
        (treatment.sparsity != Sparsity::Dense).then(|| treatment.sparsity.to_string()),
        (treatment.activations != Activations::None).then(|| format!("{} inputs", treatment.activations)),
    ];
    let said: Vec<String> = parts.into_iter().flatten().collect();
    if said.is_empty() { "as it is".to_owned() } else { said.join(", ") }
}

/// Tied layers together, all others alone, by their first layer. A layer in two ties joins them.
fn groups(layers: usize, ties: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..layers).collect();
    for tie in ties {
        let members: Vec<usize> = tie.iter().filter_map(|l| leader.get(*l).copied()).collect();
        let Some(first) = members.iter().min().copied() else { continue };
        for one in leader.iter_mut().filter(|l| members.contains(*l)) {
            *one = first;
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (layer, leader) in leader.into_iter().enumerate() {
        groups.entry(leader).or_default().push(layer);
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn ties_that_touch_are_one() {
        assert_eq!(groups(5, &[vec![3, 1], vec![3, 4], vec![9]]), [vec![0], vec![1, 3, 4], vec![2]]);
        assert_eq!(groups(2, &[]), [vec![0], vec![1]]);
    }
}
