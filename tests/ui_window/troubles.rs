//! What stands in a person's way is told, with a way on; and the panels that look ahead and look into a layer.

use super::{Window, harness, wait};
use egui_kittest::kittest::Queryable as _;
use lapidary::workbench::activations::Sample;
use lapidary::workbench::preflight::Finding;
use lapidary::workbench::project::{Change, Edit, Project};
use lapidary::workbench::sample;
use lapidary::workbench::ui::act::Act;
use lapidary::workbench::ui::commands::Command;
use lapidary::workbench::ui::dialogs::TextPicker;
use lapidary::workbench::ui::layout::{Pane, Workspace};
use lapidary::workbench::ui::scores::at_width;
use lapidary::workbench::ui::text::Language;

#[test]
fn a_model_that_moved_is_found_and_the_project_opens() {
    let folder = tempfile::tempdir().unwrap();
    let project = sample::install(Some(&folder.path().join("p"))).unwrap();
    std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
    std::fs::rename(project.join("sample.onnx"), folder.path().join("elsewhere/sample.onnx")).unwrap();
    let mut harness = harness(Box::new(TextPicker), Some(project.clone()));
    wait(&mut harness);
    assert!(harness.state().bench().is_none());
    harness.get_by_label("The project's model is not where it was");
    harness.get_by_label("Use it").click();
    wait(&mut harness);
    assert!(harness.state().bench().is_some(), "{:?}", harness.state().log());
    let (_, document) = Project::open(&project).unwrap();
    assert_eq!(document.model.path, "../elsewhere/sample.onnx");
}

#[test]
fn a_project_that_is_open_in_another_window_says_so() {
    let first = Window::open();
    let mut second = harness(Box::new(TextPicker), Some(first.project.clone()));
    wait(&mut second);
    second.get_by_label("The project is open in another window");
    second.get_by_label("Close it here").click();
    second.run_steps(3);
    assert!(second.state().bench().is_none());
    drop(first);
}

#[test]
fn opening_a_project_again_in_its_own_window_warns_of_nothing() {
    let mut window = Window::open();
    let project = window.project.clone();
    window.harness.state_mut().ask(Act::Open(project));
    window.wait();
    assert!(window.harness.query_by_label("The project is open in another window").is_none());
    assert!(window.harness.state().bench().is_some());
}

#[test]
fn a_layer_shows_what_it_gives_for_a_sample() {
    let mut window = Window::open();
    window.harness.state_mut().ask(Act::Show(Pane::Activations));
    window.wait();
    let seen = |window: &Window| {
        let maps = window.harness.state().bench().unwrap().maps.as_ref().unwrap();
        let seen = maps.seen.as_ref().unwrap();
        (maps.asked.clone(), seen.activation.clone())
    };
    let (asked, first) = seen(&window);
    assert_eq!((asked.layer, asked.sample), (0, Sample::default()));
    assert!(first.before != first.after && first.before.len() == first.shape.iter().product::<usize>());
    assert!(window.harness.query_all_by_label("Before").count() > 0);
    window.harness.state_mut().ask(Act::Sample(Sample { number: 7, of: None }));
    window.wait();
    let (asked, other) = seen(&window);
    assert_eq!(asked.sample.number, 7);
    assert_ne!(other.before, first.before);
    // Another width gives other values, of the same original.
    let layers = vec![window.first_layer()];
    let treatment = window.harness.state().bench().unwrap().layer_plan(0).unwrap().treatment;
    let narrow = Edit::Treat { layers, change: Change { weights: Some(at_width(&treatment, 2).weights), ..Change::default() } };
    window.harness.state_mut().ask(Act::Edit(narrow));
    window.wait();
    let (_, narrow) = seen(&window);
    assert_eq!(narrow.before, other.before);
    assert_ne!(narrow.after, other.after);
}

#[test]
fn one_can_look_ahead_before_a_run() {
    let mut window = Window::open();
    window.harness.state_mut().ask(Act::Show(Pane::Preflight));
    window.wait();
    let (recipe, found) = window.harness.state().bench().unwrap().preflight.clone().unwrap();
    assert!(recipe == "int8" && found.contains(&Finding::Unseen), "{found:?}");
    window.harness.get_by_label_contains("of memory");
    window.command(Command::Evaluate);
    window.wait();
    // The jobs were shown meanwhile.
    window.harness.state_mut().ask(Act::Show(Pane::Preflight));
    window.wait();
    let (_, found) = window.harness.state().bench().unwrap().preflight.clone().unwrap();
    assert!(found.iter().any(|f| matches!(f, Finding::Time { .. })) && !found.contains(&Finding::Unseen), "{found:?}");
}

#[test]
fn the_window_speaks_chinese_where_a_font_can_write_it() {
    let mut window = Window::open();
    window.command(Command::Speak(Language::Chinese));
    if window.harness.query_all_by_label("评估").count() == 0 {
        // Of the fonts that come with the window none can: it says so, and goes on in English.
        window.harness.get_by_label_contains("No font of the system has Chinese characters");
        assert!(window.harness.query_all_by_label("Evaluate").count() > 0);
    }
    Language::use_system_fonts(&window.harness.ctx);
    window.harness.run_steps(2);
    window.command(Command::Speak(Language::Chinese));
    if window.harness.query_all_by_label("评估").count() == 0 {
        eprintln!("skipped: no font with Chinese signs; install one, for example fonts-wqy-microhei");
        return;
    }
    for workspace in Workspace::ALL {
        window.harness.state_mut().ask(Act::Go(workspace));
        window.wait();
        assert!(window.harness.query_all_by_label("评估").count() > 0);
    }
    window.command(Command::Speak(Language::English));
    assert!(window.harness.query_all_by_label("Evaluate").count() > 0);
}
