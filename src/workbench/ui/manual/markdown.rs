//! The part of Markdown that the manual is written in, read into blocks that can be drawn. Of CommonMark and of
//! GitHub's tables that is: headings with `#`, paragraphs, lists with `-` or numbers (of one level), tables, fenced
//! code; in a line `**bold**`, `*emphasis*`, code and `[links](target)`. All else is text. Every text can be read.

/// A piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    Heading {
        /// 1 for the title of the page, to 6.
        level: u8,
        text: Line,
    },
    Paragraph(Line),
    List(Vec<Line>),
    Numbered {
        /// Number of the first item; the others count on.
        first: u32,
        items: Vec<Line>,
    },
    Table {
        head: Vec<Line>,
        /// Each as long as the head.
        rows: Vec<Vec<Line>>,
    },
    Code {
        /// What stands behind the fence; empty where nothing does.
        language: String,
        /// Without a line break at its end.
        text: String,
    },
}

/// Text that flows: it breaks where there is no more room.
pub type Line = Vec<Span>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    Plain(String),
    Bold(String),
    Emphasis(String),
    Code(String),
    Link { text: String, target: String },
}

impl Span {
    /// The words without what they look like.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Bold(text) | Self::Emphasis(text) | Self::Code(text) | Self::Link { text, .. } => text,
        }
    }
}

/// Reads a page.
#[must_use]
pub fn parse(text: &str) -> Vec<Block> {
    let mut lines = Lines { rest: text.lines().collect(), at: 0 };
    let mut blocks = Vec::new();
    while let Some(line) = lines.peek() {
        if line.trim().is_empty() {
            lines.at += 1;
        } else {
            blocks.push(block(&mut lines, line));
        }
    }
    blocks
}

/// The lines of a page and how many of them were read.
struct Lines<'a> {
    rest: Vec<&'a str>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }

    /// Whether a table begins here: a row, and below it one of dashes.
    fn is_table(&self) -> bool {
        let row = |at: usize| self.rest.get(at).copied().filter(|line| line.trim().starts_with('|'));
        let is_rule = |line: &str| line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
        row(self.at).is_some() && row(self.at + 1).is_some_and(is_rule)
    }

    /// Whether the text before goes on in this line.
    fn goes_on(&self) -> bool {
        let begins = |line: &str| {
            line.trim().is_empty()
                || heading(line).is_some()
                || fence(line).is_some()
                || dashed(line).is_some()
                // Else a sentence that breaks before a year would become a list.
                || numbered(line).is_some_and(|(number, _)| number == 1)
        };
        self.peek().is_some_and(|line| !begins(line)) && !self.is_table()
    }

    /// Text that began with `first`, to its end.
    fn flow(&mut self, first: &str) -> Line {
        let mut text = first.trim().to_owned();
        while self.goes_on() {
            let Some(line) = self.next() else { break };
            text.push(' ');
            text.push_str(line.trim());
        }
        spans(&text)
    }

    /// The items of a list, empty lines between them or not; `marker` gives what stands behind an item's mark.
    fn items(&mut self, marker: impl Fn(&'a str) -> Option<&'a str>) -> Vec<Line> {
        let mut items = Vec::new();
        loop {
            let empty = self.rest.iter().skip(self.at).take_while(|l| l.trim().is_empty()).count();
            let Some(first) = self.rest.get(self.at + empty).and_then(|line| marker(line)) else { return items };
            self.at += empty + 1;
            items.push(self.item(first, &marker));
        }
    }

    fn item(&mut self, first: &str, marker: &impl Fn(&'a str) -> Option<&'a str>) -> Line {
        let mut text = first.trim().to_owned();
        while self.goes_on() {
            let Some(line) = self.peek().filter(|line| marker(line).is_none()) else { break };
            self.at += 1;
            text.push(' ');
            text.push_str(line.trim());
        }
        spans(&text)
    }
}

/// The block that begins with `line`, the next one.
fn block(lines: &mut Lines<'_>, line: &str) -> Block {
    if let Some((level, text)) = heading(line) {
        lines.at += 1;
        return Block::Heading { level, text: spans(text) };
    }
    if let Some(language) = fence(line) {
        lines.at += 1;
        return code(lines, language);
    }
    if dashed(line).is_some() {
        return Block::List(lines.items(dashed));
    }
    if let Some((first, _)) = numbered(line) {
        return Block::Numbered { first, items: lines.items(|line| numbered(line).map(|(_, text)| text)) };
    }
    if lines.is_table() {
        return table(lines);
    }
    lines.at += 1;
    Block::Paragraph(lines.flow(line))
}

fn heading(line: &str) -> Option<(u8, &str)> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && (text.is_empty() || text.starts_with(' '))).then(|| (level as u8, text.trim()))
}

/// What stands behind the fence of a block of code.
fn fence(line: &str) -> Option<&str> {
    line.trim().strip_prefix("```").map(str::trim).filter(|rest| !rest.contains('`'))
}

/// What stands behind the dash of an item.
fn dashed(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("- ")
}

/// An item's number and what stands behind it.
fn numbered(line: &str) -> Option<(u32, &str)> {
    let (number, text) = line.trim_start().split_once(". ")?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| number.parse().ok()).flatten().map(|number| (number, text))
}

/// Code up to its closing fence, or to the end of the page.
fn code(lines: &mut Lines<'_>, language: &str) -> Block {
    let mut inside = Vec::new();
    while let Some(line) = lines.next() {
        if fence(line) == Some("") {
            break;
        }
        inside.push(line);
    }
    Block::Code { language: language.to_owned(), text: inside.join("\n") }
}

fn table(lines: &mut Lines<'_>) -> Block {
    let head = lines.next().map(cells).unwrap_or_default();
    lines.at += 1;
    let mut rows = Vec::new();
    while let Some(line) = lines.peek().filter(|line| line.trim().starts_with('|')) {
        lines.at += 1;
        let mut row = cells(line);
        row.resize(head.len(), Line::new());
        rows.push(row);
    }
    Block::Table { head, rows }
}

/// The cells of a row. `\|` is a bar within one, in code too.
fn cells(line: &str) -> Vec<Line> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match (sign, cells.last_mut()) {
            ('\\', Some(cell)) if signs.next_if_eq(&'|').is_some() => cell.push('|'),
            ('|', _) => cells.push(String::new()),
            (_, Some(cell)) => cell.push(sign),
            (_, None) => {}
        }
    }
    // Behind the bar that closes the row there is no cell.
    if cells.len() > 1 && cells.last().is_some_and(|c| c.trim().is_empty()) {
        cells.pop();
    }
    cells.iter().map(|cell| spans(cell.trim())).collect()
}

/// What the marks in a text make of it.
fn spans(text: &str) -> Line {
    let mut found = Line::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        if let Some((span, length)) = marked(rest) {
            push_plain(&mut found, &mut plain);
            found.push(span);
            rest = rest.get(length..).unwrap_or("");
            continue;
        }
        let escaped = rest.chars().nth(1).filter(|c| sign == '\\' && c.is_ascii_punctuation());
        plain.push(escaped.unwrap_or(sign));
        rest = rest.get(sign.len_utf8() + escaped.map_or(0, char::len_utf8)..).unwrap_or("");
    }
    push_plain(&mut found, &mut plain);
    found
}

fn push_plain(found: &mut Line, plain: &mut String) {
    if !plain.is_empty() {
        found.push(Span::Plain(std::mem::take(plain)));
    }
}

/// The marked text at the beginning of `text`, and how many bytes it takes with its marks.
fn marked(text: &str) -> Option<(Span, usize)> {
    match text.bytes().next()? {
        b'`' => {
            let marks = text.len() - text.trim_start_matches('`').len();
            let (inside, length) = between(text, text.get(..marks)?)?;
            Some((Span::Code(inside.trim().to_owned()), length))
        }
        b'*' if text.starts_with("**") => tight(text, "**").map(|(inside, length)| (Span::Bold(inside), length)),
        b'*' => tight(text, "*").map(|(inside, length)| (Span::Emphasis(inside), length)),
        b'[' => {
            let (inside, behind) = text.strip_prefix('[')?.split_once("](")?;
            let (target, _) = behind.split_once(')')?;
            let is_link = !inside.contains(['[', ']']) && !target.contains(char::is_whitespace);
            let length = 1 + inside.len() + 2 + target.len() + 1;
            is_link.then(|| (Span::Link { text: unmarked(inside), target: target.to_owned() }, length))
        }
        _ => None,
    }
}

/// What stands between the mark that `text` begins with and the next like it, and the bytes that all three take.
fn between<'a>(text: &'a str, mark: &str) -> Option<(&'a str, usize)> {
    let inside = text.get(mark.len()..)?;
    let end = inside.find(mark).filter(|end| *end > 0)?;
    Some((inside.get(..end)?, 2 * mark.len() + end))
}

/// The same for marks that stand close to what they mark: a lone star is a star.
fn tight(text: &str, mark: &str) -> Option<(String, usize)> {
    let (inside, length) = between(text, mark)?;
    (inside.trim() == inside).then(|| (unmarked(inside), length))
}

/// The words of a text that has marks of its own.
fn unmarked(text: &str) -> String {
    spans(text).iter().map(Span::text).collect()
}

#[cfg(test)]
mod tests {
    use super::Span::{Bold, Code, Emphasis, Plain};
    use super::*;

    fn plain(text: &str) -> Line {
        vec![Plain(text.to_owned())]
    }

    fn link(text: &str, target: &str) -> Span {
        Span::Link { text: text.to_owned(), target: target.to_owned() }
    }

    #[test]
    fn lines_become_blocks() {
        let page = "# Title\nA sentence.\nAnother one.\n\n### Part\nWhat it shows:\n- one\n  and more\n\n- two\n\nAfter.";
        let wanted = [
            Block::Heading { level: 1, text: plain("Title") },
            Block::Paragraph(plain("A sentence. Another one.")),
            Block::Heading { level: 3, text: plain("Part") },
            Block::Paragraph(plain("What it shows:")),
            Block::List(vec![plain("one and more"), plain("two")]),
            Block::Paragraph(plain("After.")),
        ];
        assert_eq!(parse(page), wanted);
    }

    #[test]
    fn numbers_count_and_do_not_break_sentences() {
        let items = vec![plain("load"), plain("choose a width")];
        assert_eq!(parse("3. load\n4. choose\n   a width"), [Block::Numbered { first: 3, items }]);
        assert_eq!(parse("As of\n2016. it was"), [Block::Paragraph(plain("As of 2016. it was"))]);
        assert_eq!(parse("99999999999. no number"), [Block::Paragraph(plain("99999999999. no number"))]);
    }

    #[test]
    fn tables_have_rows_as_long_as_the_head() {
        let page = "| a | `b` |\n|---|:-:|\n| 1 \\| 2 | x | y |\n| 3 |\nText";
        let head = vec![plain("a"), vec![Code("b".to_owned())]];
        let rows = vec![vec![plain("1 | 2"), plain("x")], vec![plain("3"), Line::new()]];
        assert_eq!(parse(page), [Block::Table { head, rows }, Block::Paragraph(plain("Text"))]);
        assert_eq!(parse("| |\n|---|\n| x |").len(), 1, "a head may be empty");
        assert_eq!(parse("| no table"), [Block::Paragraph(plain("| no table"))]);
    }

    #[test]
    fn code_is_left_as_it_is() {
        let code = |language: &str, text: &str| Block::Code { language: language.to_owned(), text: text.to_owned() };
        assert_eq!(
            parse("```ron\n# (\n\n  **a**: 1,\n```\nText"),
            [code("ron", "# (\n\n  **a**: 1,"), Block::Paragraph(plain("Text"))]
        );
        assert_eq!(parse("```\nnever closed"), [code("", "never closed")]);
    }

    #[test]
    fn marks_become_spans() {
        let bold = |text: &str| Bold(text.to_owned());
        let of = |text: &str| Plain(text.to_owned());
        assert_eq!(spans("a **b** c"), [of("a "), bold("b"), of(" c")]);
        assert_eq!(spans("*a* and `b*`"), [Emphasis("a".to_owned()), of(" and "), Code("b*".to_owned())]);
        assert_eq!(spans("see [here](a.md), [0, 1] (b)"), [of("see "), link("here", "a.md"), of(", [0, 1] (b)")]);
        assert_eq!(spans("[x]; then [y](z)"), [of("[x]; then "), link("y", "z")]);
        assert_eq!(spans("2 * 3 * 4 and *.conv"), plain("2 * 3 * 4 and *.conv"));
        assert_eq!(spans("open **, `, [ and ]("), plain("open **, `, [ and ]("));
        assert_eq!(spans(r"\*a\* \n"), plain(r"*a* \n"));
        assert_eq!(spans("``a`b``"), [Code("a`b".to_owned())]);
        assert_eq!(spans("**a `b` [c](d)**"), [bold("a b c")]);
        assert_eq!(spans("`layers: *.conv` – …"), [Code("layers: *.conv".to_owned()), of(" – …")]);
    }

    /// Any text is some page; nothing but marks is lost of it.
    #[test]
    fn every_text_can_be_read() {
        const PARTS: [&str; 24] = [
            "#", " ", "\n", "\n\n", "-", "- ", "1. ", "|", "---", "`", "```", "*", "**", "[", "](", ")", "\\", "\\|", "é", "–",
            "a", "b c", "\t", "\r\n",
        ];
        let mut state = 1_u64;
        for _ in 0..5_000 {
            let mut page = String::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                page += PARTS[(state >> 33) as usize % PARTS.len()];
            }
            let blocks = parse(&page);
            let words: String = blocks.iter().map(words).collect();
            let letters = |text: &str| text.chars().filter(|c| "éabc".contains(*c)).count();
            // Cells beyond a table's head, languages of code and targets of links are no words.
            if !page.contains('|') && !page.contains("```") && !page.contains("](") {
                assert_eq!(letters(&words), letters(&page), "{page:?}");
            }
        }
    }

    fn words(block: &Block) -> String {
        let of = |lines: &[Line]| lines.iter().flatten().map(Span::text).collect::<String>();
        match block {
            Block::Heading { text, .. } | Block::Paragraph(text) => text.iter().map(Span::text).collect(),
            Block::List(items) | Block::Numbered { items, .. } => of(items),
            Block::Table { head, rows } => of(head) + &rows.iter().map(|r| of(r)).collect::<String>(),
            Block::Code { text, .. } => text.clone(),
        }
    }
}
