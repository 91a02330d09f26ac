//! What can be said on the command line.

use crate::engine::exec::Arithmetic;
use crate::pipeline::configure::FileFormat;
use crate::pipeline::export::FILE_LIMIT_BYTES;
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
        /// Points across and down of these pictures
        #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1440x900", value_parser = size, requires = "screenshots")]
        size: [u16; 2],
        /// What they say
        #[arg(long, value_parser = ["en", "zh-CN"], default_value = "en", requires = "screenshots")]
        language: String,
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
    Plan {
        #[command(flatten)]
        of: OfRecipe,
        /// Kind of file to count the bytes of
        #[arg(long)]
        format: Option<ExportFormat>,
        /// What this runtime will do with each layer: onnxruntime, tensorrt, openvino, llama.cpp, vllm, c-header
        #[arg(long = "for", value_name = "RUNTIME")]
        runtime: Option<String>,
    },
    /// Collect the statistics that a recipe needs, or reuse them
    Calibrate(OfRecipe),
    /// Build the compressed model and show the error of each layer
    Compress(OfRecipe),
    /// Measure a recipe against the original
    Evaluate(Evaluate),
    /// Measure what each layer bears, one layer at a time
    Sensitivity(Sensitivity),
    /// Find the best recipe within a limit
    Search(Search),
    /// Say what a recipe costs to store and to run
    Cost {
        #[command(flatten)]
        of: OfRecipe,
        /// Run the original too, to see how far the model of time holds
        #[arg(long)]
        check: bool,
    },
    /// Hold recipes against each other
    Compare(Compare),
    /// Write the compressed model, open it again and check it
    Export(Export),
    /// Give back the file that an archive (.lapidary) stands for, or its weights
    Unpack {
        archive: PathBuf,
        /// File to write: .safetensors for the weights alone, else the ONNX file
        #[arg(long)]
        out: PathBuf,
    },
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodArg {
    /// Every cell run to the end of the network, on all samples
    #[default]
    Exact,
    /// One setting of each layer run to the end, on few samples; the others follow from errors at the layer
    Fast,
}

#[derive(Debug, Args)]
pub(super) struct Sensitivity {
    /// Folder of a project
    pub(super) project: PathBuf,
    /// Widths of weights
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3, 4, 5, 6, 8], value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) bits: Vec<u8>,
    /// Widths of activations, beside that of the recipe: 4, 8 or 16
    #[arg(long, value_delimiter = ',')]
    pub(super) activation_bits: Vec<u8>,
    /// What is changed at the widths: the number format of this recipe's default, and its activations
    #[arg(long, default_value = "w8")]
    pub(super) recipe: String,
    #[arg(long, default_value = "exact", conflicts_with_all = ["exact", "fast"])]
    pub(super) method: MethodArg,
    /// The same as --method exact
    #[arg(long, conflicts_with = "fast")]
    pub(super) exact: bool,
    /// The same as --method fast
    #[arg(long)]
    pub(super) fast: bool,
    /// The other direction: all layers as the recipe says, and what its error falls to with one layer spared
    #[arg(long, conflicts_with_all = ["exact", "fast", "bits", "activation_bits"])]
    pub(super) without: bool,
    /// Which samples; those that choose a recipe flatter it
    #[arg(long, default_value = "evaluate")]
    pub(super) split: SplitArg,
    /// So many of them, at equal distances
    #[arg(long, default_value_t = 256, value_parser = at_least_1)]
    pub(super) limit: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ObjectiveArg {
    #[default]
    Bytes,
    Bops,
    Latency,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum CountArg {
    /// Bytes of the exported file
    #[default]
    File,
    /// The same with codes of every width packed without a gap
    Packed,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("goal").required(true).args(["max_bytes", "max_ratio", "max_drop"])))]
pub(super) struct Search {
    /// Folder of a project
    pub(super) project: PathBuf,
    /// The least loss in so many bytes
    #[arg(long, value_name = "N")]
    pub(super) max_bytes: Option<u64>,
    /// The least loss in this share of the original's bytes
    #[arg(long, value_name = "F", value_parser = above_zero)]
    pub(super) max_ratio: Option<f64>,
    /// The smallest that loses so many points of top-1 (texts: percent of perplexity; no labels: percent of predictions changed)
    #[arg(long, value_name = "POINTS", value_parser = not_negative)]
    pub(super) max_drop: Option<f64>,
    /// How certain the drop must be
    #[arg(long, default_value_t = 0.95, value_parser = a_confidence)]
    pub(super) confidence: f64,
    /// Seconds after which nothing new is begun
    #[arg(long, value_name = "S", value_parser = a_while)]
    pub(super) max_time: Option<f64>,
    /// Plans that are built and measured at most
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = at_least_1)]
    pub(super) max_evaluations: usize,
    /// What is searched about: the number format, activations and sparsity of this recipe's default
    #[arg(long, default_value = "w8")]
    pub(super) recipe: String,
    /// Widths of weights to choose from
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3, 4, 5, 6, 8], value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) bits: Vec<u8>,
    /// Keep to the recipe's own grid of integers; else narrow weights may use every code, or a zero point
    #[arg(long)]
    pub(super) own_grid: bool,
    /// Shares of weights that may be pruned, to choose from
    #[arg(long, value_delimiter = ',', value_parser = a_share)]
    pub(super) prune: Vec<f32>,
    /// A further choice for every layer: the default of this recipe
    #[arg(long, value_name = "RECIPE")]
    pub(super) also: Vec<String>,
    /// Layers that share one choice: a pattern as in recipes
    #[arg(long, value_name = "PATTERN")]
    pub(super) tie: Vec<String>,
    /// What --max-drop keeps small
    #[arg(long, default_value = "bytes")]
    pub(super) objective: ObjectiveArg,
    /// Which bytes count
    #[arg(long, default_value = "file")]
    pub(super) count: CountArg,
    /// Bit operations at most, as a share of the original's
    #[arg(long, value_name = "F", value_parser = above_zero, conflicts_with = "max_latency")]
    pub(super) max_bops: Option<f64>,
    /// Time at most by the model of this machine, as a share of the original's
    #[arg(long, value_name = "F", value_parser = above_zero)]
    pub(super) max_latency: Option<f64>,
    /// How sensitivities are measured
    #[arg(long, default_value = "exact")]
    pub(super) method: MethodArg,
    /// Samples that sensitivities are measured on
    #[arg(long, default_value_t = 256, value_parser = at_least_1)]
    pub(super) limit: usize,
    /// Name of the recipe
    #[arg(long)]
    pub(super) name: Option<String>,
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
    /// Write the comparison as one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ExportFormat {
    Onnx,
    /// With 8-bit weights without a sign, for ONNX Runtime on processors without VNNI
    OnnxUnsigned,
    /// With ONNX Runtime's own operators: `MatMulNBits` for blocks of 4 and 8 bits, biases in int32 beside 8-bit data
    OnnxRuntime,
    Gguf,
    /// The weights as floats
    Safetensors,
    /// safetensors with packed integers, as vLLM reads them
    CompressedTensors,
    /// The ONNX file, entropy-coded; `lapidary unpack` gives it back
    Lapidary,
    /// Arrays for microcontrollers
    CHeader,
}

impl From<ExportFormat> for FileFormat {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Onnx => Self::Onnx,
            ExportFormat::OnnxUnsigned => Self::OnnxUnsigned,
            ExportFormat::OnnxRuntime => Self::OnnxRuntime,
            ExportFormat::Gguf => Self::Gguf,
            ExportFormat::Safetensors => Self::Safetensors,
            ExportFormat::CompressedTensors => Self::CompressedTensors,
            ExportFormat::Lapidary => Self::Lapidary,
            ExportFormat::CHeader => Self::CHeader,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) of: OfRecipe,
    /// Kind of file; without it the name decides: .gguf, .safetensors (packed), .lapidary, .h, else ONNX
    #[arg(long)]
    pub(super) format: Option<ExportFormat>,
    /// File to write
    #[arg(long)]
    pub(super) out: PathBuf,
    /// Write larger ONNX files as two, the tensors in one beside the graph (as is always done above 2 GB)
    #[arg(long, value_name = "BYTES", default_value_t = FILE_LIMIT_BYTES)]
    pub(super) split_above: u64,
    /// Run an ONNX file in ONNX Runtime too (its library at ORT_DYLIB_PATH): accuracy and time there, beside ours
    #[arg(long)]
    pub(super) check_runtime: bool,
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

fn real(text: &str, fits: impl Fn(f64) -> bool, wanted: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|v| v.is_finite() && fits(*v)).ok_or_else(|| wanted.to_owned())
}

fn above_zero(text: &str) -> Result<f64, String> {
    real(text, |v| v > 0.0, "a number above 0")
}

fn not_negative(text: &str) -> Result<f64, String> {
    real(text, |v| v >= 0.0, "a number, 0 or more")
}

fn a_confidence(text: &str) -> Result<f64, String> {
    real(text, |v| (0.5..1.0).contains(&v), "a probability from 0.5 up to, not including, 1")
}

fn a_share(text: &str) -> Result<f32, String> {
    real(text, |v| (0.0..1.0).contains(&v), "a share from 0 up to, not including, 1").map(|v| v as f32)
}

/// Pictures of the window.
#[cfg_attr(not(feature = "gui"), expect(dead_code, reason = "the window makes them"))]
pub struct Pictures {
    pub folder: PathBuf,
    /// Points across and down.
    pub size: [u16; 2],
    pub language: String,
}

/// `1280x720`; what a picture can be.
fn size(text: &str) -> Result<[u16; 2], String> {
    let sides = text.split_once('x').and_then(|(width, height)| Some([width.parse().ok()?, height.parse().ok()?]));
    let fits = |sides: &[u16; 2]| sides.iter().all(|side| (320..=8192).contains(side));
    sides.filter(fits).ok_or_else(|| "write it as 1280x720, from 320 to 8192 points".to_owned())
}
