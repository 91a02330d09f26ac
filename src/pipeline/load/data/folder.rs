//! Pictures in a folder: a folder per class, or all in one with class numbers in `labels.csv` or at
//! the start of their names, or without labels.

use super::{Raw, Samples};
use crate::engine::context::Ctx;
use crate::pipeline::load::error::LoadError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) fn read(folder: &Path, ctx: &Ctx) -> Result<Raw, LoadError> {
    let listing = list(folder)?;
    let table = folder.join("labels.csv");
    if table.is_file() {
        return with_table(folder, &table);
    }
    if !listing.pictures.is_empty() {
        if !listing.folders.is_empty() {
            let message =
                "pictures lie beside folders; only the pictures are taken. Move them away to take the folders as classes";
            ctx.warn(folder.display().to_string(), message);
        }
        let labels = numbers(folder, &listing.pictures)?;
        return Ok(Raw { samples: Samples::Files(listing.pictures), labels, classes: Vec::new() });
    }
    let (mut files, mut labels, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in listing.folders {
        ctx.check()?;
        let inside = list(&class)?;
        if inside.pictures.is_empty() {
            ctx.warn(class.display().to_string(), "this class has no pictures (PNG, JPEG); it keeps its class number");
        }
        labels.extend(std::iter::repeat_n(classes.len() as i64, inside.pictures.len()));
        files.extend(inside.pictures);
        classes.push(class.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    if files.is_empty() {
        let reason = "there are no pictures (PNG, JPEG) in this folder or the folders in it; point to a folder of pictures, an IDX, .npz or .npy file";
        return Err(LoadError::data(folder, reason));
    }
    Ok(Raw { samples: Samples::Files(files), labels: Some(labels), classes })
}

struct Listing {
    pictures: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

/// What a folder holds, by name; hidden entries are left out.
fn list(folder: &Path) -> Result<Listing, LoadError> {
    let mut listing = Listing { pictures: Vec::new(), folders: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(LoadError::io(folder))? {
        let path = entry.map_err(LoadError::io(folder))?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            listing.folders.push(path);
        } else if is_picture(&path) {
            listing.pictures.push(path);
        }
    }
    listing.pictures.sort();
    listing.folders.sort();
    Ok(listing)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    matches!(extension.as_str(), "png" | "jpg" | "jpeg")
}

/// The class numbers at the start of the names; `None` where no name has one.
fn numbers(folder: &Path, files: &[PathBuf]) -> Result<Option<Vec<i64>>, LoadError> {
    let found: Vec<Option<i64>> = files.iter().map(|f| leading_number(f)).collect();
    if found.iter().all(Option::is_none) {
        return Ok(None);
    }
    let one = |(file, number): (&PathBuf, Option<i64>)| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match number {
            Some(n) if n >= 0 => Ok(n),
            Some(n) => Err(LoadError::data(folder, format!("\"{name}\" has class number {n}; class numbers start at 0"))),
            None => {
                let reason = format!(
                    "\"{name}\" does not start with a class number and `_`, but other pictures do; rename it or add a labels.csv"
                );
                Err(LoadError::data(folder, reason))
            }
        }
    };
    files.iter().zip(found).map(one).collect::<Result<Vec<i64>, _>>().map(Some)
}

/// `123_name.jpg` → 123, `-1_name.jpg` → −1, `name.jpg` → none.
fn leading_number(file: &Path) -> Option<i64> {
    let name = file.file_name()?.to_str()?;
    let (number, _) = name.split_once('_')?;
    number.parse().ok()
}

/// `labels.csv` with a header that names the columns `file`, `class_index` and perhaps `name`.
fn with_table(folder: &Path, table: &Path) -> Result<Raw, LoadError> {
    let text = std::fs::read_to_string(table).map_err(LoadError::io(table))?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().map(|(_, line)| fields(line)).unwrap_or_default();
    let column = |name: &str| header.iter().position(|c| c.trim().trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let (Some(file_column), Some(class_column)) = (column("file"), column("class_index")) else {
        return Err(LoadError::data(table, "the first line must name the columns `file` and `class_index`"));
    };
    let name_column = column("name");
    let (mut files, mut labels, mut names) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (line, row) in lines.map(|(i, line)| (i + 1, fields(line))) {
        let cell = |column: usize| row.get(column).map(|c| c.trim()).filter(|c| !c.is_empty());
        let fail = |what: &str| LoadError::data(table, format!("line {line}: {what}"));
        let name = cell(file_column).ok_or_else(|| fail("the file is missing"))?;
        let number = cell(class_column).ok_or_else(|| fail("the class number is missing"))?;
        let class: i64 = number.parse().map_err(|_| fail(&format!("\"{number}\" is not a class number")))?;
        if class < 0 {
            return Err(fail(&format!("class number {class} is negative; class numbers start at 0")));
        }
        let file = folder.join(name);
        if !file.is_file() {
            return Err(fail(&format!("the file \"{name}\" is not there")));
        }
        names.extend(name_column.and_then(cell).map(|n| (class, n.to_owned())));
        files.push(file);
        labels.push(class);
    }
    let mut classes = Vec::new();
    for (class, name) in names.into_iter().filter(|(class, _)| *class <= super::CLASS_LIMIT) {
        classes.resize(class as usize, String::new());
        classes.push(name);
    }
    Ok(Raw { samples: Samples::Files(files), labels: Some(labels), classes })
}

/// One line of comma-separated values; fields may be quoted.
fn fields(line: &str) -> Vec<String> {
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    all.push(field);
    all
}
