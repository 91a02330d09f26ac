//! Pictures that jobs make for the window: weight errors, samples.

use super::theme::Tokens;
use crate::pipeline::configure::Treatment;
use eframe::egui::{Color32, ColorImage, Context, TextureHandle, TextureOptions, Theme};
use std::collections::BTreeMap;

/// The most rows and columns of an error picture.
pub const MOST_CELLS: usize = 256;

/// The error of one layer's weights: a row per output channel, a column per input and tap. Rows
/// come in while the job works.
pub struct ErrorPicture {
    pub layer: usize,
    pub treatment: Treatment,
    pub rows: usize,
    pub columns: usize,
    /// Original minus approximate; `NaN` where it has not come in yet.
    pub cells: Vec<f32>,
    /// The error at the ends of the color map.
    pub range: f32,
    texture: Option<TextureHandle>,
    painted_for: Option<Theme>,
}

impl ErrorPicture {
    #[must_use]
    pub fn new(layer: usize, treatment: Treatment, rows: usize, columns: usize, range: f32) -> Self {
        Self { layer, treatment, rows, columns, cells: vec![f32::NAN; rows * columns], range, texture: None, painted_for: None }
    }

    /// Keeps what is shown until the new rows of the same layer come in.
    #[must_use]
    pub fn following(self, older: Option<Self>) -> Self {
        match older {
            Some(older) if (older.layer, older.rows, older.columns) == (self.layer, self.rows, self.columns) => {
                Self { cells: older.cells, texture: older.texture, ..self }
            }
            _ => self,
        }
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
        let theme = ctx.theme();
        if self.painted_for == Some(theme) || self.rows * self.columns == 0 {
            return;
        }
        let tokens = Tokens::of(theme);
        let color = |&error: &f32| {
            if error.is_nan() {
                tokens.background
            } else {
                tokens.difference.at(0.5 + 0.5 * error / self.range.max(f32::MIN_POSITIVE))
            }
        };
        let pixels: Vec<Color32> = self.cells.iter().map(color).collect();
        let image = ColorImage::new([self.columns, self.rows], pixels);
        match &mut self.texture {
            Some(texture) => texture.set(image, TextureOptions::NEAREST),
            None => self.texture = Some(ctx.load_texture("weight error", image, TextureOptions::NEAREST)),
        }
        self.painted_for = Some(theme);
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
        self.classes.get(index).cloned().unwrap_or_else(|| format!("class {index}"))
    }
}
