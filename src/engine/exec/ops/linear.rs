//! Products with a constant matrix: packed once, finished in the same pass.

use super::install;
use crate::engine::exec::data::{Held as HeldAs, OpResult, fail, floats, held, make, unsupported, with};
use crate::engine::exec::image::Held;
use crate::engine::exec::memory::room;
use crate::engine::graph::Node;
use crate::engine::kernels::convolve::{Finish, Panels, cover_rows};
use crate::engine::kernels::layout::transpose;
use crate::engine::kernels::tile::Shared;
use crate::engine::tensor::{DType, Value};
use std::sync::OnceLock;

/// `Gemm` or `MatMul` whose right matrix and bias are constant.
pub(in crate::engine::exec) struct PackedProduct {
    weight: Value,
    /// The weight is `[n, k]` instead of `[k, n]`.
    turned: bool,
    bias: Vec<f32>,
    k: usize,
    n: usize,
    /// The factors are a flattened image of so many (channels, places). They are summed place by place,
    /// as images lie, wherever the plan begins, so that a part of a model gives the bits of the whole.
    pub image: Option<(usize, usize)>,
    /// The step takes the image itself.
    pub flatten: bool,
    pub low: f32,
    pub high: f32,
    panels: OnceLock<Panels>,
}

impl PackedProduct {
    /// `None` where the node does more than a product and a bias.
    pub fn of(node: &Node, weight: &Value, bias: Option<&Value>) -> Option<Self> {
        let plain = node.op == "MatMul"
            || (node.int("transA").unwrap_or(0) == 0
                && node.float("alpha").unwrap_or(1.0) == 1.0
                && node.float("beta").unwrap_or(1.0) == 1.0);
        let &[a, b] = weight.shape() else { return None };
        let turned = node.op == "Gemm" && node.int("transB").unwrap_or(0) != 0;
        let (k, n) = if turned { (b, a) } else { (a, b) };
        let bias = match bias {
            None => Vec::new(),
            Some(v) if matches!(v.shape(), [c] | [1, c] if *c == n) => floats(v).ok()?,
            Some(_) => return None,
        };
        if !plain || weight.dtype != DType::F32 || k == 0 || n == 0 {
            return None;
        }
        Some(Self {
            weight: weight.clone(),
            turned,
            bias,
            k,
            n,
            image: None,
            flatten: false,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            panels: OnceLock::new(),
        })
    }

    pub fn depth(&self) -> usize {
        self.k
    }

    /// Packed at the first run. Two threads may both pack; one result is kept.
    fn panels(&self) -> OpResult<&Panels> {
        if self.panels.get().is_none() {
            let (k, n) = (self.k, self.n);
            // Which row of the weight belongs to the i-th factor.
            let row = |i: usize| self.image.map_or(i, |(channels, places)| i % channels * places + i / channels);
            let packed = with::<f32, _>(&self.weight, |w| {
                let turned = if self.turned { transpose(w, 1, n, k) } else { Vec::new() };
                let w = if self.turned { turned.as_slice() } else { w };
                Panels::pack(n, k, &self.bias, |o, i| w[row(i) * n + o])
            })?;
            let _ = self.panels.set(packed);
        }
        self.panels.get().map_or_else(|| fail("packed weights are missing"), Ok)
    }

    pub fn run(&self, x: &Held, pool: Option<&rayon::ThreadPool>) -> OpResult<Value> {
        let shape = x.shape();
        let refuse = || fail(format!("shapes {shape:?} and [{}, {}] cannot be multiplied", self.k, self.n));
        let (rows, mut out_shape) = if self.flatten {
            (shape.first().copied().unwrap_or(1), vec![shape.first().copied().unwrap_or(1)])
        } else {
            let Some((_, lead)) = shape.split_last() else { return fail("scalars cannot be multiplied as matrices") };
            (lead.iter().product(), lead.to_vec())
        };
        if shape.iter().product::<usize>() != rows * self.k || (!self.flatten && shape.last() != Some(&self.k)) {
            return refuse();
        }
        out_shape.push(self.n);
        let mut out = vec![0.0_f32; room::<f32>(&[rows, self.n])?];
        let mut run = |panels: &Panels, x: &[f32]| {
            let finish = Finish { low: self.low, high: self.high, residual: None, beside: None };
            install(pool, || cover_rows(panels, x, (rows, self.k), finish, Shared::new(&mut out)));
        };
        let dtype = x.dtype();
        let panels = self.panels()?;
        match (x, self.image) {
            (Held::Image(image), Some(order)) if (image.channels(), image.places()) == order => run(panels, &image.data),
            (_, order) => {
                let value = x.clone().into_value()?;
                if held(&value)? != HeldAs::F32 {
                    return unsupported(format!("values of type {dtype} are not supported here; cast them to float32"));
                }
                with::<f32, _>(&value, |x| match order {
                    Some((channels, places)) => run(panels, &transpose(x, rows, channels, places)),
                    None => run(panels, x),
                })?;
            }
        }
        make(dtype, out, &out_shape)
    }
}
