//! What a layer gives for a sample, as pictures: before, after, and what is between.

use super::theme::Tokens;
use crate::workbench::activations::{Activation, Sample};
use eframe::egui::{Color32, ColorImage, Context, TextureHandle, TextureOptions};

/// Cells along a side of a picture at most: what graphics cards are sure to hold.
const MOST: usize = 2048;
/// Cells between two channels.
const GAP: usize = 1;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
    /// Before minus after.
    Difference,
}

impl Side {
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Difference];
}

/// How channels lie in a picture: as tiles, side by side and below each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    pub channels: usize,
    /// Of one channel.
    pub rows: usize,
    pub columns: usize,
    /// Tiles side by side.
    pub across: usize,
    /// Channels that are shown; fewer than there are where they do not fit.
    pub shown: usize,
}

impl Tiles {
    /// Channels × rows × columns of a shape; a vector is laid out in lines.
    #[must_use]
    pub fn of(shape: &[usize]) -> Self {
        let (channels, rows, columns) = match *shape {
            [] => (1, 1, 1),
            [n] => {
                let wide = (n as f64).sqrt().ceil().max(1.0) as usize;
                (1, n.div_ceil(wide), wide)
            }
            [rows, columns] => (1, rows, columns),
            [channels, rows, columns] => (channels, rows, columns),
            [ref outer @ .., rows, columns] => (outer.iter().product(), rows, columns),
        };
        let (tall, wide) = (rows + GAP, columns + GAP);
        // About as wide as tall.
        let across = ((channels * tall) as f64 / wide.max(1) as f64).sqrt().ceil() as usize;
        let across = across.clamp(1, (MOST / wide.max(1)).max(1)).min(channels.max(1));
        let shown = channels.min(across * (MOST / tall.max(1)).max(1));
        Self { channels, rows, columns, across, shown }
    }

    /// Columns and rows of the picture.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        let down = self.shown.div_ceil(self.across.max(1));
        [self.across * (self.columns + GAP), down * (self.rows + GAP)].map(|side| (side - GAP.min(side)).clamp(1, MOST))
    }

    /// Channel, row and column at a place of the picture; `None` between channels and behind the last.
    #[must_use]
    pub fn at(&self, x: usize, y: usize) -> Option<(usize, usize, usize)> {
        let (tall, wide) = (self.rows + GAP, self.columns + GAP);
        let channel = (y / tall) * self.across + x / wide;
        let (row, column) = (y % tall, x % wide);
        (channel < self.shown && row < self.rows && column < self.columns).then_some((channel, row, column))
    }

    /// The place of a value among all.
    #[must_use]
    pub fn index(&self, (channel, row, column): (usize, usize, usize)) -> usize {
        (channel * self.rows + row) * self.columns + column
    }
}

/// What was asked for: layer, sample, and the recipe in the state in which it was compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub layer: usize,
    pub sample: Sample,
    pub recipe_key: String,
}

/// The answer, or why there is none.
pub struct Maps {
    pub asked: Asked,
    pub seen: Result<Seen, String>,
}

pub struct Seen {
    pub activation: Activation,
    pub tiles: Tiles,
    /// The values at the ends of the color map: of what a layer gives, and of differences.
    pub range: f32,
    pub difference_range: f32,
    textures: Vec<TextureHandle>,
    painted_for: Option<&'static Tokens>,
}

impl Maps {
    #[must_use]
    pub fn new(asked: Asked, answer: Result<Activation, String>) -> Self {
        Self { asked, seen: answer.map(Seen::new) }
    }
}

impl Seen {
    fn new(activation: Activation) -> Self {
        let most = |values: &mut dyn Iterator<Item = f32>| values.filter(|v| v.is_finite()).fold(0.0, |m: f32, v| m.max(v.abs()));
        let range = most(&mut activation.before.iter().copied());
        let difference_range = most(&mut activation.before.iter().zip(&activation.after).map(|(b, a)| b - a));
        let tiles = Tiles::of(&activation.shape);
        Self { activation, tiles, range, difference_range, textures: Vec::new(), painted_for: None }
    }

    /// The value of one cell.
    #[must_use]
    pub fn value(&self, side: Side, index: usize) -> Option<f32> {
        let (before, after) = (self.activation.before.get(index)?, self.activation.after.get(index)?);
        Some(match side {
            Side::Before => *before,
            Side::After => *after,
            Side::Difference => before - after,
        })
    }

    /// Uploads the pictures, where that was not done for these colors.
    pub fn paint(&mut self, ctx: &Context) {
        let tokens = Tokens::of(ctx);
        if self.painted_for.is_some_and(|t| std::ptr::eq(t, tokens)) {
            return;
        }
        self.textures = Side::ALL
            .map(|side| ctx.load_texture(format!("activation {side:?}"), self.image(side, tokens), TextureOptions::NEAREST))
            .into();
        self.painted_for = Some(tokens);
    }

    fn image(&self, side: Side, tokens: &Tokens) -> ColorImage {
        let [width, height] = self.tiles.size();
        let range = if side == Side::Difference { self.difference_range } else { self.range };
        let color = |place: usize| {
            let value = self.tiles.at(place % width, place / width).and_then(|at| self.value(side, self.tiles.index(at)));
            match value {
                None => Color32::TRANSPARENT,
                Some(value) if value.is_finite() => tokens.difference.at(0.5 + 0.5 * value / range.max(f32::MIN_POSITIVE)),
                Some(_) => tokens.bad,
            }
        };
        ColorImage::new([width, height], (0..width * height).map(color).collect())
    }

    /// The picture of a side, once it was painted.
    #[must_use]
    pub fn texture(&self, side: Side) -> Option<&TextureHandle> {
        self.textures.get(side as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_place() {
        for shape in [vec![], vec![7], vec![5, 9], vec![16, 8, 8], vec![3, 2, 4, 5], vec![1, 1, 1]] {
            let tiles = Tiles::of(&shape);
            let [width, height] = tiles.size();
            let count: usize = shape.iter().product();
            let mut seen: Vec<usize> = (0..width * height)
                .filter_map(|p| tiles.at(p % width, p / width))
                .map(|at| tiles.index(at))
                .filter(|i| *i < count)
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{shape:?}");
        }
    }

    #[test]
    fn pictures_stay_within_what_can_be_held() {
        for shape in [vec![1000, 100, 100], vec![4096, 1, 1], vec![2, 5000, 3]] {
            let tiles = Tiles::of(&shape);
            assert!(tiles.size().iter().all(|s| (1..=MOST).contains(s)), "{shape:?}: {tiles:?}");
            assert!(tiles.shown >= 1 && tiles.shown <= shape[0], "{shape:?}: {tiles:?}");
        }
        assert_eq!(Tiles::of(&[64, 8, 8]).across, 8, "about as wide as tall");
    }
}
