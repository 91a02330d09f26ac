//! Lapidary cuts neural networks down to size: load a model, choose a scheme per layer, calibrate,
//! compress, evaluate, compare, export. One engine, three faces: window, command line, library.
//!
//! # The map
//! Three floors; each knows only what lies below it (`tests/architecture.rs` holds the walls).
//!
//! | floor | what | knows nothing of |
//! |---|---|---|
//! | [`engine`] | what computes: tensors, kernels, graphs, the executor | projects, screens, recipes |
//! | [`pipeline`] | what the product does: seven stages, left to right | projects, jobs, screens |
//! | [`workbench`] | what the person holds: projects, jobs, command line, window | – |
//!
//! A newcomer reads the seven stages in order: [`pipeline::load`], [`pipeline::configure`],
//! [`pipeline::calibrate`], [`pipeline::compress`], [`pipeline::evaluate`], [`pipeline::compare`],
//! [`pipeline::export`]; [`pipeline::search`] drives several of them.
//!
//! # Invariants
//! - Kernels are arithmetic on slices: no layers, names, files, candle or threads of their own.
//! - candle is imported by `engine::tensor`, `engine::exec` and the sample's trainer alone; egui, its
//!   plots and dialogs by `workbench::ui` alone; memory is mapped in `engine::tensor` alone.
//! - A loader never panics on any input, never changes a weight and knows no recipe.
//! - A plan touches no weight values, save where a recipe equalizes the graph that it plans; its bytes come from the
//!   same rewrite that the export writes.
//! - A technique never runs the model, reads files or grades itself; `compress::run` and
//!   `compress::prepare` alone have statistics collected.
//! - Branches and channels are cut before anything else; what is left computes what the whole computes with them at zero.
//! - The graph that is evaluated is the graph that is exported, to the bit.
//! - Evaluation changes no model; comparison holds no tensors; export computes no statistics.
//! - The document changes through `Edit` alone; undo never deletes a result.
//! - Same recipe, same seed: same bytes, at any number of threads.
//! - Everything that takes time gets a [`engine::Ctx`] last, says how far it is and can be cancelled.

pub mod engine;
pub mod pipeline;
pub mod workbench;
