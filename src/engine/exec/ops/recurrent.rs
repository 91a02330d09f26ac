//! Recurrent layers: `RNN`, `GRU`, `LSTM`.

use super::cast::narrow;
use super::{Call, Operator, install};
use crate::engine::exec::data::{Held, OpResult, fail, floats, held, ints, like, make, unsupported, with};
use crate::engine::exec::memory::room;
use crate::engine::graph::{Attribute, Node};
use crate::engine::kernels::convolve::Panels;
use crate::engine::kernels::recurrent::{Activation, Cell, Direction, Reset, State};
use crate::engine::tensor::Value;
use rayon::ThreadPool;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "RNN" | "GRU" | "LSTM" => layer,
        _ => return None,
    })
}

fn layer(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let Some(parameters) = Recurrent::parameters(c.node) else { return fail("this is no recurrent layer") };
    let layer = Recurrent::new(c.node, parameters.map(|i| c.optional(i)))?;
    layer.run(&Recurrent::DATA.map(|i| c.optional(i).cloned()), c.pool)
}

/// A recurrent layer with its weights as the kernel reads them.
pub(in crate::engine::exec) struct Recurrent {
    directions: Vec<Direction>,
    /// `layout` 1: the batch comes before the time steps.
    batch_first: bool,
    has_cell_state: bool,
}

impl Recurrent {
    /// Inputs that are data: the sequences, their lengths, the initial hidden and cell states.
    pub const DATA: [usize; 4] = [0, 4, 5, 6];

    /// Inputs that are parameters: both weights, the bias, the peepholes. `None` for other operators.
    pub fn parameters(node: &Node) -> Option<[usize; 4]> {
        let known = matches!(node.domain.as_str(), "" | "ai.onnx") && matches!(node.op.as_str(), "RNN" | "GRU" | "LSTM");
        known.then_some([1, 2, 3, 7])
    }

    pub fn new(node: &Node, [w, r, bias, peepholes]: [Option<&Value>; 4]) -> OpResult<Self> {
        let (Some(w), Some(r)) = (w, r) else { return fail("the weights are missing") };
        let (&[count, rows, inputs], &[_, _, hidden]) = (w.shape(), r.shape()) else {
            return fail(format!("weights of three axes are needed, not of shapes {:?} and {:?}", w.shape(), r.shape()));
        };
        let gates = match node.op.as_str() {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let reversals: &[bool] = match node.text("direction").unwrap_or("forward") {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            other => return fail(format!("direction \"{other}\" is none of forward, reverse, bidirectional")),
        };
        let whole = count == reversals.len() && rows == gates * hidden && r.shape() == [count, rows, hidden] && hidden > 0;
        let says = node.int("hidden_size").is_none_or(|n| n == hidden as i64);
        if !whole || !says {
            let (a, b) = (w.shape(), r.shape());
            return fail(format!("weights of shapes {a:?} and {b:?} do not fit {} directions of {gates} gates", reversals.len()));
        }
        for value in [Some(w), Some(r), bias, peepholes].into_iter().flatten() {
            expect_f32(value)?;
        }
        let expect = |value: Option<&Value>, name: &str, shape: [usize; 2]| match value {
            Some(v) if v.shape() != shape => fail(format!("{name} of shape {:?} should have {shape:?}", v.shape())),
            Some(v) => floats(v).map(Some),
            None => Ok(None),
        };
        let bias = expect(bias, "the bias", [count, 2 * rows])?.unwrap_or_else(|| vec![0.0; count * 2 * rows]);
        let peepholes = expect(peepholes.filter(|_| gates == 4), "the peepholes", [count, 3 * hidden])?;
        let activations = activations(node, count, gates)?;
        let (w, r) = (floats(w)?, floats(r)?);
        let directions = reversals.iter().enumerate().map(|(d, &reversed)| {
            let w = &w[d * rows * inputs..][..rows * inputs];
            let r = &r[d * rows * hidden..][..rows * hidden];
            let (input_bias, hidden_bias) = bias[d * 2 * rows..][..2 * rows].split_at(rows);
            let own = &activations[d];
            let mut bias: Vec<f32> = input_bias.iter().zip(hidden_bias).map(|(a, b)| a + b).collect();
            // Rows of the hidden weight that are multiplied at once.
            let mut multiplied = rows;
            let cell = match gates {
                1 => Cell::Plain(own[0]),
                3 => {
                    let last = 2 * hidden;
                    let reset = if node.int("linear_before_reset").unwrap_or(0) == 0 {
                        multiplied = last;
                        Reset::Before(Panels::pack(hidden, hidden, &[], |o, k| r[(last + o) * hidden + k]))
                    } else {
                        // The last gate's hidden bias is reset with its product.
                        bias[last..].copy_from_slice(&input_bias[last..]);
                        Reset::After(hidden_bias[last..].to_vec())
                    };
                    Cell::Gru { f: own[0], g: own[1], reset }
                }
                _ => Cell::Lstm {
                    f: own[0],
                    g: own[1],
                    h: own[2],
                    peepholes: peepholes.as_ref().map(|p| p[d * 3 * hidden..][..3 * hidden].to_vec()),
                    input_forget: node.int("input_forget").unwrap_or(0) != 0,
                },
            };
            Direction {
                cell,
                hidden,
                inputs,
                input_weight: Panels::pack(rows, inputs, &bias, |o, k| w[o * inputs + k]),
                hidden_weight: Panels::pack(multiplied, hidden, &[], |o, k| r[o * hidden + k]),
                clip: node.float("clip").filter(|c| *c > 0.0).unwrap_or(f32::INFINITY),
                reversed,
            }
        });
        let batch_first = node.int("layout").unwrap_or(0) != 0;
        Ok(Self { directions: directions.collect(), batch_first, has_cell_state: gates == 4 })
    }

    /// `data` are the inputs that [`Recurrent::DATA`] names. Gives the hidden states of all steps, the
    /// last ones, and an LSTM's last cell states.
    pub fn run(&self, data: &[Option<Value>], pool: Option<&ThreadPool>) -> OpResult<Vec<Value>> {
        let [x, lengths, hidden, cell] = [0, 1, 2, 3].map(|i| data.get(i).and_then(Option::as_ref));
        let Some(x) = x else { return fail("the sequences are missing") };
        expect_f32(x)?;
        let time_first = |v: &Value| -> OpResult<Value> {
            Ok(if self.batch_first { like(v, v.data.transpose(0, 1)?.contiguous()?) } else { v.clone() })
        };
        let Some(first) = self.directions.first() else { return fail("the layer has no direction") };
        let (count, size) = (self.directions.len(), first.hidden);
        let [_, _, inputs] = x.shape() else { return fail(format!("sequences have three axes, not shape {:?}", x.shape())) };
        if *inputs != first.inputs {
            return fail(format!("sequences of {inputs} values do not fit weights for {}", first.inputs));
        }
        let x = time_first(x)?;
        let (steps, batch) = (x.shape()[0], x.shape()[1]);
        let lengths = sequence_lengths(lengths, batch, steps)?;
        // Sums of the gates of all steps, states of every direction.
        room::<f32>(&[count, steps.max(1), batch, first.cell.gates(), size])?;
        let initial = |value: Option<&Value>| -> OpResult<Vec<f32>> {
            let Some(value) = value else { return Ok(vec![0.0; count * batch * size]) };
            expect_f32(value)?;
            let wanted = if self.batch_first { [batch, count, size] } else { [count, batch, size] };
            if value.shape() != wanted {
                return fail(format!("an initial state of shape {:?} should have {wanted:?}", value.shape()));
            }
            floats(&time_first(value)?)
        };
        let (hidden, cell) = (initial(hidden)?, initial(cell)?);
        let jobs: Vec<(usize, &Direction)> = self.directions.iter().enumerate().collect();
        let mut done: Vec<(Vec<f32>, State)> = with::<f32, _>(&x, |x| {
            let run = |&(d, direction): &(usize, &Direction)| {
                let own = |v: &[f32]| v[d * batch * size..][..batch * size].to_vec();
                let mut state = State { hidden: own(&hidden), cell: own(&cell) };
                let out = direction.run(x, steps, &lengths, &mut state);
                (out, state)
            };
            install(pool, || match jobs.as_slice() {
                [one] => vec![run(one)],
                all if pool.is_none() => all.iter().map(run).collect(),
                all => all.par_iter().map(run).collect(),
            })
        })?;
        let joined = |part: fn(&State) -> &Vec<f32>| -> OpResult<Value> {
            let all = done.iter().flat_map(|(_, state)| part(state)).map(|v| narrow(x.dtype, *v)).collect();
            let value = make(x.dtype, all, &[count, batch, size])?;
            time_first(&value)
        };
        let (last, cell) = (joined(|s| &s.hidden)?, joined(|s| &s.cell)?);
        let states = if let [(only, _)] = done.as_mut_slice() {
            std::mem::take(only)
        } else {
            let line = batch * size;
            (0..steps).flat_map(|t| done.iter().flat_map(move |(out, _)| &out[t * line..][..line])).copied().collect()
        };
        let states = states.into_iter().map(|v| narrow(x.dtype, v)).collect();
        let mut states = make(x.dtype, states, &[steps, count, batch, size])?;
        if self.batch_first {
            states.data = states.data.permute((2, 0, 1, 3))?.contiguous()?;
        }
        Ok([states, last].into_iter().chain(self.has_cell_state.then_some(cell)).collect())
    }
}

fn expect_f32(value: &Value) -> OpResult<()> {
    match held(value)? {
        Held::F32 => Ok(()),
        _ => unsupported(format!("values of type {} are not supported here; cast them to float32", value.dtype)),
    }
}

fn sequence_lengths(value: Option<&Value>, batch: usize, steps: usize) -> OpResult<Vec<usize>> {
    let Some(value) = value else { return Ok(vec![steps; batch]) };
    let lengths: Option<Vec<usize>> = ints(value)?.into_iter().map(|n| usize::try_from(n).ok().filter(|n| *n <= steps)).collect();
    match lengths {
        Some(lengths) if lengths.len() == batch => Ok(lengths),
        _ => fail(format!("the lengths of the sequences do not fit a batch of {batch} with {steps} steps")),
    }
}

/// The activations of each direction: of the gates, of the candidate, of the cell state, as far as the
/// operator has them.
fn activations(node: &Node, directions: usize, gates: usize) -> OpResult<Vec<Vec<Activation>>> {
    let default: &[&str] = match gates {
        4 => &["Sigmoid", "Tanh", "Tanh"],
        3 => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let names: Vec<String> = match node.attributes.get("activations") {
        Some(Attribute::Texts(names)) if !names.is_empty() => names.clone(),
        _ => default.repeat(directions).into_iter().map(str::to_owned).collect(),
    };
    if names.len() != default.len() * directions {
        return fail(format!("{} activations are needed, not {}", default.len() * directions, names.len()));
    }
    let numbers = |name: &str| match node.attributes.get(name) {
        Some(Attribute::Floats(v)) => v.clone(),
        _ => Vec::new(),
    };
    // Each activation that has parameters takes the next ones of the lists.
    let (mut alphas, mut betas) = (numbers("activation_alpha").into_iter(), numbers("activation_beta").into_iter());
    let mut alpha = |default: f32| alphas.next().unwrap_or(default);
    let mut beta = |default: f32| betas.next().unwrap_or(default);
    let all = names.iter().map(|name| {
        Ok(match name.to_ascii_lowercase().as_str() {
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "affine" => Activation::Affine { alpha: alpha(1.0), beta: beta(0.0) },
            "leakyrelu" => Activation::LeakyRelu { alpha: alpha(0.01) },
            "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha(1.0) },
            "scaledtanh" => Activation::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
            "hardsigmoid" => Activation::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            "elu" => Activation::Elu { alpha: alpha(1.0) },
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            _ => return fail(format!("activation \"{name}\" is none that ONNX lists")),
        })
    });
    let all = all.collect::<OpResult<Vec<Activation>>>()?;
    Ok(all.chunks(default.len()).map(<[Activation]>::to_vec).collect())
}
