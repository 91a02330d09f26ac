//! What ONNX Runtime makes of an exported file, beside what we make of it: accuracy and time on the evaluation data.
//! Its library is loaded while the program runs, from `ORT_DYLIB_PATH`; programs built without the feature
//! `onnxruntime` say so.

use super::{Opened, Split, WorkError};
use crate::engine::Ctx;
use crate::engine::exec::{ExecError, Executor, Request};
use crate::engine::graph::passes::infer_shapes;
use crate::engine::tensor::Value;
use crate::pipeline::evaluate::{Elsewhere, EvaluateError, run_elsewhere};
use crate::pipeline::export::Check;
use crate::pipeline::load::{self, Dataset};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) const PROGRAM: &str = "ONNX Runtime";
/// Points by which its accuracy may differ from ours: it rounds sums elsewhere.
const POINTS: f64 = 0.3;
/// The same of perplexities, as a part of them.
const PART: f64 = 1e-3;

type Forward<'a> = dyn FnMut(&Value) -> Result<Value, EvaluateError> + 'a;

impl Opened {
    /// Runs a file on the evaluation data, there and here.
    ///
    /// # Errors
    /// When there is no data, or the runtime cannot be loaded or refuses the file.
    pub(super) fn in_runtime(&self, file: &Path, ctx: &Ctx) -> Result<Check, WorkError> {
        let data = self.dataset(Split::Evaluate, None, ctx)?;
        let threads = ctx.pool().current_num_threads();
        let mut session = Session::open(file, threads).map_err(elsewhere)?;
        let there = self.timed(&data, &mut |x| session.run(x).map_err(elsewhere), ctx)?;
        let loaded = load::model(file, &ctx.fresh())?;
        let model = infer_shapes(&loaded.model);
        let exec = |source: ExecError| EvaluateError::Exec { which: "exported", source };
        let executor = Executor::new(&model, &Request::default()).map_err(exec)?;
        let input = model.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
        let mut here = |x: &Value| {
            let outputs = executor.run(&[(input.clone(), x.clone())], ctx, &mut |_, _| {}).map_err(exec)?;
            outputs.into_iter().next().map(|(_, value)| value).ok_or(EvaluateError::NoPorts)
        };
        let here = self.timed(&data, &mut here, ctx)?;
        Ok(beside(&there, &here, threads))
    }

    fn timed(&self, data: &Dataset, forward: &mut Forward<'_>, ctx: &Ctx) -> Result<(Elsewhere, Duration), WorkError> {
        let mut time = Duration::ZERO;
        let mut watched = |x: &Value| {
            let started = Instant::now();
            let out = forward(x);
            time += started.elapsed();
            out
        };
        let found = run_elsewhere(&self.subject.original, &mut watched, data, ctx)?;
        Ok((found, time))
    }
}

fn elsewhere(reason: String) -> EvaluateError {
    EvaluateError::Elsewhere { reason }
}

/// Both numbers in a line; passed where they agree.
fn beside((there, time): &(Elsewhere, Duration), (here, own): &(Elsewhere, Duration), threads: usize) -> Check {
    let each = |time: &Duration, of: &Elsewhere| time.as_secs_f64() * 1e3 / of.samples.max(1) as f64;
    let speed = format!("{:.3} ms a sample, {:.3} ms here, on {threads} threads", each(time, there), each(own, here));
    let samples = there.samples;
    let (passed, value) = match (there.metrics, here.metrics) {
        (Some(a), Some(b)) => {
            let text = a.next_token.zip(b.next_token).map(|(a, b)| (a.perplexity, b.perplexity));
            let alike = (a.top1.value - b.top1.value).abs() <= POINTS;
            let close = text.is_none_or(|(a, b)| (a - b).abs() <= PART * b);
            let ((name, x), (_, y)) = (a.headline(), b.headline());
            (alike && close, format!("{name} {x} on {samples} samples, {y} here"))
        }
        _ => {
            let (a, b) = (there.fidelity.kl_mean, here.fidelity.kl_mean);
            ((a - b).abs() <= PART * b.max(PART), format!("KL to the original {a:.6} on {samples} samples, {b:.6} here"))
        }
    };
    Check::new(&format!("in {PROGRAM}"), passed, format!("{value}; {speed}"))
}

#[cfg(feature = "onnxruntime")]
struct Session(ort::session::Session);

#[cfg(feature = "onnxruntime")]
impl Session {
    fn open(file: &Path, threads: usize) -> Result<Self, String> {
        let library = std::env::var_os("ORT_DYLIB_PATH").ok_or("set ORT_DYLIB_PATH to its library")?;
        if !Path::new(&library).is_file() {
            return Err(format!("{} is not there", Path::new(&library).display()));
        }
        let open = || ort::session::Session::builder()?.with_intra_threads(threads)?.commit_from_file(file);
        // What is no such library, or too old a one, is met with a panic.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(open));
        let opened = opened.map_err(|_| format!("{} cannot be loaded", Path::new(&library).display()))?;
        opened.map(Self).map_err(|e| e.to_string())
    }

    /// The first output for the first input.
    fn run(&mut self, x: &Value) -> Result<Value, String> {
        let tensor = |e: crate::engine::tensor::TensorError| e.to_string();
        let shape: Vec<i64> = x.shape().iter().map(|d| *d as i64).collect();
        let fed = if x.dtype.is_float() {
            ort::value::Tensor::from_array((shape, x.to_f32().map_err(tensor)?)).map(ort::value::Tensor::into_dyn)
        } else {
            ort::value::Tensor::from_array((shape, x.to_i64().map_err(tensor)?)).map(ort::value::Tensor::into_dyn)
        };
        let fed = fed.map_err(|e| e.to_string())?;
        let name = self.0.outputs.first().map(|o| o.name.clone()).ok_or("the file gives nothing")?;
        let outputs = self.0.run(ort::inputs![fed]).map_err(|e| e.to_string())?;
        let first = outputs.get(name.as_str()).ok_or("the file gives nothing")?;
        let (shape, values) = first.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
        let shape: Vec<usize> = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
        Value::from_f32(values.to_vec(), &shape).map_err(tensor)
    }
}

/// There is none to open.
#[cfg(not(feature = "onnxruntime"))]
enum Session {}

#[cfg(not(feature = "onnxruntime"))]
impl Session {
    fn open(_: &Path, _: usize) -> Result<Self, String> {
        Err("this build cannot load it (it was built without the feature `onnxruntime`)".to_owned())
    }

    fn run(&mut self, _: &Value) -> Result<Value, String> {
        match *self {}
    }
}
