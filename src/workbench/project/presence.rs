//! Whether a project is open somewhere else: what one window saves would replace what the other saved.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// In the project's cache, which may be deleted at any time.
const NAME: &str = "open.lock";

/// Says to others that a project is open. The system takes it back when it is dropped, and when the program dies.
#[derive(Debug)]
pub struct Presence {
    _locked: File,
}

/// The project is open elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere;

impl Presence {
    /// `None` where the folder cannot be written to or its file system knows no locks: then nobody can tell.
    ///
    /// # Errors
    /// When somebody else has said so before.
    pub fn claim(root: &Path) -> Result<Option<Self>, Elsewhere> {
        let folder = root.join("cache");
        let made = std::fs::create_dir_all(&folder);
        let file = made.and_then(|()| OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(NAME)));
        let Ok(file) = file else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _locked: file })),
            Err(TryLockError::WouldBlock) => Err(Elsewhere),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Presence::claim(folder.path()).unwrap();
        assert!(first.is_some());
        assert_eq!(Presence::claim(folder.path()).unwrap_err(), Elsewhere);
        drop(first);
        assert!(Presence::claim(folder.path()).unwrap().is_some());
    }
}
