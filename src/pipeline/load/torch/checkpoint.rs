//! What of a saved object is weights: the tensors of its dictionaries and modules by dotted names.

use super::pickle::{Heap, Object, Unpickled, Value};
use super::tensors::{Found, View, find};
use std::collections::BTreeMap;

/// Dictionaries within dictionaries.
const DEPTH_LIMIT: usize = 64;
/// Values looked at: a value that is reached in many ways counts each time.
const VISIT_LIMIT: usize = 1 << 21;
/// Names that people give to the dictionary that holds the weights: no part of a weight's name.
const WRAPPERS: [&str; 12] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "params_ema",
    "state",
    "model_ema",
];
/// What a module keeps its weights and its parts in.
const OF_MODULES: [&str; 3] = ["_parameters", "_buffers", "_modules"];
/// What data-parallel training puts before every name.
const PARALLEL: &str = "module.";

/// A saved object, taken apart.
#[derive(Default)]
pub(super) struct Checkpoint<'a> {
    /// In order of the names; of several of one name the last.
    pub(super) tensors: Vec<(String, View<'a>)>,
    /// Tensors that cannot be read, and why.
    pub(super) unsupported: Vec<(String, String)>,
    /// State of the training that was passed by.
    pub(super) aside: Vec<String>,
}

impl<'a> Checkpoint<'a> {
    /// # Errors
    /// When a tensor's description makes no sense, or the object is nested without end.
    pub(super) fn of(unpickled: &Unpickled<'a>) -> Result<Self, String> {
        let mut walk = Walk { heap: &unpickled.heap, visits: 0, found: BTreeMap::new(), out: Self::default() };
        walk.visit(unpickled.value, &mut Vec::new(), 0)?;
        let Walk { found, mut out, .. } = walk;
        let skipped = wrapped(&found);
        out.tensors = found.into_iter().map(|(path, view)| (path[skipped..].join("."), view)).collect();
        if out.tensors.iter().all(|(name, _)| name.len() > PARALLEL.len() && name.starts_with(PARALLEL)) {
            for (name, _) in &mut out.tensors {
                name.drain(..PARALLEL.len());
            }
        }
        Ok(out)
    }
}

/// How many of the first parts are the same in all paths and only name the dictionary of weights.
fn wrapped(found: &BTreeMap<Vec<String>, View<'_>>) -> usize {
    let Some(first) = found.keys().next() else { return 0 };
    let shared = |depth: usize| {
        let part = &first[depth];
        WRAPPERS.contains(&part.as_str()) && found.keys().all(|path| path.len() > depth + 1 && path[depth] == *part)
    };
    (0..first.len()).take_while(|depth| shared(*depth)).count()
}

struct Walk<'h, 'a> {
    heap: &'h Heap<'a>,
    visits: usize,
    found: BTreeMap<Vec<String>, View<'a>>,
    out: Checkpoint<'a>,
}

impl<'a> Walk<'_, 'a> {
    fn visit(&mut self, value: Value<'a>, path: &mut Vec<String>, depth: usize) -> Result<(), String> {
        self.visits += 1;
        if self.visits > VISIT_LIMIT || depth > DEPTH_LIMIT {
            return Err("its dictionaries are nested without end".to_owned());
        }
        match find(self.heap, value).map_err(|reason| format!("\"{}\": {reason}", path.join(".")))? {
            Found::Tensor(view) => {
                self.found.insert(path.clone(), view);
                return Ok(());
            }
            Found::Unsupported(reason) => {
                self.out.unsupported.push((path.join("."), reason));
                return Ok(());
            }
            Found::Else => {}
        }
        match self.heap.object(value) {
            Some(Object::Dict(pairs)) => self.pairs(pairs, path, depth),
            Some(Object::Tuple(all) | Object::List(all)) => {
                for (index, inner) in all.iter().enumerate().filter(|(_, v)| matches!(v, Value::Object(_))) {
                    self.within(index.to_string(), *inner, path, depth)?;
                }
                Ok(())
            }
            Some(Object::Call { state, items, .. }) => {
                self.pairs(items, path, depth)?;
                self.state(*state, path, depth)
            }
            _ => Ok(()),
        }
    }

    fn within(&mut self, name: String, value: Value<'a>, path: &mut Vec<String>, depth: usize) -> Result<(), String> {
        path.push(name);
        let result = self.visit(value, path, depth + 1);
        path.pop();
        result
    }

    fn pairs(&mut self, pairs: &[(Value<'a>, Value<'a>)], path: &mut Vec<String>, depth: usize) -> Result<(), String> {
        // What lies beside weights in one dictionary is weights as well, whatever its name.
        let of_weights = pairs
            .iter()
            .any(|(key, value)| !is_training_state(&name_of(*key)) && matches!(find(self.heap, *value), Ok(Found::Tensor(_))));
        for (key, value) in pairs.iter().filter(|(_, v)| matches!(v, Value::Object(_))) {
            let name = name_of(*key);
            if !of_weights && is_training_state(&name) {
                let whole = path.iter().chain([&name]).map(String::as_str).collect::<Vec<_>>().join(".");
                self.out.aside.push(whole);
                continue;
            }
            self.within(name, *value, path, depth)?;
        }
        Ok(())
    }

    /// The state of an object: of a module its weights and parts, else all of it.
    fn state(&mut self, state: Value<'a>, path: &mut Vec<String>, depth: usize) -> Result<(), String> {
        let Some(Object::Dict(pairs)) = self.heap.object(state) else { return Ok(()) };
        let of_module = |key: &Value<'_>| matches!(key, Value::Text(name) if OF_MODULES.contains(name));
        if !pairs.iter().any(|(key, _)| of_module(key)) {
            return self.pairs(pairs, path, depth);
        }
        for (_, value) in pairs.iter().filter(|(key, _)| of_module(key)) {
            self.visit(*value, path, depth + 1)?;
        }
        Ok(())
    }
}

fn name_of(key: Value<'_>) -> String {
    match key {
        Value::Text(text) => text.to_owned(),
        Value::Int(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        _ => "?".to_owned(),
    }
}

/// Whether a part of a checkpoint is of use for going on with the training alone.
fn is_training_state(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let starts = ["optim", "lr_sched", "amp", "scaler", "grad_scaler"];
    starts.iter().any(|s| name.starts_with(s))
        || ["optimizer", "scheduler", "rng_state"].iter().any(|s| name.contains(s))
        || matches!(name.as_str(), "callbacks" | "loops")
}
