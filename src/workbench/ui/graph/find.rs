//! What of a drawing lies in a rectangle or near a point, at the cost of what is found.

use super::geometry::{Point, Rect, distance_to_line};
use super::layout::Drawing;
use super::links::Links;

/// The side of a cell in points, at least; and how many cells a drawing is wide or high, at most.
const CELL: f32 = 256.0;
const CELLS: f32 = 256.0;

/// A drawing in square cells that know which boxes and wires touch them.
#[derive(Debug, Clone)]
pub struct Sheet {
    drawing: Drawing,
    grid: Grid,
    boxes: Links,
    wires: Links,
}

#[derive(Debug, Clone, Copy)]
struct Grid {
    side: f32,
    columns: usize,
    rows: usize,
}

impl Grid {
    /// The cells that a rectangle touches; those at the border stand for all beyond.
    fn cells(self, rect: &Rect) -> impl Iterator<Item = usize> + use<> {
        let at = |value: f32, count: usize| ((value / self.side) as usize).min(count - 1);
        let columns = at(rect.min.x, self.columns)..=at(rect.max.x, self.columns);
        let rows = at(rect.min.y, self.rows)..=at(rect.max.y, self.rows);
        rows.flat_map(move |row| columns.clone().map(move |column| row * self.columns + column))
    }
}

impl Sheet {
    #[must_use]
    pub fn new(drawing: Drawing) -> Self {
        let size = drawing.size;
        let side = CELL.max(size.width.max(size.height) / CELLS);
        let grid = Grid { side, columns: (size.width / side) as usize + 1, rows: (size.height / side) as usize + 1 };
        let mut in_cells = Vec::new();
        for (at, rect) in drawing.boxes.iter().enumerate() {
            in_cells.extend(grid.cells(rect).map(|cell| (cell, at)));
        }
        let boxes = Links::new(grid.columns * grid.rows, in_cells.iter().copied());
        in_cells.clear();
        for (at, route) in drawing.routes.iter().enumerate() {
            for piece in route.windows(2) {
                in_cells.extend(grid.cells(&Rect::spanning(piece[0], piece[1])).map(|cell| (cell, at)));
            }
        }
        let wires = Links::new(grid.columns * grid.rows, in_cells.iter().copied());
        Self { drawing, grid, boxes, wires }
    }

    #[must_use]
    pub fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    /// What is listed in the cells of a rectangle and passes a test, each once, in order.
    fn listed(&self, links: &Links, rect: &Rect, passes: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = self.grid.cells(rect).flat_map(|cell| links.of(cell)).copied().collect();
        found.sort_unstable();
        found.dedup();
        found.retain(|&at| passes(at));
        found
    }

    /// The boxes that touch a rectangle, in order.
    #[must_use]
    pub fn boxes_in(&self, rect: &Rect) -> Vec<usize> {
        self.listed(&self.boxes, rect, |at| self.drawing.boxes[at].touches(rect))
    }

    /// The wires a piece of which, or the frame around that piece, touches a rectangle; in order. Curves that are
    /// drawn in place of slanted pieces stay in those frames.
    #[must_use]
    pub fn wires_in(&self, rect: &Rect) -> Vec<usize> {
        let touches = |at: usize| self.drawing.routes[at].windows(2).any(|p| Rect::spanning(p[0], p[1]).touches(rect));
        self.listed(&self.wires, rect, touches)
    }

    /// The box under a point.
    #[must_use]
    pub fn box_at(&self, at: Point) -> Option<usize> {
        self.boxes_in(&Rect::around(at, 0.0)).first().copied()
    }

    /// The box nearest to a point and how many points away it is; none where there are no boxes.
    #[must_use]
    pub fn nearest_box(&self, at: Point) -> Option<(usize, f32)> {
        let whole = self.drawing.size;
        let far = at.x.abs() + at.y.abs() + whole.width + whole.height;
        let mut reach = self.grid.side * 0.5;
        loop {
            let found = self.boxes_in(&Rect::around(at, reach));
            let near = nearest(found, |b| self.drawing.boxes[b].distance(at));
            match near {
                // In a corner of the square: another may lie nearer beyond its side.
                Some((_, distance)) if distance > reach => reach = distance,
                Some(_) => return near,
                None if reach < far => reach *= 2.0,
                None => return None,
            }
        }
    }

    /// The wire nearest to a point, at most `within` points away, and how far.
    #[must_use]
    pub fn nearest_wire(&self, at: Point, within: f32) -> Option<(usize, f32)> {
        let distance = |wire: usize| {
            let pieces = self.drawing.routes[wire].windows(2);
            pieces.map(|p| distance_to_line(at, p[0], p[1])).fold(f32::INFINITY, f32::min)
        };
        nearest(self.wires_in(&Rect::around(at, within)), distance).filter(|(_, d)| *d <= within)
    }
}

/// The one at the smallest distance, the first among equals.
fn nearest(found: Vec<usize>, distance: impl Fn(usize) -> f32) -> Option<(usize, f32)> {
    found.into_iter().map(|at| (at, distance(at))).min_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::ui::graph::geometry::Size;
    use crate::workbench::ui::graph::layout::draw;

    fn point(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    #[test]
    fn a_pointer_finds_the_box_under_it_and_the_wire_beside_it() {
        let sheet = Sheet::new(draw(&[Size { width: 80.0, height: 32.0 }; 3], &[(0, 1), (1, 2)]));
        let middle = sheet.drawing().boxes[1].center();
        assert_eq!(sheet.box_at(middle), Some(1));
        assert_eq!(sheet.box_at(point(middle.x, middle.y + 20.0)), None);
        assert_eq!(sheet.nearest_box(point(-500.0, 9000.0)).map(|n| n.0), Some(2));
        assert_eq!(sheet.nearest_wire(point(middle.x + 3.0, middle.y - 30.0), 4.0), Some((0, 3.0)));
        assert_eq!(sheet.nearest_wire(point(middle.x + 5.0, middle.y - 30.0), 4.0), None);
    }

    #[test]
    fn an_empty_sheet_has_nothing_near() {
        let sheet = Sheet::new(Drawing::default());
        assert_eq!(sheet.nearest_box(point(3.0, 4.0)), None);
        assert_eq!(sheet.nearest_box(point(f32::NAN, f32::INFINITY)), None);
        assert!(sheet.boxes_in(&Rect::around(point(0.0, 0.0), 1e9)).is_empty());
    }
}
