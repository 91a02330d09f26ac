//! The data of a project: another choice is looked at first, and what was measured on the old ones is known for stale.

use super::{Window, harness, wait, write};
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;
use lapidary::engine::Ctx;
use lapidary::pipeline::configure::CorrectionLevel;
use lapidary::pipeline::load::Preprocess;
use lapidary::workbench::project::{Change, Data, Edit};
use lapidary::workbench::sample;
use lapidary::workbench::ui::act::Act;
use lapidary::workbench::ui::commands::Command;
use lapidary::workbench::ui::dialogs::TextPicker;
use lapidary::workbench::work::{self, NewProject};
use std::sync::Arc;

/// Whether there is a report of the active recipe, and whether it holds.
fn standing(window: &Window) -> (bool, bool) {
    let point = window.harness.state().bench().unwrap().active().unwrap();
    (point.measured.is_some(), point.fresh().is_some())
}

/// The sample with a report of its active recipe, and its data.
fn measured() -> (Window, Data) {
    let mut window = Window::open();
    window.command(Command::Evaluate);
    window.wait();
    let data = window.harness.state().bench().unwrap().document().data();
    (window, data)
}

#[test]
fn other_data_are_checked_first_and_make_reports_stale_until_they_are_taken_back() {
    let (mut window, before) = measured();
    assert_eq!(standing(&window), (true, true));
    let place = window.harness.state().bench().unwrap().project.resolve(before.evaluate.as_ref().unwrap());

    window.command(Command::SetData);
    write(&mut window, "Evaluation data", "/no/such/folder");
    window.harness.get_by_label("Use this data").click();
    window.harness.run_steps(2);
    window.wait();
    // The form says why not, and what was written is still in it.
    window.harness.get_by_label_contains("/no/such/folder: ");
    assert_eq!(window.harness.state().bench().unwrap().document().data(), before);

    write(&mut window, "Evaluation data", &place.display().to_string());
    write(&mut window, "Divide by", "128");
    window.harness.get_by_label("Use this data").click();
    window.harness.run_steps(2);
    window.wait();
    assert!(window.harness.query_by_label("Use this data").is_none(), "it is closed");
    let now = window.harness.state().bench().unwrap().document().data();
    assert_eq!((now.preprocess.scale, &now.evaluate, now.hold_out), (Some(128.0), &before.evaluate, before.hold_out));
    assert_eq!(standing(&window), (true, false), "measured on what was prepared otherwise");

    window.command(Command::Undo);
    window.wait();
    assert_eq!(window.harness.state().bench().unwrap().document().data(), before);
    assert_eq!(standing(&window), (true, true));
}

/// Gives the project other data, without the form.
fn set(window: &mut Window, data: &Data) {
    window.harness.state_mut().ask(Act::Edit(Edit::SetData(data.clone())));
    window.harness.run_steps(2);
    window.wait();
}

fn reopen(window: &mut Window) {
    window.command(Command::Save);
    let project = window.project.clone();
    window.harness.state_mut().ask(Act::Open(project));
    window.harness.run_steps(2);
    window.wait();
}

#[test]
fn what_was_calibrated_on_other_data_is_stale_as_well() {
    let (mut window, before) = measured();
    // The sample comes with data that only calibrate.
    assert!(before.calibrate.is_some() && before.calibrate != before.evaluate);
    set(&mut window, &Data { calibrate: before.evaluate.clone(), ..before.clone() });
    assert_eq!(standing(&window), (true, false));
    window.command(Command::Evaluate);
    window.wait();
    assert_eq!(standing(&window), (true, true));
    set(&mut window, &before);
    assert_eq!(standing(&window), (true, true), "the first report is of these");
    set(&mut window, &Data::default());
    assert_eq!(standing(&window), (true, false));
    reopen(&mut window);
    assert_eq!(standing(&window), (true, false), "nothing can be of data that are not there");
}

#[test]
fn as_many_calibrate_as_there_are_samples_for() {
    let window = Window::open();
    let opened = &window.harness.state().bench().unwrap().opened;
    let data = opened.document.data();
    let place = opened.root.join(&data.evaluate.as_ref().unwrap().path);
    let ctx = Ctx::new(1).unwrap();
    let with = |limit: Option<usize>, hold_out: usize| {
        let mut document = (*opened.document).clone();
        let few = Preprocess { limit: Some(5), ..data.preprocess.clone() };
        document.set_data(Data { evaluate: data.evaluate.clone(), calibrate: None, hold_out, preprocess: few });
        let wanted = Preprocess { limit, ..data.preprocess.clone() };
        opened.with_document(Arc::new(document)).data_from(Some(&place), None, &wanted, &ctx).unwrap().hold_out
    };
    assert_eq!([with(Some(5), 0), with(Some(5), 7), with(None, 0), with(Some(100), 0)], [0, 7, 5, 5]);
}

#[test]
fn what_holds_is_known_after_the_project_was_opened_again() {
    let (mut window, before) = measured();
    let mut other = Data { hold_out: 3, ..before.clone() };
    other.preprocess.scale = Some(128.0);
    set(&mut window, &other);
    assert_eq!(standing(&window), (true, false));
    for expected in [(true, false), (true, true)] {
        reopen(&mut window);
        assert_eq!(standing(&window), expected);
        // On fewer samples than before: fresh all the same.
        window.command(Command::Evaluate);
        window.wait();
        assert_eq!(standing(&window), (true, true));
    }
    // The form leaves alone what has no field in it.
    window.command(Command::SetData);
    write(&mut window, "Divide by", "64");
    window.harness.get_by_label("Use this data").click();
    window.harness.run_steps(2);
    window.wait();
    let now = window.harness.state().bench().unwrap().document().data();
    assert_eq!((now.hold_out, now.evaluate), (3, before.evaluate.clone()));
    // The first report holds again for what it was measured on.
    set(&mut window, &before);
    assert_eq!(standing(&window), (true, true));
}

#[test]
fn plans_are_others_once_there_are_data() {
    let folder = tempfile::tempdir().unwrap();
    let from = sample::install(Some(&folder.path().join("sample"))).unwrap();
    let project = folder.path().join("bare");
    let new = NewProject { model: from.join("sample.onnx"), ..NewProject::default() };
    work::init(&project, &new, &Ctx::new(1).unwrap()).unwrap();
    let mut harness = harness(Box::new(TextPicker), Some(project.clone()));
    wait(&mut harness);
    let mut window = Window { harness, _folder: folder, project };
    let change = Change { correction: Some(CorrectionLevel::Balanced.correction(false)), ..Change::default() };
    let layers = vec![window.first_layer()];
    window.harness.state_mut().ask(Act::Edit(Edit::Treat { layers, change }));
    window.harness.run_steps(2);
    window.wait();
    let is_left_out = |w: &Window| {
        let plan = w.harness.state().bench().unwrap().layer_plan(0).unwrap().clone();
        plan.treatment.correction != plan.wanted.correction
    };
    assert!(is_left_out(&window), "there is nothing to correct with");
    let opened = work::open(&from, &Ctx::new(1).unwrap()).unwrap().1;
    let data = opened.document.data();
    let place = opened.root.join(&data.evaluate.as_ref().unwrap().path);
    window.command(Command::SetData);
    write(&mut window, "Evaluation data", &place.display().to_string());
    let scale = data.preprocess.scale.map_or_else(|| "1".to_owned(), |s| s.to_string());
    write(&mut window, "Divide by", &scale);
    window.harness.get_by_label("Use this data").click();
    window.harness.run_steps(2);
    window.wait();
    assert!(!is_left_out(&window), "{:?}", window.harness.state().log());
    window.press(Modifiers::COMMAND, Key::Z);
    window.wait();
    assert!(is_left_out(&window));
}
