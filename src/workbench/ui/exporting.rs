//! Which files are to be written of the active recipe, and where; and what was written.

use super::bench::Bench;
use super::text::{spoken, tr};
use crate::engine::graph::Layer;
use crate::pipeline::configure::{FileFormat, Recipe};
use crate::pipeline::export::Exported;
use crate::pipeline::export::runtimes::{Runtime, all};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// What is known of the runtimes that files are written for.
pub static RUNTIMES: LazyLock<Vec<Runtime>> = LazyLock::new(|| all().unwrap_or_default());

/// Time of a frame that sizes of other files may take.
const PATIENCE: Duration = Duration::from_millis(4);

/// Weights up to which the window offers a C header.
const MOST_IN_HEADER: usize = 1 << 20;

/// What was chosen; what was not follows the project and the active recipe.
#[derive(Debug, Clone, Default)]
pub struct ExportForm {
    folder: Option<String>,
    /// For a recipe, by its name.
    name: Option<(String, String)>,
    formats: Option<Vec<FileFormat>>,
}

/// What a kind of file would take.
#[derive(Debug, Clone)]
pub struct Target {
    pub format: FileFormat,
    /// Bytes (for archives at most), else why it cannot hold the recipe.
    pub bytes: Result<u64, String>,
}

/// A file that was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// What of the recipe it was written from.
    pub key: String,
    pub format: FileFormat,
    pub exported: Exported,
}

impl ExportForm {
    pub fn set_folder(&mut self, folder: String) {
        self.folder = Some(folder);
    }

    pub fn set_name(&mut self, recipe: &str, name: String) {
        self.name = Some((recipe.to_owned(), name));
    }

    pub fn choose(&mut self, mut formats: Vec<FileFormat>, format: FileFormat, chosen: bool) {
        formats.retain(|f| *f != format);
        if chosen {
            formats.push(format);
        }
        self.formats = Some(formats);
    }
}

impl Bench {
    #[must_use]
    pub fn export_folder(&self) -> String {
        self.export.folder.clone().unwrap_or_else(|| self.project.exports().display().to_string())
    }

    /// The file's name without its end.
    #[must_use]
    pub fn export_name(&self) -> String {
        let (project, recipe) = (&self.document().name, &self.document().active);
        let own = self.export.name.as_ref().filter(|(of, _)| of == recipe).map(|(_, name)| name.clone());
        own.unwrap_or_else(|| format!("{project}.{recipe}").replace(' ', "-"))
    }

    /// The kinds of files that are to be written: that which the recipe is made for, where nothing was chosen.
    #[must_use]
    pub fn export_formats(&self) -> Vec<FileFormat> {
        let own = || self.plan().map_or(FileFormat::Onnx, |p| p.file);
        self.export.formats.clone().unwrap_or_else(|| vec![own()])
    }

    /// Those of them that can hold the recipe, where that is known; none without a name.
    #[must_use]
    pub fn writable_formats(&self) -> Vec<FileFormat> {
        let refused = |f: &FileFormat| self.targets.iter().any(|t| t.format == *f && t.bytes.is_err());
        let named = Path::new(self.export_name().trim()).file_name().is_some_and(|n| n == self.export_name().trim());
        self.export_formats().into_iter().filter(|f| named && !refused(f)).collect()
    }

    #[must_use]
    pub fn export_path(&self, format: FileFormat) -> PathBuf {
        let (folder, name) = (self.export_folder(), self.export_name());
        Path::new(folder.trim()).join(file_name(name.trim(), format))
    }

    /// Sizes of all kinds of files. Whether some are left for the next frame.
    pub fn sync_targets(&mut self) -> bool {
        let plan = self.plan().cloned();
        if self.verdicts_for.as_ref().map(Arc::as_ptr) != plan.as_ref().map(Arc::as_ptr) {
            self.verdicts = plan.iter().flat_map(|plan| RUNTIMES.iter().map(|runtime| runtime.verdicts(plan))).collect();
            self.verdicts_for = plan;
        }
        let Some(point) = self.active() else { return false };
        let recipe = Arc::clone(&point.recipe);
        // Why a kind cannot be written is told in words.
        let language = spoken();
        if !self.targets_for.as_ref().is_some_and(|(of, told)| Arc::ptr_eq(of, &recipe) && *told == language) {
            (self.targets, self.targets_for) = (Vec::new(), Some((Arc::clone(&recipe), language)));
        }
        let started = Instant::now();
        while let Some(format) = FileFormat::ALL.get(self.targets.len()) {
            let bytes = self.bytes_as(*format, &recipe);
            self.targets.push(Target { format: *format, bytes });
            if started.elapsed() > PATIENCE {
                return self.targets.len() < FileFormat::ALL.len();
            }
        }
        false
    }

    /// A C header's bytes are those of its text, digit by digit: too slow for a frame where there are many weights, for
    /// which no microcontroller has room.
    fn bytes_as(&self, format: FileFormat, recipe: &Recipe) -> Result<u64, String> {
        let weights: usize = self.layers().iter().map(Layer::parameters).sum();
        if format == FileFormat::CHeader && weights > MOST_IN_HEADER {
            return Err(tr!("export-header-too-large").to_owned());
        }
        self.opened.plan_for(recipe, Some(format)).map(|plan| plan.bytes).map_err(|error| error.to_string())
    }

    /// The newest file of a kind that was written of the recipe as it is now.
    #[must_use]
    pub fn written(&self, format: FileFormat) -> Option<&Written> {
        let key = &self.active()?.key;
        self.written.iter().rev().find(|w| w.format == format && w.key == *key)
    }
}

/// The name of a file: kinds that end alike are told apart.
fn file_name(name: &str, format: FileFormat) -> String {
    let twin = |other: &FileFormat| other.suffix() == format.suffix();
    let first = FileFormat::ALL.iter().find(|f| twin(f));
    match format {
        // Its configuration lies beside it, so it has a folder of its own, as runtimes expect.
        FileFormat::CompressedTensors => format!("{name}/model{}", format.suffix()),
        _ if first == Some(&format) => format!("{name}{}", format.suffix()),
        _ => {
            let word = format.name().split([',', ' ']).rfind(|w| !w.is_empty()).unwrap_or_default();
            let kind = format.name().split(", ").nth(1).and_then(|k| k.split(' ').next()).unwrap_or(word);
            format!("{name}-{kind}{}", format.suffix())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_name() {
        let names: std::collections::BTreeSet<String> = FileFormat::ALL.iter().map(|f| file_name("net.w4", *f)).collect();
        assert_eq!(names.len(), FileFormat::ALL.len(), "{names:?}");
        assert!(names.contains("net.w4.onnx") && names.contains("net.w4-unsigned.onnx"), "{names:?}");
        assert!(names.contains("net.w4/model.safetensors") && names.contains("net.w4.safetensors"), "{names:?}");
    }
}
