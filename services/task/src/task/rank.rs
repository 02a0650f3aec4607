//! The manual order: one text per task, compared byte by byte.
//!
//! There is room for a third rank between any two (fractional indexing, as in LexoRank). A new task's rank follows from
//! its id and therefore from the time: it is last, and creating takes no lock and reads no other task. Ranks after all
//! others follow from the time too. Only repeated moves into the same gap make ranks longer; beyond [`MAX_LEN`] the
//! neighbours are spread out (`rpc/rank.rs`).

use uuid::Uuid;

/// The digits, in byte order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Maximum length of a rank that a move creates, in bytes.
pub(crate) const MAX_LEN: usize = 64;

/// The rank of a new task: after all older ones. Migration `task/0012` has the same rule in SQL.
pub(crate) fn initial(id: Uuid) -> String {
    // The last digit is never the lowest, so there is room before it.
    format!("V{}V", id.simple())
}

/// A rank between two; `None` is unbounded. A rank at either end is made from `new_id`, so later ranks sort further out
/// as long as the clock moves forward.
pub(crate) fn between(lower: Option<&str>, upper: Option<&str>, new_id: Uuid) -> String {
    let by_time = match (lower, upper) {
        (_, None) => Some(initial(new_id)),
        (None, Some(_)) => Some(format!("U{}V", Uuid::from_u128(!new_id.as_u128()).simple())),
        (Some(_), Some(_)) => None,
    };
    let fits =
        |rank: &String| lower.is_none_or(|lower| lower < rank.as_str()) && upper.is_none_or(|upper| &**rank < upper);
    by_time.filter(fits).unwrap_or_else(|| shortest_between(lower.unwrap_or_default(), upper))
}

/// `count` ranks between two, evenly spread and in order.
pub(crate) fn spread(lower: Option<&str>, upper: Option<&str>, count: usize) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    let middle = shortest_between(lower.unwrap_or_default(), upper);
    let mut ranks = spread(lower, Some(&middle), count / 2);
    let after = spread(Some(&middle), upper, count - count / 2 - 1);
    ranks.push(middle);
    ranks.extend(after);
    ranks
}

/// A short rank after `lower` and before `upper`; an empty `lower` is unbounded.
fn shortest_between(lower: &str, upper: Option<&str>) -> String {
    let (mut lower, mut upper) = (lower.as_bytes(), upper.map(str::as_bytes));
    let mut rank = String::new();
    loop {
        let low = lower.first().map_or(0, |&digit| value(digit));
        let high = upper.map_or(DIGITS.len(), |upper| upper.first().map_or(0, |&digit| value(digit)));
        if high > low + 1 {
            rank.push(char::from(DIGITS[low.midpoint(high)]));
            return rank;
        }
        let next = lower.get(1..).unwrap_or_default();
        match upper {
            // The upper rank continues after this digit, so the digit alone sorts before it.
            Some([digit, _, ..]) if high > low => {
                rank.push(char::from(*digit));
                return rank;
            }
            Some([_, rest @ ..]) if high == low => {
                rank.push(char::from(DIGITS[low]));
                (lower, upper) = (next, Some(rest));
            }
            // From here on only the lower bound matters.
            _ => {
                rank.push(char::from(DIGITS[low]));
                (lower, upper) = (next, None);
            }
        }
    }
}

/// The value of a digit.
fn value(digit: u8) -> usize {
    DIGITS.iter().position(|&known| known == digit).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_rank(rank: &str) -> bool {
        !rank.is_empty() && rank.bytes().all(|byte| DIGITS.contains(&byte)) && !rank.ends_with('0')
    }

    fn any_rank() -> impl Strategy<Value = String> {
        "[0-9A-Za-z]{0,5}[1-9A-Za-z]"
    }

    /// Inserts a new rank before the one at `at`.
    fn insert(ranks: &mut Vec<String>, at: usize, new_id: Uuid) {
        let lower = at.checked_sub(1).map(|before| ranks[before].as_str());
        let rank = between(lower, ranks.get(at).map(String::as_str), new_id);
        ranks.insert(at, rank);
    }

    proptest! {
        #[test]
        fn between_lies_between_its_bounds(one in any_rank(), other in any_rank()) {
            let (lower, upper) = if one < other { (&one, &other) } else { (&other, &one) };
            for (lower, upper) in [(Some(lower), Some(upper)), (None, Some(upper)), (Some(lower), None)] {
                if lower == upper { continue }
                let (lower, upper) = (lower.map(String::as_str), upper.map(String::as_str));
                let middle = shortest_between(lower.unwrap_or_default(), upper);
                prop_assert!(is_rank(&middle), "{}", middle);
                prop_assert!(lower.is_none_or(|lower| lower < &*middle), "{:?} {}", lower, middle);
                prop_assert!(upper.is_none_or(|upper| &*middle < upper), "{} {:?}", middle, upper);
            }
        }

        #[test]
        fn spread_ranks_are_ordered_and_short(one in any_rank(), other in any_rank(), count in 0usize..600) {
            prop_assume!(one != other);
            let (lower, upper) = if one < other { (&one, &other) } else { (&other, &one) };
            let ranks = spread(Some(lower), Some(upper), count);
            prop_assert_eq!(ranks.len(), count);
            prop_assert!(ranks.iter().all(|rank| is_rank(rank) && rank.len() <= 12));
            prop_assert!(ranks.is_sorted_by(|a, b| a < b));
            prop_assert!(ranks.iter().all(|rank| lower < rank && rank < upper));
        }

        #[test]
        fn initial_ranks_are_in_id_order(one: u128, other: u128) {
            let (a, b) = (Uuid::from_u128(one), Uuid::from_u128(other));
            prop_assert!(is_rank(&initial(a)));
            prop_assert_eq!(initial(a).cmp(&initial(b)), one.cmp(&other));
        }
    }

    #[test]
    fn order_holds_over_ten_thousand_moves() {
        let mut ranks: Vec<String> = (1..=10).map(|id| initial(Uuid::from_u128(id << 80))).collect();
        for n in 0..10_000u128 {
            let at = (n.wrapping_mul(2_654_435_761) % (ranks.len() as u128 + 1)) as usize;
            insert(&mut ranks, at, Uuid::from_u128((n + 11) << 80));
        }
        assert!(ranks.is_sorted_by(|a, b| a < b));
        assert!(ranks.iter().all(|rank| is_rank(rank) && rank.len() <= MAX_LEN));
    }

    #[test]
    fn ends_never_run_out() {
        let mut ranks = vec![initial(Uuid::from_u128(1 << 80))];
        for n in 2..5_000u128 {
            insert(&mut ranks, 0, Uuid::from_u128(n << 80));
            let end = ranks.len();
            insert(&mut ranks, end, Uuid::from_u128(n << 80 | 1));
        }
        assert!(ranks.is_sorted_by(|a, b| a < b));
        assert!(ranks.iter().all(|rank| rank.len() == 34));
    }

    #[test]
    fn repeated_moves_into_one_gap_lengthen_ranks_until_spread() {
        let ids = [0x019a_ac8e_cc98_7b2c_9f3e_5a7d_1c2e_4f61, 0x019a_ac8e_cf01_7c11_8a2b_77d0_3e95_a1b2_u128];
        let bounds = ids.map(|id| initial(Uuid::from_u128(id)));
        let mut ranks = bounds.to_vec();
        let mut moves = 0;
        while ranks[1].len() <= MAX_LEN {
            insert(&mut ranks, 1, Uuid::nil());
            moves += 1;
        }
        assert!((150..600).contains(&moves), "{moves}");
        let spread = spread(Some(&bounds[0]), Some(&bounds[1]), moves);
        assert!(spread.iter().all(|rank| rank.len() < 34));
    }
}
