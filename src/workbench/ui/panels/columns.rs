//! The columns of the grid: which there is room for, and how wide they are.

use crate::pipeline::configure::WIDTHS;

/// Of a width in the heat map.
pub const HEAT_CELL: f32 = 30.0;
/// Between columns.
pub const GAP: f32 = 6.0;

/// The columns that a panel has room for. What a narrow one does without comes back when it is widened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each column stands for itself")]
pub struct Shown {
    pub pruned: bool,
    pub inputs: bool,
    pub correction: bool,
    pub shape: bool,
    pub op: bool,
}

/// How wide a column is.
pub struct Wide {
    pub width: f32,
    /// What it shows may be wider. Each cell that clips is drawn by itself, which takes time.
    pub clips: bool,
}

/// A layer's name wants so much.
const NAME: f32 = 112.0;

impl Shown {
    pub fn within(width: f32) -> Self {
        let mut shown = Self::default();
        let wishes: [fn(&mut Self) -> &mut bool; 5] =
            [|s| &mut s.pruned, |s| &mut s.inputs, |s| &mut s.correction, |s| &mut s.shape, |s| &mut s.op];
        for wish in wishes {
            *wish(&mut shown) = true;
            if NAME + shown.columns().iter().map(|c| c.width + GAP).sum::<f32>() > width {
                *wish(&mut shown) = false;
                break;
            }
        }
        shown
    }

    /// All but the first.
    pub fn columns(self) -> Vec<Wide> {
        let clipped = |width: f32| Wide { width, clips: true };
        let fits = |width: f32| Wide { width, clips: false };
        let columns = [
            (self.op, clipped(78.0)),
            (self.shape, clipped(76.0)),
            // Weights, scheme, bits, scales.
            (true, fits(58.0)),
            (true, fits(64.0)),
            (true, fits(38.0)),
            (true, clipped(78.0)),
            (self.pruned, clipped(54.0)),
            (self.inputs, clipped(72.0)),
            (self.correction, clipped(78.0)),
            // Bytes, error, heat.
            (true, fits(66.0)),
            (true, fits(44.0)),
            (true, fits(HEAT_CELL * WIDTHS.len() as f32 + 2.0)),
        ];
        columns.into_iter().filter(|(on, _)| *on).map(|(_, column)| column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_panel_shows_all_and_a_narrow_one_keeps_the_heat_map() {
        let all = Shown { pruned: true, inputs: true, correction: true, shape: true, op: true };
        assert_eq!((Shown::within(2000.0), Shown::within(600.0)), (all, Shown::default()));
        for width in (700..1500).step_by(50) {
            let shown = Shown::within(width as f32);
            assert!(shown.columns().iter().map(|c| c.width + GAP).sum::<f32>() + NAME <= width as f32, "{width}");
        }
        assert!(Shown::within(960.0).correction, "the size that a window starts with");
    }
}
