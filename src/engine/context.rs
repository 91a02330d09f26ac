//! What everything that takes time is given as its last argument: a way to stop, a way to
//! say how far it is, a place for warnings, a seed, and the threads it may use.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The work was stopped by the person. An outcome, not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Something the person should know that did not stop the work.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Warning {
    /// The layer, file or pattern it is about; empty when it is about the whole.
    pub subject: String,
    /// What was seen and what to do about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.subject, self.message) }
    }
}

/// How far the work is; read by whoever shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressView {
    /// What is being done, in a few words.
    pub label: String,
    pub done: usize,
    /// 0 where the amount of work is unknown.
    pub total: usize,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: Arc<AtomicBool>,
    done: AtomicUsize,
    total: AtomicUsize,
    label: Mutex<String>,
    warnings: Mutex<Vec<Warning>>,
}

/// Cheap to clone; every clone speaks for the same piece of work.
#[derive(Clone)]
pub struct Ctx {
    shared: Arc<Shared>,
    pool: Arc<rayon::ThreadPool>,
    /// Where randomness starts. The same seed gives the same bytes.
    pub seed: u64,
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").field("shared", &self.shared).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Ctx {
    /// A context whose heavy loops run on `threads` threads of a pool of its own (0: one per core).
    ///
    /// # Errors
    /// When the system refuses to start the threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("lapidary-{i}")).build()?;
        Ok(Self::with_pool(Arc::new(pool)))
    }

    #[must_use]
    pub fn with_pool(pool: Arc<rayon::ThreadPool>) -> Self {
        Self { shared: Arc::default(), pool, seed: 0 }
    }

    /// A context for another piece of work on the same threads.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { shared: Arc::default(), pool: Arc::clone(&self.pool), seed: self.seed }
    }

    #[must_use]
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// Set once the work is cancelled: for kernels, which know no context.
    #[must_use]
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.shared.cancelled
    }

    /// Called per tile or batch by everything long.
    ///
    /// # Errors
    /// [`Cancelled`] once [`Ctx::cancel`] was called.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Starts a new part of the work, of `total` steps (0: unknown).
    pub fn start(&self, label: impl Into<String>, total: usize) {
        *self.shared.label.lock().unwrap_or_else(PoisonError::into_inner) = label.into();
        self.shared.done.store(0, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
    }

    pub fn advance(&self, steps: usize) {
        self.shared.done.fetch_add(steps, Ordering::Relaxed);
    }

    #[must_use]
    pub fn progress(&self) -> ProgressView {
        ProgressView {
            label: self.shared.label.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            done: self.shared.done.load(Ordering::Relaxed),
            total: self.shared.total.load(Ordering::Relaxed),
        }
    }

    /// Says something once: the same warning a second time is dropped.
    pub fn warn(&self, subject: impl Into<String>, message: impl Into<String>) {
        let warning = Warning { subject: subject.into(), message: message.into() };
        let mut all = self.shared.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&warning) {
            all.push(warning);
        }
    }

    /// Takes the warnings said so far.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.shared.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
