//! The manual as it comes with the program.

pub mod markdown;

use super::text::Language;

/// A page of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its name below `assets/manual`: what links call it.
    pub file: &'static str,
    /// The message that is its name in a list of pages.
    pub name: &'static str,
    english: &'static str,
    chinese: &'static str,
}

impl Page {
    /// Markdown, of the part that [`markdown`] reads.
    #[must_use]
    pub fn text(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}

macro_rules! page {
    ($file:literal, $name:literal) => {
        Page {
            file: $file,
            name: $name,
            english: include_str!(concat!("../../../../assets/manual/", $file)),
            chinese: include_str!(concat!("../../../../assets/manual/zh-CN/", $file)),
        }
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

    /// Every page in every language, with what tests call it.
    fn texts() -> impl Iterator<Item = (String, &'static str)> {
        let both = |p: &'static Page| Language::ALL.map(|l| (format!("{} in {}", p.file, l.tag()), p.text(l)));
        PAGES.iter().flat_map(both)
    }

    #[test]
    fn pages_have_one_title_and_no_marks_left() {
        for (page, text) in texts() {
            let blocks = parse(text);
            let titles = blocks.iter().filter(|b| matches!(b, Block::Heading { level: 1, .. })).count();
            assert!(matches!(blocks.first(), Some(Block::Heading { level: 1, .. })) && titles == 1, "{page}");
            for span in blocks.iter().flat_map(lines).flatten() {
                if let Span::Plain(text) | Span::Bold(text) | Span::Emphasis(text) = span {
                    assert!(!text.contains(['`']) && !text.contains("**") && !text.contains("]("), "{page}: {text}");
                }
            }
        }
    }

    /// A page says the same in every language: the same blocks, in tables as many cells.
    #[test]
    fn languages_have_the_same_pages() {
        let shape = |block: &Block| match block {
            Block::Heading { level, .. } => format!("heading {level}"),
            Block::Paragraph(_) => "paragraph".to_owned(),
            Block::List(items) => format!("list of {}", items.len()),
            Block::Numbered { items, .. } => format!("numbers to {}", items.len()),
            Block::Table { head, rows } => format!("table of {} by {}", rows.len(), head.len()),
            Block::Code { .. } => "code".to_owned(),
        };
        for page in PAGES {
            let [english, chinese] = Language::ALL.map(|l| parse(page.text(l)).iter().map(shape).collect::<Vec<_>>());
            assert_eq!(english, chinese, "{}", page.file);
        }
    }

    #[test]
    fn links_lead_somewhere() {
        for (page, text) in texts() {
            for span in parse(text).iter().flat_map(lines).flatten() {
                if let Span::Link { target, .. } = span {
                    assert!(super::page(target).is_some() || target.starts_with("https://"), "{page}: {target}");
                }
            }
        }
    }

    /// The window's font has these signs and no arrows, for one; what Chinese has besides is drawn with the system's.
    #[test]
    fn the_font_has_every_sign() {
        let known: HashSet<char> = "–…×≤≥·−±²ΔΣα".chars().collect();
        let chinese =
            |c: &char| matches!(c, '一'..='鿿' | '、' | '。' | '，' | '：' | '；' | '？' | '！' | '（' | '）' | '“' | '”');
        for page in PAGES {
            for language in Language::ALL {
                let signs = page.text(language).chars().filter(|c| !c.is_ascii() && !known.contains(c));
                let odd: HashSet<char> = signs.filter(|c| language != Language::Chinese || !chinese(c)).collect();
                assert!(odd.is_empty(), "{} in {}: {odd:?}", page.file, language.tag());
            }
        }
    }
}
