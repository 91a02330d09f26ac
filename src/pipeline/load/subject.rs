//! The model under the knife: as loaded, and as every recipe starts from it.

use super::imatrix::Importance;
use super::{LoadError, LoadedModel, families, onnx};
use crate::engine::exec;
use crate::engine::graph::structure::Left;
use crate::engine::graph::{GraphError, Layer, Model, groups, layers, passes};
use crate::engine::hash::of_bytes;
use std::sync::{Arc, OnceLock};

/// A network before channels or branches were cut out of it: what its layers are to give after as well.
#[derive(Debug)]
pub struct Whole {
    pub model: Arc<Model>,
    /// What the cut left of its constants.
    pub left: Left,
}

/// A loaded model with what each later stage would otherwise derive again. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Subject {
    pub loaded: Arc<LoadedModel>,
    /// Constants folded, shapes inferred, batch norm still in place: the reference.
    pub original: Arc<Model>,
    /// `original` with batch norm folded into the layers before it: what recipes change.
    pub folded: Arc<Model>,
    /// The layers of `folded`, in running order; of weights without a graph in the order of their names.
    pub layers: Arc<Vec<Layer>>,
    /// What a file says of how much the inputs of weights count; empty without one.
    pub importance: Arc<Importance>,
    /// Changes when `importance` does; empty without one.
    pub importance_key: Arc<str>,
    /// `folded` with its layers equalized, once somebody asked for it.
    equalized: Arc<OnceLock<Arc<Model>>>,
    /// `folded` as it was before channels were cut out of it; `None` where none were.
    pub whole: Option<Arc<Whole>>,
    /// What was done to `folded` besides: equalized, channels that are gone; empty where nothing was.
    pub change_key: Arc<str>,
}

impl Subject {
    /// # Errors
    /// When a pass finds the graph to be broken.
    pub fn new(loaded: LoadedModel) -> Result<Self, LoadError> {
        let graph = |source| LoadError::Graph { path: loaded.path.clone(), source };
        let original = exec::prepare(&loaded.model).map_err(graph)?;
        let folded = passes::fold_batch_norm(&original).map_err(graph)?;
        let layers = if loaded.has_graph() { layers(&folded) } else { families::layers(&folded) };
        Ok(Self {
            loaded: Arc::new(loaded),
            original: Arc::new(original),
            folded: Arc::new(folded),
            layers: Arc::new(layers),
            importance: Arc::default(),
            importance_key: Arc::default(),
            equalized: Arc::default(),
            whole: None,
            change_key: Arc::default(),
        })
    }

    /// The same with weights equalized across layers: what recipes change that ask for it. The layers are the same,
    /// with other values. Computed once.
    ///
    /// # Errors
    /// When the rewritten graph is not valid.
    pub fn equalized(&self) -> Result<Self, GraphError> {
        let model = match self.equalized.get() {
            Some(model) => Arc::clone(model),
            None => {
                let made = Arc::new(passes::infer_shapes(&passes::equalize(&self.folded)?));
                Arc::clone(self.equalized.get_or_init(|| made))
            }
        };
        Ok(Self { folded: model, change_key: format!("{} equalized", self.change_key).into(), ..self.clone() })
    }

    /// The same with high biases absorbed by the layers that come next.
    ///
    /// # Errors
    /// When the rewritten graph is not valid.
    pub fn absorbed(&self) -> Result<Self, GraphError> {
        let folded = Arc::new(passes::absorb_biases(&self.folded)?);
        Ok(Self { change_key: format!("{} absorbed", self.change_key).into(), ..self.on(&folded) })
    }

    /// The same with the network as a recipe prepared it in place of what recipes change.
    #[must_use]
    pub fn on(&self, folded: &Arc<Model>) -> Self {
        Self { folded: Arc::clone(folded), equalized: Arc::default(), ..self.clone() }
    }

    /// The same with `folded`, whose channels are of other sizes as `key` tells, in place of what recipes change.
    #[must_use]
    pub fn balanced(&self, folded: Model, key: &str) -> Self {
        Self { change_key: format!("{} balanced {key}", self.change_key).into(), ..self.on(&Arc::new(folded)) }
    }

    /// The same with `folded`, of which `left` is left and whose channels `key` tells of, in place of what recipes
    /// change. Channels are cut once; branches may have been left out before.
    #[must_use]
    pub fn cut(&self, folded: Model, left: Left, key: &str) -> Self {
        Self {
            layers: Arc::new(layers(&folded)),
            whole: Some(Arc::new(Whole { model: Arc::clone(self.whole.as_ref().map_or(&self.folded, |w| &w.model)), left })),
            folded: Arc::new(folded),
            change_key: format!("{} {key}", self.change_key).into(),
            equalized: Arc::default(),
            ..self.clone()
        }
    }

    /// Takes what a file says of how much the inputs of weights count.
    pub fn set_importance(&mut self, importance: Importance) {
        let mut bytes = Vec::new();
        for (name, means) in &importance {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend((means.len() as u64).to_le_bytes());
            bytes.extend(means.iter().flat_map(|mean| mean.to_le_bytes()));
        }
        self.importance_key = of_bytes(&bytes).into();
        self.importance = Arc::new(importance);
    }

    /// Layers that read the same data side by side, as numbers of [`Subject::layers`]: told by the graph, of
    /// weights without one by their names.
    #[must_use]
    pub fn projections(&self) -> Vec<Vec<usize>> {
        if self.loaded.has_graph() {
            groups::projections(&self.folded, &self.layers)
        } else {
            families::projections(&self.layers)
        }
    }

    /// Exact size of the file that `model`, made from this one, is written to; its tensors need not
    /// have values yet.
    ///
    /// # Errors
    /// When the format cannot hold the model.
    pub fn file_bytes(&self, model: &Model) -> Result<u64, LoadError> {
        onnx::encoded_len(model, &self.loaded.source)
    }

    /// Exact size of the file that the model is written to as it is.
    ///
    /// # Errors
    /// When the format cannot hold the model.
    pub fn unchanged_bytes(&self) -> Result<u64, LoadError> {
        if self.loaded.is_own_export() { Ok(self.loaded.bytes) } else { self.file_bytes(&self.loaded.model) }
    }

    #[must_use]
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|l| l.name == name)
    }
}
