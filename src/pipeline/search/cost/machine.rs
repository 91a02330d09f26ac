//! How fast this machine is: small networks of one layer are run once, and what they reach is kept.

use crate::engine::Ctx;
use crate::engine::exec::{Arithmetic, ExecError, Executor, Request, prepare};
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, Port, Wire};
use crate::engine::random::Random;
use crate::engine::tensor::{DType, Tensor, Value};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Changes when measurements of the same name would come out otherwise.
const VERSION: u32 = 3;
/// Seconds that each network is run for.
const PATIENCE: f64 = 0.05;
/// Samples that run together.
const BATCH: usize = 8;
/// Layers in a row of the longer of two networks: what its layers take more than the one of the shorter is without what
/// comes in and goes out once.
const DEEP: usize = 5;

/// Multiply-accumulates per second, by the number of channels of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates(Vec<(usize, f64)>);

impl Rates {
    /// The rate between measured widths, on a scale of logarithms; beyond them that of the last.
    #[must_use]
    pub fn at(&self, width: usize) -> f64 {
        let above = self.0.iter().position(|(w, _)| *w >= width).unwrap_or(self.0.len());
        let right = self.0.get(above).or(self.0.last());
        let left = self.0.get(above.saturating_sub(1));
        match (left, right) {
            (Some((a, low)), Some((b, high))) if a < b => {
                let log = |n: usize| (n.max(1) as f64).ln();
                let share = ((log(width) - log(*a)) / (log(*b) - log(*a))).clamp(0.0, 1.0);
                (low.ln() + share * (high.ln() - low.ln())).exp()
            }
            (_, Some((_, rate))) => *rate,
            _ => f64::NAN,
        }
    }
}

/// What this machine does with the threads that it was measured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    version: u32,
    pub threads: usize,
    pub convolution: Rates,
    pub convolution_integer: Rates,
    /// Of convolutions with one tap.
    pub pointwise: Rates,
    pub pointwise_integer: Rates,
    pub matrix: Rates,
    pub matrix_integer: Rates,
    pub depthwise: f64,
    pub depthwise_integer: f64,
    /// Of data that streams through a layer.
    pub bytes_per_second: f64,
}

impl Machine {
    /// What [`Machine::to_ron`] wrote, if it was with as many threads.
    #[must_use]
    pub fn from_ron(text: &str, threads: usize) -> Option<Self> {
        ron::from_str::<Self>(text).ok().filter(|m| m.version == VERSION && m.threads == threads)
    }

    /// # Errors
    /// When RON cannot hold it.
    pub fn to_ron(&self) -> Result<String, ron::Error> {
        ron::to_string(self)
    }
}

/// One layer to be timed.
#[derive(Clone, Copy)]
enum Probe {
    /// Square, with so many taps along a side: channels, places along one side.
    Convolution {
        taps: usize,
        channels: usize,
        side: usize,
    },
    Depthwise(usize, usize),
    Matrix(usize),
    /// The traffic of an elementwise node: values in, values out.
    Stream(usize),
}

/// Measures the machine: about three seconds.
///
/// # Errors
/// When the engine refuses, or on cancel.
pub fn calibrate(ctx: &Ctx) -> Result<Machine, ExecError> {
    let sizes = [(4, 64), (16, 32), (64, 16), (256, 8)];
    ctx.start("Measuring this machine", 0);
    let rates = |probes: &[(usize, Probe)], arithmetic| -> Result<Rates, ExecError> {
        let rate = |(width, probe): &(usize, Probe)| Ok((*width, rate(*probe, arithmetic, ctx)?));
        Ok(Rates(probes.iter().map(rate).collect::<Result<_, ExecError>>()?))
    };
    let convolutions = sizes.map(|(channels, side)| (channels, Probe::Convolution { taps: 3, channels, side }));
    let pointwise = sizes.map(|(channels, side)| (channels, Probe::Convolution { taps: 1, channels, side }));
    let matrices = [16, 128, 1024].map(|width| (width, Probe::Matrix(width)));
    Ok(Machine {
        version: VERSION,
        threads: ctx.pool().current_num_threads(),
        convolution: rates(&convolutions, Arithmetic::Simulated)?,
        convolution_integer: rates(&convolutions, Arithmetic::Integer)?,
        pointwise: rates(&pointwise, Arithmetic::Simulated)?,
        pointwise_integer: rates(&pointwise, Arithmetic::Integer)?,
        matrix: rates(&matrices, Arithmetic::Simulated)?,
        matrix_integer: rates(&matrices, Arithmetic::Integer)?,
        depthwise: rate(Probe::Depthwise(64, 16), Arithmetic::Simulated, ctx)?,
        depthwise_integer: rate(Probe::Depthwise(64, 16), Arithmetic::Integer, ctx)?,
        bytes_per_second: rate(Probe::Stream(64), Arithmetic::Simulated, ctx)?,
    })
}

/// Multiply-accumulates (of a stream: bytes) per second, the quickest of the runs.
fn rate(probe: Probe, arithmetic: Arithmetic, ctx: &Ctx) -> Result<f64, ExecError> {
    let (one, work) = (quickest(probe, 1, arithmetic, ctx)?, work(probe) as f64 * BATCH as f64);
    if matches!(probe, Probe::Stream(_)) {
        return Ok(work / one.max(1e-9));
    }
    let many = quickest(probe, DEEP, arithmetic, ctx)?;
    // On a busy machine the longer may seem to take less than its part.
    let each = ((many - one) / (DEEP - 1) as f64).max(0.2 * many / DEEP as f64);
    Ok(work / each.max(1e-9))
}

/// Seconds of `deep` layers in a row.
fn quickest(probe: Probe, deep: usize, arithmetic: Arithmetic, ctx: &Ctx) -> Result<f64, ExecError> {
    let (model, shape) = network(probe, deep, arithmetic)?;
    let executor = Executor::new(&model, &Request { arithmetic, ..Request::default() })?;
    let mut random = Random::new(1);
    let values = (0..shape.iter().product()).map(|_| random.normal()).collect();
    let feeds = [(Wire::from("x"), Value::from_f32(values, &shape)?)];
    let (mut best, started) = (f64::INFINITY, Instant::now());
    while best.is_infinite() || started.elapsed().as_secs_f64() < PATIENCE {
        ctx.check()?;
        let run = Instant::now();
        executor.run(&feeds, ctx, &mut |_, _| {})?;
        best = best.min(run.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Multiply-accumulates of one layer for one sample; of a stream bytes.
fn work(probe: Probe) -> usize {
    match probe {
        Probe::Convolution { taps, channels, side } => taps * taps * channels * channels * side * side,
        Probe::Depthwise(channels, side) => 9 * channels * side * side,
        Probe::Matrix(n) => n * n,
        Probe::Stream(channels) => 2 * 4 * channels * 32 * 32,
    }
}

/// The network of a probe, so many layers deep, and the shape of its input.
fn network(probe: Probe, deep: usize, arithmetic: Arithmetic) -> Result<(Model, Vec<usize>), ExecError> {
    let (shape, weight, op): (Vec<usize>, Vec<usize>, &str) = match probe {
        Probe::Convolution { taps, channels: c, side } => (vec![BATCH, c, side, side], vec![c, c, taps, taps], "Conv"),
        Probe::Depthwise(c, side) => (vec![BATCH, c, side, side], vec![c, 1, 3, 3], "Conv"),
        Probe::Matrix(n) => (vec![BATCH, n], vec![n, n], "Gemm"),
        Probe::Stream(c) => (vec![BATCH, c, 32, 32], Vec::new(), "Relu"),
    };
    let dims = shape.iter().enumerate().map(|(i, d)| if i == 0 { Dim::Named("N".into()) } else { Dim::Known(*d) });
    let port = Port { wire: "x".into(), fact: Fact { dtype: Some(DType::F32), shape: Some(dims.collect()) } };
    let mut model = Model { inputs: vec![port], opsets: [(String::new(), 17)].into(), ..Model::default() };
    let mut attributes: Vec<(&str, Attribute)> = match probe {
        Probe::Convolution { taps: 1, .. } | Probe::Stream(_) => Vec::new(),
        Probe::Convolution { .. } | Probe::Depthwise(..) => vec![("pads", Attribute::Ints(vec![1; 4]))],
        Probe::Matrix(_) => vec![("transB", Attribute::Int(1))],
    };
    if let Probe::Depthwise(channels, _) = probe {
        attributes.push(("group", Attribute::Int(channels as i64)));
    }
    if !weight.is_empty() && arithmetic == Arithmetic::Integer {
        codes(&mut model, &weight)?;
    } else if !weight.is_empty() {
        let mut random = Random::new(2);
        let values: Vec<f32> = (0..weight.iter().product()).map(|_| random.normal()).collect();
        model.constants.insert("w".into(), Tensor::from_f32(weight.clone(), &values)?);
    }
    let mut data = "x".to_owned();
    for layer in 0..deep {
        if arithmetic == Arithmetic::Integer {
            data = rounded(&mut model, &data);
        }
        let made = format!("y{layer}");
        let weights = (!weight.is_empty()).then_some("w");
        let inputs: Vec<&str> = std::iter::once(data.as_str()).chain(weights).collect();
        add(&mut model, op, &inputs, &made, attributes.clone());
        data = made;
    }
    model.outputs = vec![Port { wire: data.as_str().into(), fact: Fact::default() }];
    Ok((prepare(&model)?, shape))
}

/// Data rounded to bytes: the wire that they lie on.
fn rounded(model: &mut Model, data: &str) -> String {
    let [codes, back] = ["q", "r"].map(|end| format!("{data}.{end}"));
    add(model, "QuantizeLinear", &[data, "scale", "zero"], &codes, Vec::new());
    add(model, "DequantizeLinear", &[&codes, "scale", "zero"], &back, Vec::new());
    back
}

/// 8-bit weights with a scale for each output channel as `w`, and what data are rounded with.
fn codes(model: &mut Model, shape: &[usize]) -> Result<(), ExecError> {
    let mut random = Random::new(2);
    let codes: Vec<i64> = (0..shape.iter().product()).map(|_| random.range(-127.5, 127.5) as i64).collect();
    let channels = shape.first().copied().unwrap_or(1);
    model.constants.insert("codes".into(), Tensor::from_integers(DType::I8, shape.to_vec(), &codes)?);
    model.constants.insert("scales".into(), Tensor::from_f32(vec![channels], &vec![0.01; channels])?);
    model.constants.insert("scale".into(), Tensor::scalar_f32(0.03));
    model.constants.insert("zero".into(), Tensor::scalar_u8(128));
    add(model, "DequantizeLinear", &["codes", "scales"], "w", vec![("axis", Attribute::Int(0))]);
    Ok(())
}

fn add(model: &mut Model, op: &str, inputs: &[&str], output: &str, attributes: Vec<(&str, Attribute)>) {
    model.nodes.push(Node {
        id: model.next_id(),
        name: output.to_owned(),
        op: op.to_owned(),
        domain: String::new(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(Wire::from(output))],
        attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_between_and_beyond() {
        let rates = Rates(vec![(4, 1e9), (16, 4e9), (64, 4e9)]);
        for (width, rate) in [(1, 1e9), (4, 1e9), (8, 2e9), (16, 4e9), (32, 4e9), (999, 4e9)] {
            assert!((rates.at(width) - rate).abs() < 100.0, "{width}: {}", rates.at(width));
        }
        assert!(Rates(Vec::new()).at(3).is_nan());
    }

    /// Networks of integers must run in integers: what is measured is not the simulation.
    #[test]
    fn probes_are_what_they_say() {
        let ctx = Ctx::new(1).unwrap();
        let convolution = |taps| Probe::Convolution { taps, channels: 4, side: 8 };
        for probe in [convolution(3), convolution(1), Probe::Depthwise(8, 6), Probe::Matrix(16)] {
            let (model, ..) = network(probe, 3, Arithmetic::Integer).unwrap();
            let request = Request { arithmetic: Arithmetic::Integer, ..Request::default() };
            assert_eq!(Executor::new(&model, &request).unwrap().integer_layers(), 3);
        }
        assert!(rate(Probe::Stream(4), Arithmetic::Simulated, &ctx).unwrap() > 1e6);
    }
}
