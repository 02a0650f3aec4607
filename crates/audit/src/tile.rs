//! Tiles: rows of at most 256 hashes of a level of the tree. A tile of level `n` has hashes of the tree's level `8 * n`.

use baton_merkle::{Hash, NodeId, node_hash};

/// Levels of the tree in a tile.
pub(crate) const HEIGHT: u8 = 8;
/// Hashes of a full tile.
pub(crate) const WIDTH: u64 = 1 << HEIGHT;
/// Bytes of a hash.
pub(crate) const HASH_BYTES: usize = 32;

/// The name of a tile in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TileId {
    pub(crate) level: u8,
    pub(crate) index: u64,
}

/// The tile that has the hashes below a node, and which of them.
pub(crate) fn tile_of(node: NodeId) -> (TileId, std::ops::Range<usize>) {
    let height = node.level % HEIGHT;
    let first = node.index << height;
    let at = usize::try_from(first % WIDTH).unwrap_or_default();
    (TileId { level: node.level / HEIGHT, index: first / WIDTH }, at..at + (1 << height))
}

/// The hash of a node from the bytes of its tile; `None` if the tile has not all of it.
pub(crate) fn hash_in_tile(tile: &[u8], at: std::ops::Range<usize>) -> Option<Hash> {
    let (hashes, rest) = tile.as_chunks::<HASH_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let mut level: Vec<Hash> = hashes.get(at)?.to_vec();
    while level.len() > 1 {
        level = level.chunks(2).map(|two| two.get(1).map_or(two[0], |&right| node_hash(two[0], right))).collect();
    }
    level.first().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use baton_merkle::{Frontier, leaf_hash};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every node of a tree is found in the tiles of its nodes.
        #[test]
        fn every_stored_node_is_found(size in 1u64..3000) {
            let leaves = (0..size).map(|n| leaf_hash(&n.to_be_bytes()));
            let nodes = Frontier::default().append(leaves);
            let mut tiles: BTreeMap<TileId, Vec<u8>> = BTreeMap::new();
            for node in nodes.iter().filter(|node| node.id.level.is_multiple_of(HEIGHT)) {
                let (id, at) = tile_of(node.id);
                let tile = tiles.entry(id).or_default();
                prop_assert_eq!(tile.len(), at.start * HASH_BYTES, "in order");
                tile.extend(node.hash);
            }
            for node in nodes {
                let (id, at) = tile_of(node.id);
                prop_assert_eq!(tiles.get(&id).and_then(|tile| hash_in_tile(tile, at)), Some(node.hash));
            }
        }
    }

    #[test]
    fn an_incomplete_tile_has_no_hash() {
        assert_eq!(hash_in_tile(&[0; 64], 0..4), None);
        assert_eq!(hash_in_tile(&[0; 33], 0..1), None);
        assert_eq!(hash_in_tile(&[7; 32], 0..1), Some([7; 32]));
    }
}
