//! The languages that there are.

use super::catalog::catalog;
use eframe::egui::{Context, FontId};
use egui_system_font_provider::SystemFontProvider;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Language {
    #[default]
    English,
    /// Simplified.
    Chinese,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// BCP 47.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        catalog(self).plain("language-name").unwrap_or(self.tag())
    }

    /// The system's, else English.
    #[must_use]
    pub fn of_system() -> Self {
        sys_locale::get_locale().map_or(Self::English, |tag| Self::of_tag(&tag))
    }

    /// That of a tag such as `zh-CN` or `zh_CN.UTF-8`, else English.
    #[must_use]
    pub fn of_tag(tag: &str) -> Self {
        let language = tag.split(['-', '_', '.']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|l| l.tag().split('-').next() == Some(language)).unwrap_or_default()
    }

    /// Lets a window draw what the font that comes with it lacks with fonts of the system. Of the signs that Chinese
    /// and Japanese write differently, the Chinese are drawn.
    pub fn use_system_fonts(ctx: &Context) {
        ctx.add_font_provider(Arc::new(SystemFontProvider::new().with_locale(Some("zh-Hans"))));
    }

    /// Whether the fonts of the window, the system's included, can write it.
    #[must_use]
    pub fn can_be_written(self, ctx: &Context) -> bool {
        ctx.fonts_mut(|fonts| fonts.has_glyphs(&FontId::proportional(13.0), self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::Language;

    #[test]
    fn tags_of_systems_are_understood() {
        assert_eq!(Language::of_tag("zh_CN.UTF-8"), Language::Chinese);
        assert_eq!(Language::of_tag("zh-Hans-CN"), Language::Chinese);
        for other in ["en-US", "C", "", "POSIX", "zhuang"] {
            assert_eq!(Language::of_tag(other), Language::English, "{other}");
        }
    }
}
