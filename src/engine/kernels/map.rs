//! Functions applied element by element.

use super::{parts, threads};

/// Elements that one task takes: below it, sharing the work costs more than it saves.
const TILE: usize = 1 << 15;

/// `f` of every element, in the calling thread's rayon pool.
pub fn map<T: Copy + Sync, R: Send + Copy + Default>(x: &[T], f: impl Fn(T) -> R + Sync) -> Vec<R> {
    if x.len() <= TILE || threads() == 1 {
        return x.iter().map(|v| f(*v)).collect();
    }
    let mut out = vec![R::default(); x.len()];
    parts(&mut out, TILE, &|i, o| {
        for (o, x) in o.iter_mut().zip(&x[i * TILE..]) {
            *o = f(*x);
        }
    });
    out
}

/// `f` of every pair of elements of two slices of one length.
pub fn map2<T: Copy + Sync, R: Send + Copy + Default>(x: &[T], y: &[T], f: impl Fn(T, T) -> R + Sync) -> Vec<R> {
    if x.len() <= TILE || threads() == 1 {
        return x.iter().zip(y).map(|(a, b)| f(*a, *b)).collect();
    }
    let mut out = vec![R::default(); x.len()];
    parts(&mut out, TILE, &|i, o| {
        for (o, (x, y)) in o.iter_mut().zip(x[i * TILE..].iter().zip(&y[i * TILE..])) {
            *o = f(*x, *y);
        }
    });
    out
}

/// `f` of every pair of elements of two tensors of shape `shape`, given by their strides (0 along
/// axes that are repeated). Runs of axes that both walk evenly are taken as one.
pub fn broadcast<T: Copy, R>(
    x: &[T],
    x_strides: &[usize],
    y: &[T],
    y_strides: &[usize],
    shape: &[usize],
    f: impl Fn(T, T) -> R,
) -> Vec<R> {
    let total: usize = shape.iter().product();
    let mut out = Vec::with_capacity(total);
    if total == 0 {
        return out;
    }
    let axes = merge(shape, x_strides, y_strides);
    let Some((&(inner, xs, ys), outer)) = axes.split_last() else {
        out.push(f(x[0], y[0]));
        return out;
    };
    let mut at = vec![0_usize; outer.len()];
    loop {
        let x0: usize = at.iter().zip(outer).map(|(i, a)| i * a.1).sum();
        let y0: usize = at.iter().zip(outer).map(|(i, a)| i * a.2).sum();
        match (xs, ys) {
            (1, 1) => out.extend(x[x0..x0 + inner].iter().zip(&y[y0..y0 + inner]).map(|(a, b)| f(*a, *b))),
            (1, 0) => out.extend(x[x0..x0 + inner].iter().map(|a| f(*a, y[y0]))),
            (0, 1) => out.extend(y[y0..y0 + inner].iter().map(|b| f(x[x0], *b))),
            _ => out.extend((0..inner).map(|i| f(x[x0 + i * xs], y[y0 + i * ys]))),
        }
        let Some(axis) = (0..outer.len()).rev().find(|&i| at[i] + 1 < outer[i].0) else { return out };
        at[axis] += 1;
        at[axis + 1..].fill(0);
    }
}

/// (length, stride of x, stride of y) per axis, axes of length 1 left out, neighbors joined.
fn merge(shape: &[usize], x: &[usize], y: &[usize]) -> Vec<(usize, usize, usize)> {
    let mut axes: Vec<(usize, usize, usize)> = Vec::new();
    for ((&n, &xs), &ys) in shape.iter().zip(x).zip(y).filter(|((n, _), _)| **n != 1) {
        match axes.last_mut() {
            Some(last) if last.1 == xs * n && last.2 == ys * n => *last = (last.0 * n, xs, ys),
            _ => axes.push((n, xs, ys)),
        }
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasts_as_numpy_does() {
        let x: Vec<i64> = (0..6).collect();
        let y = [10, 20];
        // [3, 2] + [2], then [3, 2] + [2, 1, 1]
        assert_eq!(broadcast(&x, &[2, 1], &y, &[0, 1], &[3, 2], |a, b| a + b), [10, 21, 12, 23, 14, 25]);
        assert_eq!(
            broadcast(&x, &[0, 2, 1], &y, &[1, 0, 0], &[2, 3, 2], |a, b| a + b),
            [10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25]
        );
        assert_eq!(broadcast(&[1], &[], &[2], &[], &[], |a, b| a + b), [3]);
    }

    #[test]
    fn long_slices_map_as_short_ones() {
        let x: Vec<i64> = (0..100_000).collect();
        assert!(map(&x, |v| v + 1).iter().zip(&x).all(|(a, b)| *a == b + 1));
        assert!(map2(&x, &x, |a, b| a + b).iter().zip(&x).all(|(a, b)| *a == 2 * b));
    }
}
