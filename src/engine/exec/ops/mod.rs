//! The operators: one table from name to function, one file per family.

mod attention;
mod bits;
mod cast;
mod columns;
mod convolution;
mod deform;
mod detection;
mod einsum;
mod element;
mod elementwise;
mod fourier;
mod generate;
mod index;
mod integer;
mod linear;
mod loss;
mod math;
mod matmul;
mod normalize;
mod optional;
mod pad;
mod plain;
mod pooling;
mod quantize;
mod recurrent;
mod reduce;
mod regions;
mod resize;
mod rotary;
mod sample;
mod scan;
mod scatter;
mod shape;
mod sort;
#[cfg(test)]
mod tests;
mod unary;

pub(in crate::engine::exec) use cast::cast_to;
pub(in crate::engine::exec) use convolution::{PackedConv, run_beside, spatial3};
pub(in crate::engine::exec) use linear::PackedProduct;
pub(in crate::engine::exec) use pooling::pool_window;
pub(in crate::engine::exec) use quantize::FakeQuantize;
pub(in crate::engine::exec) use recurrent::Recurrent;

use super::data::{OpResult, fail, ints};
use crate::engine::graph::Node;
use crate::engine::kernels::serial;
use crate::engine::tensor::Value;
use rayon::ThreadPool;

/// One operator at work.
pub(in crate::engine::exec) struct Call<'a> {
    pub node: &'a Node,
    /// Version of ONNX's own operator set that the model asks for.
    pub opset: i64,
    pub inputs: &'a [Option<Value>],
    /// Threads to share the work out to; without them the calling thread does it all.
    pub pool: Option<&'a ThreadPool>,
}

pub(in crate::engine::exec) type Operator = fn(&Call<'_>) -> OpResult<Vec<Value>>;

/// Runs `work` on the pool, or on the calling thread alone where there is none.
pub(in crate::engine::exec) fn install<R: Send>(pool: Option<&ThreadPool>, work: impl FnOnce() -> R + Send) -> R {
    let Some(pool) = pool else { return serial(work) };
    // Compiled once: the pool sees no type of the work.
    let (mut work, mut result) = (Some(work), None);
    let mut once = || result = work.take().map(|work| work());
    enter(pool, &mut once);
    match result {
        Some(result) => result,
        None => unreachable!("the pool runs what it is given"),
    }
}

fn enter(pool: &ThreadPool, work: &mut (dyn FnMut() + Send)) {
    pool.install(work);
}

impl Call<'_> {
    /// What `operator` gives, half floats rounded to their type.
    pub fn compute(&self, operator: Operator) -> OpResult<Vec<Value>> {
        operator(self)?.into_iter().map(cast::to_own_type).collect()
    }

    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        install(self.pool, work)
    }

    pub fn input(&self, index: usize) -> OpResult<&Value> {
        match self.inputs.get(index) {
            Some(Some(value)) => Ok(value),
            _ => fail(format!("input {index} is missing")),
        }
    }

    pub fn optional(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index)?.as_ref()
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.node.int(name).unwrap_or(default)
    }

    fn float(&self, name: &str, default: f32) -> f32 {
        self.node.float(name).unwrap_or(default)
    }

    /// Whole numbers that older operator sets give as attribute `name` and newer ones as input `index`.
    fn ints(&self, name: &str, index: usize) -> OpResult<Option<Vec<i64>>> {
        if let Some(value) = self.optional(index) {
            return ints(value).map(Some);
        }
        Ok(self.node.ints(name).map(<[i64]>::to_vec))
    }
}

/// The function that computes an operator, if there is one.
pub(in crate::engine::exec) fn find(node: &Node) -> Option<Operator> {
    let op = node.op.as_str();
    match node.domain.as_str() {
        "" | "ai.onnx" => {}
        "com.microsoft" => return integer::find_microsoft(op),
        _ => return None,
    }
    [
        unary::find,
        cast::find,
        elementwise::find,
        convolution::find,
        pooling::find,
        matmul::find,
        normalize::find,
        reduce::find,
        shape::find,
        index::find,
        resize::find,
        quantize::find,
        recurrent::find,
        attention::find,
        rotary::find,
        einsum::find,
        loss::find,
        optional::find,
        generate::find,
        scatter::find,
        sort::find,
        scan::find,
        pad::find,
        bits::find,
        math::find,
        columns::find,
        sample::find,
        regions::find,
        detection::find,
        deform::find,
        fourier::find,
        integer::find,
    ]
    .iter()
    .find_map(|family| family(op))
}
