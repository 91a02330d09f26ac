//! The window.

pub mod offscreen;
pub mod theme;
