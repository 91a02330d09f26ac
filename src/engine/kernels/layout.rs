//! Turning matrices around, and with them images between rows of channels and planes of channels.

/// Edge of the squares that are turned one by one, so that both sides stay in cache lines.
const SQUARE: usize = 16;

/// `count` matrices `[rows, columns]` one after another, each to `[columns, rows]`.
///
/// # Panics
/// When `x` is shorter than the matrices.
#[must_use]
pub fn transpose<T: Copy + Default>(x: &[T], count: usize, rows: usize, columns: usize) -> Vec<T> {
    let size = rows * columns;
    let mut out = vec![T::default(); count * size];
    for (to, from) in out.chunks_exact_mut(size.max(1)).zip(x[..count * size].chunks_exact(size.max(1))) {
        for r0 in (0..rows).step_by(SQUARE) {
            let r1 = (r0 + SQUARE).min(rows);
            for c0 in (0..columns).step_by(SQUARE) {
                for c in c0..(c0 + SQUARE).min(columns) {
                    let line = &mut to[c * rows + r0..c * rows + r1];
                    for (r, v) in (r0..).zip(line) {
                        *v = from[r * columns + c];
                    }
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_each_matrix() {
        let (count, rows, columns) = (2, 19, 37);
        let x: Vec<i64> = (0..count * rows * columns).map(|v| v as i64).collect();
        let y = transpose(&x, count, rows, columns);
        for m in 0..count {
            for r in 0..rows {
                for c in 0..columns {
                    assert_eq!(y[(m * columns + c) * rows + r], x[(m * rows + r) * columns + c]);
                }
            }
        }
        assert!(transpose::<i64>(&[], 3, 0, 4).is_empty());
    }
}
