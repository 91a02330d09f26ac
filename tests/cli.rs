//! The program as a person or a script meets it: exit codes, one JSON document, errors that help.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::pipeline::configure::{Recipe, Treatment};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample/sample.onnx");
const EVALUATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample/evaluate");
const CALIBRATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample/calibrate");
const PREPROCESS: [&str; 8] = ["--channels", "gray", "--scale", "255", "--mean", "0.5", "--std", "0.25"];

fn lapidary(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary")).args(arguments).args(["--quiet", "--threads", "2"]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs what must work and gives its JSON.
fn json(arguments: &[&str]) -> serde_json::Value {
    let output = lapidary(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs what must fail with `code`, in one line that holds all of `parts`.
fn fails(code: i32, arguments: &[&str], parts: &[&str]) {
    let output = lapidary(arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?} printed {}", text(&output.stdout));
    assert!(code != 1 || message.lines().count() == 1, "{arguments:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{arguments:?}: \"{part}\" is not in: {message}");
    }
}

fn project(folder: &Path) -> PathBuf {
    let path = folder.join("project");
    let place = path.to_str().unwrap();
    let made =
        json(&[&["init", place, "--model", MODEL, "--evaluate", EVALUATE, "--calibrate", CALIBRATE], &PREPROCESS[..]].concat());
    assert_eq!((made["layers"].as_u64(), made["samples"].as_u64()), (Some(12), Some(1000)));
    path
}

#[test]
fn the_whole_way_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = project(folder.path());
    let place = path.to_str().unwrap();
    let plan = json(&["plan", place, "--recipe", "int8"]);
    let report = json(&["evaluate", place, "--recipe", "int8", "--limit", "200"]);
    assert_eq!(report["samples"], 200);
    assert_eq!(report["bytes"], plan["bytes"]);
    assert!(report["metrics"]["top1"].as_f64().unwrap() > 90.0);
    assert!(report["fidelity"]["kl_mean"].as_f64().unwrap() > 0.0);
    let statistics = json(&["calibrate", place, "--recipe", "int8"]);
    assert_eq!((statistics["samples"].as_u64(), statistics["reused"].as_bool()), (Some(256), Some(true)));
    let out = folder.path().join("small.onnx");
    let exported = json(&["export", place, "--recipe", "int8", "--format", "onnx", "--out", out.to_str().unwrap()]);
    assert_eq!(exported["bytes"].as_u64(), Some(fs::metadata(&out).unwrap().len()));
    assert_eq!(exported["bytes"], plan["bytes"]);
    assert!(exported["checks"].as_array().unwrap().iter().all(|c| c["passed"] == true));
    let verified = json(&["verify", out.to_str().unwrap(), "--project", place, "--limit", "200"]);
    assert_eq!(verified["fidelity"], report["fidelity"]);
    let compared = json(&["compare", place, "fp32", "int8", "--limit", "200"]);
    assert_eq!(compared["recipes"].as_array().unwrap().len(), 2);
    let speed = json(&["bench", "forward", MODEL, "--batch", "4", "--seconds", "0.1"]);
    assert!(speed["samples_per_second"].as_f64().unwrap() > 0.0 && speed["batch"] == 4 && speed["threads"] == 2);
}

#[test]
fn bad_calls_and_bad_files_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fails(2, &["frobnicate"], &["frobnicate"]);
    fails(2, &["evaluate", "somewhere"], &["--recipe"]);
    fails(1, &["inspect", &at("none.onnx")], &["none.onnx", "check that the file is there"]);
    let model = fs::read(MODEL).unwrap();
    fs::write(at("cut.onnx"), &model[..model.len() / 2]).unwrap();
    fails(1, &["inspect", &at("cut.onnx")], &["cut.onnx", "truncated or corrupt"]);
    fs::write(at("empty.onnx"), b"").unwrap();
    fails(1, &["inspect", &at("empty.onnx")], &["empty.onnx", "it is empty"]);
    fs::create_dir(at("nothing")).unwrap();
    fails(1, &["init", &at("p"), "--model", MODEL, "--evaluate", &at("nothing")], &["nothing", "no pictures"]);
    fails(
        1,
        &["init", &at("p"), "--model", MODEL, "--evaluate", EVALUATE, "--crop", "20"],
        &["[1, 20, 20]", "[N, 1, 24, 24]", "--crop"],
    );
    fails(
        1,
        &["init", &at("p"), "--model", MODEL, "--evaluate", EVALUATE, "--label-offset", "3"],
        &["10 classes", "--label-offset"],
    );
    assert!(!folder.path().join("p").join("project.ron").exists(), "a project that failed is not there");
    fails(1, &["plan", &at("nothing"), "--recipe", "int8"], &["no Lapidary project", "lapidary init"]);
}

#[test]
fn conformance_answers_even_where_a_test_fails() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    fails(1, &["bench", "conformance", place], &["no ONNX backend tests", "model.onnx"]);
    // The sample's network with a data set that holds nothing.
    fs::create_dir_all(folder.path().join("deep/test_sample/test_data_set_0")).unwrap();
    fs::copy(MODEL, folder.path().join("deep/test_sample/model.onnx")).unwrap();
    let output = lapidary(&["bench", "conformance", place, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("1 of 1 tests failed"), "{}", text(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = ["passed", "failed", "unsupported"].map(|key| answer[key].as_u64().unwrap());
    assert_eq!(counts, [0, 1, 0]);
    let test = &answer["tests"][0];
    assert_eq!((test["name"].as_str(), test["outcome"].as_str()), (Some("test_sample"), Some("failed")));
    assert!(test["reason"].as_str().unwrap().contains("deep/test_sample/test_data_set_0/input_0.pb"), "{test}");
    fails_with_text(&["bench", "conformance", place], "FAILED test_sample");
}

fn fails_with_text(arguments: &[&str], says: &str) {
    let output = lapidary(arguments);
    assert!(output.status.code() == Some(1) && text(&output.stdout).contains(says), "{}", text(&output.stdout));
}

#[test]
fn weights_that_are_not_numbers_are_refused_by_layer() {
    let folder = tempfile::tempdir().unwrap();
    // The first bytes of the largest weight become NaN, wherever the file keeps them.
    let mut model = fs::read(MODEL).unwrap();
    let ctx = lapidary::engine::Ctx::new(1).unwrap();
    let loaded = lapidary::pipeline::load::model(Path::new(MODEL), &ctx).unwrap();
    let weight = loaded.model.constants["mix.conv.weight"].bytes().into_owned();
    let start = model.windows(64).position(|w| *w == weight[..64]).unwrap();
    model[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let path = folder.path().join("nan.onnx");
    fs::write(&path, model).unwrap();
    let place = folder.path().join("p").to_str().unwrap().to_owned();
    json(&["init", &place, "--model", path.to_str().unwrap()]);
    fails(1, &["compress", &place, "--recipe", "w8"], &["mix.conv", "NaN", "leave the layer out"]);
}

#[test]
fn files_of_the_future_and_dangerous_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = project(folder.path());
    let place = path.to_str().unwrap();
    let recipe = folder.path().join("next.ron");
    fs::write(&recipe, "(format: \"lapidary-recipe\", version: 99, name: \"n\", shiny: true)").unwrap();
    fails(1, &["plan", place, "--recipe", recipe.to_str().unwrap()], &["version 99", "newer Lapidary"]);
    fails(1, &["plan", place, "--recipe", "nonsense"], &["nonsense", "presets are fp32"]);
    let copy = folder.path().join("copy.onnx");
    fs::copy(MODEL, &copy).unwrap();
    let own = folder.path().join("own");
    json(&["init", own.to_str().unwrap(), "--model", copy.to_str().unwrap()]);
    fails(
        1,
        &["export", own.to_str().unwrap(), "--recipe", "w8", "--out", copy.to_str().unwrap()],
        &["being compressed", "another file"],
    );
    assert_eq!(fs::read(&copy).unwrap(), fs::read(MODEL).unwrap());
    fails(1, &["evaluate", own.to_str().unwrap(), "--recipe", "w8"], &["no evaluation data"]);
    let ron = path.join("project.ron");
    fs::write(&ron, fs::read_to_string(&ron).unwrap().replace("version: 1", "version: 8")).unwrap();
    fails(1, &["plan", place, "--recipe", "int8"], &["version 8", "newer Lapidary"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lapidary")).args(["inspect", MODEL, "--quiet"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
}

#[test]
fn new_calibration_data_make_old_reports_worthless() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ranges");
    fs::create_dir(&data).unwrap();
    let take = |from: &str| {
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, data.join(file.file_name().unwrap())).unwrap();
        }
    };
    take(CALIBRATE);
    let path = folder.path().join("p");
    let place = path.to_str().unwrap();
    json(
        &[&["init", place, "--model", MODEL, "--evaluate", EVALUATE, "--calibrate", data.to_str().unwrap()], &PREPROCESS[..]]
            .concat(),
    );
    let kl = |answer: &serde_json::Value| answer["recipes"][0]["fidelity"]["kl_mean"].as_f64().unwrap();
    let reports = || fs::read_dir(path.join("reports")).unwrap().count();
    let first = kl(&json(&["compare", place, "int8", "--limit", "60"]));
    assert_eq!(
        (kl(&json(&["compare", place, "int8", "--limit", "60"])), reports()),
        (first, 1),
        "a report that holds is used again"
    );
    take(EVALUATE);
    assert_ne!(kl(&json(&["compare", place, "int8", "--limit", "60"])), first);
    assert_eq!(reports(), 2);
}

#[test]
fn a_map_a_search_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = project(folder.path());
    let place = path.to_str().unwrap();
    let map = json(&["sensitivity", place, "--bits", "2,4", "--limit", "16"]);
    assert_eq!((map["method"].as_str(), map["samples"].as_u64(), map["measured"].as_u64()), (Some("exact"), Some(16), Some(24)));
    let scores = &map["layers"][0]["scores"];
    assert!(scores["2"]["kl"].as_f64().unwrap() > scores["4"]["kl"].as_f64().unwrap());
    assert!(scores["4"]["sqnr_db"].as_f64().unwrap() > 0.0);
    let fast = json(&["sensitivity", place, "--fast", "--bits", "4", "--limit", "40"]);
    assert_eq!((&fast["method"], &fast["samples"]), (&"fast".into(), &fast["layers"][0]["scores"]["4"]["samples"]));
    fails(2, &["search", place], &["--max-bytes"]);
    fails(2, &["search", place, "--max-ratio", "0.2", "--max-drop", "1"], &["--max-drop"]);
    fails(1, &["search", place, "--max-bytes", "500", "--limit", "16"], &["no plan is so small"]);
    let calls = ["search", place, "--max-ratio", "0.2", "--max-evaluations", "3", "--limit", "16", "--bits", "2,4,8"];
    let found = json(&[&calls[..], &["--name", "small"]].concat());
    let chosen = &found["chosen"];
    assert_eq!((chosen["recipe"].as_str(), chosen["keeps"].as_bool()), (Some("small"), Some(true)));
    assert!(found["evaluations"].as_u64().unwrap() <= 3 && !found["frontier"].as_array().unwrap().is_empty());
    assert_eq!(json(&["plan", place, "--recipe", "small"])["bytes"], chosen["bytes"]);
    assert_eq!((found["units"]["size"].as_str(), found["frontier"][0]["size"].is_u64()), (Some("bytes"), true));
    // What was found before may be found again; what a person wrote and presets stay.
    assert_eq!(json(&[&calls[..], &["--name", "small"]].concat())["chosen"]["recipe"], "small");
    fails(2, &[&calls[..], &["--name", "w4"]].concat(), &["w4"]);
    let recipes = path.join("recipes");
    let written = Recipe::new("mine", Treatment::UNCHANGED).to_ron().unwrap();
    fs::write(recipes.join("mine.ron"), &written).unwrap();
    fails(2, &[&calls[..], &["--name", "mine"]].concat(), &["mine"]);
    assert_eq!(fs::read_to_string(recipes.join("mine.ron")).unwrap(), written);
    let page = folder.path().join("page.html");
    let compared = json(&["compare", place, "fp32", "w4", "small", "--limit", "60", "--html", page.to_str().unwrap()]);
    assert_eq!((compared["pairs"].as_array().unwrap().len(), compared["confusion"].as_array().unwrap().len()), (3, 3));
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("data:image/png;base64,") && html.contains("<svg") && html.contains("McNemar"));
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"), "it needs nothing else");
    let cost = json(&["cost", place, "--recipe", "w4"]);
    assert!(cost["layers"][0]["slow"].as_str().unwrap().contains("no fast kernel"));
}
