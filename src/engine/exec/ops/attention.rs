//! `Attention` (operator sets 23 to 25).

use super::cast::narrow;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, fail, floats, held, ints, like, make, unsupported, with};
use crate::engine::exec::memory::room;
use crate::engine::kernels::attention::{Head, Mask, Order, Stage, attend};
use crate::engine::kernels::{parts, tasks, threads};
use crate::engine::tensor::Value;
use candle_core::Tensor;

pub(super) fn find(op: &str) -> Option<Operator> {
    (op == "Attention").then_some(attention as Operator)
}

/// Sizes of one attention.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    query_heads: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    size: usize,
    value_size: usize,
}

fn attention(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (q, k, v) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let flat = q.shape().len() == 3;
    let q = heads(q, c.int("q_num_heads", 0))?;
    let [k, v] = [(k, 4), (v, 5)].map(|(x, past)| {
        let x = heads(x, c.int("kv_num_heads", 0))?;
        match c.optional(past) {
            Some(past) => join_past(past, &x),
            None => Ok(x),
        }
    });
    let (k, v) = (k?, v?);
    let past = match (c.optional(4), c.optional(5)) {
        (Some(past), Some(_)) => past.shape()[2],
        (None, None) => 0,
        _ => return fail("past_key and past_value go together; only one is given"),
    };
    let s = sizes(&q, &k, &v)?;
    let mask = SeenKeys::of(c, s, past)?;
    let order = if c.opset < 24 { Order::MaskFirst } else { Order::CapFirst };
    let stage = match (c.int("qk_matmul_output_mode", 0), order) {
        (0, _) => Stage::Product,
        (1, Order::CapFirst) | (2, Order::MaskFirst) => Stage::Capped,
        (1, Order::MaskFirst) | (2, Order::CapFirst) => Stage::Masked,
        (3, _) => Stage::Softmax,
        (other, _) => return fail(format!("qk_matmul_output_mode {other} is none of 0, 1, 2, 3")),
    };
    let shows = c.node.output(3).is_some();
    let mut out = vec![0.0; room::<f32>(&[s.batch, s.query_heads, s.queries, s.value_size])?];
    let mut shown = vec![0.0; if shows { room::<f32>(&[s.batch, s.query_heads, s.queries, s.keys])? } else { 0 }];
    let scale = c.node.float("scale").unwrap_or(1.0 / (s.size as f32).sqrt());
    let softcap = c.float("softcap", 0.0);
    with::<f32, _>(&q, |query| {
        with::<f32, _>(&k, |key| {
            with::<f32, _>(&v, |value| {
                let all = Heads { s, query, key, value, scale, softcap, order, mask: &mask };
                c.install(|| all.run(&mut out, shows.then_some((stage, shown.as_mut_slice()))));
            })
        })
    })???;
    let rounded = |values: Vec<f32>| values.into_iter().map(|x| narrow(q.dtype, x)).collect::<Vec<f32>>();
    let mut y = make(q.dtype, rounded(out), &[s.batch, s.query_heads, s.queries, s.value_size])?;
    if flat {
        y.data = y.data.transpose(1, 2)?.contiguous()?.reshape((s.batch, s.queries, s.query_heads * s.value_size))?;
    }
    let mut outputs = vec![y, k, v];
    if shows {
        outputs.push(make(q.dtype, rounded(shown), &[s.batch, s.query_heads, s.queries, s.keys])?);
    }
    Ok(outputs)
}

/// `[batch, heads, sequence, size]`, of which three axes hold the heads in the last one.
fn heads(x: &Value, count: i64) -> OpResult<Value> {
    if held(x)? != Held::F32 {
        return unsupported(format!("values of type {} are not supported here; cast them to float32", x.dtype));
    }
    match (x.shape(), usize::try_from(count)) {
        ([_, _, _, _], _) => Ok(like(x, x.data.contiguous()?)),
        (&[batch, length, width], Ok(count)) if count > 0 && width % count == 0 => {
            let data = x.data.reshape((batch, length, count, width / count))?;
            Ok(like(x, data.transpose(1, 2)?.contiguous()?))
        }
        (shape, _) => fail(format!("shape {shape:?} cannot be split into {count} heads")),
    }
}

fn join_past(past: &Value, x: &Value) -> OpResult<Value> {
    let fits = |(i, (a, b)): (usize, (&usize, &usize))| i == 2 || a == b;
    let joins = past.shape().len() == 4 && past.shape().iter().zip(x.shape()).enumerate().all(fits) && held(past)? == Held::F32;
    if !joins {
        return fail(format!("past of shape {:?} does not go before {:?}", past.shape(), x.shape()));
    }
    Ok(like(x, Tensor::cat(&[&past.data, &x.data], 2)?))
}

fn sizes(q: &Value, k: &Value, v: &Value) -> OpResult<Sizes> {
    let (q, k, v) = (q.shape(), k.shape(), v.shape());
    let (&[batch, query_heads, queries, size], &[_, heads, keys, _], &[.., value_size]) = (q, k, v) else {
        return fail("queries, keys and values need the same number of axes");
    };
    let fits = k == [batch, heads, keys, size] && v == [batch, heads, keys, value_size];
    if !fits || heads == 0 || query_heads % heads != 0 {
        return fail(format!("queries {q:?}, keys {k:?} and values {v:?} do not go together"));
    }
    Ok(Sizes { batch, query_heads, heads, queries, keys, size, value_size })
}

/// All heads of an attention.
struct Heads<'a> {
    s: Sizes,
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    scale: f32,
    softcap: f32,
    order: Order,
    mask: &'a SeenKeys,
}

impl Heads<'_> {
    fn run(&self, out: &mut [f32], shown: Option<(Stage, &mut [f32])>) {
        let s = self.s;
        // Query heads that share a key head lie side by side: they are more rows of one product.
        let group = s.query_heads / s.heads;
        let rows = group * s.queries;
        let (width, line) = ((rows * s.value_size).max(1), (rows * s.keys).max(1));
        let task = |index: usize, out: &mut [f32], shown: Option<(Stage, &mut [f32])>| {
            let head = Head {
                query: &self.query[index * rows * s.size..][..rows * s.size],
                key: &self.key[index * s.keys * s.size..][..s.keys * s.size],
                value: &self.value[index * s.keys * s.value_size..][..s.keys * s.value_size],
                queries: rows,
                keys: s.keys,
                size: s.size,
                value_size: s.value_size,
                scale: self.scale,
                softcap: self.softcap,
                order: self.order,
            };
            let (batch, first) = (index / s.heads, index % s.heads * group);
            attend(head, &HeadMask { all: self.mask, batch, first, queries: s.queries }, out, shown);
        };
        let count = s.batch * s.heads;
        let threads = threads();
        let apart = count >= threads && count * rows * s.keys * (s.size + s.value_size) > 1 << 16;
        match shown {
            // A head is a task where there are heads for all threads; else a product is shared out.
            None if apart => parts(out, width, &|i, out| task(i, out, None)),
            Some((stage, shown)) if apart => {
                let both = out.chunks_mut(width).zip(shown.chunks_mut(line));
                tasks(both, &|i, (out, shown)| task(i, out, Some((stage, shown))));
            }
            None => out.chunks_mut(width).enumerate().for_each(|(i, out)| task(i, out, None)),
            Some((stage, shown)) => {
                let parts = out.chunks_mut(width).zip(shown.chunks_mut(line)).enumerate();
                parts.for_each(|(i, (out, shown))| task(i, out, Some((stage, shown))));
            }
        }
    }
}

/// Which keys are seen by which queries.
struct SeenKeys {
    /// Added to the scores: elements, strides of batch, heads and queries, and how many keys it tells of.
    bias: Option<(Vec<f32>, [usize; 3], usize)>,
    /// For each sample: keys that are no padding.
    valid: Vec<usize>,
    /// For each sample: the place of its first query among the keys.
    offset: Vec<i64>,
    /// How far a query sees before and after its own place.
    window: [Option<i64>; 2],
}

impl SeenKeys {
    fn of(c: &Call<'_>, s: Sizes, past: usize) -> OpResult<Self> {
        let valid: Vec<usize> = match c.optional(6) {
            None => vec![s.keys; s.batch],
            Some(_) if c.optional(4).is_some() => return fail("nonpad_kv_seqlen and past_key exclude each other"),
            Some(value) => {
                let all: Vec<usize> = ints(value)?.iter().map(|n| (*n).max(0) as usize).collect();
                if all.len() != s.batch || all.iter().any(|n| *n > s.keys) {
                    return fail(format!("nonpad_kv_seqlen does not fit a batch of {} with {} keys", s.batch, s.keys));
                }
                all
            }
        };
        let offset = match c.optional(6) {
            Some(_) => valid.iter().map(|n| *n as i64 - s.queries as i64).collect(),
            None => vec![past as i64; s.batch],
        };
        let side = |name: &str| Some(c.int(name, -1)).filter(|n| *n >= 0);
        let after = side("right_window_size");
        let after = if c.int("is_causal", 0) != 0 { Some(0) } else { after };
        let bias = c.optional(3).map(|mask| bias(mask, s)).transpose()?;
        Ok(Self { bias, valid, offset, window: [side("left_window_size"), after] })
    }
}

/// The elements of a mask, its strides along batch, heads and queries, and its keys.
fn bias(mask: &Value, s: Sizes) -> OpResult<(Vec<f32>, [usize; 3], usize)> {
    let shape = mask.shape();
    let wanted = [s.batch, s.query_heads, s.queries];
    let Some((&keys, lead)) = shape.split_last() else { return fail("a mask needs an axis of keys") };
    let whole = lead.len() <= 3 && lead.iter().rev().zip(wanted.iter().rev()).all(|(have, want)| *have == 1 || have == want);
    if !whole || keys > s.keys {
        return fail(format!("a mask of shape {shape:?} does not broadcast to {wanted:?} with {} keys", s.keys));
    }
    let mut strides = [0; 3];
    let mut step = keys;
    for (stride, &have) in strides.iter_mut().rev().zip(lead.iter().rev()) {
        *stride = if have == 1 { 0 } else { step };
        step *= have;
    }
    let values = match held(mask)? {
        Held::Bool => with::<u8, _>(mask, |m| m.iter().map(|v| if *v != 0 { 0.0 } else { f32::NEG_INFINITY }).collect())?,
        Held::F32 => floats(mask)?,
        _ => return unsupported(format!("a mask of type {} is not supported; booleans or float32 are", mask.dtype)),
    };
    Ok((values, strides, keys))
}

/// The mask of the query heads that share one key head.
struct HeadMask<'a> {
    all: &'a SeenKeys,
    batch: usize,
    /// The first of the query heads.
    first: usize,
    queries: usize,
}

impl Mask for HeadMask<'_> {
    fn apply(&self, row: usize, scores: &mut [f32]) -> bool {
        let (head, query) = (self.first + row / self.queries, row % self.queries);
        let place = self.all.offset[self.batch] + query as i64;
        let keys = scores.len() as i64;
        let from = self.all.window[0].map_or(0, |n| place.saturating_sub(n)).clamp(0, keys);
        let to = self.all.window[1].map_or(keys, |n| place.saturating_add(n).saturating_add(1));
        let mut to = to.min(self.all.valid[self.batch] as i64).clamp(from, keys) as usize;
        let from = from as usize;
        let mut seen = to > from;
        if let Some((values, strides, count)) = &self.all.bias {
            let at = self.batch * strides[0] + head * strides[1] + query * strides[2];
            let line = &values[at..at + count];
            // Keys that a shorter mask does not tell of are not seen.
            to = to.min(*count).max(from);
            scores.iter_mut().zip(line).for_each(|(v, m)| *v += m);
            seen = line.get(from..to).is_some_and(|seen| seen.iter().any(|m| *m > f32::NEG_INFINITY));
        }
        scores[..from].fill(f32::NEG_INFINITY);
        scores[to..].fill(f32::NEG_INFINITY);
        seen
    }
}
