//! Choosing files and folders without stopping the window.

use super::text::tr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What a path is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    OpenProject,
    Model,
    /// The network of a file of weights.
    Graph,
    /// What the inputs of each weight are like, from elsewhere.
    Importance,
    /// Where a new project goes.
    NewFolder,
    EvaluationData,
    CalibrationData,
    /// The file of a project that is no longer where it was.
    Moved,
    /// Where exported files go.
    ExportFolder,
    /// Where a page about the measured recipes goes.
    PageFile,
}

impl Purpose {
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::OpenProject => tr!("dialog-project"),
            Self::Model => tr!("dialog-model"),
            Self::Graph => tr!("dialog-graph"),
            Self::Importance => tr!("dialog-importance"),
            Self::NewFolder => tr!("dialog-new-folder"),
            Self::EvaluationData => tr!("dialog-evaluation"),
            Self::CalibrationData => tr!("dialog-calibration"),
            Self::Moved => tr!("dialog-moved"),
            Self::ExportFolder => tr!("dialog-export"),
            Self::PageFile => tr!("dialog-page"),
        }
    }

    /// Which files are offered: name and endings.
    fn filters(self) -> Vec<(&'static str, &'static [&'static str])> {
        match self {
            Self::Model => vec![
                (tr!("dialog-models"), &["onnx", "safetensors", "json", "gguf", "pt", "pth", "th", "bin", "npz", "lapidary"]),
                ("ONNX", &["onnx"]),
                (tr!("dialog-all-files"), &["*"]),
            ],
            Self::Moved => vec![(tr!("dialog-all-files"), &["*"])],
            Self::Graph => vec![("ONNX", &["onnx"])],
            Self::PageFile => vec![("HTML", &["html"])],
            _ => Vec::new(),
        }
    }
}

/// The answer to one question.
#[derive(Debug, Clone)]
pub enum Reply {
    Chosen(Purpose, PathBuf),
    Dismissed,
    /// This machine has no file dialogs: ask for the path as text.
    Unavailable(Purpose),
}

/// Where answers go. Cheap to clone.
#[derive(Clone)]
pub struct ReplyTo {
    pub sender: SyncSender<Reply>,
    pub waker: Waker,
}

impl ReplyTo {
    pub fn send(&self, reply: Reply) {
        if self.sender.send(reply).is_ok() {
            self.waker.wake_by_ref();
        }
    }
}

/// Asks a person for a path. Answers later, through `to`.
pub trait FilePicker {
    fn ask(&mut self, purpose: Purpose, suggestion: Option<PathBuf>, to: ReplyTo);
}

/// The system's own dialogs.
#[derive(Default)]
pub struct SystemPicker;

/// What a dialog will have been answered.
type Answer = Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>>;

/// A dialog that is gone sooner than a person can react never was there.
const TOO_SOON: Duration = Duration::from_millis(120);

impl FilePicker for SystemPicker {
    fn ask(&mut self, purpose: Purpose, suggestion: Option<PathBuf>, to: ReplyTo) {
        // Made here, on the window's thread, as macOS wants it; waited for on another.
        let mut dialog = rfd::AsyncFileDialog::new().set_title(purpose.title());
        if let Some(path) = &suggestion {
            if let Some(folder) = path.parent().filter(|p| p.exists()) {
                dialog = dialog.set_directory(folder);
            }
            if let (Purpose::PageFile, Some(name)) = (purpose, path.file_name()) {
                dialog = dialog.set_file_name(name.to_string_lossy());
            }
        }
        for (name, endings) in purpose.filters() {
            dialog = dialog.add_filter(name, endings);
        }
        let asked = Instant::now();
        let answer: Answer = match purpose {
            Purpose::Model | Purpose::Graph | Purpose::Importance | Purpose::Moved => Box::pin(dialog.pick_file()),
            Purpose::PageFile => Box::pin(dialog.save_file()),
            _ => Box::pin(dialog.pick_folder()),
        };
        let back = to.clone();
        let spawned = std::thread::Builder::new().name("file-dialog".to_owned()).spawn(move || {
            let reply = match pollster::block_on(answer) {
                Some(file) => Reply::Chosen(purpose, file.path().to_path_buf()),
                None if asked.elapsed() < TOO_SOON => Reply::Unavailable(purpose),
                None => Reply::Dismissed,
            };
            back.send(reply);
        });
        if spawned.is_err() {
            to.send(Reply::Unavailable(purpose));
        }
    }
}

/// No dialogs: every question is asked as text.
#[derive(Default)]
pub struct TextPicker;

impl FilePicker for TextPicker {
    fn ask(&mut self, purpose: Purpose, _: Option<PathBuf>, to: ReplyTo) {
        to.send(Reply::Unavailable(purpose));
    }
}

/// Shows a file's folder, or a folder, in the system's file manager.
///
/// # Errors
/// When there is none that can be started.
pub fn reveal(path: &Path) -> std::io::Result<()> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(target_os = "windows") {
        "explorer"
    } else {
        "xdg-open"
    };
    let quiet = std::process::Stdio::null;
    std::process::Command::new(program).arg(folder).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().map(drop)
}
