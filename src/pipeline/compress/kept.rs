//! Layers that are corrected, as bytes: a run that was stopped goes on behind the last of them.

use super::corrected::{Corrected, Form};
use super::judge::Step;
use super::low_rank::Factors;
use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use crate::engine::formats::{Encoded, Parts, Shape};
use crate::engine::hash::{Hasher, digest};
use crate::pipeline::configure::{LayerPlan, Plan};
use crate::pipeline::load::{Dataset, Subject};
use std::io;

/// Changes when layers of the same name would come out otherwise.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"lapilayr";
/// Bytes of the digest at the end.
const DIGEST: usize = 32;

/// Where the layers of a run are kept until all are made, by names that say all that they depend on. Losing one costs
/// time, nothing else.
pub trait Keep: Sync {
    fn read(&self, run: &str, layer: &str) -> Option<Vec<u8>>;

    /// # Errors
    /// When it cannot be kept.
    fn write(&self, run: &str, layer: &str, bytes: &[u8]) -> io::Result<()>;

    /// The run is over: nothing of it is wanted any more.
    fn forget(&self, run: &str);
}

/// Keeps nothing.
pub(super) struct Nothing;

impl Keep for Nothing {
    fn read(&self, _: &str, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn write(&self, _: &str, _: &str, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, _: &str) {}
}

/// A name for each layer of a plan, which says all that it depends on: network, data, seed, what is done to it and to
/// those before it. The last is that of the run.
///
/// # Errors
/// On cancel.
pub(super) fn names(plan: &Plan, subject: &Subject, data: &Dataset, ctx: &Ctx) -> Result<Vec<String>, Cancelled> {
    let mut hasher = Hasher::new();
    hasher.add(format!("layers {VERSION} of {}, seed {}", env!("CARGO_PKG_VERSION"), ctx.seed).as_bytes());
    let model = subject.loaded.hash_within(ctx)?;
    for part in [model, &*subject.change_key, &*subject.importance_key, &data.key()] {
        hasher.add(part.as_bytes());
    }
    let mut name = |layer: &LayerPlan| {
        hasher.add(format!("{layer:?}").as_bytes());
        hasher.clone().finish()
    };
    Ok(plan.layers.iter().map(&mut name).collect())
}

impl Corrected {
    /// With a digest at the end; what [`Corrected::from_bytes`] reads.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut part = |bytes: &[u8]| {
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        };
        match &self.form {
            Form::Floats(rows) => part(&floats(rows)),
            Form::Encoded(encoded) => {
                let Parts { values, scales, zero_points, codebook } = encoded.parts();
                for bytes in [values, scales, zero_points, codebook] {
                    part(bytes);
                }
            }
        }
        if let Some(factors) = &self.low_rank {
            part(&floats(&factors.b));
            part(&floats(&factors.a));
        }
        self.added.iter().for_each(|added| part(&floats(added)));
        for step in &self.steps {
            part(step.name.as_bytes());
            part(&[step.before.to_le_bytes(), step.after.to_le_bytes()].concat());
            part(&[u8::from(step.kept)]);
        }
        let sum = digest(&out);
        out.extend(sum);
        out
    }

    /// `None` where the bytes are damaged or of another layer.
    pub(super) fn from_bytes(bytes: &[u8], plan: &LayerPlan) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        if digest(body) != *sum {
            return None;
        }
        let mut parts = Reader(body.strip_prefix(MAGIC)?);
        let (count, rows) = (plan.layer.parameters(), plan.layer.out_channels());
        let form = match plan.treatment.weights.format() {
            None => Form::Floats(numbers(parts.next()?, count)?),
            Some(format) => {
                let [values, scales, zero_points, codebook] =
                    [parts.next()?, parts.next()?, parts.next()?, parts.next()?].map(<[u8]>::to_vec);
                let shape = Shape::new(rows, count / rows.max(1)).ok()?;
                Form::Encoded(Encoded::new(format, shape, Parts { values, scales, zero_points, codebook }).ok()?)
            }
        };
        let columns = count / rows.max(1);
        let low_rank = match usize::from(plan.treatment.compensate) {
            0 => None,
            most => {
                let b = parts.next()?;
                // There may be less of it than was asked for.
                let rank = b.len() / 4 / rows.max(1);
                let (b, a) = (numbers(b, rows * rank)?, numbers(parts.next()?, rank * columns)?);
                (rank <= most).then_some(())?;
                Some(Factors { rank, a, b })
            }
        };
        let added = match &plan.bias {
            Some(_) => Some(numbers(parts.next()?, rows)?),
            None => None,
        };
        let mut steps = Vec::new();
        while !parts.0.is_empty() {
            let name = Step::named(parts.next()?)?;
            let (before, after) = parts.next()?.split_at_checked(8)?;
            let number = |bytes: &[u8]| Some(f64::from_le_bytes(*bytes.first_chunk()?));
            steps.push(Step { name, before: number(before)?, after: number(after)?, kept: *parts.next()?.first()? == 1 });
        }
        Some(Self { form, low_rank, added, steps })
    }
}

/// Parts, each behind its length.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(part)
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// So many finite numbers.
fn numbers(bytes: &[u8], count: usize) -> Option<Vec<f32>> {
    let (whole, rest) = bytes.as_chunks();
    let values: Vec<f32> = whole.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (rest.is_empty() && values.len() == count && values.iter().all(|v| v.is_finite())).then_some(values)
}
