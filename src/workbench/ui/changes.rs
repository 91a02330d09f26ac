//! Which of the samples are shown whose prediction changed.

use super::text::tr;
use crate::pipeline::compare::ChangedSample;

/// What became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    All,
    /// Right before, wrong by a recipe.
    ToWrong,
    /// Wrong before, right by a recipe.
    ToRight,
    /// Wrong before and after, but otherwise.
    OtherwiseWrong,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::All, Self::ToWrong, Self::ToRight, Self::OtherwiseWrong];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => tr!("changes-all"),
            Self::ToWrong => tr!("changes-to-wrong"),
            Self::ToRight => tr!("changes-to-right"),
            Self::OtherwiseWrong => tr!("changes-otherwise-wrong"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Kind,
    /// Samples of one class that are, or were, taken for another: label and prediction.
    pub cell: Option<(usize, usize)>,
}

impl Filter {
    #[must_use]
    pub fn passes(&self, change: &ChangedSample) -> bool {
        let after = || change.after.iter().flatten().copied();
        let was_right = change.label == Some(change.before);
        let is_right = || after().any(|a| Some(a) == change.label);
        let kind = match (self.kind, change.label) {
            (Kind::All, _) => true,
            (_, None) => false,
            (Kind::ToWrong, _) => was_right,
            (Kind::ToRight, _) => !was_right && is_right(),
            (Kind::OtherwiseWrong, _) => !was_right && !is_right(),
        };
        let in_cell = |(label, predicted): (usize, usize)| {
            change.label == Some(label) && (change.before == predicted || after().any(|a| a == predicted))
        };
        kind && self.cell.is_none_or(in_cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_shows_its_own() {
        let change = |label, before, after: &[Option<usize>]| ChangedSample {
            sample: 0,
            position: None,
            label,
            before,
            after: after.to_vec(),
        };
        let all = [
            change(Some(1), 1, &[None, Some(2)]),
            change(Some(1), 3, &[Some(1), None]),
            change(Some(1), 3, &[Some(4), None]),
            change(None, 3, &[Some(4), None]),
        ];
        let shown = |kind, cell| all.iter().map(|c| Filter { kind, cell }.passes(c)).collect::<Vec<_>>();
        assert_eq!(shown(Kind::All, None), [true; 4]);
        assert_eq!(shown(Kind::ToWrong, None), [true, false, false, false]);
        assert_eq!(shown(Kind::ToRight, None), [false, true, false, false]);
        assert_eq!(shown(Kind::OtherwiseWrong, None), [false, false, true, false]);
        assert_eq!(shown(Kind::All, Some((1, 3))), [false, true, true, false]);
        assert_eq!(shown(Kind::All, Some((1, 2))), [true, false, false, false]);
    }
}
