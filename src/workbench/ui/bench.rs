//! An open project as the window holds it: the document with its history, and everything that is
//! worked out from it, kept until what it depends on changes.

mod brackets;
mod data;
mod points;
mod rows;
mod selection;

pub use brackets::{Bracket, Tie};
pub use data::DataKeys;
pub use points::{Measured, Point};
pub use selection::Selection;

use super::changes::{Differences, Filter};
use super::exporting::{ExportForm, Target, Written};
use super::inspect::{LayerFacts, Treated, WITHIN_A_FRAME, score_of, weights_of};
use super::layout::Workspace;
use super::losses::Losses;
use super::maps::{Asked, Maps};
use super::network::Drawn;
use super::pictures::{Gallery, Lens, WeightPicture};
use super::scores::Scores;
use super::session::Session;
use super::tasks::Answered;
use super::text::Language;
use crate::engine::graph::Layer;
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{LayerPlan, Offers, Plan, Recipe, Treatment};
use crate::pipeline::evaluate::Report;
use crate::pipeline::export::runtimes::Verdict;
use crate::workbench::activations::Sample;
use crate::workbench::preflight::Finding;
use crate::workbench::project::{Data, Document, History, Presence, Project};
use crate::workbench::work::Opened;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub struct Bench {
    pub project: Project,
    pub opened: Opened,
    pub history: History,
    pub reports: Vec<Arc<Report>>,
    pub scores: Scores,
    pub losses: Losses,
    /// Every recipe and preset, with what is predicted and measured of it.
    pub points: Vec<Point>,
    points_for: Option<(Arc<Document>, usize)>,
    pub selection: Selection,
    pub filter: String,
    /// The layers that the grid shows, in its order.
    pub rows: Vec<usize>,
    rows_for: Option<rows::Key>,
    /// Ties between them.
    pub brackets: Vec<Bracket>,
    brackets_for: usize,
    /// What the inspected layer could be stored as.
    pub offers: Offers,
    offers_for: Option<usize>,
    pub facts: Option<Arc<LayerFacts>>,
    pub treated: Option<Arc<Treated>>,
    /// The error of its weights, small.
    pub picture: Option<WeightPicture>,
    /// The part of them that is looked at, large; the lens is of the layer of that number.
    pub sight: Option<WeightPicture>,
    pub lens: (usize, Lens),
    /// The sample whose activations are looked at.
    pub sample: Sample,
    /// What the inspected layer gives for it.
    pub maps: Option<Maps>,
    /// What the job that runs for them was asked.
    pub maps_asked: Option<Asked>,
    /// The compressed network that they were last taken from, and the recipe's key.
    pub built: Option<(String, Arc<Variant>)>,
    /// What is to be said before a run, and of which state of things.
    pub preflight: Option<(String, Vec<Finding>)>,
    pub preflight_for: Option<(u64, usize)>,
    /// Says to other windows that the project is open.
    pub presence: Option<Presence>,
    /// The data that all which hangs on them was worked out of.
    data: Data,
    /// What reports on these data bear; `None` while nobody knows, and those of the fullest and newest one are taken
    /// for it.
    data_keys: Option<DataKeys>,
    pub gallery: Option<Gallery>,
    /// Pictures of samples by their place in the evaluation data.
    pub changed: Gallery,
    /// What the reports bear that they were changed in.
    pub changed_in: String,
    /// Samples whose pictures were asked for.
    pub asked: BTreeSet<usize>,
    /// Which changed samples are shown.
    pub changes: Filter,
    /// What the measured recipes decide otherwise than the original, where that is looked at.
    pub differences: Differences,
    pub export: ExportForm,
    /// What each kind of file would take of the active recipe.
    pub targets: Vec<Target>,
    pub targets_for: Option<(Arc<Recipe>, Language)>,
    /// What each runtime will do with the layers of a plan.
    pub verdicts: Vec<Vec<Verdict>>,
    pub verdicts_for: Option<Arc<Plan>>,
    pub written: Vec<Written>,
    /// Bytes of the model's file, zipped.
    pub zipped: Option<Result<u64, String>>,
    /// What was last asked of a layer's importance.
    pub importance: Option<Answered>,
    /// The drawing of the network; `None` until it is first looked at.
    pub network: Option<Drawn>,
    /// The recipe that others are held against.
    pub base: Option<String>,
    /// A scoring job failed: it is not started again by itself.
    pub scoring_failed: bool,
    presets: BTreeMap<String, Arc<Recipe>>,
    /// What is on disk.
    pub saved: Arc<Document>,
}

impl Bench {
    #[must_use]
    pub fn new(project: Project, opened: Opened, reports: Vec<Report>) -> Self {
        let history = History::new((*opened.document).clone());
        let saved = Arc::clone(history.document());
        let data = saved.data();
        let first = (!opened.subject.layers.is_empty()).then_some(0);
        Self {
            project,
            opened,
            history,
            reports: reports.into_iter().map(Arc::new).collect(),
            scores: Scores::default(),
            losses: Losses::default(),
            points: Vec::new(),
            points_for: None,
            selection: Selection::of(first),
            filter: String::new(),
            rows: Vec::new(),
            rows_for: None,
            brackets: Vec::new(),
            brackets_for: 0,
            offers: Offers::default(),
            offers_for: None,
            facts: None,
            treated: None,
            picture: None,
            sight: None,
            lens: (usize::MAX, Lens::default()),
            sample: Sample::default(),
            maps: None,
            maps_asked: None,
            built: None,
            preflight: None,
            preflight_for: None,
            presence: None,
            data,
            data_keys: None,
            gallery: None,
            changed: Gallery::default(),
            changed_in: String::new(),
            asked: BTreeSet::new(),
            changes: Filter::default(),
            differences: Differences::default(),
            export: ExportForm::default(),
            targets: Vec::new(),
            targets_for: None,
            verdicts: Vec::new(),
            verdicts_for: None,
            written: Vec::new(),
            zipped: None,
            importance: None,
            network: None,
            base: None,
            scoring_failed: false,
            presets: BTreeMap::new(),
            saved,
        }
    }

    #[must_use]
    pub fn document(&self) -> &Arc<Document> {
        self.history.document()
    }

    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.opened.subject.layers
    }

    /// What there is to ask about activations now; `None` where nothing can run.
    #[must_use]
    pub fn wanted_maps(&self) -> Option<Asked> {
        let can_run = self.document().evaluate.is_some() && self.opened.subject.loaded.has_graph();
        let point = self.active().filter(|p| can_run && matches!(p.plan, Some(Ok(_))))?;
        Some(Asked { layer: self.selection.primary()?, sample: self.sample, recipe_key: point.key.clone() })
    }

    /// Samples of the evaluation data; as many as one likes where that is not known yet.
    #[must_use]
    pub fn samples_known(&self) -> usize {
        self.maps.as_ref().and_then(|m| m.seen.as_ref().ok()).map_or(usize::MAX, |seen| seen.activation.samples)
    }

    #[must_use]
    pub fn layer_named(&self, name: &str) -> Option<usize> {
        self.layers().iter().position(|l| l.name == name)
    }

    #[must_use]
    pub fn active(&self) -> Option<&Point> {
        self.points.iter().find(|p| p.name == self.document().active)
    }

    /// The plan of the active recipe.
    #[must_use]
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.active()?.plan.as_ref()?.as_ref().ok()
    }

    #[must_use]
    pub fn layer_plan(&self, layer: usize) -> Option<&LayerPlan> {
        self.plan()?.layers.get(layer)
    }

    #[must_use]
    pub fn is_saved(&self) -> bool {
        Arc::ptr_eq(&self.saved, self.document())
    }

    /// The layers that a setting made at `layer` is for: the selection where it is one of it.
    #[must_use]
    pub fn targets(&self, layer: usize) -> Vec<String> {
        let name = |index: &usize| self.layers().get(*index).map(|l| l.name.clone());
        if self.selection.contains(layer) {
            self.selection.layers().filter_map(|i| name(&i)).collect()
        } else {
            name(&layer).into_iter().collect()
        }
    }

    /// Brings everything up to date with the document, within the time of a frame. Whether there
    /// is more to do in the next.
    pub fn sync(&mut self, session: &Session) -> bool {
        if !Arc::ptr_eq(&self.opened.document, self.history.document()) {
            self.opened = self.opened.with_document(Arc::clone(self.history.document()));
        }
        let more = self.sync_points();
        self.score_at_once();
        self.sync_quality();
        self.sync_rows(session);
        self.sync_inspected();
        if session.workspace == Workspace::Compare {
            self.sync_differences();
        }
        let sizes = session.workspace == Workspace::Export && self.sync_targets();
        more || sizes
    }

    /// Scores what the active plan has become, if that is not too much for a frame.
    fn score_at_once(&mut self) {
        let Some(missing) = self.active().and_then(|p| self.few_unscored(p)) else { return };
        let subject = self.opened.subject.clone();
        for (index, treatment) in missing {
            let Some(layer) = subject.layers.get(index) else { continue };
            let known = self.facts.as_ref().filter(|f| f.index == index);
            let score = match known {
                Some(facts) => score_of(&facts.weights, layer, &treatment),
                None => match weights_of(&subject.folded, layer) {
                    Ok(weights) => score_of(&weights, layer, &treatment),
                    Err(_) => continue,
                },
            };
            self.scores.insert(index, &treatment, score);
        }
    }

    fn sync_inspected(&mut self) {
        let Some(index) = self.selection.primary() else { return };
        let subject = self.opened.subject.clone();
        let Some(layer) = subject.layers.get(index) else { return };
        if self.offers_for != Some(index) {
            self.offers = Offers::of(layer);
            self.offers_for = Some(index);
        }
        if layer.parameters() > WITHIN_A_FRAME {
            return;
        }
        if self.facts.as_ref().is_none_or(|f| f.index != index) {
            self.treated = None;
            self.facts = LayerFacts::new(&subject.folded, layer, index).ok().map(Arc::new);
        }
        let (Some(facts), Some(treatment)) = (self.facts.clone(), self.layer_plan(index).map(|l| l.treatment)) else { return };
        if self.treated.as_ref().is_none_or(|t| t.treatment != treatment) {
            let treated = facts.treat(layer, &treatment);
            self.scores.insert(index, &treatment, treated.score);
            self.treated = Some(Arc::new(treated));
        }
    }

    /// What a job should work out for the inspector: the layer and treatment, if they are too much
    /// for a frame and not there yet.
    #[must_use]
    pub fn to_inspect(&self) -> Option<(usize, Treatment)> {
        let index = self.selection.primary()?;
        if self.layers().get(index)?.parameters() <= WITHIN_A_FRAME {
            return None;
        }
        let treatment = self.layer_plan(index)?.treatment;
        let there = self.facts.as_ref().is_some_and(|f| f.index == index)
            && self.treated.as_ref().is_some_and(|t| t.treatment == treatment);
        (!there).then_some((index, treatment))
    }
}
