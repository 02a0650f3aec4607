use std::collections::{BTreeSet, HashSet};

use baton_access::{Limits, Settings};
use baton_proto::baton::{
    auth::v1::UserEvent,
    events::v1::Origin,
    notification::v1::{NotificationEvent, NotificationType},
    task::v1::{TaskEvent, TaskEventKind, TaskStatus},
    tenancy::v1::{AccountEvent, MemberEvent, Role as ProtoRole},
};
use proptest::prelude::*;
use prost::{Message as _, Name};
use prost_types::Any;

use super::*;

const ACCOUNT: Uuid = Uuid::from_u128(1);
const SUBJECT: Uuid = Uuid::from_u128(2);
const ACTOR: Uuid = Uuid::from_u128(3);
const OTHER: Uuid = Uuid::from_u128(4);

fn envelope(kind: &str, payload: Option<Any>) -> Envelope {
    Envelope {
        id: Uuid::from_u128(9).to_string(),
        r#type: kind.to_owned(),
        account_id: ACCOUNT.to_string(),
        subject_id: SUBJECT.to_string(),
        actor_id: ACTOR.to_string(),
        occurred_at: Some(prost_types::Timestamp { seconds: 1_795_309_323, nanos: 4_999 }),
        traceparent: String::new(),
        payload,
        origin: Some(Origin {
            request_id: "r1".to_owned(),
            address: "203.0.113.7".to_owned(),
            user_agent: "curl/8".to_owned(),
        }),
    }
}

fn row<M: Name>(kind: &str, payload: &M) -> Activity {
    Activity::of(&envelope(kind, Some(Any::from_msg(payload).unwrap()))).unwrap().unwrap()
}

fn details(activity: &Activity) -> Vec<(&str, &str)> {
    activity.details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A row for tests of others.
pub(crate) fn logged(seq: i64) -> Logged {
    let payload = TaskEvent { assigned_to: OTHER.to_string(), ..TaskEvent::default() };
    let activity = row("task.assigned", &payload);
    let place = Place { seq, recorded_at: activity.occurred_at };
    let leaf_hash = activity.leaf_hash(place).to_vec();
    Logged { activity, place, leaf_hash }
}

#[test]
fn a_row_says_who_did_what_to_which_thing_from_where() {
    let task = TaskEvent {
        task_id: SUBJECT.to_string(),
        kind: TaskEventKind::Assigned.into(),
        version: 3,
        status: TaskStatus::InProgress.into(),
        created_by: ACTOR.to_string(),
        assigned_to: OTHER.to_string(),
        changed_fields: vec!["assigned_to".to_owned()],
        ..TaskEvent::default()
    };
    let activity = row("task.assigned", &task);
    assert_eq!((activity.account_id, activity.actor_id, activity.resource_id), (ACCOUNT, Some(ACTOR), SUBJECT));
    assert_eq!((activity.action.as_str(), activity.resource_type.as_str()), ("task.assigned", "task"));
    assert_eq!(activity.changed_fields, ["assigned_to"]);
    let (actor, other) = (ACTOR.to_string(), OTHER.to_string());
    let expected = [("assigned_to", &*other), ("created_by", &*actor), ("status", "in_progress"), ("version", "3")];
    assert_eq!(details(&activity), expected);
    assert_eq!(activity.address.as_deref(), Some("203.0.113.7"));
    assert_eq!((activity.user_agent.as_deref(), activity.request_id.as_deref()), (Some("curl/8"), Some("r1")));
    assert_eq!(activity.occurred_at.to_rfc3339(), "2026-11-22T01:02:03.000004+00:00");
}

#[test]
fn events_of_members_accounts_and_notifications_are_rows() {
    let member = MemberEvent {
        member_id: SUBJECT.to_string(),
        user_id: OTHER.to_string(),
        role: ProtoRole::SuperManager.into(),
        ..MemberEvent::default()
    };
    let other = OTHER.to_string();
    assert_eq!(details(&row("member.role_changed", &member)), [("role", "super_manager"), ("user_id", &*other)]);
    let settings = AccountEvent { changed_fields: vec!["timezone".to_owned()] };
    assert_eq!(row("account.settings_changed", &settings).changed_fields, ["timezone"]);
    let notification = NotificationEvent {
        notification_id: SUBJECT.to_string(),
        user_id: OTHER.to_string(),
        r#type: NotificationType::TaskAssigned.into(),
        task_id: String::new(),
    };
    assert_eq!(details(&row("notification.created", &notification)), [("type", "task_assigned"), ("user_id", &*other)]);
}

#[test]
fn what_belongs_to_no_account_is_no_row() {
    let user = UserEvent { user_id: SUBJECT.to_string(), ..UserEvent::default() };
    for kind in ["user.registered", "session.opened"] {
        let event = envelope(kind, Some(Any::from_msg(&user).unwrap()));
        let event = Envelope { account_id: String::new(), ..event };
        assert_eq!(Activity::of(&event).unwrap(), None);
    }
}

#[test]
fn an_event_of_a_newer_version_is_logged_by_its_envelope() {
    let unknown = Any { type_url: "/baton.task.v9.TaskEvent".to_owned(), value: vec![1, 2, 3] };
    let activity = Activity::of(&envelope("task.archived", Some(unknown))).unwrap().unwrap();
    assert_eq!((activity.action.as_str(), activity.details.len()), ("task.archived", 0));
    let event = Envelope { actor_id: String::new(), origin: None, ..envelope("task.archived", None) };
    let activity = Activity::of(&event).unwrap().unwrap();
    assert_eq!((activity.actor_id, activity.address, activity.user_agent), (None, None, None));
}

#[test]
fn what_is_no_event_is_refused() {
    let good = envelope("task.created", None);
    for bad in [
        Envelope { r#type: "nonsense".to_owned(), ..good.clone() },
        Envelope { id: "x".to_owned(), ..good.clone() },
        Envelope { subject_id: String::new(), ..good.clone() },
        Envelope { occurred_at: None, ..good.clone() },
    ] {
        assert!(Activity::of(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_custom_field_is_named_without_its_name() {
    let changed = ["custom_fields.salary of Ada", "title", "custom_fields.x", "Ada Lovelace", ""];
    let task = TaskEvent { changed_fields: changed.map(str::to_owned).to_vec(), ..TaskEvent::default() };
    assert_eq!(row("task.updated", &task).changed_fields, ["custom_fields", "title"]);
}

/// Every message of the contract that an event can carry, with a text in every field that takes one: nothing of
/// it reaches the log.
#[test]
fn no_payload_brings_a_text_into_the_log() {
    let mut seen = 0;
    for of in pool().all_messages().filter(|of| of.package_name().starts_with("baton.") && of.name().ends_with("Event"))
    {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields().filter(|field| field.kind() == Kind::String) {
            let text = Value::String("Ada Lovelace".to_owned());
            message.set_field(&field, if field.is_list() { Value::List(vec![text]) } else { text });
        }
        let type_url = format!("/{}", of.full_name());
        let event = envelope("thing.changed", Some(Any { type_url, value: message.encode_to_vec() }));
        let activity = Activity::of(&event).unwrap().unwrap();
        assert!(!format!("{activity:?}").contains("Ada"), "{}: {activity:?}", of.full_name());
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} messages");
}

/// Every type of event in the sources of the services has a row, a new one too.
#[test]
fn every_type_of_event_in_the_tree_is_a_row() {
    let kinds = kinds_in_the_tree();
    for known in [
        "task.reassigned",
        "comment.mentioned",
        "member.invited",
        "account.created",
        "notification.created",
        "session.opened",
    ] {
        assert!(kinds.contains(known), "{known} is not found: {kinds:?}");
    }
    for kind in kinds {
        let activity = Activity::of(&envelope(&kind, None)).unwrap().unwrap();
        assert_eq!(activity.action, kind);
        assert_eq!(Some(activity.resource_type.as_str()), kind.split('.').next());
    }
}

/// What `Event::new` is given, and what the events of tasks are named.
fn kinds_in_the_tree() -> BTreeSet<String> {
    let services = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut kinds = BTreeSet::new();
    let files = std::fs::read_dir(services).unwrap().flat_map(|service| {
        let src = service.unwrap().path().join("src");
        let rooms = std::fs::read_dir(src.join("events")).into_iter().flatten().map(|file| file.unwrap().path());
        rooms.chain([src.join("events.rs")]).collect::<Vec<_>>()
    });
    for path in files {
        let Ok(source) = std::fs::read_to_string(&path) else { continue };
        let literals = source.split('"').skip(1).step_by(2);
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for literal in literals {
            if literal.split_once('.').is_some_and(|(noun, happened)| is_word(noun) && is_word(happened)) {
                kinds.insert(literal.to_owned());
            }
        }
        if let Some((_, macro_call)) = source.split_once("\nkinds! {") {
            let names = macro_call.split('}').next().unwrap().split('"').skip(1).step_by(2);
            kinds.extend(names.map(|name| format!("task.{name}")));
        }
    }
    kinds
}

#[test]
fn the_hash_of_a_row_is_the_leaf_of_a_merkle_tree() {
    let Logged { activity, place, leaf_hash } = logged(7);
    let mut bytes = vec![0];
    bytes.extend(activity.canonical(place));
    assert_eq!(leaf_hash, Sha256::digest(&bytes).to_vec());
    // Bytes are for good: a row that was hashed by an older version must give the same again.
    assert_eq!(crate::export::hex(&leaf_hash), "e8345fed93356a8ff09717a968694b41ebec537c00a98912594083ababbb9f1c");
}

#[test]
fn a_row_with_anything_changed_has_another_hash() {
    let Logged { activity, place, leaf_hash } = logged(7);
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
        assert_ne!(changed.leaf_hash(place).to_vec(), leaf_hash, "change {nth}");
    }
    for place in [
        Place { seq: 8, ..place },
        Place { recorded_at: place.recorded_at + chrono::TimeDelta::microseconds(1), ..place },
    ] {
        assert_ne!(activity.leaf_hash(place).to_vec(), leaf_hash);
    }
}

proptest! {
    /// A text cannot pose as another by moving over into the field beside it.
    #[test]
    fn fields_do_not_run_into_each_other(a in "[a-z]{0,6}", b in "[a-z]{0,6}", c in "[a-z]{0,6}", d in "[a-z]{0,6}") {
        let Logged { activity, place, .. } = logged(1);
        let with = |action: &str, resource_type: &str| {
            let (action, resource_type) = (action.to_owned(), resource_type.to_owned());
            Activity { action, resource_type, ..activity.clone() }.canonical(place)
        };
        prop_assert_eq!(with(&a, &b) == with(&c, &d), (a, b) == (c, d));
    }
}

#[test]
fn people_read_their_own_managers_their_reports_and_higher_roles_all() {
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
        assert_eq!([own, report, other].map(|person| reach(&member, own, person)), expected, "{role:?}");
    }
}
