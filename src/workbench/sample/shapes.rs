//! The ten shapes of the sample data as signed distances, in a frame of their own: about one unit
//! from the middle to the edge, y pointing down. Only `+ − × ÷ √` are used, which every machine
//! rounds alike, so that the same seed draws the same pixels everywhere.

/// What a person sees where the network says a number.
pub const CLASS_NAMES: [&str; 10] =
    ["circle", "square", "triangle", "pentagon", "star", "cross", "arrow", "heart", "crescent", "zigzag"];

type Point = [f32; 2];

const SQUARE: [Point; 4] = [[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]];
const TRIANGLE: [Point; 3] = [[0.0, -1.0], [1.0, 0.8], [-1.0, 0.8]];
const PENTAGON: [Point; 5] = [[0.0, -1.0], [0.951, -0.309], [0.588, 0.809], [-0.588, 0.809], [-0.951, -0.309]];
const STAR: [Point; 10] = [
    [0.0, -1.1],
    [0.259, -0.356],
    [1.046, -0.34],
    [0.418, 0.136],
    [0.647, 0.89],
    [0.0, 0.44],
    [-0.647, 0.89],
    [-0.418, 0.136],
    [-1.046, -0.34],
    [-0.259, -0.356],
];
const CROSS: [Point; 12] = [
    [-0.32, -1.0],
    [0.32, -1.0],
    [0.32, -0.32],
    [1.0, -0.32],
    [1.0, 0.32],
    [0.32, 0.32],
    [0.32, 1.0],
    [-0.32, 1.0],
    [-0.32, 0.32],
    [-1.0, 0.32],
    [-1.0, -0.32],
    [-0.32, -0.32],
];
const ARROW: [Point; 7] = [[0.0, -1.05], [0.9, -0.05], [0.35, -0.05], [0.35, 1.0], [-0.35, 1.0], [-0.35, -0.05], [-0.9, -0.05]];
const HEART: [Point; 14] = [
    [0.0, 1.0],
    [-0.55, 0.5],
    [-0.95, 0.02],
    [-1.0, -0.4],
    [-0.82, -0.72],
    [-0.5, -0.83],
    [-0.2, -0.7],
    [0.0, -0.4],
    [0.2, -0.7],
    [0.5, -0.83],
    [0.82, -0.72],
    [1.0, -0.4],
    [0.95, 0.02],
    [0.55, 0.5],
];
const ZIGZAG: [Point; 5] = [[-1.0, 0.5], [-0.5, -0.5], [0.0, 0.5], [0.5, -0.5], [1.0, 0.5]];

/// A shape's edge: the two ways of describing one that the ten classes need.
enum Edge {
    /// Negative inside.
    Closed(f32),
    /// Distance to a line without an inside: it is always drawn as a stroke.
    Open(f32),
}

/// How the shape is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pen {
    Filled,
    /// Half the stroke's width, in units of the shape.
    Outline(f32),
}

/// Signed distance from `p` to the ink of a class, in units of the shape: negative under ink.
#[must_use]
pub(super) fn ink_distance(class: usize, pen: Pen, p: Point) -> f32 {
    const OPEN_STROKE: f32 = 0.16;
    match (edge(class, p), pen) {
        (Edge::Closed(d), Pen::Filled) => d,
        (Edge::Closed(d), Pen::Outline(half)) => d.abs() - half,
        (Edge::Open(d), Pen::Filled) => d - OPEN_STROKE,
        (Edge::Open(d), Pen::Outline(half)) => d - half,
    }
}

fn edge(class: usize, p: Point) -> Edge {
    let closed = match class {
        0 => length(p) - 0.92,
        1 => polygon(&SQUARE, p),
        2 => polygon(&TRIANGLE, p),
        3 => polygon(&PENTAGON, p),
        4 => polygon(&STAR, p),
        5 => polygon(&CROSS, p),
        6 => polygon(&ARROW, p),
        7 => polygon(&HEART, p),
        8 => (length([p[0] + 0.1, p[1]]) - 1.0).max(0.82 - length([p[0] - 0.42, p[1]])),
        _ => return Edge::Open(polyline(&ZIGZAG, p)),
    };
    Edge::Closed(closed)
}

fn length(p: Point) -> f32 {
    (p[0] * p[0] + p[1] * p[1]).sqrt()
}

/// Distance from `p` to the segment from `a` to `b`.
#[must_use]
pub(super) fn segment(a: Point, b: Point, p: Point) -> f32 {
    let (along, from) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let squared = (along[0] * along[0] + along[1] * along[1]).max(f32::MIN_POSITIVE);
    let t = ((from[0] * along[0] + from[1] * along[1]) / squared).clamp(0.0, 1.0);
    length([from[0] - along[0] * t, from[1] - along[1] * t])
}

fn polyline(points: &[Point], p: Point) -> f32 {
    points.windows(2).map(|w| segment(w[0], w[1], p)).fold(f32::INFINITY, f32::min)
}

/// Distance to the border of a polygon, negative where a ray from `p` crosses it an odd number of times.
fn polygon(points: &[Point], p: Point) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut is_inside = false;
    for (i, &a) in points.iter().enumerate() {
        let b = points[(i + 1) % points.len()];
        nearest = nearest.min(segment(a, b, p));
        if (a[1] > p[1]) != (b[1] > p[1]) && p[0] < a[0] + (b[0] - a[0]) * (p[1] - a[1]) / (b[1] - a[1]) {
            is_inside = !is_inside;
        }
    }
    if is_inside { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_the_right_sign() {
        for class in [0, 1, 2, 3, 4, 5, 6, 7] {
            assert!(ink_distance(class, Pen::Filled, [0.0, 0.0]) < 0.0, "{}", CLASS_NAMES[class]);
        }
        for (class, name) in CLASS_NAMES.iter().enumerate() {
            assert!(ink_distance(class, Pen::Filled, [3.0, 0.0]) > 1.0, "{name}");
        }
        assert!(ink_distance(8, Pen::Filled, [-0.8, 0.0]) < 0.0);
        assert!(ink_distance(8, Pen::Filled, [0.5, 0.0]) > 0.0);
        assert!(ink_distance(1, Pen::Outline(0.1), [0.0, 0.0]) > 0.0);
        assert!((segment([0.0, 0.0], [2.0, 0.0], [1.0, 3.0]) - 3.0).abs() < 1e-6);
    }
}
