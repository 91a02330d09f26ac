//! The window: everything visible. The only place that knows egui, its plots and file dialogs.
//!
//! A frame is written once, in [`app`]. Panels see a [`view::View`] and ask for [`act::Act`]s; the
//! document changes only through `Edit`, and whatever takes time is a job.

pub mod act;
pub mod app;
pub mod bench;
mod changes;
pub mod commands;
pub mod dialogs;
mod exporting;
mod graph;
mod inspect;
pub mod layout;
pub mod losses;
pub mod manual;
mod maps;
mod network;
mod offscreen;
mod panels;
mod pictures;
mod plots;
mod prompts;
pub mod scores;
pub mod session;
mod shots;
mod tasks;
mod terms;
pub mod text;
pub mod theme;
pub mod view;
mod widgets;

pub use app::{App, Setup};
pub use shots::{Look, Pictures, screenshots};

use crate::engine::Ctx;
use dialogs::SystemPicker;
use eframe::egui::{IconData, ViewportBuilder};
use session::Session;
use std::path::PathBuf;

/// The session's key in the storage of the window.
const SESSION_KEY: &str = "session";

/// The icon, for window managers that take pictures (X11, Windows, macOS); others find it by the application's name.
const ICON: &[u8] = include_bytes!("../../../assets/package/icon-256.png");

#[derive(Debug, thiserror::Error)]
pub enum UiError {
    #[error(
        "the window cannot be opened: {reason}; without a display, `lapidary run` does the same work and `lapidary --help` lists the rest"
        , reason = without_place(&.0.to_string()))]
    Window(#[from] eframe::Error),
    #[error("threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    #[error("{path}: {reason}", path = path.display())]
    Screenshot { path: PathBuf, reason: String },
    #[error("the project cannot be shown: {0}")]
    Open(String),
}

/// Opens the window on a project, else on the last one, else on the sample. Returns when it is closed.
///
/// # Errors
/// When there is no display or the threads cannot be started.
pub fn run(open: Option<PathBuf>, threads: usize) -> Result<(), UiError> {
    let base = Ctx::new(threads)?;
    let mut viewport = ViewportBuilder::default()
        .with_title("Lapidary")
        .with_app_id("lapidary")
        .with_inner_size([1440.0, 900.0])
        .with_min_inner_size([960.0, 600.0])
        .with_drag_and_drop(true);
    if let Some(icon) = icon() {
        viewport = viewport.with_icon(icon);
    }
    let options =
        // Fonts of the system are added below, for the languages that there are.
        eframe::NativeOptions {
            viewport,
            renderer: eframe::Renderer::Glow,
            persist_window: true,
            system_font_fallback: false,
            ..Default::default()
        };
    let make: eframe::AppCreator<'_> = Box::new(move |cc| {
        let stored = cc.storage.and_then(|s| s.get_string(SESSION_KEY)).and_then(|t| Session::from_text(&t));
        let mut session = stored.unwrap_or_default();
        session.language.get_or_insert_with(text::Language::of_system);
        let last = session.recent.iter().find(|p| p.join("project.ron").exists()).cloned();
        let nothing = open.is_none() && last.is_none();
        let setup = Setup { base, session, picker: Box::new(SystemPicker), open: open.or(last) };
        text::Language::use_system_fonts(&cc.egui_ctx);
        let mut app = App::new(&cc.egui_ctx, setup);
        if nothing {
            app.ask(act::Act::Command(commands::Command::OpenSample));
        }
        Ok(Box::new(app))
    });
    Ok(eframe::run_native("Lapidary", options, make)?)
}

/// The icon's pixels. `None` is no reason not to open the window.
fn icon() -> Option<IconData> {
    let picture = image::load_from_memory_with_format(ICON, image::ImageFormat::Png).ok()?.into_rgba8();
    let (width, height) = picture.dimensions();
    Some(IconData { rgba: picture.into_raw(), width, height })
}

/// What the windowing library says, without the place in its source that it says it from.
fn without_place(message: &str) -> String {
    let told = message.find(".rs:").and_then(|at| message[at..].find(": ").map(|end| &message[at + end + 2..]));
    told.unwrap_or(message).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::icon;

    #[test]
    fn the_icon_is_a_picture() {
        let icon = icon().unwrap();
        assert_eq!((icon.width, icon.height), (256, 256));
        assert_eq!(icon.rgba.len(), 4 * 256 * 256);
        assert!(icon.rgba.chunks(4).any(|p| p[3] == 0) && icon.rgba.chunks(4).any(|p| p[3] == 255), "a shape on nothing");
    }
}
