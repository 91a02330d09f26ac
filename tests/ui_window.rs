//! Drives the real window on the sample: what is clicked, typed and dropped does what it says.
#![cfg(feature = "window-tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "ui_window/data.rs"]
mod data;
#[path = "ui_window/troubles.rs"]
mod troubles;

use eframe::egui::{self, Key, Modifiers, Theme};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use lapidary::engine::Ctx;
use lapidary::pipeline::configure::{
    Activations, Allocation, Balance, ChannelCut, ChannelScore, CorrectionLevel, Equalization, Saliency, Scheme, Sparsity,
};
use lapidary::workbench::importance::Question;
use lapidary::workbench::project::{Change, Edit, Whole};
use lapidary::workbench::sample;
use lapidary::workbench::ui::act::{Act, Pick};
use lapidary::workbench::ui::commands::{ALL, Command};
use lapidary::workbench::ui::dialogs::{FilePicker, Purpose, Reply, ReplyTo, TextPicker};
use lapidary::workbench::ui::layout::Workspace;
use lapidary::workbench::ui::session::{Column, Session};
use lapidary::workbench::ui::text::edits;
use lapidary::workbench::ui::{App, Setup};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Answers every question with one path.
struct Answer(PathBuf);

impl FilePicker for Answer {
    fn ask(&mut self, purpose: Purpose, _: Option<PathBuf>, to: ReplyTo) {
        to.send(Reply::Chosen(purpose, self.0.clone()));
    }
}

struct Window {
    harness: Harness<'static, App>,
    /// Gone with the test.
    _folder: tempfile::TempDir,
    project: PathBuf,
}

impl Window {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = sample::install(Some(folder.path())).unwrap();
        let open = Some(project.clone());
        let mut window = Self { harness: harness(Box::new(TextPicker), open), _folder: folder, project };
        window.wait();
        assert!(window.harness.state().bench().is_some(), "{:?}", window.harness.state().log());
        window
    }

    /// Steps until no job runs.
    fn wait(&mut self) {
        wait(&mut self.harness);
    }

    fn bytes(&self) -> u64 {
        self.harness.state().bench().unwrap().plan().unwrap().bytes
    }

    fn bits(&self, layer: usize) -> u8 {
        self.harness.state().bench().unwrap().layer_plan(layer).unwrap().treatment.weights.bits()
    }

    fn command(&mut self, command: Command) {
        self.harness.state_mut().ask(Act::Command(command));
        self.harness.run_steps(3);
    }

    fn press(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.run_steps(3);
    }

    fn first_layer(&self) -> String {
        self.harness.state().bench().unwrap().layers()[0].name.clone()
    }

    /// The label of a cell of the heat map.
    fn cell(&self, bits: u8) -> String {
        let bench = self.harness.state().bench().unwrap();
        let treatment = lapidary::workbench::ui::scores::at_width(&bench.layer_plan(0).unwrap().treatment, bits);
        let db = bench.scores.get(0, &treatment).unwrap().sqnr_db;
        format!("{}, {bits} bits: {db:.1} dB", self.first_layer())
    }
}

fn harness(picker: Box<dyn FilePicker>, open: Option<PathBuf>) -> Harness<'static, App> {
    Harness::builder().with_size([1440.0, 900.0]).with_theme(Theme::Dark).build_eframe(move |cc| {
        App::new(&cc.egui_ctx, Setup { base: Ctx::new(2).unwrap(), session: Session::default(), picker, open })
    })
}

fn wait(harness: &mut Harness<'static, App>) {
    let start = Instant::now();
    let mut quiet = 0;
    while quiet < 4 {
        harness.step();
        quiet = if harness.state().is_busy() { 0 } else { quiet + 1 };
        assert!(start.elapsed() < Duration::from_mins(2), "jobs never end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_click_on_the_heat_map_sets_the_layer_and_undo_brings_it_back() {
    let mut window = Window::open();
    let (before, sqnr) = (window.bytes(), window.harness.state().bench().unwrap().active().unwrap().sqnr_db);
    assert_eq!(window.bits(0), 8);
    let cell = window.cell(4);
    window.harness.get_by_label(&cell).click();
    window.harness.run_steps(4);
    let bench = window.harness.state().bench().unwrap();
    assert_eq!(window.bits(0), 4);
    assert!(window.bytes() < before, "{} < {before}", window.bytes());
    // The preset was forked, the point on the chart has moved with its prediction, undo has a name.
    assert_eq!(bench.document().active, "int8 edited");
    assert!(bench.active().unwrap().sqnr_db < sqnr && sqnr.is_some());
    assert!(edits::label(bench.history.undo_step().unwrap()).contains("int4"));
    window.press(Modifiers::COMMAND, Key::Z);
    assert_eq!((window.bytes(), window.bits(0)), (before, 8));
    window.press(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(window.bits(0), 4);
    window.press(Modifiers::COMMAND, Key::S);
    let text = std::fs::read_to_string(window.project.join("recipes/int8 edited.ron")).unwrap();
    assert!(text.contains("bits: 4"), "{text}");
}

#[test]
fn drawing_over_cells_sets_several_layers_in_one_step() {
    let mut window = Window::open();
    let cell = window.cell(3);
    let from = window.harness.get_by_label(&cell).rect().center();
    window.harness.drag_at(from);
    window.harness.run_steps(2);
    for row in 0..3 {
        window.harness.hover_at(from + egui::vec2(0.0, 26.0 * row as f32));
        window.harness.run_steps(2);
    }
    window.harness.drop_at(from + egui::vec2(0.0, 52.0));
    window.harness.run_steps(3);
    assert_eq!([window.bits(0), window.bits(1), window.bits(2), window.bits(3)], [3, 3, 3, 8]);
    assert_eq!(window.harness.state().bench().unwrap().selection.primary(), Some(2), "the inspector follows the pointer");
    window.press(Modifiers::COMMAND, Key::Z);
    assert_eq!([window.bits(0), window.bits(1), window.bits(2)], [8, 8, 8], "a drag is one step");
}

#[test]
fn keys_set_the_selection() {
    let mut window = Window::open();
    window.press(Modifiers::NONE, Key::Num5);
    assert_eq!([window.bits(0), window.bits(1)], [5, 8]);
    window.press(Modifiers::NONE, Key::ArrowDown);
    window.press(Modifiers::NONE, Key::ArrowLeft);
    assert_eq!([window.bits(0), window.bits(1)], [5, 7]);
    window.press(Modifiers::COMMAND, Key::A);
    window.press(Modifiers::NONE, Key::Num2);
    let all = window.harness.state().bench().unwrap().layers().len();
    assert!((0..all).all(|l| window.bits(l) == 2));
    window.press(Modifiers::NONE, Key::Delete);
    assert!((0..all).all(|l| window.bits(l) == 8), "back to the default");
}

#[test]
fn the_filter_filters() {
    let mut window = Window::open();
    let all = window.harness.state().bench().unwrap().rows.len();
    window.press(Modifiers::COMMAND, Key::F);
    window.harness.get_by_label("Filter layers").type_text("depthwise");
    window.harness.run_steps(3);
    let bench = window.harness.state().bench().unwrap();
    assert!(!bench.rows.is_empty() && bench.rows.len() < all);
    assert!(
        bench
            .rows
            .iter()
            .all(|&r| bench.layers()[r].kind.name() == "Depthwise conv" || bench.layers()[r].name.contains("depthwise"))
    );
    // Digits typed into the box are text, not widths.
    window.harness.get_by_label("Filter layers").type_text("2");
    window.harness.run_steps(2);
    assert_eq!(window.bits(0), 8);
}

#[test]
fn the_palette_finds_and_gives_commands() {
    let mut window = Window::open();
    window.press(Modifiers::COMMAND, Key::K);
    window.harness.get_by_label("Command").type_text("theme light");
    window.harness.run_steps(2);
    window.press(Modifiers::NONE, Key::Enter);
    assert_eq!(window.harness.ctx.theme(), Theme::Light);
    window.command(Command::ThemeDark);
    assert_eq!(window.harness.ctx.theme(), Theme::Dark);
}

#[test]
fn every_workspace_and_every_command_can_be_reached() {
    let mut window = Window::open();
    for (command, workspace) in [
        (Command::GoLoad, Workspace::Load),
        (Command::GoCompare, Workspace::Compare),
        (Command::GoGraph, Workspace::Graph),
        (Command::GoExport, Workspace::Export),
        (Command::GoConfigure, Workspace::Configure),
    ] {
        window.command(command);
        window.wait();
        assert_eq!(window.harness.state().session().workspace, workspace);
    }
    let harmless = |c: Command| !matches!(c, Command::Quit | Command::OpenSample | Command::Evaluate | Command::EvaluateAll);
    for info in ALL.iter().filter(|i| harmless(i.command)) {
        window.command(info.command);
        window.press(Modifiers::NONE, Key::Escape);
    }
    window.wait();
    assert!(window.harness.state().bench().is_some());
}

#[test]
fn evaluating_measures_and_editing_makes_stale() {
    let mut window = Window::open();
    window.command(Command::Evaluate);
    window.wait();
    let active = |w: &Window| w.harness.state().bench().unwrap().active().unwrap().clone();
    let report = active(&window).fresh().expect("a fresh report").clone();
    assert!(report.metrics.unwrap().top1.value > 50.0);
    assert_eq!(std::fs::read_dir(window.project.join("reports")).unwrap().count(), 1);
    window.command(Command::ForkRecipe);
    window.harness.get_by_label("Fork").click();
    window.harness.run_steps(3);
    assert_eq!(active(&window).name, "int8 copy");
    assert!(active(&window).measured.is_none(), "a copy was not measured");
    window.command(Command::Undo);
    assert!(active(&window).fresh().is_some());
}

#[test]
fn without_dialogs_a_path_is_typed() {
    let mut window = Window::open();
    window.command(Command::OpenProject);
    let path = window.harness.get_by_label("Path");
    path.focus();
    window.harness.run_steps(1);
    window.press(Modifiers::COMMAND, Key::A);
    window.harness.get_by_label("Path").type_text("/no/such/folder");
    window.harness.run_steps(2);
    window.harness.get_by_label("Choose").click();
    window.wait();
    let log = window.harness.state().log();
    assert!(log.iter().any(|l| l.message.contains("/no/such/folder")), "{log:?}");
    assert!(window.harness.state().bench().is_some(), "the open project is still there");
}

#[test]
fn dialogs_answer_into_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let project = sample::install(Some(folder.path())).unwrap();
    let mut harness = harness(Box::new(Answer(project.clone())), None);
    harness.run_steps(2);
    assert!(harness.state().bench().is_none());
    harness.state_mut().ask(Act::Command(Command::OpenProject));
    wait(&mut harness);
    assert_eq!(harness.state().bench().unwrap().opened.root, project);
    assert_eq!(harness.state().session().recent, [project]);
}

#[test]
fn a_dropped_model_asks_for_its_project() {
    #[derive(Debug)]
    struct Dropped(PathBuf);
    impl egui::DroppedFile for Dropped {
        fn path(&self) -> &Path {
            &self.0
        }
        fn bytes(&self) -> Result<Vec<u8>, String> {
            std::fs::read(&self.0).map_err(|e| e.to_string())
        }
    }
    let mut window = Window::open();
    let drop_file = |window: &mut Window, name: &str, bytes: &[u8]| {
        let file = window.project.join(name);
        std::fs::write(&file, bytes).unwrap();
        window.harness.input_mut().dropped_files.push(std::sync::Arc::new(Dropped(file)));
        window.harness.step();
        window.wait();
    };
    // Neither a photo nor a text is a model, and it is said which file that was.
    drop_file(&mut window, "photo.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF");
    let said = window.harness.state().log().last().unwrap().message.clone();
    assert!(said.contains("photo.jpg") && said.contains("no model"), "{said}");
    let header = br#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header);
    weights.extend_from_slice(&[0; 16]);
    drop_file(&mut window, "net.safetensors", &weights);
    window.harness.run_steps(3);
    window.harness.get_by_label("Only look at it");
    // What cannot be is said in the form, and what was written stays there.
    write(&mut window, "Evaluation data", "/no/such/data");
    window.harness.get_by_label("Make project").click();
    window.harness.run_steps(3);
    window.wait();
    window.harness.get_by_label_contains("holds weights without a graph");
    // Without another folder it is made beside the model.
    window.harness.get_by_label("Evaluation data").focus();
    window.harness.run_steps(1);
    window.press(Modifiers::COMMAND, Key::A);
    window.press(Modifiers::NONE, Key::Backspace);
    window.harness.get_by_label("Make project").click();
    window.harness.run_steps(3);
    window.wait();
    let root = window.harness.state().bench().unwrap().project.root().to_path_buf();
    assert!(root.ends_with("net-project"), "{}", root.display());
}

#[test]
fn the_picker_offers_what_fits_with_its_costs_and_sets_it() {
    let mut window = Window::open();
    let layer = window.first_layer();
    let opened = format!("Scheme of {layer}");
    let weights = |window: &Window| window.harness.state().bench().unwrap().layer_plan(0).unwrap().treatment.weights.to_string();
    // One in the table, one in the inspector.
    window.harness.get_all_by_label(&opened).next().unwrap().click();
    window.wait();
    let offers = window.harness.state().bench().unwrap().offers.clone();
    assert!(offers.fitting.len() > 20 && !offers.refused.is_empty(), "{} offers", offers.fitting.len());
    let refused = offers.refused[0].0.to_string();
    assert!(window.harness.query_by_label_contains(&format!("{refused}: ")).is_none(), "{refused} does not fit");
    let words = |node: &egui_kittest::Node<'_>| node.accesskit_node().label().unwrap_or_default();
    let label = words(&window.harness.get_by_label_contains("bf16: "));
    assert!(label.contains("bits per weight") && label.ends_with("dB"), "{label}");
    window.harness.get_by_label(&label).click();
    window.wait();
    assert_eq!(weights(&window), "bf16");
    assert!(window.harness.query_by_label_contains("bf16: ").is_none(), "the picker has closed");
    // The histogram has the format's levels: here those of half-width floats, before those of 8 bits.
    let levels = |window: &Window| {
        let treated = window.harness.state().bench().unwrap().treated.clone().unwrap();
        treated.encoded.as_ref().unwrap().levels(0, 0).len()
    };
    assert!(levels(&window) > 60_000, "{}", levels(&window));
    window.harness.get_by_label("Channel whose levels are shown");
    window.press(Modifiers::COMMAND, Key::Z);
    assert_eq!(weights(&window), "int8 per channel");
    assert_eq!(levels(&window), 255);
}

#[test]
fn the_chart_holds_the_common_presets_and_what_is_worked_with() {
    let mut window = Window::open();
    let shown = |window: &Window| {
        let bench = window.harness.state().bench().unwrap();
        bench.points.iter().filter(|p| p.shown).map(|p| p.name.clone()).collect::<Vec<_>>()
    };
    let few = shown(&window);
    assert!(few.iter().any(|n| n == "w4") && !few.iter().any(|n| n == "q4_0") && few.len() < 25, "{few:?}");
    window.harness.state_mut().ask(Act::Edit(lapidary::workbench::project::Edit::SelectRecipe("nf4".to_owned())));
    window.wait();
    assert!(shown(&window).contains(&"nf4".to_owned()));
    let bench = window.harness.state().bench().unwrap();
    assert!(bench.active().unwrap().sqnr_db.is_some());
    let all = bench.points.len();
    assert!(all > 60, "the others are there to choose: {all}");
}

#[test]
fn measured_losses_fill_the_heat_map_and_a_budget_makes_the_recipe() {
    let mut window = Window::open();
    window.command(Command::MeasureLosses);
    window.wait();
    let state = window.harness.state();
    let (bench, layer) = (state.bench().unwrap(), window.first_layer());
    let planner = bench.losses.planner().unwrap_or_else(|| panic!("{:?}", state.log()));
    assert!(planner.frontier.points.len() > 20, "{}", planner.frontier.points.len());
    assert_eq!(planner.frontier.points.last().unwrap().cost, 0.0, "the last one leaves all layers alone");
    let least = planner.frontier.points[0].size;
    // Fewer bits, more loss: the cells say so.
    let loss = |bits: u8| {
        let treatment = lapidary::workbench::ui::scores::at_width(&bench.layer_plan(0).unwrap().treatment, bits);
        bench.losses.get(0, &treatment).unwrap().kl.unwrap()
    };
    assert!(loss(2) > loss(8) && loss(8) >= 0.0, "{} {}", loss(2), loss(8));
    window.harness.get_by_label_contains(&format!("{layer}, 2 bits: loses"));
    // The budget moves: the recipe follows, keeps to it and is one step of undo.
    let before = window.bytes();
    let budget = least + 2_000;
    window.harness.state_mut().ask(Act::Budget(budget));
    window.wait();
    assert_eq!(window.harness.state().bench().unwrap().document().active, "within budget");
    assert!(window.bytes() <= budget && window.bytes() > least / 2, "{} of {budget}", window.bytes());
    window.press(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.bytes(), before);
    assert!(window.harness.query_by_label_contains("Alone it loses").is_some(), "the inspector says why");
}

#[test]
fn a_search_adds_its_recipe_with_a_report_and_a_page_holds_the_comparison() {
    let mut window = Window::open();
    window.press(Modifiers::NONE, Key::F7);
    window.harness.get_by_label("Search for a recipe");
    write(&mut window, "Size of the file", "nothing");
    window.harness.get_by_label("Search").click();
    window.harness.run_steps(3);
    assert!(window.harness.query_by_label_contains("neither a share").is_some(), "what is wrong is said");
    write(&mut window, "Size of the file", "20 %");
    write(&mut window, "Plans measured", "6");
    window.harness.get_by_label_contains("Estimate what layers lose").click();
    window.harness.run_steps(2);
    window.harness.get_by_label("Search").click();
    window.wait();
    let state = window.harness.state();
    let (bench, log) = (state.bench().unwrap(), state.log());
    let name = "search-20.0-percent";
    assert_eq!(bench.document().active, name, "{log:?}");
    assert!(!bench.active().unwrap().recipe.history.is_empty());
    let report = bench.active().unwrap().fresh().expect("its report").clone();
    assert!(report.bytes as f64 <= 0.2 * report.bytes_original as f64, "{} of {}", report.bytes, report.bytes_original);
    assert!(log.iter().any(|l| l.message.contains("Best so far")));
    // Its report is of the samples that chose nothing; on all of them it can stand beside another on one page.
    window.command(Command::Evaluate);
    window.wait();
    window.harness.state_mut().ask(Act::Edit(Edit::SelectRecipe("w4".to_owned())));
    window.command(Command::Evaluate);
    window.wait();
    assert_eq!(std::fs::read_dir(window.project.join("reports")).unwrap().count(), 3);
    window.command(Command::SharePage);
    let page = window.project.join("exports/page.html");
    write(&mut window, "Path", &page.display().to_string());
    window.harness.get_by_label("Choose").click();
    window.wait();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(name) && page.contains("w4") && page.contains("data:image/png"), "{}", page.len());
    window.command(Command::GoCompare);
    window.wait();
    assert!(window.harness.query_by_label_contains("w4 takes").is_some(), "confusions are named");
    window.press(Modifiers::COMMAND, Key::Z);
    window.press(Modifiers::COMMAND, Key::Z);
    assert!(window.harness.state().bench().unwrap().document().recipes.is_empty(), "undo takes the recipe back");
}

/// Writes a field anew.
fn write(window: &mut Window, field: &str, text: &str) {
    window.harness.get_by_label(field).focus();
    window.harness.run_steps(1);
    window.press(Modifiers::COMMAND, Key::A);
    window.harness.get_by_label(field).type_text(text);
    window.harness.run_steps(2);
}

#[test]
fn the_worst_three_are_protected_in_one_step() {
    let mut window = Window::open();
    window.harness.state_mut().ask(Act::Edit(lapidary::workbench::project::Edit::SelectRecipe("w3".to_owned())));
    window.wait();
    window.command(Command::ProtectWorst);
    let layers = window.harness.state().bench().unwrap().layers().len();
    let wide = |window: &Window| (0..layers).filter(|&i| window.bits(i) == 8).collect::<Vec<_>>();
    let noise = |window: &Window, layer: usize, bits: u8| {
        let bench = window.harness.state().bench().unwrap();
        let treatment = lapidary::workbench::ui::scores::at_width(&bench.layer_plan(layer).unwrap().treatment, bits);
        bench.scores.get(layer, &treatment).unwrap().noise
    };
    let protected = wide(&window);
    assert_eq!(protected.len(), 3);
    let least = protected.iter().map(|&i| noise(&window, i, 3)).fold(f64::INFINITY, f64::min);
    assert!((0..layers).filter(|i| !protected.contains(i)).all(|i| noise(&window, i, 3) <= least), "{protected:?}");
    window.press(Modifiers::COMMAND, Key::Z);
    assert!(wide(&window).is_empty(), "it was one step");
}

#[test]
fn a_recipe_can_be_written_as_text() {
    let mut window = Window::open();
    window.harness.state_mut().ask(Act::Show(lapidary::workbench::ui::layout::Pane::Recipe));
    window.harness.run_steps(4);
    let field = window.harness.get_by_label("Recipe as text");
    let text = field.value().unwrap_or_default();
    assert!(text.contains("lapidary-recipe") && text.contains("bits: 8"), "{text}");
    field.focus();
    window.press(Modifiers::COMMAND, Key::A);
    let typed = |window: &mut Window, text: &str| {
        window.harness.get_by_label("Recipe as text").type_text(text);
        window.harness.run_steps(4);
    };
    let narrower = text.replacen("bits: 8", "bits: 5", 1);
    typed(&mut window, &narrower);
    assert_eq!(window.bits(0), 5);
    let document = window.harness.state().bench().unwrap().document();
    assert_eq!(document.active, "int8 edited", "a preset stays as it is");
    typed(&mut window, "(");
    assert_eq!(window.bits(0), 5, "half a recipe changes nothing");
}

/// A small generator of its own (Knuth's MMIX constants): the same actions on every machine.
struct Lot(u64);

impl Lot {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % end.max(1)
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// Something that a person might do next.
fn anything(lot: &mut Lot, window: &Window) -> Act {
    let bench = window.harness.state().bench().unwrap();
    let layer = lot.below(bench.layers().len());
    let layers: Vec<String> = (0..=lot.below(3)).map(|_| bench.layers()[lot.below(bench.layers().len())].name.clone()).collect();
    let change = match lot.below(5) {
        0 => Change { weights: Some(Scheme::per_channel(2 + lot.below(7) as u8)), ..Change::default() },
        1 => Change { sparsity: Some(Sparsity::Fraction(0.1 * lot.below(10) as f32)), ..Change::default() },
        2 => Change { activations: Some(lot.of(&[Activations::None, Activations::Static])), ..Change::default() },
        3 => Change { correction: Some(lot.of(&CorrectionLevel::ALL).correction(false)), ..Change::default() },
        _ => {
            let cut = ChannelCut::Share { share: 0.1 * lot.below(9) as f32, by: lot.of(&ChannelScore::ALL), multiple: 1 };
            Change { channels: Some(cut), ..Change::default() }
        }
    };
    // What leaves the project, or works for long, is for other tests.
    let harmless = |c: Command| {
        !matches!(
            c,
            Command::Quit
                | Command::NewProject
                | Command::OpenProject
                | Command::OpenSample
                | Command::Evaluate
                | Command::EvaluateAll
                | Command::MeasureLosses
                | Command::SharePage
        )
    };
    match lot.below(15) {
        0 | 1 => Act::Edit(Edit::Treat { layers, change }),
        2 => Act::Drag(Edit::Treat { layers, change }),
        3 => Act::Edit(Edit::Reset { layers }),
        4 => Act::Edit(Edit::SelectRecipe(lot.of(&bench.points).name.clone())),
        5 => Act::Edit(Edit::SetDefault(lot.of(&bench.points).recipe.default)),
        6 => {
            let equalize = Some(lot.of(&[Equalization::None, Equalization::Layers]));
            let balance = Some(lot.of(&[Balance::None, Balance::Awq, Balance::Smooth { strength: 0.5 }]));
            Act::Edit(Edit::SetWhole(Whole { equalize, balance, allocation: Some(lot.of(&Allocation::ALL)), groups: None }))
        }
        7 => Act::Select { layer, how: lot.of(&[Pick::Only, Pick::Toggle, Pick::Range]) },
        8 => Act::Go(lot.of(&Workspace::ALL)),
        9 => Act::Filter(lot.of(&["", "conv", "sqnr<20", "size>1k", "nothing at all"]).to_owned()),
        10 => Act::Sort(lot.of(&[Column::Name, Column::Bits, Column::Sqnr, Column::Bytes])),
        11 => Act::ExportName(lot.of(&["a", "", "b c"]).to_owned()),
        12 => {
            let mut data = bench.document().data();
            data.preprocess.scale = lot.of(&[None, Some(255.0), Some(128.0)]);
            Act::Edit(Edit::SetData(data))
        }
        13 => Act::Ask(lot.of(&[Question::Weights(Saliency::Magnitude), Question::Channels(ChannelScore::L2)])),
        _ => loop {
            let info = &ALL[lot.below(ALL.len())];
            if harmless(info.command) {
                break Act::Command(info.command);
            }
        },
    }
}

#[test]
fn five_thousand_actions_at_random_can_all_be_taken_back() {
    let mut window = Window::open();
    let mut lot = Lot(20_261_121);
    let first = window.harness.state().bench().unwrap().document().clone();
    for number in 0..5_000 {
        let act = anything(&mut lot, &window);
        window.harness.state_mut().ask(act);
        if number % 4 == 0 {
            window.harness.step();
        }
        if number % 16 == 0 {
            // Whatever has opened is closed again.
            window.harness.key_press(Key::Escape);
            window.harness.step();
        }
    }
    window.harness.state_mut().ask(Act::Command(Command::Stop));
    window.wait();
    let mut undone = 0;
    while window.harness.state().bench().unwrap().history.undo_step().is_some() {
        window.harness.state_mut().ask(Act::Command(Command::Undo));
        window.harness.step();
        undone += 1;
    }
    assert!(undone > 500, "{undone}");
    assert_eq!(window.harness.state().bench().unwrap().document(), &first);
}
