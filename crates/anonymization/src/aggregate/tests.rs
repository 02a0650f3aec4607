use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};

use super::*;
use crate::chi_square::p_value;

fn epsilon(thousandths: u32) -> Epsilon {
    Epsilon::from_thousandths(thousandths).unwrap()
}

fn groups(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn contribution(person: u128, group: impl ToString, value: i64) -> Contribution {
    Contribution { person: Uuid::from_u128(person), group: group.to_string(), value }
}

/// Contributions of `people`, to ten groups.
fn contributions(people: impl Strategy<Value = u128>) -> impl Strategy<Value = Vec<Contribution>> {
    let value = prop_oneof![any::<i64>(), -20..200i64];
    let one = (people, 0..10u8, value).prop_map(|(person, group, value)| contribution(person, group, value));
    prop::collection::vec(one, 0..60)
}

fn difference(before: &BTreeMap<String, Total>, after: &BTreeMap<String, Total>) -> BTreeMap<String, Total> {
    let groups: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |totals: &BTreeMap<String, Total>, group: &String| totals.get(group).copied().unwrap_or_default();
    let differ = |group: &String| {
        let (before, after) = (of(before, group), of(after, group));
        Total { people: after.people.abs_diff(before.people), sum: after.sum.abs_diff(before.sum) }
    };
    groups.into_iter().map(|group| (group.clone(), differ(group))).collect()
}

proptest! {
    #[test]
    fn one_person_changes_totals_by_no_more_than_the_sensitivity(
        others in contributions(1..8u128),
        theirs in contributions(Just(0)),
        max_groups in 1..5u32,
        max_value in prop_oneof![0..300u64, any::<u64>()],
        key: [u8; 32],
    ) {
        let selection = SelectionKey::new(&key);
        let max_groups = groups(max_groups);
        let query = Query { max_groups, max_value: Some(max_value), epsilon: epsilon(1000), selection: &selection };
        let before = bounded(&query, others.clone());
        let changed = difference(&before, &bounded(&query, others.into_iter().chain(theirs)));
        let max_groups = u64::from(max_groups.get());
        prop_assert!(changed.values().filter(|total| **total != Total::default()).count() as u64 <= max_groups);
        prop_assert!(changed.values().all(|total| total.people <= 1 && total.sum <= max_value.into()));
        prop_assert!(changed.values().map(|total| total.people).sum::<u64>() <= max_groups);
        let sum = changed.values().map(|total| total.sum).sum::<u128>();
        prop_assert!(sum <= u128::from(max_groups) * u128::from(max_value));
    }

    #[test]
    fn selected_groups_do_not_depend_on_values(
        theirs in contributions(Just(0)),
        values in prop::collection::vec(any::<i64>(), 60),
        max_groups in 1..5u32,
    ) {
        let selection = SelectionKey::new(&[1; 32]);
        let query =
            Query { max_groups: groups(max_groups), max_value: None, epsilon: epsilon(1), selection: &selection };
        let mut others = theirs.clone();
        for (contribution, value) in others.iter_mut().zip(values) {
            contribution.value = value;
        }
        prop_assert_eq!(bounded(&query, theirs), bounded(&query, others));
    }

    #[test]
    fn threshold_keeps_delta_and_is_little_larger_than_needed(
        thousandths in 1..=1000u32,
        max_groups in prop_oneof![1..100u32, any::<std::num::NonZeroU32>().prop_map(NonZeroU32::get)],
        inverse in Delta::MIN_INVERSE..,
    ) {
        let threshold = threshold(epsilon(thousandths), Delta::one_in(inverse).unwrap(), groups(max_groups));
        let b = f64::from(max_groups) * 1000.0 / f64::from(thousandths);
        let needed = b * (f64::from(max_groups) * inverse as f64).ln();
        let m = (threshold - 1) as f64;
        prop_assert!(m >= needed * (1.0 - 1e-12), "{m} < {needed}");
        prop_assert!(m <= needed * 1.0002 + 1.0, "{m} > {needed}");
        // The exact probability that some group with one person is released.
        let tail = (-m / b).exp() / (1.0 + (-1.0 / b).exp());
        prop_assert!(f64::from(max_groups) * tail * inverse as f64 <= 1.0);
    }

    #[test]
    fn known_groups_are_all_released_and_no_others(contributions in contributions(0..5u128), seed: u64) {
        let selection = SelectionKey::new(&[1; 32]);
        let query = Query { max_groups: groups(2), max_value: None, epsilon: epsilon(500), selection: &selection };
        let known: BTreeSet<String> = ["0", "1", "never"].map(str::to_owned).into();
        let released = release_known(&query, &known, contributions, &mut StdRng::seed_from_u64(seed)).unwrap();
        prop_assert!(released.keys().eq(&known));
        prop_assert!(released.values().all(|released| released.sum.is_none()));
    }
}

#[test]
fn threshold_has_known_values() {
    // 1 + ceil(ln(100000)) = 1 + ceil(11.513), and 1 + ceil(4 / 0.5 * ln(4000000)) = 1 + ceil(121.614).
    assert_eq!(threshold(epsilon(1000), Delta::one_in(100_000).unwrap(), groups(1)), 13);
    assert_eq!(threshold(epsilon(500), Delta::one_in(1_000_000).unwrap(), groups(4)), 123);
}

/// The noise of 2,000 known groups, for which half of epsilon 1 is for counts and half for sums.
#[test]
fn released_values_deviate_by_laplace_noise_of_the_documented_scale() {
    let selection = SelectionKey::new(&[2; 32]);
    let query = Query { max_groups: groups(2), max_value: Some(10), epsilon: epsilon(1000), selection: &selection };
    // Each person contributes to three groups, of which two count.
    let data = || (0..6000u128).map(|row| contribution(row / 3, format!("{:04}", row % 2000), 7));
    let known: BTreeSet<String> = data().map(|contribution| contribution.group).collect();
    let exact = bounded(&query, data());
    assert_eq!(exact.values().map(|total| total.people).sum::<u64>(), 4000);
    let released = release_known(&query, &known, data(), &mut StdRng::seed_from_u64(3)).unwrap();
    let (mut of_people, mut of_sums) = (Vec::new(), Vec::new());
    for (group, released) in released {
        let exact = exact.get(&group).copied().unwrap_or_default();
        of_people.push(released.people - i128::from(exact.people));
        of_sums.push(released.sum.unwrap() - i128::try_from(exact.sum).unwrap());
    }
    for (noise, scale) in [(of_people, 2.0 / 0.5), (of_sums, 2.0 * 10.0 / 0.5)] {
        let laplace = |b: f64| move |x: i128| (1.0 / (2.0 * b)).tanh() * (-(x.abs() as f64) / b).exp();
        let p = p_value(&noise, laplace(scale));
        assert!(p > 0.001, "scale {scale}: p = {p}");
        assert!(p_value(&noise, laplace(scale * 2.0)) < 1e-9 && p_value(&noise, laplace(scale / 2.0)) < 1e-9);
    }
}

#[test]
fn found_groups_are_released_only_with_many_people() {
    let selection = SelectionKey::new(&[3; 32]);
    let query = Query { max_groups: groups(1), max_value: Some(5), epsilon: epsilon(1000), selection: &selection };
    let delta = Delta::one_in(1_000_000).unwrap();
    let large = (1..=200).map(|person| contribution(person, "large", 100));
    let rare = (1000..1200).map(|person| contribution(person, person, 100));
    let released = release_found(&query, delta, large.chain(rare), &mut StdRng::seed_from_u64(4)).unwrap();
    assert_eq!(released.keys().collect::<Vec<_>>(), ["large"]);
    let Released { people, sum } = released["large"];
    assert!((people - 200).abs() < 40 && (sum.unwrap() - 1000).abs() < 200, "{people}, {sum:?}");
}

/// Of 500 groups with as many people as the threshold. It is 15 for an epsilon of 1, and 29 for the half that a query with
/// sums spends on counts.
#[test]
fn threshold_is_that_of_the_epsilon_of_counts() {
    let selection = SelectionKey::new(&[6; 32]);
    for (max_value, threshold) in [(None, 15u128), (Some(5), 29)] {
        let query = Query { max_groups: groups(1), max_value, epsilon: epsilon(1000), selection: &selection };
        let data = (0..500 * threshold).map(|person| contribution(person, person % 500, 1));
        let delta = Delta::one_in(1_000_000).unwrap();
        let released = release_found(&query, delta, data, &mut StdRng::seed_from_u64(6)).unwrap();
        let smallest = released.values().map(|released| released.people).min();
        assert_eq!(smallest, i128::try_from(threshold).ok());
    }
}

#[test]
fn values_of_a_person_add_up_before_they_are_clamped() {
    let selection = SelectionKey::new(&[4; 32]);
    let query = Query { max_groups: groups(3), max_value: Some(10), epsilon: epsilon(1000), selection: &selection };
    let values = [("a", 7), ("a", 7), ("b", -7), ("c", 20), ("c", -15)];
    let totals = bounded(&query, values.map(|(group, value)| contribution(1, group, value)));
    assert_eq!(totals.values().map(|total| total.sum).collect::<Vec<_>>(), [10, 0, 5]);
}

#[test]
fn queries_that_cannot_be_computed_are_refused() {
    let selection = SelectionKey::new(&[5; 32]);
    let mut query = Query { max_groups: groups(2), max_value: Some(1), epsilon: epsilon(1), selection: &selection };
    let delta = Delta::one_in(1_000_000).unwrap();
    let release = |query: &Query<'_>| release_found(query, delta, [], &mut StdRng::seed_from_u64(5));
    assert_eq!(release(&query), Err(Error::EpsilonTooSmall));
    query.max_value = None;
    assert_eq!(release(&query), Ok(BTreeMap::new()));
    (query.max_value, query.epsilon) = (Some(u64::MAX), epsilon(2));
    assert_eq!(release(&query), Err(Error::SensitivityTooLarge));
}
