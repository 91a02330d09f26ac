//! Scores that were measured before, a row of the map at a time.

use super::{Method, Scores, Survey};
use crate::engine::hash::Hasher;
use crate::pipeline::configure::Plan;
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
        hasher.add(survey.subject.loaded.hash().as_bytes()).add(survey.data.key().as_bytes()).add(own.as_bytes());
        if method == Method::Fast {
            // What is measured of one setting speaks for all that are asked for with it.
            hasher.add(format!("{:?}", survey.settings).as_bytes());
        }
        let name = format!("sensitivity-{}.ron", &hasher.finish()[..24]);
        let key = |plan: &Plan| {
            let Some(planned) = plan.layers.get(layer) else { return String::new() };
            let ranges = if planned.needs_range() { survey.calibration_key } else { "" };
            format!("{:?} {ranges}", planned.treatment)
        };
        let keys: Vec<String> = plans.iter().map(key).collect();
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
