//! Counts and sums over groups with differential privacy per person.
//!
//! A release is computed in three steps:
//! 1. Contributions are bounded. A person counts in at most `max_groups` groups, and a person's sum in a group is clamped to
//!    0 to `max_value`. So one person changes all counts together by at most `max_groups`, and all sums together by at most
//!    `max_groups * max_value`.
//! 2. Discrete Laplace noise of the scale sensitivity / epsilon is added to every count and sum ([`noise::laplace`]).
//! 3. Groups that are found in the data, not known in advance, are released only if their noisy count of people reaches a
//!    threshold ([`threshold`]): the mere name of a group may reveal a person.
//!
//! Neighbouring data differ by all contributions of one person. Known groups have epsilon-differential privacy; found groups
//! have (epsilon, delta)-differential privacy. A release with sums spends the first half of its epsilon on counts and the
//! second half on sums.
//!
//! Source: Wilson et al., "Differentially Private SQL with Bounded User Contribution", 2020
//! (<https://arxiv.org/abs/1909.01917>). The threshold is that of theorem 2, after Korolova et al., "Releasing Search Queries and
//! Clicks Privately", 2009.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use aws_lc_rs::hmac;
use num_bigint::BigUint;
use rand::CryptoRng;
use uuid::Uuid;

use crate::{
    budget::{Delta, Epsilon},
    noise::{self, Scale},
};

/// A value that a person contributes to a group. There may be several per person and group; they add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// The person.
    pub person: Uuid,
    /// The group.
    pub group: String,
    /// The value. It is ignored if only people are counted.
    pub value: i64,
}

/// The parameters of a release. They must not depend on the data.
#[derive(Debug)]
pub struct Query<'a> {
    /// The number of groups that a person counts in at most. Of more, a keyed hash selects.
    pub max_groups: NonZeroU32,
    /// The upper bound of a person's sum in a group; the lower bound is 0. Without it, only people are counted.
    pub max_value: Option<u64>,
    /// The epsilon of the whole release.
    pub epsilon: Epsilon,
    /// The key of the selection of groups.
    pub selection: &'a SelectionKey,
}

/// The key of the hash that selects a person's groups. It is secret: with it, a person could choose groups that are selected.
pub struct SelectionKey(hmac::Key);

impl SelectionKey {
    /// Uses a key of 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A number of a person and a group that looks random: HMAC-SHA-256 of the person's 16 bytes and the group's text.
    fn rank(&self, person: Uuid, group: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(person.as_bytes());
        context.update(group.as_bytes());
        context.sign().as_ref().to_vec()
    }
}

impl std::fmt::Debug for SelectionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SelectionKey")
    }
}

/// The values of a group after noise. They may be negative: to cut them at 0 is allowed, but sums over groups are then biased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// The number of people.
    pub people: i128,
    /// The sum of their values, if the query has `max_value`.
    pub sum: Option<i128>,
}

/// Why a release cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Epsilon is 0.001, which cannot be halved for counts and sums.
    #[error("an epsilon for counts and sums must be at least 2 thousandths")]
    EpsilonTooSmall,
    /// `max_groups * max_value` exceeds `u64`.
    #[error("max_groups times max_value is too large")]
    SensitivityTooLarge,
}

/// Releases all groups of `groups`, which are known without the data, such as the tiers. Groups without people are released
/// too; contributions to other groups are ignored.
///
/// # Errors
/// [`Error`], which depends on the query alone.
pub fn release_known(
    query: &Query<'_>,
    groups: &BTreeSet<String>,
    contributions: impl IntoIterator<Item = Contribution>,
    rng: &mut impl CryptoRng,
) -> Result<BTreeMap<String, Released>, Error> {
    let scales = Scales::of(query)?;
    // Before the bounds are applied, so that other groups take no place of a known one.
    let contributions = contributions.into_iter().filter(|contribution| groups.contains(&contribution.group));
    let totals = bounded(query, contributions);
    let released = groups.iter().map(|group| {
        let total = totals.get(group).copied().unwrap_or_default();
        (group.clone(), scales.add_noise(total, rng))
    });
    Ok(released.collect())
}

/// Releases those groups of the data whose noisy count of people reaches the [`threshold`].
///
/// # Errors
/// [`Error`], which depends on the query alone.
pub fn release_found(
    query: &Query<'_>,
    delta: Delta,
    contributions: impl IntoIterator<Item = Contribution>,
    rng: &mut impl CryptoRng,
) -> Result<BTreeMap<String, Released>, Error> {
    let scales = Scales::of(query)?;
    let threshold = threshold(scales.epsilon_of_people, delta, query.max_groups);
    let mut released: BTreeMap<String, Released> =
        bounded(query, contributions).into_iter().map(|(group, total)| (group, scales.add_noise(total, rng))).collect();
    released.retain(|_, noisy| noisy.people >= i128::from(threshold));
    Ok(released)
}

/// The noisy count of people from which a group that was found in the data is released.
///
/// Let `g = max_groups` and `b = g / epsilon`, the scale of the noise. Only groups with a single person can appear because of
/// that person, and there are at most `g` of them. Each is released if `1 + noise >= threshold`. For the discrete Laplace
/// distribution, `P(noise >= m) = exp(-m / b) / (1 + exp(-1 / b)) <= exp(-m / b)`. By the union bound, some of the groups is
/// released with a probability of at most `g * exp(-m / b)` for `m = threshold - 1`. That is at most delta if
/// `m >= b * ln(g / delta)`:
///
/// ```text
/// threshold = 1 + ceil(max_groups / epsilon * ln(max_groups / delta))
/// ```
///
/// Wilson et al. 2020 (theorem 2) have `1 - b * ln(2 - 2 * (1 - delta)^(1 / g))` for continuous noise, which is smaller by
/// about `b * ln 2`. All steps round up, so the threshold is never too small.
///
/// `epsilon` is that of the count of people: half of a release with sums.
pub fn threshold(epsilon: Epsilon, delta: Delta, max_groups: NonZeroU32) -> u64 {
    // ln(x) = log2(x) * ln(2). An integer of `bits` bits is below 2^bits, so log2(x) < bits(x^1024) / 1024.
    const FRACTION: u32 = 1024;
    // ln(2) = 0.693147..., rounded up.
    const LN_2: u128 = 693_148;
    const LN_2_UNIT: u128 = 1_000_000;
    let inverse = BigUint::from(max_groups.get()) * delta.inverse();
    // At most 96 * 1024 bits, so the products are below 2^80 and the result is below 2^50.
    let log2 = u128::from(inverse.pow(FRACTION).bits());
    let numerator = u128::from(max_groups.get()) * 1000 * log2 * LN_2;
    let denominator = u128::from(epsilon.thousandths()) * u128::from(FRACTION) * LN_2_UNIT;
    u64::try_from(numerator.div_ceil(denominator)).map_or(u64::MAX, |m| m.saturating_add(1))
}

/// The exact values of a group. Never published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Total {
    people: u64,
    sum: u128,
}

/// The exact values of all groups, with the contributions of each person bounded.
fn bounded(query: &Query<'_>, contributions: impl IntoIterator<Item = Contribution>) -> BTreeMap<String, Total> {
    let mut people: BTreeMap<Uuid, BTreeMap<String, i128>> = BTreeMap::new();
    for Contribution { person, group, value } in contributions {
        let sum = people.entry(person).or_default().entry(group).or_default();
        *sum = sum.saturating_add(value.into());
    }
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    for (person, groups) in people {
        for (group, sum) in selected(query, person, groups) {
            let total = totals.entry(group).or_default();
            total.people += 1;
            // The smaller of the two fits into u64.
            let clamped = sum.clamp(0, query.max_value.unwrap_or(0).into());
            total.sum += clamped.unsigned_abs();
        }
    }
    totals
}

/// The groups in which a person counts: those with the lowest ranks. The ranks depend neither on the values nor on other
/// people, so each person's sums are bounded independently, as the sensitivity requires.
fn selected(query: &Query<'_>, person: Uuid, groups: BTreeMap<String, i128>) -> Vec<(String, i128)> {
    let mut groups: Vec<(String, i128)> = groups.into_iter().collect();
    let max_groups = query.max_groups.get() as usize;
    if groups.len() > max_groups {
        groups.sort_by_cached_key(|(group, _)| query.selection.rank(person, group));
        groups.truncate(max_groups);
    }
    groups
}

/// The scales of the noise of a release.
struct Scales {
    epsilon_of_people: Epsilon,
    people: Scale,
    sum: Option<Scale>,
}

impl Scales {
    fn of(query: &Query<'_>) -> Result<Self, Error> {
        let max_groups = u64::from(query.max_groups.get());
        let Some(max_value) = query.max_value else {
            let people = Scale::new(max_groups, query.epsilon);
            return Ok(Self { epsilon_of_people: query.epsilon, people, sum: None });
        };
        let (epsilon_of_people, epsilon_of_sum) = query.epsilon.halves().ok_or(Error::EpsilonTooSmall)?;
        let sensitivity = max_groups.checked_mul(max_value).ok_or(Error::SensitivityTooLarge)?;
        Ok(Self {
            epsilon_of_people,
            people: Scale::new(max_groups, epsilon_of_people),
            sum: Some(Scale::new(sensitivity, epsilon_of_sum)),
        })
    }

    fn add_noise(&self, total: Total, rng: &mut impl CryptoRng) -> Released {
        let people = noise::laplace(total.people.into(), &self.people, rng);
        let exact = i128::try_from(total.sum).unwrap_or(i128::MAX);
        let sum = self.sum.as_ref().map(|scale| noise::laplace(exact, scale, rng));
        Released { people, sum }
    }
}

#[cfg(test)]
mod tests;
