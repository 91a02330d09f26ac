//! Every message in every language, every message in use, and no text in the code.

use super::catalog::FILES;
use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};
use fluent_syntax::parser::parse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Names = BTreeSet<String>;
/// Message or attribute → its variables.
type Messages = BTreeMap<String, Names>;

fn inline(expression: &InlineExpression<&str>, into: &mut Names) {
    match expression {
        InlineExpression::VariableReference { id } => drop(into.insert(id.name.to_owned())),
        InlineExpression::Placeable { expression } => choice(expression, into),
        InlineExpression::StringLiteral { .. } | InlineExpression::NumberLiteral { .. } => {}
        other => panic!("no message uses this yet: {other:?}"),
    }
}

fn choice(expression: &Expression<&str>, into: &mut Names) {
    match expression {
        Expression::Inline(one) => inline(one, into),
        Expression::Select { selector, variants } => {
            inline(selector, into);
            for variant in variants {
                into.extend(variables(&variant.value));
            }
        }
    }
}

fn variables(pattern: &Pattern<&str>) -> Names {
    let mut names = Names::new();
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            choice(expression, &mut names);
        }
    }
    names
}

fn messages(file: &str, text: &str) -> Messages {
    let resource = parse(text).unwrap_or_else(|(_, errors)| panic!("{file}: {errors:?}"));
    let mut found = Messages::new();
    for entry in &resource.body {
        if let Entry::Message(message) = entry {
            let value = message.value.iter().map(|v| (message.id.name.to_owned(), variables(v)));
            let attributes =
                message.attributes.iter().map(|a| (format!("{}.{}", message.id.name, a.id.name), variables(&a.value)));
            for (id, names) in value.chain(attributes) {
                assert!(found.insert(id.clone(), names).is_none(), "{file}: {id} stands there twice");
            }
        }
    }
    found
}

fn english() -> Messages {
    let mut all = Messages::new();
    for (file, text, _) in FILES {
        for (id, names) in messages(file, text) {
            assert!(all.insert(id.clone(), names).is_none(), "{file}: {id} stands in another file too");
        }
    }
    all
}

#[test]
fn languages_have_the_same_messages() {
    for (file, english, chinese) in FILES {
        let (english, chinese) = (messages(file, english), messages(file, chinese));
        for (id, names) in &english {
            assert_eq!(chinese.get(id), Some(names), "{file}: {id}, its variables in Chinese and in English");
        }
        let odd: Vec<_> = chinese.keys().filter(|id| !english.contains_key(*id)).collect();
        assert!(odd.is_empty(), "{file}: in Chinese alone: {odd:?}");
    }
}

/// The sources of the window without comments and without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/workbench/ui"), &mut files);
    assert!(files.len() > 50, "the sources were not found");
    let bare = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    let tests = |f: &PathBuf| f.file_name().is_some_and(|n| n == "tests.rs");
    files.iter().filter(|f| !tests(f)).map(|f| (f.clone(), bare(f))).collect()
}

/// What stands between the parenthesis at the start of `text` and the one that closes it, parted at commas.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut parts = vec![String::new()];
    for c in text.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
        }
        match (depth, c) {
            (0, _) => break,
            (1, '(') if parts.len() == 1 && parts[0].is_empty() => {}
            (1, ',') if !quoted => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    parts.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

#[test]
fn every_use_has_its_message() {
    let messages = english();
    let mut uses = 0;
    for (file, code) in sources() {
        for (at, _) in code.match_indices("tr!(").filter(|(at, _)| !code[..*at].ends_with(char::is_alphanumeric)) {
            let parts = arguments(&code[at + "tr!".len()..]);
            let Some(id) = parts[0].strip_prefix('"').and_then(|p| p.strip_suffix('"')) else { continue };
            uses += 1;
            let given: Names = parts[1..].iter().map(|p| p.split('=').next().unwrap().trim().to_owned()).collect();
            assert_eq!(messages.get(id), Some(&given), "{}: tr!(\"{id}\"), its variables there and here", file.display());
        }
    }
    assert!(uses > 20, "{uses} uses");
}

#[test]
fn every_message_is_used() {
    let code: String = sources().into_iter().map(|(_, code)| code).collect();
    let is_used = |id: &str| {
        let command = id.strip_prefix("command-").map(|c| c.trim_end_matches(".tooltip"));
        code.contains(&format!("\"{id}\"")) || command.is_some_and(|c| code.contains(&format!(", \"{c}\",")))
    };
    let dead: Vec<String> = english().into_keys().filter(|id| !is_used(id)).collect();
    assert!(dead.is_empty(), "{dead:?}");
}

/// What stands between quotes on a line.
fn literals(line: &str) -> Vec<String> {
    let (mut found, mut open, mut escaped) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        open = match open {
            None => (c == '"').then(String::new),
            Some(text) if c == '"' && !escaped => {
                found.push(text);
                None
            }
            Some(mut text) => {
                escaped = !escaped && c == '\\';
                text.push(c);
                Some(text)
            }
        };
    }
    found
}

/// Two words or more, or one with a capital; what is filled in does not count.
fn is_text(literal: &str) -> bool {
    let mut depth = 0;
    let bare: String = literal
        .chars()
        .map(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 && c != '}' { c } else { ' ' }
        })
        .collect();
    let words = bare.split(|c: char| !c.is_alphabetic()).filter(|w| w.len() > 1).count();
    let mut signs = bare.chars();
    let capital = signs.next().is_some_and(|c| c.is_ascii_uppercase()) && signs.next().is_some_and(|c| c.is_ascii_lowercase());
    words > 1 && bare.contains(' ') || capital
}

/// What only programmers see: names of widgets and of lines of plots, errors that the command line prints too.
const UNSEEN: &[&str] = &[
    "id_salt(",
    "Id::unique(",
    "Grid::new(",
    "Plot::new(",
    "Line::new(",
    ".with(\"",
    "request_discard(",
    "assert!(",
    ".expect(",
    "UiError::",
    "recipe.description = ",
    "reason = ",
    "the window cannot be opened: {reason}",
    "let name = if measured",
];
/// Names, and words of recipes and files, which are the same in every language.
const NAMES: &[&str] =
    &["Lapidary", "Top-1", "{} compared.html", "within budget", "as it is", "ONNX, safetensors, GGUF, .pt, .npz"];

#[test]
fn no_text_stands_in_the_code() {
    let mut texts = Vec::new();
    for (file, code) in sources() {
        // A broken theme is a broken program. The pipeline's names of groups are looked up there.
        if file.components().any(|c| c.as_os_str() == "theme") || file.ends_with("terms.rs") {
            continue;
        }
        for line in code.lines().filter(|l| !l.trim_start().starts_with("#[") && !UNSEEN.iter().any(|u| l.contains(u))) {
            for literal in literals(line).into_iter().filter(|l| is_text(l) && !NAMES.contains(&l.as_str())) {
                texts.push(format!("{}: \"{literal}\"", file.display()));
            }
        }
    }
    assert!(texts.is_empty(), "text in the code, which belongs into assets/text:\n{}", texts.join("\n"));
    assert!(is_text("Save") && is_text("{n} more rows") && !is_text("{a}, {b}") && !is_text("load-title"));
}
