//! Stage 7. Variant → file. What was written is opened again and held against the variant before
//! the file gets its name: a file that is there is a file that was checked.

mod archive;
mod check;
mod graphed;
mod onnx;
mod place;
pub mod runtimes;
mod safetensors;

pub use crate::pipeline::configure::FileFormat as Format;
pub use crate::pipeline::load::gguf::write as gguf;
pub use crate::pipeline::load::onnx::LIMIT_BYTES as FILE_LIMIT_BYTES;
pub use check::Check;
pub use graphed::graphed;

use crate::engine::context::Cancelled;
use crate::engine::exec::ExecError;
use crate::engine::tensor::{MappedFile, TensorError};
use crate::engine::{Ctx, hash};
use crate::pipeline::compress::{CompressError, Variant};
use crate::pipeline::configure::{Activations, ConfigureError, Plan, header_text};
use crate::pipeline::load::lapidary::{self, Gain};
use crate::pipeline::load::safetensors::write::{SafetensorsError, Written};
use crate::pipeline::load::{self, LoadError, LoadedModel, Subject};
use place::Pending;
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
    #[error(transparent)]
    Configure(Box<ConfigureError>),
    #[error(transparent)]
    Compress(Box<CompressError>),
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("{file} files are not written while layers are made")]
    NotStreamed { file: &'static str },
    #[error("{path} is the configuration of another model, and the file needs one beside it; export to a folder of its own", path = path.display())]
    Beside { path: PathBuf },
    #[error("the exported file cannot be run: {0}")]
    Exec(#[from] ExecError),
    #[error("the file was not written, because it failed its own check: {name}: {value}")]
    CheckFailed { name: String, value: String },
}

impl From<ConfigureError> for ExportError {
    fn from(error: ConfigureError) -> Self {
        Self::Configure(Box::new(error))
    }
}

fn full_disk(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::StorageFull { "; free some space: nothing was left behind" } else { "" }
}

/// A file written and checked that does not have its name yet; dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    pending: Pending,
    /// The tensors of an ONNX file that is larger than one file can be.
    data: Option<Pending>,
    /// Files that belong to it.
    beside: Vec<Pending>,
    /// Of the file and its tensors.
    pub bytes: u64,
    /// Of the file; of both, where its tensors lie beside it.
    pub sha256: String,
    pub checks: Vec<Check>,
    /// What our own reader made of the file; of a C header nothing can be made.
    pub reopened: Option<LoadedModel>,
}

/// A file that is there.
#[derive(Debug, Clone)]
pub struct Exported {
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: String,
    pub checks: Vec<Check>,
}

/// Where what is written comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    Made(&'a Variant),
    /// Layers are compressed while they are written, one after the other: for files of weights that no data calibrate.
    Streamed,
}

/// # Errors
/// When `out` is the source, the disk is full, the format cannot hold the plan, or a check fails; nothing is left
/// behind then.
pub fn run(
    format: Format,
    source: Source<'_>,
    plan: &Plan,
    subject: &Subject,
    out: &Path,
    ctx: &Ctx,
) -> Result<Draft, ExportError> {
    run_within(FILE_LIMIT_BYTES, format, source, plan, subject, out, ctx)
}

/// [`run`]; an ONNX file of more than `limit` bytes is written as two, its graph and beside it its tensors.
///
/// # Errors
/// As [`run`].
pub fn run_within(
    limit: u64,
    format: Format,
    source: Source<'_>,
    plan: &Plan,
    subject: &Subject,
    out: &Path,
    ctx: &Ctx,
) -> Result<Draft, ExportError> {
    place::check(out, &subject.loaded)?;
    ctx.start(format!("Exporting {}", plan.recipe), 3);
    let mut written = Files::write((format, limit), source, plan, subject, out, ctx)?;
    ctx.advance(1);
    ctx.check()?;
    let reopened = match format {
        Format::CHeader => None,
        _ => Some(load::model(written.pending.file.path(), &ctx.fresh())?),
    };
    ctx.advance(1);
    let size = written.pending.size()? + written.data.as_ref().map_or(Ok(0), |data| data.pending.size())?;
    let mut checks = check::opened_and_sized(size, written.data.as_ref().map_or(0, |data| data.count), plan);
    checks.extend(match (&written.tensors, source) {
        (Some(tensors), _) => {
            let read = safetensors::same_bytes(written.pending.file.as_file_mut(), tensors);
            check::of_weights(read.map_err(|e| written.pending.fail(e))?)
        }
        (None, Source::Made(variant)) => match &reopened {
            Some(reopened) => check::all(format, variant, (subject, reopened), ctx)?,
            None => check::of_header(&written.pending, variant, plan, subject)?,
        },
        (None, Source::Streamed) => Vec::new(),
    });
    checks.extend(written.gain.map(|gain| check::of_codes(&gain)));
    let sha256 = match (&written.data, &reopened) {
        (Some(_), Some(both)) => both.hash_within(ctx)?.to_owned(),
        _ => hash::of_file(written.pending.file.path()).map_err(|e| written.pending.fail(e))?,
    };
    ctx.advance(1);
    let Files { pending, data, beside, .. } = written;
    Ok(Draft { pending, data: data.map(|d| d.pending), beside, bytes: size, sha256, checks, reopened })
}

/// What was written, none of it with its name yet.
struct Files {
    pending: Pending,
    /// The tensors that `pending` speaks of.
    data: Option<onnx::Data>,
    beside: Vec<Pending>,
    /// Of files of weights: what was made.
    tensors: Option<Vec<Written>>,
    gain: Option<Gain>,
}

impl Files {
    fn write(
        (format, limit): (Format, u64),
        source: Source<'_>,
        plan: &Plan,
        subject: &Subject,
        out: &Path,
        ctx: &Ctx,
    ) -> Result<Self, ExportError> {
        let alone = |pending| Self { pending, data: None, beside: Vec::new(), tensors: None, gain: None };
        let new = || Pending::new(out, format.suffix());
        Ok(match (format, source) {
            (Format::Safetensors | Format::CompressedTensors, _) => {
                let mut pending = new()?;
                let made = safetensors::write(format, source, plan, subject, pending.file.as_file_mut(), ctx)?;
                pending.flush()?;
                let beside = safetensors::config(out, made.config.as_ref(), subject)?.into_iter().collect();
                Self { beside, tensors: Some(made.written), ..alone(pending) }
            }
            (_, Source::Streamed) => return Err(ExportError::NotStreamed { file: format.name() }),
            (Format::Lapidary, Source::Made(variant)) => {
                let mut pending = new()?;
                let gain = archive::write(&onnx::bytes(variant, plan, subject)?, &mut pending, ctx)?;
                Self { gain: Some(gain), ..alone(pending) }
            }
            (Format::Onnx | Format::OnnxUnsigned | Format::OnnxRuntime, Source::Made(variant)) => {
                let (pending, data) = onnx::write(variant, plan, subject, (out, limit), ctx)?;
                Self { data, ..alone(pending) }
            }
            (Format::Gguf, Source::Made(variant)) => {
                let mut pending = new()?;
                pending.put(&gguf_bytes(variant, plan, subject)?)?;
                alone(pending)
            }
            (Format::CHeader, Source::Made(variant)) => {
                let mut pending = new()?;
                let stored: Vec<_> = variant.layers.iter().map(|l| l.stored.clone()).collect();
                pending.put(header_text(&plan.recipe, subject, &plan.layers, &stored, out)?.as_bytes())?;
                alone(pending)
            }
        })
    }
}

fn gguf_bytes(variant: &Variant, plan: &Plan, subject: &Subject) -> Result<Vec<u8>, ExportError> {
    if let Some(l) = plan.layers.iter().find(|l| l.treatment.activations != Activations::None) {
        return Err(ExportError::Inputs { layer: l.layer.name.clone() });
    }
    let (metadata, tensors) = gguf::contents(&subject.folded, &subject.loaded.metadata, &variant.whole_weights(subject));
    let mut bytes = Vec::new();
    gguf::write(&metadata, &tensors, &mut bytes)?;
    Ok(bytes)
}

/// Larger files are not packed to see what comes of it.
const ZIP_LIMIT: u64 = 64 << 20;

/// What `zip -9` makes of the original's files, without its own headers: the honest size to be held against. `None`
/// where that would take long.
///
/// # Errors
/// When a file cannot be read.
pub fn zipped_bytes(loaded: &LoadedModel) -> Result<Option<u64>, ExportError> {
    if loaded.bytes > ZIP_LIMIT {
        return Ok(None);
    }
    let mut sum = 0;
    for path in std::iter::once(&loaded.path).chain(&loaded.externals) {
        let io = |source| ExportError::Io { path: path.clone(), source };
        let mut packed = flate2::read::DeflateEncoder::new(std::fs::File::open(path).map_err(io)?, flate2::Compression::best());
        sum += std::io::copy(&mut packed, &mut std::io::sink()).map_err(io)?;
    }
    Ok(Some(sum))
}

/// Writes the file that an archive stands for, as it was before it was coded.
///
/// # Errors
/// When `archive` is none or damaged, `out` is the archive, or the disk is full; nothing is left behind then.
pub fn unpack(archive: &Path, out: &Path, ctx: &Ctx) -> Result<Exported, ExportError> {
    let loaded = load::model(archive, &ctx.fresh())?;
    place::check(out, &loaded)?;
    let map = MappedFile::open(archive).map_err(LoadError::io(archive))?;
    let file = lapidary::Archive::open(archive, map.as_slice())?.file(ctx)?;
    let mut pending = Pending::new(out, Format::Onnx.suffix())?;
    pending.put(&file)?;
    let checks = vec![Check::new("same file", true, "SHA-256 as it was before it was coded")];
    let (path, bytes, sha256) = (out.to_path_buf(), file.len() as u64, hash::of_bytes(&file));
    pending.publish()?;
    Ok(Exported { path, bytes, sha256, checks })
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
        for beside in self.beside {
            beside.publish()?;
        }
        let path = self.pending.target.clone();
        if let Some(data) = self.data {
            // An older graph would find newer tensors: rather no file for a moment.
            if data.target.exists() && path.exists() {
                std::fs::remove_file(&path).map_err(|source| ExportError::Io { path: path.clone(), source })?;
            }
            data.publish()?;
        }
        self.pending.publish()?;
        Ok(Exported { path, bytes: self.bytes, sha256: self.sha256, checks: self.checks })
    }
}
