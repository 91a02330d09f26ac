//! Where the tests lie.

use super::{ConformanceError, Outcome};
use crate::engine::Ctx;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An archive may unpack to this much.
const UNPACKED_LIMIT: u64 = 8 << 30;

pub(super) struct Suite {
    root: PathBuf,
    /// The folders of the tests, sorted.
    pub(super) tests: Vec<PathBuf>,
    /// Where an archive was unpacked to; gone with the suite.
    _unpacked: Option<TempDir>,
}

impl Suite {
    pub(super) fn open(path: &Path, ctx: &Ctx) -> Result<Self, ConformanceError> {
        ctx.start(format!("Opening {}", path.display()), 0);
        let meta = std::fs::metadata(path).map_err(io(path))?;
        let unpacked = if meta.is_dir() { None } else { Some(unpack(path, ctx)?) };
        let root = unpacked.as_ref().map_or(path, TempDir::path).to_owned();
        let mut tests = Vec::new();
        find(&root, &mut tests, ctx)?;
        if tests.is_empty() {
            return Err(ConformanceError::Empty { path: path.to_owned() });
        }
        tests.sort();
        Ok(Self { root, tests, _unpacked: unpacked })
    }

    /// The outcome with files named as they lie in the suite: where an archive was unpacked to is of no interest.
    pub(super) fn relative(&self, outcome: Outcome) -> Outcome {
        let root = format!("{}{}", self.root.display(), std::path::MAIN_SEPARATOR);
        match outcome {
            Outcome::Passed => Outcome::Passed,
            Outcome::Unsupported(reason) => Outcome::Unsupported(reason.replace(&root, "")),
            Outcome::Failed(reason) => Outcome::Failed(reason.replace(&root, "")),
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ConformanceError + '_ {
    move |source| ConformanceError::Io { path: path.to_owned(), source }
}

/// Folders below `folder` that are tests. Links are not followed: they may lead in circles.
fn find(folder: &Path, tests: &mut Vec<PathBuf>, ctx: &Ctx) -> Result<(), ConformanceError> {
    ctx.check()?;
    let (mut has_model, mut has_data, mut inside) = (false, false, Vec::new());
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let kind = entry.file_type().map_err(io(folder))?;
        has_model |= kind.is_file() && entry.file_name() == "model.onnx";
        if kind.is_dir() {
            has_data |= entry.file_name().to_string_lossy().starts_with("test_data_set_");
            inside.push(entry.path());
        }
    }
    if has_model && has_data {
        tests.push(folder.to_owned());
        return Ok(());
    }
    inside.iter().try_for_each(|path| find(path, tests, ctx))
}

/// The plain files of an archive in a folder that goes when it is dropped.
fn unpack(path: &Path, ctx: &Ctx) -> Result<TempDir, ConformanceError> {
    let mut file = File::open(path).map_err(io(path))?;
    let mut magic = [0_u8; 2];
    let gzipped = file.read(&mut magic).map_err(io(path))? == 2 && magic == [0x1f, 0x8b];
    file.rewind().map_err(io(path))?;
    let bytes = BufReader::new(file);
    let reader: Box<dyn Read> = if gzipped { Box::new(flate2::read::MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    let folder = tempfile::tempdir().map_err(io(path))?;
    let broken = |e: std::io::Error| ConformanceError::Archive { path: path.to_owned(), reason: e.to_string() };
    let mut archive = tar::Archive::new(reader);
    let mut total = 0_u64;
    for entry in archive.entries().map_err(broken)? {
        ctx.check()?;
        let mut entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        total = total.saturating_add(entry.size());
        if total > UNPACKED_LIMIT {
            let reason = format!("it unpacks to more than {} GB", UNPACKED_LIMIT >> 30);
            return Err(ConformanceError::Archive { path: path.to_owned(), reason });
        }
        // Names that lead out of the folder are passed over by the library.
        entry.unpack_in(folder.path()).map_err(broken)?;
    }
    Ok(folder)
}
