//! Pictures: decoding, resizing, cropping, and their way into a model's input.

use super::preprocess::{Channels, Layout, Preprocess};
use crate::engine::graph::{Dim, Port};
use crate::pipeline::load::error::LoadError;
use std::path::Path;

/// Bits behind the point of the resizing coefficients (as Pillow has them for 8-bit pictures).
const PRECISION: u32 = 32 - 8 - 2;

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// Three bytes per pixel, row by row.
    pub rgb: Vec<u8>,
}

impl Picture {
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        let decoded = reader(path)?.decode().map_err(|e| unreadable(path, &e))?.into_rgb8();
        Ok(Self { width: decoded.width() as usize, height: decoded.height() as usize, rgb: decoded.into_raw() })
    }

    pub(super) fn from_gray(width: usize, height: usize, gray: &[u8]) -> Self {
        Self { width, height, rgb: gray.iter().flat_map(|&v| [v; 3]).collect() }
    }

    /// The shorter side becomes `side`.
    fn resized(self, side: usize) -> Self {
        let (width, height) = scaled_size(self.width, self.height, side);
        self.resized_to(width, height)
    }

    /// Bilinear, each output pixel averaging all that it covers: bit for bit what
    /// `Image.resize(…, BILINEAR)` of Pillow gives.
    pub(super) fn resized_to(&self, width: usize, height: usize) -> Self {
        let wide = resize_rows(self, width);
        if height == self.height {
            return wide;
        }
        resize_rows(&wide.transposed(), height).transposed()
    }

    fn transposed(&self) -> Self {
        let mut rgb = vec![0; self.rgb.len()];
        for (y, row) in self.rgb.as_chunks::<3>().0.chunks_exact(self.width.max(1)).enumerate() {
            for (x, pixel) in row.iter().enumerate() {
                let at = (x * self.height + y) * 3;
                rgb[at..at + 3].copy_from_slice(pixel);
            }
        }
        Self { width: self.height, height: self.width, rgb }
    }

    fn cropped(&self, side: usize) -> Self {
        let (left, top) = ((self.width - side) / 2, (self.height - side) / 2);
        let rows = (top..top + side).map(|y| (y * self.width + left) * 3);
        Self { width: side, height: side, rgb: rows.flat_map(|at| self.rgb[at..at + side * 3].iter().copied()).collect() }
    }
}

fn reader(path: &Path) -> Result<image::ImageReader<std::io::BufReader<std::fs::File>>, LoadError> {
    image::ImageReader::open(path).and_then(image::ImageReader::with_guessed_format).map_err(LoadError::io(path))
}

fn unreadable(path: &Path, error: &image::ImageError) -> LoadError {
    LoadError::data(path, format!("the picture cannot be read: {error}; repair it or take it out of the data"))
}

/// Width and height of a picture from the head of its file.
pub(super) fn size_of(path: &Path) -> Result<(usize, usize), LoadError> {
    let (width, height) = reader(path)?.into_dimensions().map_err(|e| unreadable(path, &e))?;
    Ok((width as usize, height as usize))
}

fn scaled_size(width: usize, height: usize, side: usize) -> (usize, usize) {
    if width <= height { (side, (height * side / width.max(1)).max(1)) } else { ((width * side / height.max(1)).max(1), side) }
}

/// First input pixel and fixed-point weights for each output pixel.
fn coefficients(from: usize, to: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    (0..to)
        .map(|x| {
            let center = (x as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (start..end).map(|i| (1.0 - ((i as f64 - center + 0.5) / support).abs()).max(0.0)).collect();
            let sum: f64 = weights.iter().sum();
            (start, weights.iter().map(|w| (w / sum * f64::from(1_u32 << PRECISION) + 0.5) as i32).collect())
        })
        .collect()
}

fn resize_rows(picture: &Picture, width: usize) -> Picture {
    if width == picture.width {
        return picture.clone();
    }
    let table = coefficients(picture.width, width);
    let mut rgb = Vec::with_capacity(width * picture.height * 3);
    for row in picture.rgb.chunks_exact(picture.width * 3) {
        for (start, weights) in &table {
            let mut sums = [1_i32 << (PRECISION - 1); 3];
            for (pixel, weight) in row.as_chunks::<3>().0[*start..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            rgb.extend(sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8));
        }
    }
    Picture { width, height: picture.height, rgb }
}

/// How pictures become samples of one model input.
#[derive(Debug, Clone)]
pub(super) struct PicturePlan {
    resize: Option<usize>,
    crop: Option<usize>,
    channels: Channels,
    layout: Layout,
    width: usize,
    height: usize,
    /// Shape of one sample.
    pub dims: Vec<usize>,
    /// What each of the 256 values of a channel becomes.
    tables: Vec<Vec<f32>>,
}

impl PicturePlan {
    /// Settles everything from the first picture's size (`gray`: whether the data has no colors)
    /// and the model's input.
    pub(super) fn new(settings: &Preprocess, first: (usize, usize), gray: bool, input: &Port) -> Result<Self, LoadError> {
        let (resize, crop) = (settings.resize.map(|n| n as usize), settings.crop.map(|n| n as usize));
        if first.0 == 0 || first.1 == 0 {
            return Err(LoadError::Shape { reason: format!("the pictures are empty: {} by {} pixels", first.0, first.1) });
        }
        let (width, height) = size_after(first, resize, crop).ok_or_else(|| too_small(first, resize, crop))?;
        let free = [Dim::Unknown, Dim::Unknown, Dim::Unknown];
        let axes = input.fact.shape.as_deref().map_or(&free[..], |shape| shape.get(1..).unwrap_or_default());
        let channels = settings.channels.unwrap_or_else(|| {
            let one = match axes {
                [all] => all.known() == Some(width * height),
                [c, _, _] if settings.layout == Layout::Nchw => c.known() == Some(1) || gray && c.known().is_none(),
                [_, _, c] => c.known() == Some(1) || gray && c.known().is_none(),
                _ => true,
            };
            if one { Channels::Gray } else { Channels::Rgb }
        });
        let count = channels.count();
        let dims = match (axes.len(), settings.layout) {
            (1, _) => vec![count * height * width],
            (2, _) if count == 1 => vec![height, width],
            (_, Layout::Nchw) => vec![count, height, width],
            (_, Layout::Nhwc) => vec![height, width, count],
        };
        let fits = dims.len() == axes.len() && dims.iter().zip(axes).all(|(d, a)| a.known().is_none_or(|n| n == *d));
        if !fits {
            return Err(LoadError::Shape { reason: misfit(&dims, axes, settings.layout, (width, height), input) });
        }
        let tables = settings.affine(count)?.into_iter().map(|a| (0..=255_u8).map(|v| a.apply(f32::from(v))).collect()).collect();
        Ok(Self { resize, crop, channels, layout: settings.layout, width, height, dims, tables })
    }

    /// Writes the sample into `out`, which has the size of `dims`. `what` names the picture.
    pub(super) fn fill(&self, picture: Picture, what: &dyn Fn() -> String, out: &mut [f32]) -> Result<(), LoadError> {
        let size = (picture.width, picture.height);
        if size_after(size, self.resize, self.crop) != Some((self.width, self.height)) {
            let (w, h, now_w, now_h) = (self.width, self.height, size.0, size.1);
            let reason =
                format!("{} is {now_w} × {now_h}, but the first picture came to {w} × {h}; use --resize and --crop", what());
            return Err(LoadError::Shape { reason });
        }
        let picture = match self.resize {
            Some(side) => picture.resized(side),
            None => picture,
        };
        let picture = match self.crop {
            Some(side) => picture.cropped(side),
            None => picture,
        };
        self.normalize(&picture, out);
        Ok(())
    }

    fn normalize(&self, picture: &Picture, out: &mut [f32]) {
        let (pixels, count) = (self.width * self.height, self.channels.count());
        for (place, pixel) in picture.rgb.as_chunks::<3>().0.iter().enumerate() {
            let values = match self.channels {
                Channels::Rgb => *pixel,
                Channels::Bgr => [pixel[2], pixel[1], pixel[0]],
                Channels::Gray => [luma(*pixel); 3],
            };
            for (channel, (table, value)) in self.tables.iter().zip(values).enumerate() {
                let at = match self.layout {
                    Layout::Nchw => channel * pixels + place,
                    Layout::Nhwc => place * count + channel,
                };
                out[at] = table[usize::from(value)];
            }
        }
    }
}

/// ITU-R 601 in fixed point, as Pillow's `convert("L")`.
pub(super) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// Width and height after resizing and cropping; `None` where the crop does not fit.
fn size_after((width, height): (usize, usize), resize: Option<usize>, crop: Option<usize>) -> Option<(usize, usize)> {
    let (width, height) = resize.map_or((width, height), |side| scaled_size(width, height, side));
    match crop {
        Some(side) if side > width || side > height => None,
        Some(side) => Some((side, side)),
        None => Some((width, height)),
    }
}

fn too_small((width, height): (usize, usize), resize: Option<usize>, crop: Option<usize>) -> LoadError {
    let (crop, resized) = (crop.unwrap_or(0), resize.map_or(String::new(), |n| format!(" resized to {n}")));
    LoadError::Shape {
        reason: format!("--crop {crop} does not fit into pictures of {width} × {height}{resized}; use --resize {crop} or more"),
    }
}

fn misfit(dims: &[usize], axes: &[Dim], layout: Layout, (width, height): (usize, usize), input: &Port) -> String {
    let expected = super::shape_text(input);
    let says = format!("pictures come to {dims:?}, but input \"{}\" of the model takes {expected}", input.wire);
    let known: Vec<Option<usize>> = axes.iter().map(Dim::known).collect();
    let (channel, sides, other_end) = match *known.as_slice() {
        [first, second, third] if layout == Layout::Nchw => (first, Some((second, third)), third),
        [first, second, third] => (third, Some((first, second)), first),
        _ => (None, None, None),
    };
    let colors = |n: Option<usize>| matches!(n, Some(1 | 3));
    let advice = match sides {
        Some(_) if !colors(channel) && colors(other_end) => {
            format!("use --layout {}", if layout == Layout::Nchw { "nhwc" } else { "nchw" })
        }
        Some((Some(h), Some(w))) if h == w && (h, w) != (height, width) => {
            format!("use --crop {h}, after --resize {h} or more where pictures are smaller")
        }
        Some((h, w)) if h.is_some_and(|h| h != height) || w.is_some_and(|w| w != width) => {
            "prepare the pictures at that size".to_owned()
        }
        Some(_) => match channel {
            Some(1) => "use --channels gray".to_owned(),
            Some(3) => "use --channels rgb or bgr".to_owned(),
            _ => "this model does not take pictures; use an .npz file with an array x".to_owned(),
        },
        None if axes.len() == 1 => "use --resize, --crop or --channels gray so that the number of values fits".to_owned(),
        None => "this model does not take pictures; use an .npz file with an array x".to_owned(),
    };
    format!("{says}; {advice}")
}
