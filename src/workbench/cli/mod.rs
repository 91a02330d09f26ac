//! The command line: arguments → stage calls → text or JSON, and exit codes. No logic of its own.

mod args;
pub mod bench;
mod contamination;
mod explore;
mod output;
mod plan;
mod show;
mod verbs;

pub use args::Arguments;

use crate::engine::Ctx;
use clap::Parser as _;
use output::Document;
use std::process::ExitCode;

/// How a run ended, as exit codes tell it.
#[derive(Debug)]
pub enum CliError {
    /// The work failed: one line that says what, where, what to do.
    Failed(String),
    /// There is an answer, and it says that something failed.
    Answered(Box<Document>, String),
    /// There is an answer, and it does not keep to a limit that was asked for.
    Unmet(Box<Document>, String),
    /// The call makes no sense.
    Usage(String),
    Cancelled,
}

impl<E: Into<crate::workbench::work::WorkError>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Failed(error.into().to_string())
    }
}

/// Runs the program with the process's own arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let quiet = arguments.common.quiet;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Cancelled) => {
            output::note(quiet, "cancelled");
            ExitCode::from(130)
        }
        Err(CliError::Failed(message) | CliError::Answered(_, message)) => {
            output::error(&message);
            ExitCode::from(1)
        }
        Err(CliError::Unmet(_, message)) => {
            output::error(&message);
            ExitCode::from(3)
        }
        Err(CliError::Usage(message)) => {
            output::error(&message);
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CliError> {
    let common = arguments.common;
    let Some(verb) = arguments.verb else { return verbs::window(None, None, &common) };
    if let args::Verb::Ui { project, screenshots, size, language } = verb {
        return verbs::window(project, screenshots.map(|folder| args::Pictures { folder, size, language }), &common);
    }
    let mut ctx = Ctx::new(common.threads).map_err(|e| CliError::Failed(format!("threads cannot be started: {e}")))?;
    ctx.seed = common.seed.unwrap_or(0);
    let on_interrupt = ctx.clone();
    // A second Ctrl+C is left to the system where the handler cannot be set.
    let _ = ctrlc::set_handler(move || on_interrupt.cancel());
    let progress = output::Progress::start(&ctx, common.quiet);
    let result = verbs::run(verb, &common, &ctx);
    progress.finish(&ctx);
    match result {
        Ok(document) => printed(output::print(&document, common.json)),
        Err(_) if ctx.is_cancelled() => Err(CliError::Cancelled),
        Err(error) => {
            if let CliError::Answered(document, _) | CliError::Unmet(document, _) = &error {
                printed(output::print(document, common.json))?;
            }
            Err(error)
        }
    }
}

fn printed(result: std::io::Result<()>) -> Result<(), CliError> {
    result.map_err(|e| CliError::Failed(format!("the answer could not be written to standard output: {e}")))
}
