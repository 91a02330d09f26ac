//! Verbs that find out by themselves.

mod map;
mod search;

pub(super) use map::sensitivity;
pub(super) use search::{cost, search};
