//! What can be said on the command line.

use crate::engine::exec::Arithmetic;
use crate::pipeline::load::{Channels, Layout, Preprocess};
use crate::workbench::work::Split;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Cut neural networks down to size: quantize, prune, evaluate, compare, export.
///
/// Without a verb the workbench opens, with the last project or the bundled sample.
#[derive(Debug, Parser)]
#[command(name = "lapidary", version, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Print one JSON document on standard output and nothing else there
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// No progress and no warnings on standard error
    #[arg(long, global = true)]
    pub(super) quiet: bool,
    /// Threads for the heavy work; 0: one per core
    #[arg(long, global = true, default_value_t = 0, value_parser = up_to_1024)]
    pub(super) threads: usize,
    /// Where randomness starts [default: 0]
    #[arg(long, global = true)]
    pub(super) seed: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Open the workbench
    Ui {
        /// Folder of a project
        project: Option<PathBuf>,
        /// Render each workspace to FOLDER as PNG files and exit; needs no display
        #[arg(long, value_name = "FOLDER")]
        screenshots: Option<PathBuf>,
    },
    /// Make a project folder
    Init(Init),
    /// Say what a model holds
    Inspect {
        /// The network, a file of weights, or a folder that holds one
        file: PathBuf,
        /// The network's ONNX file, where the other holds weights without a graph
        #[arg(long, value_name = "FILE")]
        graph: Option<PathBuf>,
    },
    /// Show what a recipe will do, without running anything
    Plan(OfRecipe),
    /// Collect the statistics that a recipe needs, or reuse them
    Calibrate(OfRecipe),
    /// Build the compressed model and show the error of each layer
    Compress(OfRecipe),
    /// Measure a recipe against the original
    Evaluate(Evaluate),
    /// Hold recipes against each other
    Compare(Compare),
    /// Write the compressed model, open it again and check it
    Export(Export),
    /// Open an exported file and measure it against a project's model
    Verify(Verify),
    /// Evaluate and compare everything that the project asks for; the sample where none is named
    Run {
        /// Folder of a project
        project: Option<PathBuf>,
        /// Measure again what is already measured
        #[arg(long)]
        again: bool,
    },
    /// Measure speed and correctness
    #[command(subcommand)]
    Bench(Bench),
    /// Draw the sample's data and train its network again
    #[command(hide = true)]
    Sample {
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Folder to make
    pub(super) folder: PathBuf,
    /// The network (.onnx), or a file of its weights (.safetensors, .pt, .pth, .npz)
    #[arg(long)]
    pub(super) model: PathBuf,
    /// The network's ONNX file, where the model is a file of weights: it tells how they are run
    #[arg(long, value_name = "FILE")]
    pub(super) graph: Option<PathBuf>,
    /// Labelled samples to measure with
    #[arg(long)]
    pub(super) evaluate: Option<PathBuf>,
    /// Samples to find ranges with; without it a slice of the evaluation data is held out
    #[arg(long)]
    pub(super) calibrate: Option<PathBuf>,
    /// How much the inputs of weights count, as llama-imatrix writes it (.gguf, .dat); recipes with
    /// `importance: Activations` use it
    #[arg(long, value_name = "FILE")]
    pub(super) importance: Option<PathBuf>,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ChannelsArg {
    Rgb,
    Bgr,
    Gray,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum LayoutArg {
    #[default]
    Nchw,
    Nhwc,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Preprocessing")]
pub(super) struct PreprocessArgs {
    /// Resize so that the shorter side has N pixels
    #[arg(long, value_name = "N")]
    resize: Option<u32>,
    /// Cut N × N pixels out of the middle
    #[arg(long, value_name = "N")]
    crop: Option<u32>,
    #[arg(long)]
    channels: Option<ChannelsArg>,
    /// Pixel values are divided by this
    #[arg(long, value_name = "F")]
    scale: Option<f32>,
    /// Subtracted after scaling, in the order of --channels
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// Divided by after the mean, in the order of --channels
    #[arg(long, value_delimiter = ',')]
    std: Vec<f32>,
    #[arg(long, default_value = "nchw")]
    layout: LayoutArg,
    /// Added to every label
    #[arg(long, value_name = "K", default_value_t = 0, allow_hyphen_values = true)]
    label_offset: i64,
    /// Use N samples of the data, spread evenly
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl PreprocessArgs {
    pub(super) fn settings(self) -> Preprocess {
        Preprocess {
            resize: self.resize,
            crop: self.crop,
            channels: self.channels.map(|c| match c {
                ChannelsArg::Rgb => Channels::Rgb,
                ChannelsArg::Bgr => Channels::Bgr,
                ChannelsArg::Gray => Channels::Gray,
            }),
            scale: self.scale,
            mean: self.mean,
            std: self.std,
            layout: match self.layout {
                LayoutArg::Nchw => Layout::Nchw,
                LayoutArg::Nhwc => Layout::Nhwc,
            },
            label_offset: self.label_offset,
            limit: self.limit,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct OfRecipe {
    /// Folder of a project
    pub(super) project: PathBuf,
    /// A recipe of the project, a preset, or a .ron file
    #[arg(long)]
    pub(super) recipe: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SplitArg {
    Evaluate,
    Calibrate,
    All,
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Evaluate => Self::Evaluate,
            SplitArg::Calibrate => Self::Calibrate,
            SplitArg::All => Self::All,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Samples {
    /// Which samples
    #[arg(long, default_value = "evaluate")]
    pub(super) split: SplitArg,
    /// So many of them, spread evenly
    #[arg(long)]
    pub(super) limit: Option<usize>,
}

/// How quantized layers compute
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum ArithmeticArg {
    /// In floats, on the values that the quantized numbers stand for
    #[default]
    Simulated,
    /// On the quantized numbers themselves
    Integer,
}

impl From<ArithmeticArg> for Arithmetic {
    fn from(arithmetic: ArithmeticArg) -> Self {
        match arithmetic {
            ArithmeticArg::Simulated => Self::Simulated,
            ArithmeticArg::Integer => Self::Integer,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Evaluate {
    #[command(flatten)]
    pub(super) of: OfRecipe,
    #[command(flatten)]
    pub(super) samples: Samples,
    /// How quantized layers compute; a report in integers is shown and not saved
    #[arg(long, default_value = "simulated")]
    pub(super) arithmetic: ArithmeticArg,
    /// Show what quantization did to every layer, and all that is amiss, worst first
    #[arg(long)]
    pub(super) contamination: bool,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Folder of a project
    pub(super) project: PathBuf,
    /// Recipes, presets or .ron files
    #[arg(required = true)]
    pub(super) recipes: Vec<String>,
    #[command(flatten)]
    pub(super) samples: Samples,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ExportFormat {
    Onnx,
    Gguf,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) of: OfRecipe,
    /// Kind of file; without it the name decides: .gguf, else ONNX
    #[arg(long)]
    pub(super) format: Option<ExportFormat>,
    /// File to write
    #[arg(long)]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    pub(super) file: PathBuf,
    /// Folder of a project
    #[arg(long)]
    pub(super) project: PathBuf,
    #[command(flatten)]
    pub(super) samples: Samples,
}

#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Speed of the forward pass on random input
    Forward {
        file: PathBuf,
        #[arg(long, default_value_t = 32, value_parser = at_least_1)]
        batch: usize,
        #[arg(long, default_value_t = 5.0, value_parser = a_while)]
        seconds: f64,
        /// How quantized layers compute
        #[arg(long, default_value = "simulated")]
        arithmetic: ArithmeticArg,
    },
    /// Run every ONNX backend test in a folder or an archive: is the forward pass right?
    Conformance {
        /// A folder, searched recursively, or a .tar or .tar.gz
        path: PathBuf,
    },
}

fn up_to_1024(text: &str) -> Result<usize, String> {
    number(text).and_then(|n| if n <= 1024 { Ok(n) } else { Err("no more than 1024 threads are started".to_owned()) })
}

fn at_least_1(text: &str) -> Result<usize, String> {
    number(text).and_then(|n| if n >= 1 { Ok(n) } else { Err("it is 1 or more".to_owned()) })
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|e: std::num::ParseIntError| e.to_string())
}

fn a_while(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("a number of seconds above 0, up to a day".to_owned()),
    }
}
