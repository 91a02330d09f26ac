//! The one table of commands: it feeds menus, buttons, the palette, shortcuts and the help.

use super::text::{Language, tr};
use eframe::egui::{Key, KeyboardShortcut, Modifiers};

/// Something a person can ask for that needs no further words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    NewProject,
    OpenProject,
    OpenSample,
    SetData,
    Save,
    Export,
    Quit,
    Undo,
    Redo,
    SelectAll,
    ClearSelection,
    SelectNext,
    SelectPrevious,
    FindLayer,
    Narrower,
    Wider,
    Bits(u8),
    ResetLayers,
    ForkRecipe,
    RenameRecipe,
    DeleteRecipe,
    ToggleRun,
    Evaluate,
    EvaluateAll,
    MeasureLosses,
    Search,
    ProtectWorst,
    SharePage,
    Stop,
    GoLoad,
    GoConfigure,
    GoGraph,
    GoCompare,
    GoExport,
    ResetLayout,
    ThemeSystem,
    ThemeLight,
    ThemeDark,
    ThemeContrast,
    Speak(Language),
    ZoomIn,
    ZoomOut,
    ZoomReset,
    Palette,
    Help,
    Manual,
}

/// What a command needs before it can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Project,
    Selection,
    OwnRecipe,
    Evaluation,
    Undo,
    Redo,
    Jobs,
}

/// What there is, for [`Command::available`].
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked for by name")]
pub struct Situation {
    pub project: bool,
    pub selection: bool,
    /// The active recipe is the project's own, not a preset.
    pub own_recipe: bool,
    /// There is data to evaluate on.
    pub data: bool,
    pub undo: bool,
    pub redo: bool,
    pub jobs: bool,
}

pub struct Info {
    pub command: Command,
    /// The message that names it, and the one that explains it.
    name: &'static str,
    tooltip: &'static str,
    pub shortcut: Option<KeyboardShortcut>,
    pub needs: Needs,
}

impl Info {
    #[must_use]
    pub fn name(&self) -> &'static str {
        tr!(self.name)
    }

    #[must_use]
    pub fn tooltip(&self) -> &'static str {
        tr!(self.tooltip)
    }
}

const PLAIN: Modifiers = Modifiers::NONE;
const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers { shift: true, ..Modifiers::COMMAND };
const ALT: Modifiers = Modifiers::ALT;
const SHIFT: Modifiers = Modifiers::SHIFT;

#[expect(clippy::unnecessary_wraps, reason = "the table holds options")]
const fn on(modifiers: Modifiers, key: Key) -> Option<KeyboardShortcut> {
    Some(KeyboardShortcut::new(modifiers, key))
}

macro_rules! info {
    ($command:expr, $id:literal, $shortcut:expr, $needs:expr) => {
        Info {
            command: $command,
            name: concat!("command-", $id),
            tooltip: concat!("command-", $id, ".tooltip"),
            shortcut: $shortcut,
            needs: $needs,
        }
    };
}

/// Every command, in the order of the palette.
pub static ALL: &[Info] = &[
    info!(Command::NewProject, "new-project", on(CTRL, Key::N), Needs::Nothing),
    info!(Command::OpenProject, "open-project", on(CTRL, Key::O), Needs::Nothing),
    info!(Command::OpenSample, "open-sample", None, Needs::Nothing),
    info!(Command::SetData, "set-data", None, Needs::Project),
    info!(Command::Save, "save", on(CTRL, Key::S), Needs::Project),
    info!(Command::Export, "export", on(CTRL, Key::E), Needs::Project),
    info!(Command::Quit, "quit", on(CTRL, Key::Q), Needs::Nothing),
    info!(Command::Undo, "undo", on(CTRL, Key::Z), Needs::Undo),
    info!(Command::Redo, "redo", on(CTRL_SHIFT, Key::Z), Needs::Redo),
    info!(Command::SelectAll, "select-all", on(CTRL, Key::A), Needs::Project),
    info!(Command::ClearSelection, "clear-selection", on(PLAIN, Key::Escape), Needs::Selection),
    info!(Command::SelectNext, "select-next", on(PLAIN, Key::ArrowDown), Needs::Project),
    info!(Command::SelectPrevious, "select-previous", on(PLAIN, Key::ArrowUp), Needs::Project),
    info!(Command::FindLayer, "find-layer", on(CTRL, Key::F), Needs::Project),
    info!(Command::Narrower, "narrower", on(PLAIN, Key::ArrowLeft), Needs::Selection),
    info!(Command::Wider, "wider", on(PLAIN, Key::ArrowRight), Needs::Selection),
    info!(Command::Bits(2), "bits-2", on(PLAIN, Key::Num2), Needs::Selection),
    info!(Command::Bits(3), "bits-3", on(PLAIN, Key::Num3), Needs::Selection),
    info!(Command::Bits(4), "bits-4", on(PLAIN, Key::Num4), Needs::Selection),
    info!(Command::Bits(5), "bits-5", on(PLAIN, Key::Num5), Needs::Selection),
    info!(Command::Bits(6), "bits-6", on(PLAIN, Key::Num6), Needs::Selection),
    info!(Command::Bits(7), "bits-7", on(PLAIN, Key::Num7), Needs::Selection),
    info!(Command::Bits(8), "bits-8", on(PLAIN, Key::Num8), Needs::Selection),
    info!(Command::Bits(16), "bits-16", on(PLAIN, Key::Num9), Needs::Selection),
    info!(Command::Bits(32), "bits-32", on(PLAIN, Key::Num0), Needs::Selection),
    info!(Command::ResetLayers, "reset-layers", on(PLAIN, Key::Delete), Needs::Selection),
    info!(Command::ForkRecipe, "fork-recipe", on(CTRL, Key::D), Needs::Project),
    info!(Command::RenameRecipe, "rename-recipe", on(PLAIN, Key::F2), Needs::OwnRecipe),
    info!(Command::DeleteRecipe, "delete-recipe", None, Needs::OwnRecipe),
    info!(Command::ToggleRun, "toggle-run", None, Needs::Project),
    info!(Command::Evaluate, "evaluate", on(PLAIN, Key::F5), Needs::Evaluation),
    info!(Command::EvaluateAll, "evaluate-all", on(Modifiers::SHIFT, Key::F5), Needs::Evaluation),
    info!(Command::MeasureLosses, "measure-losses", on(PLAIN, Key::F6), Needs::Evaluation),
    info!(Command::Search, "search", on(PLAIN, Key::F7), Needs::Evaluation),
    info!(Command::ProtectWorst, "protect-worst", on(CTRL_SHIFT, Key::P), Needs::Project),
    info!(Command::SharePage, "share-page", None, Needs::Evaluation),
    info!(Command::Stop, "stop", on(CTRL, Key::Period), Needs::Jobs),
    info!(Command::GoLoad, "go-load", on(ALT, Key::Num1), Needs::Nothing),
    info!(Command::GoConfigure, "go-configure", on(ALT, Key::Num2), Needs::Nothing),
    info!(Command::GoGraph, "go-graph", on(ALT, Key::Num3), Needs::Nothing),
    info!(Command::GoCompare, "go-compare", on(ALT, Key::Num4), Needs::Nothing),
    info!(Command::GoExport, "go-export", on(ALT, Key::Num5), Needs::Nothing),
    info!(Command::ResetLayout, "reset-layout", None, Needs::Nothing),
    info!(Command::ThemeSystem, "theme-system", None, Needs::Nothing),
    info!(Command::ThemeLight, "theme-light", None, Needs::Nothing),
    info!(Command::ThemeDark, "theme-dark", None, Needs::Nothing),
    info!(Command::ThemeContrast, "theme-contrast", None, Needs::Nothing),
    info!(Command::Speak(Language::English), "speak-en", None, Needs::Nothing),
    info!(Command::Speak(Language::Chinese), "speak-zh", None, Needs::Nothing),
    info!(Command::ZoomIn, "zoom-in", on(CTRL, Key::Plus), Needs::Nothing),
    info!(Command::ZoomOut, "zoom-out", on(CTRL, Key::Minus), Needs::Nothing),
    info!(Command::ZoomReset, "zoom-reset", on(CTRL, Key::Num0), Needs::Nothing),
    info!(Command::Palette, "palette", on(CTRL, Key::K), Needs::Nothing),
    info!(Command::Help, "help", on(PLAIN, Key::F1), Needs::Nothing),
    info!(Command::Manual, "manual", on(SHIFT, Key::F1), Needs::Nothing),
];

impl Command {
    /// The command's line of the table.
    #[must_use]
    pub fn info(self) -> Option<&'static Info> {
        ALL.iter().find(|i| i.command == self)
    }

    #[must_use]
    pub fn available(self, situation: &Situation) -> bool {
        self.info().is_some_and(|i| i.needs.met(situation))
    }
}

impl Needs {
    #[must_use]
    pub fn met(self, s: &Situation) -> bool {
        match self {
            Self::Nothing => true,
            Self::Project => s.project,
            Self::Selection => s.project && s.selection,
            Self::OwnRecipe => s.project && s.own_recipe,
            Self::Evaluation => s.project && s.data,
            Self::Undo => s.undo,
            Self::Redo => s.redo,
            Self::Jobs => s.jobs,
        }
    }

    /// What to do so that the command becomes available.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Project => tr!("needs-project"),
            Self::Selection => tr!("needs-selection"),
            Self::OwnRecipe => tr!("needs-own-recipe"),
            Self::Evaluation => tr!("needs-evaluation"),
            Self::Undo => tr!("needs-undo"),
            Self::Redo => tr!("needs-redo"),
            Self::Jobs => tr!("needs-jobs"),
        }
    }
}

/// The commands whose name holds all words of `query`, in the order of the table.
#[must_use]
pub fn matching(query: &str) -> Vec<&'static Info> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let fits = |info: &Info| {
        let text = format!("{} {}", info.name(), info.tooltip()).to_lowercase();
        words.iter().all(|w| text.contains(w.as_str()))
    };
    let mut found: Vec<&Info> = ALL.iter().filter(|i| fits(i)).collect();
    let in_name = |i: &Info| words.iter().all(|w| i.name().to_lowercase().contains(w.as_str()));
    found.sort_by_key(|i| !in_name(i));
    found
}

#[cfg(test)]
mod tests {
    use super::super::text::speak;
    use super::*;
    use eframe::egui::ModifierNames;
    use std::collections::HashSet;

    #[test]
    fn shortcuts_do_not_clash() {
        let mut seen = HashSet::new();
        for info in ALL {
            assert!(seen.insert(info.command), "{} is listed twice", info.name());
        }
        let shortcuts: Vec<_> = ALL.iter().filter_map(|i| i.shortcut).collect();
        for (i, a) in shortcuts.iter().enumerate() {
            assert!(!shortcuts[i + 1..].contains(a), "{a:?} means two things");
        }
    }

    #[test]
    fn each_has_words() {
        let names: HashSet<_> = ALL.iter().map(Info::name).collect();
        assert_eq!(names.len(), ALL.len());
        for info in ALL {
            assert!(info.name().is_ascii() || info.name().contains('…'), "{}", info.name());
            assert!(!info.tooltip().is_empty() && !info.tooltip().ends_with('.'), "{}", info.name());
            assert!(info.needs == Needs::Nothing || !info.needs.hint().is_empty());
        }
    }

    #[test]
    fn the_manual_lists_each_with_its_keys() {
        let page = super::super::manual::page("window.md").unwrap();
        let keys = |s: KeyboardShortcut| s.format(&ModifierNames::NAMES, false);
        for language in Language::ALL {
            speak(language);
            let row = |i: &Info| format!("| {} | {} | {} |", i.name(), i.shortcut.map_or("–".to_owned(), keys), i.tooltip());
            let missing: Vec<String> = ALL.iter().map(row).filter(|row| !page.text(language).contains(row.as_str())).collect();
            assert!(missing.is_empty(), "window.md in {} lacks:\n{}", language.tag(), missing.join("\n"));
        }
        speak(Language::English);
    }

    #[test]
    fn palette_finds_by_words() {
        assert_eq!(matching("theme dark")[0].command, Command::ThemeDark);
        assert_eq!(matching("all eval")[0].command, Command::EvaluateAll);
        assert_eq!(matching("").len(), ALL.len());
        assert!(matching("no such thing").is_empty());
    }

    #[test]
    fn what_is_missing_makes_unavailable() {
        let nothing = Situation::default();
        assert!(Command::OpenProject.available(&nothing) && !Command::Save.available(&nothing));
        assert!(!Command::Bits(4).available(&Situation { project: true, ..nothing }));
        assert!(Command::Bits(4).available(&Situation { project: true, selection: true, ..nothing }));
    }
}
