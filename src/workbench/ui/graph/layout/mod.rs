//! A layered drawing, top to bottom, after Sugiyama, Tagawa and Toda (1981): ranks, order on each rank, places, wires.
//!
//! | module | step |
//! |---|---|
//! | [`ranks`] | how far down each box lies |
//! | [`layered`] | bends for wires that span several ranks |
//! | [`order`] | who stands beside whom on a rank |
//! | [`place`] | how far to the right |
//! | [`part`] | how far down in points, and the wires, of one connected part |
//!
//! The same input gives the same drawing. Nothing recurses: a chain may be as long as it likes.

mod layered;
mod order;
mod part;
mod place;
mod ranks;

use super::geometry::{Point, Rect, Size};
use super::links::{Links, clean};
use part::Part;

/// All borders, centers and bends lie on multiples of so many points.
pub const GRID: f32 = 4.0;
/// Grid units between parts that are not connected.
const BETWEEN_PARTS: i64 = 12;
/// Boxes are drawn at most this many points wide or high.
const LARGEST: f32 = 20_000.0;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drawing {
    /// Of each node; a little larger than asked for, so that its borders lie on the grid.
    pub boxes: Vec<Rect>,
    /// Of each wire as it was given, from the border of its first box to that of its second. Beside boxes it runs
    /// straight down; it moves aside only between two ranks, so that such a piece can be drawn as a curve that is
    /// vertical at both ends. Empty for a loop at one node and for a wire to a node that does not exist.
    pub routes: Vec<Vec<Point>>,
    /// From the top left corner at (0, 0).
    pub size: Size,
}

/// Draws boxes of these sizes and the wires (from, to) between them. Nodes are in topological order; a wire against
/// it runs upward.
#[must_use]
pub fn draw(sizes: &[Size], wires: &[(usize, usize)]) -> Drawing {
    let halves: Vec<(i64, i64)> = sizes.iter().map(|s| (half_units(s.width), half_units(s.height))).collect();
    let kept = clean(sizes.len(), wires);
    let parts = split(sizes.len(), &kept);
    let mut own = vec![0; sizes.len()];
    let mut laid: Vec<Part> = Vec::with_capacity(parts.len());
    for (nodes, part_wires) in &parts {
        for (at, &node) in nodes.iter().enumerate() {
            own[node] = at;
        }
        let local: Vec<(usize, usize)> = part_wires.iter().map(|&w| (own[kept[w].0], own[kept[w].1])).collect();
        let part_halves: Vec<(i64, i64)> = nodes.iter().map(|&n| halves[n]).collect();
        laid.push(part::lay(&part_halves, &local));
    }
    let (corners, size) = shelve(&laid);
    let mut drawing =
        Drawing { boxes: vec![Rect::default(); sizes.len()], routes: Vec::new(), size: Size { width: size.x, height: size.y } };
    let mut routes = vec![Vec::new(); kept.len()];
    for (((nodes, part_wires), part), corner) in parts.iter().zip(laid).zip(corners) {
        for (&node, center) in nodes.iter().zip(part.centers) {
            let ((x, y), (w, h)) = ((center.0 + corner.0, center.1 + corner.1), halves[node]);
            drawing.boxes[node] = Rect { min: points((x - w, y - h)), max: points((x + w, y + h)) };
        }
        for (&wire, route) in part_wires.iter().zip(part.routes) {
            routes[wire] = route.into_iter().map(|(x, y)| points((x + corner.0, y + corner.1))).collect();
        }
    }
    drawing.routes = wires.iter().map(|&(from, to)| route_of(&kept, &routes, from, to)).collect();
    drawing
}

/// The route of a wire as it was given: turned around where it runs against the order.
fn route_of(kept: &[(usize, usize)], routes: &[Vec<Point>], from: usize, to: usize) -> Vec<Point> {
    let found = kept.binary_search(&(from.min(to), from.max(to)));
    let mut route = found.ok().and_then(|at| routes.get(at)).cloned().unwrap_or_default();
    if from > to {
        route.reverse();
    }
    route
}

/// Half of a length in points, in whole grid units; what is no length is the smallest one.
fn half_units(length: f32) -> i64 {
    let length = if length.is_finite() { length.clamp(0.0, LARGEST) } else { 0.0 };
    ((length / (2.0 * GRID)).ceil() as i64).max(1)
}

fn points((x, y): (i64, i64)) -> Point {
    Point { x: x as f32 * GRID, y: y as f32 * GRID }
}

/// The connected parts: their nodes and wires, both in order; the part with the first node first.
fn split(count: usize, wires: &[(usize, usize)]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let around = Links::new(count, wires.iter().flat_map(|&(a, b)| [(a, b), (b, a)]));
    let mut of = vec![usize::MAX; count];
    let mut parts: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    let mut stack = Vec::new();
    for start in 0..count {
        if of[start] != usize::MAX {
            continue;
        }
        of[start] = parts.len();
        stack.push(start);
        while let Some(node) = stack.pop() {
            for &other in around.of(node) {
                if of[other] == usize::MAX {
                    of[other] = parts.len();
                    stack.push(other);
                }
            }
        }
        parts.push((Vec::new(), Vec::new()));
    }
    for (node, &part) in of.iter().enumerate() {
        parts[part].0.push(node);
    }
    for (wire, &(from, _)) in wires.iter().enumerate() {
        parts[of[from]].1.push(wire);
    }
    parts
}

/// Parts side by side, in rows that make the whole about as wide as it is high. Their corners in grid units, and the
/// size of the whole in points.
fn shelve(parts: &[Part]) -> (Vec<(i64, i64)>, Point) {
    let area: i64 = parts.iter().map(|p| (p.width + BETWEEN_PARTS) * (p.height + BETWEEN_PARTS)).sum();
    let longest = parts.iter().map(|p| p.width.max(p.height)).max().unwrap_or(0);
    let limit = longest.max(((area as f64) * 1.5).sqrt() as i64);
    let (mut x, mut y, mut row, mut right) = (0, 0, 0, 0);
    let mut corners = Vec::with_capacity(parts.len());
    for part in parts {
        if x > 0 && x + part.width > limit {
            (x, y, row) = (0, y + row + BETWEEN_PARTS, 0);
        }
        corners.push((x, y));
        right = right.max(x + part.width);
        row = row.max(part.height);
        x += part.width + BETWEEN_PARTS;
    }
    (corners, points((right, y + row)))
}
