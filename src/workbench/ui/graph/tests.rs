//! What holds for every drawing, tried on networks that nobody drew by hand.

use super::blocks::{BOXES_AT_START, Blocks};
use super::find::Sheet;
use super::fold::{Shown, fold};
use super::geometry::{Point, Rect, Size};
use super::layout::{Drawing, GRID, draw};
use std::collections::BTreeSet;

/// A linear congruential generator (Knuth's constants): the same networks on every machine.
pub(super) struct Lcg(pub(super) u64);

impl Lcg {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

struct Network {
    names: Vec<String>,
    sizes: Vec<Size>,
    wires: Vec<(usize, usize)>,
}

/// A few towers of nodes with skips near and far, wires twice, loops, nodes alone, and names of several kinds.
fn network(seed: u64, count: usize) -> Network {
    let mut lcg = Lcg(seed);
    let reach = [2, 5, 40, count][lcg.below(4)];
    let mut wires = Vec::new();
    for node in 1..count {
        match lcg.below(12) {
            0 => {}
            1 => wires.extend([(node, node), (node - 1, node), (node - 1, node)]),
            2..5 => {
                wires.push((node - 1, node));
                wires.push((node.saturating_sub(1 + lcg.below(reach)), node));
            }
            5 => wires.push((node.saturating_sub(1 + lcg.below(3)), node)),
            _ => wires.push((node - 1, node)),
        }
    }
    let side = |lcg: &mut Lcg, most| lcg.below(most) as f32 + 1.0;
    let sizes = (0..count).map(|_| Size { width: side(&mut lcg, 180), height: side(&mut lcg, 60) }).collect();
    let length = 3 + lcg.below(12);
    let kind = lcg.below(4);
    let names = (0..count).map(|node| match kind {
        0 => String::new(),
        1 => format!("model.layers.{}.op{node}", node / length),
        2 => format!("/l{}/l{}.{}/op{node}", node / 50, node / 50, node / length),
        // Paths that take turns.
        _ => format!("a{}.b{}.op{node}", lcg.below(3), lcg.below(4)),
    });
    Network { names: names.collect(), sizes, wires }
}

fn networks() -> impl Iterator<Item = Network> {
    (0..60).map(|seed| network(seed, 2 + (seed as usize * 7) % 200))
}

fn inner(rect: &Rect) -> Rect {
    let Rect { min, max } = *rect;
    Rect { min: Point { x: min.x + 0.5, y: min.y + 0.5 }, max: Point { x: max.x - 0.5, y: max.y - 0.5 } }
}

#[test]
fn no_two_boxes_overlap_and_no_wire_runs_through_one() {
    for Network { sizes, wires, .. } in networks() {
        let Drawing { boxes, routes, size } = draw(&sizes, &wires);
        for (at, rect) in boxes.iter().enumerate() {
            assert!(boxes[..at].iter().all(|other| !other.touches(rect)), "box {at}");
            assert!(rect.min.x >= 0.0 && rect.min.y >= 0.0 && rect.max.x <= size.width && rect.max.y <= size.height);
            assert!(rect.width() >= sizes[at].width && rect.height() >= sizes[at].height);
            assert!([rect.min.x, rect.min.y, rect.max.x, rect.max.y].iter().all(|v| v % GRID == 0.0));
            for piece in routes.iter().flat_map(|route| route.windows(2)) {
                assert!(!Rect::spanning(piece[0], piece[1]).touches(&inner(rect)), "a wire through box {at}");
            }
        }
    }
}

#[test]
fn wires_run_down_from_border_to_border() {
    for Network { sizes, wires, .. } in networks() {
        let drawing = draw(&sizes, &wires);
        assert_eq!(drawing.routes.len(), wires.len());
        for (&(from, to), route) in wires.iter().zip(&drawing.routes) {
            let ends = (route.first(), route.last());
            let (Some(first), Some(last)) = ends else {
                assert_eq!(from, to, "only a loop has no route");
                continue;
            };
            let (upper, lower) = (drawing.boxes[from], drawing.boxes[to]);
            assert!(upper.max.y < lower.min.y);
            assert_eq!((*first, first.y), (Point { x: upper.center().x, y: first.y }, upper.max.y));
            assert_eq!((*last, last.y), (Point { x: lower.center().x, y: last.y }, lower.min.y));
            assert!(route.windows(2).all(|p| p[0].y < p[1].y), "{route:?}");
        }
    }
}

#[test]
fn the_same_network_is_drawn_the_same() {
    for Network { sizes, wires, .. } in networks() {
        let mut again = wires.clone();
        again.reverse();
        let (one, other) = (draw(&sizes, &wires), draw(&sizes, &again));
        assert_eq!((&one.boxes, one.size), (&other.boxes, other.size));
        assert!(one.routes.iter().eq(other.routes.iter().rev()));
    }
}

#[test]
fn so_many_long_wires_that_some_run_aside_still_avoid_boxes() {
    let count = 500;
    let mut lcg = Lcg(7);
    let mut wires: Vec<(usize, usize)> = (1..count).map(|i| (i - 1, i)).collect();
    wires.extend((0..300).map(|_| (lcg.below(count), lcg.below(count))).filter(|(a, b)| a < b));
    let drawing = draw(&vec![Size { width: 60.0, height: 30.0 }; count], &wires);
    let right = drawing.boxes.iter().map(|b| b.max.x).fold(0.0, f32::max);
    assert!(drawing.size.width > right, "none runs aside");
    for rect in drawing.boxes.iter().map(inner) {
        let mut pieces = drawing.routes.iter().flat_map(|route| route.windows(2));
        assert!(pieces.all(|piece| !Rect::spanning(piece[0], piece[1]).touches(&rect)));
    }
}

#[test]
fn long_chains_are_straight_and_odd_input_is_harmless() {
    let wires: Vec<_> = (1..10_000).map(|i| (i - 1, i)).collect();
    let drawing = draw(&vec![Size { width: 50.0, height: 20.0 }; 10_000], &wires);
    let x = drawing.boxes[0].center().x;
    assert!(drawing.boxes.iter().all(|b| b.center().x == x) && drawing.routes.iter().all(|r| r.len() == 2));
    assert_eq!(draw(&[], &[(0, 1)]), Drawing { routes: vec![Vec::new()], ..Drawing::default() });
    let odd = [f32::NAN, f32::INFINITY, -5.0, 1e30].map(|v| Size { width: v, height: v });
    let drawing = draw(&odd, &[(1, 0), (0, 1), (3, 2), (2, 9)]);
    assert!(drawing.boxes.iter().all(|b| b.width() > 0.0 && b.width().is_finite()));
    let mut up = drawing.routes[1].clone();
    up.reverse();
    assert_eq!(drawing.routes[0], up);
    assert!(drawing.routes[3].is_empty());
}

#[test]
fn parts_that_are_not_connected_stand_side_by_side() {
    let drawing = draw(&[Size { width: 64.0, height: 32.0 }; 4], &[(0, 1), (2, 3)]);
    assert_eq!(drawing.boxes[0].min.y, drawing.boxes[2].min.y);
    assert!(drawing.boxes[0].max.x < drawing.boxes[2].min.x);
    let alone = draw(&[Size { width: 64.0, height: 32.0 }; 400], &[]);
    assert!(alone.size.width < 4.0 * alone.size.height && alone.size.height < 4.0 * alone.size.width);
}

#[test]
fn whichever_blocks_are_closed_there_is_no_cycle() {
    for (seed, Network { names, wires, .. }) in networks().enumerate() {
        let blocks = Blocks::propose(&names, &wires);
        let mut nodes = blocks.order.clone();
        nodes.sort_unstable();
        assert!(nodes.iter().copied().eq(0..names.len()), "each node once");
        for (at, block) in blocks.blocks.iter().enumerate() {
            assert!(block.nodes.len() >= 2);
            if let Some(parent) = block.parent {
                let around = &blocks.blocks[parent].nodes;
                assert!(parent < at && around.start <= block.nodes.start && block.nodes.end <= around.end);
                assert!(block.nodes.len() < around.len());
            }
        }
        let mut lcg = Lcg(seed as u64);
        for share in [1, 2, 4] {
            let closed: BTreeSet<usize> = (0..blocks.blocks.len()).filter(|_| lcg.below(share) == 0).collect();
            let folded = fold(&blocks, &closed, &wires);
            assert!(folded.wires.iter().all(|(a, b)| a < b), "boxes in topological order");
            for (node, &at) in folded.box_of.iter().enumerate() {
                match folded.boxes[at] {
                    Shown::Node(shown) => assert_eq!(shown, node),
                    Shown::Block(block) => assert!(closed.contains(&block) && blocks.nodes(block).contains(&node)),
                }
            }
            let carried: usize = folded.carries.iter().map(Vec::len).sum();
            assert_eq!(carried, wires.iter().filter(|&&(a, b)| folded.box_of[a] != folded.box_of[b]).count());
        }
    }
}

#[test]
fn large_networks_start_with_few_boxes() {
    for seed in 0..30 {
        let Network { names, wires, .. } = network(seed, 300 + 60 * seed as usize);
        let blocks = Blocks::propose(&names, &wires);
        let folded = fold(&blocks, &blocks.closed_at_start(), &wires);
        assert!((5..=BOXES_AT_START).contains(&folded.boxes.len()), "seed {seed}: {} boxes", folded.boxes.len());
    }
}

#[test]
fn a_sheet_finds_what_a_search_of_everything_finds() {
    for (seed, Network { sizes, wires, .. }) in networks().enumerate() {
        let sheet = Sheet::new(draw(&sizes, &wires));
        let drawing = sheet.drawing();
        let mut lcg = Lcg(seed as u64);
        for _ in 0..20 {
            let mut some = || Point { x: lcg.below(1500) as f32 - 200.0, y: lcg.below(5000) as f32 - 200.0 };
            let (at, rect) = (some(), Rect::spanning(some(), some()));
            let all = 0..sizes.len();
            assert!(sheet.boxes_in(&rect).into_iter().eq(all.clone().filter(|&b| drawing.boxes[b].touches(&rect))));
            let near = all.map(|b| drawing.boxes[b].distance(at)).fold(f32::INFINITY, f32::min);
            assert_eq!(sheet.nearest_box(at).map(|n| n.1), Some(near));
            let touches = |w: &usize| drawing.routes[*w].windows(2).any(|p| Rect::spanning(p[0], p[1]).touches(&rect));
            assert!(sheet.wires_in(&rect).into_iter().eq((0..wires.len()).filter(touches)));
        }
    }
}
