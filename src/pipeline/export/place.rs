//! Where files go: temporary ones beside their targets until all is well, and never over what they are made from.

use super::ExportError;
use crate::pipeline::load::LoadedModel;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{NamedTempFile, TempDir};

/// A file that does not have its name yet; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) file: NamedTempFile,
    pub(super) target: PathBuf,
    /// The hidden folder that it lies in, if it has one; gone with the last file in it.
    folder: Option<Arc<TempDir>>,
}

/// # Errors
/// When the target is a folder or belongs to the model.
pub(super) fn check(target: &Path, loaded: &LoadedModel) -> Result<(), ExportError> {
    if target.is_dir() {
        return Err(ExportError::Folder { path: target.to_path_buf() });
    }
    if let Ok(place) = target.canonicalize() {
        let mut sources = std::iter::once(&loaded.path).chain(&loaded.externals);
        if sources.any(|s| s.canonicalize().is_ok_and(|s| s == place)) {
            return Err(ExportError::OverSource { path: target.to_path_buf() });
        }
    }
    Ok(())
}

pub(super) fn folder(target: &Path) -> &Path {
    target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Pending {
    /// An empty file beside its target; folders on the way are made.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn new(target: &Path, suffix: &str) -> Result<Self, ExportError> {
        let io = |source| ExportError::Io { path: target.to_path_buf(), source };
        let folder = folder(target);
        std::fs::create_dir_all(folder).map_err(io)?;
        let file = tempfile::Builder::new().prefix(".lapidary-").suffix(suffix).tempfile_in(folder).map_err(io)?;
        Ok(Self { file, target: target.to_path_buf(), folder: None })
    }

    /// Two empty files with the names that they will have, in a hidden folder beside their targets: so one can speak of
    /// the other.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn pair(first: &Path, second: &Path) -> Result<[Self; 2], ExportError> {
        let io = |source| ExportError::Io { path: first.to_path_buf(), source };
        let beside = folder(first);
        std::fs::create_dir_all(beside).map_err(io)?;
        let folder = Arc::new(tempfile::Builder::new().prefix(".lapidary-").tempdir_in(beside).map_err(io)?);
        let file = |target: &Path| -> Result<Self, ExportError> {
            let name = target.file_name().unwrap_or_default();
            let file = tempfile::Builder::new().prefix(name).rand_bytes(0).tempfile_in(folder.path()).map_err(io)?;
            Ok(Self { file, target: target.to_path_buf(), folder: Some(Arc::clone(&folder)) })
        };
        Ok([file(first)?, file(second)?])
    }

    pub(super) fn fail(&self, source: std::io::Error) -> ExportError {
        ExportError::Io { path: self.target.clone(), source }
    }

    /// # Errors
    /// What the disk says.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.append(bytes)?;
        self.flush()
    }

    /// # Errors
    /// What the disk says.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.file.write_all(bytes).map_err(|e| self.fail(e))
    }

    /// What was written, on the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn flush(&self) -> Result<(), ExportError> {
        self.file.as_file().sync_all().map_err(|e| self.fail(e))
    }

    pub(super) fn size(&self) -> Result<u64, ExportError> {
        Ok(self.file.as_file().metadata().map_err(|e| self.fail(e))?.len())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the disk says; a file of that name is still as it was.
    pub(super) fn publish(self) -> Result<(), ExportError> {
        let Self { file, target, folder } = self;
        make_readable(file.as_file()).map_err(|source| ExportError::Io { path: target.clone(), source })?;
        file.persist(&target).map_err(|e| ExportError::Io { path: target.clone(), source: e.error })?;
        drop(folder);
        Ok(())
    }
}

#[cfg(unix)]
fn make_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
