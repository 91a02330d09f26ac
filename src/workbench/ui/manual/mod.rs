//! The manual as it comes with the program.

pub mod markdown;

/// A page of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its name below `assets/manual`: what links call it.
    pub file: &'static str,
    /// The message that is its name in a list of pages.
    pub name: &'static str,
    /// Markdown, of the part that [`markdown`] reads.
    pub text: &'static str,
}

macro_rules! page {
    ($file:literal, $name:literal) => {
        Page { file: $file, name: $name, text: include_str!(concat!("../../../../assets/manual/", $file)) }
    };
}

/// All pages, in the order in which one reads them.
pub static PAGES: &[Page] = &[
    page!("start.md", "manual-start"),
    page!("window.md", "manual-window"),
    page!("formats.md", "manual-formats"),
    page!("activations.md", "manual-activations"),
    page!("corrections.md", "manual-corrections"),
    page!("pruning.md", "manual-pruning"),
    page!("search.md", "manual-search"),
    page!("export.md", "manual-export"),
    page!("archive.md", "manual-archive"),
    page!("glossary.md", "manual-glossary"),
];

/// The page that a link's target means; `None` for what lies outside of the manual.
#[must_use]
pub fn page(target: &str) -> Option<&'static Page> {
    PAGES.iter().find(|p| p.file == target)
}

#[cfg(test)]
mod tests {
    use super::markdown::{Block, Line, Span, parse};
    use super::*;
    use std::collections::HashSet;

    fn lines(block: &Block) -> Vec<&Line> {
        match block {
            Block::Heading { text, .. } | Block::Paragraph(text) => vec![text],
            Block::List(items) | Block::Numbered { items, .. } => items.iter().collect(),
            Block::Table { head, rows } => head.iter().chain(rows.iter().flatten()).collect(),
            Block::Code { .. } => Vec::new(),
        }
    }

    #[test]
    fn pages_have_one_title_and_no_marks_left() {
        for page in PAGES {
            let blocks = parse(page.text);
            let titles = blocks.iter().filter(|b| matches!(b, Block::Heading { level: 1, .. })).count();
            assert!(matches!(blocks.first(), Some(Block::Heading { level: 1, .. })) && titles == 1, "{}", page.file);
            for span in blocks.iter().flat_map(lines).flatten() {
                if let Span::Plain(text) | Span::Bold(text) | Span::Emphasis(text) = span {
                    assert!(!text.contains(['`']) && !text.contains("**") && !text.contains("]("), "{}: {text}", page.file);
                }
            }
        }
    }

    #[test]
    fn links_lead_somewhere() {
        for page in PAGES {
            for span in parse(page.text).iter().flat_map(lines).flatten() {
                if let Span::Link { target, .. } = span {
                    assert!(super::page(target).is_some() || target.starts_with("https://"), "{}: {target}", page.file);
                }
            }
        }
    }

    /// The window's font has these signs and no arrows, for one.
    #[test]
    fn the_font_has_every_sign() {
        let known: HashSet<char> = "–…×≤≥·−±²ΔΣα".chars().collect();
        for page in PAGES {
            let odd: HashSet<char> = page.text.chars().filter(|c| !c.is_ascii() && !known.contains(c)).collect();
            assert!(odd.is_empty(), "{}: {odd:?}", page.file);
        }
    }
}
