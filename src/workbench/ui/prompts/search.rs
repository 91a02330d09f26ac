//! A search: what the recipe must keep to, what it may choose from, and when to stop.

use super::{Next, buttons};
use crate::engine::units;
use crate::pipeline::configure::{Balance, Recipe, WIDTHS};
use crate::pipeline::search::goal::{Counted, Effort, Goal, Objective};
use crate::pipeline::search::sensitivity::Method;
use crate::workbench::explore::{Grids, SearchRequest, choices};
use crate::workbench::ui::app::App;
use crate::workbench::ui::tasks::LOSS_SAMPLES;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::widgets::{field, section, small};
use eframe::egui::Ui;

/// Widths beyond these cost more bytes than they win.
const OFFERED: std::ops::RangeInclusive<u8> = 2..=8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Size,
    Loss,
}

/// What was written so far.
#[derive(Debug, Clone)]
pub struct SearchForm {
    kind: Kind,
    size: String,
    points: String,
    confidence: String,
    bits: Vec<(u8, bool)>,
    plans: String,
    seconds: String,
    is_fast: bool,
    problem: Option<String>,
}

impl Default for SearchForm {
    fn default() -> Self {
        Self {
            kind: Kind::Size,
            size: "15 %".to_owned(),
            points: "1".to_owned(),
            confidence: "95".to_owned(),
            bits: WIDTHS.iter().filter(|b| OFFERED.contains(b)).map(|b| (*b, true)).collect(),
            plans: Effort::default().evaluations.to_string(),
            seconds: String::new(),
            is_fast: false,
            problem: None,
        }
    }
}

/// A number from `low` to `high`, the words around it left aside.
fn number(text: &str, field: &str, (low, high): (f64, f64)) -> Result<f64, String> {
    let bare = text.trim().trim_end_matches(['%', 's', ' ']);
    match bare.parse::<f64>() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => {
            let (low, high) = (low.to_string(), high.to_string());
            Err(tr!("search-no-number", field = field, text = text.trim(), low = low, high = high))
        }
    }
}

impl SearchForm {
    fn goal(&self) -> Result<Goal, String> {
        match self.kind {
            Kind::Size if self.size.trim().ends_with('%') => {
                Ok(Goal::MaxRatio(number(&self.size, tr!("search-field-size"), (0.01, 100.0))? / 100.0))
            }
            Kind::Size => match units::parse_bytes(&self.size) {
                Some(bytes) if bytes >= 1.0 => Ok(Goal::MaxBytes(bytes as u64)),
                _ => Err(tr!("search-no-size", text = self.size.trim())),
            },
            Kind::Loss => Ok(Goal::MaxDrop {
                points: number(&self.points, tr!("search-field-points"), (0.0, 100.0))?,
                confidence: number(&self.confidence, tr!("search-field-confidence"), (50.0, 99.999))? / 100.0,
            }),
        }
    }

    /// # Errors
    /// A sentence on the first field that makes no sense.
    pub fn read(&self, base: &Recipe) -> Result<SearchRequest, String> {
        let bits: Vec<u8> = self.bits.iter().filter(|(_, on)| *on).map(|(bits, _)| *bits).collect();
        if bits.is_empty() {
            return Err(tr!("search-no-width").to_owned());
        }
        if base.balance != Balance::None {
            return Err(tr!("search-balanced").to_owned());
        }
        let seconds = match self.seconds.trim() {
            "" => None,
            text => Some(number(text, tr!("search-field-seconds"), (1.0, 1e6))?),
        };
        Ok(SearchRequest {
            choices: choices(&base.default, Grids::Any, &bits, &[], &[]),
            equalize: base.equalize,
            ties: Vec::new(),
            goal: self.goal()?,
            objective: Objective::Bytes,
            counted: Counted::File,
            max_other: None,
            effort: Effort { evaluations: number(&self.plans, tr!("search-field-plans"), (1.0, 1e6))? as usize, seconds },
            method: if self.is_fast { Method::Fast } else { Method::Exact },
            limit: LOSS_SAMPLES,
        })
    }
}

impl App {
    pub(super) fn search_ui(&mut self, ui: &mut Ui, tokens: &Tokens, form: &mut SearchForm) -> Next {
        let Some(point) = self.bench.as_ref().and_then(|b| b.active()) else { return Next::Close };
        ui.heading(tr!("search-title"));
        let scheme = point.recipe.default.weights.to_string();
        small(ui, tokens, tr!("search-base", recipe = &point.name, scheme = scheme));
        fields_ui(ui, tokens, form);
        if let Some(problem) = &form.problem {
            ui.colored_label(tokens.bad, problem);
        }
        match buttons(ui, tr!("search-start")) {
            Some(true) => match form.read(&point.recipe) {
                Ok(request) => {
                    self.search(request);
                    Next::Close
                }
                Err(problem) => {
                    form.problem = Some(problem);
                    Next::Stay
                }
            },
            Some(false) => Next::Close,
            None => Next::Stay,
        }
    }
}

fn fields_ui(ui: &mut Ui, tokens: &Tokens, form: &mut SearchForm) {
    let field = |ui: &mut Ui, text: &mut String, name: &str, on: bool| {
        let edit = field(text).desired_width(64.0);
        drop(ui.add_enabled(on, edit).accessible_name(name));
    };
    section(ui, tokens, tr!("search-limit"));
    ui.horizontal(|ui| {
        ui.radio_value(&mut form.kind, Kind::Size, tr!("search-size"));
        field(ui, &mut form.size, tr!("search-size.field"), form.kind == Kind::Size);
        small(ui, tokens, tr!("search-size-units"));
    });
    ui.horizontal(|ui| {
        ui.radio_value(&mut form.kind, Kind::Loss, tr!("search-loss"));
        let on = form.kind == Kind::Loss;
        field(ui, &mut form.points, tr!("search-loss.field"), on);
        ui.label(tr!("search-loss-with"));
        field(ui, &mut form.confidence, tr!("search-loss-confidence.field"), on);
        ui.label(tr!("search-loss-confidence"));
    });
    section(ui, tokens, tr!("search-choices"));
    ui.horizontal(|ui| {
        for (bits, on) in &mut form.bits {
            ui.toggle_value(on, tr!("search-bits", bits = *bits));
        }
    });
    small(ui, tokens, tr!("search-choices-note"));
    section(ui, tokens, tr!("search-end"));
    ui.horizontal(|ui| {
        ui.label(tr!("search-after"));
        field(ui, &mut form.plans, tr!("search-after-plans.field"), true);
        ui.label(tr!("search-after-plans"));
        field(ui, &mut form.seconds, tr!("search-after-seconds.field"), true);
        ui.label(tr!("search-after-seconds"));
    });
    ui.checkbox(&mut form.is_fast, tr!("search-fast"));
    small(ui, tokens, tr!("search-samples"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written() {
        let base = Recipe::new("base", crate::pipeline::configure::Treatment::UNCHANGED);
        let mut form = SearchForm::default();
        let request = form.read(&base).unwrap();
        assert_eq!(request.goal, Goal::MaxRatio(0.15));
        assert!(request.choices.len() > form.bits.len(), "narrow widths come on several grids");
        form.size = "120 KB".to_owned();
        form.seconds = "90 s".to_owned();
        let request = form.read(&base).unwrap();
        assert_eq!((request.goal, request.effort.seconds), (Goal::MaxBytes(120_000), Some(90.0)));
        form.kind = Kind::Loss;
        form.confidence = "99 %".to_owned();
        assert_eq!(form.read(&base).unwrap().goal, Goal::MaxDrop { points: 1.0, confidence: 0.99 });
        for (change, word) in [
            ((|f: &mut SearchForm| f.points = "-1".to_owned()) as fn(&mut SearchForm), "Points"),
            (|f| f.confidence = "100".to_owned(), "Confidence"),
            (|f| f.plans = "many".to_owned(), "Plans"),
            (|f| f.seconds = "NaN".to_owned(), "Seconds"),
            (|f| f.bits.iter_mut().for_each(|b| b.1 = false), "width"),
            (|f| (f.kind, f.size) = (Kind::Size, "small".to_owned()), "Size"),
        ] {
            let mut form = form.clone();
            change(&mut form);
            assert!(form.read(&base).is_err_and(|e| e.contains(word)), "{word}");
        }
    }
}
