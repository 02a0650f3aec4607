use std::collections::HashSet;

use baton_access::{Limits, Settings};
use proptest::prelude::*;

use super::*;

const ACCOUNT: Uuid = Uuid::from_u128(1);
const SUBJECT: Uuid = Uuid::from_u128(2);
const ACTOR: Uuid = Uuid::from_u128(3);
const OTHER: Uuid = Uuid::from_u128(4);

/// A sample entry, also for tests of other modules.
pub(crate) fn sample_entry(seq: i64) -> LogEntry {
    let activity = Activity {
        id: Uuid::from_u128(9),
        account_id: ACCOUNT,
        actor_id: Some(ACTOR),
        action: "task.assigned".to_owned(),
        resource_type: "task".to_owned(),
        resource_id: SUBJECT,
        changed_fields: Vec::new(),
        details: BTreeMap::from([("assigned_to".to_owned(), OTHER.to_string())]),
        address: Some("203.0.113.7".to_owned()),
        user_agent: Some("curl/8".to_owned()),
        request_id: Some("r1".to_owned()),
        occurred_at: DateTime::from_timestamp(1_795_309_323, 4_000).unwrap(),
    };
    let position = LogPosition { seq, recorded_at: activity.occurred_at };
    let leaf_hash = activity.leaf_hash(position).to_vec();
    LogEntry { activity, position, leaf_hash }
}

#[test]
fn the_hash_of_an_entry_is_a_merkle_tree_leaf() {
    let LogEntry { activity, position, leaf_hash } = sample_entry(7);
    let mut bytes = vec![0];
    bytes.extend(activity.canonical(position));
    assert_eq!(leaf_hash, Sha256::digest(&bytes).to_vec());
    // The encoding must never change: entries hashed by older versions must keep their hash.
    assert_eq!(crate::export::to_hex(&leaf_hash), "e8345fed93356a8ff09717a968694b41ebec537c00a98912594083ababbb9f1c");
}

#[test]
fn any_changed_field_changes_the_hash() {
    let LogEntry { activity, position, leaf_hash } = sample_entry(7);
    let changes: [fn(&mut Activity); 12] = [
        |row| row.account_id = OTHER,
        |row| row.id = OTHER,
        |row| row.occurred_at += chrono::TimeDelta::microseconds(1),
        |row| row.actor_id = None,
        |row| row.action.push('x'),
        |row| row.resource_type.push('x'),
        |row| row.resource_id = OTHER,
        |row| row.changed_fields.push("x".to_owned()),
        |row| drop(row.details.insert("x".to_owned(), String::new())),
        |row| row.address = None,
        |row| row.user_agent = None,
        |row| row.request_id = None,
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut changed = activity.clone();
        change(&mut changed);
        assert_ne!(changed.leaf_hash(position).to_vec(), leaf_hash, "change {nth}");
    }
    for position in [
        LogPosition { seq: 8, ..position },
        LogPosition { recorded_at: position.recorded_at + chrono::TimeDelta::microseconds(1), ..position },
    ] {
        assert_ne!(activity.leaf_hash(position).to_vec(), leaf_hash);
    }
}

proptest! {
    /// Moving characters between adjacent fields changes the encoding.
    #[test]
    fn adjacent_fields_are_separated(a in "[a-z]{0,6}", b in "[a-z]{0,6}", c in "[a-z]{0,6}", d in "[a-z]{0,6}") {
        let LogEntry { activity, position, .. } = sample_entry(1);
        let with = |action: &str, resource_type: &str| {
            let (action, resource_type) = (action.to_owned(), resource_type.to_owned());
            Activity { action, resource_type, ..activity.clone() }.canonical(position)
        };
        prop_assert_eq!(with(&a, &b) == with(&c, &d), (a, b) == (c, d));
    }
}

#[test]
fn users_read_their_own_entries_managers_their_reports_and_higher_roles_all() {
    let (own, report, other) = (Uuid::from_u128(10), Uuid::from_u128(11), Uuid::from_u128(12));
    let all = [Some(Relation::Own), Some(Relation::Other), Some(Relation::Other)];
    for (role, reports, expected) in [
        (Role::User, vec![], [Some(Relation::Own), None, None]),
        (Role::User, vec![report], [Some(Relation::Own), None, None]),
        (Role::Manager, vec![report], [Some(Relation::Own), Some(Relation::Report), None]),
        (Role::SuperManager, vec![], all),
        (Role::Owner, vec![], all),
    ] {
        let member = Membership {
            account_id: ACCOUNT,
            role,
            may_reassign: false,
            reports: reports.into_iter().collect(),
            team: HashSet::new(),
            suspended: false,
            settings: Settings::default(),
            limits: Limits::default(),
        };
        assert_eq!([own, report, other].map(|person| readable_relation(&member, own, person)), expected, "{role:?}");
    }
}
