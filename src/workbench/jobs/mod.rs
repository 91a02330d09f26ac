//! Work in the background: a queue, one named thread per job, progress, cancel, contained panics.
//! Knows nothing of what a job computes nor of who watches.

mod queue;

pub use queue::{Event, JobId, JobState, JobView, Jobs, Outcome, Post};
