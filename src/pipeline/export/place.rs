//! Where files go: temporary ones beside their targets until all is well, and never over what they are made from.

use super::ExportError;
use crate::pipeline::load::LoadedModel;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that does not have its name yet; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) file: NamedTempFile,
    pub(super) target: PathBuf,
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
        Ok(Self { file, target: target.to_path_buf() })
    }

    pub(super) fn fail(&self, source: std::io::Error) -> ExportError {
        ExportError::Io { path: self.target.clone(), source }
    }

    /// # Errors
    /// What the disk says.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.as_file().sync_all());
        written.map_err(|e| self.fail(e))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the disk says; a file of that name is still as it was.
    pub(super) fn publish(self) -> Result<(), ExportError> {
        let Self { file, target } = self;
        make_readable(file.as_file()).map_err(|source| ExportError::Io { path: target.clone(), source })?;
        file.persist(&target).map_err(|e| ExportError::Io { path: target.clone(), source: e.error })?;
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
