//! Runs a model on a batch.
