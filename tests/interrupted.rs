//! An export that is killed leaves the old file or none; files that cannot be written are said to be so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::random::Random;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample/sample.onnx");

fn lapidary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
    command.args(arguments).args(["--quiet", "--threads", "2"]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn project(folder: &Path) -> String {
    let place = folder.join("prøject").to_str().unwrap().to_owned();
    assert!(lapidary(&["init", &place, "--model", MODEL]).status().unwrap().success());
    place
}

#[test]
fn a_killed_export_leaves_the_old_file_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = project(folder.path());
    let out = folder.path().join("out é").join("small 1.onnx");
    let export = |recipe: &str| lapidary(&["export", &place, "--recipe", recipe, "--out", out.to_str().unwrap()]);
    let started = Instant::now();
    assert!(export("w8").status().unwrap().success());
    let whole = started.elapsed();
    let old = fs::read(&out).unwrap();
    assert!(export("w4").status().unwrap().success());
    let new = fs::read(&out).unwrap();
    assert_ne!(old, new);
    fs::remove_file(&out).unwrap();
    let mut random = Random::new(11);
    let (mut absent, mut there) = (0, 0);
    for round in 0..100 {
        // In the first half there is no file before, in the second half the old one is.
        if round >= 50 {
            fs::write(&out, &old).unwrap();
        }
        let mut child = export("w4").spawn().unwrap();
        sleep(whole.mul_f64(f64::from(random.normal().abs() * 0.5).min(1.2)));
        let _ = child.kill();
        child.wait().unwrap();
        match fs::read(&out) {
            Err(_) => {
                absent += 1;
                assert!(round < 50, "the old file is gone");
            }
            Ok(found) => {
                there += 1;
                assert!(found == new || round >= 50 && found == old, "half a file, in round {round}");
            }
        }
        let _ = fs::remove_file(&out);
    }
    assert!(absent > 0 && there > 0, "{absent} without a file, {there} with one: the moments are not random");
}

#[test]
fn a_killed_export_in_two_files_leaves_two_that_fit_or_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let place = project(folder.path());
    let out = folder.path().join("out é").join("large.onnx");
    let beside = out.with_file_name("large.onnx.data");
    let export = |recipe: &str| {
        let path = out.to_str().unwrap();
        lapidary(&["export", &place, "--recipe", recipe, "--out", path, "--split-above", "1000"])
    };
    let started = Instant::now();
    let read = || (fs::read(&out).ok(), fs::read(&beside).ok());
    let made = |recipe: &str| {
        assert!(export(recipe).status().unwrap().success());
        let (model, data) = read();
        (model.unwrap(), data.unwrap())
    };
    let old = made("w8");
    let whole = started.elapsed();
    let new = made("w4");
    assert!(old.0 != new.0 && old.1 != new.1 && new.1.len() > 1000, "{}", new.1.len());
    let hidden = || fs::read_dir(out.parent().unwrap()).unwrap().count() - 2;
    assert_eq!(hidden(), 0, "nothing is left behind");
    let mut random = Random::new(12);
    let (mut absent, mut there) = (0, 0);
    for round in 0..40 {
        let had = round % 2 == 1;
        let _ = (fs::remove_file(&out), fs::remove_file(&beside));
        if had {
            fs::write(&out, &old.0).unwrap();
            fs::write(&beside, &old.1).unwrap();
        }
        let mut child = export("w4").spawn().unwrap();
        sleep(whole.mul_f64(f64::from(random.normal().abs() * 0.5).min(1.2)));
        let _ = child.kill();
        child.wait().unwrap();
        let (model, data) = read();
        match (model, data) {
            (None, _) => absent += 1,
            (Some(model), Some(data)) => {
                there += 1;
                let fits = (&model, &data) == (&new.0, &new.1) || had && (&model, &data) == (&old.0, &old.1);
                assert!(fits, "a graph with tensors of another, in round {round}");
            }
            (Some(_), None) => panic!("a graph without its tensors, in round {round}"),
        }
    }
    assert!(absent > 0 && there > 0, "{absent} without a file, {there} with one: the moments are not random");
}

#[test]
fn folders_that_are_missing_are_made_and_those_that_are_read_only_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let place = project(folder.path());
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let run = |out: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_lapidary"))
            .args(["export", &place, "--recipe", "w8", "--quiet", "--out", out.to_str().unwrap()])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let deep = folder.path().join("a b").join("ß").join("x.lapidary");
    assert_eq!(run(&deep).0, Some(0));
    // A folder that cannot be: whoever runs the test, nobody may write below a file.
    let (code, message) = run(&file.join("x.onnx"));
    assert!(code == Some(1) && message.contains("x.onnx") && message.lines().count() == 1, "{message}");
    let (code, message) = run(Path::new("/proc/x.onnx"));
    assert!(!Path::new("/proc").exists() || code == Some(1) && message.contains("/proc/x.onnx"), "{message}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "no folder");
    let kept = fs::read_dir(Path::new(&place).join("exports")).unwrap().count();
    assert_eq!(kept, 1, "what was checked is kept for the file that was written");
}
