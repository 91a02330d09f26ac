//! The drawing of a network as data: which boxes there are, where they lie, how wires run. No screen, no model.
//!
//! | module | question |
//! |---|---|
//! | [`blocks`] | which nodes belong together, and which of these blocks start closed |
//! | [`fold`] | the smaller network once blocks are closed |
//! | [`layout`] | where its boxes lie and how its wires run |
//! | [`find`] | what lies in a rectangle or under the pointer |
//!
//! A network is a number of nodes and a list of wires `(from, to)`; nodes are numbered from 0 in topological order.
//! Lengths are points.

pub mod blocks;
pub mod find;
pub mod fold;
mod forest;
pub mod geometry;
pub mod layout;
mod links;
mod paths;
mod runs;
#[cfg(test)]
mod tests;
