//! A file of weights tied to the graph of the same network: the graph says how to run, the file with
//! which weights. Tensors find each other by name, else by values, else by a shape that nothing else
//! has; what could be meant in two ways is refused.

use super::{LoadError, LoadedModel};
use crate::engine::context::Ctx;
use crate::engine::graph::{Model, Wire, layers};
use crate::engine::tensor::{DType, Tensor, TensorError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// So many tensors are named in a message.
const NAMED: usize = 6;
/// Numbers of 16 bits that were made from one of 32 differ by less than this part of it.
const ROUNDED: f32 = 1.0 / 128.0;
/// Operators whose weights are no layers, but belong to the network as much.
const NORMS: [&str; 4] = ["BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"];

/// How a tensor of the file lies against its twin in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Straight,
    Transposed,
}

/// `graph` with the weights of `weights`.
///
/// # Errors
/// When `graph` has no graph or `weights` has one, when a weight of the graph has no counterpart in
/// the file or more than one, or when shapes or element types do not fit.
pub fn tie(weights: LoadedModel, graph: LoadedModel, ctx: &Ctx) -> Result<LoadedModel, LoadError> {
    let refuse = |reason: String| LoadError::Tie { weights: weights.path.clone(), graph: graph.path.clone(), reason };
    if weights.has_graph() {
        return Err(refuse("the first has a graph of its own; open it without another".to_owned()));
    }
    if !graph.has_graph() {
        return Err(refuse("the second holds no graph; name the network's ONNX file".to_owned()));
    }
    ctx.start(format!("Tying {} to its graph", weights.path.display()), 0);
    let mut knot = Knot::new(&weights.model, &graph.model);
    knot.by_name().map_err(refuse)?;
    knot.by_values(ctx)?;
    knot.by_shape().map_err(refuse)?;
    knot.check(&graph.model, &weights.path, ctx).map_err(refuse)?;
    let mut model = graph.model.clone();
    for (wire, (name, lie)) in &knot.tied {
        let (Some(ours), Some(theirs)) = (knot.file.get(name), knot.graph.get(wire)) else { continue };
        let fitted = fit(ours, theirs.dtype(), *lie).map_err(|e| refuse(format!("\"{name}\": {e}")))?;
        model.constants.insert((*wire).clone(), fitted);
    }
    let identity = weights.identity.with(&graph.identity);
    let externals = [weights.externals, vec![graph.path], graph.externals].concat();
    Ok(LoadedModel { identity, externals, model, source: graph.source, ..weights })
}

/// A tensor of the file as the graph reads it.
fn fit(tensor: &Tensor, dtype: DType, lie: Lie) -> Result<Tensor, TensorError> {
    let turned = if lie == Lie::Transposed { tensor.transposed()? } else { tensor.clone() };
    if turned.dtype() == dtype {
        return Ok(turned);
    }
    // Only to what holds every value that the file has.
    if dtype == DType::F32 && matches!(turned.dtype(), DType::F16 | DType::BF16) {
        return Tensor::from_f32(turned.shape().to_vec(), &turned.to_f32()?);
    }
    Err(TensorError::Type { dtype: turned.dtype(), wanted: "what the graph computes with" })
}

/// What stands before all names of one side, such as `model.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Prefix {
    None,
    OfFile(String),
    OfGraph(String),
}

struct Knot<'a> {
    file: BTreeMap<&'a Wire, &'a Tensor>,
    graph: BTreeMap<&'a Wire, &'a Tensor>,
    /// Wire of the graph → name in the file.
    tied: BTreeMap<&'a Wire, (&'a Wire, Lie)>,
    /// Names in the file that are spoken for.
    used: BTreeSet<&'a Wire>,
    by_shape: Vec<&'a Wire>,
}

impl<'a> Knot<'a> {
    fn new(file: &'a Model, graph: &'a Model) -> Self {
        // A single number is a constant of the arithmetic, no weight.
        let floats = |model: &'a Model| model.constants.iter().filter(|(_, t)| t.dtype().is_float() && t.len() > 1).collect();
        Self { file: floats(file), graph: floats(graph), tied: BTreeMap::new(), used: BTreeSet::new(), by_shape: Vec::new() }
    }

    fn tie(&mut self, wire: &'a Wire, name: &'a Wire, lie: Lie) {
        self.tied.insert(wire, (name, lie));
        self.used.insert(name);
    }

    fn by_name(&mut self) -> Result<(), String> {
        let prefix = self.prefix();
        let twin = |wire: &Wire| match &prefix {
            Prefix::None => self.file.get_key_value(wire),
            Prefix::OfFile(prefix) => self.file.get_key_value(&Wire::from(format!("{prefix}{wire}"))),
            Prefix::OfGraph(prefix) => self.file.get_key_value(&Wire::from(wire.strip_prefix(prefix.as_str())?)),
        };
        let pairs: Vec<(&Wire, &Wire, &Tensor, &Tensor)> = (self.graph.iter())
            .filter_map(|(wire, theirs)| twin(wire).map(|(name, ours)| (*wire, *name, *ours, *theirs)))
            .collect();
        let mut squares = Vec::new();
        let mut turned = false;
        for (wire, name, ours, theirs) in pairs {
            match (ours.shape(), theirs.shape()) {
                ([a, b], [c, d]) if a == b && c == d && a == c => squares.push((wire, name, ours, theirs)),
                (a, b) if a == b => self.tie(wire, name, Lie::Straight),
                ([a, b], [c, d]) if (a, b) == (d, c) => {
                    turned = true;
                    self.tie(wire, name, Lie::Transposed);
                }
                (a, b) => return Err(format!("\"{name}\" is {a:?} in the file and {b:?} in the graph")),
            }
        }
        for (wire, name, ours, theirs) in squares {
            let lie = match equal(ours, theirs) {
                Some(lie) => lie,
                None if !turned => Lie::Straight,
                // Other matrices lie across: this one may, and its shape does not tell.
                None => {
                    return Err(format!("\"{name}\" is square, and nothing tells whether it lies across, as other matrices do"));
                }
            };
            self.tie(wire, name, lie);
        }
        Ok(())
    }

    /// What one side puts before the names of the other, where no names are the same.
    fn prefix(&self) -> Prefix {
        if self.graph.keys().any(|wire| self.file.contains_key(*wire)) {
            return Prefix::None;
        }
        let before = |long: &str, short: &str| long.strip_suffix(short).filter(|p| p.ends_with('.')).map(str::to_owned);
        let mut counts: BTreeMap<Prefix, usize> = BTreeMap::new();
        for wire in self.graph.keys() {
            for name in self.file.keys() {
                let of_graph = || before(wire, name).map(Prefix::OfGraph);
                if let Some(prefix) = before(name, wire).map(Prefix::OfFile).or_else(of_graph) {
                    *counts.entry(prefix).or_default() += 1;
                }
            }
        }
        let most = counts.values().max().copied().unwrap_or(0);
        let mut best = counts.into_iter().filter(|(_, count)| *count == most).map(|(prefix, _)| prefix);
        match (best.next(), best.next()) {
            (Some(prefix), None) => prefix,
            _ => Prefix::None,
        }
    }

    /// Ties what holds the same numbers, straight or across.
    fn by_values(&mut self, ctx: &Ctx) -> Result<(), LoadError> {
        let open: Vec<(&Wire, &Tensor)> = self.open().collect();
        let mut used = Vec::new();
        for (wire, theirs) in open {
            ctx.check()?;
            let free = self.free().filter(|(_, ours)| same_class(ours.shape(), theirs.shape()));
            let twins: Vec<(&Wire, Lie)> = free.filter_map(|(name, ours)| Some((name, equal(ours, theirs)?))).collect();
            // Several twins hold the same numbers: any of them will do.
            if let Some((name, lie)) = twins.first() {
                self.tied.insert(wire, (name, *lie));
            }
            used.extend(twins.into_iter().map(|(name, _)| name));
        }
        // Not before: what the file holds once may lie twice in the graph.
        self.used.extend(used);
        Ok(())
    }

    /// Ties what has a shape that nothing else has, on either side.
    fn by_shape(&mut self) -> Result<(), String> {
        let open: Vec<(&Wire, &Tensor)> = self.open().collect();
        for (wire, theirs) in &open {
            let rivals = open.iter().filter(|(_, t)| same_class(t.shape(), theirs.shape())).count();
            let free: Vec<(&Wire, &Tensor)> = self.free().filter(|(_, t)| same_class(t.shape(), theirs.shape())).collect();
            let [(name, ours)] = free.as_slice() else { continue };
            if rivals > 1 {
                continue;
            }
            let lie = match ours.shape() {
                [a, b] if a == b => {
                    return Err(format!(
                        "\"{name}\" may be \"{wire}\" by its shape, but it is square: nothing tells which way it lies"
                    ));
                }
                shape if shape == theirs.shape() => Lie::Straight,
                _ => Lie::Transposed,
            };
            self.tie(wire, name, lie);
            self.by_shape.push(wire);
        }
        Ok(())
    }

    /// Constants of the graph without a counterpart yet.
    fn open(&self) -> impl Iterator<Item = (&'a Wire, &'a Tensor)> + '_ {
        self.graph.iter().filter(|(wire, _)| !self.tied.contains_key(*wire)).map(|(w, t)| (*w, *t))
    }

    /// Tensors of the file that nothing is tied to yet.
    fn free(&self) -> impl Iterator<Item = (&'a Wire, &'a Tensor)> + '_ {
        self.file.iter().filter(|(name, _)| !self.used.contains(*name)).map(|(w, t)| (*w, *t))
    }

    /// Makes sure that no weight of the graph stays behind, and says what does.
    fn check(&self, model: &Model, path: &Path, ctx: &Ctx) -> Result<(), String> {
        let weights = weights_of(model);
        let mut kept = Vec::new();
        for (wire, theirs) in self.open() {
            let rivals: Vec<&str> =
                self.free().filter(|(_, t)| same_class(t.shape(), theirs.shape())).map(|(n, _)| &**n).collect();
            if !rivals.is_empty() {
                return Err(format!(
                    "\"{wire}\" {:?} of the graph may be any of {}; give them the names of the graph",
                    theirs.shape(),
                    some(&rivals)
                ));
            }
            if weights.contains(wire) {
                return Err(format!("nothing in the file fits \"{wire}\" {:?} of the graph", theirs.shape()));
            }
            kept.push(&**wire);
        }
        let unused: Vec<&str> = self.free().map(|(name, _)| &**name).collect();
        let by_shape: Vec<&str> = self.by_shape.iter().map(|w| &***w).collect();
        if !unused.is_empty() && !by_shape.is_empty() {
            let reason = "is tied by shape alone, while the file holds more than the graph has";
            return Err(format!("{} {reason}: {}", some(&by_shape), some(&unused)));
        }
        let subject = path.display().to_string();
        if !by_shape.is_empty() {
            ctx.warn(
                subject.clone(),
                format!("tied to the graph by shape alone, as no names or values agree: {}", some(&by_shape)),
            );
        }
        if !kept.is_empty() {
            ctx.warn(subject.clone(), format!("not in the file, kept as the graph has them: {}", some(&kept)));
        }
        if !unused.is_empty() {
            ctx.warn(subject, format!("not in the graph, left out: {}", some(&unused)));
        }
        Ok(())
    }
}

/// Weights and biases of layers and of norms.
fn weights_of(model: &Model) -> BTreeSet<Wire> {
    let of_layers = layers(model).into_iter().flat_map(|l| [Some(l.weight), l.bias]).flatten();
    let norms = model.nodes.iter().filter(|n| NORMS.contains(&n.op.as_str()));
    of_layers.chain(norms.flat_map(|n| n.inputs.iter().skip(1).flatten().cloned())).collect()
}

/// Whether two shapes are the same, straight or across.
fn same_class(a: &[usize], b: &[usize]) -> bool {
    match (a, b) {
        ([a, b], [c, d]) => (a, b) == (c, d) || (a, b) == (d, c),
        _ => a == b,
    }
}

/// How both hold the same numbers, if they do. Across is asked only where straight does not hold.
fn equal(ours: &Tensor, theirs: &Tensor) -> Option<Lie> {
    let same_type = ours.dtype() == theirs.dtype();
    if same_type && ours.shape() == theirs.shape() && ours.bytes() == theirs.bytes() {
        return Some(Lie::Straight);
    }
    let (a, b) = (ours.to_f32().ok()?, theirs.to_f32().ok()?);
    let near = |x: f32, y: f32| x == y || !same_type && (x - y).abs() <= ROUNDED * y.abs().max(f32::MIN_POSITIVE);
    if ours.shape() == theirs.shape() && a.iter().zip(&b).all(|(x, y)| near(*x, *y)) {
        return Some(Lie::Straight);
    }
    let [rows, columns] = *ours.shape() else { return None };
    let across = theirs.shape() == [columns, rows]
        && b.chunks_exact(rows.max(1))
            .enumerate()
            .all(|(c, line)| line.iter().enumerate().all(|(r, y)| near(a[r * columns + c], *y)));
    across.then_some(Lie::Transposed)
}

/// `"a", "b" and 3 more`.
fn some(names: &[&str]) -> String {
    let named: Vec<String> = names.iter().take(NAMED).map(|n| format!("\"{n}\"")).collect();
    match names.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
