//! Tokens → egui's style: one look, both themes, on a grid of four points.

use super::{Contrast, Tokens, contrast_id};
use eframe::egui::style::{Selection, WidgetVisuals};
use eframe::egui::{
    Color32, Context, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, Style, TextStyle, Theme, Visuals, vec2,
};

const RADIUS: CornerRadius = CornerRadius::same(4);

/// Sets both themes of a window.
pub fn install(ctx: &Context, contrast: Contrast) {
    ctx.data_mut(|d| d.insert_temp(contrast_id(), contrast));
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| apply(style, theme, Tokens::named(theme, contrast)));
    }
}

fn apply(style: &mut Style, theme: Theme, tokens: &Tokens) {
    style.visuals = visuals(tokens, theme);
    style.text_styles = [
        (TextStyle::Small, FontId::new(11.0, FontFamily::Proportional)),
        (TextStyle::Body, FontId::new(13.0, FontFamily::Proportional)),
        (TextStyle::Button, FontId::new(13.0, FontFamily::Proportional)),
        (TextStyle::Heading, FontId::new(17.0, FontFamily::Proportional)),
        (TextStyle::Monospace, FontId::new(12.0, FontFamily::Monospace)),
    ]
    .into();
    style.spacing.item_spacing = vec2(8.0, 4.0);
    style.spacing.button_padding = vec2(8.0, 3.0);
    style.spacing.interact_size = vec2(32.0, 24.0);
    style.spacing.menu_margin = Margin::same(6);
    style.spacing.window_margin = Margin::same(16);
    style.spacing.combo_width = 64.0;
    style.spacing.slider_width = 120.0;
    style.spacing.tooltip_width = 360.0;
    style.interaction.selectable_labels = false;
    style.animation_time = 0.08;
}

fn visuals(t: &Tokens, theme: Theme) -> Visuals {
    let mut v = if theme == Theme::Dark { Visuals::dark() } else { Visuals::light() };
    v.panel_fill = t.panel;
    v.window_fill = t.panel;
    v.extreme_bg_color = t.background;
    v.text_edit_bg_color = Some(t.background);
    v.faint_bg_color = mix(t.panel, t.raised, 0.35);
    v.code_bg_color = t.background;
    v.hyperlink_color = t.accent;
    v.warn_fg_color = t.warn;
    v.error_fg_color = t.bad;
    v.weak_text_color = Some(t.muted);
    v.window_stroke = Stroke::new(1.0, t.line);
    v.window_corner_radius = CornerRadius::same(8);
    v.menu_corner_radius = CornerRadius::same(6);
    v.window_shadow = shadow(theme);
    v.popup_shadow = shadow(theme);
    v.selection = Selection { bg_fill: mix(t.panel, t.accent, 0.32), stroke: Stroke::new(1.0, t.text) };
    v.slider_trailing_fill = true;
    v.interact_cursor = None;
    let widget = |fill: Color32, line: Color32, text: Color32| WidgetVisuals {
        bg_fill: fill,
        weak_bg_fill: fill,
        bg_stroke: Stroke::new(1.0, line),
        corner_radius: RADIUS,
        fg_stroke: Stroke::new(1.0, text),
        expansion: 0.0,
    };
    v.widgets.noninteractive = widget(t.panel, t.line, t.text);
    v.widgets.inactive = widget(t.raised, t.raised, t.text);
    v.widgets.hovered = widget(t.hover, t.muted, t.text);
    v.widgets.active = widget(t.hover, t.accent, t.text);
    v.widgets.open = widget(t.hover, t.line, t.text);
    v
}

fn shadow(theme: Theme) -> Shadow {
    let alpha = if theme == Theme::Dark { 110 } else { 40 };
    Shadow { offset: [0, 4], blur: 16, spread: 0, color: Color32::from_black_alpha(alpha) }
}

/// `share` of `b` in `a`.
fn mix(a: Color32, b: Color32, share: f32) -> Color32 {
    a.lerp_to_gamma(b, share)
}
