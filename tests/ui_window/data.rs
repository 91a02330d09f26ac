//! The data of a project: another choice is looked at first, and what was measured on the old ones is known for stale.

use super::{Window, write};
use egui_kittest::kittest::Queryable as _;
use lapidary::workbench::ui::commands::Command;

/// Whether there is a report of the active recipe, and whether it holds.
fn standing(window: &Window) -> (bool, bool) {
    let point = window.harness.state().bench().unwrap().active().unwrap();
    (point.measured.is_some(), point.fresh().is_some())
}

#[test]
fn other_data_are_checked_first_and_make_reports_stale_until_they_are_taken_back() {
    let mut window = Window::open();
    window.command(Command::Evaluate);
    window.wait();
    assert_eq!(standing(&window), (true, true));
    let before = window.harness.state().bench().unwrap().document().data();
    let place = window.harness.state().bench().unwrap().project.resolve(before.evaluate.as_ref().unwrap());

    window.command(Command::SetData);
    write(&mut window, "Evaluation data", "/no/such/folder");
    window.harness.get_by_label("Use this data").click();
    window.harness.run_steps(2);
    window.wait();
    // The form says why not, and what was written is still in it.
    window.harness.get_by_label_contains("/no/such/folder");
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
