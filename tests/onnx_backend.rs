//! The operators against the vectors of the ONNX project's own backend tests. Needs the corpus:
//! `LAPIDARY_CORPUS`, else `../shared/data`; skips without.

use lapidary::engine::Ctx;
use lapidary::workbench::conformance::{self, Outcome};
use std::path::{Path, PathBuf};

/// Tests that ONNX Runtime passes and that pass here, at least.
const LEAST: usize = 960;

#[test]
fn operators_do_what_onnx_says() {
    let corpus = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let archive = corpus.join("onnx_backend_v1.20.0_dev.tar.gz");
    if !archive.is_file() {
        println!("skipped: the corpus is not here; set LAPIDARY_CORPUS");
        return;
    }
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(corpus.join("onnx_backend_v1.20.0_dev_index.json")).unwrap()).unwrap();
    let result = conformance::run(&archive, &Ctx::new(2).unwrap()).unwrap();
    println!("{} passed, {} failed, {} unsupported", result.passed(), result.failed(), result.unsupported());
    for test in &result.tests {
        if let Outcome::Failed(reason) = &test.outcome {
            println!("{}: {reason}", test.name);
        }
    }
    let sound = result.tests.iter().filter(|t| t.outcome == Outcome::Passed && index[&t.name]["ort"] == "pass").count();
    assert_eq!(result.failed(), 0, "wrong answers are worse than none");
    assert!(sound >= LEAST, "only {sound} of the tests that ONNX Runtime passes pass here");
}
