//! The ONNX project's own backend tests on this executor. A test is a folder with `model.onnx` and
//! one or more `test_data_set_*`, each with `input_*.pb` and the `output_*.pb` that belong to them.
//!
//! A test has passed when every output of every data set is right; it is unsupported when Lapidary
//! says by name that it does not do what is asked (an operator, a mode of one, an element type)
//! before it gives any answer; all else has failed: a wrong answer is worse than none.

mod case;
mod compare;
mod errata;
mod suite;
#[cfg(test)]
mod tests;

use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use suite::Suite;

/// A test may take this long. Those of ONNX take milliseconds.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a test that was told to stop is waited for, before its threads are left to themselves.
const GRACE: Duration = Duration::from_secs(2);
/// How often the person's wish to stop is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Room for graphs within graphs.
const STACK_BYTES: usize = 16 << 20;

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// What is not done here.
    Unsupported(String),
    /// What was wrong.
    Failed(String),
}

impl Outcome {
    /// As scripts know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unsupported(_) => "unsupported",
            Self::Failed(_) => "failed",
        }
    }

    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Unsupported(reason) | Self::Failed(reason) => Some(reason),
        }
    }
}

/// One test and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// Of its folder.
    pub name: String,
    pub outcome: Outcome,
}

/// All tests, in the order of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conformance {
    pub tests: Vec<TestResult>,
}

impl Conformance {
    #[must_use]
    pub fn passed(&self) -> usize {
        self.tests.iter().filter(|t| t.outcome == Outcome::Passed).count()
    }

    #[must_use]
    pub fn unsupported(&self) -> usize {
        self.tests.iter().filter(|t| matches!(t.outcome, Outcome::Unsupported(_))).count()
    }

    #[must_use]
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|t| matches!(t.outcome, Outcome::Failed(_))).count()
    }
}

/// Why the tests could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("{}: {source}; check that the tests are there and may be read", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: not an archive that can be unpacked: {reason}; give a folder, a .tar or a .tar.gz", path.display())]
    Archive { path: PathBuf, reason: String },
    #[error(
        "{}: there are no ONNX backend tests in it; a test is a folder with model.onnx and test_data_set_0",
        path.display()
    )]
    Empty { path: PathBuf },
    #[error("threads cannot be started: {0}")]
    Threads(String),
}

/// Runs every test below `path`: a folder, searched recursively, or a tar archive, plain or gzipped.
///
/// # Errors
/// When there are no tests or they cannot be read, or on cancel. A test that fails is no error.
pub fn run(path: &Path, ctx: &Ctx) -> Result<Conformance, ConformanceError> {
    let suite = Suite::open(path, ctx)?;
    ctx.start("Running conformance tests", suite.tests.len());
    let mut work = ctx.fresh();
    let mut result = Conformance::default();
    for folder in &suite.tests {
        let own = folder.clone();
        let outcome = watched(LIMIT, &mut work, ctx, move |ctx| case::run(&own, ctx))?;
        let name = folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        result.tests.push(TestResult { name, outcome: suite.relative(outcome) });
        ctx.advance(1);
    }
    Ok(result)
}

/// Runs one test on a thread of its own: a panic is an outcome, and so is taking longer than `limit`.
/// `work` is the context that the test gets a fresh copy of; it is replaced when a test has to be left
/// behind with threads of its pool.
fn watched(
    limit: Duration,
    work: &mut Ctx,
    ctx: &Ctx,
    test: impl FnOnce(&Ctx) -> Outcome + Send + 'static,
) -> Result<Outcome, ConformanceError> {
    let threads = |e: &dyn std::fmt::Display| ConformanceError::Threads(e.to_string());
    let inner = work.fresh();
    let (send, receive) = sync_channel(1);
    let given = inner.clone();
    let guarded = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| test(&given)));
        // Nobody listens any more once the time was up.
        let _ = send.send(outcome.unwrap_or_else(|panic| Outcome::Failed(panicked(panic.as_ref()))));
    };
    let builder = thread::Builder::new().name("conformance test".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(guarded).map_err(|e| threads(&e))?;
    let started = Instant::now();
    loop {
        match receive.recv_timeout(POLL) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Disconnected) => return Ok(Outcome::Failed("it ended without an answer".to_owned())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ctx.is_cancelled() {
            inner.cancel();
            return Err(Cancelled.into());
        }
        if started.elapsed() >= limit {
            inner.cancel();
            if receive.recv_timeout(GRACE).is_err() {
                *work = Ctx::new(ctx.pool().current_num_threads()).map_err(|e| threads(&e))?;
                work.seed = ctx.seed;
            }
            return Ok(Outcome::Failed(format!("stopped after {} s", limit.as_secs_f64())));
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}
