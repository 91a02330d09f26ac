//! Which layers the grid shows, in which order.

use super::Bench;
use super::brackets::brackets;
use crate::engine::graph::Layer;
use crate::pipeline::configure::Plan;
use crate::workbench::ui::session::{Column, Session};
use crate::workbench::ui::text::{Language, spoken};
use std::cmp::Ordering;
use std::sync::Arc;

/// What the order depends on.
#[derive(PartialEq)]
pub(super) struct Key {
    filter: String,
    sort: Column,
    descending: bool,
    plan: usize,
    scores: u64,
    /// That of the words at the brackets.
    language: Language,
}

/// One word of the filter.
enum Term {
    /// In the name or the operator.
    Word(String),
    Number {
        what: Quantity,
        above: bool,
        bound: f64,
    },
}

enum Quantity {
    Size,
    Bits,
    Sqnr,
}

fn parse(word: &str) -> Term {
    let number = word.find(['<', '>']).and_then(|at| {
        let what = match &word[..at] {
            "size" | "params" => Quantity::Size,
            "bits" => Quantity::Bits,
            "sqnr" | "error" => Quantity::Sqnr,
            _ => return None,
        };
        let text = &word[at + 1..];
        let (digits, unit) = match text.char_indices().last() {
            Some((i, 'k')) => (&text[..i], 1e3),
            Some((i, 'm')) => (&text[..i], 1e6),
            _ => (text, 1.0),
        };
        let bound = digits.parse::<f64>().ok()? * unit;
        Some(Term::Number { what, above: word[at..].starts_with('>'), bound })
    });
    number.unwrap_or_else(|| Term::Word(word.to_owned()))
}

impl Bench {
    pub(super) fn sync_rows(&mut self, session: &Session) {
        let plan = self.plan().cloned();
        let by_plan = session.sort == Column::Bits || session.sort == Column::Bytes || self.filter.contains("bits");
        let by_score = session.sort == Column::Sqnr || self.filter.contains("sqnr") || self.filter.contains("error");
        let key = Key {
            filter: self.filter.to_lowercase(),
            sort: session.sort,
            descending: session.descending,
            plan: plan.as_ref().filter(|_| by_plan || by_score).map_or(0, |p| Arc::as_ptr(p) as usize),
            scores: if by_score { self.scores.version() } else { 0 },
            language: spoken(),
        };
        let is_new = self.rows_for.as_ref() != Some(&key);
        if is_new {
            self.find_rows(session, &key, plan.as_deref());
            self.rows_for = Some(key);
        }
        self.sync_brackets(session, plan, is_new);
    }

    /// Ties are drawn where layers stand in the order of the network.
    fn sync_brackets(&mut self, session: &Session, plan: Option<Arc<Plan>>, rows_are_new: bool) {
        let place = plan.as_ref().map_or(0, |p| Arc::as_ptr(p) as usize);
        if rows_are_new || self.brackets_for != place {
            self.brackets = match plan {
                Some(plan) if session.sort == Column::Order => brackets(&plan, &self.rows),
                _ => Vec::new(),
            };
            self.brackets_for = place;
        }
    }

    fn find_rows(&mut self, session: &Session, key: &Key, plan: Option<&Plan>) {
        let terms: Vec<Term> = key.filter.split_whitespace().map(parse).collect();
        let mut rows: Vec<usize> =
            (0..self.layers().len()).filter(|&i| terms.iter().all(|term| self.fits(term, i, plan))).collect();
        rows.sort_by(|&a, &b| {
            let order = self.order(session.sort, a, b, plan);
            if session.descending { order.reverse() } else { order }
        });
        self.rows = rows;
    }

    fn fits(&self, term: &Term, index: usize, plan: Option<&Plan>) -> bool {
        let Some(layer) = self.layers().get(index) else { return false };
        match term {
            Term::Word(word) => layer.name.to_lowercase().contains(word) || layer.kind.name().to_lowercase().contains(word),
            Term::Number { what, above, bound } => {
                let value = match what {
                    Quantity::Size => layer.parameters() as f64,
                    Quantity::Bits => {
                        plan.and_then(|p| p.layers.get(index)).map_or(32.0, |l| f64::from(l.treatment.weights.bits()))
                    }
                    Quantity::Sqnr => self.sqnr(index, plan),
                };
                if *above { value > *bound } else { value < *bound }
            }
        }
    }

    fn sqnr(&self, index: usize, plan: Option<&Plan>) -> f64 {
        let treatment = plan.and_then(|p| p.layers.get(index)).map(|l| l.treatment);
        treatment.and_then(|t| self.scores.get(index, &t)).map_or(f64::NAN, |s| s.sqnr_db)
    }

    fn order(&self, column: Column, a: usize, b: usize, plan: Option<&Plan>) -> Ordering {
        let layers = self.layers();
        let of = |i: usize| plan.and_then(|p| p.layers.get(i));
        let by = |f: &dyn Fn(&Layer) -> u64| f(&layers[a]).cmp(&f(&layers[b]));
        let order = match column {
            Column::Order => Ordering::Equal,
            Column::Name => layers[a].name.cmp(&layers[b].name),
            Column::Op => layers[a].kind.cmp(&layers[b].kind),
            Column::Params => by(&|l| l.parameters() as u64),
            Column::Bits => of(a).map(|l| l.treatment.weights.bits()).cmp(&of(b).map(|l| l.treatment.weights.bits())),
            Column::Bytes => of(a).map(|l| l.bytes).cmp(&of(b).map(|l| l.bytes)),
            Column::Sqnr => self.sqnr(a, plan).total_cmp(&self.sqnr(b, plan)),
        };
        order.then(a.cmp(&b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_filters() {
        assert!(matches!(parse("size>10k"), Term::Number { what: Quantity::Size, above: true, bound } if bound == 10_000.0));
        assert!(matches!(parse("sqnr<20.5"), Term::Number { what: Quantity::Sqnr, above: false, bound } if bound == 20.5));
        assert!(matches!(parse("conv"), Term::Word(_)));
        assert!(matches!(parse("size>"), Term::Word(_)));
        assert!(matches!(parse("odd>3"), Term::Word(_)));
    }
}
