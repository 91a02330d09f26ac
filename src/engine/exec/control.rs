//! Nodes with sub-graphs: `If`, `Loop` and `Scan`. A sub-graph is planned once, with the graph around
//! it: constants that it takes from outside become its own, and computed values are fed to it.

use super::data::{OpResult, axis_of, fail, int_scalar, ints, like, make};
use super::plan::{Constants, Plan, make_inside};
use super::{ExecError, Request};
use crate::engine::context::Ctx;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, Port, Wire, captured};
use crate::engine::tensor::{DType, TensorError, Value};
use candle_core::Tensor;
use rayon::ThreadPool;
use std::cell::Cell;

/// When a loop is stopped with an error.
#[derive(Clone, Copy)]
struct Limits {
    /// A loop that has run this often will hardly end.
    iterations: i64,
    /// What the values that it carries and gathers may take together.
    bytes: usize,
}

const LIMITS: Limits = Limits { iterations: 1 << 22, bytes: 4 << 30 };

/// Whether `node` runs sub-graphs.
pub(super) fn is_control(node: &Node) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx") && matches!(node.op.as_str(), "If" | "Loop" | "Scan")
}

pub(super) enum Control {
    If {
        then: Body,
        other: Body,
    },
    /// The branch of an `If` whose condition is constant.
    Chosen(Body),
    Loop(Body),
    Scan(Body, Scan),
}

/// What planning a control node gives.
pub(super) enum Planned {
    /// Nothing is left to run.
    Values(Vec<Value>),
    /// The work, and what it reads: the node's inputs and what its sub-graphs take from outside.
    Work(Box<Control>, Vec<Option<Wire>>),
}

/// A planned sub-graph.
pub(super) struct Body {
    plan: Plan,
    /// Which inputs of the step are fed after the sub-graph's own.
    outside: Vec<usize>,
    inputs: Vec<Fact>,
    outputs: Vec<Fact>,
}

/// How a `Scan` walks its inputs and joins its outputs.
pub(super) struct Scan {
    /// Operator set 8 has a batch axis before the one it scans, and lengths of the sequences.
    batched: bool,
    inputs: Vec<Walk>,
    outputs: Vec<Walk>,
}

#[derive(Clone, Copy)]
struct Walk {
    axis: i64,
    reversed: bool,
}

/// Plans the sub-graphs of `node`. `constants` are those known around it.
pub(super) fn plan(node: &Node, constants: &Constants) -> Result<Planned, ExecError> {
    let mut reads = node.inputs.clone();
    let control = match node.op.as_str() {
        "If" => match node.input(0).and_then(|w| constants.get(w)) {
            Some(condition) => {
                let holds = int_scalar(condition).map_err(|e| ExecError::at(node, e))? != 0;
                let body = Body::plan(node, if holds { "then_branch" } else { "else_branch" }, &mut reads, constants)?;
                if let Some(values) = body.plan.finished() {
                    return Ok(Planned::Values(values));
                }
                Control::Chosen(body)
            }
            None => Control::If {
                then: Body::plan(node, "then_branch", &mut reads, constants)?,
                other: Body::plan(node, "else_branch", &mut reads, constants)?,
            },
        },
        "Loop" => Control::Loop(Body::plan(node, "body", &mut reads, constants)?),
        _ => {
            let body = Body::plan(node, "body", &mut reads, constants)?;
            let scan = Scan::of(node, &body).map_err(|e| ExecError::at(node, e))?;
            Control::Scan(body, scan)
        }
    };
    control.check(node).map_err(|e| ExecError::at(node, e))?;
    Ok(Planned::Work(Box::new(control), reads))
}

impl Body {
    fn plan(node: &Node, name: &str, reads: &mut Vec<Option<Wire>>, constants: &Constants) -> Result<Self, ExecError> {
        let Some(Attribute::Graph(graph)) = node.attributes.get(name) else {
            let reason = format!("attribute \"{name}\" is missing or is no graph");
            return Err(ExecError::Node { node: node.label(), op: node.op.clone(), reason });
        };
        let (known, fed): (Vec<Wire>, Vec<Wire>) = captured(graph).into_iter().partition(|w| constants.contains_key(w));
        let outer = known.iter().filter_map(|w| Some((w.clone(), constants.get(w)?.clone()))).collect();
        let mut inner = Model::clone(graph);
        let taken = known.into_iter().chain(fed.iter().cloned());
        inner.inputs.extend(taken.map(|wire| Port { wire, fact: Fact::default() }));
        let inputs = graph.inputs.iter().map(|p| p.wire.clone()).chain(fed.iter().cloned()).collect();
        let plan = make_inside(&inner, &Request { inputs: Some(inputs), ..Request::default() }, outer)?;
        let mut place = |wire: Wire| {
            let known = reads.iter().position(|w| w.as_ref() == Some(&wire));
            known.unwrap_or_else(|| {
                reads.push(Some(wire));
                reads.len() - 1
            })
        };
        let facts = |ports: &[Port]| ports.iter().map(|p| p.fact.clone()).collect();
        let outside = fed.into_iter().map(&mut place).collect();
        Ok(Self { plan, outside, inputs: facts(&graph.inputs), outputs: facts(&graph.outputs) })
    }

    /// Runs the sub-graph once on `values`, its own inputs. `around` are the step's inputs.
    fn run(
        &self,
        mut values: Vec<Value>,
        around: &[Option<Value>],
        pool: Option<&ThreadPool>,
        ctx: &Ctx,
    ) -> OpResult<Vec<Value>> {
        for &i in &self.outside {
            match around.get(i) {
                Some(Some(value)) => values.push(value.clone()),
                _ => return fail("a value that the sub-graph takes from outside is missing"),
            }
        }
        Ok(self.plan.follow(values, pool, ctx, &mut |_, _| {}).map_err(Box::new)?)
    }
}

impl Control {
    /// Whether node and sub-graphs agree in the number of their inputs and outputs.
    fn check(&self, node: &Node) -> OpResult<()> {
        let (given, wanted) = (node.inputs.len(), node.outputs.len());
        let agrees = |body: &Body, inputs: usize, outputs: usize| {
            if body.inputs.len() == inputs && body.outputs.len() >= outputs {
                return Ok(());
            }
            let (i, o) = (body.inputs.len(), body.outputs.len());
            fail(format!("the sub-graph has {i} inputs and {o} outputs where {inputs} and at least {outputs} are needed"))
        };
        match self {
            Self::If { then, other } => agrees(then, 0, wanted).and_then(|()| agrees(other, 0, wanted)),
            Self::Chosen(body) => agrees(body, 0, wanted),
            Self::Loop(_) if given < 2 => fail("the trip count and the condition are missing from the list of inputs"),
            Self::Loop(body) => agrees(body, given, (wanted + 1).max(given - 1)),
            Self::Scan(body, scan) => agrees(body, given.saturating_sub(usize::from(scan.batched)), wanted),
        }
    }

    /// Runs the node. `inputs` are those of its step: its own, then what sub-graphs take from outside.
    pub fn run(&self, node: &Node, inputs: &[Option<Value>], pool: Option<&ThreadPool>, ctx: &Ctx) -> OpResult<Vec<Value>> {
        let step = |body: &Body, values: Vec<Value>| body.run(values, inputs, pool, ctx);
        match self {
            Self::Chosen(body) => step(body, Vec::new()),
            Self::If { then, other } => {
                let Some(Some(condition)) = inputs.first() else { return fail("the condition is missing") };
                step(if int_scalar(condition)? != 0 { then } else { other }, Vec::new())
            }
            Self::Loop(body) => run_loop(body, &inputs[..node.inputs.len()], (ctx, LIMITS), &|values| step(body, values)),
            Self::Scan(body, scan) => scan.run(body, &inputs[..node.inputs.len()], ctx, &|values| step(body, values)),
        }
    }
}

thread_local! {
    /// How deep in loops this thread is, and the iterations of all of them since the outermost began.
    static NEST: Cell<(usize, i64)> = const { Cell::new((0, 0)) };
}

/// A loop, or one in it: their iterations count together.
struct Nest;

impl Nest {
    fn enter() -> Self {
        let (depth, spent) = NEST.get();
        NEST.set((depth + 1, if depth == 0 { 0 } else { spent }));
        Self
    }

    /// Counts one more.
    fn count() -> i64 {
        let (depth, spent) = NEST.get();
        NEST.set((depth, spent + 1));
        spent + 1
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        let (depth, spent) = NEST.get();
        NEST.set((depth - 1, spent));
    }
}

type Iterate<'a> = dyn Fn(Vec<Value>) -> OpResult<Vec<Value>> + 'a;

fn present(values: &[Option<Value>]) -> OpResult<Vec<Value>> {
    let all: Option<Vec<Value>> = values.iter().cloned().collect();
    all.map_or_else(|| fail("an initial value is missing"), Ok)
}

fn run_loop(body: &Body, inputs: &[Option<Value>], (ctx, limits): (&Ctx, Limits), iterate: &Iterate<'_>) -> OpResult<Vec<Value>> {
    let trips = inputs[0].as_ref().map(int_scalar).transpose()?;
    // Without a condition from outside, the one that the body computes counts for nothing.
    let conditional = inputs[1].is_some();
    let mut condition = inputs[1].clone().map_or_else(|| make(DType::Bool, vec![1_u8], &[]), Ok)?;
    let mut carried = present(&inputs[2..])?;
    let mut stacks: Vec<Stack> = body.outputs[1 + carried.len()..].iter().map(Stack::new).collect();
    // Some exporters write the number of the iteration as a vector of one element.
    let shape: &[usize] = if body.inputs[0].shape.as_ref().is_some_and(|s| s.len() == 1) { &[1] } else { &[] };
    let mut iteration = 0_i64;
    let _nest = Nest::enter();
    while trips.is_none_or(|n| iteration < n) && (!conditional || int_scalar(&condition)? != 0) {
        ctx.check()?;
        let spent = Nest::count();
        if spent > limits.iterations {
            return fail(format!("the loop has not ended after {} iterations; check its condition", spent - 1));
        }
        let mut values = vec![make(DType::I64, vec![iteration], shape)?, condition];
        values.append(&mut carried);
        let count = values.len() - 2;
        let mut outputs = iterate(values)?.into_iter();
        condition = outputs.next().map_or_else(|| fail("the body gives no condition"), Ok)?;
        carried.extend(outputs.by_ref().take(count));
        stacks.iter_mut().zip(outputs).try_for_each(|(stack, value)| stack.push(value))?;
        limits.check(&carried, &stacks)?;
        iteration += 1;
    }
    let forward = Walk { axis: 0, reversed: false };
    let gathered = stacks.into_iter().map(|s| s.join(forward)).collect::<OpResult<Vec<Value>>>()?;
    Ok(carried.into_iter().chain(gathered).collect())
}

impl Scan {
    fn of(node: &Node, body: &Body) -> OpResult<Self> {
        let batched = node.attributes.contains_key("directions") || body.inputs.len() + 1 == node.inputs.len();
        let count = node.int("num_scan_inputs").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let Some(states) = body.inputs.len().checked_sub(count).filter(|_| count > 0) else {
            return fail(format!("{count} inputs to scan do not fit a body of {} inputs", body.inputs.len()));
        };
        let Some(gathered) = body.outputs.len().checked_sub(states) else {
            return fail(format!("the body has {} outputs for {states} states", body.outputs.len()));
        };
        let walks = |axes: &str, directions: &str, count: usize| -> Vec<Walk> {
            let at = |name: &str, i: usize| node.ints(name).and_then(|v| v.get(i).copied()).unwrap_or(0);
            (0..count).map(|i| Walk { axis: at(axes, i), reversed: at(directions, i) != 0 }).collect()
        };
        let directions = if batched { "directions" } else { "scan_input_directions" };
        Ok(Self {
            batched,
            inputs: walks("scan_input_axes", directions, count),
            outputs: walks("scan_output_axes", "scan_output_directions", gathered),
        })
    }

    fn run(&self, body: &Body, inputs: &[Option<Value>], ctx: &Ctx, iterate: &Iterate<'_>) -> OpResult<Vec<Value>> {
        if self.batched {
            return self.run_batch(body, inputs, ctx, iterate);
        }
        let all = present(inputs)?;
        let (states, scanned) = all.split_at(all.len() - self.inputs.len());
        let length = |(walk, value): (&Walk, &Value)| Ok(value.shape()[axis_of(walk.axis, value.shape().len())?]);
        let lengths = self.inputs.iter().zip(scanned).map(length).collect::<OpResult<Vec<usize>>>()?;
        if lengths.iter().any(|n| *n != lengths[0]) {
            return fail(format!("the inputs to scan have different lengths: {lengths:?}"));
        }
        self.walk(body, states.to_vec(), scanned, lengths[0], ctx, iterate)
    }

    /// One sequence of `length` elements.
    fn walk(
        &self,
        body: &Body,
        mut states: Vec<Value>,
        scanned: &[Value],
        length: usize,
        ctx: &Ctx,
        iterate: &Iterate<'_>,
    ) -> OpResult<Vec<Value>> {
        let count = states.len();
        let mut stacks: Vec<Stack> = body.outputs[count..].iter().map(Stack::new).collect();
        for step in 0..length {
            ctx.check()?;
            let mut values = std::mem::take(&mut states);
            for (walk, value) in self.inputs.iter().zip(scanned) {
                let axis = axis_of(walk.axis, value.shape().len())?;
                let at = if walk.reversed { length - 1 - step } else { step };
                values.push(like(value, value.data.narrow(axis, at, 1)?.squeeze(axis)?));
            }
            let mut outputs = iterate(values)?.into_iter();
            states.extend(outputs.by_ref().take(count));
            stacks.iter_mut().zip(outputs).try_for_each(|(stack, value)| stack.push(value))?;
            LIMITS.check(&states, &stacks)?;
        }
        let gathered = stacks.into_iter().zip(&self.outputs).map(|(s, w)| s.join(*w)).collect::<OpResult<Vec<Value>>>()?;
        Ok(states.into_iter().chain(gathered).collect())
    }

    /// Operator set 8: input 0 holds lengths, all others start with the batch. What lies beyond the
    /// end of a sequence is zero in the outputs.
    fn run_batch(&self, body: &Body, inputs: &[Option<Value>], ctx: &Ctx, iterate: &Iterate<'_>) -> OpResult<Vec<Value>> {
        let lengths = inputs[0].as_ref().map(ints).transpose()?;
        let all = present(&inputs[1..])?;
        let states = all.len() - self.inputs.len();
        let Some(&[batch, longest, ..]) = all.get(states).map(Value::shape) else {
            return fail("an input to scan needs a batch and a sequence axis");
        };
        let fits =
            |(i, v): (usize, &Value)| v.shape().first() == Some(&batch) && (i < states || v.shape().get(1) == Some(&longest));
        if !all.iter().enumerate().all(fits) || lengths.as_ref().is_some_and(|l| l.len() != batch) {
            return fail(format!("states, sequences and lengths do not agree in a batch of {batch} with {longest} elements"));
        }
        let mut columns: Vec<Vec<Tensor>> = vec![Vec::new(); body.outputs.len()];
        let mut dtypes = vec![DType::F32; body.outputs.len()];
        for row in 0..batch {
            let length = lengths.as_ref().map_or(longest as i64, |l| l[row]);
            let Some(length) = usize::try_from(length).ok().filter(|n| *n <= longest) else {
                return fail(format!("a sequence of {length} elements does not fit an axis of {longest}"));
            };
            let cut = |v: &Value| Ok(like(v, v.data.narrow(0, row, 1)?.squeeze(0)?));
            let own = all.iter().map(cut).collect::<OpResult<Vec<Value>>>()?;
            let done = self.walk(body, own[..states].to_vec(), &own[states..], length, ctx, iterate)?;
            for (i, value) in done.into_iter().enumerate() {
                dtypes[i] = value.dtype;
                columns[i].push(if i < states { value.data } else { value.data.pad_with_zeros(0, 0, longest - length)? });
            }
        }
        if batch == 0 {
            return fail("a batch without samples cannot be scanned");
        }
        columns.iter().zip(dtypes).map(|(parts, dtype)| Ok(Value { dtype, data: Tensor::stack(parts, 0)? })).collect()
    }
}

/// Values that a loop gathers, one per iteration.
struct Stack<'a> {
    fact: &'a Fact,
    parts: Vec<Value>,
}

impl<'a> Stack<'a> {
    fn new(fact: &'a Fact) -> Self {
        Self { fact, parts: Vec::new() }
    }

    fn push(&mut self, value: Value) -> OpResult<()> {
        if let Some(first) = self.parts.first()
            && (first.shape() != value.shape() || first.dtype != value.dtype)
        {
            let (a, b) = (first.shape(), value.shape());
            return fail(format!("an output to be gathered has shape {a:?} in one iteration and {b:?} in another"));
        }
        self.parts.push(value);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.parts.first().map_or(0, |v| bytes(v).saturating_mul(self.parts.len()))
    }

    fn join(mut self, walk: Walk) -> OpResult<Value> {
        let Some(first) = self.parts.first() else { return self.empty(walk) };
        let (dtype, axis) = (first.dtype, axis_of(walk.axis, first.shape().len() + 1)?);
        if walk.reversed {
            self.parts.reverse();
        }
        let parts: Vec<&Tensor> = self.parts.iter().map(|v| &v.data).collect();
        Ok(Value { dtype, data: Tensor::stack(&parts, axis)? })
    }

    /// What no iteration gives: the declared shape, free dimensions 0, with an axis of 0.
    fn empty(&self, walk: Walk) -> OpResult<Value> {
        let (Some(dtype), Some(shape)) = (self.fact.dtype, &self.fact.shape) else {
            return fail("no iteration ran, and the model does not declare what it would have gathered");
        };
        let mut shape: Vec<usize> = shape.iter().map(|d: &Dim| d.known().unwrap_or(0)).collect();
        shape.insert(axis_of(walk.axis, shape.len() + 1)?, 0);
        let zero = Value::from_i64(Vec::new(), &[0])?;
        let data = super::ops::cast_to(&zero, dtype)?.data.reshape(shape).map_err(TensorError::from)?;
        Ok(Value { dtype, data })
    }
}

fn bytes(value: &Value) -> usize {
    value.data.elem_count().saturating_mul(value.data.dtype().size_in_bytes())
}

impl Limits {
    fn check(self, carried: &[Value], stacks: &[Stack<'_>]) -> OpResult<()> {
        let total = carried.iter().map(bytes).chain(stacks.iter().map(Stack::bytes)).fold(0, usize::saturating_add);
        if total <= self.bytes {
            return Ok(());
        }
        fail(format!("the values of the loop take more than {} bytes; check how they grow", self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::OpError;
    use super::super::tests::Build;
    use super::super::{ExecError, Executor};
    use super::*;
    use crate::engine::graph::NodeId;
    use crate::engine::tensor::Tensor as Stored;
    use std::sync::Arc;

    fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let wires = |names: &[&str]| names.iter().map(|w| (!w.is_empty()).then(|| Wire::from(*w))).collect();
        let (inputs, outputs) = (wires(inputs), wires(outputs));
        let (name, op, domain) = (format!("my {op}"), op.to_owned(), String::new());
        Node { id: NodeId(0), name, op, domain, inputs, outputs, attributes: std::collections::BTreeMap::new() }
    }

    fn graph(inputs: &[&str], nodes: Vec<Node>, outputs: &[&str]) -> Attribute {
        let ports = |names: &[&str]| {
            let port = |w: &&str| Port { wire: Wire::from(*w), fact: Fact::default() };
            names.iter().map(port).collect::<Vec<Port>>()
        };
        let opsets = [(String::new(), 17)].into();
        Attribute::Graph(Arc::new(Model { inputs: ports(inputs), nodes, outputs: ports(outputs), opsets, ..Model::default() }))
    }

    fn run(model: &Model, x: &[f32]) -> Result<Vec<Vec<f32>>, ExecError> {
        let executor = Executor::new(model, &Request::default())?;
        let value = Value::from_f32(x.to_vec(), &[1, x.len()]).unwrap();
        let outputs = executor.run(&[("x".into(), value)], &Ctx::new(1).unwrap(), &mut |_, _| {})?;
        Ok(outputs.iter().map(|(_, v)| v.to_f32().unwrap()).collect())
    }

    /// `a ← a·w + r` with a computed and a constant value from outside; in odd iterations `a ← a − w`,
    /// from a sub-graph of the sub-graph. Gathers every `a`.
    #[test]
    fn a_loop_sees_what_lies_around_it() {
        let product = node("Mul", &["a", "w"], &["m"]);
        let even = graph(&[], vec![product, node("Add", &["m", "r"], &["even"])], &["even"]);
        let odd = graph(&[], vec![node("Sub", &["a", "w"], &["odd"])], &["odd"]);
        let mut choose = node("If", &["is odd"], &["b"]);
        choose.attributes = [("then_branch".to_owned(), odd), ("else_branch".to_owned(), even)].into();
        let parity = node("Mod", &["i", "two"], &["parity"]);
        let inside = vec![parity, node("Cast", &["parity"], &["is odd"]), choose, node("Identity", &["go"], &["on"])];
        let mut inside = inside;
        inside[1].attributes = [("to".to_owned(), Attribute::Int(9))].into();
        let body = graph(&["i", "go", "a"], inside, &["on", "b", "b"]);
        let mut build = Build::new(&[2]);
        build.store("w", Stored::from_f32(vec![1, 2], &[2.0, 3.0]).unwrap());
        build.store("count", Stored::from_integers(DType::I64, vec![], &[3]).unwrap());
        build.store("two", Stored::from_integers(DType::I64, vec![], &[2]).unwrap());
        let model = build.node("Relu", &["x"], "r").with("Loop", &["count", "", "x"], "y", [("body", body)]).output("y");
        let mut model = model;
        model.nodes[1].outputs.push(Some("all".into()));
        model.outputs.push(Port { wire: "all".into(), fact: Fact::default() });
        // -1: -1·2+0 = -2, -2-2 = -4, -4·2+0 = -8; 5: 5·3+5 = 20, 17, 56
        let outputs = run(&model, &[-1.0, 5.0]).unwrap();
        assert_eq!(outputs, [vec![-8.0, 56.0], vec![-2.0, 20.0, -4.0, 17.0, -8.0, 56.0]]);
    }

    #[test]
    fn a_branch_known_beforehand_is_folded() {
        let constant = |name: &str| graph(&[], vec![node("Neg", &["k"], &[name])], &[name]);
        let mut build = Build::new(&[2]);
        build.store("yes", Stored::from_integers(DType::Bool, vec![], &[1]).unwrap()).constant("k", &[2]);
        let branches = [("then_branch", constant("a")), ("else_branch", graph(&[], vec![node("Exp", &["k"], &["b"])], &["b"]))];
        let model = build.with("If", &["yes"], "n", branches).node("Add", &["x", "n"], "y").output("y");
        let executor = Executor::new(&model, &Request::default()).unwrap();
        assert_eq!(executor.plan.steps.len(), 1);
        let k = model.constants["k"].to_f32().unwrap();
        assert_eq!(run(&model, &[1.0, 2.0]).unwrap(), [vec![1.0 - k[0], 2.0 - k[1]]]);
    }

    #[test]
    fn says_what_is_missing_inside() {
        let body =
            graph(&["i", "go"], vec![node("Frobnicate", &["x"], &["f"]), node("Identity", &["go"], &["on"])], &["on", "f"]);
        let mut model = Build::new(&[2]).with("Loop", &["", ""], "y", [("body", body)]).model.clone();
        model.outputs = vec![Port { wire: "y".into(), fact: Fact::default() }];
        let message = Executor::new(&model, &Request::default()).unwrap_err().to_string();
        assert!(message.contains("Frobnicate (node \"my Frobnicate\")"), "{message}");
    }

    #[test]
    fn an_error_inside_names_the_node_inside() {
        let wrong = graph(&[], vec![node("MatMul", &["x", "x"], &["a"])], &["a"]);
        let mut build = Build::new(&[2]);
        let model = build.node("ReduceMax", &["x"], "top").with("Cast", &["top"], "c", [("to", Attribute::Int(9))]);
        let model = model.with("If", &["c"], "y", [("then_branch", wrong.clone()), ("else_branch", wrong)]).output("y");
        let message = run(&model, &[1.0, 2.0]).unwrap_err().to_string();
        assert!(message.starts_with("node \"my MatMul\""), "{message}");
    }

    /// A loop whose body doubles what it carries.
    fn doubling() -> Body {
        let inside = vec![node("Identity", &["go"], &["on"]), node("Concat", &["a", "a"], &["b"])];
        let mut loops = node("Loop", &["", "", "a0"], &["y"]);
        loops.attributes = [("body".to_owned(), graph(&["i", "go", "a"], inside, &["on", "b"]))].into();
        loops.attributes.insert("axis".to_owned(), Attribute::Int(0));
        match plan(&loops, &Constants::new()).unwrap() {
            Planned::Work(control, _) => match *control {
                Control::Loop(body) => body,
                _ => panic!("a loop is a loop"),
            },
            Planned::Values(_) => panic!("the initial value is not known"),
        }
    }

    #[test]
    fn endless_loops_end() {
        let body = doubling();
        let start = Value::from_f32(vec![1.0], &[1, 1]).unwrap();
        let inputs = [None, None, Some(start)];
        let ctx = Ctx::new(1).unwrap();
        let stop = |limits: Limits, iterate: &Iterate<'_>| run_loop(&body, &inputs, (&ctx, limits), iterate).unwrap_err();
        let same = |mut values: Vec<Value>| -> OpResult<Vec<Value>> { Ok(values.split_off(1)) };
        let error = stop(Limits { iterations: 100, bytes: 1 << 20 }, &same).to_string();
        assert!(error.contains("100 iterations"), "{error}");
        let twice = |values: Vec<Value>| body.run(values, &[], None, &ctx);
        let error = stop(Limits { iterations: 100, bytes: 1 << 12 }, &twice).to_string();
        assert!(error.contains("4096 bytes"), "{error}");
        let interrupted = |values: Vec<Value>| {
            ctx.cancel();
            same(values)
        };
        assert!(matches!(stop(LIMITS, &interrupted), OpError::Cancelled(_)));
    }
}
