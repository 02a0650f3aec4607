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
    LogEntry::with_salt(activity, position, [7; 32])
}

/// The sample entry as an older program has added it.
fn sample_entry_v1(seq: i64) -> LogEntry {
    let LogEntry { activity, position, .. } = sample_entry(seq);
    let leaf_hash = activity.leaf_hash(position, &Leaf::V1);
    LogEntry { activity, position, leaf: Leaf::V1, leaf_hash }
}

/// Whether the entry is as it was added, or its origin was erased since.
fn is_intact(entry: &LogEntry) -> bool {
    let LogEntry { activity, position, leaf, leaf_hash } = entry;
    let is_origin_intact = match leaf {
        Leaf::V1 => true,
        Leaf::V2(OriginHash { salt: None, .. }) => activity.address.is_none() && activity.user_agent.is_none(),
        Leaf::V2(origin @ OriginHash { salt: Some(salt), .. }) => OriginHash::new(activity, *salt) == *origin,
    };
    is_origin_intact && activity.leaf_hash(*position, leaf) == *leaf_hash
}

/// Hashes of existing entries must never change. Computed by an independent program.
#[test]
fn leaf_hashes_of_each_version_never_change() {
    use crate::export::to_hex;
    let v1 = sample_entry_v1(7);
    assert_eq!(to_hex(&v1.leaf_hash), "e8345fed93356a8ff09717a968694b41ebec537c00a98912594083ababbb9f1c");
    let v2 = sample_entry(7);
    let Leaf::V2(origin) = &v2.leaf else { panic!("{:?}", v2.leaf) };
    assert_eq!(to_hex(&origin.hash), "4fd4f089cbaae67b6dc3cef87c71610ad4d50e6a9f1429be67491e9e10c8a837");
    assert_eq!(to_hex(&v2.leaf_hash), "aff857073c65ab5028e4061bd56b1b806193ac5a5444f2212cebd011256afc86");
}

#[test]
fn the_hash_of_an_entry_is_a_merkle_tree_leaf() {
    for LogEntry { activity, position, leaf, leaf_hash } in [sample_entry_v1(7), sample_entry(7)] {
        let mut bytes = vec![0];
        bytes.extend(activity.canonical(position, &leaf));
        assert_eq!(leaf_hash, *Sha256::digest(&bytes));
    }
}

#[test]
fn any_changed_field_fails_verification() {
    let changes: [fn(&mut LogEntry); 14] = [
        |entry| entry.activity.account_id = OTHER,
        |entry| entry.activity.id = OTHER,
        |entry| entry.activity.occurred_at += chrono::TimeDelta::microseconds(1),
        |entry| entry.activity.actor_id = None,
        |entry| entry.activity.action.push('x'),
        |entry| entry.activity.resource_type.push('x'),
        |entry| entry.activity.resource_id = OTHER,
        |entry| entry.activity.changed_fields.push("x".to_owned()),
        |entry| drop(entry.activity.details.insert("x".to_owned(), String::new())),
        |entry| entry.activity.address = None,
        |entry| entry.activity.user_agent = None,
        |entry| entry.activity.request_id = None,
        |entry| entry.position.seq += 1,
        |entry| entry.position.recorded_at += chrono::TimeDelta::microseconds(1),
    ];
    for entry in [sample_entry_v1(7), sample_entry(7)] {
        assert!(is_intact(&entry));
        for (nth, change) in changes.iter().enumerate() {
            let mut changed = entry.clone();
            change(&mut changed);
            assert!(!is_intact(&changed), "change {nth} of {:?}", entry.leaf);
        }
    }
}

#[test]
fn any_changed_part_of_the_origin_hash_fails_verification() {
    let changes: [fn(&mut OriginHash); 3] = [
        |origin| origin.hash[31] ^= 1,
        |origin| origin.salt = Some([8; 32]),
        // Erased, but not address and user agent.
        |origin| origin.salt = None,
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut changed = sample_entry(7);
        let Leaf::V2(origin) = &mut changed.leaf else { panic!("{:?}", changed.leaf) };
        change(origin);
        assert!(!is_intact(&changed), "change {nth}");
    }
    assert!(!is_intact(&LogEntry { leaf: Leaf::V1, ..sample_entry(7) }), "an entry has one version");
    let Leaf::V2(origin) = sample_entry(7).leaf else { panic!("a new entry has the latest version") };
    assert!(!is_intact(&LogEntry { leaf: Leaf::V2(origin), ..sample_entry_v1(7) }), "an entry has one version");
}

#[test]
fn an_entry_without_its_origin_is_intact_from_version_2_on() {
    let entry = sample_entry(7);
    let erased = entry.clone().without_origin();
    assert_eq!((&erased.activity.address, &erased.activity.user_agent), (&None, &None));
    assert!(matches!(erased.leaf, Leaf::V2(OriginHash { salt: None, .. })), "{:?}", erased.leaf);
    assert_eq!(erased.leaf_hash, entry.leaf_hash);
    assert!(is_intact(&erased));
    let mut changed = erased;
    changed.activity.actor_id = None;
    assert!(!is_intact(&changed));
    assert!(!is_intact(&sample_entry_v1(7).without_origin()));
}

#[test]
fn equal_origins_have_different_hashes() {
    let LogEntry { activity, position, .. } = sample_entry(7);
    let [a, b] = [activity.clone(), activity].map(|activity| LogEntry::new(activity, position));
    assert!(is_intact(&a) && is_intact(&b));
    let (Leaf::V2(of_a), Leaf::V2(of_b)) = (a.leaf, b.leaf) else { panic!("new entries have the latest version") };
    assert_ne!(of_a.salt, of_b.salt);
    assert_ne!(of_a.hash, of_b.hash);
}

proptest! {
    /// Moving characters between adjacent fields changes the encoding.
    #[test]
    fn adjacent_fields_are_separated(a in "[a-z]{0,6}", b in "[a-z]{0,6}", c in "[a-z]{0,6}", d in "[a-z]{0,6}") {
        for LogEntry { activity, position, leaf, .. } in [sample_entry_v1(1), sample_entry(1)] {
            let with = |action: &str, resource_type: &str| {
                let (action, resource_type) = (action.to_owned(), resource_type.to_owned());
                Activity { action, resource_type, ..activity.clone() }.canonical(position, &leaf)
            };
            prop_assert_eq!(with(&a, &b) == with(&c, &d), (&a, &b) == (&c, &d));
        }
    }

    /// So it does between address, user agent and request id. The texts differ in their length only, so that their
    /// concatenations are often equal.
    #[test]
    fn parts_of_the_origin_are_separated(a in "x{0,2}", b in "x{0,2}", c in "x{0,2}",
                                         d in "x{0,2}", e in "x{0,2}", f in "x{0,2}") {
        for v1 in [true, false] {
            let encode = |address: &str, user_agent: &str, request_id: &str| {
                let LogEntry { mut activity, position, .. } = sample_entry(1);
                activity.address = Some(address.to_owned());
                activity.user_agent = Some(user_agent.to_owned());
                activity.request_id = Some(request_id.to_owned());
                let leaf = if v1 { Leaf::V1 } else { Leaf::V2(OriginHash::new(&activity, [7; 32])) };
                activity.canonical(position, &leaf)
            };
            prop_assert_eq!(encode(&a, &b, &c) == encode(&d, &e, &f), (&a, &b, &c) == (&d, &e, &f));
        }
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
