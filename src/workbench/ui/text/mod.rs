//! What the window says, in every language: messages of Fluent (projectfluent.org) below `assets/text`.
//!
//! No text stands in the code of the window. `tr!("id")` is a message without variables, `tr!("id", count = n)` one with
//! them; `id.tooltip` is an attribute. A file in English has a counterpart of the same name in every other language,
//! with the same messages and variables, which a test holds.
//!
//! What the engine says – errors, warnings, names of schemes – is the same in the window, on the command line and in
//! recipes, and stays as it is.

mod catalog;
pub mod edits;
mod language;
#[cfg(test)]
mod tests;

pub use language::Language;

use catalog::catalog;
use fluent_bundle::{FluentArgs, FluentValue};
use std::cell::Cell;

thread_local! {
    /// Windows that are tested side by side each speak their own.
    static PRESENT: Cell<Language> = const { Cell::new(Language::English) };
}

/// What this thread speaks from now on.
pub fn speak(language: Language) {
    PRESENT.set(language);
}

/// What this thread speaks.
#[must_use]
pub fn spoken() -> Language {
    PRESENT.get()
}

/// A message without variables; in English where the language lacks it, the name itself where English does.
#[must_use]
pub fn plain(id: &'static str) -> &'static str {
    let found = catalog(spoken()).plain(id).or_else(|| catalog(Language::English).plain(id));
    debug_assert!(found.is_some(), "there is no message {id} without variables");
    found.unwrap_or(id)
}

/// A message with its variables; as [`plain`].
#[must_use]
pub fn filled(id: &'static str, variables: &[(&'static str, FluentValue<'_>)]) -> String {
    let args: FluentArgs<'_> = variables.iter().map(|(name, value)| (*name, value.clone())).collect();
    let found = catalog(spoken()).filled(id, &args).or_else(|| catalog(Language::English).filled(id, &args));
    debug_assert!(found.is_some(), "there is no message {id} with these variables");
    found.unwrap_or_else(|| id.to_owned())
}

/// A message of `assets/text`: `tr!("load-title")` is `&'static str`, `tr!("load-samples", count = n)` is `String`.
/// Whole numbers are given as they are, so that languages can tell one from many; others as text.
macro_rules! tr {
    ($id:expr) => {
        $crate::workbench::ui::text::plain($id)
    };
    ($id:expr, $($name:ident = $value:expr),+ $(,)?) => {
        $crate::workbench::ui::text::filled($id, &[$((stringify!($name), ::fluent_bundle::FluentValue::from($value))),+])
    };
}
pub(crate) use tr;
