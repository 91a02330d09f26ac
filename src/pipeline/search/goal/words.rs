//! How a recipe came about, in words.

use super::run::Bench;
use super::{Candidate, Counted, Origin};
use crate::engine::units;
use crate::pipeline::search::frontier::Choice;
use crate::pipeline::search::sensitivity::Map;

/// One line for lists.
pub(super) fn summary(bench: &Bench<'_, '_>, chosen: &Candidate) -> String {
    let kl = chosen.measured.map_or_else(|| "not finite".to_owned(), |v| format!("{:.5}", v.kl.value));
    let packed = if bench.search.space.counted == Counted::Packed { " packed" } else { "" };
    let bytes = units::bytes(chosen.bytes);
    format!("Found for {}: {bytes}{packed}, KL {kl} nats on the selection samples.", bench.search.goal)
}

/// The way to it, then why each layer got what it has.
pub(super) fn history(bench: &Bench<'_, '_>, chosen: &Candidate, map: &Map) -> Vec<String> {
    let mut lines = vec![
        format!("Goal: {}. Nothing was drawn by chance: the same data gives the same recipe.", bench.search.goal),
        format!(
            "Sensitivities of {} layers at {} settings, {}, on {} samples.",
            map.layers.len(),
            map.settings.len(),
            map.method.name(),
            map.samples
        ),
        format!(
            "Frontier of the additive model: {} points{}.",
            bench.planner.frontier.points.len(),
            if bench.planner.frontier.is_exact { ", all there are" } else { ", thinned out" }
        ),
        format!("{} plans built and measured on {} selection samples.", bench.candidates().len(), bench.search.selection.len()),
    ];
    if bench.search.space.counted == Counted::Packed {
        lines.insert(1, "Bytes are those of codes packed without a gap; the exported file may take more.".to_owned());
    }
    let from = match &chosen.origin {
        Origin::Uniform(label) => format!("every layer as {label}"),
        Origin::Frontier => "a point of the frontier".to_owned(),
        Origin::Step(round) => format!("round {round} of small steps about the best plan before, measured in its company"),
    };
    let kl = chosen.measured.map_or(f64::NAN, |v| v.kl.value);
    lines.push(format!("Chosen: {from}; KL {:.3e} predicted by summing layers, {kl:.3e} measured.", chosen.predicted));
    if let Some(uniform) = best_uniform(bench, chosen) {
        lines.push(uniform);
    }
    let price = price(bench, chosen);
    for (group, option) in chosen.plan.iter().enumerate() {
        lines.push(why(bench, group, *option, price));
    }
    lines
}

/// The best plan that treats all layers alike and is no larger.
fn best_uniform(bench: &Bench<'_, '_>, chosen: &Candidate) -> Option<String> {
    let kl = |c: &Candidate| c.measured.map_or(f64::INFINITY, |v| v.kl.value);
    let uniform = bench.candidates().iter().filter(|c| matches!(c.origin, Origin::Uniform(_)) && c.bytes <= chosen.bytes);
    let best = uniform.min_by(|a, b| kl(a).total_cmp(&kl(b)))?;
    let Origin::Uniform(label) = &best.origin else { return None };
    Some(format!("The best uniform plan that is no larger, {label}: {}, KL {:.3e}.", units::bytes(best.bytes), kl(best)))
}

/// Nats that a byte buys at the chosen plan: what the best upgrade left would.
fn price(bench: &Bench<'_, '_>, chosen: &Candidate) -> f64 {
    let gains = bench.planner.choices.iter().zip(&chosen.plan).filter_map(|(options, own)| {
        let here = options.get(*own)?;
        let gain = |c: &Choice| (here.cost - c.cost) / (c.size - here.size) as f64;
        options.iter().filter(|c| c.size > here.size && c.cost < here.cost).map(gain).max_by(f64::total_cmp)
    });
    gains.max_by(f64::total_cmp).unwrap_or(0.0)
}

/// One group: what it has, what a smaller option would cost and what a larger one would win, alone.
fn why(bench: &Bench<'_, '_>, group: usize, option: usize, price: f64) -> String {
    let names: Vec<&str> = bench
        .planner
        .options
        .groups
        .get(group)
        .into_iter()
        .flatten()
        .filter_map(|l| bench.search.space.subject.layers.get(*l))
        .map(|l| l.name.as_str())
        .collect();
    let label = |option: usize| bench.planner.options.settings.get(option).map_or("", |s| s.label.as_str());
    let mut text = format!("{}: {}.", names.join(" + "), label(option));
    let (Some(options), true) = (bench.planner.choices.get(group), price > 0.0) else { return text };
    let Some(here) = options.get(option) else { return text };
    let per = |change: f64, size: u64| change / size.max(1) as f64 / price;
    let smaller = options.iter().enumerate().filter(|(_, c)| c.cost.is_finite() && c.size < here.size);
    if let Some((other, c)) = smaller.max_by(|a, b| a.1.size.cmp(&b.1.size).then(b.1.cost.total_cmp(&a.1.cost))) {
        let (saved, lost) = (here.size - c.size, c.cost - here.cost);
        text += &format!(
            " {} would save {saved} and cost {lost:.2e} nats, {:.1} times the going price.",
            label(other),
            per(lost, saved)
        );
    }
    let larger = options.iter().enumerate().filter(|(_, c)| c.cost < here.cost && c.size > here.size);
    if let Some((other, c)) = larger.min_by(|a, b| a.1.size.cmp(&b.1.size).then(a.1.cost.total_cmp(&b.1.cost))) {
        let (more, won) = (c.size - here.size, here.cost - c.cost);
        text += &format!(" {} would take {more} more and win {won:.2e}, {:.2} times.", label(other), per(won, more));
    }
    text
}
