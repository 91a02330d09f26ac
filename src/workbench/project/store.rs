//! A project on disk: `project.ron`, `recipes/*.ron`, `reports/*.ron`, `cache/`, `exports/`.
//! Every file is written beside its place, synced and renamed; the one before is kept as `.bak`.

use super::document::{Document, FileRef, PROJECT_FORMAT, PROJECT_VERSION};
use crate::pipeline::configure::{ConfigureError, Recipe};
use crate::pipeline::evaluate::{REPORT_FORMAT, REPORT_VERSION, Report};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("{path}: {source}{hint}", path = path.display(), hint = hint(source))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is no Lapidary project: it has no project.ron; make one with `lapidary init`", path = path.display())]
    NotAProject { path: PathBuf },
    #[error("{path} already holds a project; open it, or choose another folder", path = path.display())]
    Exists { path: PathBuf },
    #[error("{path}, line {line}, column {column}: {reason}", path = path.display())]
    Malformed { path: PathBuf, line: usize, column: usize, reason: String },
    #[error("{path} says it is a \"{found}\", not a \"{wanted}\"", path = path.display())]
    WrongKind { path: PathBuf, found: String, wanted: &'static str },
    #[error("{path} has version {version}, newer than this program reads ({known}); open it with a newer Lapidary", path = path.display())]
    Newer { path: PathBuf, version: u32, known: u32 },
    #[error(transparent)]
    Recipe(#[from] ConfigureError),
    #[error("{path}: cannot be written as RON: {reason}", path = path.display())]
    Unwritable { path: PathBuf, reason: String },
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull => "; free some space and save again: the file on disk is still the one before",
        std::io::ErrorKind::PermissionDenied => "; choose a folder that you may write to",
        std::io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> ProjectError + '_ {
    move |source| ProjectError::Io { path: path.to_path_buf(), source }
}

/// Writes a file whole or not at all: temporary file in the same folder, sync, rename.
///
/// # Errors
/// When the disk is full or the folder cannot be written to; what was there before is still there.
pub fn write_atomically(path: &Path, bytes: &[u8], keep_backup: bool) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".lapidary-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    if keep_backup && path.exists() {
        let mut backup = path.as_os_str().to_owned();
        backup.push(".bak");
        std::fs::copy(path, PathBuf::from(backup))?;
    }
    set_usual_permissions(file.as_file())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// As [`write_atomically`], but only where no file of that name is; tells whether it was written.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".lapidary-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    set_usual_permissions(file.as_file())?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// A temporary file is for its owner's eyes only; a project is a usual file.
#[cfg(unix)]
fn set_usual_permissions(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_usual_permissions(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

/// A project's folder. Holds no document: that is the history's.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    /// Recipes whose files are ours: one that leaves the document leaves the folder too.
    files: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

fn read_ron<T: for<'de> Deserialize<'de>>(path: &Path, wanted: &'static str, known: u32) -> Result<T, ProjectError> {
    let text = std::fs::read_to_string(path).map_err(io_error(path))?;
    let malformed = |e: ron::error::SpannedError| ProjectError::Malformed {
        path: path.to_path_buf(),
        line: e.span.start.line,
        column: e.span.start.col,
        reason: e.code.to_string(),
    };
    let header: Header = ron::from_str(&text).map_err(malformed)?;
    if header.format != wanted {
        return Err(ProjectError::WrongKind { path: path.to_path_buf(), found: header.format, wanted });
    }
    if header.version > known {
        return Err(ProjectError::Newer { path: path.to_path_buf(), version: header.version, known });
    }
    ron::from_str(&text).map_err(malformed)
}

fn to_ron<T: serde::Serialize>(path: &Path, value: &T) -> Result<String, ProjectError> {
    ron::ser::to_string_pretty(value, ron::ser::PrettyConfig::default())
        .map(|text| text + "\n")
        .map_err(|e| ProjectError::Unwritable { path: path.to_path_buf(), reason: e.to_string() })
}

impl Project {
    /// Makes the folder of a new project and saves `document` in it.
    ///
    /// # Errors
    /// When there is a project already, or the folder cannot be written to.
    pub fn create(root: &Path, document: &Document) -> Result<Self, ProjectError> {
        if root.join("project.ron").exists() {
            return Err(ProjectError::Exists { path: root.to_path_buf() });
        }
        let mut project = Self { root: root.to_path_buf(), files: BTreeSet::new() };
        project.save(document)?;
        Ok(project)
    }

    /// # Errors
    /// When the folder holds no project, or one that is damaged or newer than this program.
    pub fn open(path: &Path) -> Result<(Self, Document), ProjectError> {
        // The file itself is as good as its folder.
        let root =
            if path.file_name().is_some_and(|n| n == "project.ron") { path.parent().unwrap_or(Path::new(".")) } else { path };
        let file = root.join("project.ron");
        if !file.exists() {
            return Err(ProjectError::NotAProject { path: root.to_path_buf() });
        }
        let mut document: Document = read_ron(&file, PROJECT_FORMAT, PROJECT_VERSION)?;
        document.recipes = read_recipes(&root.join("recipes"))?;
        let files = document.recipes.keys().cloned().collect();
        Ok((Self { root: root.to_path_buf(), files }, document))
    }

    /// # Errors
    /// When a file cannot be written; those before it are whole.
    pub fn save(&mut self, document: &Document) -> Result<(), ProjectError> {
        let recipes = self.root.join("recipes");
        for folder in [&self.root, &recipes] {
            std::fs::create_dir_all(folder).map_err(io_error(folder))?;
        }
        for (name, recipe) in &document.recipes {
            let path = recipes.join(format!("{name}.ron"));
            self.write_changed(&path, &recipe.to_ron()?)?;
            self.files.insert(name.clone());
        }
        let path = self.root.join("project.ron");
        self.write_changed(&path, &to_ron(&path, document)?)?;
        // Last, so that nothing is gone before the project says so; a copy stays as backup.
        let gone: Vec<String> = self.files.iter().filter(|n| !document.recipes.contains_key(*n)).cloned().collect();
        for name in gone {
            let from = recipes.join(format!("{name}.ron"));
            if from.exists() {
                std::fs::rename(&from, recipes.join(format!("{name}.ron.bak"))).map_err(io_error(&from))?;
            }
            self.files.remove(&name);
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "part of saving a project")]
    fn write_changed(&self, path: &Path, text: &str) -> Result<(), ProjectError> {
        if std::fs::read(path).is_ok_and(|now| now == text.as_bytes()) {
            return Ok(());
        }
        write_atomically(path, text.as_bytes(), true).map_err(io_error(path))
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    #[must_use]
    pub fn exports(&self) -> PathBuf {
        self.root.join("exports")
    }

    /// Where a file of the project is.
    #[must_use]
    pub fn resolve(&self, file: &FileRef) -> PathBuf {
        place(&self.root, &file.path)
    }

    /// How the project names a file: relative to its folder where the two share a root.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn refer(root: &Path, file: &Path) -> Result<FileRef, ProjectError> {
        let file = file.canonicalize().map_err(io_error(file))?;
        std::fs::create_dir_all(root).map_err(io_error(root))?;
        let base = root.canonicalize().map_err(io_error(root))?;
        let path = relative(&base, &file).unwrap_or_else(|| file.clone());
        Ok(FileRef { path: path.to_string_lossy().into_owned(), hash: String::new() })
    }

    /// Saves a report under a name that no other has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_report(&self, report: &Report) -> Result<PathBuf, ProjectError> {
        let folder = self.root.join("reports");
        std::fs::create_dir_all(&folder).map_err(io_error(&folder))?;
        // A recipe's name is a file's, but a report may come from elsewhere.
        let stem: String = report.recipe.chars().map(|c| if matches!(c, '/' | '\\' | ':') { '_' } else { c }).collect();
        let text = to_ron(&folder, report)?;
        for number in 1_usize.. {
            let path = folder.join(format!("{stem}-{number:03}.ron"));
            if !path.exists() && write_new(&path, text.as_bytes()).map_err(io_error(&path))? {
                return Ok(path);
            }
        }
        Ok(folder)
    }

    /// The saved reports, oldest first, and what could not be read.
    #[must_use]
    pub fn reports(&self) -> (Vec<Report>, Vec<ProjectError>) {
        let (mut reports, mut errors) = (Vec::new(), Vec::new());
        for path in ron_files(&self.root.join("reports")).unwrap_or_default() {
            match read_ron::<Report>(&path, REPORT_FORMAT, REPORT_VERSION) {
                Ok(report) => reports.push(report),
                Err(error) => errors.push(error),
            }
        }
        reports.sort_by_key(|r| r.unix_time);
        (reports, errors)
    }
}

/// `path` as seen from `root`, without the detours where the file is there.
#[must_use]
pub fn place(root: &Path, path: &str) -> PathBuf {
    let joined = root.join(path);
    joined.canonicalize().unwrap_or(joined)
}

fn read_recipes(folder: &Path) -> Result<BTreeMap<String, Arc<Recipe>>, ProjectError> {
    let mut recipes = BTreeMap::new();
    for path in ron_files(folder)? {
        let text = std::fs::read_to_string(&path).map_err(io_error(&path))?;
        let mut recipe = Recipe::from_ron(&text, &path.display().to_string())?;
        // The file's name is the recipe's: a copied file is a fork.
        if let Some(stem) = path.file_stem() {
            recipe.name = stem.to_string_lossy().into_owned();
        }
        recipes.insert(recipe.name.clone(), Arc::new(recipe));
    }
    Ok(recipes)
}

fn ron_files(folder: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        if path.extension().is_some_and(|e| e == "ron") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `file` as seen from `base`, both absolute.
fn relative(base: &Path, file: &Path) -> Option<PathBuf> {
    let (mut from, mut to) = (base.components().peekable(), file.components().peekable());
    let mut shared = 0;
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
        shared += 1;
    }
    if shared == 0 {
        return None;
    }
    Some(from.map(|_| std::path::Component::ParentDir).chain(to).collect())
}

#[cfg(test)]
mod tests {
    use super::super::edit::Edit;
    use super::*;

    fn document() -> Document {
        Document::new("p", FileRef { path: "m.onnx".to_owned(), hash: "h".to_owned() })
    }

    #[test]
    fn survives_disk_and_keeps_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let first = document().apply(&Edit::ForkRecipe { from: "w4".to_owned(), to: "mine".to_owned() }).unwrap();
        let mut project = Project::create(folder.path(), &first).unwrap();
        assert_eq!(Project::open(folder.path()).unwrap().1, first);
        let second = first.apply(&Edit::DeleteRecipe("mine".to_owned())).unwrap();
        project.save(&second).unwrap();
        assert_eq!(Project::open(folder.path()).unwrap().1, second);
        assert!(folder.path().join("project.ron.bak").exists() && folder.path().join("recipes/mine.ron.bak").exists());
        assert!(matches!(Project::create(folder.path(), &second), Err(ProjectError::Exists { .. })));
    }

    #[test]
    fn refuses_newer_and_damaged_projects() {
        let folder = tempfile::tempdir().unwrap();
        Project::create(folder.path(), &document()).unwrap();
        let path = folder.path().join("project.ron");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("version: 1", "version: 9")).unwrap();
        assert!(matches!(Project::open(folder.path()), Err(ProjectError::Newer { version: 9, .. })));
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        let error = Project::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
    }

    #[test]
    fn paths_are_relative_where_they_can_be() {
        assert_eq!(relative(Path::new("/a/b"), Path::new("/a/c/d.onnx")), Some(PathBuf::from("../c/d.onnx")));
        assert_eq!(relative(Path::new("/a/b"), Path::new("/a/b/d.onnx")), Some(PathBuf::from("d.onnx")));
    }
}
