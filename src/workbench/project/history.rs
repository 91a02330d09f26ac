//! Undo and redo: whole documents, which are small and share their recipes.

use super::document::Document;
use super::edit::{Edit, EditError};
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Step {
    /// Of a gesture the first.
    edit: Edit,
    document: Arc<Document>,
}

/// The document and how it came to be.
#[derive(Debug, Clone)]
pub struct History {
    current: Arc<Document>,
    past: Vec<Step>,
    future: Vec<Step>,
    /// What the running gesture (a drag, say) changes, until [`History::end_gesture`].
    gesture: Option<String>,
    /// Counts every change of the current document, undo and redo included.
    revision: u64,
}

impl History {
    #[must_use]
    pub fn new(document: Document) -> Self {
        Self { current: Arc::new(document), past: Vec::new(), future: Vec::new(), gesture: None, revision: 0 }
    }

    #[must_use]
    pub fn document(&self) -> &Arc<Document> {
        &self.current
    }

    /// Grows with every change; what was computed from an older revision may be stale.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes an edit. One that changes nothing leaves no step.
    ///
    /// # Errors
    /// When the edit cannot be made; nothing has changed then.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        let key = edit.coalescing_key();
        let joins = key.is_some() && self.gesture == key && !self.past.is_empty();
        self.push(edit, joins)?;
        Ok(())
    }

    /// As [`History::apply`], but until [`History::end_gesture`] edits of the same kind are one step.
    ///
    /// # Errors
    /// When the edit cannot be made; nothing has changed then.
    pub fn apply_in_gesture(&mut self, edit: &Edit) -> Result<(), EditError> {
        self.apply(edit)?;
        self.gesture = edit.coalescing_key();
        Ok(())
    }

    pub fn end_gesture(&mut self) {
        self.gesture = None;
    }

    fn push(&mut self, edit: &Edit, joins: bool) -> Result<(), EditError> {
        let next = self.current.apply(edit)?;
        if next == *self.current {
            return Ok(());
        }
        if !joins {
            self.past.push(Step { edit: edit.clone(), document: Arc::clone(&self.current) });
        }
        self.future.clear();
        self.current = Arc::new(next);
        self.revision += 1;
        Ok(())
    }

    /// The edit that would be taken back; of a gesture the first.
    #[must_use]
    pub fn undo_step(&self) -> Option<&Edit> {
        self.past.last().map(|s| &s.edit)
    }

    /// The edit that would be made again; of a gesture the first.
    #[must_use]
    pub fn redo_step(&self) -> Option<&Edit> {
        self.future.last().map(|s| &s.edit)
    }

    /// Whether there was something to undo.
    pub fn undo(&mut self) -> bool {
        let Some(step) = self.past.pop() else { return false };
        self.future.push(Step { edit: step.edit, document: std::mem::replace(&mut self.current, step.document) });
        self.gesture = None;
        self.revision += 1;
        true
    }

    /// Whether there was something to redo.
    pub fn redo(&mut self) -> bool {
        let Some(step) = self.future.pop() else { return false };
        self.past.push(Step { edit: step.edit, document: std::mem::replace(&mut self.current, step.document) });
        self.gesture = None;
        self.revision += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::edit::Change;
    use super::*;
    use crate::pipeline::configure::Scheme;
    use crate::workbench::project::FileRef;

    fn history() -> History {
        History::new(Document::new("p", FileRef { path: "m.onnx".to_owned(), hash: String::new() }))
    }

    fn width(layer: &str, bits: u8) -> Edit {
        let change = Change { weights: Some(Scheme::per_channel(bits)), ..Change::default() };
        Edit::Treat { layers: vec![layer.to_owned()], change }
    }

    #[test]
    fn a_drag_is_one_step() {
        let mut history = history();
        let start = Arc::clone(history.document());
        for bits in [7, 6, 5, 4] {
            history.apply_in_gesture(&width("a", bits)).unwrap();
        }
        history.end_gesture();
        history.apply(&width("a", 3)).unwrap();
        assert_eq!(history.undo_step(), Some(&width("a", 3)));
        assert!(history.undo());
        assert_eq!((history.undo_step(), history.redo_step()), (Some(&width("a", 7)), Some(&width("a", 3))));
        assert!(history.undo() && !history.undo());
        assert_eq!(*history.document(), start);
        assert!(history.redo() && history.redo() && !history.redo());
        assert_eq!(history.document().active, "int8 edited");
    }

    #[test]
    fn what_changes_nothing_leaves_no_step() {
        let mut history = history();
        history.apply(&Edit::SelectRecipe("int8".to_owned())).unwrap();
        assert_eq!(history.undo_step(), None);
        assert!(history.apply(&Edit::SelectRecipe("nonsense".to_owned())).is_err());
        assert_eq!(history.undo_step(), None);
    }
}
