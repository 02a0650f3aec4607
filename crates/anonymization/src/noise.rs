//! Exact samplers for differential privacy: the discrete Laplace and the discrete Gaussian distribution.
//!
//! The algorithms are those of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", 2020
//! (<https://arxiv.org/abs/2004.00010>). Parameters are rational numbers and all arithmetic is on integers of any size, so the
//! distributions are exact. Noise from floating-point numbers is not: its low bits reveal the value that it hides (Mironov,
//! "On Significance of the Least Significant Bits for Differential Privacy", 2012).
//!
//! The crate `opendp` has the same samplers. It is not used: it accepts no generator, so draws cannot be repeated in a test
//! and do not come from `baton_runtime::random`; its secure generator is OpenSSL's, which `deny.toml` bans; and version 0.16
//! depends on nalgebra 0.19 (RUSTSEC-2021-0070) and rand 0.7 (RUSTSEC-2026-0097). A test compares our draws with its draws.
//!
//! The running time of a draw depends on its result, as it does in `opendp`. So callers publish a whole release at once, and
//! do not let others measure single draws.

use num_bigint::{BigInt, BigUint};
use rand::CryptoRng;

use crate::budget::Epsilon;

/// Scale of a distribution of noise: sensitivity divided by epsilon, as an exact fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    numerator: BigUint,
    denominator: BigUint,
}

impl Scale {
    /// The scale for a value that one person changes by at most `sensitivity`, in the unit of the value. For several values
    /// it is their joint sensitivity: the L1 norm for [`laplace`], the L2 norm, rounded up, for [`gaussian`].
    pub fn new(sensitivity: u64, epsilon: Epsilon) -> Self {
        Self { numerator: BigUint::from(sensitivity) * 1000u32, denominator: BigUint::from(epsilon.thousandths()) }
    }
}

/// `value` plus discrete Laplace noise: the probability of noise `x` is proportional to `exp(-|x| / scale)`. With the scale of
/// a sensitivity and an epsilon, the result has epsilon-differential privacy.
///
/// `rng` is to be seeded by the operating system, such as `StdRng::from_seed(baton_runtime::random::bytes())`. A sum outside
/// the range of `i128` saturates. A scale of 0, for values that nobody changes, adds nothing.
pub fn laplace(value: i128, scale: &Scale, rng: &mut impl CryptoRng) -> i128 {
    if scale.numerator == BigUint::ZERO {
        return value;
    }
    saturated(BigInt::from(value) + discrete_laplace(&scale.numerator, &scale.denominator, rng))
}

/// `value` plus discrete Gaussian noise: the probability of noise `x` is proportional to `exp(-x² / (2 scale²))`. With the
/// scale of a sensitivity and an epsilon, the result has epsilon²/2-concentrated differential privacy (theorem 4 of the
/// paper), which is weaker than epsilon-differential privacy: it is not covered by [`spend`](crate::budget::spend).
///
/// `rng`, saturation and a scale of 0 are as with [`laplace`].
pub fn gaussian(value: i128, scale: &Scale, rng: &mut impl CryptoRng) -> i128 {
    if scale.numerator == BigUint::ZERO {
        return value;
    }
    saturated(BigInt::from(value) + discrete_gaussian(&scale.numerator, &scale.denominator, rng))
}

/// Saturation is computed from the noisy value alone, so it costs no privacy.
fn saturated(value: BigInt) -> i128 {
    let bound = if value < BigInt::ZERO { i128::MIN } else { i128::MAX };
    i128::try_from(value).unwrap_or(bound)
}

/// Algorithm 2: the discrete Laplace distribution of scale `numerator / denominator`.
fn discrete_laplace(numerator: &BigUint, denominator: &BigUint, rng: &mut impl CryptoRng) -> BigInt {
    let one = BigUint::from(1u32);
    loop {
        let remainder = uniform_below(numerator, rng);
        if !bernoulli_exp(&remainder, numerator, rng) {
            continue;
        }
        let mut quotient = BigUint::ZERO;
        while bernoulli_exp(&one, &one, rng) {
            quotient += 1u32;
        }
        let magnitude = BigInt::from((remainder + numerator * quotient) / denominator);
        let is_negative = uniform_below(&BigUint::from(2u32), rng) == one;
        // Otherwise 0 would have twice its probability: with either sign.
        if is_negative && magnitude == BigInt::ZERO {
            continue;
        }
        return if is_negative { -magnitude } else { magnitude };
    }
}

/// Algorithm 3: the discrete Gaussian distribution of standard deviation `sigma = numerator / denominator`.
fn discrete_gaussian(numerator: &BigUint, denominator: &BigUint, rng: &mut impl CryptoRng) -> BigInt {
    let one = BigUint::from(1u32);
    let t = numerator / denominator + 1u32;
    // A candidate y is kept with probability exp(-(|y| - sigma² / t)² / (2 sigma²)). With sigma = n / d, the exponent is
    // (|y| d² t - n²)² / (2 n² d² t²).
    let numerator_squared = numerator.pow(2);
    let unit = denominator.pow(2) * &t;
    let divisor = &unit * &t * &numerator_squared * 2u32;
    loop {
        let candidate = discrete_laplace(&t, &one, rng);
        let scaled = candidate.magnitude() * &unit;
        let distance =
            if scaled > numerator_squared { &scaled - &numerator_squared } else { &numerator_squared - &scaled };
        if bernoulli_exp(&distance.pow(2), &divisor, rng) {
            return candidate;
        }
    }
}

/// Algorithm 1: true with probability `exp(-numerator / denominator)`.
fn bernoulli_exp(numerator: &BigUint, denominator: &BigUint, rng: &mut impl CryptoRng) -> bool {
    // exp(-x) is exp(-1) as often as 1 fits into x, times exp of the rest.
    let mut rest = numerator.clone();
    while &rest > denominator {
        if !bernoulli_exp_fraction(denominator, denominator, rng) {
            return false;
        }
        rest -= denominator;
    }
    bernoulli_exp_fraction(&rest, denominator, rng)
}

/// True with probability `exp(-numerator / denominator)`, which is at least `exp(-1)`.
fn bernoulli_exp_fraction(numerator: &BigUint, denominator: &BigUint, rng: &mut impl CryptoRng) -> bool {
    let mut k = BigUint::from(1u32);
    while &uniform_below(&(denominator * &k), rng) < numerator {
        k += 1u32;
    }
    k.bit(0)
}

/// A uniform integer from 0 (inclusive) to `bound` (exclusive, positive). It is unbiased: candidates that are too large are
/// drawn again.
fn uniform_below(bound: &BigUint, rng: &mut impl CryptoRng) -> BigUint {
    let bits = (bound - 1u32).bits();
    let mut bytes = vec![0; bits.div_ceil(8) as usize];
    let excess = bytes.len() as u64 * 8 - bits;
    loop {
        rng.fill_bytes(&mut bytes);
        let candidate = BigUint::from_bytes_le(&bytes) >> excess;
        if &candidate < bound {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::chi_square::p_value;

    const DRAWS: usize = 20_000;
    /// Sensitivity, and epsilon in thousandths.
    const SCALES: [(u64, u32); 7] = [(1, 1000), (1, 700), (2, 999), (3, 400), (10, 1000), (50, 333), (1000, 90)];

    fn scale((sensitivity, thousandths): (u64, u32)) -> Scale {
        Scale::new(sensitivity, Epsilon::from_thousandths(thousandths).unwrap())
    }

    fn as_number((sensitivity, thousandths): (u64, u32)) -> f64 {
        sensitivity as f64 * 1000.0 / f64::from(thousandths)
    }

    #[test]
    fn laplace_follows_its_exact_probabilities() {
        for (seed, of) in SCALES.into_iter().enumerate() {
            let mut rng = StdRng::seed_from_u64(seed as u64);
            let draws: Vec<i128> = (0..DRAWS).map(|_| laplace(0, &scale(of), &mut rng)).collect();
            let b = as_number(of);
            let of_zero = (1.0 / (2.0 * b)).tanh();
            let p = p_value(&draws, |x| of_zero * (-(x.abs() as f64) / b).exp());
            println!("discrete Laplace of scale {b:.3}: p = {p:.4}");
            assert!(p > 0.001, "discrete Laplace of scale {b}: p = {p}");
            // The test detects a scale that is a fifth larger.
            let b = b * 1.2;
            let of_zero = (1.0 / (2.0 * b)).tanh();
            assert!(p_value(&draws, |x| of_zero * (-(x.abs() as f64) / b).exp()) < 1e-9);
        }
    }

    #[test]
    fn gaussian_follows_its_exact_probabilities() {
        for (seed, of) in SCALES.into_iter().enumerate() {
            let mut rng = StdRng::seed_from_u64(100 + seed as u64);
            let draws: Vec<i128> = (0..DRAWS).map(|_| gaussian(0, &scale(of), &mut rng)).collect();
            let weight = |sigma: f64, x: i128| (-(x as f64 / sigma).powi(2) / 2.0).exp();
            let sigma = as_number(of);
            let sum = |sigma: f64| (-200_000..=200_000).map(|x| weight(sigma, x)).sum::<f64>();
            let total = sum(sigma);
            let p = p_value(&draws, |x| weight(sigma, x) / total);
            println!("discrete Gaussian of standard deviation {sigma:.3}: p = {p:.4}");
            assert!(p > 0.001, "discrete Gaussian of standard deviation {sigma}: p = {p}");
            let sigma = sigma * 1.2;
            let total = sum(sigma);
            assert!(p_value(&draws, |x| weight(sigma, x) / total) < 1e-9);
        }
    }

    #[test]
    fn bernoulli_has_the_probability_of_the_exponential() {
        let mut rng = StdRng::seed_from_u64(7);
        for (numerator, denominator) in [(0u32, 1u32), (1, 3), (1, 1), (3, 2), (2, 1), (7, 2)] {
            let (numerator, denominator) = (BigUint::from(numerator), BigUint::from(denominator));
            let draws = (0..DRAWS).map(|_| i128::from(bernoulli_exp(&numerator, &denominator, &mut rng)));
            let draws: Vec<i128> = draws.collect();
            let number = |value: &BigUint| f64::from(u32::try_from(value).unwrap());
            let of_true = (-number(&numerator) / number(&denominator)).exp();
            let trues = draws.iter().sum::<i128>() as f64;
            let deviation = (DRAWS as f64 * of_true * (1.0 - of_true)).sqrt();
            assert!((trues - DRAWS as f64 * of_true).abs() <= 4.0 * deviation, "{trues} of {DRAWS}, not {of_true}");
        }
    }

    #[test]
    fn uniform_is_uniform_for_bounds_that_are_no_powers_of_two() {
        let mut rng = StdRng::seed_from_u64(8);
        for bound in [1u32, 2, 3, 5, 129, 256, 257] {
            let draw = |rng: &mut StdRng| i128::try_from(uniform_below(&BigUint::from(bound), rng)).unwrap();
            let draws: Vec<i128> = (0..DRAWS).map(|_| draw(&mut rng)).collect();
            assert!(draws.iter().all(|x| (0..i128::from(bound)).contains(x)));
            if bound > 2 {
                let p = p_value(&draws, |x| if (0..bound.into()).contains(&x) { 1.0 / f64::from(bound) } else { 0.0 });
                assert!(p > 0.001, "uniform below {bound}: p = {p}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_parameters_give_noise(value: i128, sensitivity: u64, thousandths in 1..=1000u32, seed: u64) {
            let mut rng = StdRng::seed_from_u64(seed);
            let scale = scale((sensitivity, thousandths));
            let spread = 100.0 * as_number((sensitivity, thousandths));
            for noisy in [laplace(value, &scale, &mut rng), gaussian(value, &scale, &mut rng)] {
                prop_assert!((noisy as f64 - value as f64).abs() <= spread + (value as f64).abs() * 1e-15);
            }
        }
    }

    #[test]
    fn noise_of_scale_zero_is_zero_and_sums_saturate() {
        let mut rng = StdRng::seed_from_u64(9);
        assert_eq!(laplace(5, &scale((0, 1)), &mut rng), 5);
        assert_eq!(gaussian(5, &scale((0, 1)), &mut rng), 5);
        let wide = scale((u64::MAX, 1));
        let noisy: Vec<i128> = (0..20).map(|_| laplace(i128::MAX, &wide, &mut rng)).collect();
        assert!(noisy.contains(&i128::MAX) && noisy.iter().all(|noisy| *noisy > 0));
        assert_eq!(saturated(BigInt::from(i128::MIN) - 1), i128::MIN);
    }
}
