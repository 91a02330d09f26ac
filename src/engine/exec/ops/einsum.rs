//! `Einsum`: Einstein's summation. Operands are joined from left to right, each pair by one matrix
//! product per element of the axes that both share and the rest still needs.

use super::cast::{narrow, wrap};
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, fail, held, make, strides_of, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::kernels::{parts, threads};
use crate::engine::tensor::Value;
use candle_core::{Tensor, WithDType};

pub(super) fn find(op: &str) -> Option<Operator> {
    (op == "Einsum").then_some(einsum as Operator)
}

/// Below this many products a plain loop is faster than preparing anything.
const TINY: usize = 64;

/// Labels of axes by number: first those that the ellipsis stands for, then the letters.
struct Equation {
    operands: Vec<Vec<usize>>,
    output: Vec<usize>,
}

impl Equation {
    /// Reads `text` for operands of these ranks.
    fn parse(text: &str, ranks: &[usize]) -> OpResult<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = text.split_once("->").map_or((text.as_str(), None), |(left, right)| (left, Some(right)));
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return fail(format!("\"{text}\" tells of {} operands, there are {}", terms.len(), ranks.len()));
        }
        let mut free = 0;
        for (term, &rank) in terms.iter().zip(ranks) {
            let letters = term.replace("...", "").len();
            match rank.checked_sub(letters) {
                Some(rest) if term.contains("...") => free = free.max(rest),
                Some(0) => {}
                _ => return fail(format!("\"{term}\" does not fit an operand of {rank} axes")),
            }
        }
        let mut letters: Vec<char> = left.chars().filter(char::is_ascii_alphabetic).collect();
        letters.sort_unstable();
        let once: Vec<char> = letters.iter().copied().filter(|c| letters.iter().filter(|d| *d == c).count() == 1).collect();
        letters.dedup();
        let label = |c: char| letters.iter().position(|l| *l == c).map(|i| free + i);
        // `dots`: how many axes the ellipsis stands for; they are the last of those it can stand for.
        let labels = |term: &str, dots: usize| -> OpResult<Vec<usize>> {
            let (before, after) = term.split_once("...").unwrap_or((term, ""));
            let named = |part: &str| part.chars().map(label).collect::<Option<Vec<usize>>>();
            let (Some(before), Some(after)) = (named(before), named(after)) else {
                return fail(format!("\"{term}\" of \"{text}\" has a sign that is no axis of the operands"));
            };
            let dots = if term.contains("...") { free - dots..free } else { 0..0 };
            Ok(before.into_iter().chain(dots).chain(after).collect())
        };
        let operand = |(term, rank): (&&str, &usize)| labels(term, (rank + 3).saturating_sub(term.len()));
        let operands = terms.iter().zip(ranks).map(operand).collect::<OpResult<Vec<Vec<usize>>>>()?;
        let output = match right {
            Some(right) => labels(right, free)?,
            None => labels(&format!("...{}", once.iter().collect::<String>()), free)?,
        };
        let repeated = (1..output.len()).any(|i| output[..i].contains(&output[i]));
        if repeated || (0..free).any(|label| !output.contains(&label)) {
            return fail(format!("the output of \"{text}\" names an axis twice or leaves out what the ellipsis stands for"));
        }
        Ok(Self { operands, output })
    }
}

/// A tensor whose axes have labels, each at most once.
#[derive(Clone)]
struct Term {
    labels: Vec<usize>,
    value: Value,
}

fn einsum(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let Some(equation) = c.node.text("equation") else { return fail("attribute \"equation\" is missing") };
    let operands = (0..c.inputs.len()).map(|i| c.input(i)).collect::<OpResult<Vec<&Value>>>()?;
    let ranks: Vec<usize> = operands.iter().map(|x| x.shape().len()).collect();
    let equation = Equation::parse(equation, &ranks)?;
    let Some(first) = operands.first() else { return fail("there are no operands") };
    if held(first)? == Held::Bool || operands.iter().any(|x| x.dtype != first.dtype) {
        return fail("operands need to be numbers of one type");
    }
    let mut sizes: Vec<usize> = Vec::new();
    for (labels, x) in equation.operands.iter().zip(&operands) {
        for (&label, &size) in labels.iter().zip(x.shape()) {
            sizes.resize(sizes.len().max(label + 1), 1);
            if size != 1 && sizes[label] != 1 && sizes[label] != size {
                return fail(format!("an axis has {} elements in one operand and {size} in another", sizes[label]));
            }
            sizes[label] = if size == 1 { sizes[label] } else { size };
        }
    }
    let terms = equation.operands.iter().zip(&operands).map(|(labels, x)| Term::new(x, labels, &sizes));
    let mut terms = terms.collect::<OpResult<Vec<Term>>>()?.into_iter();
    let Some(mut joined) = terms.next() else { return fail("there are no operands") };
    while let Some(term) = terms.next() {
        let needed = |label: &usize| equation.output.contains(label) || terms.as_slice().iter().any(|t| t.labels.contains(label));
        let left = joined.keep(&|l| needed(l) || term.labels.contains(l))?;
        let right = term.keep(&|l| needed(l) || left.labels.contains(l))?;
        joined = multiply(c, &left, &right, &needed)?;
    }
    let joined = joined.keep(&|label| equation.output.contains(label))?;
    Ok(vec![joined.arranged(&equation.output)?])
}

impl Term {
    /// Takes the diagonal where a label appears twice; leaves out axes of 1 that another operand has
    /// more of.
    fn new(x: &Value, labels: &[usize], sizes: &[usize]) -> OpResult<Self> {
        let strides = strides_of(x.shape());
        let mut axes: Vec<(usize, usize)> = Vec::new();
        for ((&label, &size), &stride) in labels.iter().zip(x.shape()).zip(&strides) {
            if size != sizes[label] {
                continue;
            }
            match axes.iter_mut().find(|(l, _)| *l == label) {
                Some((_, sum)) => *sum += stride,
                None => axes.push((label, stride)),
            }
        }
        let own: Vec<usize> = axes.iter().map(|(label, _)| *label).collect();
        if own.len() == labels.len() {
            return Ok(Self { labels: own, value: x.clone() });
        }
        let shape: Vec<usize> = own.iter().map(|label| sizes[*label]).collect();
        let count: usize = shape.iter().product();
        let rows = strides_of(&shape);
        let places = (0..count).map(|i| -> i64 {
            let place = |((step, size), axis): ((&usize, &usize), &(usize, usize))| i / step % size * axis.1;
            rows.iter().zip(&shape).zip(&axes).map(place).sum::<usize>() as i64
        });
        let indices = Tensor::from_vec(places.collect::<Vec<i64>>(), count, &candle_core::Device::Cpu)?;
        let data = x.data.flatten_all()?.index_select(&indices, 0)?.reshape(shape)?;
        Ok(Self { labels: own, value: Value { dtype: x.dtype, data } })
    }

    /// The value with its axes in the order of `labels`, all of which it has.
    fn arranged(&self, labels: &[usize]) -> OpResult<Value> {
        let order: Option<Vec<usize>> = labels.iter().map(|l| self.labels.iter().position(|own| own == l)).collect();
        let Some(order) = order else { return fail("an axis of the output is in no operand") };
        Ok(Value { dtype: self.value.dtype, data: self.value.data.permute(order)?.contiguous()? })
    }

    /// Sums over all axes but those that `keep` names.
    fn keep(&self, keep: &dyn Fn(&usize) -> bool) -> OpResult<Self> {
        let (kept, summed): (Vec<usize>, Vec<usize>) = self.labels.iter().copied().partition(|l| keep(l));
        if summed.is_empty() {
            return Ok(self.clone());
        }
        let value = self.arranged(&[kept.as_slice(), &summed].concat())?;
        let (shape, length) = (&value.shape()[..kept.len()], value.shape()[kept.len()..].iter().product::<usize>());
        let count: usize = shape.iter().product();
        let dtype = value.dtype;
        let value = match held(&value)? {
            Held::F32 => sum_rows(&value, (shape, count, length), |row: &[f32]| {
                narrow(dtype, row.iter().map(|v| f64::from(*v)).sum::<f64>() as f32)
            })?,
            Held::F64 => sum_rows(&value, (shape, count, length), |row: &[f64]| row.iter().sum())?,
            _ => sum_rows(&value, (shape, count, length), |row: &[i64]| {
                wrap(dtype, row.iter().fold(0, |sum, v| sum.wrapping_add(*v)))
            })?,
        };
        Ok(Self { labels: kept, value })
    }
}

fn sum_rows<T: WithDType + Default>(
    x: &Value,
    (shape, count, length): (&[usize], usize, usize),
    sum: impl Fn(&[T]) -> T,
) -> OpResult<Value> {
    let sums = with::<T, _>(x, |x| (0..count).map(|i| sum(&x[i * length..(i + 1) * length])).collect::<Vec<T>>())?;
    make(x.dtype, sums, shape)
}

/// Joins two terms: axes that both have are summed over unless they are needed later.
fn multiply(c: &Call<'_>, a: &Term, b: &Term, needed: &dyn Fn(&usize) -> bool) -> OpResult<Term> {
    let (shared, rows): (Vec<usize>, Vec<usize>) = a.labels.iter().copied().partition(|l| b.labels.contains(l));
    let (batch, inner): (Vec<usize>, Vec<usize>) = shared.into_iter().partition(|l| needed(l));
    let columns: Vec<usize> = b.labels.iter().copied().filter(|l| !a.labels.contains(l)).collect();
    let x = a.arranged(&[batch.as_slice(), &rows, &inner].concat())?;
    let y = b.arranged(&[batch.as_slice(), &inner, &columns].concat())?;
    let (lead, own) = x.shape().split_at(batch.len());
    let (m, k) = own.split_at(rows.len());
    let n = &y.shape()[batch.len() + inner.len()..];
    let shape = [lead, m, n].concat();
    let total = room::<f64>(&shape)?;
    let [m, k, n] = [m, k, n].map(|s| s.iter().product::<usize>());
    let dtype = x.dtype;
    let value = match held(&x)? {
        Held::F32 => {
            let mut out = vec![0.0_f32; total];
            with2::<f32, f32, _>(&x, &y, |x, y| c.install(|| products(x, y, (m, k, n), &mut out)))?;
            for v in &mut out {
                *v = narrow(dtype, *v);
            }
            make(dtype, out, &shape)?
        }
        Held::F64 => {
            let values = with2::<f64, f64, _>(&x, &y, |x, y| plain(x, y, (m, k, n), total, |sum, a, b| sum + a * b))?;
            make(dtype, values, &shape)?
        }
        _ => {
            let join = |sum: i64, a: i64, b: i64| wrap(dtype, sum.wrapping_add(a.wrapping_mul(b)));
            make(dtype, with2::<i64, i64, _>(&x, &y, |x, y| plain(x, y, (m, k, n), total, join))?, &shape)?
        }
    };
    Ok(Term { labels: [batch, rows, columns].concat(), value })
}

/// One matrix product after another, each on a thread where there are enough of them.
fn products(x: &[f32], y: &[f32], (m, k, n): (usize, usize, usize), out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    if m * k * n <= TINY {
        out.copy_from_slice(&plain(x, y, (m, k, n), out.len(), |sum, a, b| sum + a * b));
        return;
    }
    let count = out.len() / (m * n);
    let one = |i: usize, out: &mut [f32]| {
        let left = Left { data: &x[i * m * k..][..m * k], row_stride: k, column_stride: 1 };
        matmul(left, &y[i * k * n..][..k * n], (m, k, n), out);
    };
    if count >= 2 * threads() && count * m * k * n > 1 << 18 {
        parts(out, m * n, &one);
    } else {
        out.chunks_mut(m * n).enumerate().for_each(|(i, out)| one(i, out));
    }
}

fn plain<T: Copy + Default>(
    x: &[T],
    y: &[T],
    (m, k, n): (usize, usize, usize),
    total: usize,
    join: impl Fn(T, T, T) -> T,
) -> Vec<T> {
    let element = |i: usize| {
        let (matrix, row, column) = (i / (m * n), i / n % m, i % n);
        let left = &x[(matrix * m + row) * k..][..k];
        left.iter().enumerate().fold(T::default(), |sum, (j, a)| join(sum, *a, y[(matrix * k + j) * n + column]))
    };
    (0..total).map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_read_as_numpy_reads_them() {
        let parsed = Equation::parse("bij, bjk -> bik", &[3, 3]).unwrap();
        assert_eq!((parsed.operands, parsed.output), (vec![vec![0, 1, 2], vec![0, 2, 3]], vec![0, 1, 3]));
        // Without an output: the ellipsis, then letters that appear once, in order.
        let parsed = Equation::parse("...zi,...ia", &[4, 3]).unwrap();
        assert_eq!((parsed.operands, parsed.output), (vec![vec![0, 1, 4, 3], vec![1, 3, 2]], vec![0, 1, 2, 4]));
        assert!(Equation::parse("ij,jk->iq", &[2, 2]).is_err());
        assert!(Equation::parse("ij->ii", &[2]).is_err());
        assert!(Equation::parse("ij", &[3]).is_err());
        assert!(Equation::parse("...i->i", &[3]).is_err());
        assert!(Equation::parse("i.j->ij", &[3]).is_err());
    }
}
