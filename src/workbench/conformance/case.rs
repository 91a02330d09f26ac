//! One test: its model on its data sets.

use super::compare::{Rule, compare};
use super::{Outcome, errata};
use crate::engine::Ctx;
use crate::engine::exec::{ExecError, Executor, Request, prepare};
use crate::engine::graph::{Dim, Model, Port, Wire};
use crate::engine::tensor::{DType, Tensor, Value};
use crate::pipeline::load::{self, onnx};
use std::path::{Path, PathBuf};

/// Why a test did not pass; an [`Outcome`] that is not `Passed`.
type Stopped = Outcome;

fn failed<T>(reason: impl Into<String>) -> Result<T, Stopped> {
    Err(Outcome::Failed(reason.into()))
}

fn unsupported<T>(reason: impl Into<String>) -> Result<T, Stopped> {
    Err(Outcome::Unsupported(reason.into()))
}

fn of_exec(error: &ExecError) -> Stopped {
    let reason = error.to_string();
    if error.is_unsupported() { Outcome::Unsupported(reason) } else { Outcome::Failed(reason) }
}

/// Runs the test in `folder`.
pub(super) fn run(folder: &Path, ctx: &Ctx) -> Outcome {
    check(folder, ctx).err().unwrap_or(Outcome::Passed)
}

fn check(folder: &Path, ctx: &Ctx) -> Result<(), Stopped> {
    let loaded = load::model(&folder.join("model.onnx"), ctx).map_err(|e| Outcome::Failed(e.to_string()))?;
    let model = prepare(&loaded.model).map_err(|e| Outcome::Failed(e.to_string()))?;
    let inputs: Vec<&Port> = model.inputs.iter().filter(|p| !model.constants.contains_key(&p.wire)).collect();
    for (kind, port) in inputs.iter().map(|p| ("input", *p)).chain(model.outputs.iter().map(|p| ("output", p))) {
        match &port.fact {
            // The format has no other way to say that a value is no tensor.
            fact if fact.dtype.is_none() && fact.shape.is_none() => {
                return unsupported(format!("{kind} \"{}\" is no tensor but a sequence, an optional or a map", port.wire));
            }
            fact => {
                if let Some(dtype @ DType::Other(_)) = fact.dtype {
                    return unsupported(format!("{kind} \"{}\" is of type {dtype}, which cannot be computed with", port.wire));
                }
            }
        }
    }
    let executor = Executor::new(&model, &Request::default()).map_err(|e| of_exec(&e))?;
    for set in data_sets(folder)? {
        check_set(&set, &model, &inputs, &executor, ctx)?;
    }
    Ok(())
}

/// The folders `test_data_set_*`, sorted.
fn data_sets(folder: &Path) -> Result<Vec<PathBuf>, Stopped> {
    let read = std::fs::read_dir(folder).map_err(|e| Outcome::Failed(format!("{}: {e}", folder.display())))?;
    let is_set =
        |path: &PathBuf| path.is_dir() && path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("test_data_set_"));
    let mut sets: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).filter(is_set).collect();
    sets.sort();
    Ok(sets)
}

fn check_set(set: &Path, model: &Model, inputs: &[&Port], executor: &Executor, ctx: &Ctx) -> Result<(), Stopped> {
    let mut feeds: Vec<(Wire, Value)> = Vec::new();
    for (i, port) in inputs.iter().enumerate() {
        let stored = tensor(&set.join(format!("input_{i}.pb")))?;
        match Value::from_stored(&stored) {
            Ok(value) => feeds.push((port.wire.clone(), value)),
            Err(e) if e.is_unknown_type() => return unsupported(format!("input \"{}\": {e}", port.wire)),
            Err(e) => return failed(format!("input \"{}\": {e}", port.wire)),
        }
    }
    let outputs = executor.run(&feeds, ctx, &mut |_, _| {}).map_err(|e| of_exec(&e))?;
    let test = set.parent().and_then(Path::file_name).map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let rule = Rule::of(model, errata::noise(&test));
    for (i, (wire, ours)) in outputs.iter().enumerate() {
        let expected = tensor(&set.join(format!("output_{i}.pb")))?;
        let wrong = |e: String| Outcome::Failed(format!("output \"{wire}\": {e}"));
        let stored = ours.to_stored().map_err(|e| wrong(e.to_string()))?;
        let expected = errata::corrected(&test, expected).map_err(|e| wrong(e.to_string()))?;
        compare(&stored, &expected, rule).map_err(wrong)?;
        let inferred = model.facts.get(wire).and_then(|f| f.shape.as_ref());
        let fits = |shape: &Vec<_>| {
            let known = |d: &Dim, n: &usize| d.known().is_none_or(|d| d == *n);
            shape.len() == stored.shape().len() && shape.iter().zip(stored.shape()).all(|(d, n)| known(d, n))
        };
        if inferred.is_some_and(|shape| !fits(shape)) {
            return failed(format!("output \"{wire}\": the inferred shape is not {:?}", stored.shape()));
        }
    }
    Ok(())
}

fn tensor(path: &Path) -> Result<Tensor, Stopped> {
    let bytes = std::fs::read(path).map_err(|e| Outcome::Failed(format!("{}: {e}", path.display())))?;
    let (_, tensor) = onnx::tensor_from_bytes(&bytes, path).map_err(|e| Outcome::Failed(e.to_string()))?;
    Ok(tensor)
}
