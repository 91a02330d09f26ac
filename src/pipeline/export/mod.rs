//! Stage 7. Variant → file. What was written is opened again and held against the variant before
//! the file gets its name: a file that is there is a file that was checked.

mod check;
mod onnx;

pub use crate::pipeline::configure::FileFormat as Format;
pub use crate::pipeline::load::gguf::write as gguf;
pub use check::Check;

use crate::engine::context::Cancelled;
use crate::engine::exec::ExecError;
use crate::engine::{Ctx, hash};
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{Activations, Plan, Scheme};
use crate::pipeline::load::{self, LoadError, LoadedModel, Subject};
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("{path}: {source}{hint}", path = path.display(), hint = full_disk(source))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} belongs to the model that is being compressed; choose another file", path = path.display())]
    OverSource { path: PathBuf },
    #[error(
        "layer \"{layer}\" is stored as {scheme}, blocks that ONNX cannot hold; export it as GGUF (`--format gguf`, or a name that ends in .gguf), or give the layer another scheme"
    )]
    Blocks { layer: String, scheme: String },
    #[error("layer \"{layer}\" rounds its inputs, and GGUF holds weights alone; export as ONNX, or set its activations to None")]
    Inputs { layer: String },
    #[error(transparent)]
    Gguf(#[from] gguf::GgufError),
    #[error("{path} is a folder; name a file in it", path = path.display())]
    Folder { path: PathBuf },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the exported file cannot be run: {0}")]
    Exec(#[from] ExecError),
    #[error("the file was not written, because it failed its own check: {name}: {value}")]
    CheckFailed { name: String, value: String },
}

fn full_disk(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::StorageFull { "; free some space: nothing was left behind" } else { "" }
}

/// A file written and checked that does not have its name yet; dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    file: tempfile::NamedTempFile,
    out: PathBuf,
    pub bytes: u64,
    pub sha256: String,
    pub checks: Vec<Check>,
    /// What our own reader made of the file.
    pub reopened: LoadedModel,
}

/// A file that is there.
#[derive(Debug, Clone)]
pub struct Exported {
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: String,
    pub checks: Vec<Check>,
}

/// # Errors
/// When `out` is the source, the disk is full, or a check fails; nothing is left behind then.
pub fn run(
    format: Format,
    variant: &Variant,
    plan: &Plan,
    subject: &Subject,
    out: &Path,
    ctx: &Ctx,
) -> Result<Draft, ExportError> {
    if out.is_dir() {
        return Err(ExportError::Folder { path: out.to_path_buf() });
    }
    if let Ok(place) = out.canonicalize() {
        let loaded = &subject.loaded;
        let mut sources = std::iter::once(&loaded.path).chain(&loaded.externals);
        if sources.any(|s| s.canonicalize().is_ok_and(|s| s == place)) {
            return Err(ExportError::OverSource { path: out.to_path_buf() });
        }
    }
    ctx.start(format!("Exporting {}", variant.recipe), 3);
    let bytes = bytes(format, variant, plan, subject)?;
    let io = |source| ExportError::Io { path: out.to_path_buf(), source };
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut file = tempfile::Builder::new().prefix(".lapidary-").suffix(format.suffix()).tempfile_in(folder).map_err(io)?;
    file.write_all(&bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    ctx.advance(1);
    ctx.check()?;
    let reopened = load::model(file.path(), &ctx.fresh())?;
    ctx.advance(1);
    let checks = check::all(format, variant, plan, (subject, &reopened), bytes.len() as u64, ctx)?;
    let draft =
        Draft { file, out: out.to_path_buf(), bytes: bytes.len() as u64, sha256: hash::of_bytes(&bytes), checks, reopened };
    ctx.advance(1);
    Ok(draft)
}

/// The bytes of the file.
fn bytes(format: Format, variant: &Variant, plan: &Plan, subject: &Subject) -> Result<Vec<u8>, ExportError> {
    match format {
        Format::Onnx => {
            let blocks = plan.layers.iter().find(|l| matches!(l.treatment.weights, Scheme::Block(_)));
            match blocks {
                Some(l) => Err(ExportError::Blocks { layer: l.layer.name.clone(), scheme: l.treatment.weights.to_string() }),
                None => Ok(onnx::bytes(variant, subject)?),
            }
        }
        Format::Gguf => {
            if let Some(l) = plan.layers.iter().find(|l| l.treatment.activations != Activations::None) {
                return Err(ExportError::Inputs { layer: l.layer.name.clone() });
            }
            let (metadata, tensors) = gguf::contents(&variant.base, &subject.loaded.metadata, &variant.whole_weights(subject));
            let mut bytes = Vec::new();
            gguf::write(&metadata, &tensors, &mut bytes)?;
            Ok(bytes)
        }
    }
}

impl Draft {
    /// Gives the file its name, if every check has passed.
    ///
    /// # Errors
    /// The first check that failed, or what the file system says; a file of that name is still as it was.
    pub fn publish(self) -> Result<Exported, ExportError> {
        if let Some(failed) = self.checks.iter().find(|c| !c.passed) {
            return Err(ExportError::CheckFailed { name: failed.name.clone(), value: failed.value.clone() });
        }
        let io = |source| ExportError::Io { path: self.out.clone(), source };
        make_readable(self.file.as_file()).map_err(io)?;
        self.file.persist(&self.out).map_err(|e| ExportError::Io { path: self.out.clone(), source: e.error })?;
        Ok(Exported { path: self.out, bytes: self.bytes, sha256: self.sha256, checks: self.checks })
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
