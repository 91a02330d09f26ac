//! Attributes and constant shapes that count channels, put right after a cut.

use super::atoms::Atom;
use super::cut::Gone;
use super::rules::{Grouped, grouped};
use super::trace::Axis;
use crate::engine::graph::{Attribute, GraphError, Model, Node, Wire, slice_places};
use crate::engine::tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Puts every node right that counts what is gone.
pub(super) fn nodes(model: &mut Model, gone: &Gone<'_>) -> std::result::Result<(), GraphError> {
    let mut nodes = std::mem::take(&mut model.nodes);
    let mut editor = Editor { model, gone, new: BTreeMap::new() };
    for node in &mut nodes {
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        if standard && editor.touched(node) {
            editor.node(node).map_err(|reason| GraphError::Patch {
                label: "cut channels".to_owned(),
                reason: format!("\"{}\" ({}): {reason}", node.label(), node.op),
            })?;
        }
    }
    let new = editor.new;
    model.nodes = nodes;
    model.constants.extend(new);
    Ok(())
}

struct Editor<'a> {
    model: &'a Model,
    gone: &'a Gone<'a>,
    new: BTreeMap<Wire, Tensor>,
}

type Result<T> = std::result::Result<T, String>;

impl Editor<'_> {
    fn touched(&self, node: &Node) -> bool {
        let wires = node.inputs.iter().chain(&node.outputs).flatten();
        wires.flat_map(|wire| self.gone.axes(wire)).any(|axis| self.gone.kept(axis).is_some())
    }

    fn node(&mut self, node: &mut Node) -> Result<()> {
        match node.op.as_str() {
            "Conv" | "ConvTranspose" => {
                self.groups(node);
                Ok(())
            }
            "Reshape" => self.sizes(node, "shape", 1, None),
            "Expand" => self.sizes(node, "", 1, None),
            "Resize" => {
                let axes = node.ints("axes").map(<[i64]>::to_vec);
                self.sizes(node, "", 3, axes.as_deref())
            }
            "Split" => self.split(node),
            "Slice" => self.slice(node),
            "Gather" => self.gather(node),
            "Pad" => self.pad(node),
            _ => Ok(()),
        }
    }

    fn axis(&self, wire: Option<&Wire>, at: usize) -> Option<Arc<[Atom]>> {
        self.gone.axes(wire?).get(at)?.clone()
    }

    fn groups(&self, node: &mut Node) {
        let groups = node.int("group").unwrap_or(1).max(1) as usize;
        let (Some(read), Some(weight)) = (self.axis(node.input(0), 1), node.input(1)) else { return };
        let dims: Vec<usize> = self.gone.axes(weight).iter().take(2).map(|a| a.as_ref().map_or(0, |a| a.len())).collect();
        let &[rows, columns] = dims.as_slice() else { return };
        let (inputs, outputs) = if node.op == "Conv" { (columns, rows / groups) } else { (rows / groups, columns) };
        if groups > 1 && inputs > 0 && grouped(groups, inputs, outputs) == Grouped::Whole {
            let left = self.gone.left(&read) / inputs;
            node.attributes.insert("group".to_owned(), Attribute::Int(left as i64));
        }
    }

    /// The whole numbers that a node is given as an attribute or a constant.
    fn given(&self, node: &Node, name: &str, index: usize) -> Option<Vec<i64>> {
        match node.ints(name) {
            Some(values) => Some(values.to_vec()),
            None => self.model.constants.get(node.input(index)?)?.to_i64().ok(),
        }
    }

    /// Gives them anew, where they were; what was left out becomes an input.
    fn give(&mut self, node: &mut Node, name: &str, index: usize, values: &[i64]) -> Result<()> {
        if node.ints(name).is_some() {
            node.attributes.insert(name.to_owned(), Attribute::Ints(values.to_vec()));
            return Ok(());
        }
        let old = node.input(index).cloned();
        let dtype = old.as_ref().and_then(|w| self.model.constants.get(w)).map_or(DType::I64, Tensor::dtype);
        let tensor = Tensor::from_integers(dtype, vec![values.len()], values).map_err(|e| e.to_string())?;
        let stem = old.map_or_else(|| format!("{}_{index}", node.label()), |w| w.to_string());
        let mut name = format!("{stem}_cut_{}", node.id.0);
        while self.model.constants.contains_key(name.as_str()) || self.model.facts.contains_key(name.as_str()) {
            name.push('_');
        }
        let wire = Wire::from(name);
        self.new.insert(wire.clone(), tensor);
        if node.inputs.len() <= index {
            node.inputs.resize(index + 1, None);
        }
        if let Some(slot) = node.inputs.get_mut(index) {
            *slot = Some(wire);
        }
        Ok(())
    }

    /// A target shape: entries of axes that lose channels, where they are numbers and not 0 or −1. `axes` are
    /// those that the entries stand for, where that is not all.
    fn sizes(&mut self, node: &mut Node, name: &str, index: usize, axes: Option<&[i64]>) -> Result<()> {
        let Some(mut values) = self.given(node, name, index) else { return Ok(()) };
        let Some(output) = node.output(0) else { return Ok(()) };
        let all = self.gone.axes(output);
        let mut changed = false;
        for (entry, value) in values.iter_mut().enumerate() {
            let at = match axes {
                Some(axes) => axes.get(entry).map(|a| if *a < 0 { a + all.len() as i64 } else { *a }),
                None => Some(entry as i64),
            };
            let axis: Option<&Axis> = at.and_then(|a| all.get(usize::try_from(a).ok()?));
            if let (Some(kept), 1..) = (axis.and_then(|axis| self.gone.kept(axis)), *value) {
                *value = kept.len() as i64;
                changed = true;
            }
        }
        if changed { self.give(node, name, index, &values) } else { Ok(()) }
    }

    fn along(node: &Node, rank: usize) -> Option<usize> {
        let axis = node.int("axis").unwrap_or(0);
        usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()
    }

    fn split(&mut self, node: &mut Node) -> Result<()> {
        let rank = node.input(0).map_or(0, |w| self.gone.axes(w).len());
        let Some(along) = Self::along(node, rank) else { return Ok(()) };
        let parts = node.outputs.iter().map(|w| self.axis(w.as_ref(), along).map(|a| (self.gone.left(&a), a.len())));
        let Some(parts) = parts.collect::<Option<Vec<(usize, usize)>>>() else { return Ok(()) };
        let same = |parts: &[usize]| parts.windows(2).all(|pair| pair[0] == pair[1]);
        let left: Vec<usize> = parts.iter().map(|(left, _)| *left).collect();
        if parts.iter().all(|(left, all)| left == all) || self.given(node, "split", 1).is_none() && same(&left) {
            return Ok(());
        }
        let sizes: Vec<i64> = left.iter().map(|n| *n as i64).collect();
        node.attributes.remove("num_outputs");
        if self.model.opset() < 13 {
            node.attributes.insert("split".to_owned(), Attribute::Ints(sizes));
            return Ok(());
        }
        self.give(node, "split", 1, &sizes)
    }

    fn slice(&mut self, node: &mut Node) -> Result<()> {
        let (Some(mut starts), Some(mut ends)) = (self.given(node, "starts", 1), self.given(node, "ends", 2)) else {
            return Ok(());
        };
        let rank = node.input(0).map_or(0, |w| self.gone.axes(w).len()) as i64;
        let axes = self.given(node, "axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
        let mut changed = false;
        for (i, axis) in axes.iter().enumerate() {
            let at = usize::try_from(if *axis < 0 { axis + rank } else { *axis }).unwrap_or(usize::MAX);
            let Some(atoms) = self.axis(node.input(0), at) else { continue };
            let (Some(start), Some(end)) = (starts.get_mut(i), ends.get_mut(i)) else { continue };
            let places = slice_places(*start, *end, 1, atoms.len())?;
            let (first, count) = (places.clone().next().unwrap_or(0), places.len());
            let before = self.gone.left(atoms.get(..first).unwrap_or_default());
            let within = self.gone.left(atoms.get(first..first + count).unwrap_or_default());
            if self.gone.left(&atoms) < atoms.len() {
                (*start, *end) = (before as i64, (before + within) as i64);
                changed = true;
            }
        }
        if changed {
            self.give(node, "starts", 1, &starts)?;
            self.give(node, "ends", 2, &ends)?;
        }
        Ok(())
    }

    /// Numbers of channels that are left, as they are counted after the cut.
    fn gather(&mut self, node: &mut Node) -> Result<()> {
        let rank = node.input(0).map_or(0, |w| self.gone.axes(w).len());
        let Some(atoms) = Self::along(node, rank).and_then(|at| self.axis(node.input(0), at)) else { return Ok(()) };
        let Some(kept) = self.gone.kept(&Some(atoms.clone())) else { return Ok(()) };
        let Some(indices) = self.given(node, "", 1) else { return Ok(()) };
        let wrap = |i: i64| usize::try_from(if i < 0 { i + atoms.len() as i64 } else { i }).ok();
        let left: Vec<i64> =
            indices.iter().filter_map(|i| kept.binary_search(&wrap(*i)?).ok()).map(|place| place as i64).collect();
        self.give(node, "", 1, &left)
    }

    fn pad(&mut self, node: &mut Node) -> Result<()> {
        let (Some(mut pads), Some(input)) = (self.given(node, "pads", 1), node.input(0)) else { return Ok(()) };
        let rank = self.gone.axes(input).len();
        if pads.len() != 2 * rank || node.input(3).is_some() {
            return Ok(());
        }
        let mut changed = false;
        for at in 0..rank {
            let Some(atoms) = self.axis(node.output(0), at) else { continue };
            let before = usize::try_from(pads[at]).unwrap_or(0);
            let behind = atoms.len().saturating_sub(usize::try_from(pads[at + rank]).unwrap_or(0));
            let left = |atoms: Option<&[Atom]>| self.gone.left(atoms.unwrap_or_default()) as i64;
            let new = (left(atoms.get(..before)), left(atoms.get(behind..)));
            changed |= new != (pads[at], pads[at + rank]);
            (pads[at], pads[at + rank]) = new;
        }
        if changed { self.give(node, "pads", 1, &pads) } else { Ok(()) }
    }
}
