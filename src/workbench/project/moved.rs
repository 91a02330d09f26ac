//! A project whose files are no longer where they were.

use super::document::{Document, FileRef};
use super::store::{Project, ProjectError};
use crate::engine::hash;
use std::path::{Path, PathBuf};

/// How deep below a folder a lost file is looked for.
const DEPTH: usize = 3;
/// Files that are looked at, before it is given up.
const MOST: usize = 20_000;

/// A file that a project cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Model,
    Graph,
    Importance,
}

impl Part {
    const ALL: [Self; 3] = [Self::Model, Self::Graph, Self::Importance];

    fn of(self, document: &Document) -> Option<&FileRef> {
        match self {
            Self::Model => Some(&document.model),
            Self::Graph => document.graph.as_ref(),
            Self::Importance => document.importance.as_ref(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub content: Content,
}

/// How a file's content compares with what the project knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Same,
    Other,
    /// The project does not know it, or the model lies in several files.
    Unknown,
}

/// A file that is not where the project says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The project's folder.
    pub root: PathBuf,
    pub part: Part,
    /// Where it was.
    pub path: PathBuf,
    /// A file of that name which lies near.
    pub found: Option<Found>,
}

impl Moved {
    /// The first file of a project that is not there; looks for it below the project's folder and the one above, and
    /// below where it was.
    #[must_use]
    pub fn of(project: &Project, document: &Document) -> Option<Self> {
        let root = project.root();
        Part::ALL.into_iter().find_map(|part| {
            let file = part.of(document)?;
            let path = project.resolve(file);
            if path.exists() {
                return None;
            }
            let near = [Some(root), root.parent(), path.parent(), path.parent().and_then(Path::parent)];
            let mut found: Vec<PathBuf> = Vec::new();
            for candidate in near.into_iter().flatten().flat_map(|folder| look(folder, &path)) {
                let place = candidate.canonicalize().unwrap_or(candidate);
                if !found.contains(&place) {
                    found.push(place);
                }
            }
            let found = best(found, &file.hash);
            Some(Self { root: root.to_path_buf(), part, path, found })
        })
    }

    /// Writes into the project that the file is `now` there. What was measured of another content stays, and is known
    /// for stale by its hash.
    ///
    /// # Errors
    /// When the file is not there, or the project cannot be read or written.
    pub fn put(&self, now: &Path) -> Result<(), ProjectError> {
        if !now.is_file() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no file of that name");
            return Err(ProjectError::Io { path: now.to_path_buf(), source });
        }
        let (mut project, mut document) = Project::open(&self.root)?;
        let place = Project::refer(&self.root, now)?;
        match self.part {
            Part::Model => document.model.path = place.path,
            Part::Graph => document.graph = Some(place),
            Part::Importance => document.importance = Some(place),
        }
        project.save(&document)
    }
}

/// That of the known content, else the first.
fn best(found: Vec<PathBuf>, known: &str) -> Option<Found> {
    let first = found.first()?.clone();
    if known.is_empty() {
        return Some(Found { path: first, content: Content::Unknown });
    }
    let same = found.into_iter().find(|f| hash::of_file(f).is_ok_and(|h| h == known));
    Some(same.map_or(Found { path: first, content: Content::Other }, |path| Found { path, content: Content::Same }))
}

/// Files of the name of `lost` in `folder` and a few folders below it, the nearest first.
fn look(folder: &Path, lost: &Path) -> Vec<PathBuf> {
    let Some(name) = lost.file_name() else { return Vec::new() };
    let (mut level, mut found, mut seen) = (vec![folder.to_path_buf()], Vec::new(), 0);
    for _ in 0..DEPTH {
        let mut below = Vec::new();
        for entry in level.iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return found;
            }
            // Links may lead around in circles.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                below.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
        below.sort();
        level = below;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A project in `work/p` with a model in `models`.
    fn project(folder: &Path) -> (Project, Document) {
        let model = folder.join("models/net.onnx");
        fs::create_dir(folder.join("models")).unwrap();
        fs::write(&model, b"the model").unwrap();
        let root = folder.join("work/p");
        let mut document = Document::new("p", Project::refer(&root, &model).unwrap());
        document.model.hash = hash::of_bytes(b"the model");
        (Project::create(&root, &document).unwrap(), document)
    }

    #[test]
    fn a_model_that_moved_is_found_by_its_content_and_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let (project, document) = project(folder.path());
        assert_eq!(Moved::of(&project, &document), None);
        let new = folder.path().join("work/new/net.onnx");
        for (path, bytes) in [(new.clone(), "the model"), (folder.path().join("work/a/net.onnx"), "another")] {
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::remove_dir_all(folder.path().join("models")).unwrap();
        let moved = Moved::of(&project, &document).unwrap();
        assert_eq!(
            (moved.part, moved.found.as_ref()),
            (Part::Model, Some(&Found { path: new.canonicalize().unwrap(), content: Content::Same }))
        );
        moved.put(&new).unwrap();
        let (project, document) = Project::open(project.root()).unwrap();
        assert_eq!(Moved::of(&project, &document), None);
        assert_eq!(document.model.hash, hash::of_bytes(b"the model"), "results stay known for what they are");
    }

    #[test]
    fn another_content_is_told_and_nothing_is_found_where_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let (project, document) = project(folder.path());
        fs::remove_file(folder.path().join("models/net.onnx")).unwrap();
        let moved = Moved::of(&project, &document).unwrap();
        assert_eq!(moved.found, None);
        assert!(moved.put(&folder.path().join("nowhere.onnx")).is_err() && moved.put(folder.path()).is_err());
        let other = folder.path().join("work/net.onnx");
        fs::write(&other, b"another").unwrap();
        let moved = Moved::of(&project, &document).unwrap();
        assert_eq!(moved.found, Some(Found { path: other.canonicalize().unwrap(), content: Content::Other }));
    }
}
