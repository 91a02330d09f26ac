//! The one table of commands: it feeds menus, buttons, the palette, shortcuts and the help.

use eframe::egui::{Key, KeyboardShortcut, Modifiers};

/// Something a person can ask for that needs no further words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    NewProject,
    OpenProject,
    OpenSample,
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
    pub name: &'static str,
    pub tooltip: &'static str,
    pub shortcut: Option<KeyboardShortcut>,
    pub needs: Needs,
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

const fn info(
    command: Command,
    name: &'static str,
    tooltip: &'static str,
    shortcut: Option<KeyboardShortcut>,
    needs: Needs,
) -> Info {
    Info { command, name, tooltip, shortcut, needs }
}

/// Every command, in the order of the palette.
pub static ALL: &[Info] = &[
    info(
        Command::NewProject,
        "New project…",
        "Choose a model and data, and make a project of them",
        on(CTRL, Key::N),
        Needs::Nothing,
    ),
    info(Command::OpenProject, "Open project…", "Open a project's folder", on(CTRL, Key::O), Needs::Nothing),
    info(Command::OpenSample, "Open the sample", "Open the sample project that comes with Lapidary", None, Needs::Nothing),
    info(
        Command::Save,
        "Save",
        "Write the project to disk now; it is also saved after every edit",
        on(CTRL, Key::S),
        Needs::Project,
    ),
    info(Command::Export, "Export…", "Write the active recipe's model as a file", on(CTRL, Key::E), Needs::Project),
    info(Command::Quit, "Quit", "Close the window", on(CTRL, Key::Q), Needs::Nothing),
    info(Command::Undo, "Undo", "Take the last edit back", on(CTRL, Key::Z), Needs::Undo),
    info(Command::Redo, "Redo", "Make the edit again that was taken back", on(CTRL_SHIFT, Key::Z), Needs::Redo),
    info(Command::SelectAll, "Select all layers", "Select every layer that the filter shows", on(CTRL, Key::A), Needs::Project),
    info(Command::ClearSelection, "Clear the selection", "Select nothing", on(PLAIN, Key::Escape), Needs::Selection),
    info(Command::SelectNext, "Next layer", "Select the layer below", on(PLAIN, Key::ArrowDown), Needs::Project),
    info(Command::SelectPrevious, "Previous layer", "Select the layer above", on(PLAIN, Key::ArrowUp), Needs::Project),
    info(Command::FindLayer, "Filter layers", "Write in the filter box", on(CTRL, Key::F), Needs::Project),
    info(
        Command::Narrower,
        "Narrower",
        "Take a step down in width for the selected layers",
        on(PLAIN, Key::ArrowLeft),
        Needs::Selection,
    ),
    info(
        Command::Wider,
        "Wider",
        "Take a step up in width for the selected layers",
        on(PLAIN, Key::ArrowRight),
        Needs::Selection,
    ),
    info(Command::Bits(2), "Set to 2 bits", "Store the selected layers in 2 bits", on(PLAIN, Key::Num2), Needs::Selection),
    info(Command::Bits(3), "Set to 3 bits", "Store the selected layers in 3 bits", on(PLAIN, Key::Num3), Needs::Selection),
    info(Command::Bits(4), "Set to 4 bits", "Store the selected layers in 4 bits", on(PLAIN, Key::Num4), Needs::Selection),
    info(Command::Bits(5), "Set to 5 bits", "Store the selected layers in 5 bits", on(PLAIN, Key::Num5), Needs::Selection),
    info(Command::Bits(6), "Set to 6 bits", "Store the selected layers in 6 bits", on(PLAIN, Key::Num6), Needs::Selection),
    info(Command::Bits(7), "Set to 7 bits", "Store the selected layers in 7 bits", on(PLAIN, Key::Num7), Needs::Selection),
    info(Command::Bits(8), "Set to 8 bits", "Store the selected layers in 8 bits", on(PLAIN, Key::Num8), Needs::Selection),
    info(Command::Bits(16), "Set to fp16", "Store the selected layers as half floats", on(PLAIN, Key::Num9), Needs::Selection),
    info(
        Command::Bits(32),
        "Set to fp32",
        "Leave the selected layers' weights as they are",
        on(PLAIN, Key::Num0),
        Needs::Selection,
    ),
    info(
        Command::ResetLayers,
        "Reset layers",
        "Back to the recipe's default for the selected layers",
        on(PLAIN, Key::Delete),
        Needs::Selection,
    ),
    info(Command::ForkRecipe, "Fork recipe…", "Copy the active recipe under a new name", on(CTRL, Key::D), Needs::Project),
    info(Command::RenameRecipe, "Rename recipe…", "Give the active recipe another name", on(PLAIN, Key::F2), Needs::OwnRecipe),
    info(Command::DeleteRecipe, "Delete recipe", "Remove the active recipe; undo brings it back", None, Needs::OwnRecipe),
    info(
        Command::ToggleRun,
        "Add to or take from the run",
        "Whether Evaluate all evaluates the active recipe",
        None,
        Needs::Project,
    ),
    info(
        Command::Evaluate,
        "Evaluate",
        "Measure the active recipe on the evaluation data",
        on(PLAIN, Key::F5),
        Needs::Evaluation,
    ),
    info(
        Command::EvaluateAll,
        "Evaluate all",
        "Measure every recipe of the run",
        on(Modifiers::SHIFT, Key::F5),
        Needs::Evaluation,
    ),
    info(
        Command::MeasureLosses,
        "Measure layer losses",
        "Run the network with one layer compressed at a time, at every width, and see what it loses",
        on(PLAIN, Key::F6),
        Needs::Evaluation,
    ),
    info(
        Command::Search,
        "Search for a recipe…",
        "Let the program find the widths that lose least within a limit, or the smallest file that loses no more than one",
        on(PLAIN, Key::F7),
        Needs::Evaluation,
    ),
    info(
        Command::ProtectWorst,
        "Protect the worst three",
        "Give the three layers that lose most 8 bits, or leave them alone where they have as many",
        on(CTRL_SHIFT, Key::P),
        Needs::Project,
    ),
    info(
        Command::SharePage,
        "Write a page to share…",
        "One HTML file with all measured recipes side by side and the pictures whose prediction changed",
        None,
        Needs::Evaluation,
    ),
    info(Command::Stop, "Stop", "Cancel everything that runs", on(CTRL, Key::Period), Needs::Jobs),
    info(Command::GoLoad, "Go to Load", "The model and its data", on(ALT, Key::Num1), Needs::Nothing),
    info(Command::GoConfigure, "Go to Configure", "Layers, settings and what they cost", on(ALT, Key::Num2), Needs::Nothing),
    info(Command::GoGraph, "Go to Graph", "The network as a drawing", on(ALT, Key::Num3), Needs::Nothing),
    info(Command::GoCompare, "Go to Compare", "Recipes side by side", on(ALT, Key::Num4), Needs::Nothing),
    info(Command::GoExport, "Go to Export", "Write the model as a file", on(ALT, Key::Num5), Needs::Nothing),
    info(Command::ResetLayout, "Reset layout", "Put the panels back where they were", None, Needs::Nothing),
    info(Command::ThemeSystem, "Theme: as the system", "Follow the system's light or dark setting", None, Needs::Nothing),
    info(Command::ThemeLight, "Theme: light", "Dark on light", None, Needs::Nothing),
    info(Command::ThemeDark, "Theme: dark", "Light on dark", None, Needs::Nothing),
    info(Command::ThemeContrast, "Theme: high contrast", "Colors further apart, or as they were", None, Needs::Nothing),
    info(Command::ZoomIn, "Zoom in", "Everything larger", on(CTRL, Key::Plus), Needs::Nothing),
    info(Command::ZoomOut, "Zoom out", "Everything smaller", on(CTRL, Key::Minus), Needs::Nothing),
    info(Command::ZoomReset, "Zoom: 100 %", "Everything at its own size", on(CTRL, Key::Num0), Needs::Nothing),
    info(Command::Palette, "Commands…", "Find a command by its name", on(CTRL, Key::K), Needs::Nothing),
    info(Command::Help, "Help", "Keys, colors and words", on(PLAIN, Key::F1), Needs::Nothing),
    info(Command::Manual, "Manual", "First ten minutes, every panel, every word", on(SHIFT, Key::F1), Needs::Nothing),
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
            Self::Project => "Open a project first",
            Self::Selection => "Select a layer first",
            Self::OwnRecipe => "A preset stays as it is: fork it first",
            Self::Evaluation => "The project has no evaluation data",
            Self::Undo => "There is nothing to undo",
            Self::Redo => "There is nothing to redo",
            Self::Jobs => "Nothing runs",
        }
    }
}

/// The commands whose name holds all words of `query`, in the order of the table.
#[must_use]
pub fn matching(query: &str) -> Vec<&'static Info> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let fits = |info: &Info| {
        let text = format!("{} {}", info.name, info.tooltip).to_lowercase();
        words.iter().all(|w| text.contains(w.as_str()))
    };
    let mut found: Vec<&Info> = ALL.iter().filter(|i| fits(i)).collect();
    let in_name = |i: &Info| words.iter().all(|w| i.name.to_lowercase().contains(w.as_str()));
    found.sort_by_key(|i| !in_name(i));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::ModifierNames;
    use std::collections::HashSet;

    #[test]
    fn shortcuts_do_not_clash() {
        let mut seen = HashSet::new();
        for info in ALL {
            assert!(seen.insert(info.command), "{} is listed twice", info.name);
        }
        let shortcuts: Vec<_> = ALL.iter().filter_map(|i| i.shortcut).collect();
        for (i, a) in shortcuts.iter().enumerate() {
            assert!(!shortcuts[i + 1..].contains(a), "{a:?} means two things");
        }
    }

    #[test]
    fn each_has_words() {
        let names: HashSet<_> = ALL.iter().map(|i| i.name).collect();
        assert_eq!(names.len(), ALL.len());
        for info in ALL {
            assert!(info.name.is_ascii() || info.name.contains('…'), "{}", info.name);
            assert!(!info.tooltip.is_empty() && !info.tooltip.ends_with('.'), "{}", info.name);
            assert!(info.needs == Needs::Nothing || !info.needs.hint().is_empty());
        }
    }

    #[test]
    fn the_manual_lists_each_with_its_keys() {
        const PAGE: &str = include_str!("../../../assets/manual/window.md");
        let keys = |s: KeyboardShortcut| s.format(&ModifierNames::NAMES, false);
        let rows = ALL.iter().map(|i| format!("| {} | {} | {} |", i.name, i.shortcut.map_or("–".to_owned(), keys), i.tooltip));
        let missing: Vec<String> = rows.filter(|row| !PAGE.contains(row.as_str())).collect();
        assert!(missing.is_empty(), "window.md lacks:\n{}", missing.join("\n"));
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
