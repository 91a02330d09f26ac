//! What panels see: everything, to read.

use super::act::Act;
use super::bench::Bench;
use super::commands::{Command, Situation};
use super::session::{Axis, Session};
use super::text::tr;
use super::theme::Tokens;
use super::widgets;
use crate::engine::graph::Layer;
use crate::pipeline::configure::{Scheme, stored_bytes};
use crate::workbench::jobs::JobView;
use eframe::egui::{Response, Ui};

/// One line of the log.
#[derive(Debug, Clone)]
pub struct LogLine {
    pub level: Level,
    /// A layer's name, where it is about one.
    pub subject: String,
    pub message: String,
    /// Seconds since the window opened.
    pub seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Good,
    Warning,
    Bad,
}

pub struct View<'a> {
    pub tokens: &'static Tokens,
    pub session: &'a Session,
    pub bench: Option<&'a Bench>,
    pub jobs: &'a [JobView],
    pub log: &'a [LogLine],
    pub situation: Situation,
    /// Why the network could not be drawn.
    pub network_problem: Option<&'a str>,
}

impl View<'_> {
    /// The quality that the trade-off chart shows.
    #[must_use]
    pub fn axis(&self) -> Axis {
        self.session.axis.unwrap_or_else(|| {
            let measured =
                self.bench.map_or(0, |b| b.points.iter().filter(|p| p.fresh().is_some_and(|r| r.metrics.is_some())).count());
            if measured >= 2 { Axis::Top1 } else { Axis::WeightSqnr }
        })
    }

    /// A button for a command, with its tooltip and shortcut.
    pub fn button(&self, ui: &mut Ui, command: Command, acts: &mut Vec<Act>) -> Option<Response> {
        let info = command.info()?;
        Some(widgets::command_button(ui, info, info.name(), self.situation, acts))
    }

    #[must_use]
    pub fn job_of(&self, kind: &str) -> Option<&JobView> {
        self.jobs.iter().find(|j| j.kind == kind)
    }
}

/// A ratio as a share in percent.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Signal to noise for people.
#[must_use]
pub fn decibels(value: f64) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else if value == f64::INFINITY {
        tr!("app-exact").to_owned()
    } else {
        format!("{value:.1} dB")
    }
}

/// Bytes of a layer's weight in the file under another scheme; 0 where they are more than can be counted.
#[must_use]
pub fn bytes_as(layer: &Layer, scheme: Scheme) -> u64 {
    stored_bytes(layer, scheme).unwrap_or(0)
}

/// A shape for people.
#[must_use]
pub fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
