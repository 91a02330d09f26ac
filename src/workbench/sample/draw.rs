//! Draws the sample's images: one shape per image under an affine change, with anti-aliased edges,
//! a background that is not even, clutter and noise. Every image has a seed of its own, so that
//! images can be drawn in any order and on any number of threads.

use super::shapes::{CLASS_NAMES, Pen, ink_distance, segment};
use crate::engine::random::Random;

/// Height and width of an image, in pixels.
pub const SIDE: usize = 24;
/// Pixels of one image.
pub const PIXELS: usize = SIDE * SIDE;
/// Number of shapes.
pub const CLASSES: usize = CLASS_NAMES.len();

/// Which of the three sets an image belongs to: no two of them share a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Calibrate,
    Evaluate,
}

impl Split {
    fn salt(self) -> u64 {
        match self {
            Self::Train => 0x7261_494E,
            Self::Calibrate => 0xCA11_B8A7,
            Self::Evaluate => 0xE7A1_0A7E,
        }
    }
}

/// Image `index` of a set: its class and its pixels (row-major, 0 black to 255 white).
///
/// Classes take turns, so that every set is balanced.
#[must_use]
pub fn image(split: Split, seed: u64, index: usize) -> (u8, [u8; PIXELS]) {
    let class = index % CLASSES;
    let mut mixer = Random::new(seed ^ (split.salt() << 32));
    let mut random = Random::new(mixer.next_u64() ^ (index as u64));
    // Neighboring indices start in neighboring states: one more turn sets them apart.
    let mut random = Random::new(random.next_u64());
    (class as u8, draw(class, &mut random))
}

/// One image of a class.
#[must_use]
pub fn draw(class: usize, random: &mut Random) -> [u8; PIXELS] {
    let pose = Pose::random(random);
    let light = Light::random(random);
    let clutter: Vec<Stroke> = (0..random.below(4)).map(|_| Stroke::random(random)).collect();
    let deviation = random.range(0.03, 0.11);
    let mut pixels = [0_u8; PIXELS];
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let p = [(i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5];
        let mut value = light.background(p);
        value += (light.ink - value) * pose.coverage(class, p);
        for stroke in &clutter {
            value += (stroke.level - value) * coverage(segment(stroke.from, stroke.to, p) - stroke.half_width);
        }
        value += deviation * bell(random);
        *pixel = (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    }
    pixels
}

/// Share of a pixel that ink covers whose edge is `distance` pixels away.
fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

/// Nearly normal with deviation 1: the sum of twelve uniform values. Needs no logarithm, whose
/// last bit differs between machines.
fn bell(random: &mut Random) -> f32 {
    (0..12).map(|_| random.uniform()).sum::<f32>() - 6.0
}

/// Where the shape is and how it is turned, scaled and sheared.
struct Pose {
    center: [f32; 2],
    /// From pixels to units of the shape.
    inverse: [[f32; 2]; 2],
    /// Pixels per unit.
    scale: f32,
    pen: Pen,
}

impl Pose {
    fn random(random: &mut Random) -> Self {
        let middle = SIDE as f32 / 2.0;
        let center = [middle + random.range(-2.5, 2.5), middle + random.range(-2.5, 2.5)];
        // tan(angle / 2), up to 43 degrees either way: sine and cosine follow without trigonometry.
        let t = random.range(-0.4, 0.4);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let scale = random.range(5.6, 9.2);
        let aspect = random.range(0.82, 1.22);
        let shear = random.range(-0.3, 0.3);
        // forward = rotation · [[scale·aspect, scale·shear], [0, scale]]
        let (a, b, d) = (scale * aspect, scale * shear, scale);
        let forward = [[cos * a, cos * b - sin * d], [sin * a, sin * b + cos * d]];
        let determinant = forward[0][0] * forward[1][1] - forward[0][1] * forward[1][0];
        let inverse = [
            [forward[1][1] / determinant, -forward[0][1] / determinant],
            [-forward[1][0] / determinant, forward[0][0] / determinant],
        ];
        let pen = if random.uniform() < 0.4 { Pen::Outline(random.range(0.6, 1.1) / scale) } else { Pen::Filled };
        Self { center, inverse, scale, pen }
    }

    fn coverage(&self, class: usize, p: [f32; 2]) -> f32 {
        let (x, y) = (p[0] - self.center[0], p[1] - self.center[1]);
        let m = &self.inverse;
        let local = [m[0][0] * x + m[0][1] * y, m[1][0] * x + m[1][1] * y];
        coverage(ink_distance(class, self.pen, local) * self.scale)
    }
}

/// Gray levels, from 0 to 1: a background that changes across the image, and ink.
struct Light {
    level: f32,
    slope: [f32; 2],
    ink: f32,
}

impl Light {
    fn random(random: &mut Random) -> Self {
        let level = random.range(0.1, 0.9);
        let contrast = random.range(0.3, 0.65);
        let up = if random.uniform() < 0.5 { level + contrast <= 1.0 } else { level - contrast < 0.0 };
        let ink = if up { level + contrast } else { level - contrast };
        Self { level, slope: [random.range(-0.2, 0.2), random.range(-0.2, 0.2)], ink }
    }

    fn background(&self, p: [f32; 2]) -> f32 {
        let side = SIDE as f32;
        self.level + self.slope[0] * (p[0] / side - 0.5) + self.slope[1] * (p[1] / side - 0.5)
    }
}

/// A short line that belongs to no shape.
struct Stroke {
    from: [f32; 2],
    to: [f32; 2],
    half_width: f32,
    level: f32,
}

impl Stroke {
    fn random(random: &mut Random) -> Self {
        let side = SIDE as f32;
        let from = [random.range(0.0, side), random.range(0.0, side)];
        let to = [from[0] + random.range(-6.0, 6.0), from[1] + random.range(-6.0, 6.0)];
        Self { from, to, half_width: random.range(0.3, 0.9), level: random.uniform() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_depend_on_seed_split_and_index_alone() {
        let one = image(Split::Evaluate, 1, 17);
        assert_eq!(one, image(Split::Evaluate, 1, 17));
        assert_eq!(one.0, 7);
        assert_ne!(one.1, image(Split::Calibrate, 1, 17).1);
        assert_ne!(one.1, image(Split::Evaluate, 2, 17).1);
        assert_ne!(one.1, image(Split::Evaluate, 1, 27).1);
    }

    #[test]
    fn ink_stands_out_from_the_background() {
        let spread = |pixels: &[u8]| pixels.iter().max().unwrap_or(&0) - pixels.iter().min().unwrap_or(&0);
        assert!((0..200).all(|i| spread(&image(Split::Train, 3, i).1) > 60));
    }

    /// Writes 20 images of every class where `SAMPLE_SHEET` says, to look at.
    #[test]
    fn contact_sheet() {
        let Ok(path) = std::env::var("SAMPLE_SHEET") else { return };
        let (columns, zoom) = (20, 3);
        let images: Vec<[u8; PIXELS]> = (0..columns * CLASSES).map(|i| super::image(Split::Train, 9, i).1).collect();
        let sheet = image::GrayImage::from_fn((columns * SIDE * zoom) as u32, (CLASSES * SIDE * zoom) as u32, |x, y| {
            let (x, y) = (x as usize / zoom, y as usize / zoom);
            image::Luma([images[x / SIDE * CLASSES + y / SIDE][y % SIDE * SIDE + x % SIDE]])
        });
        sheet.save(path).unwrap();
    }
}
