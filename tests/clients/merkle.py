"""Compares Baton's Merkle trees with those of `pymerkle`, which knows nothing of Baton.

Standard input is one JSON object, hashes and entries in hexadecimal:

    {"leaves": ["656e747279", ...],
     "pairs": [{"old": 3, "new": 7, "index": 2, "old_root": "...", "new_root": "...",
                "inclusion": ["...", ...], "consistency": ["...", ...]}, ...]}

For each pair, `inclusion` proves the leaf `index` in the tree of `new` leaves, and `consistency` that this tree begins
with the one of `old` leaves. Both sizes are at least 1. The script fails at the first pair that pymerkle does not agree
with. Otherwise it prints pymerkle's own proofs in the form of RFC 9162, for Baton to verify: one JSON array of
`{"inclusion": [...], "consistency": [...]}`.
"""

import json
import sys

from pymerkle import ConsistencyProof, InclusionProof, InmemoryTree, verify_consistency, verify_inclusion


def decode(hashes):
    return [bytes.fromhex(text) for text in hashes]


def check(holds, what, pair):
    # Not an assertion, which Python may be told to skip.
    if not holds:
        sys.exit(f"{what} of {pair['old']} and {pair['new']} leaves, index {pair['index']}: pymerkle disagrees")


def compare_inclusion(tree, pair, root):
    """pymerkle's proofs have the leaf before the siblings, and count leaves from 1."""
    size, index = pair["new"], pair["index"] + 1
    own = tree.prove_inclusion(index, size)
    path = [tree.get_leaf(index)] + decode(pair["inclusion"])
    check(own.path == path, "inclusion proof", pair)
    given = InclusionProof("sha256", True, size, index, own.rule, path)
    verify_inclusion(path[0], root, given, index=index, size=size)
    return own.path[1:]


def in_rfc_form(tree, own):
    """RFC 9162 proves the leaves after the older tree by the root of their subtree, once. pymerkle splits that subtree
    further, down to a leaf, and has its parts before all else: in `subset`, those before the first 1.

    Returns the rule, the subset and the path of the RFC's form, with the node that ends the older tree first."""
    folded = own.path[0]
    end = own.subset.index(1)
    for part in own.path[1:end]:
        folded = tree.hash_pair(folded, part)
    rule = [0] + own.rule[end:]
    return rule, [1, 0] + own.subset[end + 1 :], [own.path[end], folded] + own.path[end + 1 :]


def compare_consistency(tree, pair, old_root, new_root):
    old, new = pair["old"], pair["new"]
    own = tree.prove_consistency(old, new)
    # Its own proof, of Baton's roots.
    verify_consistency(old_root, new_root, own, prior_size=old, later_size=new)
    given = decode(pair["consistency"])
    if old == new:
        check(given == [], "consistency proof", pair)
        return []
    rule, subset, path = in_rfc_form(tree, own)
    # A complete older tree is that node, which the verifier knows, so the RFC leaves it out.
    known = [old_root] if old & (old - 1) == 0 else []
    check(path == known + given, "consistency proof", pair)
    # Baton's proof, by pymerkle's computation.
    proof = ConsistencyProof("sha256", True, new, old, rule, subset, known + given)
    check(proof.retrieve_prior_state() == old_root, "older root by the proof", pair)
    check(proof.compute_root() == new_root, "newer root by the proof", pair)
    return path[len(known) :]


work = json.load(sys.stdin)
tree = InmemoryTree(algorithm="sha256")
for entry in decode(work["leaves"]):
    tree.append_entry(entry)

proofs = []
for pair in work["pairs"]:
    old_root, new_root = bytes.fromhex(pair["old_root"]), bytes.fromhex(pair["new_root"])
    check(tree.get_root(pair["old"]) == old_root, "older root", pair)
    check(tree.get_root(pair["new"]) == new_root, "newer root", pair)
    inclusion = compare_inclusion(tree, pair, new_root)
    consistency = compare_consistency(tree, pair, old_root, new_root)
    proofs.append({name: [digest.hex() for digest in proof]
                   for name, proof in (("inclusion", inclusion), ("consistency", consistency))})
print(json.dumps(proofs))
