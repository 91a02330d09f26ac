//! What a run has made before it is over, in the project's cache: one that was killed goes on there.

use crate::pipeline::compress::Keep;
use crate::workbench::project::write_atomically;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Runs that may lie there unfinished; older ones go.
const RUNS: usize = 4;
/// Letters of a name that tell it from all others.
const NAME: usize = 24;

/// A folder for each run, a file for each layer.
pub(super) struct Unfinished {
    folder: PathBuf,
}

impl Unfinished {
    pub fn of(project: &Path) -> Self {
        Self { folder: project.join("cache").join("unfinished") }
    }

    fn run(&self, run: &str) -> PathBuf {
        self.folder.join(run.get(..NAME).unwrap_or(run))
    }

    fn layer(&self, run: &str, layer: &str) -> PathBuf {
        self.run(run).join(layer.get(..NAME).unwrap_or(layer)).with_extension("layer")
    }

    /// Makes room for one more. What cannot be removed stays.
    fn shed(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let age = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
        let mut runs: Vec<_> = entries.flatten().filter_map(age).collect();
        runs.sort_unstable();
        let many = (runs.len() + 1).saturating_sub(RUNS);
        runs.iter().take(many).for_each(|(_, path)| drop(fs::remove_dir_all(path)));
    }
}

impl Keep for Unfinished {
    fn read(&self, run: &str, layer: &str) -> Option<Vec<u8>> {
        fs::read(self.layer(run, layer)).ok()
    }

    fn write(&self, run: &str, layer: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.run(run);
        if !folder.is_dir() {
            self.shed();
            fs::create_dir_all(&folder)?;
        }
        write_atomically(&self.layer(run, layer), bytes, false)
    }

    fn forget(&self, run: &str) {
        // What is left of it is of no more use, and harms nobody.
        drop(fs::remove_dir_all(self.run(run)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_runs_until_they_are_over() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Unfinished::of(folder.path());
        for run in ["a", "b", "c", "d", "e"] {
            kept.write(run, "one", run.as_bytes()).unwrap();
            kept.write(run, "two", b"more").unwrap();
            // Folders of one moment would be of one age.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(kept.read("a", "one"), None, "the oldest is gone");
        assert_eq!(kept.read("e", "one").as_deref(), Some(&b"e"[..]));
        assert_eq!(kept.read("b", "two").as_deref(), Some(&b"more"[..]));
        assert_eq!(kept.read("e", "three"), None);
        kept.forget("e");
        assert_eq!(kept.read("e", "one"), None);
    }
}
