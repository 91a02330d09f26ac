//! What the command line prints: documents on standard output, all else on standard error.
#![expect(clippy::print_stderr, reason = "this is where the program speaks")]

use crate::engine::Ctx;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The answer of a verb: the same facts for machines and for people.
#[derive(Debug)]
pub struct Document {
    pub(super) json: serde_json::Value,
    pub(super) text: String,
}

/// A reader that has seen enough (`| head`) is no fault; a full disk is.
pub(super) fn print(document: &Document, json: bool) -> std::io::Result<()> {
    let text = if json { format!("{:#}\n", document.json) } else { document.text.clone() };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

pub(super) fn error(message: &str) {
    eprintln!("lapidary: {message}");
}

pub(super) fn note(quiet: bool, message: &str) {
    if !quiet {
        eprintln!("lapidary: {message}");
    }
}

/// Shows how far the work is: a bar on a terminal, else a line per part.
pub(super) struct Progress {
    quiet: bool,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn start(ctx: &Ctx, quiet: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = (!quiet)
            .then(|| {
                let (ctx, stop) = (ctx.clone(), Arc::clone(&stop));
                std::thread::Builder::new().name("progress".to_owned()).spawn(move || show(&ctx, &stop)).ok()
            })
            .flatten();
        Self { quiet, stop, thread }
    }

    /// Ends the display and says the warnings.
    pub(super) fn finish(self, ctx: &Ctx) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
        if !self.quiet {
            for warning in ctx.take_warnings() {
                eprintln!("warning: {warning}");
            }
        }
    }
}

fn show(ctx: &Ctx, stop: &AtomicBool) {
    let terminal = std::io::stderr().is_terminal();
    let bar = if terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let mut said = String::new();
    while !stop.load(Ordering::Relaxed) {
        let view = ctx.progress();
        if terminal && view.total > 0 {
            bar.set_message(view.label);
            bar.set_length(view.total as u64);
            bar.set_position(view.done as u64);
        } else if !terminal && view.label != said {
            eprintln!("{}", view.label);
            said = view.label;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bar.finish_and_clear();
}
