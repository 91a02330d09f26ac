//! Data sets: samples with or without class numbers, from the formats that people keep them in.
//! Pictures are decoded when a batch asks for them, so memory does not grow with their number.

mod folder;
mod idx;
mod numpy;
mod picture;
mod preprocess;
#[cfg(test)]
mod tests;
mod tokens;

pub use picture::Picture;
pub use preprocess::{Channels, Layout, Preprocess};

use super::error::LoadError;
use crate::engine::context::Ctx;
use crate::engine::graph::{Dim, Port};
use crate::engine::hash::{self, Hasher};
use crate::engine::tensor::{DType, Tensor, Value};
use picture::PicturePlan;
use preprocess::Affine;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A class number above this is taken for something else (a token, a pixel, a hash).
const CLASS_LIMIT: i64 = 1_000_000;

/// What a format's reader gives.
struct Raw {
    samples: Samples,
    labels: Option<Vec<i64>>,
    /// Names of the classes by number, as far as the data says.
    classes: Vec<String>,
}

enum Samples {
    Files(Vec<PathBuf>),
    /// 8-bit pictures `[n, height, width]` or `[n, height, width, 3]`.
    Pixels(Tensor),
    /// Whatever the model takes, `[n, …]`.
    Array(Tensor),
    /// Token ids, each text in a row of its own length.
    Sequences(Vec<Tensor>),
}

impl Samples {
    fn len(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
            Self::Pixels(tensor) | Self::Array(tensor) => tensor.shape().first().copied().unwrap_or(0),
            Self::Sequences(sequences) => sequences.len(),
        }
    }
}

enum Plan {
    Pictures(PicturePlan),
    Floats {
        dims: Vec<usize>,
        affine: Option<Vec<Affine>>,
        layout: Layout,
    },
    /// The model's input is an integer (tokens).
    Integers {
        dims: Vec<usize>,
        dtype: DType,
    },
    /// As many tokens as each sample has; `dims` are those of the longest.
    Tokens {
        dims: Vec<usize>,
        dtype: DType,
    },
}

impl Plan {
    fn dims(&self) -> &[usize] {
        match self {
            Self::Pictures(plan) => &plan.dims,
            Self::Floats { dims, .. } | Self::Integers { dims, .. } | Self::Tokens { dims, .. } => dims,
        }
    }
}

struct Inner {
    samples: Samples,
    plan: Plan,
    /// Everything that decides what a batch holds, but for the indices.
    identity: String,
}

/// Samples, ready to be fed to one input of a model. Cheap to clone.
#[derive(Clone)]
pub struct Dataset {
    pub name: String,
    /// Names of the classes by class number (after the offset of the preprocessing).
    pub classes: Vec<String>,
    /// One class number per sample of this (sub)set.
    pub labels: Option<Vec<usize>>,
    /// SHA-256 of all samples and labels of the data on disk.
    pub hash: String,
    inner: Arc<Inner>,
    /// Places in the data on disk.
    indices: Vec<usize>,
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name)
            .field("len", &self.len())
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// See [`super::dataset`].
pub(super) fn open(path: &Path, preprocess: &Preprocess, input: &Port, ctx: &Ctx) -> Result<Dataset, LoadError> {
    preprocess.check()?;
    ctx.start(format!("Opening {}", path.display()), 0);
    let raw = read(path, ctx)?;
    let count = raw.samples.len();
    if count == 0 {
        return Err(LoadError::data(
            path,
            "there are no samples in it; point to a folder of pictures, an IDX, .npz or .npy file",
        ));
    }
    if let Some(labels) = raw.labels.as_ref().filter(|l| l.len() != count) {
        let reason = format!("it has {count} samples but {} labels; each sample needs exactly one", labels.len());
        return Err(LoadError::data(path, reason));
    }
    let plan = plan(&raw.samples, preprocess, input)?;
    let hash = content_hash(&raw, ctx)?;
    let labels = raw.labels.as_deref().map(|l| shift(path, l, preprocess.label_offset)).transpose()?;
    let classes = class_names(raw.classes, labels.as_deref(), preprocess.label_offset);
    let identity = format!("{hash} {preprocess:?} {:?} {}", plan.dims(), shape_text(input));
    let all = Dataset {
        name: path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        classes,
        labels,
        hash,
        inner: Arc::new(Inner { samples: raw.samples, plan, identity }),
        indices: (0..count).collect(),
    };
    Ok(match preprocess.limit {
        Some(limit) if limit < count => {
            all.subset((0..limit).map(|i| (i as u128 * count as u128 / limit as u128) as usize).collect())
        }
        _ => all,
    })
}

fn read(path: &Path, ctx: &Ctx) -> Result<Raw, LoadError> {
    let meta = std::fs::metadata(path).map_err(LoadError::io(path))?;
    if meta.is_dir() {
        return match idx::images_in(path)? {
            Some(file) => idx::read(&file),
            None => folder::read(path, ctx),
        };
    }
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(LoadError::io(path))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, 8), &mut head).map_err(LoadError::io(path))?;
    match head.as_slice() {
        [] => Err(LoadError::data(path, "the file is empty")),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => numpy::read_npy(path),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => numpy::read_npz(path),
        [0x1f, 0x8b, ..] | [0, 0, 8..=14, 1..=8, ..] => idx::read(path),
        _ => {
            Err(LoadError::data(path, "no data set that Lapidary opens; it opens folders of pictures, IDX, .npz and .npy files"))
        }
    }
}

fn plan(samples: &Samples, preprocess: &Preprocess, input: &Port) -> Result<Plan, LoadError> {
    let integer = input.fact.dtype.is_some_and(|d| d.integer_range().is_some());
    let pictures = |size, gray| Ok(Plan::Pictures(PicturePlan::new(preprocess, size, gray, input)?));
    let no_picture = || {
        let wire = &input.wire;
        Err(LoadError::Shape {
            reason: format!(
                "input \"{wire}\" of the model takes integers, not pictures; use an .npz file with an integer array x"
            ),
        })
    };
    match samples {
        Samples::Files(_) | Samples::Pixels(_) if integer => no_picture(),
        Samples::Files(files) => pictures(files.first().map_or(Ok((0, 0)), |f| picture::size_of(f))?, false),
        Samples::Pixels(tensor) => match *tensor.shape() {
            [_, height, width] => pictures((width, height), true),
            [_, height, width, _] => pictures((width, height), false),
            _ => no_picture(),
        },
        Samples::Array(tensor) => array_plan(tensor, preprocess, input, integer),
        Samples::Sequences(sequences) => tokens::plan(sequences, preprocess, input),
    }
}

fn array_plan(tensor: &Tensor, preprocess: &Preprocess, input: &Port, integer: bool) -> Result<Plan, LoadError> {
    if preprocess.resize.is_some() || preprocess.crop.is_some() || preprocess.channels.is_some() {
        return Err(LoadError::Preprocess(
            "--resize, --crop and --channels apply to pictures; arrays are fed as they are".to_owned(),
        ));
    }
    let sample = tensor.shape().get(1..).unwrap_or_default();
    let dims = fitted(sample, input).ok_or_else(|| LoadError::Shape {
        reason: format!(
            "samples of the array have shape {sample:?}, but input \"{}\" of the model takes {}; arrays are fed as they are, so save x in that shape",
            input.wire,
            shape_text(input)
        ),
    })?;
    if integer && tensor.dtype().is_float() {
        let reason = format!("input \"{}\" of the model takes integers, but the array holds {}", input.wire, tensor.dtype());
        return Err(LoadError::Shape { reason });
    }
    let channel = match preprocess.layout {
        Layout::Nchw => dims.first(),
        Layout::Nhwc => dims.last(),
    };
    let affine = preprocess.affine_if_any(if dims.len() < 2 { 1 } else { channel.copied().unwrap_or(1) })?;
    match input.fact.dtype.filter(|_| integer) {
        Some(dtype) if affine.is_none() => Ok(Plan::Integers { dims, dtype }),
        Some(_) => Err(LoadError::Preprocess("--scale, --mean and --std do not apply to a model that takes integers".to_owned())),
        None => Ok(Plan::Floats { dims, affine, layout: preprocess.layout }),
    }
}

/// The shape in which a sample is fed: its own, or with axes of one added or taken away, or flat.
fn fitted(sample: &[usize], input: &Port) -> Option<Vec<usize>> {
    let Some(shape) = &input.fact.shape else { return Some(sample.to_vec()) };
    let axes = shape.get(1..)?;
    if axes.len() == sample.len() && sample.iter().zip(axes).all(|(s, a)| a.known().is_none_or(|n| n == *s)) {
        return Some(sample.to_vec());
    }
    let known: Vec<usize> = axes.iter().map(Dim::known).collect::<Option<_>>()?;
    let core = |dims: &[usize]| dims.iter().copied().filter(|d| *d != 1).collect::<Vec<usize>>();
    let flat = known.len() == 1 && known[0] == sample.iter().product::<usize>();
    (flat || core(&known) == core(sample)).then_some(known)
}

/// A shape as people write it: `[N, 3, 32, 32]`.
fn shape_text(input: &Port) -> String {
    match &input.fact.shape {
        Some(shape) => format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        None => "any shape".to_owned(),
    }
}

fn shift(path: &Path, labels: &[i64], offset: i64) -> Result<Vec<usize>, LoadError> {
    let shifted = |(i, label): (usize, &i64)| match label.checked_add(offset) {
        Some(n @ 0..=CLASS_LIMIT) if *label >= 0 => Ok(n as usize),
        _ if *label < 0 => Err(LoadError::data(path, format!("sample {i} has class number {label}; class numbers start at 0"))),
        _ => {
            let reason = format!(
                "sample {i} has class number {label}, which the label offset {offset} takes out of 0..={CLASS_LIMIT}; check --label-offset"
            );
            Err(LoadError::data(path, reason))
        }
    };
    labels.iter().enumerate().map(shifted).collect()
}

/// Names by class number after the offset; numbers stand where the data names nothing.
fn class_names(named: Vec<String>, labels: Option<&[usize]>, offset: i64) -> Vec<String> {
    let Some(labels) = labels else { return named };
    let last = labels.iter().max().map_or(0, |n| n + 1) as i64;
    let count = last.max(named.len() as i64 + offset).max(0);
    let name = |n: i64| usize::try_from(n - offset).ok().and_then(|i| named.get(i)).filter(|s| !s.is_empty());
    (0..count).map(|n| name(n).cloned().unwrap_or_else(|| n.to_string())).collect()
}

fn content_hash(raw: &Raw, ctx: &Ctx) -> Result<String, LoadError> {
    let mut hasher = Hasher::new();
    match &raw.samples {
        Samples::Files(files) => {
            let one = |file: &PathBuf| {
                ctx.check()?;
                hash::of_file(file).map_err(LoadError::io(file))
            };
            let hashes: Vec<Result<String, LoadError>> = ctx.pool().install(|| files.par_iter().map(one).collect());
            for each in hashes {
                hasher.add(each?.as_bytes());
            }
        }
        Samples::Pixels(tensor) | Samples::Array(tensor) => {
            hasher.add(format!("{} {:?}", tensor.dtype(), tensor.shape()).as_bytes()).add(&tensor.bytes());
        }
        Samples::Sequences(sequences) => {
            for tensor in sequences {
                hasher.add(format!("{} {:?}", tensor.dtype(), tensor.shape()).as_bytes()).add(&tensor.bytes());
            }
        }
    }
    for label in raw.labels.iter().flatten() {
        hasher.add(&label.to_le_bytes());
    }
    for class in &raw.classes {
        hasher.add(class.as_bytes());
    }
    Ok(hasher.finish())
}

impl Dataset {
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether each sample is a text of its own length, whose tokens a language model predicts one by one.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.inner.plan, Plan::Tokens { .. })
    }

    /// Samples to run at once: about a million input values and at most 64 samples, or what the
    /// model is fixed to. Texts run one by one: their lengths differ.
    #[must_use]
    pub fn batch_size(&self, fixed: Option<usize>) -> usize {
        if self.is_text() {
            return 1;
        }
        let values = self.sample_shape().iter().product::<usize>().max(1);
        fixed.unwrap_or_else(|| (1_000_000 / values).clamp(1, 64)).max(1)
    }

    /// The samples to feed for `indices`: a model of fixed batch size gets whole batches, in which the
    /// last sample stands in for those that lack.
    #[must_use]
    pub fn whole_batch(indices: &[usize], fixed: Option<usize>) -> Vec<usize> {
        let mut fed = indices.to_vec();
        if let (Some(size), Some(&last)) = (fixed, indices.last()) {
            fed.resize(size.max(indices.len()), last);
        }
        fed
    }

    /// `count` samples spread evenly over the set, or all of it.
    #[must_use]
    pub fn spread(&self, count: usize) -> Self {
        if count >= self.len() {
            return self.clone();
        }
        self.subset((0..count).map(|i| i * self.len() / count.max(1)).collect())
    }

    /// Shape of one sample as the model takes it.
    #[must_use]
    pub fn sample_shape(&self) -> &[usize] {
        self.inner.plan.dims()
    }

    /// The samples at `indices` of this set, preprocessed, as `[n, …]`; read in parallel on the
    /// threads of `ctx`.
    ///
    /// # Errors
    /// When an index is out of range, a picture cannot be read or has another size than the first
    /// one, texts differ in length, or the work was cancelled.
    pub fn batch(&self, indices: &[usize], ctx: &Ctx) -> Result<Value, LoadError> {
        let places = indices.iter().map(|i| self.place(*i)).collect::<Result<Vec<usize>, _>>()?;
        if let Samples::Sequences(sequences) = &self.inner.samples
            && let Some(tokens) = tokens::batch(sequences, &places, &self.inner.plan)?
        {
            return Ok(tokens);
        }
        let dims = self.inner.plan.dims();
        let size = dims.iter().product::<usize>();
        let shape: Vec<usize> = std::iter::once(places.len()).chain(dims.iter().copied()).collect();
        if let (Plan::Integers { dtype, .. }, Samples::Array(array)) = (&self.inner.plan, &self.inner.samples) {
            let values = places.iter().map(|p| Ok(sample(array, *p)?.to_i64()?)).collect::<Result<Vec<_>, LoadError>>()?.concat();
            return Ok(Value { dtype: *dtype, ..Value::from_i64(values, &shape)? });
        }
        let mut values = vec![0_f32; places.len() * size];
        let fill = |(place, out): (&usize, &mut [f32])| {
            ctx.check()?;
            self.fill(*place, out)
        };
        // All results are collected, so that the error is the first by place, whichever thread is quicker.
        let results: Vec<Result<(), LoadError>> =
            ctx.pool().install(|| places.par_iter().zip(values.par_chunks_mut(size.max(1))).map(fill).collect());
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(Value::from_f32(values, &shape)?)
    }

    fn place(&self, index: usize) -> Result<usize, LoadError> {
        let reason = || format!("sample {index} is asked of \"{}\", which has {}", self.name, self.len());
        self.indices.get(index).copied().ok_or_else(|| LoadError::Shape { reason: reason() })
    }

    fn fill(&self, place: usize, out: &mut [f32]) -> Result<(), LoadError> {
        match (&self.inner.plan, &self.inner.samples) {
            (Plan::Pictures(plan), Samples::Files(files)) => {
                let Some(file) = files.get(place) else { return Ok(()) };
                plan.fill(Picture::open(file)?, &|| file.display().to_string(), out)
            }
            (Plan::Pictures(plan), Samples::Pixels(tensor)) => {
                plan.fill(pixels(tensor, place)?, &|| format!("picture {place} of \"{}\"", self.name), out)
            }
            (Plan::Floats { dims, affine, layout }, Samples::Array(array)) => {
                out.copy_from_slice(&sample(array, place)?.to_f32()?);
                if let Some(affine) = affine {
                    let planes = match layout {
                        Layout::Nchw if dims.len() > 1 => dims.iter().skip(1).product::<usize>(),
                        _ => 1,
                    };
                    out.iter_mut().enumerate().for_each(|(i, v)| *v = affine[i / planes.max(1) % affine.len()].apply(*v));
                }
                Ok(())
            }
            _ => Err(LoadError::Shape { reason: "the samples are of another kind than the plan was made for".to_owned() }),
        }
    }

    /// A sample as a picture to look at, before preprocessing; arrays as shades of gray from their
    /// smallest to their largest value.
    ///
    /// # Errors
    /// When the index is out of range or the picture cannot be read.
    pub fn picture(&self, index: usize) -> Result<Picture, LoadError> {
        let place = self.place(index)?;
        match &self.inner.samples {
            Samples::Files(files) => files
                .get(place)
                .map_or_else(|| Err(LoadError::Shape { reason: format!("sample {index} is gone") }), |f| Picture::open(f)),
            Samples::Pixels(tensor) => pixels(tensor, place),
            Samples::Array(array) => Ok(shades(&sample(array, place)?)?),
            Samples::Sequences(sequences) => match sequences.get(place) {
                Some(one) => shades(one),
                None => Err(LoadError::Shape { reason: format!("sample {index} is gone") }),
            },
        }
    }

    /// Some samples of this set, in the order given; indices beyond its end are left out.
    #[must_use]
    pub fn subset(&self, indices: Vec<usize>) -> Self {
        let kept: Vec<usize> = indices.into_iter().filter(|i| *i < self.len()).collect();
        Self {
            labels: self.labels.as_ref().map(|labels| kept.iter().map(|i| labels[*i]).collect()),
            indices: kept.iter().map(|i| self.indices[*i]).collect(),
            ..self.clone()
        }
    }

    /// SHA-256 of all that decides what the batches of this set hold: the data, the preprocessing,
    /// the model's input and which samples.
    #[must_use]
    pub fn key(&self) -> String {
        let mut hasher = Hasher::new();
        hasher.add(self.inner.identity.as_bytes());
        hasher.add(&self.indices.iter().flat_map(|i| (*i as u64).to_le_bytes()).collect::<Vec<u8>>());
        hasher.finish()
    }
}

/// One sample of an array `[n, …]`.
fn sample(array: &Tensor, place: usize) -> Result<Tensor, LoadError> {
    let shape = array.shape().get(1..).unwrap_or_default().to_vec();
    let len = shape.iter().product::<usize>() * array.dtype().bits() / 8;
    let bytes = array.bytes();
    let own = bytes.get(place * len..(place + 1) * len).unwrap_or_default().to_vec();
    Ok(Tensor::from_bytes(array.dtype(), shape, own)?)
}

fn pixels(tensor: &Tensor, place: usize) -> Result<Picture, LoadError> {
    let one = sample(tensor, place)?;
    Ok(match *one.shape() {
        [height, width, 3] => Picture { width, height, rgb: one.bytes().to_vec() },
        [height, width, ..] => Picture::from_gray(width, height, &one.bytes()),
        _ => return Err(LoadError::Shape { reason: format!("a sample of shape {:?} is no picture", one.shape()) }),
    })
}

fn shades(one: &Tensor) -> Result<Picture, LoadError> {
    let values = one.to_f32()?;
    let dims: Vec<usize> = one.shape().iter().copied().filter(|d| *d != 1).collect();
    let width = dims.last().copied().unwrap_or(1);
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let range = if high > low { high - low } else { 1.0 };
    let gray: Vec<u8> = values.iter().map(|v| ((v - low) / range * 255.0).round() as u8).collect();
    Ok(Picture::from_gray(width, values.len() / width.max(1), &gray))
}
