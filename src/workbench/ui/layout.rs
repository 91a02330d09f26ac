//! Which panels there are and where they lie. Layouts are part of the session, never of a project.

use super::text::tr;
use eframe::egui::Id;
use egui_tiles::{Container, Linear, LinearDir, SimplificationOptions, TileId, Tiles, Tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Workspace {
    Load,
    Configure,
    Graph,
    Compare,
    Export,
}

impl Workspace {
    pub const ALL: [Self; 5] = [Self::Load, Self::Configure, Self::Graph, Self::Compare, Self::Export];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => tr!("workspace-load"),
            Self::Configure => tr!("workspace-configure"),
            Self::Graph => tr!("workspace-graph"),
            Self::Compare => tr!("workspace-compare"),
            Self::Export => tr!("workspace-export"),
        }
    }
}

/// A panel. One file each in `panels/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pane {
    Model,
    Data,
    Grid,
    Inspector,
    Corrections,
    Importance,
    Weights,
    Activations,
    Recipe,
    Tradeoff,
    Points,
    Jobs,
    Log,
    Preflight,
    Recipes,
    LayerErrors,
    Changed,
    Confusion,
    Export,
    Checks,
    Runtimes,
    Graph,
}

impl Pane {
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Model => tr!("pane-model"),
            Self::Data => tr!("pane-data"),
            Self::Grid => tr!("pane-grid"),
            Self::Inspector => tr!("pane-inspector"),
            Self::Corrections => tr!("pane-corrections"),
            Self::Importance => tr!("pane-importance"),
            Self::Weights => tr!("pane-weights"),
            Self::Activations => tr!("pane-activations"),
            Self::Recipe => tr!("pane-recipe"),
            Self::Tradeoff => tr!("pane-tradeoff"),
            Self::Points => tr!("pane-points"),
            Self::Jobs => tr!("pane-jobs"),
            Self::Log => tr!("pane-log"),
            Self::Preflight => tr!("pane-preflight"),
            Self::Recipes => tr!("pane-recipes"),
            Self::LayerErrors => tr!("pane-layer-errors"),
            Self::Changed => tr!("pane-changed"),
            Self::Confusion => tr!("pane-confusion"),
            Self::Export => tr!("pane-export"),
            Self::Checks => tr!("pane-checks"),
            Self::Runtimes => tr!("pane-runtimes"),
            Self::Graph => tr!("pane-graph"),
        }
    }
}

/// The layout that a workspace starts with.
#[must_use]
pub fn default_tree(workspace: Workspace) -> Tree<Pane> {
    let mut tiles = Tiles::default();
    let root = match workspace {
        Workspace::Load => {
            let model = tabs(&mut tiles, &[Pane::Model]);
            let data = tabs(&mut tiles, &[Pane::Data]);
            row(&mut tiles, &[(model, 0.42), (data, 0.58)])
        }
        Workspace::Configure => {
            let grid = tabs(&mut tiles, &[Pane::Grid, Pane::Recipe]);
            let inspector = tabs(&mut tiles, &[Pane::Inspector, Pane::Corrections, Pane::Importance]);
            let chart = tabs(&mut tiles, &[Pane::Tradeoff, Pane::Points, Pane::Weights, Pane::Activations]);
            let jobs = tabs(&mut tiles, &[Pane::Jobs, Pane::Log, Pane::Preflight]);
            let below = row(&mut tiles, &[(chart, 0.68), (jobs, 0.32)]);
            let left = column(&mut tiles, &[(grid, 0.62), (below, 0.38)]);
            row(&mut tiles, &[(left, 0.70), (inspector, 0.30)])
        }
        Workspace::Graph => {
            let graph = tabs(&mut tiles, &[Pane::Graph]);
            let inspector = tabs(&mut tiles, &[Pane::Inspector, Pane::Corrections, Pane::Importance]);
            row(&mut tiles, &[(graph, 0.72), (inspector, 0.28)])
        }
        Workspace::Compare => {
            let recipes = tabs(&mut tiles, &[Pane::Recipes]);
            let chart = tabs(&mut tiles, &[Pane::Tradeoff, Pane::Points]);
            let errors = tabs(&mut tiles, &[Pane::LayerErrors]);
            let changed = tabs(&mut tiles, &[Pane::Changed, Pane::Confusion, Pane::Jobs, Pane::Log]);
            let above = row(&mut tiles, &[(recipes, 0.6), (chart, 0.4)]);
            let below = row(&mut tiles, &[(errors, 0.5), (changed, 0.5)]);
            column(&mut tiles, &[(above, 0.4), (below, 0.6)])
        }
        Workspace::Export => {
            let export = tabs(&mut tiles, &[Pane::Export]);
            let checks = tabs(&mut tiles, &[Pane::Runtimes, Pane::Checks]);
            let jobs = tabs(&mut tiles, &[Pane::Jobs, Pane::Log]);
            let right = column(&mut tiles, &[(checks, 0.6), (jobs, 0.4)]);
            row(&mut tiles, &[(export, 0.5), (right, 0.5)])
        }
    };
    Tree::new(Id::unique(("workspace", workspace)), root, tiles)
}

fn tabs(tiles: &mut Tiles<Pane>, panes: &[Pane]) -> TileId {
    let children = panes.iter().map(|&p| tiles.insert_pane(p)).collect();
    tiles.insert_tab_tile(children)
}

fn row(tiles: &mut Tiles<Pane>, parts: &[(TileId, f32)]) -> TileId {
    linear(tiles, LinearDir::Horizontal, parts)
}

fn column(tiles: &mut Tiles<Pane>, parts: &[(TileId, f32)]) -> TileId {
    linear(tiles, LinearDir::Vertical, parts)
}

fn linear(tiles: &mut Tiles<Pane>, dir: LinearDir, parts: &[(TileId, f32)]) -> TileId {
    let mut linear = Linear::new(dir, parts.iter().map(|p| p.0).collect());
    for (tile, share) in parts {
        linear.shares.set_share(*tile, *share);
    }
    tiles.insert_new(egui_tiles::Tile::Container(Container::Linear(linear)))
}

/// All panels of a layout.
#[must_use]
pub fn panes(tree: &Tree<Pane>) -> BTreeSet<Pane> {
    let pane = |tile: &egui_tiles::Tile<Pane>| if let egui_tiles::Tile::Pane(pane) = tile { Some(*pane) } else { None };
    tree.tiles.iter().filter_map(|(_, tile)| pane(tile)).collect()
}

/// Whether a panel is in front.
#[must_use]
pub fn is_shown(tree: &Tree<Pane>, pane: Pane) -> bool {
    let is_pane = |id: &TileId| matches!(tree.tiles.get(*id), Some(egui_tiles::Tile::Pane(p)) if *p == pane);
    tree.active_tiles().iter().any(is_pane)
}

/// Every pane keeps its tab, so that it can be dragged and has a title.
#[must_use]
pub fn simplification() -> SimplificationOptions {
    SimplificationOptions { all_panes_must_have_tabs: true, ..SimplificationOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_survive_the_session_file() {
        for workspace in Workspace::ALL {
            let tree = default_tree(workspace);
            let text = ron::to_string(&tree).unwrap();
            let back: Tree<Pane> = ron::from_str(&text).unwrap();
            assert_eq!(tree, back, "{}", workspace.name());
        }
    }
}
