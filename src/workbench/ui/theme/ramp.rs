//! A color for a number between 0 and 1.

use eframe::egui::{Color32, lerp};

const STEPS: usize = 256;

/// Evenly spaced colors with what lies between them.
#[derive(Debug, Clone)]
pub struct Ramp(Vec<Color32>);

impl Ramp {
    /// # Errors
    /// With fewer than two colors.
    pub fn new(stops: &[Color32]) -> Result<Self, String> {
        let [_, _, ..] = stops else { return Err("a color ramp needs two colors or more".to_owned()) };
        let last = stops.len() - 1;
        let at = |step: usize| {
            let place = step as f32 / (STEPS - 1) as f32 * last as f32;
            let index = (place as usize).min(last - 1);
            mix(stops[index], stops[index + 1], place - index as f32)
        };
        Ok(Self((0..STEPS).map(at).collect()))
    }

    /// The color at `place`, clamped to 0 to 1; the first for what is no number.
    #[must_use]
    pub fn at(&self, place: f32) -> Color32 {
        let index = (place.clamp(0.0, 1.0) * (STEPS - 1) as f32).round() as usize;
        self.0.get(index).or(self.0.first()).copied().unwrap_or_default()
    }
}

fn mix(a: Color32, b: Color32, t: f32) -> Color32 {
    let channel = |a: u8, b: u8| lerp(f32::from(a)..=f32::from(b), t).round() as u8;
    Color32::from_rgb(channel(a.r(), b.r()), channel(a.g(), b.g()), channel(a.b(), b.b()))
}
