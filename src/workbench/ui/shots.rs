//! Pictures of every workspace, made without a display.

use super::UiError;
use super::act::Act;
use super::app::{App, Setup};
use super::dialogs::TextPicker;
use super::layout::{Pane, Workspace};
use super::offscreen::{Textures, draw};
use super::session::Session;
use super::text::Language;
use super::theme::Tokens;
use crate::engine::Ctx;
use eframe::egui::{ColorImage, Context, Pos2, RawInput, Rect, Theme, ThemePreference, ViewportId, ViewportInfo};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Opening, scoring and reading samples must be done by then.
const PATIENCE: Duration = Duration::from_mins(5);
/// Frames after the last job, for sizes and scroll areas to settle.
const SETTLE: usize = 4;

/// How the window is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Points across and down.
    pub size: [f32; 2],
    /// Pixels per point.
    pub scale: f32,
    pub language: Language,
    pub pictures: Pictures,
}

/// Of what pictures are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// Every workspace, dark and light, and panels that stand behind others.
    All,
    /// Every workspace.
    Workspaces(Theme),
}

impl Default for Look {
    fn default() -> Self {
        Self { size: [1440.0, 900.0], scale: 1.5, language: Language::English, pictures: Pictures::All }
    }
}

/// An application that is looked at without a screen.
struct Stage {
    ctx: Context,
    look: Look,
    app: App,
    textures: Textures,
    started: Instant,
}

impl Stage {
    fn new(project: &Path, look: Look, threads: usize) -> Result<Self, UiError> {
        let ctx = Context::default();
        Language::use_system_fonts(&ctx);
        let session = Session { theme: ThemePreference::Dark, language: Some(look.language), ..Session::default() };
        let setup = Setup { base: Ctx::new(threads)?, session, picker: Box::new(TextPicker), open: Some(project.to_path_buf()) };
        let app = App::new(&ctx, setup);
        Ok(Self { ctx, look, app, textures: Textures::default(), started: Instant::now() })
    }

    /// One frame; what it drew, if `keep`.
    fn frame(&mut self, keep: bool) -> Option<ColorImage> {
        let viewport = ViewportInfo { native_pixels_per_point: Some(self.look.scale), ..ViewportInfo::default() };
        let input = RawInput {
            viewports: std::iter::once((ViewportId::ROOT, viewport)).collect(),
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, self.look.size.into())),
            time: Some(self.started.elapsed().as_secs_f64()),
            max_texture_side: Some(8192),
            ..RawInput::default()
        };
        let app = &mut self.app;
        let mut output = self.ctx.run_ui(input, |ui| {
            let ctx = ui.ctx().clone();
            app.logic(&ctx);
            app.draw(ui);
        });
        self.textures.apply(std::mem::take(&mut output.textures_delta));
        let shapes = std::mem::take(&mut output.shapes);
        if !keep {
            return None;
        }
        let primitives = self.ctx.tessellate(shapes, output.pixels_per_point);
        let size = self.look.size.map(|s| (s * self.look.scale) as usize);
        let ground = Tokens::of(&self.ctx).background;
        Some(draw(&primitives, &self.textures, size, output.pixels_per_point, ground))
    }

    /// Frames until no job runs.
    fn settle(&mut self) -> Result<(), UiError> {
        let start = Instant::now();
        let mut quiet = 0;
        while quiet < SETTLE {
            self.frame(false);
            quiet = if self.app.is_busy() { 0 } else { quiet + 1 };
            if start.elapsed() > PATIENCE {
                return Err(UiError::Open(format!("jobs were still running after {} s", PATIENCE.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(if quiet == 0 { 5 } else { 0 }));
        }
        Ok(())
    }

    fn picture(&mut self) -> Result<ColorImage, UiError> {
        self.settle()?;
        self.app.clear_messages();
        self.frame(false);
        self.frame(true).ok_or_else(|| UiError::Open("nothing was drawn".to_owned()))
    }
}

/// Draws a project's window into files in `folder`; which they are.
///
/// # Errors
/// When the project cannot be opened or a picture cannot be written.
pub fn screenshots(project: &Path, folder: &Path, look: Look, threads: usize) -> Result<Vec<PathBuf>, UiError> {
    let failed = |path: &Path, reason: String| UiError::Screenshot { path: path.to_path_buf(), reason };
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e.to_string()))?;
    let mut stage = Stage::new(project, look, threads)?;
    stage.settle()?;
    if stage.app.bench().is_none() {
        if let Some(moved) = &stage.app.moved {
            return Err(UiError::Open(format!("{} is not there", moved.path.display())));
        }
        let last = stage.app.log().last().map_or_else(String::new, |l| l.message.clone());
        return Err(UiError::Open(last));
    }
    if !look.language.can_be_written(&stage.ctx) {
        return Err(UiError::Open(format!("no font of the system can write {}", look.language.tag())));
    }
    stage.app.inspect_worst();
    let mut files = Vec::new();
    let themes = match look.pictures {
        Pictures::All => vec![Theme::Dark, Theme::Light],
        Pictures::Workspaces(theme) => vec![theme],
    };
    let workspaces = themes.into_iter().flat_map(|t| Workspace::ALL.map(|w| (w, t, None)));
    let behind = [Pane::Corrections, Pane::Importance, Pane::Weights, Pane::Activations, Pane::Preflight]
        .map(|p| (Workspace::Configure, Theme::Dark, Some(p)));
    let behind = behind.into_iter().filter(|_| look.pictures == Pictures::All);
    for (workspace, theme, pane) in workspaces.chain(behind) {
        stage.app.session_mut().workspace = workspace;
        stage.ctx.set_theme(theme);
        // Files are called the same in every language.
        let mut name = format!("{workspace:?}").to_lowercase();
        if let Some(pane) = pane {
            stage.app.ask(Act::Show(pane));
            name += &format!("-{pane:?}").to_lowercase();
        }
        let suffix = if theme == Theme::Light { "-light" } else { "" };
        let path = folder.join(format!("{name}{suffix}.png"));
        let image = stage.picture()?;
        let [width, height] = image.size;
        let bytes: Vec<u8> = image.pixels.iter().flat_map(|c| [c.r(), c.g(), c.b()]).collect();
        image::save_buffer(&path, &bytes, width as u32, height as u32, image::ColorType::Rgb8)
            .map_err(|e| failed(&path, e.to_string()))?;
        files.push(path);
    }
    Ok(files)
}
