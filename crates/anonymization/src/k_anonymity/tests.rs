use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Attributes of a profile: day since 2024, tier, domain, role, country.
type Attributes = (u16, &'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);

fn profile(id: usize, (day, tier, domain, role, country): Attributes) -> Profile {
    Profile {
        id: format!("p{id:05}"),
        created_at: NaiveDate::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(day.into()),
        tier: tier.to_owned(),
        company_domain: domain.map(str::to_owned),
        role: role.map(str::to_owned),
        country: country.map(str::to_owned),
    }
}

fn profiles(attributes: impl IntoIterator<Item = Attributes>) -> Vec<Profile> {
    attributes.into_iter().enumerate().map(|(id, attributes)| profile(id, attributes)).collect()
}

fn any_profiles() -> impl Strategy<Value = Vec<Profile>> {
    let text = |values: &'static [&'static str]| prop::option::of(prop::sample::select(values));
    let attributes = (
        prop_oneof![0..3u16, 0..1000u16],
        prop::sample::select(&["free", "free", "pro", "enterprise"][..]),
        text(&["gmail.com", "web.de", "acme.example", "Acme.example", "initech.example"]),
        text(&["user", "user", "manager", "super_manager", "owner", "wizard"]),
        text(&["DE", "de", "fr", "US", "JP", "br", "zz"]),
    );
    prop_oneof![
        prop::collection::vec(attributes.clone(), 0..150),
        // Few distinct rows, so that little needs to be generalized.
        (prop::collection::vec(attributes, 1..5), 1..40usize).prop_map(|(distinct, times)| distinct
            .iter()
            .copied()
            .cycle()
            .take(distinct.len() * times)
            .collect()),
    ]
    .prop_map(profiles)
}

/// Counts of the combinations of a table's attributes, by the output alone.
fn sizes(rows: &[AnonymousProfile]) -> BTreeMap<[&str; 5], usize> {
    let mut sizes = BTreeMap::new();
    for row in rows {
        let values = [&row.tier, &row.created_at, &row.company_domain, &row.role_category, &row.geographic_region];
        *sizes.entry(values.map(String::as_str)).or_default() += 1;
    }
    sizes
}

/// All combinations of levels.
fn lattice() -> impl Iterator<Item = Levels> {
    let texts = || Level::ALL.into_iter();
    Level::WITHOUT_CATEGORY.into_iter().flat_map(move |tier| {
        DateLevel::ALL.into_iter().flat_map(move |created_at| {
            texts().flat_map(move |company_domain| {
                texts().flat_map(move |role_category| {
                    texts().map(move |geographic_region| Levels {
                        tier,
                        created_at,
                        company_domain,
                        role_category,
                        geographic_region,
                    })
                })
            })
        })
    })
}

/// The number of rows in groups that are too small, and the discernibility of all, computed from texts.
fn measured(profiles: &[Profile], levels: Levels) -> (usize, u128) {
    let rows: Vec<AnonymousProfile> =
        profiles.iter().map(|profile| row(&profile.id, values(profile, levels))).collect();
    let sizes = sizes(&rows);
    let small: usize = sizes.values().filter(|size| **size < K).sum();
    let large = sizes.values().filter(|size| **size >= K).map(|size| (*size as u128).pow(2)).sum::<u128>();
    (small, large + (small * profiles.len()) as u128)
}

fn is_form_of(value: &str, level: DateLevel) -> bool {
    let form: String = value.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    form == match level {
        DateLevel::Day => "0000-00-00",
        DateLevel::Month => "0000-00",
        DateLevel::Quarter => "0000-Q0",
        DateLevel::Year => "0000",
        DateLevel::Suppressed => "*",
    }
}

proptest! {
    // Few, since each case tries 270 combinations of levels.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_combination_occurs_k_times(profiles in any_profiles(), dropped: bool) {
        let outliers = if dropped { Outliers::Dropped } else { Outliers::Kept };
        let anonymized = match anonymize(&profiles, outliers) {
            Ok(anonymized) => anonymized,
            Err(error) => {
                prop_assert!(profiles.len() < K && !profiles.is_empty());
                prop_assert_eq!(error, Error::NotAnonymous { rows: profiles.len() });
                return Ok(());
            }
        };
        prop_assert!(sizes(&anonymized.rows).values().all(|size| *size >= K));
        prop_assert_eq!(anonymized.rows.len() + anonymized.dropped, profiles.len());
        let max_dropped = if dropped { profiles.len() * 2 / 100 } else { 0 };
        prop_assert!(anonymized.dropped <= max_dropped);
    }

    #[test]
    fn no_value_is_finer_than_its_level(profiles in any_profiles(), dropped: bool) {
        let outliers = if dropped { Outliers::Dropped } else { Outliers::Kept };
        let Ok(Anonymized { rows, levels, .. }) = anonymize(&profiles, outliers) else { return Ok(()) };
        prop_assert!(levels.tier != Level::Category);
        let allowed = |value: &str, level: Level, categories: &[&str]| match level {
            Level::Exact => value != "*",
            Level::Category => categories.contains(&value) || value == "unknown",
            Level::Suppressed => value == "*",
        };
        for row in &rows {
            prop_assert!(is_form_of(&row.created_at, levels.created_at), "{row:?}");
            prop_assert!(allowed(&row.tier, levels.tier, &[]), "{row:?}");
            prop_assert!(allowed(&row.company_domain, levels.company_domain, &["free_mail", "company"]), "{row:?}");
            prop_assert!(allowed(&row.role_category, levels.role_category, &["leader", "member", "other"]), "{row:?}");
            let continents = ["asia", "europe", "north_america", "south_america", "other"];
            prop_assert!(allowed(&row.geographic_region, levels.geographic_region, &continents), "{row:?}");
            let profile = profiles.iter().find(|profile| profile.id == row.id).unwrap();
            prop_assert!(row.created_at == "*" || profile.created_at.to_string().starts_with(&row.created_at[..4]));
        }
    }

    #[test]
    fn order_of_profiles_does_not_matter((profiles, shuffled) in any_profiles().prop_flat_map(|profiles| {
        (Just(profiles.clone()), Just(profiles).prop_shuffle())
    })) {
        prop_assert_eq!(anonymize(&profiles, Outliers::Dropped), anonymize(&shuffled, Outliers::Dropped));
    }
}

proptest! {
    // Fewer still: it tries them again, by texts.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_other_levels_lose_less(profiles in any_profiles(), dropped: bool) {
        let (outliers, max_dropped) =
            if dropped { (Outliers::Dropped, profiles.len() * 2 / 100) } else { (Outliers::Kept, 0) };
        let Ok(anonymized) = anonymize(&profiles, outliers) else { return Ok(()) };
        let (small, discernibility) = measured(&profiles, anonymized.levels);
        prop_assert_eq!(small, anonymized.dropped);
        for levels in lattice() {
            let (small, other) = measured(&profiles, levels);
            if small <= max_dropped && levels.tier <= anonymized.levels.tier {
                prop_assert!(levels.tier == anonymized.levels.tier, "the tier is suppressed without need");
                let least = (discernibility, generalization(anonymized.levels));
                prop_assert!(least <= (other, generalization(levels)), "{levels:?} loses less");
            }
        }
    }
}

const ACME: Attributes = (30, "pro", Some("acme.example"), Some("user"), Some("de"));

#[test]
fn equal_profiles_are_not_generalized() {
    let anonymized = anonymize(&profiles([ACME; 10]), Outliers::Kept).unwrap();
    let expected = ["pro", "2024-01-31", "acme.example", "user", "de"].map(str::to_owned);
    assert_eq!(anonymized.rows[3], row("p00003", expected));
    assert_eq!(anonymized.levels, lattice().next().unwrap());
    assert_eq!(anonymize(&profiles([ACME; 9]), Outliers::Dropped), Err(Error::NotAnonymous { rows: 9 }));
    assert_eq!(anonymize(&[], Outliers::Kept).unwrap().rows, []);
}

#[test]
fn only_what_differs_is_generalized() {
    let days = (0..10).map(|day| (day, "pro", Some("acme.example"), Some("user"), Some("de")));
    let anonymized = anonymize(&profiles(days), Outliers::Kept).unwrap();
    let expected = ["pro", "2024-01", "acme.example", "user", "de"].map(str::to_owned);
    assert_eq!(anonymized.rows[0], row("p00000", expected));
}

#[test]
fn tier_is_suppressed_only_if_nothing_else_suffices() {
    let enterprise = (0, "enterprise", Some("acme.example"), Some("user"), Some("de"));
    // Nine rows of a tier can never be a group.
    let rare = anonymize(&profiles([ACME; 50].into_iter().chain([enterprise; 9])), Outliers::Dropped).unwrap();
    assert_eq!((rare.levels.tier, rare.dropped), (Level::Suppressed, 0));
    // Ten of different countries can, without the country.
    let countries = ["de", "us", "jp", "br", "za", "au", "fr", "in", "ca", "cl"];
    let spread = countries.map(|country| (0, "enterprise", Some("acme.example"), Some("user"), Some(country)));
    let spread = anonymize(&profiles([ACME; 50].into_iter().chain(spread)), Outliers::Kept).unwrap();
    assert_eq!((spread.levels.tier, spread.levels.geographic_region), (Level::Exact, Level::Suppressed));
}

#[test]
fn a_few_outliers_are_dropped_if_stated() {
    let outlier = (900, "free", None, Some("owner"), Some("nz"));
    let rows = profiles([ACME; 98].into_iter().chain([outlier; 2]));
    let dropped = anonymize(&rows, Outliers::Dropped).unwrap();
    assert_eq!((dropped.dropped, dropped.levels), (2, lattice().next().unwrap()));
    assert!(dropped.rows.iter().all(|row| row.geographic_region == "de"));
    let kept = anonymize(&rows, Outliers::Kept).unwrap();
    assert_eq!((kept.dropped, kept.rows.len()), (0, 100));
    assert_eq!(kept.levels.tier, Level::Suppressed);
    // Three of a hundred are too many.
    let rows = profiles([ACME; 97].into_iter().chain([outlier; 3]));
    assert_eq!(anonymize(&rows, Outliers::Dropped).unwrap().dropped, 0);
}

#[test]
fn outliers_that_are_one_short_of_a_group_are_dropped() {
    let outlier = (900, "pro", Some("gmail.com"), Some("user"), Some("nz"));
    let anonymized = anonymize(&profiles([ACME; 441].into_iter().chain([outlier; K - 1])), Outliers::Dropped).unwrap();
    assert_eq!((anonymized.dropped, anonymized.levels), (K - 1, lattice().next().unwrap()));
    let anonymized = anonymize(&profiles([ACME; 440].into_iter().chain([outlier; K])), Outliers::Dropped).unwrap();
    assert_eq!((anonymized.dropped, anonymized.levels), (0, lattice().next().unwrap()));
}

#[test]
fn rows_of_one_person_do_not_count_twice() {
    let rows = vec![profile(1, ACME); 10];
    assert_eq!(anonymize(&rows, Outliers::Kept), Err(Error::DuplicateId));
}
