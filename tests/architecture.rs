//! The walls of the house, held by reading every import.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Module → what it may import of this crate. The longest prefix of a file's module decides.
const WALLS: &[(&str, &[&str])] = &[
    ("engine::context", &["engine"]),
    ("engine::units", &[]),
    ("engine::hash", &[]),
    ("engine::coding", &["engine::coding", "engine::random"]),
    ("engine::random", &[]),
    ("engine::kernels", &["engine::kernels", "engine::random"]),
    // A stored tensor may be made of blocks.
    ("engine::tensor", &["engine::tensor", "engine::formats::blocks"]),
    (
        "engine::formats",
        &[
            "engine::formats",
            "engine::kernels",
            "engine::random",
            "engine::tensor::MiniFloat",
            "engine::tensor::Overflow",
            "engine::Ctx",
            "engine::Cancelled",
            "engine::context",
        ],
    ),
    ("engine::graph", &["engine::graph", "engine::formats", "engine::tensor"]),
    ("engine::exec", &["engine"]),
    ("pipeline::load", &["engine", "pipeline::load"]),
    ("pipeline::configure", &["engine", "pipeline::load", "pipeline::configure"]),
    ("pipeline::calibrate", &["engine", "pipeline::load", "pipeline::configure", "pipeline::calibrate"]),
    ("pipeline::compress", &["engine", "pipeline::load", "pipeline::configure", "pipeline::calibrate", "pipeline::compress"]),
    // Evaluation imports no technique.
    ("pipeline::evaluate", &["engine", "pipeline::load", "pipeline::configure", "pipeline::calibrate", "pipeline::evaluate"]),
    // Comparison holds no tensors: of the engine it needs nothing.
    ("pipeline::compare", &["pipeline::evaluate", "pipeline::compare"]),
    ("pipeline::export", &["engine", "pipeline::load", "pipeline::configure", "pipeline::compress", "pipeline::export"]),
    ("pipeline::search", &["engine", "pipeline"]),
    (
        "workbench::project",
        &["engine::hash", "pipeline::load", "pipeline::configure", "pipeline::evaluate", "workbench::project"],
    ),
    // Jobs know nothing of what they compute.
    ("workbench::jobs", &["engine::context", "engine::Ctx", "engine::Warning", "engine::Cancelled", "workbench::jobs"]),
    ("workbench::work", &["engine", "pipeline", "workbench::project"]),
    ("workbench::share", &["engine", "pipeline", "workbench::work"]),
    ("workbench::explore", &["engine", "pipeline", "workbench::project", "workbench::work"]),
    // The sample is what the two are tested on.
    ("workbench::activations", &["engine", "pipeline", "workbench::work", "workbench::sample"]),
    ("workbench::preflight", &["engine", "pipeline", "workbench::work", "workbench::sample"]),
    ("workbench::importance", &["engine", "pipeline", "workbench::work"]),
    ("workbench::zipped", &["engine"]),
    ("workbench::sample", &["engine", "pipeline", "workbench::project", "workbench::sample"]),
    ("workbench::conformance", &["engine", "pipeline::load", "workbench::conformance"]),
    (
        "workbench::cli",
        &[
            "engine",
            "pipeline",
            "workbench::project",
            "workbench::work",
            "workbench::explore",
            "workbench::sample",
            "workbench::conformance",
            "workbench::cli",
            "workbench::ui",
        ],
    ),
    ("workbench::ui", &["engine", "pipeline", "workbench"]),
];

/// External crate → the only modules that may name it.
const KEEPERS: &[(&str, &[&str])] = &[
    ("candle_core", &["engine::tensor", "engine::exec", "workbench::sample"]),
    ("memmap2", &["engine::tensor"]),
    ("constriction", &["engine::coding"]),
    ("prost", &["pipeline::load::onnx"]),
    ("eframe", &["workbench::ui"]),
    ("egui_plot", &["workbench::ui"]),
    ("egui_tiles", &["workbench::ui"]),
    ("egui_extras", &["workbench::ui"]),
    ("rfd", &["workbench::ui"]),
    ("clap", &["workbench::cli"]),
    // With the space before it, or every `report::` would be one.
    (" ort", &["workbench::work::runtime"]),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// `src/engine/graph/patch.rs` → `engine::graph::patch`.
fn module(path: &Path, src: &Path) -> String {
    let relative = path.strip_prefix(src).unwrap().with_extension("");
    let parts: Vec<String> = relative.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("::").trim_end_matches("::mod").to_owned()
}

fn lies_in(name: &str, prefix: &str) -> bool {
    name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("::"))
}

/// Every path that starts with `crate::`, wherever it is written.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            // `pub(in crate::engine)` says who may look in, not what is used.
            if line[..at].ends_with("(in ") {
                continue;
            }
            let rest = &line[at + "crate::".len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            found.push(format!("{}{}", &rest[..end], if rest[end..].starts_with('{') { "{" } else { "" }));
        }
    }
    found
}

fn all() -> Vec<(String, String, PathBuf)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 40, "the sources were not found");
    files.into_iter().map(|f| (module(&f, &src), fs::read_to_string(&f).unwrap(), f)).collect()
}

#[test]
fn dependencies_point_down() {
    let mut breaches = Vec::new();
    for (name, text, file) in all() {
        let Some((_, allowed)) = WALLS.iter().filter(|(m, _)| lies_in(&name, m)).max_by_key(|(m, _)| m.len()) else {
            assert!(
                ["lib", "main", "engine", "pipeline", "workbench"].contains(&name.as_str()),
                "{name} has no wall: add it to WALLS"
            );
            continue;
        };
        for path in crate_paths(&text) {
            let path = path.trim_end_matches(':');
            if path.starts_with('{') || path.is_empty() {
                breaches.push(format!("{}: write `use crate::a::b` in full, not `use crate::{{…}}`", file.display()));
            } else if !allowed.iter().any(|a| lies_in(path.trim_end_matches("::{"), a)) {
                breaches.push(format!("{}: {name} must not use {path}", file.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn each_library_has_its_keepers() {
    let mut breaches = Vec::new();
    for (name, text, file) in all() {
        for (library, keepers) in KEEPERS {
            let names_it =
                text.lines().filter(|l| !l.trim_start().starts_with("//")).any(|l| l.contains(&format!("{library}::")));
            if names_it && !keepers.iter().any(|k| lies_in(&name, k)) {
                breaches.push(format!("{}: {library} belongs to {}", file.display(), keepers.join(", ")));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn refusals_are_told_apart_from_faults() {
    let mut breaches = Vec::new();
    for (name, text, file) in all().into_iter().filter(|(name, ..)| lies_in(name, "engine::exec::ops")) {
        // `fail("…")` may be broken over lines: the text belongs to the call that opened last.
        let mut call = "";
        for (number, line) in text.lines().enumerate() {
            for word in ["unsupported(", "fail("] {
                call = if line.contains(word) { word } else { call };
            }
            if line.contains("not supported") && line.contains('"') && call == "fail(" {
                breaches.push(format!("{}:{}: {name}: say it with `unsupported(…)`", file.display(), number + 1));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_places() {
    for (name, text, file) in all() {
        let allowed = lies_in(&name, "engine::kernels") || name == "engine::tensor";
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let found = code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl");
            assert!(allowed || !found, "{}:{}: unsafe code", file.display(), number + 1);
        }
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    for (_, text, file) in all() {
        let lines = text.lines().count();
        assert!(lines <= 560, "{} has {lines} lines: split it", file.display());
    }
}

#[test]
fn the_top_level_is_as_agreed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "assets",
        "projects",
        "src",
        "tests",
        "target",
        "scratch",
    ];
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || known.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}
