//! Parameters of differential privacy, and the budget of their use.
//!
//! Epsilons of releases about the same people add up (sequential composition: Dwork and Roth, "The Algorithmic Foundations of
//! Differential Privacy", 2014, theorem 3.16), and so do deltas. So each release is paid from a budget per quarter. All
//! epsilons are integers, in thousandths: no sum is rounded.

use std::{fmt, str::FromStr};

use chrono::{Datelike as _, NaiveDate};

/// Epsilon of one release, in thousandths: 1 to [`Epsilon::MAX_PER_RELEASE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epsilon(u32);

/// The epsilon of a release is not from 0.001 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("epsilon must be from 1 to {} thousandths", Epsilon::MAX_PER_RELEASE)]
pub struct EpsilonOutOfRange;

impl Epsilon {
    /// The largest epsilon of one release, in thousandths: 1.0.
    pub const MAX_PER_RELEASE: u32 = 1000;
    /// The largest sum of epsilons in one quarter, in thousandths: 4.0. The limit for [`spend`].
    pub const MAX_PER_QUARTER: u32 = 4000;

    /// An epsilon of so many thousandths.
    ///
    /// # Errors
    /// If it is 0 or larger than [`Epsilon::MAX_PER_RELEASE`].
    pub fn from_thousandths(thousandths: u32) -> Result<Self, EpsilonOutOfRange> {
        (1..=Self::MAX_PER_RELEASE).contains(&thousandths).then_some(Self(thousandths)).ok_or(EpsilonOutOfRange)
    }

    /// This epsilon in thousandths.
    pub fn thousandths(self) -> u32 {
        self.0
    }

    /// Two epsilons that add up to this one, the first as large as the second or one thousandth larger. None for 0.001.
    pub(crate) fn halves(self) -> Option<(Self, Self)> {
        let second = self.0 / 2;
        (second > 0).then_some((Self(self.0 - second), Self(second)))
    }
}

/// Delta: the probability with which the guarantee of epsilon may fail for a person. It is `1 / n` for an integer `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta(u64);

/// Delta is larger than 1 / [`Delta::MIN_INVERSE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("delta must be at most 1 / {}", Delta::MIN_INVERSE)]
pub struct DeltaTooLarge;

impl Delta {
    /// The smallest `n` of a delta `1 / n`. A larger delta would allow the exposure of some people outright: with 1 / 1000,
    /// the publication of each thousandth row conforms.
    pub const MIN_INVERSE: u64 = 100_000;

    /// A delta of `1 / n`. It should be far below 1 / (number of people in the data).
    ///
    /// # Errors
    /// If `n` is smaller than [`Delta::MIN_INVERSE`].
    pub fn one_in(n: u64) -> Result<Self, DeltaTooLarge> {
        (n >= Self::MIN_INVERSE).then_some(Self(n)).ok_or(DeltaTooLarge)
    }

    /// The `n` of a delta `1 / n`.
    pub fn inverse(self) -> u64 {
        self.0
    }
}

/// A release exceeds the budget. Holds how much epsilon remains, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the privacy budget has {0} thousandths of epsilon left")]
pub struct Remaining(pub u32);

/// Spends `wanted` of a budget of `limit`, of which `spent` is spent. Returns the new `spent`. `spent` and `limit` are in
/// thousandths of epsilon; the limit of a quarter is [`Epsilon::MAX_PER_QUARTER`].
///
/// The caller stores the result in the transaction that records the release, with the row of the budget locked.
///
/// # Errors
/// If the budget has less left than `wanted`; then nothing is spent.
pub fn spend(spent: u32, wanted: Epsilon, limit: u32) -> Result<u32, Remaining> {
    let remaining = limit.saturating_sub(spent);
    if wanted.0 <= remaining { Ok(spent + wanted.0) } else { Err(Remaining(remaining)) }
}

/// A calendar quarter, for which a budget is valid. Its text is `2026-Q4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quarter {
    year: i32,
    /// 1 to 4.
    number: u8,
}

/// A text is not a quarter such as `2026-Q4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quarter must have the form 2026-Q4")]
pub struct MalformedQuarter;

impl Quarter {
    /// The quarter of a date in UTC.
    pub fn of(date: NaiveDate) -> Self {
        // 0 to 3, so no byte is lost.
        Self { year: date.year(), number: (date.month0() / 3 + 1) as u8 }
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.year
    }

    /// The number of the quarter in its year, 1 to 4.
    pub fn number(self) -> u8 {
        self.number
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-Q{}", self.year, self.number)
    }
}

impl FromStr for Quarter {
    type Err = MalformedQuarter;

    fn from_str(text: &str) -> Result<Self, MalformedQuarter> {
        let (year, number) = text.split_once("-Q").ok_or(MalformedQuarter)?;
        let quarter = Self {
            year: year.parse().map_err(|_| MalformedQuarter)?,
            number: number.parse().map_err(|_| MalformedQuarter)?,
        };
        // One text per quarter: neither `+2026-Q4` nor `2026-Q04`.
        ((1..=4).contains(&quarter.number) && quarter.to_string() == text).then_some(quarter).ok_or(MalformedQuarter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn budget_is_never_exceeded(limit in 0..10_000u32, wanted in prop::collection::vec(1..=1000u32, 0..40)) {
            let mut spent = 0;
            for wanted in wanted {
                match spend(spent, Epsilon::from_thousandths(wanted).unwrap(), limit) {
                    Ok(more) => {
                        prop_assert_eq!(more, spent + wanted);
                        spent = more;
                    }
                    Err(Remaining(remaining)) => {
                        prop_assert_eq!(remaining, limit - spent);
                        prop_assert!(wanted > remaining);
                    }
                }
                prop_assert!(spent <= limit);
            }
        }

        #[test]
        fn quarter_is_the_same_after_a_round_trip(day in 0..3_000_000i32) {
            let date = NaiveDate::from_num_days_from_ce_opt(day).unwrap();
            let quarter = Quarter::of(date);
            prop_assert_eq!(quarter.to_string().parse(), Ok(quarter));
        }

        #[test]
        fn halves_of_epsilon_add_up(thousandths in 2..=1000u32) {
            let (first, second) = Epsilon(thousandths).halves().unwrap();
            prop_assert_eq!(first.0 + second.0, thousandths);
            prop_assert!(first.0 - second.0 <= 1);
        }
    }

    #[test]
    fn overspent_budget_has_nothing_left() {
        assert_eq!(spend(u32::MAX, Epsilon(1), Epsilon::MAX_PER_QUARTER), Err(Remaining(0)));
        assert_eq!(spend(3999, Epsilon(1), Epsilon::MAX_PER_QUARTER), Ok(4000));
        assert_eq!(spend(u32::MAX - 1, Epsilon(1), u32::MAX), Ok(u32::MAX));
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        assert_eq!(Epsilon::from_thousandths(0), Err(EpsilonOutOfRange));
        assert_eq!(Epsilon::from_thousandths(1001), Err(EpsilonOutOfRange));
        assert_eq!(Epsilon::from_thousandths(1000).map(Epsilon::thousandths), Ok(1000));
        assert_eq!(Epsilon(1).halves(), None);
        assert_eq!(Delta::one_in(99_999), Err(DeltaTooLarge));
        assert_eq!(Delta::one_in(100_000).map(Delta::inverse), Ok(100_000));
    }

    #[test]
    fn quarters_begin_in_january_april_july_and_october() {
        let quarter = |text: &str| Quarter::of(text.parse().unwrap()).to_string();
        let days = ["2026-01-01", "2026-03-31", "2026-04-01", "2026-06-30", "2026-07-01", "2026-09-30", "2026-10-01"];
        assert_eq!(days.map(quarter), ["2026-Q1", "2026-Q1", "2026-Q2", "2026-Q2", "2026-Q3", "2026-Q3", "2026-Q4"]);
        assert_eq!(quarter("2026-12-31"), "2026-Q4");
        for malformed in ["", "2026", "2026-Q0", "2026-Q5", "2026-q4", "2026-Q04", "+2026-Q4", "26-Q4", "2026-Q4 "] {
            assert_eq!(malformed.parse::<Quarter>(), Err(MalformedQuarter), "{malformed}");
        }
    }
}
