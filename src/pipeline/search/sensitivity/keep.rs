//! Scores that were measured before, a row of the map at a time.

use super::{Method, Scores, Survey};
use crate::engine::hash::Hasher;
use crate::pipeline::configure::{ImportanceSource, LayerPlan, Plan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Changes when scores of the same name would come out otherwise.
const VERSION: u32 = 2;
/// How long a measured cell may wait before it is written down.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where texts are kept from one run to the next, by a name that says all that they depend on. Losing one costs time,
/// nothing else.
pub trait Store: Sync {
    fn read(&self, name: &str) -> Option<String>;

    fn write(&self, name: &str, text: &str);
}

/// What is on disk of a row: scores by what is done to the layer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    layer: String,
    scores: BTreeMap<String, Scores>,
}

/// One layer's scores by setting, as far as they are known.
pub(super) struct Row {
    name: String,
    layer: String,
    /// What each setting does to the layer: the names of the scores.
    keys: Vec<String>,
    pub scores: Vec<Option<Scores>>,
    /// Of other settings than those in question.
    others: BTreeMap<String, Scores>,
    written: Instant,
    is_written: bool,
}

impl Row {
    /// A row as it was kept, with what is missing left open.
    pub fn read(survey: &Survey<'_>, plans: &[Plan], method: Method, layer: usize) -> Self {
        let own = survey.subject.layers.get(layer).map(|l| l.name.clone()).unwrap_or_default();
        let mut hasher = Hasher::new();
        hasher.add(format!("sensitivity {VERSION} {}", method.name()).as_bytes());
        hasher
            .add(survey.subject.loaded.hash().as_bytes())
            .add(survey.subject.change_key.as_bytes())
            .add(survey.data.key().as_bytes())
            .add(own.as_bytes());
        if method == Method::Fast {
            // What is measured of one setting speaks for all that are asked for with it.
            hasher.add(format!("{:?}", survey.settings).as_bytes());
        }
        let name = format!("sensitivity-{}.ron", &hasher.finish()[..24]);
        let key_in = |plan: &Plan| plan.layers.get(layer).map(|planned| key(planned, survey.calibration_key)).unwrap_or_default();
        let keys: Vec<String> = plans.iter().map(key_in).collect();
        let kept = survey.store.read(&name).and_then(|text| ron::from_str::<Kept>(&text).ok());
        let mut others = kept.filter(|k| k.version == VERSION && k.layer == own).map_or_else(BTreeMap::new, |k| k.scores);
        let scores = keys.iter().map(|key| others.get(key).cloned()).collect();
        others.retain(|key, _| !keys.contains(key));
        Self { name, layer: own, keys, scores, others, written: Instant::now(), is_written: true }
    }

    pub fn missing(&self) -> usize {
        self.scores.iter().filter(|s| s.is_none()).count()
    }

    pub fn set(&mut self, setting: usize, scores: Scores, survey: &Survey<'_>) {
        if let Some(place) = self.scores.get_mut(setting) {
            *place = Some(scores);
            self.is_written = false;
        }
        if self.missing() == 0 || self.written.elapsed() > PATIENCE {
            self.write(survey);
        }
    }

    pub fn write(&mut self, survey: &Survey<'_>) {
        if self.is_written {
            return;
        }
        let own = self.keys.iter().zip(&self.scores).filter_map(|(key, scores)| Some((key.clone(), scores.clone()?)));
        let scores = self.others.clone().into_iter().chain(own).collect();
        if let Ok(text) = ron::to_string(&Kept { version: VERSION, layer: self.layer.clone(), scores }) {
            survey.store.write(&self.name, &text);
        }
        (self.is_written, self.written) = (true, Instant::now());
    }
}

/// All that a layer's scores depend on beside the model and the samples: what is done to it, and the data or the file
/// that ranges and importance come from.
fn key(planned: &LayerPlan, calibration_key: &str) -> String {
    let ranges = if planned.needs_range() || planned.treatment.weighs_data() { calibration_key } else { "" };
    let importance = match &planned.importance {
        ImportanceSource::None => String::new(),
        ImportanceSource::Calibrated => calibration_key.to_owned(),
        ImportanceSource::File(values) => {
            let mut hasher = Hasher::new();
            for value in values.iter() {
                hasher.add(&value.to_le_bytes());
            }
            hasher.finish()
        }
    };
    format!("{:?} {ranges} {importance}", planned.treatment)
}

#[cfg(test)]
mod tests {
    use super::key;
    use crate::engine::graph::{Layer, LayerKind};
    use crate::pipeline::configure::{ImportanceSource, LayerPlan, Treatment};
    use std::collections::BTreeSet;

    #[test]
    fn scores_are_known_by_what_importance_comes_from() {
        let layer = Layer::lone(LayerKind::Linear, &[1, 2]);
        let plan = |importance| LayerPlan { importance, ..LayerPlan::bare(layer.clone(), Treatment::UNCHANGED) };
        let file = |values: [f32; 2]| plan(ImportanceSource::File(values.as_slice().into()));
        let keys = [
            key(&plan(ImportanceSource::None), "data"),
            key(&plan(ImportanceSource::Calibrated), "data"),
            key(&plan(ImportanceSource::Calibrated), "other data"),
            key(&file([1.0, 2.0]), "data"),
            key(&file([1.0, 3.0]), "data"),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
        assert_eq!(key(&plan(ImportanceSource::None), "data"), key(&plan(ImportanceSource::None), "other data"));
    }
}
