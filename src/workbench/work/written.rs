//! Files that are written: checked, measured, and what was found kept with the project.

use super::runtime::PROGRAM;
use super::{Opened, Split, WorkError, say_refusals};
use crate::engine::Ctx;
use crate::engine::exec::{self, Arithmetic};
use crate::engine::graph::Wire;
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{self, Allocation, Plan, Recipe};
use crate::pipeline::evaluate::{EvaluateError, Report};
use crate::pipeline::export::{self, Check, Exported, Format, Source};
use crate::pipeline::load::{self, LoadError, LoadedModel, Subject};
use crate::workbench::project::write_atomically;
use std::path::Path;

/// What is written, and how.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    pub file: Format,
    /// ONNX files of more bytes are written as two.
    pub split_above: u64,
    /// Whether ONNX Runtime is asked what it makes of an ONNX file.
    pub check_runtime: bool,
}

impl Writing {
    #[must_use]
    pub fn new(file: Format) -> Self {
        Self { file, split_above: export::FILE_LIMIT_BYTES, check_runtime: false }
    }
}

/// By how much a file's accuracy may differ from the variant's it was written from.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    points: f64,
    /// Of perplexities and divergences: a part of them, and at least so much.
    part: f64,
    least: f64,
    /// Where the graph came from.
    said: &'static str,
}

/// A file that holds the network computes the same numbers.
const SAME: Tolerance = Tolerance { points: 0.0, part: 0.0, least: 1e-9, said: "" };
/// Weights that were tied to the graph again are floats where the variant has halves or codes, and sums of an untouched
/// network were folded: other kernels run.
const ALIKE: Tolerance = Tolerance { points: 0.1, part: 1e-3, least: 1e-6, said: ", its weights in the project's graph" };

/// Gives back the file that an archive stands for; where `out` is named as safetensors, its weights as floats.
///
/// # Errors
/// When the archive is damaged, `out` is named as what an archive does not hold, or the file cannot be written.
pub fn unpack(archive: &Path, out: &Path, ctx: &Ctx) -> Result<Exported, WorkError> {
    match Format::of_name(out) {
        Format::CompressedTensors => unpack_weights(archive, out, ctx),
        file if file.suffix() == Format::Onnx.suffix() => Ok(export::unpack(archive, out, ctx)?),
        file => Err(WorkError::NotHeld { path: archive.to_owned(), file: file.name() }),
    }
}

fn unpack_weights(archive: &Path, out: &Path, ctx: &Ctx) -> Result<Exported, WorkError> {
    let mut loaded = load::model(archive, ctx)?;
    if loaded.format != load::Format::Lapidary {
        return Err(LoadError::Unrecognized { path: archive.to_owned(), reason: "it is no archive".to_owned() }.into());
    }
    let graph = |source| LoadError::Graph { path: archive.to_owned(), source };
    loaded.model = exec::decode(&loaded.model).map_err(graph)?;
    let is_constant = |wire: &Wire| loaded.model.constants.contains_key(wire);
    let mut nodes = loaded.model.nodes.iter();
    if nodes.any(|n| n.inputs.iter().flatten().next().is_some() && n.inputs.iter().flatten().all(is_constant)) {
        return Err(WorkError::Codes { path: archive.to_owned() });
    }
    let subject = Subject::new(loaded)?;
    let plan = configure::plan_for(&configure::presets::preset("fp32")?, &subject, Some(Format::Safetensors))?;
    Ok(export::run(Format::Safetensors, Source::Streamed, &plan, &subject, out, ctx)?.publish()?)
}

impl Opened {
    /// Writes the variant as its name says (`.gguf`, `.safetensors`, else ONNX), opens the file again, evaluates it,
    /// and only then gives it its name.
    ///
    /// # Errors
    /// When the file cannot be written or fails one of its checks.
    pub fn export(&self, recipe: &Recipe, out: &Path, ctx: &Ctx) -> Result<Exported, WorkError> {
        self.export_as(Format::of_name(out), recipe, out, ctx)
    }

    /// [`Opened::export`] in a kind of file, whatever the name says.
    ///
    /// # Errors
    /// When the file cannot be written or fails one of its checks.
    pub fn export_as(&self, file: Format, recipe: &Recipe, out: &Path, ctx: &Ctx) -> Result<Exported, WorkError> {
        self.export_with(Writing::new(file), recipe, out, ctx)
    }

    /// [`Opened::export_as`], with what else there is to say. What a runtime makes of the file comes with the checks, and
    /// changes nothing: the file is there by then.
    ///
    /// # Errors
    /// When the file cannot be written or fails one of its checks.
    pub fn export_with(&self, how: Writing, recipe: &Recipe, out: &Path, ctx: &Ctx) -> Result<Exported, WorkError> {
        let mut exported = self.write(how, recipe, out, ctx)?;
        if how.check_runtime && how.file.suffix() == Format::Onnx.suffix() {
            exported.checks.push(match self.in_runtime(&exported.path, ctx) {
                Ok(check) => check,
                Err(WorkError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => Check::new(&format!("in {PROGRAM}"), false, error.to_string()),
            });
        }
        self.record(recipe, &exported, ctx);
        Ok(exported)
    }

    fn write(&self, how: Writing, recipe: &Recipe, out: &Path, ctx: &Ctx) -> Result<Exported, WorkError> {
        let file = how.file;
        let weights = matches!(file, Format::Safetensors | Format::CompressedTensors);
        // Shares that layers are given together take all layers at once.
        let is_apart = recipe.allocation == Allocation::default();
        if weights && is_apart && !self.subject.loaded.has_graph() {
            let plan = self.plan_for(recipe, Some(file))?;
            say_refusals(&plan, ctx);
            return Ok(export::run(file, Source::Streamed, &plan, &self.subject, out, ctx)?.publish()?);
        }
        let made = self.compress_for(recipe, Some(file), ctx)?;
        // What no layer of the plan holds comes from the network as it was prepared and mended: biases above all.
        let prepared = self.subject.on(&made.1.mended_base());
        let mut draft = export::run_within(how.split_above, file, Source::Made(&made.1), &made.0, &prepared, out, ctx)?;
        draft.checks.push(match &draft.reopened {
            Some(reopened) if file.holds_graph() => self.measured_accuracy(recipe, &made, reopened, SAME, ctx)?,
            Some(reopened) => match export::graphed(file, &made.0, &made.1, &prepared, reopened) {
                Ok(model) => {
                    let tied = LoadedModel { model, ..reopened.clone() };
                    self.measured_accuracy(recipe, &made, &tied, ALIKE, ctx)?
                }
                Err(reason) => unmeasured(&reason),
            },
            None => unmeasured(&format!("{} holds weights without a graph", file.name())),
        });
        Ok(draft.publish()?)
    }

    /// Keeps what was checked of a file with the project: `exports/<file>-<hash>.json`.
    fn record(&self, recipe: &Recipe, exported: &Exported, ctx: &Ctx) {
        let name = exported.path.file_name().unwrap_or_default().to_string_lossy();
        let path = self.root.join("exports").join(format!("{name}-{}.json", exported.sha256.get(..16).unwrap_or_default()));
        let record = serde_json::json!({
            "file": exported.path.display().to_string(), "recipe": recipe.name, "bytes": exported.bytes,
            "bytes_original": self.subject.loaded.bytes, "sha256": exported.sha256, "checks": exported.checks,
        });
        let kept = std::fs::create_dir_all(self.root.join("exports"))
            .and_then(|()| write_atomically(&path, format!("{record:#}\n").as_bytes(), false));
        if let Err(error) = kept {
            ctx.warn("exports", format!("what was checked of the file could not be kept: {error}"));
        }
    }

    fn measured_accuracy(
        &self,
        recipe: &Recipe,
        made: &(Plan, Variant),
        reopened: &LoadedModel,
        tolerance: Tolerance,
        ctx: &Ctx,
    ) -> Result<Check, WorkError> {
        match self.accuracy(recipe, made, reopened, tolerance, ctx) {
            Err(WorkError::NoData) => Ok(unmeasured("the project has no evaluation data")),
            Err(WorkError::NoGraph { .. }) => Ok(unmeasured("weights without a graph cannot be run")),
            Err(WorkError::Evaluate(EvaluateError::Exec { source, .. })) if source.is_unsupported() => {
                Ok(unmeasured(&source.to_string()))
            }
            measured => measured,
        }
    }

    /// Whether a file that was read back is as accurate as the variant that it was written from.
    fn accuracy(
        &self,
        recipe: &Recipe,
        made: &(Plan, Variant),
        reopened: &LoadedModel,
        tolerance: Tolerance,
        ctx: &Ctx,
    ) -> Result<Check, WorkError> {
        let data = self.dataset(Split::Evaluate, None, ctx)?;
        let ours = self.evaluate_variant(Arithmetic::Simulated, recipe, made, &data, Split::Evaluate, ctx)?;
        let file = self.evaluate_file(reopened, &data, Split::Evaluate, ctx)?;
        Ok(same_accuracy(&ours, &file, tolerance))
    }
}

fn unmeasured(why: &str) -> Check {
    Check::new("accuracy", true, format!("not measured: {why}"))
}

fn same_accuracy(ours: &Report, file: &Report, tolerance: Tolerance) -> Check {
    const NAME: &str = "accuracy of the file";
    let said = tolerance.said;
    let alike = |a: f64, b: f64| (a - b).abs() <= (tolerance.part * a.abs()).max(tolerance.least);
    let (Some(a), Some(b)) = (ours.metrics, file.metrics) else {
        let (a, b) = (ours.fidelity.kl_mean, file.fidelity.kl_mean);
        return Check::new(NAME, alike(a, b), format!("KL to the original {b:.6}, {a:.6} before writing{said}"));
    };
    let passed = (a.top1.value - b.top1.value).abs() <= tolerance.points;
    match (a.next_token, b.next_token) {
        (Some(x), Some(y)) => {
            let (x, y, tokens) = (x.perplexity, y.perplexity, y.tokens);
            let value = format!("perplexity {y:.4} on {tokens} tokens, {x:.4} before writing{said}");
            Check::new(NAME, passed && alike(x, y), value)
        }
        _ => {
            let (a, b, samples) = (a.top1.value, b.top1.value, file.samples);
            Check::new(NAME, passed, format!("top-1 {b:.2} % on {samples} samples, {a:.2} % before writing{said}"))
        }
    }
}
