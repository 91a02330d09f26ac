//! What a project can be asked to find out by itself: what its layers bear, and which recipe keeps a limit.

use super::work::{Opened, Split, WorkError};
use crate::engine::Ctx;
use crate::engine::graph::Wire;
use crate::pipeline::calibrate::{CalibrateError, Statistics};
use crate::pipeline::configure::{Activations, Recipe, Treatment};
use crate::pipeline::load::Dataset;
use crate::pipeline::search::sensitivity::{self, Ablation, Cell, Map, Method, Setting, Store, Survey, Without};
use crate::workbench::project::write_atomically;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Which map is wanted.
#[derive(Debug, Clone)]
pub struct MapRequest {
    pub method: Method,
    pub settings: Vec<Setting>,
    pub split: Split,
    /// Samples at most, from stretches of equal length.
    pub limit: usize,
}

/// The columns of a map: `base`'s weights at each width, its activations, and activations of other widths.
#[must_use]
pub fn settings(base: &Treatment, bits: &[u8], activation_bits: &[u8]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = bits.iter().map(|b| Setting::weights(base, *b)).collect();
    let mut activations: Vec<Activations> =
        (base.activations != Activations::None).then_some(base.activations).into_iter().collect();
    for &bits in activation_bits {
        let wanted = base.activations.with_bits(bits);
        if !activations.contains(&wanted) {
            activations.push(wanted);
        }
    }
    settings.extend(activations.into_iter().map(Setting::activations));
    settings
}

/// The project's cache as a store of texts.
struct Cache<'a> {
    folder: PathBuf,
    ctx: &'a Ctx,
}

impl Store for Cache<'_> {
    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        let saved = std::fs::create_dir_all(&self.folder).and_then(|()| write_atomically(&path, text.as_bytes(), false));
        if let Err(error) = saved {
            self.ctx.warn("cache", format!("measured numbers could not be kept for the next run: {error}"));
        }
    }
}

impl Opened {
    fn cache<'a>(&self, ctx: &'a Ctx) -> Cache<'a> {
        Cache { folder: self.root.join("cache"), ctx }
    }

    /// Measures what each layer bears; `cell` sees each number as it comes. What is measured is kept in the
    /// project's cache, also where the work is cancelled.
    ///
    /// # Errors
    /// When there is no data or no graph, a setting makes no sense, or on cancel.
    pub fn sensitivity(&self, request: &MapRequest, ctx: &Ctx, cell: &mut dyn FnMut(&Cell)) -> Result<Map, WorkError> {
        let data = sensitivity::samples(&self.dataset(request.split, None, ctx)?, request.limit);
        self.surveyed(&request.settings, &data, ctx, &mut |survey| Ok(sensitivity::measure(survey, request.method, ctx, cell)?))
    }

    /// Measures what is left of a recipe's error where one layer is spared.
    ///
    /// # Errors
    /// As [`Opened::sensitivity`].
    pub fn without(
        &self,
        recipe: &Recipe,
        (split, limit): (Split, usize),
        ctx: &Ctx,
        shown: &mut dyn FnMut(&Ablation),
    ) -> Result<Without, WorkError> {
        let data = sensitivity::samples(&self.dataset(split, None, ctx)?, limit);
        self.surveyed(&[], &data, ctx, &mut |survey| Ok(sensitivity::without(survey, recipe, ctx, shown)?))
    }

    /// Calls `work` with all that a survey of this project needs.
    fn surveyed<T>(
        &self,
        settings: &[Setting],
        data: &Dataset,
        ctx: &Ctx,
        work: &mut dyn FnMut(&Survey<'_>) -> Result<T, WorkError>,
    ) -> Result<T, WorkError> {
        self.identify(ctx)?;
        self.subject.loaded.check_values(ctx)?;
        let statistics = |wires: &BTreeSet<Wire>, ctx: &Ctx| -> Result<Option<Statistics>, CalibrateError> {
            Ok(self.statistics(wires, ctx)?.map(|(statistics, _)| statistics))
        };
        let calibrates = settings.iter().any(|s| s.treatment.activations.static_grid().is_some());
        let calibration_key = if calibrates { self.dataset(Split::Calibrate, None, ctx)?.key() } else { String::new() };
        work(&Survey {
            subject: &self.subject,
            settings,
            data,
            statistics: &statistics,
            calibration_key: &calibration_key,
            store: &self.cache(ctx),
        })
    }
}
