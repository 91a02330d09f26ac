//! What is opened, over the test corpus (`LAPIDARY_CORPUS`, else `../shared/data`). Where it is
//! absent these tests skip, and say so.

use lapidary::engine::Ctx;
use lapidary::pipeline::load;
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let place = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if place.join("models").is_dir() {
        return Some(place);
    }
    eprintln!("skipped: no test corpus at {} (set LAPIDARY_CORPUS)", place.display());
    None
}

fn files_with(extension: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files_with(extension, &entry));
        } else if entry.extension().is_some_and(|e| e == extension) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

#[test]
fn every_model_of_the_corpus_opens() {
    let Some(corpus) = corpus() else { return };
    for path in files_with("onnx", &corpus.join("models")) {
        let loaded = load::model(&path, &ctx()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(loaded.model.parameters() > 0, "{}", path.display());
        assert!(!loaded.model.nodes.is_empty());
        assert!(loaded.model.data_input().is_some());
        println!(
            "{} {} nodes {} parameters, opset {}",
            path.display(),
            loaded.model.nodes.len(),
            loaded.model.parameters(),
            loaded.model.opset()
        );
    }
    for path in files_with("safetensors", &corpus.join("models")) {
        let loaded = load::model(&path, &ctx()).unwrap();
        assert_eq!(loaded.format, load::Format::Safetensors);
        assert!(loaded.model.parameters() > 100_000 && loaded.model.nodes.is_empty());
    }
}
