//! What the person holds.
