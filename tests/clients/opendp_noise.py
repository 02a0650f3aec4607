"""Compares noise with that of OpenDP's discrete Laplace and discrete Gaussian, which share no code with ours.

Reads a JSON array from stdin: {"distribution": "laplace" or "gaussian", "scale": number, "draws": [integer, ...]}. For each
it draws as many values from OpenDP and prints the p-value of a two-sample chi-square test, the probability that two samples
of one distribution differ as much.

OpenDP's draws cannot be repeated, so equal distributions fail by chance. The threshold makes that as improbable as
FALSE_ALARM for all tests of a run together.
"""

import collections
import json
import math
import sys

import opendp.prelude as dp

FALSE_ALARM = 1e-6
# The least number of draws of both samples in a bin.
LEAST_IN_BIN = 40

MAKERS = {"laplace": dp.m.make_laplace, "gaussian": dp.m.make_gaussian}
METRICS = {"laplace": dp.l1_distance(T=int), "gaussian": dp.l2_distance(T=float)}


def opendp_draws(distribution, scale, number):
    space = dp.vector_domain(dp.atom_domain(T=int)), METRICS[distribution]
    return MAKERS[distribution](*space, scale=scale)([0] * number)


def bins_of(ours, theirs):
    """The draws of both in intervals of neighbouring values, an odd number of intervals."""
    ours, theirs = collections.Counter(ours), collections.Counter(theirs)
    bins, open_bin = [], [0, 0]
    enough = max(LEAST_IN_BIN, (ours.total() + theirs.total()) // 200)
    for value in sorted(ours | theirs):
        open_bin[0] += ours[value]
        open_bin[1] += theirs[value]
        if sum(open_bin) >= enough:
            bins.append(open_bin)
            open_bin = [0, 0]
    bins.append(open_bin)
    while len(bins) > 1 and (sum(bins[-1]) < enough or len(bins) % 2 == 0):
        our, their = bins.pop()
        bins[-1] = [bins[-1][0] + our, bins[-1][1] + their]
    return bins


def p_value(ours, theirs):
    """The two-sample chi-square test for samples of one size."""
    assert len(ours) == len(theirs)
    bins = bins_of(ours, theirs)
    assert len(bins) >= 3, "too few bins for a test"
    statistic = sum((our - their) ** 2 / (our + their) for our, their in bins)
    # With an even number of degrees of freedom, 2 m, this is the probability of fewer than m events of a Poisson process.
    half, m = statistic / 2, (len(bins) - 1) // 2
    if half == 0:
        return 1.0
    return math.fsum(math.exp(k * math.log(half) - half - math.lgamma(k + 1)) for k in range(m))


dp.enable_features("contrib")
samples = json.load(sys.stdin)
failed = False
for sample in samples:
    theirs = opendp_draws(sample["distribution"], sample["scale"], len(sample["draws"]))
    p = p_value(sample["draws"], theirs)
    print(f"{sample['distribution']} of scale {sample['scale']:.4f}: p = {p:.3g}")
    failed |= p < FALSE_ALARM / len(samples)
sys.exit(failed)
