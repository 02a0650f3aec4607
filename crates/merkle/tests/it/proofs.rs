use std::sync::LazyLock;

use baton_merkle::{
    EMPTY_ROOT, Hash, MissingNode, NodeId, ProofPlan, ProofRangeError, VerifyError, node_hash, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;

use crate::{
    log::{Log, flip, leaf},
    rfc,
};

const SIZE: u64 = 5000;
/// A log from whose nodes the proofs of all earlier sizes are made.
static LOG: LazyLock<Log> = LazyLock::new(|| Log::of_size(SIZE));

#[test]
fn proofs_are_those_of_the_recursion() {
    let leaves = &LOG.leaves;
    for size in 1..=40 {
        for part in 0..size {
            let tree = &leaves[..size as usize];
            assert_eq!(LOG.inclusion(part, size), rfc::inclusion(part as usize, tree), "leaf {part} of {size}");
            let old = part + 1;
            assert_eq!(LOG.consistency(old, size), rfc::consistency(old as usize, tree), "{old} and {size} leaves");
        }
    }
}

/// The roots of all trees up to 300 leaves.
fn roots() -> Vec<Hash> {
    (0..=300).map(|size| rfc::root(&LOG.leaves[..size])).collect()
}

#[test]
fn every_inclusion_proof_is_accepted() {
    for (size, root) in (0..).zip(roots()) {
        for index in 0..size {
            let proof = LOG.inclusion(index, size);
            let verified = verify_inclusion(LOG.leaves[index as usize], index, size, &proof, root);
            assert_eq!(verified, Ok(()), "leaf {index} of {size}");
        }
    }
}

#[test]
fn every_consistency_proof_is_accepted() {
    let roots = roots();
    for (new, new_root) in (0..).zip(&roots) {
        for (old, old_root) in (0..=new).zip(&roots) {
            let verified = verify_consistency(old, *old_root, new, *new_root, &LOG.consistency(old, new));
            assert_eq!(verified, Ok(()), "{old} and {new} leaves");
        }
    }
}

#[test]
fn equal_and_empty_trees_need_no_proof() {
    let (old, new) = (LOG.root_at(7), LOG.root_at(8));
    assert_eq!(LOG.consistency(7, 7), Vec::<Hash>::new());
    assert_eq!(LOG.consistency(0, 8), Vec::<Hash>::new());
    assert_eq!(verify_consistency(7, old, 7, old, &[]), Ok(()));
    assert_eq!(verify_consistency(0, EMPTY_ROOT, 8, new, &[]), Ok(()));
    assert_eq!(verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, &[]), Ok(()));

    assert_eq!(verify_consistency(7, old, 7, new, &[]), Err(VerifyError::RootMismatch));
    assert_eq!(verify_consistency(0, old, 8, new, &[]), Err(VerifyError::OldRootMismatch));
    assert_eq!(verify_consistency(0, old, 0, old, &[]), Err(VerifyError::OldRootMismatch));
    assert_eq!(verify_consistency(7, old, 7, old, &[old]), Err(VerifyError::ProofTooLong));
    assert_eq!(verify_consistency(0, EMPTY_ROOT, 8, new, &[old]), Err(VerifyError::ProofTooLong));
    assert_eq!(verify_consistency(7, old, 8, new, &[]), Err(VerifyError::ProofTooShort));
    assert_eq!(verify_consistency(4, LOG.root_at(4), 8, new, &[]), Err(VerifyError::ProofTooShort));
}

/// Hashes that lead to the root are not enough: there must be as many as the sizes need.
#[test]
fn proofs_for_other_sizes_are_refused() {
    let root = LOG.root_at(2);
    assert_eq!(verify_inclusion(leaf(1), 1, 2, &[leaf(0)], root), Ok(()));
    assert_eq!(verify_inclusion(leaf(1), 0, 1, &[leaf(0)], root), Err(VerifyError::ProofTooLong));
    assert_eq!(verify_inclusion(leaf(1), 1, 4, &[leaf(0)], root), Err(VerifyError::ProofTooShort));
    // The older tree of 6 leaves ends with the node of 4 and 5.
    let (old_root, new_root, proof) = (LOG.root_at(6), LOG.root_at(8), LOG.consistency(6, 8));
    let verify = |old, new| verify_consistency(old, old_root, new, new_root, &proof);
    assert_eq!((proof.len(), verify(6, 8)), (3, Ok(())));
    assert_eq!(verify(6, 16), Err(VerifyError::ProofTooShort));
    assert_eq!(verify(3, 5), Err(VerifyError::ProofTooShort));
    assert_eq!(verify(1, 2), Err(VerifyError::ProofTooLong));
    // A root does not determine the size: these sizes have proofs of the same shape. So each size must come from the
    // signed checkpoint of its root.
    assert_eq!(verify(3, 4), Ok(()));
}

#[test]
fn impossible_ranges_are_refused() {
    let outside = |index, size| Err(ProofRangeError::IndexOutOfRange { index, size });
    assert_eq!(ProofPlan::inclusion(8, 8), outside(8, 8));
    assert_eq!(ProofPlan::inclusion(0, 0), outside(0, 0));
    assert_eq!(ProofPlan::inclusion(u64::MAX, u64::MAX), outside(u64::MAX, u64::MAX));
    assert_eq!(ProofPlan::consistency(9, 8), Err(ProofRangeError::SizesReversed { old: 9, new: 8 }));

    let (leaf, root) = (leaf(0), LOG.root_at(1));
    let outside = |index, size| Err(VerifyError::IndexOutOfRange { index, size });
    assert_eq!(verify_inclusion(leaf, 1, 1, &[], root), outside(1, 1));
    assert_eq!(verify_inclusion(leaf, 0, 0, &[], EMPTY_ROOT), outside(0, 0));
    assert_eq!(verify_inclusion(leaf, 0, 1, &[], root), Ok(()));
    let reversed = Err(VerifyError::SizesReversed { old: 2, new: 1 });
    assert_eq!(verify_consistency(2, root, 1, root, &[]), reversed);
}

#[test]
fn missing_node_is_named() {
    let plan = ProofPlan::inclusion(0, 7).unwrap();
    let ids = [(0, 1), (1, 1), (1, 2), (0, 6)].map(|(level, index)| NodeId { level, index });
    assert_eq!(plan.nodes(), ids);
    for lost in ids {
        assert_eq!(plan.assemble(|id| LOG.node(id).filter(|_| id != lost)), Err(MissingNode(lost)));
    }
}

/// All entries are the same, so the hash of a node depends on its level only.
#[test]
fn proofs_of_huge_trees_are_accepted() {
    let levels: Vec<Hash> =
        std::iter::successors(Some(leaf(0)), |hash| Some(node_hash(*hash, *hash))).take(64).collect();
    let root = |size: u64| {
        let set = (0..64).filter(|level| size >> level & 1 == 1).map(|level| levels[level]);
        set.reduce(|right, left| node_hash(left, right)).unwrap_or(EMPTY_ROOT)
    };
    let powers = [40, 53, 62, 63].map(|level| 1u64 << level);
    let sizes: Vec<u64> =
        powers.into_iter().flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX - 1, u64::MAX]).collect();
    let lookup = |id: NodeId| levels.get(usize::from(id.level)).copied();
    for &new in &sizes {
        for part in [0, 1, new / 3, new / 2, new - 2, new - 1].into_iter().chain(sizes.iter().copied()) {
            if part >= new {
                continue;
            }
            let plan = ProofPlan::inclusion(part, new).unwrap();
            assert_distinct_nodes(&plan, new);
            let proof = plan.assemble(lookup).unwrap();
            assert_eq!(verify_inclusion(leaf(0), part, new, &proof, root(new)), Ok(()), "leaf {part} of {new}");

            let plan = ProofPlan::consistency(part, new).unwrap();
            assert_distinct_nodes(&plan, new);
            let proof = plan.assemble(lookup).unwrap();
            let verified = verify_consistency(part, root(part), new, root(new), &proof);
            assert_eq!(verified, Ok(()), "{part} and {new} leaves");
        }
    }
}

fn assert_distinct_nodes(plan: &ProofPlan, size: u64) {
    let mut ids = plan.nodes().to_vec();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), plan.nodes().len());
    assert!(ids.len() <= 128);
    assert!(ids.iter().all(|id| !id.leaves().is_empty() && id.leaves().end <= size), "{ids:?} of {size}");
}

/// A size, and a smaller number: an index, or the size of an older tree that is not empty.
fn parts() -> impl Strategy<Value = (u64, u64)> {
    (2..=SIZE).prop_flat_map(|size| (1..size, Just(size)))
}

/// Proofs that differ from `proof` in their number of hashes or their order.
fn rearranged(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut variants = vec![[proof, &[[0; 32]]].concat(), [&[[0; 32]], proof].concat()];
    for at in 0..proof.len() {
        let (mut shorter, mut longer, mut rotated) = (proof.to_vec(), proof.to_vec(), proof.to_vec());
        shorter.remove(at);
        longer.insert(at, proof[at]);
        rotated.rotate_left(at);
        variants.extend([shorter, longer]);
        variants.extend((at > 0).then_some(rotated));
    }
    variants
}

proptest! {
    // The recursion hashes the whole tree.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn proofs_of_random_sizes_are_accepted((part, size) in parts()) {
        let root = rfc::root(&LOG.leaves[..size as usize]);
        let proof = LOG.inclusion(part, size);
        prop_assert_eq!(verify_inclusion(leaf(part), part, size, &proof, root), Ok(()));
        let old_root = rfc::root(&LOG.leaves[..part as usize]);
        prop_assert_eq!(verify_consistency(part, old_root, size, root, &LOG.consistency(part, size)), Ok(()));
    }
}

proptest! {
    #[test]
    fn changed_inclusion_is_refused((index, size) in parts(), bit in 0usize..256, index_bit in 0u32..64) {
        let (root, proof) = (LOG.root_at(size), LOG.inclusion(index, size));
        let verify = |leaf, index, proof: &[Hash], root| verify_inclusion(leaf, index, size, proof, root);
        prop_assert_eq!(verify(leaf(index), index, &proof, root), Ok(()));

        let mismatch = Err(VerifyError::RootMismatch);
        prop_assert_eq!(verify(flip(leaf(index), bit), index, &proof, root), mismatch);
        prop_assert_eq!(verify(leaf(index), index, &proof, flip(root, bit)), mismatch);
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] = flip(changed[at], bit);
            prop_assert_eq!(verify(leaf(index), index, &changed, root), mismatch);
        }
        prop_assert!(verify(leaf(index), index ^ (1 << index_bit), &proof, root).is_err());
        for other in [index - 1, index + 1] {
            prop_assert!(verify(leaf(index), other, &proof, root).is_err());
            prop_assert!(verify(leaf(other), index, &proof, root).is_err());
        }
        for proof in rearranged(&proof) {
            prop_assert!(verify(leaf(index), index, &proof, root).is_err());
        }
    }

    #[test]
    fn changed_consistency_is_refused((old, new) in parts(), bit in 0usize..256) {
        let (old_root, new_root, proof) = (LOG.root_at(old), LOG.root_at(new), LOG.consistency(old, new));
        let verify = |old_root, new_root, proof: &[Hash]| verify_consistency(old, old_root, new, new_root, proof);
        prop_assert_eq!(verify(old_root, new_root, &proof), Ok(()));

        prop_assert!(verify(flip(old_root, bit), new_root, &proof).is_err());
        prop_assert_eq!(verify(old_root, flip(new_root, bit), &proof), Err(VerifyError::RootMismatch));
        prop_assert!(verify(new_root, old_root, &proof).is_err());
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] = flip(changed[at], bit);
            prop_assert!(verify(old_root, new_root, &changed).is_err());
        }
        for proof in rearranged(&proof) {
            prop_assert!(verify(old_root, new_root, &proof).is_err());
        }
    }

    /// A log whose entry `changed` is another one is not a continuation, unless the entry is new.
    #[test]
    fn rewritten_log_is_refused((old, new) in (2u64..200).prop_flat_map(|new| (1..new, Just(new))), changed in 0u64..200) {
        let changed = changed % new;
        let mut leaves = LOG.leaves[..new as usize].to_vec();
        leaves[changed as usize] = leaf(new + 1);
        let other = Log::new(leaves);
        let verified =
            verify_consistency(old, LOG.root_at(old), new, other.root_at(new), &other.consistency(old, new));
        prop_assert_eq!(verified.is_ok(), changed >= old);
    }

    #[test]
    fn arbitrary_input_is_refused(
        (a, b) in (number(), number()),
        (leaf, root) in any::<(Hash, Hash)>(),
        proof in prop::collection::vec(any::<Hash>(), 0..130),
    ) {
        prop_assert!(verify_inclusion(leaf, a, b, &proof, root).is_err());
        prop_assert!(verify_consistency(a, leaf, b, root, &proof).is_err());
    }
}

/// Any number, and those near powers of two more often.
fn number() -> impl Strategy<Value = u64> {
    let near_power = (0u32..64, 0u64..3).prop_map(|(level, more)| (1u64 << level).wrapping_sub(1).wrapping_add(more));
    prop_oneof![any::<u64>(), near_power, Just(u64::MAX), 0u64..10]
}
