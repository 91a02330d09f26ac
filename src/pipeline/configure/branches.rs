//! Residual branches that a recipe leaves out of a network.

use super::channels::ChannelCut;
use super::groups::{Decided, Group};
use super::layer::LayerPlan;
use super::plan::Plan;
use super::recipe::Treatment;
use crate::engine::graph::structure::{Branch, Left};
use crate::engine::graph::{GraphError, Layer};
use crate::engine::hash::of_bytes;
use crate::pipeline::load::Subject;
use std::collections::BTreeMap;

/// The branches that go, one after the other, and the layers that go with them.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    branches: Vec<Branch>,
    /// Numbers of [`Subject::layers`] that are left, in order.
    kept: Vec<usize>,
}

impl LeftOut {
    /// What the treatments ask for; `None` where no branch is to go. And why some stay, by number of the layer.
    ///
    /// # Errors
    /// When a rewritten graph is not valid.
    pub(super) fn of(treatments: &[Treatment], subject: &Subject) -> Result<(Option<Self>, BTreeMap<usize, String>), GraphError> {
        let (mut refusals, mut branches, mut model) = (BTreeMap::new(), Vec::new(), (*subject.folded).clone());
        let asking = treatments.iter().zip(subject.layers.iter()).enumerate();
        for (number, (_, layer)) in asking.filter(|(_, (t, _))| t.channels == ChannelCut::Branch) {
            let Some(node) = layer.node else {
                refusals.insert(number, "a file without a graph does not tell which branch it lies on".to_owned());
                continue;
            };
            if model.node(node).is_none() {
                continue;
            }
            match Branch::of(&model, node) {
                Ok(branch) => {
                    model = branch.left_out(&model)?;
                    branches.push(branch);
                }
                Err(reason) => {
                    refusals.insert(number, format!("its branch stays: {reason}"));
                }
            }
        }
        if branches.is_empty() {
            return Ok((None, refusals));
        }
        let is_kept = |layer: &Layer| layer.node.is_none_or(|id| model.node(id).is_some());
        let kept = (0..subject.layers.len()).filter(|i| subject.layers.get(*i).is_some_and(is_kept)).collect();
        Ok((Some(Self { branches, kept }), refusals))
    }

    /// The subject without them: what is left is to give what the whole gave.
    ///
    /// # Errors
    /// When the rewritten graph is not valid.
    pub fn without(&self, subject: &Subject) -> Result<Subject, GraphError> {
        let mut model = (*subject.folded).clone();
        for branch in &self.branches {
            model = branch.left_out(&model)?;
        }
        Ok(subject.cut(model, Left::default(), &of_bytes(format!("{:?}", self.branches).as_bytes())))
    }

    /// What was decided, for the layers that are left.
    pub(super) fn decided(&self, all: &Decided, groups: &[Group]) -> (Decided, Vec<Group>) {
        let treatments = self.kept.iter().filter_map(|i| all.treatments.get(*i).copied()).collect();
        let notes = self.kept.iter().filter_map(|i| all.notes.get(*i).cloned()).collect();
        let number = |old: &usize| self.kept.binary_search(old).ok();
        let left = |group: &Group| Group { layers: group.layers.iter().filter_map(number).collect(), ..group.clone() };
        (Decided { treatments, notes }, groups.iter().map(left).filter(|group| group.layers.len() > 1).collect())
    }

    /// Puts the layers that go back among those of a plan of what is left: its layers are those of `subject` again.
    pub(super) fn put_back(self, plan: &mut Plan, all: &Decided, subject: &Subject) {
        let mut left = std::mem::take(&mut plan.layers).into_iter();
        for (number, (layer, wanted)) in subject.layers.iter().zip(&all.treatments).enumerate() {
            let own = if self.kept.binary_search(&number).is_ok() { left.next() } else { None };
            let bytes = || subject.folded.constants.get(&layer.weight).map_or(0, |t| t.size_bytes() as u64);
            plan.layers.push(own.unwrap_or_else(|| LayerPlan::left_out(layer.clone(), *wanted, bytes())));
        }
        let old = |number: &mut usize| *number = self.kept.get(*number).copied().unwrap_or(*number);
        plan.groups.iter_mut().flat_map(|group| &mut group.layers).for_each(old);
        plan.cuts.iter_mut().flat_map(|cuts| &mut cuts.groups).flat_map(|group| &mut group.layers).for_each(old);
        plan.left_out = Some(self);
    }
}
