//! Pictures that jobs make for the window: weights, samples.

use super::text::tr;
use super::theme::Tokens;
use crate::pipeline::configure::Treatment;
use eframe::egui::{Color32, ColorImage, Context, TextureHandle, TextureOptions};
use std::collections::BTreeMap;

/// What is seen of a weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sight {
    Before,
    After,
    /// Before minus after.
    #[default]
    Difference,
    /// Which weights are left: the pattern of pruning.
    Kept,
}

impl Sight {
    pub const ALL: [Self; 4] = [Self::Before, Self::After, Self::Difference, Self::Kept];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => tr!("pictures-before"),
            Self::After => tr!("pictures-after"),
            Self::Difference => tr!("pictures-difference"),
            Self::Kept => tr!("pictures-kept"),
        }
    }

    /// Of one weight.
    #[must_use]
    pub fn value(self, before: f32, after: f32) -> f32 {
        match self {
            Self::Before => before,
            Self::After => after,
            Self::Difference => before - after,
            Self::Kept => f32::from(u8::from(after != 0.0)),
        }
    }
}

/// The part of a weight that is looked at: rows are output channels, columns inputs and taps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lens {
    pub sight: Sight,
    /// From, and up to but not including.
    pub rows: (usize, usize),
    pub columns: (usize, usize),
    /// The most rows and columns of the picture.
    pub most: usize,
}

impl Lens {
    /// All of a weight.
    #[must_use]
    pub fn whole(sight: Sight, rows: usize, columns: usize, most: usize) -> Self {
        Self { sight, rows: (0, rows), columns: (0, columns), most }
    }

    /// Weights that one cell of the picture stands for: down and across.
    #[must_use]
    pub fn step(&self) -> (usize, usize) {
        let step = |(from, to): (usize, usize)| (to - from).div_ceil(self.most.max(1)).max(1);
        (step(self.rows), step(self.columns))
    }

    /// Rows and columns of the picture.
    #[must_use]
    pub fn cells(&self) -> (usize, usize) {
        let (tall, wide) = self.step();
        ((self.rows.1 - self.rows.0).div_ceil(tall), (self.columns.1 - self.columns.0).div_ceil(wide))
    }

    /// Nearer or further by `factor` about a point of the picture (0 to 1 across and down) of a weight of so many rows
    /// and columns.
    #[must_use]
    pub fn zoomed(self, factor: f32, (x, y): (f32, f32), (rows, columns): (usize, usize)) -> Self {
        Self { rows: zoom(self.rows, factor, y, rows), columns: zoom(self.columns, factor, x, columns), ..self }
    }

    /// Moved by a share of what is seen.
    #[must_use]
    pub fn moved(self, (x, y): (f32, f32), (rows, columns): (usize, usize)) -> Self {
        Self { rows: shift(self.rows, y, rows), columns: shift(self.columns, x, columns), ..self }
    }
}

/// Weights that are seen at least along a side, where there are as many.
const CLOSEST: usize = 8;

fn zoom((from, to): (usize, usize), factor: f32, at: f32, all: usize) -> (usize, usize) {
    let span = ((to - from) as f32 / factor.max(0.01)).round() as usize;
    let span = span.clamp(CLOSEST.min(all), all);
    let fixed = from as f32 + at * (to - from) as f32;
    let start = (fixed - at * span as f32).round().max(0.0) as usize;
    let start = start.min(all - span);
    (start, start + span)
}

fn shift((from, to): (usize, usize), by: f32, all: usize) -> (usize, usize) {
    let span = to - from;
    let start = (from as f32 + by * span as f32).round().max(0.0) as usize;
    let start = start.min(all.saturating_sub(span));
    (start, start + span)
}

/// A part of one layer's weights as cells. Rows come in while the job works.
pub struct WeightPicture {
    pub layer: usize,
    pub treatment: Treatment,
    pub lens: Lens,
    pub rows: usize,
    pub columns: usize,
    /// `NaN` where it has not come in yet.
    pub cells: Vec<f32>,
    /// The value at the ends of the color map.
    pub range: f32,
    texture: Option<TextureHandle>,
    painted_for: Option<&'static Tokens>,
}

impl WeightPicture {
    #[must_use]
    pub fn new(layer: usize, treatment: Treatment, lens: Lens, range: f32) -> Self {
        let (rows, columns) = lens.cells();
        let cells = vec![f32::NAN; rows * columns];
        Self { layer, treatment, lens, rows, columns, cells, range, texture: None, painted_for: None }
    }

    /// Keeps what is shown until the new rows of the same part come in.
    #[must_use]
    pub fn following(self, older: Option<Self>) -> Self {
        match older {
            Some(older) if (older.layer, older.lens) == (self.layer, self.lens) => {
                Self { cells: older.cells, texture: older.texture, ..self }
            }
            _ => self,
        }
    }

    pub fn is_of(&self, layer: usize, treatment: &Treatment, lens: &Lens) -> bool {
        (self.layer, &self.treatment, &self.lens) == (layer, treatment, lens)
    }

    pub fn fill(&mut self, first_row: usize, cells: &[f32]) {
        let start = first_row * self.columns;
        if let Some(place) = self.cells.get_mut(start..start + cells.len()) {
            place.copy_from_slice(cells);
            self.painted_for = None;
        }
    }

    /// Uploads what has changed.
    pub fn paint(&mut self, ctx: &Context) {
        let tokens = Tokens::of(ctx);
        if self.painted_for.is_some_and(|t| std::ptr::eq(t, tokens)) || self.rows * self.columns == 0 {
            return;
        }
        let color = |&value: &f32| match self.lens.sight {
            _ if value.is_nan() => tokens.background,
            Sight::Kept => tokens.background.lerp_to_gamma(tokens.accent, value),
            _ => tokens.difference.at(0.5 + 0.5 * value / self.range.max(f32::MIN_POSITIVE)),
        };
        let pixels: Vec<Color32> = self.cells.iter().map(color).collect();
        let image = ColorImage::new([self.columns, self.rows], pixels);
        match &mut self.texture {
            Some(texture) => texture.set(image, TextureOptions::NEAREST),
            None => self.texture = Some(ctx.load_texture("weights", image, TextureOptions::NEAREST)),
        }
        self.painted_for = Some(tokens);
    }

    #[must_use]
    pub fn texture(&self) -> Option<&TextureHandle> {
        self.texture.as_ref()
    }
}

/// A sample as a job hands it over: 8-bit RGB.
#[derive(Debug, Clone)]
pub struct SamplePicture {
    pub sample: usize,
    pub label: Option<usize>,
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// Samples that can be shown.
#[derive(Default)]
pub struct Gallery {
    pub total: usize,
    pub classes: Vec<String>,
    pub pictures: BTreeMap<usize, (Option<usize>, TextureHandle)>,
    /// Why there are none.
    pub problem: Option<String>,
}

impl Gallery {
    /// Uploads pictures.
    pub fn add(&mut self, ctx: &Context, pictures: Vec<SamplePicture>) {
        for picture in pictures {
            if picture.width * picture.height * 3 != picture.rgb.len() || picture.rgb.is_empty() {
                continue;
            }
            let image = ColorImage::from_rgb([picture.width, picture.height], &picture.rgb);
            let options = if picture.width < 96 { TextureOptions::NEAREST } else { TextureOptions::LINEAR };
            let texture = ctx.load_texture(format!("sample {}", picture.sample), image, options);
            self.pictures.insert(picture.sample, (picture.label, texture));
        }
    }

    /// The name of a class, else its number.
    #[must_use]
    pub fn class(&self, index: usize) -> String {
        self.classes.get(index).cloned().unwrap_or_else(|| tr!("pictures-class", number = index.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_zooms_about_the_pointer_and_stays_inside() {
        let size = (4096, 1000);
        let lens = Lens::whole(Sight::Before, size.0, size.1, 256);
        assert_eq!((lens.step(), lens.cells()), ((16, 4), (256, 250)));
        let near = lens.zoomed(4.0, (0.5, 0.25), size);
        assert_eq!((near.rows, near.columns), ((768, 1792), (375, 625)));
        assert_eq!(near.zoomed(0.01, (0.5, 0.25), size), lens, "and back");
        let corner = near.moved((9.0, -9.0), size);
        assert_eq!((corner.rows, corner.columns), ((0, 1024), (750, 1000)));
        let nearest = lens.zoomed(1e9, (1.0, 1.0), size);
        assert_eq!((nearest.rows, nearest.columns), ((4088, 4096), (992, 1000)));
        let small = Lens::whole(Sight::Kept, 3, 1, 256).zoomed(50.0, (0.0, 0.0), (3, 1));
        assert_eq!((small.rows, small.columns), ((0, 3), (0, 1)));
    }
}
