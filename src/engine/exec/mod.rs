//! Runs a model on a batch. [`Executor::new`] makes a plan (order, folded constants, fusions, when a
//! value can be dropped); [`Executor::run`] follows it, as often and from as many threads as one
//! likes. A plan may begin and end at any wires, so that one layer or a suffix can run alone.

mod attributes;
mod control;
mod cuts;
mod data;
mod gradient;
mod image;
mod integer;
mod layout;
mod memory;
mod missing;
#[cfg(test)]
mod nbits_tests;
pub(in crate::engine) mod ops;
mod places;
mod plan;
mod prepare;
mod run;
mod separable;
#[cfg(test)]
mod tests;
mod walk;

pub use cuts::{Checkpoints, Suffix};
pub use data::with_order;
pub use gradient::{Target, gradients};
pub use image::Order;
pub use memory::free_memory;
pub use missing::{MissingOperator, missing_operators};
pub use prepare::{decode, prepare};
pub use walk::Walk;

use crate::engine::context::Cancelled;
use crate::engine::graph::{GraphError, Model, Node, Port, Wire};
use crate::engine::tensor::{TensorError, Value};
use plan::Plan;
use rayon::ThreadPool;

/// How layers with quantized data and weights compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// In f32, on the values that the quantized numbers stand for.
    #[default]
    Simulated,
    /// On the quantized numbers themselves: 8-bit products, 32-bit sums. Results differ from the simulated
    /// ones as far as f32 sums in another order do, and a value that lies between two steps of the
    /// next grid may fall to the other side.
    Integer,
}

/// What a plan computes from what. The default: the model's own inputs and outputs, no taps.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Wires that the caller feeds; any wires of the graph. `None`: the model's inputs that have no
    /// constant value.
    pub inputs: Option<Vec<Wire>>,
    /// `None`: the model's outputs.
    pub outputs: Option<Vec<Wire>>,
    /// Wires to be shown as they are computed.
    pub taps: Vec<Wire>,
    pub arithmetic: Arithmetic,
}

/// Why a model could not be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("the model uses operators that Lapidary cannot run: {}", missing::list(.0))]
    Unsupported(Vec<MissingOperator>),
    #[error("\"{wire}\" is needed but neither fed, nor constant, nor computed by any node")]
    NoSource { wire: Wire },
    #[error("input \"{wire}\": {reason}")]
    Feed { wire: Wire, reason: String },
    #[error("node \"{node}\" ({op}): {reason}")]
    Node { node: String, op: String, reason: String },
    /// A node asks for a mode of its operator, or for a type, that Lapidary does not compute: the
    /// model may be sound.
    #[error("node \"{node}\" ({op}): {reason}")]
    Refused { node: String, op: String, reason: String },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl ExecError {
    fn at(node: &Node, error: data::OpError) -> Self {
        let (label, op) = (node.label(), node.op.clone());
        match error {
            data::OpError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            // The node inside has said its name.
            data::OpError::Inside(inside) => *inside,
            data::OpError::Unsupported(reason) => Self::Refused { node: label, op, reason },
            data::OpError::Tensor(e) if e.is_unknown_type() => Self::Refused { node: label, op, reason: e.to_string() },
            other => Self::Node { node: label, op, reason: other.to_string() },
        }
    }

    /// Whether the model asks for something that Lapidary does not do (an operator, a mode of one, an
    /// element type), as opposed to something that is wrong.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Refused { .. } => true,
            Self::Tensor(e) => e.is_unknown_type(),
            _ => false,
        }
    }
}

/// A plan ready to run. Immutable; share it among threads.
pub struct Executor {
    plan: Plan,
    /// The data input as the model declares it.
    data: Option<Port>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("steps", &self.plan.steps.len()).field("data", &self.data).finish_non_exhaustive()
    }
}

impl Executor {
    /// Plans `request`: nodes between its inputs and its outputs in running order, nodes of constants
    /// computed at once, chains fused where nobody sees the values between.
    ///
    /// # Errors
    /// When operators are missing (all are listed), wires have no source, or folding fails.
    pub fn new(model: &Model, request: &Request) -> Result<Self, ExecError> {
        let plan = plan::make(model, request)?;
        Ok(Self { plan, data: model.data_input().cloned() })
    }

    /// Layers that compute on integers.
    #[must_use]
    pub fn integer_layers(&self) -> usize {
        let is_layer = |s: &&plan::Step| matches!(s.work, plan::Work::Integer(integer::IntegerStep::Layer(_)));
        self.plan.steps.iter().filter(is_layer).count()
    }

    /// The batch size that the model insists on, if it does.
    #[must_use]
    pub fn fixed_batch(&self) -> Option<usize> {
        self.data.as_ref()?.fact.shape.as_ref()?.first()?.known()
    }
}

/// Computes one node alone.
///
/// # Errors
/// When the operator is missing or refuses its inputs.
pub fn evaluate_node(
    node: &Node,
    inputs: &[Option<Value>],
    opset: i64,
    pool: Option<&ThreadPool>,
) -> Result<Vec<Value>, ExecError> {
    let Some(operator) = ops::find(node) else {
        return Err(ExecError::Unsupported(vec![MissingOperator::at(node)]));
    };
    ops::Call { node, opset, inputs, pool }.compute(operator).map_err(|e| ExecError::at(node, e))
}
