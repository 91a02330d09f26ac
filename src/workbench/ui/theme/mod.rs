//! Every color of the window, by meaning, from `assets/theme/*.ron`. No other file names a color.

mod ramp;
mod style;

pub use ramp::Ramp;
pub use style::install;

use eframe::egui::{Color32, Context, Id, Theme};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// The colors of one theme. Color never speaks alone: words, shapes or places say the same.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub background: Color32,
    pub panel: Color32,
    pub raised: Color32,
    pub hover: Color32,
    pub line: Color32,
    /// Bars behind numbers.
    pub bar: Color32,
    pub text: Color32,
    pub muted: Color32,
    pub accent: Color32,
    pub on_accent: Color32,
    pub good: Color32,
    pub warn: Color32,
    pub bad: Color32,
    pub stale: Color32,
    pub before: Color32,
    pub after: Color32,
    pub measured: Color32,
    pub predicted: Color32,
    pub variants: Vec<Color32>,
    /// From no error to a large one.
    pub error: Ramp,
    /// From negative over zero to positive.
    pub difference: Ramp,
}

/// The theme file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    background: String,
    panel: String,
    raised: String,
    hover: String,
    line: String,
    bar: String,
    text: String,
    muted: String,
    accent: String,
    on_accent: String,
    good: String,
    warn: String,
    bad: String,
    stale: String,
    before: String,
    after: String,
    measured: String,
    predicted: String,
    variants: Vec<String>,
    error: Vec<String>,
    difference: Vec<String>,
}

static DARK: LazyLock<Tokens> = LazyLock::new(|| built_in(include_str!("../../../../assets/theme/dark.ron")));
static LIGHT: LazyLock<Tokens> = LazyLock::new(|| built_in(include_str!("../../../../assets/theme/light.ron")));
static DARK_CONTRAST: LazyLock<Tokens> = LazyLock::new(|| built_in(include_str!("../../../../assets/theme/dark-contrast.ron")));
static LIGHT_CONTRAST: LazyLock<Tokens> = LazyLock::new(|| built_in(include_str!("../../../../assets/theme/light-contrast.ron")));

/// How far colors are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contrast {
    #[default]
    Normal,
    High,
}

impl Contrast {
    /// That of a window.
    fn of(ctx: &Context) -> Self {
        ctx.data(|d| d.get_temp(contrast_id())).unwrap_or_default()
    }
}

fn contrast_id() -> Id {
    Id::unique("contrast of colors")
}

#[expect(clippy::expect_used, reason = "the file is part of the program and a test reads it")]
fn built_in(text: &str) -> Tokens {
    Tokens::from_ron(text).expect("a built-in theme is well formed")
}

impl Tokens {
    /// Those of a window.
    #[must_use]
    pub fn of(ctx: &Context) -> &'static Self {
        Self::named(ctx.theme(), Contrast::of(ctx))
    }

    #[must_use]
    pub fn named(theme: Theme, contrast: Contrast) -> &'static Self {
        match (theme, contrast) {
            (Theme::Dark, Contrast::Normal) => &DARK,
            (Theme::Light, Contrast::Normal) => &LIGHT,
            (Theme::Dark, Contrast::High) => &DARK_CONTRAST,
            (Theme::Light, Contrast::High) => &LIGHT_CONTRAST,
        }
    }

    /// # Errors
    /// A sentence on what is wrong with the text.
    pub fn from_ron(text: &str) -> Result<Self, String> {
        let file: File = ron::from_str(text).map_err(|e| e.to_string())?;
        let color = |text: &String| Color32::from_hex(text).map_err(|e| format!("{text} is no color: {e:?}"));
        let colors = |texts: &[String]| texts.iter().map(color).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            background: color(&file.background)?,
            panel: color(&file.panel)?,
            raised: color(&file.raised)?,
            hover: color(&file.hover)?,
            line: color(&file.line)?,
            bar: color(&file.bar)?,
            text: color(&file.text)?,
            muted: color(&file.muted)?,
            accent: color(&file.accent)?,
            on_accent: color(&file.on_accent)?,
            good: color(&file.good)?,
            warn: color(&file.warn)?,
            bad: color(&file.bad)?,
            stale: color(&file.stale)?,
            before: color(&file.before)?,
            after: color(&file.after)?,
            measured: color(&file.measured)?,
            predicted: color(&file.predicted)?,
            variants: colors(&file.variants)?,
            error: Ramp::new(&colors(&file.error)?)?,
            difference: Ramp::new(&colors(&file.difference)?)?,
        })
    }

    /// The text color that reads best on `ground`.
    #[must_use]
    pub fn text_on(&self, ground: Color32) -> Color32 {
        let (dark, light) = if luminance(self.text) < luminance(self.background) {
            (self.text, self.panel)
        } else {
            (self.background, self.text)
        };
        if contrast(dark, ground) >= contrast(light, ground) { dark } else { light }
    }

    /// The color of a weight error of so many dB of signal to noise.
    #[must_use]
    pub fn error_at(&self, sqnr_db: f64) -> Color32 {
        self.error.at(error_position(sqnr_db))
    }
}

/// The dB at the two ends of the error ramp: at or above the first there is next to no error, at
/// or below the second little is left of the signal.
pub const ERROR_SPAN_DB: (f64, f64) = (45.0, 0.0);

/// Place on the error ramp, 0 (no error) to 1.
#[must_use]
pub fn error_position(sqnr_db: f64) -> f32 {
    ((ERROR_SPAN_DB.0 - sqnr_db) / (ERROR_SPAN_DB.0 - ERROR_SPAN_DB.1)).clamp(0.0, 1.0) as f32
}

/// Relative luminance (WCAG 2.2), 0 to 1.
#[must_use]
pub fn luminance(color: Color32) -> f32 {
    // Every cell of a heat map asks.
    static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|v| {
            let v = v as f32 / 255.0;
            if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        })
    });
    let linear = |v: u8| LINEAR[usize::from(v)];
    0.2126 * linear(color.r()) + 0.7152 * linear(color.g()) + 0.0722 * linear(color.b())
}

/// Contrast ratio (WCAG 2.2), 1 to 21.
#[must_use]
pub fn contrast(a: Color32, b: Color32) -> f32 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = (Theme, Contrast, &'static Tokens)> {
        let both = [Theme::Dark, Theme::Light].into_iter().flat_map(|t| [(t, Contrast::Normal), (t, Contrast::High)]);
        both.map(|(theme, contrast)| (theme, contrast, Tokens::named(theme, contrast)))
    }

    #[test]
    fn text_can_be_read() {
        for (theme, asked, t) in all() {
            let (plain, colored) = if asked == Contrast::High { (14.0, 7.0) } else { (7.0, 4.5) };
            for ground in [t.background, t.panel, t.raised, t.bar] {
                let plain = if ground == t.bar { 7.0 } else { plain };
                assert!(
                    contrast(t.text, ground) >= plain,
                    "{theme:?} {asked:?}: text on {ground:?} {}",
                    contrast(t.text, ground)
                );
                if ground == t.bar {
                    continue;
                }
                for color in [t.muted, t.accent, t.good, t.warn, t.bad, t.stale] {
                    let found = contrast(color, ground);
                    assert!(found >= colored, "{theme:?} {asked:?}: {color:?} on {ground:?} {found}");
                }
            }
            assert!(contrast(t.on_accent, t.accent) >= 4.5);
            for &color in &t.variants {
                assert!(contrast(color, t.panel) >= 3.0, "{theme:?}: variant {color:?} {}", contrast(color, t.panel));
            }
            for step in 0..=20 {
                let ground = t.error.at(step as f32 / 20.0);
                assert!(contrast(t.text_on(ground), ground) >= 4.0, "{theme:?}: text on the error ramp at {step}");
            }
        }
    }

    #[test]
    fn errors_grow_evenly_brighter_or_darker() {
        for (theme, _, tokens) in all() {
            let lightness: Vec<f32> = (0..=32).map(|i| luminance(tokens.error.at(i as f32 / 32.0)).cbrt()).collect();
            let sign = (lightness[32] - lightness[0]).signum();
            assert!(lightness.windows(2).all(|w| (w[1] - w[0]) * sign > 0.0), "{theme:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_theme() {
        assert!(Tokens::from_ron("(background: \"red\")").is_err());
    }
}
