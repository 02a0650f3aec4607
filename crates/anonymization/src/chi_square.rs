//! Pearson's chi-square test of draws against exact probabilities.

use std::collections::HashMap;

/// The least expected number of draws in a bin: below five, the statistic does not follow its distribution.
const LEAST_EXPECTED: f64 = 10.0;

/// The probability that draws of the distribution deviate from it as much as `draws` do. `probability` is that of one value.
pub(crate) fn p_value(draws: &[i128], probability: impl Fn(i128) -> f64) -> f64 {
    let mut observed: HashMap<i128, u64> = HashMap::new();
    for draw in draws {
        *observed.entry(*draw).or_default() += 1;
    }
    let (low, high) = (*draws.iter().min().unwrap(), *draws.iter().max().unwrap());
    // Neighbouring values share a bin until it is large enough. The last bin has all that is outside, on both sides.
    let mut bins: Vec<(f64, f64)> = Vec::new();
    let mut bin = (0.0, 0.0);
    let mut expected_inside = 0.0;
    // With at most 501 bins, so that those of a wide distribution are large.
    let enough = LEAST_EXPECTED.max(draws.len() as f64 / 500.0);
    for value in low..=high {
        let expected = probability(value) * draws.len() as f64;
        expected_inside += expected;
        bin.0 += expected;
        bin.1 += observed.get(&value).copied().unwrap_or_default() as f64;
        if bin.0 >= enough {
            bins.push(std::mem::take(&mut bin));
        }
    }
    let outside = (draws.len() as f64 - expected_inside).max(0.0);
    match bins.last_mut() {
        Some(last) => *last = (last.0 + bin.0 + outside, last.1 + bin.1),
        None => bins.push((bin.0 + outside, bin.1)),
    }
    // An odd number of bins, so that the degrees of freedom are even.
    if bins.len().is_multiple_of(2) {
        let (expected, observed) = bins.pop().unwrap();
        let last = bins.last_mut().unwrap();
        *last = (last.0 + expected, last.1 + observed);
    }
    assert!(bins.len() > 2, "too few bins for a test");
    let statistic: f64 = bins.iter().map(|(expected, observed)| (observed - expected).powi(2) / expected).sum();
    survival(statistic, bins.len() - 1)
}

/// The probability that a chi-square variable with an even number of degrees of freedom exceeds `statistic`: that of fewer
/// than `degrees / 2` events of a Poisson process in `statistic / 2`.
fn survival(statistic: f64, degrees: usize) -> f64 {
    let half = statistic / 2.0;
    // In logarithms: the first terms of a large statistic are too small for a number.
    let mut logarithm = -half;
    let mut sum = logarithm.exp();
    for events in 1..degrees / 2 {
        logarithm += (half / events as f64).ln();
        sum += logarithm.exp();
    }
    sum
}

#[test]
fn survival_has_known_values() {
    // From R: pchisq(q, df, lower.tail = FALSE).
    for (statistic, degrees, expected) in [(5.991_464_5, 2, 0.05), (18.307_038, 10, 0.05), (149.449_25, 100, 0.001)] {
        let p: f64 = survival(statistic, degrees);
        assert!((p - expected).abs() < 1e-6, "{p}, not {expected}");
    }
}
