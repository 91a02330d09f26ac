//! The best plans of an additive model: each group of layers takes one of its options, sizes and costs add up.
//! A multiple-choice knapsack; all its Pareto points are found by dynamic programming over
//! sets of undominated sums (Nemhauser and Ullmann 1969), without rounding sizes to buckets.

mod constrained;
mod merge;
#[cfg(test)]
mod tests;

use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use serde::{Deserialize, Serialize};

/// One way to treat a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// What is to be kept small: bytes, bit operations, nanoseconds.
    pub size: u64,
    /// What is lost: KL in nats, say; finite, 0 or more.
    pub cost: f64,
    /// What a constraint limits; 0 where there is none.
    pub other: u64,
}

/// What a plan of all groups sums up to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub size: u64,
    pub cost: f64,
}

/// Every undominated plan, by ascending size and descending cost.
#[derive(Debug, Clone)]
pub struct Frontier {
    pub points: Vec<Point>,
    /// Whether all Pareto points are there. Otherwise sets grew so large that they were thinned out: every
    /// point is a plan, but some that are a little better may be missing.
    pub is_exact: bool,
    /// By group: where each point came from when the group was added.
    stages: Vec<Stage>,
    /// In which order the groups were added.
    order: Vec<usize>,
}

/// After one group: for each point the point of the stage before and the option.
#[derive(Debug, Clone, Default)]
struct Stage {
    parents: Vec<u32>,
    options: Vec<u8>,
}

/// Why there is no frontier.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrontierError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("group {group} has no option that can be used: every one lacks a finite cost")]
    NoOption { group: usize },
    #[error("group {group} has {count} options; at most 256 can be told apart")]
    TooMany { group: usize, count: usize },
    #[error("no plan keeps to the limit: the least that it could be is {least}, the limit is {limit}")]
    Infeasible { least: u64, limit: u64 },
}

/// The frontier of `groups`. Options without a finite cost are left out. With `limit`, plans whose `other` sums
/// up to more are none.
///
/// # Errors
/// When a group has no usable option or more than 256, no plan keeps to the limit, or on cancel.
pub fn frontier(groups: &[Vec<Choice>], limit: Option<u64>, ctx: &Ctx) -> Result<Frontier, FrontierError> {
    let mut usable = Vec::with_capacity(groups.len());
    for (group, choices) in groups.iter().enumerate() {
        if choices.len() > 256 {
            return Err(FrontierError::TooMany { group, count: choices.len() });
        }
        let kept = undominated(choices, limit.is_some());
        if kept.is_empty() {
            return Err(FrontierError::NoOption { group });
        }
        usable.push(kept);
    }
    match limit {
        None => merge::all(&usable, ctx).map_err(FrontierError::from),
        Some(limit) => constrained::all(&usable, limit, ctx),
    }
}

/// An option and its place among the options of its group.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    number: u8,
    choice: Choice,
}

/// The options of a group that could be part of a best plan, by ascending size.
fn undominated(choices: &[Choice], constrained: bool) -> Vec<Numbered> {
    let numbered = choices.iter().enumerate().map(|(i, c)| Numbered { number: i as u8, choice: *c });
    let mut sorted: Vec<Numbered> = numbered.filter(|n| n.choice.cost.is_finite()).collect();
    sorted.sort_by(|a, b| {
        let (a, b) = (a.choice, b.choice);
        a.size.cmp(&b.size).then(a.cost.total_cmp(&b.cost)).then(a.other.cmp(&b.other))
    });
    let mut kept: Vec<Choice> = Vec::new();
    sorted.retain(|one| {
        let one = one.choice;
        let beaten = kept.iter().any(|k| k.cost <= one.cost && (!constrained || k.other <= one.other));
        if !beaten {
            kept.push(one);
        }
        !beaten
    });
    sorted
}

/// Small groups first: sets stay small while sums lie close together.
fn order(groups: &[Vec<Numbered>]) -> Vec<usize> {
    let width = |i: &usize| groups[*i].last().map_or(0, |l| l.choice.size) - groups[*i].first().map_or(0, |f| f.choice.size);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(width);
    order
}

impl Frontier {
    /// The option of each group in the plan of a point; `None` where there is no such point.
    #[must_use]
    pub fn plan(&self, point: usize) -> Option<Vec<usize>> {
        let (mut at, mut plan) = (point, vec![0; self.stages.len()]);
        for &group in self.order.iter().rev() {
            let stage = self.stages.get(group)?;
            *plan.get_mut(group)? = usize::from(*stage.options.get(at)?);
            at = *stage.parents.get(at)? as usize;
        }
        (point < self.points.len()).then_some(plan)
    }

    /// The point of least cost whose size is at most `budget`; `None` where even the smallest is larger.
    #[must_use]
    pub fn within(&self, budget: u64) -> Option<usize> {
        self.points.partition_point(|p| p.size <= budget).checked_sub(1)
    }
}

/// Which of `count` points stay where there may be `limit`: of each run of neighbors the smallest, and the last.
fn thinned(count: usize, limit: usize) -> Vec<bool> {
    let every = count.div_ceil(limit / 2).max(1);
    (0..count).map(|i| i % every == 0 || i + 1 == count).collect()
}

fn retain<T>(all: &mut Vec<T>, is_kept: &[bool]) {
    let mut kept = is_kept.iter();
    all.retain(|_| kept.next().copied().unwrap_or(true));
}

impl Stage {
    fn retain(&mut self, is_kept: &[bool]) {
        retain(&mut self.parents, is_kept);
        retain(&mut self.options, is_kept);
    }
}
