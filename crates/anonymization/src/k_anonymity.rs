//! K-anonymous profiles: every combination of attributes occurs at least [`K`] times.
//!
//! The attributes are quasi-identifiers: each is harmless, together they may point at a person (Samarati, "Protecting
//! Respondents' Identities in Microdata Release", 2001). They are generalized along hierarchies, each to one level for all rows
//! (full-domain generalization):
//!
//! | attribute | levels |
//! |---|---|
//! | `created_at` | day, month, quarter, year, suppressed |
//! | `company_domain` | domain, free mail or company, suppressed |
//! | `role_category` | role, category, suppressed |
//! | `geographic_region` | country, continent, suppressed |
//! | `tier` | tier, suppressed |
//!
//! The combinations of levels are few (270), so all are tried. Among those that are k-anonymous, the one with the least
//! discernibility is chosen (Bayardo and Agrawal, "Data Privacy through Optimal k-Anonymization", 2005): the sum of the squares
//! of the sizes of the groups of equal rows, plus the number of all rows for each row that is left out. The result depends on
//! the rows alone, not on their order.
//!
//! Limits: rows have no sensitive attribute, so l-diversity is not considered. If others are joined by `id`, they may reveal
//! what all people of a group have in common. Two releases of the same people with the same pseudonyms are together not
//! k-anonymous: pseudonyms are to be made for one release ([`crate::pseudonym`]).

mod hierarchy;

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
pub use hierarchy::{DateLevel, Level, SUPPRESSED, UNKNOWN};
use serde::Serialize;

/// The number of rows that every combination of attributes has at least.
pub const K: usize = 10;
/// The largest share of rows that [`Outliers::Dropped`] leaves out, in percent, rounded down.
pub const MAX_DROPPED_PERCENT: usize = 2;

/// The profile of a person. It has no e-mail address but its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The pseudonym of the person, unique among the rows.
    pub id: String,
    /// The date of the registration, in UTC.
    pub created_at: NaiveDate,
    /// The tier of the account.
    pub tier: String,
    /// The domain of the e-mail address.
    pub company_domain: Option<String>,
    /// The role: `user`, `manager`, `super_manager` or `owner`; others have the category `other`.
    pub role: Option<String>,
    /// The country, as its ISO 3166-1 alpha-2 code in any case; others are on the continent `other`.
    pub country: Option<String>,
}

/// The country of a time zone of the IANA database, as its ISO 3166-1 alpha-2 code; `None` for zones of no or of several
/// countries, such as `UTC`. From `zone.tab` of tzdata 2025b, which is in the public domain.
pub fn country_of_timezone(timezone: &str) -> Option<&'static str> {
    const ZONES: &str = include_str!("../data/zone_countries.tsv");
    ZONES.lines().find_map(|line| line.strip_prefix(timezone)?.strip_prefix('\t'))
}

/// A row of a k-anonymous table. Its values have the levels of [`Anonymized::levels`]; texts are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnonymousProfile {
    /// The pseudonym, unchanged.
    pub id: String,
    /// [`DateLevel`] has the forms.
    pub created_at: String,
    /// The tier.
    pub tier: String,
    /// The domain; `free_mail` or `company`.
    pub company_domain: String,
    /// The role; `leader`, `member` or `other`.
    pub role_category: String,
    /// The country; the continent, such as `north_america`, or `other`.
    pub geographic_region: String,
}

/// The level of each attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Levels {
    /// Never [`Level::Category`].
    pub tier: Level,
    /// Of `created_at`.
    pub created_at: DateLevel,
    /// Of `company_domain`.
    pub company_domain: Level,
    /// Of `role_category`.
    pub role_category: Level,
    /// Of `geographic_region`.
    pub geographic_region: Level,
}

/// Whether rows may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outliers {
    /// All rows are kept, so one unusual row may generalize all others.
    Kept,
    /// Rows of combinations that are too rare are left out, up to [`MAX_DROPPED_PERCENT`] of all.
    Dropped,
}

/// A k-anonymous table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymized {
    /// The rows in the order of their pseudonyms: the order of the profiles could reveal when people registered.
    pub rows: Vec<AnonymousProfile>,
    /// The level of each attribute in all rows.
    pub levels: Levels,
    /// The number of rows that were left out.
    pub dropped: usize,
}

/// Why profiles cannot be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are fewer than [`K`] profiles: no generalization makes them anonymous.
    #[error("{rows} profiles cannot be anonymous; at least {K} are needed")]
    NotAnonymous {
        /// The number of profiles.
        rows: usize,
    },
    /// Two profiles have the same pseudonym: a group of [`K`] rows would have fewer people.
    #[error("two profiles have the same pseudonym")]
    DuplicateId,
}

/// Generalizes profiles until every combination of attributes occurs at least [`K`] times. The tier is suppressed only if no
/// generalization of the other attributes suffices.
///
/// Memory is proportional to the number of profiles, time to it times 270.
///
/// # Errors
/// [`Error`].
pub fn anonymize(profiles: &[Profile], outliers: Outliers) -> Result<Anonymized, Error> {
    if profiles.iter().map(|profile| &profile.id).collect::<BTreeSet<_>>().len() < profiles.len() {
        return Err(Error::DuplicateId);
    }
    let max_dropped = match outliers {
        Outliers::Kept => 0,
        Outliers::Dropped => profiles.len() * MAX_DROPPED_PERCENT / 100,
    };
    let table = Table::new(profiles);
    let levels = table.best_levels(max_dropped).ok_or(Error::NotAnonymous { rows: profiles.len() })?;
    let mut groups: HashMap<[String; 5], Vec<&Profile>> = HashMap::new();
    for profile in profiles {
        groups.entry(values(profile, levels)).or_default().push(profile);
    }
    groups.retain(|_, members| members.len() >= K);
    let mut rows: Vec<AnonymousProfile> = groups
        .into_iter()
        .flat_map(|(values, members)| members.into_iter().map(move |profile| row(&profile.id, values.clone())))
        .collect();
    rows.sort_by(|left, right| left.id.cmp(&right.id));
    let dropped = profiles.len() - rows.len();
    Ok(Anonymized { rows, levels, dropped })
}

/// The values of a profile at some levels, in the order of the fields of [`Levels`].
fn values(profile: &Profile, levels: Levels) -> [String; 5] {
    [
        tier(profile, levels.tier),
        hierarchy::date(profile.created_at, levels.created_at),
        domain(profile, levels.company_domain),
        role(profile, levels.role_category),
        region(profile, levels.geographic_region),
    ]
}

fn row(id: &str, values: [String; 5]) -> AnonymousProfile {
    let [tier, created_at, company_domain, role_category, geographic_region] = values;
    AnonymousProfile { id: id.to_owned(), created_at, tier, company_domain, role_category, geographic_region }
}

fn tier(profile: &Profile, level: Level) -> String {
    // A tier has no category.
    hierarchy::text(Some(&profile.tier), level, |_| SUPPRESSED)
}

fn domain(profile: &Profile, level: Level) -> String {
    hierarchy::text(profile.company_domain.as_deref(), level, hierarchy::domain_category)
}

fn role(profile: &Profile, level: Level) -> String {
    hierarchy::text(profile.role.as_deref(), level, hierarchy::role_category)
}

fn region(profile: &Profile, level: Level) -> String {
    hierarchy::text(profile.country.as_deref(), level, hierarchy::continent)
}

/// The profiles with a number for each value, since they are compared at all combinations of levels.
struct Table {
    rows: usize,
    tier: Vec<(Level, Vec<u32>)>,
    created_at: Vec<(DateLevel, Vec<u32>)>,
    company_domain: Vec<(Level, Vec<u32>)>,
    role_category: Vec<(Level, Vec<u32>)>,
    geographic_region: Vec<(Level, Vec<u32>)>,
}

/// Per level, the number of each profile's value: equal values have equal numbers.
fn numbered<L: Copy>(profiles: &[Profile], levels: &[L], value: fn(&Profile, L) -> String) -> Vec<(L, Vec<u32>)> {
    let of_level = |level: &L| {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let number = |profile| {
            let next = numbers.len() as u32;
            *numbers.entry(value(profile, *level)).or_insert(next)
        };
        (*level, profiles.iter().map(number).collect())
    };
    levels.iter().map(of_level).collect()
}

impl Table {
    fn new(profiles: &[Profile]) -> Self {
        Self {
            rows: profiles.len(),
            tier: numbered(profiles, &Level::WITHOUT_CATEGORY, tier),
            created_at: numbered(profiles, &DateLevel::ALL, |profile, level| {
                hierarchy::date(profile.created_at, level)
            }),
            company_domain: numbered(profiles, &Level::ALL, domain),
            role_category: numbered(profiles, &Level::ALL, role),
            geographic_region: numbered(profiles, &Level::ALL, region),
        }
    }

    /// The k-anonymous levels with the least discernibility; of equal ones, the least generalized. With the exact tier if
    /// that is possible.
    fn best_levels(&self, max_dropped: usize) -> Option<Levels> {
        self.tier.iter().find_map(|tier| {
            let mut best: Option<(u128, u8, Levels)> = None;
            for created_at in &self.created_at {
                for company_domain in &self.company_domain {
                    for role_category in &self.role_category {
                        for geographic_region in &self.geographic_region {
                            let numbers =
                                [&tier.1, &created_at.1, &company_domain.1, &role_category.1, &geographic_region.1];
                            let Some(discernibility) = self.discernibility(numbers, max_dropped) else { continue };
                            let levels = Levels {
                                tier: tier.0,
                                created_at: created_at.0,
                                company_domain: company_domain.0,
                                role_category: role_category.0,
                                geographic_region: geographic_region.0,
                            };
                            let candidate = (discernibility, generalization(levels), levels);
                            best = Some(best.map_or(candidate, |best| best.min(candidate)));
                        }
                    }
                }
            }
            best.map(|(_, _, levels)| levels)
        })
    }

    /// The discernibility of rows with these values, or none if more than `max_dropped` rows are in groups smaller than [`K`].
    fn discernibility(&self, numbers: [&Vec<u32>; 5], max_dropped: usize) -> Option<u128> {
        let mut sizes: HashMap<[u32; 5], usize> = HashMap::new();
        for row in 0..self.rows {
            *sizes.entry(numbers.map(|numbers| numbers[row])).or_default() += 1;
        }
        let (mut dropped, mut squares) = (0, 0);
        for size in sizes.into_values() {
            if size < K {
                dropped += size;
            } else {
                squares += (size as u128).pow(2);
            }
        }
        (dropped <= max_dropped).then_some(squares + dropped as u128 * self.rows as u128)
    }
}

/// How far levels are from exact: the sum of each attribute's steps as a share of all its steps (the precision of Sweeney,
/// "Achieving k-Anonymity Privacy Protection", 2002), in quarters.
fn generalization(levels: Levels) -> u8 {
    let Levels { tier, created_at, company_domain, role_category, geographic_region } = levels;
    let texts = [tier, company_domain, role_category, geographic_region];
    created_at as u8 + texts.map(|level| level as u8 * 2).iter().sum::<u8>()
}

#[cfg(test)]
mod tests;
