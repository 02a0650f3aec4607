use baton_merkle::{EMPTY_ROOT, Frontier, FrontierError, Hash, MissingNode, Node, NodeId};
use proptest::prelude::*;

use crate::{
    log::{Log, leaf},
    rfc,
};

#[test]
fn roots_are_those_of_the_recursion_at_every_size() {
    let log = Log::of_size(300);
    for size in 0..=300 {
        assert_eq!(log.root_at(size), rfc::root(&log.leaves[..size as usize]), "{size} leaves");
    }
}

#[test]
fn stored_nodes_are_all_complete_subtrees() {
    let log = Log::of_size(203);
    let mut count = 0;
    for level in 0..8 {
        for index in 0..203 >> level {
            let id = NodeId { level, index };
            let leaves = id.leaves();
            assert_eq!(leaves, index << level..(index + 1) << level);
            let subtree = &log.leaves[leaves.start as usize..leaves.end as usize];
            assert_eq!(log.node(id), Some(rfc::root(subtree)), "{id}");
            count += 1;
        }
    }
    assert_eq!(log.stored.len(), count);
}

#[test]
fn parents_follow_the_leaf_that_completes_them() {
    let appended = Frontier::default().append((0..8).map(leaf));
    let ids: Vec<(u8, u64)> = appended.iter().map(|node| (node.id.level, node.id.index)).collect();
    let expected = [(0, 0), (0, 1), (1, 0), (0, 2), (0, 3), (1, 1), (2, 0), (0, 4), (0, 5), (1, 2), (0, 6), (0, 7)];
    assert_eq!(ids[..12], expected);
    assert_eq!(ids[12..], [(1, 3), (2, 1), (3, 0)]);
}

#[test]
fn empty_frontier_has_the_empty_root() {
    let mut frontier = Frontier::default();
    assert_eq!((frontier.size(), frontier.root()), (0, EMPTY_ROOT));
    assert_eq!(frontier.append([]), []);
    assert_eq!(frontier, Frontier::from_bytes(&[0; 8]).unwrap());
}

#[test]
fn missing_node_is_named() {
    let mut log = Log::of_size(13);
    let lost = NodeId { level: 2, index: 2 };
    log.stored.remove(&lost);
    assert_eq!(Frontier::nodes(13), [NodeId { level: 3, index: 0 }, lost, NodeId::leaf(12)]);
    let missing = Frontier::from_nodes(13, |id| log.node(id)).unwrap_err();
    assert_eq!(missing, FrontierError::Missing(MissingNode(lost)));
    assert_eq!(missing.to_string(), "node 2 of level 2 is not stored");
}

#[test]
fn bytes_of_a_wrong_length_are_refused() {
    let bytes = Log::of_size(13).frontier.to_bytes();
    assert_eq!(bytes.len(), 8 + 3 * 32);
    for length in 0..bytes.len() {
        assert!(matches!(Frontier::from_bytes(&bytes[..length]), Err(FrontierError::Length { .. })), "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(Frontier::from_bytes(&longer), Err(FrontierError::Length { size: 13, expected: 104, actual: 105 }));
    // A size with another number of bits.
    let other_size = [&[0, 0, 0, 0, 0, 0, 0, 15], &bytes[8..]].concat();
    assert_eq!(Frontier::from_bytes(&other_size), Err(FrontierError::Length { size: 15, expected: 136, actual: 104 }));
}

#[test]
fn sizes_beyond_a_bigint_are_refused() {
    let largest = i64::MAX as u64;
    let bytes = |size: u64, hashes: usize| [size.to_be_bytes().as_slice(), &vec![7; 32 * hashes]].concat();
    let mut frontier = Frontier::from_bytes(&bytes(largest, 63)).unwrap();
    assert_eq!(Frontier::from_bytes(&bytes(largest + 1, 1)), Err(FrontierError::TooLarge(largest + 1)));
    assert_eq!(Frontier::from_nodes(largest + 1, |_| Some([7; 32])), Err(FrontierError::TooLarge(largest + 1)));
    // The next leaf completes all levels.
    let completed = frontier.append([leaf(0)]);
    assert_eq!(completed.len(), 64);
    assert_eq!(completed[63], Node { id: NodeId { level: 63, index: 0 }, hash: frontier.root() });
    assert_eq!(completed[63].id.leaves(), 0..1 << 63);
}

#[test]
fn ids_outside_every_tree_have_no_leaves() {
    for (level, index) in [(64, 0), (255, 1), (63, 1), (1, u64::MAX), (0, u64::MAX)] {
        assert!(NodeId { level, index }.leaves().is_empty(), "{level} {index}");
    }
    assert_eq!(NodeId::leaf(u64::MAX - 1).leaves(), u64::MAX - 1..u64::MAX);
}

proptest! {
    #[test]
    fn batches_give_the_same_nodes(batches in prop::collection::vec(0usize..40, 0..12)) {
        let leaves: Vec<Hash> = (0..batches.iter().sum::<usize>() as u64).map(leaf).collect();
        let mut at_once = Frontier::default();
        let expected = at_once.append(leaves.iter().copied());

        let (mut frontier, mut nodes, mut rest) = (Frontier::default(), Vec::new(), leaves.as_slice());
        for batch in batches {
            let (now, later) = rest.split_at(batch);
            nodes.extend(frontier.append(now.iter().copied()));
            // As the next transaction reads it.
            frontier = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
            rest = later;
        }
        prop_assert_eq!(&nodes, &expected);
        prop_assert_eq!(&frontier, &at_once);
        prop_assert_eq!(frontier.root(), rfc::root(&leaves));
        prop_assert_eq!(nodes.len(), 2 * leaves.len() - leaves.len().count_ones() as usize);
    }

    #[test]
    fn a_frontier_at_an_earlier_size_is_the_one_of_then(size in 0u64..300, later in 0u64..100) {
        let log = Log::of_size(size + later);
        prop_assert_eq!(log.frontier_at(size), Log::of_size(size).frontier);
    }

    #[test]
    fn bytes_that_are_read_are_written_again(size in 0..=i64::MAX as u64, hashes in any::<[[u8; 32]; 63]>()) {
        let bytes = [&size.to_be_bytes(), hashes[..size.count_ones() as usize].as_flattened()].concat();
        let frontier = Frontier::from_bytes(&bytes).unwrap();
        prop_assert_eq!(frontier.size(), size);
        prop_assert_eq!(frontier.to_bytes(), bytes);
    }
}
