//! Products with a constant matrix: packed once, finished in the same pass.

use super::install;
use crate::engine::exec::data::{Held as HeldAs, OpResult, fail, floats, held, make, with};
use crate::engine::exec::image::Held;
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
    /// A `Flatten` comes first: everything but the batch is one row.
    pub flatten: bool,
    pub low: f32,
    pub high: f32,
    /// For rows in the order of the model.
    rows: OnceLock<Panels>,
    /// For flattened images that lie channels last, of so many places.
    places: OnceLock<(usize, Panels)>,
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
            flatten: false,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            rows: OnceLock::new(),
            places: OnceLock::new(),
        })
    }

    /// Panels for factors in the order that `row` gives: the place of factor i in the weight.
    fn pack(&self, row: impl Fn(usize) -> usize) -> OpResult<Panels> {
        let (k, n) = (self.k, self.n);
        with::<f32, _>(&self.weight, |w| {
            // Panels are cut from rows, one per factor.
            let turned = if self.turned { transpose(w, 1, n, k) } else { Vec::new() };
            let w = if self.turned { turned.as_slice() } else { w };
            Panels::pack(n, k, &self.bias, |o, i| w[row(i) * n + o])
        })
    }

    /// Panels for rows in the order of the model. Two threads may both pack; one result is kept.
    fn for_rows(&self) -> OpResult<&Panels> {
        if self.rows.get().is_none() {
            let packed = self.pack(|i| i)?;
            let _ = self.rows.set(packed);
        }
        self.rows.get().map_or_else(|| fail("packed weights are missing"), Ok)
    }

    /// Panels for flattened images of `places`, channels last; `None` for a second size.
    fn for_places(&self, places: usize) -> OpResult<Option<&Panels>> {
        if self.places.get().is_none() {
            let channels = (self.k / places.max(1)).max(1);
            let packed = self.pack(|i| i % channels * places + i / channels)?;
            let _ = self.places.set((places, packed));
        }
        Ok(self.places.get().filter(|(held, _)| *held == places).map(|(_, panels)| panels))
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
        let mut out = vec![0.0_f32; rows * self.n];
        let mut run = |panels: &Panels, x: &[f32]| {
            let finish = Finish { low: self.low, high: self.high, residual: None };
            install(pool, || cover_rows(panels, x, (rows, self.k), finish, Shared::new(&mut out)));
        };
        let dtype = x.dtype();
        let as_it_lies = match x {
            Held::Image(image) if self.flatten => self.for_places(image.shape[2..].iter().product())?.map(|p| (p, &image.data)),
            _ => None,
        };
        if let Some((panels, data)) = as_it_lies {
            run(panels, data);
        } else {
            let value = x.clone().into_value()?;
            if held(&value)? != HeldAs::F32 {
                return fail(format!("values of type {dtype} are not supported here; cast them to float32"));
            }
            let panels = self.for_rows()?;
            with::<f32, _>(&value, |x| run(panels, x))?;
        }
        make(dtype, out, &out_shape)
    }
}
