//! The model as a network of boxes: what it is made of, and the drawing of it with some of its blocks closed.

use super::graph::blocks::{Blocks, Title};
use super::graph::find::Sheet;
use super::graph::fold::{Folded, Shown, fold};
use super::graph::geometry::Size;
use super::graph::layout::draw;
use super::text::tr;
use crate::engine::graph::{Fact, GraphError, Model, Wire, producers, reads, topological};
use crate::pipeline::load::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Width of a letter and what a box has beside its text, in points.
const LETTER: f32 = 6.6;
const MARGIN: f32 = 22.0;
const WIDTHS: (f32, f32) = (64.0, 236.0);
const LINE: f32 = 16.0;
/// Letters of a name that are shown.
const LONGEST: usize = 32;

/// What a box does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// Takes in what the person feeds.
    Input,
    /// Gives out what the network finds.
    Output,
    /// An operator of the format.
    Op(String),
}

impl Does {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Input => tr!("graph-input"),
            Self::Output => tr!("graph-output"),
            Self::Op(name) => name,
        }
    }
}

/// A node as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Box {
    pub does: Does,
    /// The name of its layer, else its own, else that of the wire that it makes.
    pub name: String,
    /// The layer that it computes.
    pub layer: Option<usize>,
}

/// What a model is made of, in topological order.
#[derive(Debug, Default)]
pub struct Network {
    pub nodes: Vec<Box>,
    pub wires: Vec<(usize, usize)>,
    /// Shapes of the tensors on the wires.
    pub shapes: Vec<String>,
    pub blocks: Blocks,
    /// The node of each layer.
    node_of: BTreeMap<usize, usize>,
}

/// A drawing of it.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub network: Arc<Network>,
    pub closed: BTreeSet<usize>,
    pub folded: Folded,
    pub sheet: Sheet,
}

impl Network {
    /// # Errors
    /// When the graph is not valid.
    pub fn of(subject: &Subject) -> Result<Self, GraphError> {
        let model = &*subject.folded;
        let order = topological(model)?;
        let layer_of: BTreeMap<usize, usize> =
            subject.layers.iter().enumerate().filter_map(|(i, l)| Some((l.node?.0, i))).collect();
        let mut found = Self::default();
        let mut place: BTreeMap<usize, usize> = BTreeMap::new();
        // What the person feeds comes first.
        let mut ports = BTreeMap::new();
        for port in model.inputs.iter().filter(|p| !model.constants.contains_key(&p.wire)) {
            ports.insert(port.wire.clone(), found.add(Does::Input, &port.wire, None));
        }
        for &index in &order {
            let node = &model.nodes[index];
            let made = node.output(0).map_or("", |w| w);
            let layer = layer_of.get(&node.id.0).copied();
            let own = layer.and_then(|l| subject.layers.get(l)).map(|l| l.name.as_str());
            let name = own.unwrap_or(if node.name.is_empty() { made } else { &node.name });
            let at = found.add(Does::Op(node.op.clone()), name, layer);
            found.node_of.extend(layer.map(|layer| (layer, at)));
            place.insert(index, at);
        }
        let makers = producers(model);
        let source =
            |wire: &Wire| -> Option<usize> { makers.get(wire).and_then(|m| place.get(m)).or_else(|| ports.get(wire)).copied() };
        for &index in &order {
            let Some(&to) = place.get(&index) else { continue };
            for wire in reads(&model.nodes[index]) {
                if let Some(from) = source(&wire) {
                    found.wires.push((from, to));
                    found.shapes.push(shape_of(model, &wire));
                }
            }
        }
        for port in &model.outputs {
            if let Some(from) = source(&port.wire) {
                let to = found.add(Does::Output, &port.wire, None);
                found.wires.push((from, to));
                found.shapes.push(shape_of(model, &port.wire));
            }
        }
        let names: Vec<&str> = found.nodes.iter().map(|n| n.name.as_str()).collect();
        found.blocks = Blocks::propose(&names, &found.wires);
        Ok(found)
    }

    fn add(&mut self, does: Does, name: &str, layer: Option<usize>) -> usize {
        self.nodes.push(Box { does, name: name.to_owned(), layer });
        self.nodes.len() - 1
    }

    /// The layers inside of a box.
    pub fn layers(&self, shown: Shown) -> impl Iterator<Item = usize> + '_ {
        let one = match shown {
            Shown::Node(node) => Some(node),
            Shown::Block(_) => None,
        };
        let inside = match shown {
            Shown::Block(block) => self.blocks.nodes(block),
            Shown::Node(_) => &[],
        };
        one.into_iter().chain(inside.iter().copied()).filter_map(|node| self.nodes.get(node)?.layer)
    }

    /// What a box says: its kind, and its name.
    #[must_use]
    pub fn words(&self, shown: Shown) -> (String, String) {
        match shown {
            Shown::Node(node) => {
                self.nodes.get(node).map_or_else(Default::default, |n| (n.does.name().to_owned(), short(&n.name)))
            }
            Shown::Block(block) => {
                let title = self.blocks.blocks.get(block).map(|b| match &b.title {
                    Title::Path(path) => short(path),
                    Title::Between(first, last) if first.is_empty() && last.is_empty() => self.ends(block),
                    Title::Between(first, last) => short(&format!("{first} … {last}")),
                });
                (tr!("graph-block", count = self.blocks.nodes(block).len()), title.unwrap_or_default())
            }
        }
    }

    fn ends(&self, block: usize) -> String {
        let nodes = self.blocks.nodes(block);
        let op = |node: Option<&usize>| node.and_then(|n| self.nodes.get(*n)).map_or("", |n| n.does.name());
        format!("{} … {}", op(nodes.first()), op(nodes.last()))
    }

    /// Jobs draw, and jobs speak English: a box is as wide in every language.
    fn size(&self, shown: Shown) -> Size {
        let (kind, name) = self.words(shown);
        let letters = kind.chars().count().max(name.chars().count()) as f32;
        let lines = if name.is_empty() { 1.0 } else { 2.0 };
        Size { width: (letters * LETTER + MARGIN).clamp(WIDTHS.0, WIDTHS.1), height: 8.0 + lines * LINE }
    }
}

/// The end of a name tells more than its beginning.
fn short(name: &str) -> String {
    let letters = name.chars().count();
    if letters <= LONGEST {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(letters - LONGEST + 1).collect::<String>())
    }
}

fn shape_of(model: &Model, wire: &str) -> String {
    let port = || model.inputs.iter().chain(&model.outputs).find(|p| &*p.wire == wire).map(|p| &p.fact);
    let fact: Option<&Fact> = model.facts.get(wire).or_else(port);
    let shape = fact.and_then(|f| f.shape.as_ref());
    shape.map_or_else(String::new, |s| s.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"))
}

impl Drawn {
    /// Draws the network with blocks closed; those that should be at the start where none are given.
    #[must_use]
    pub fn new(network: Arc<Network>, closed: Option<BTreeSet<usize>>) -> Self {
        let closed = closed.unwrap_or_else(|| network.blocks.closed_at_start());
        let folded = fold(&network.blocks, &closed, &network.wires);
        let sizes: Vec<Size> = folded.boxes.iter().map(|shown| network.size(*shown)).collect();
        let sheet = Sheet::new(draw(&sizes, &folded.wires));
        Self { network, closed, folded, sheet }
    }

    /// The blocks that are closed once one is opened, or closed.
    #[must_use]
    pub fn toggled(&self, block: usize) -> BTreeSet<usize> {
        let mut closed = self.closed.clone();
        if !closed.remove(&block) {
            closed.insert(block);
        }
        closed
    }

    /// The innermost open block around a box.
    #[must_use]
    pub fn around(&self, shown: Shown) -> Option<usize> {
        let open = |block: &usize| !self.closed.contains(block);
        match shown {
            Shown::Node(node) => self.network.blocks.around(node).into_iter().rfind(open),
            Shown::Block(block) => self.network.blocks.blocks.get(block)?.parent.filter(open),
        }
    }

    /// The box in which a layer is seen.
    #[must_use]
    pub fn box_of(&self, layer: usize) -> Option<usize> {
        self.folded.box_of.get(*self.network.node_of.get(&layer)?).copied()
    }

    /// The boxes whose kind, name or nodes hold a word.
    #[must_use]
    pub fn matching(&self, word: &str) -> Vec<usize> {
        let word = word.to_lowercase();
        if word.is_empty() {
            return Vec::new();
        }
        let holds = |node: &usize| {
            let found = self.network.nodes.get(*node);
            found.is_some_and(|n| n.name.to_lowercase().contains(&word) || n.does.name().to_lowercase().contains(&word))
        };
        let fits = |shown: &Shown| match shown {
            Shown::Node(node) => holds(node),
            Shown::Block(block) => self.network.blocks.nodes(*block).iter().any(holds),
        };
        (0..self.folded.boxes.len()).filter(|at| fits(&self.folded.boxes[*at])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Ctx;
    use crate::workbench::{sample, work};

    #[test]
    fn the_samples_network_is_drawn_whole() {
        let folder = tempfile::tempdir().unwrap();
        let ctx = Ctx::new(1).unwrap();
        let (_, opened) = work::open(&sample::install(Some(folder.path())).unwrap(), &ctx).unwrap();
        let network = Arc::new(Network::of(&opened.subject).unwrap());
        assert_eq!(network.nodes.iter().filter(|n| n.layer.is_some()).count(), opened.subject.layers.len());
        assert_eq!((&network.nodes[0].does, network.wires.len()), (&Does::Input, network.shapes.len()));
        let drawn = Drawn::new(Arc::clone(&network), Some(BTreeSet::new()));
        assert_eq!(drawn.folded.boxes.len(), network.nodes.len());
        for layer in 0..opened.subject.layers.len() {
            let shown = drawn.folded.boxes[drawn.box_of(layer).unwrap()];
            assert_eq!(network.layers(shown).collect::<Vec<_>>(), [layer]);
        }
        assert!(!drawn.matching("conv").is_empty() && drawn.matching("").is_empty());
        if let Some(block) = (!network.blocks.blocks.is_empty()).then_some(0) {
            let closed = Drawn::new(network, Some(drawn.toggled(block)));
            assert!(closed.folded.boxes.len() < drawn.folded.boxes.len());
            assert_eq!(closed.toggled(block), BTreeSet::new());
        }
    }
}
