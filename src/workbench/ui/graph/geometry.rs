//! Points, sizes and rectangles, in points; y grows downward.

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Size {
    pub width: f32,
    pub height: f32,
}

/// What lies between two corners, its border included.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    pub min: Point,
    pub max: Point,
}

impl Rect {
    /// The smallest rectangle around two points.
    #[must_use]
    pub fn spanning(a: Point, b: Point) -> Self {
        Self { min: Point { x: a.x.min(b.x), y: a.y.min(b.y) }, max: Point { x: a.x.max(b.x), y: a.y.max(b.y) } }
    }

    /// All that lies within `reach` points of a point, left, right, above and below.
    #[must_use]
    pub fn around(at: Point, reach: f32) -> Self {
        Self { min: Point { x: at.x - reach, y: at.y - reach }, max: Point { x: at.x + reach, y: at.y + reach } }
    }

    pub fn width(&self) -> f32 {
        self.max.x - self.min.x
    }

    pub fn height(&self) -> f32 {
        self.max.y - self.min.y
    }

    pub fn center(&self) -> Point {
        Point { x: (self.min.x + self.max.x) * 0.5, y: (self.min.y + self.max.y) * 0.5 }
    }

    pub fn contains(&self, at: Point) -> bool {
        self.min.x <= at.x && at.x <= self.max.x && self.min.y <= at.y && at.y <= self.max.y
    }

    /// Whether the two share a point; a common border is enough.
    pub fn touches(&self, other: &Rect) -> bool {
        self.min.x <= other.max.x && other.min.x <= self.max.x && self.min.y <= other.max.y && other.min.y <= self.max.y
    }

    /// Points from a point to the nearest place inside: 0 where it lies inside.
    pub fn distance(&self, at: Point) -> f32 {
        let dx = (self.min.x - at.x).max(at.x - self.max.x).max(0.0);
        let dy = (self.min.y - at.y).max(at.y - self.max.y).max(0.0);
        dx.hypot(dy)
    }
}

/// Points from a point to the nearest place of the line from `a` to `b`.
#[must_use]
pub fn distance_to_line(at: Point, a: Point, b: Point) -> f32 {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length2 = dx * dx + dy * dy;
    let along = if length2 > 0.0 { (((at.x - a.x) * dx + (at.y - a.y) * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
    (at.x - (a.x + along * dx)).hypot(at.y - (a.y + along * dy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_to_a_line_end_at_its_ends() {
        let (a, b) = (Point { x: 0.0, y: 0.0 }, Point { x: 10.0, y: 0.0 });
        assert_eq!(distance_to_line(Point { x: 5.0, y: 3.0 }, a, b), 3.0);
        assert_eq!(distance_to_line(Point { x: 13.0, y: 4.0 }, a, b), 5.0);
        assert_eq!(distance_to_line(Point { x: 3.0, y: 4.0 }, a, a), 5.0);
    }

    #[test]
    fn a_rectangle_knows_what_is_inside_and_how_far_the_rest_is() {
        let rect = Rect::spanning(Point { x: 8.0, y: 0.0 }, Point { x: 0.0, y: 4.0 });
        assert_eq!((rect.width(), rect.height()), (8.0, 4.0));
        assert!(rect.contains(Point { x: 8.0, y: 4.0 }) && !rect.contains(Point { x: 8.1, y: 4.0 }));
        assert_eq!(rect.distance(Point { x: 11.0, y: 8.0 }), 5.0);
        assert_eq!(rect.distance(rect.center()), 0.0);
    }
}
