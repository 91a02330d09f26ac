//! The path that a node's name spells.

/// Parts of a path that count, the outer ones: a name from a stranger's file may be anything.
const DEEPEST: usize = 16;

/// The parts of a name before its last one: `/layer1/layer1.0/conv1/Conv` lies in layer1, 0, conv1;
/// `model.layers.0.up` in model, layers, 0. Exporters repeat the outer path in the inner part (`layer1/layer1.0`):
/// it counts once. Of a fused node's names, joined by `;`, the first counts.
pub(super) fn path(name: &str) -> Vec<&str> {
    let name = name.split(';').next().unwrap_or(name);
    let mut parts = Vec::new();
    let mut before = "";
    for step in name.split('/').filter(|s| !s.is_empty()) {
        let repeated = step.strip_prefix(before).and_then(|rest| rest.strip_prefix('.'));
        let own = repeated.filter(|_| !before.is_empty()).unwrap_or(step);
        parts.extend(own.split('.').filter(|p| !p.is_empty()));
        before = step;
    }
    parts.pop();
    parts.truncate(DEEPEST);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_exporters() {
        assert_eq!(path("/layer1/layer1.0/conv1/Conv"), ["layer1", "0", "conv1"]);
        assert_eq!(path("layer1.0.conv1"), ["layer1", "0"]);
        assert_eq!(path("model.layers.0.mlp.up_proj"), ["model", "layers", "0", "mlp"]);
        assert_eq!(path("net/block/Conv2D;net/block/BiasAdd"), ["net", "block"]);
        assert_eq!(path("layer10/layer1.0/Conv"), ["layer10", "layer1", "0"]);
    }

    #[test]
    fn names_that_say_nothing() {
        for name in ["", "Conv_12", "/", "...", "/Conv", "./."] {
            assert!(path(name).is_empty(), "{name}");
        }
    }
}
