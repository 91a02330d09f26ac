//! Recurrent layers: one direction of a plain recurrent network, a GRU or an LSTM over all time steps
//! (ONNX operators `RNN`, `GRU`, `LSTM`; Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997;
//! Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", 2014).
//!
//! What the inputs contribute is one matrix product for all time steps; only what the hidden state
//! contributes is computed step by step.

use super::convolve::Panels;
use super::is_stopped;
use super::matmul::product;
use super::transcendental::{Function, apply};

/// A function between a gate's sum and its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    Affine { alpha: f32, beta: f32 },
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    ScaledTanh { alpha: f32, beta: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    Elu { alpha: f32 },
    Softsign,
    Softplus,
}

impl Activation {
    /// In place, on every element.
    pub fn apply(self, x: &mut [f32]) {
        match self {
            Self::Relu => each(x, |v| v.max(0.0)),
            Self::Tanh => apply(Function::Tanh, x),
            Self::Sigmoid => apply(Function::Sigmoid, x),
            Self::Affine { alpha, beta } => each(x, |v| alpha * v + beta),
            Self::LeakyRelu { alpha } => each(x, |v| if v < 0.0 { alpha * v } else { v }),
            Self::ThresholdedRelu { alpha } => each(x, |v| if v > alpha { v } else { 0.0 }),
            Self::ScaledTanh { alpha, beta } => each(x, |v| alpha * (beta * v).tanh()),
            Self::HardSigmoid { alpha, beta } => each(x, |v| (alpha * v + beta).clamp(0.0, 1.0)),
            Self::Elu { alpha } => each(x, |v| if v < 0.0 { alpha * v.exp_m1() } else { v }),
            Self::Softsign => each(x, |v| v / (1.0 + v.abs())),
            Self::Softplus => each(x, |v| v.max(0.0) + (-v.abs()).exp().ln_1p()),
        }
    }
}

fn each(x: &mut [f32], f: impl Fn(f32) -> f32) {
    for v in x {
        *v = f(*v);
    }
}

/// What follows a GRU's reset gate.
#[derive(Debug, Clone)]
pub enum Reset {
    /// The hidden state is reset before it is multiplied: by this matrix, from `hidden` to `hidden`.
    Before(Panels),
    /// The product is reset after this bias, `[hidden]`, is added (`linear_before_reset`).
    After(Vec<f32>),
}

/// What a step computes from the sums of its gates.
#[derive(Debug, Clone)]
pub enum Cell {
    /// One gate.
    Plain(Activation),
    /// Gates update, reset, hidden; activations of the first two and of the last.
    Gru { f: Activation, g: Activation, reset: Reset },
    /// Gates input, output, forget, cell; activations of the first three, of the fourth, and of the
    /// cell state. `peepholes`: `[3 · hidden]` for input, output, forget.
    Lstm { f: Activation, g: Activation, h: Activation, peepholes: Option<Vec<f32>>, input_forget: bool },
}

impl Cell {
    pub fn gates(&self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }
}

/// The parameters of one direction.
#[derive(Debug, Clone)]
pub struct Direction {
    pub cell: Cell,
    pub hidden: usize,
    pub inputs: usize,
    /// From `inputs` to `gates · hidden`, with the bias of the gates.
    pub input_weight: Panels,
    /// From `hidden` to `gates · hidden`; without the last gate for a GRU that resets before it multiplies.
    pub hidden_weight: Panels,
    /// Sums are clipped to ± this.
    pub clip: f32,
    /// From the end of each sequence to its beginning.
    pub reversed: bool,
}

/// Hidden and cell state, `[batch, hidden]` each (the cell state of an LSTM alone is read).
#[derive(Debug, Clone)]
pub struct State {
    pub hidden: Vec<f32>,
    pub cell: Vec<f32>,
}

impl Direction {
    /// Walks `x`, `[steps, batch, inputs]`, of which row `b` is valid for `lengths[b]` steps. Leaves
    /// `state` as it is after each sequence's last step and gives the hidden states, `[steps, batch,
    /// hidden]`, with zeros beyond the ends.
    ///
    /// # Panics
    /// When slices do not have the sizes given.
    pub fn run(&self, x: &[f32], steps: usize, lengths: &[usize], state: &mut State) -> Vec<f32> {
        let (batch, hidden) = (lengths.len(), self.hidden);
        let width = self.cell.gates() * hidden;
        let rows = steps * batch;
        let mut sums = vec![0.0; rows * width];
        product(x, rows, &self.input_weight, &mut sums);
        let mut out = vec![0.0; rows * hidden];
        let mut buffers =
            Buffers { product: vec![0.0; batch * width], reset: vec![0.0; batch * hidden], line: vec![0.0; hidden] };
        for step in 0..steps.min(lengths.iter().copied().max().unwrap_or(0)) {
            if is_stopped() {
                break;
            }
            let place = |b: usize| (if self.reversed { lengths[b] - 1 - step } else { step }) * batch + b;
            self.step(step, &mut sums, &place, lengths, state, &mut buffers);
            for b in (0..batch).filter(|b| step < lengths[*b]) {
                out[place(b) * hidden..][..hidden].copy_from_slice(&state.hidden[b * hidden..][..hidden]);
            }
        }
        out
    }

    /// One time step of all sequences that have not ended.
    fn step(
        &self,
        step: usize,
        sums: &mut [f32],
        place: &dyn Fn(usize) -> usize,
        lengths: &[usize],
        state: &mut State,
        buffers: &mut Buffers,
    ) {
        let (batch, hidden) = (lengths.len(), self.hidden);
        let width = self.cell.gates() * hidden;
        let columns = self.hidden_weight.channels();
        product(&state.hidden, batch, &self.hidden_weight, &mut buffers.product);
        let active = || (0..batch).filter(|b| step < lengths[*b]);
        for b in active() {
            let row = &mut sums[place(b) * width..][..width];
            let product = &buffers.product[b * columns..][..columns];
            let (h, c) = (&mut state.hidden[b * hidden..][..hidden], &mut state.cell[b * hidden..][..hidden]);
            match &self.cell {
                Cell::Plain(f) => {
                    add(row, product);
                    self.activate(*f, row);
                    h.copy_from_slice(row);
                }
                Cell::Lstm { .. } => {
                    add(row, product);
                    self.lstm(row, h, c, &mut buffers.line);
                }
                Cell::Gru { f, g, reset } => {
                    let (gates, candidate) = row.split_at_mut(2 * hidden);
                    add(gates, &product[..2 * hidden]);
                    self.activate(*f, gates);
                    match reset {
                        Reset::After(bias) => {
                            let products = product[2 * hidden..].iter().zip(bias);
                            for ((v, r), (p, b)) in candidate.iter_mut().zip(&gates[hidden..]).zip(products) {
                                *v += r * (p + b);
                            }
                            self.activate(*g, candidate);
                            blend(&gates[..hidden], candidate, h);
                        }
                        Reset::Before(_) => {
                            let line = &mut buffers.reset[b * hidden..][..hidden];
                            for ((v, r), h) in line.iter_mut().zip(&gates[hidden..]).zip(h.iter()) {
                                *v = r * h;
                            }
                        }
                    }
                }
            }
        }
        if let Cell::Gru { g, reset: Reset::Before(weight), .. } = &self.cell {
            product(&buffers.reset, batch, weight, &mut buffers.product);
            for b in active() {
                let (gates, candidate) = sums[place(b) * width..][..width].split_at_mut(2 * hidden);
                add(candidate, &buffers.product[b * hidden..][..hidden]);
                self.activate(*g, candidate);
                blend(&gates[..hidden], candidate, &mut state.hidden[b * hidden..][..hidden]);
            }
        }
    }

    fn activate(&self, f: Activation, x: &mut [f32]) {
        if self.clip.is_finite() {
            each(x, |v| v.clamp(-self.clip, self.clip));
        }
        f.apply(x);
    }

    /// From the sums of the four gates to the next state of one sequence.
    fn lstm(&self, row: &mut [f32], h: &mut [f32], c: &mut [f32], line: &mut [f32]) {
        let Cell::Lstm { f, g, h: last, peepholes, input_forget } = &self.cell else { return };
        let n = self.hidden;
        let (input, rest) = row.split_at_mut(n);
        let (output, rest) = rest.split_at_mut(n);
        let (forget, cell) = rest.split_at_mut(n);
        if let Some(p) = peepholes {
            add_product(input, &p[..n], c);
            add_product(forget, &p[2 * n..], c);
        }
        self.activate(*f, input);
        if *input_forget {
            for (forget, input) in forget.iter_mut().zip(&*input) {
                *forget = 1.0 - input;
            }
        } else {
            self.activate(*f, forget);
        }
        self.activate(*g, cell);
        for ((c, forget), (input, cell)) in c.iter_mut().zip(&*forget).zip(input.iter().zip(&*cell)) {
            *c = forget * *c + input * cell;
        }
        if let Some(p) = peepholes {
            add_product(output, &p[n..2 * n], c);
        }
        self.activate(*f, output);
        line.copy_from_slice(c);
        // The cell state is no sum of a gate: ONNX Runtime does not clip it either.
        last.apply(line);
        for ((h, output), value) in h.iter_mut().zip(&*output).zip(line) {
            *h = output * *value;
        }
    }
}

/// Room for one step, used again by the next.
struct Buffers {
    /// What the hidden states contribute to the sums.
    product: Vec<f32>,
    /// Hidden states that were reset.
    reset: Vec<f32>,
    line: Vec<f32>,
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

fn add_product(x: &mut [f32], a: &[f32], b: &[f32]) {
    for (x, (a, b)) in x.iter_mut().zip(a.iter().zip(b)) {
        *x += a * b;
    }
}

/// `h = (1 − z) · candidate + z · h`
fn blend(z: &[f32], candidate: &[f32], h: &mut [f32]) {
    for ((h, z), v) in h.iter_mut().zip(z).zip(candidate) {
        *h = (1.0 - z) * v + z * *h;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sigmoid(x: f32) -> f32 {
        1.0 / (1.0 + (-x).exp())
    }

    /// One input, one hidden unit: the equations can be written out.
    #[test]
    fn an_lstm_of_one_unit_is_its_equations() {
        let (f, g) = (Activation::Sigmoid, Activation::Tanh);
        let (w, r, bias, p) = ([0.5, -0.3, 0.8, 1.1], [0.2, 0.4, -0.6, 0.7], [0.1, 0.0, -0.1, 0.2], [0.3, -0.2, 0.4]);
        let cell = Cell::Lstm { f, g, h: g, peepholes: Some(p.to_vec()), input_forget: false };
        let layer = Direction {
            cell,
            hidden: 1,
            inputs: 1,
            input_weight: Panels::pack(4, 1, &bias, |gate, _| w[gate]),
            hidden_weight: Panels::pack(4, 1, &[], |gate, _| r[gate]),
            clip: f32::INFINITY,
            reversed: false,
        };
        let mut state = State { hidden: vec![0.25], cell: vec![-0.5] };
        let out = layer.run(&[0.7, -1.2], 2, &[2], &mut state);
        let (mut h, mut c) = (0.25_f32, -0.5_f32);
        for (t, x) in [0.7_f32, -1.2].into_iter().enumerate() {
            let sum = |i: usize| w[i] * x + r[i] * h + bias[i];
            let (input, forget) = (sigmoid(sum(0) + p[0] * c), sigmoid(sum(2) + p[2] * c));
            let next = forget * c + input * sum(3).tanh();
            h = sigmoid(sum(1) + p[1] * next) * next.tanh();
            c = next;
            assert!((out[t] - h).abs() < 1e-6);
        }
        assert!((state.cell[0] - c).abs() < 1e-6 && (state.hidden[0] - h).abs() < 1e-6);
    }

    #[test]
    fn sequences_end_where_they_end() {
        let plain = |reversed| Direction {
            cell: Cell::Plain(Activation::Affine { alpha: 1.0, beta: 0.0 }),
            hidden: 1,
            inputs: 1,
            input_weight: Panels::pack(1, 1, &[], |_, _| 1.0),
            hidden_weight: Panels::pack(1, 1, &[], |_, _| 1.0),
            clip: f32::INFINITY,
            reversed,
        };
        // Two sequences side by side, of 3 and of 1 steps: running sums.
        let x = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        let mut state = State { hidden: vec![0.0; 2], cell: vec![0.0; 2] };
        assert_eq!(plain(false).run(&x, 3, &[3, 1], &mut state), [1.0, 10.0, 3.0, 0.0, 6.0, 0.0]);
        assert_eq!(state.hidden, [6.0, 10.0]);
        let mut state = State { hidden: vec![0.0; 2], cell: vec![0.0; 2] };
        assert_eq!(plain(true).run(&x, 3, &[3, 1], &mut state), [6.0, 10.0, 5.0, 0.0, 3.0, 0.0]);
        assert_eq!(state.hidden, [6.0, 10.0]);
    }
}
