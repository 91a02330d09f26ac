//! The saved truth: documents, edits, undo, files.

mod document;
mod edit;
mod history;
mod moved;
mod presence;
mod store;

pub use document::{Data, Document, FileRef, PROJECT_FORMAT, PROJECT_VERSION};
pub use edit::{Change, Edit, EditError, Whole, check_name};
pub use history::History;
pub use moved::{Content, Found, Moved, Part};
pub use presence::{Elsewhere, Presence};
pub use store::{Project, ProjectError, place, write_atomically};
