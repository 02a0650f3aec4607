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
    Activity::from_event(&envelope(kind, Some(Any::from_msg(payload).unwrap()))).unwrap().unwrap()
}

fn details(activity: &Activity) -> Vec<(&str, &str)> {
    activity.details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A sample entry, also for tests of other modules.
pub(crate) fn sample_entry(seq: i64) -> LogEntry {
    let payload = TaskEvent { assigned_to: OTHER.to_string(), ..TaskEvent::default() };
    let activity = row("task.assigned", &payload);
    let position = LogPosition { seq, recorded_at: activity.occurred_at };
    let leaf_hash = activity.leaf_hash(position).to_vec();
    LogEntry { activity, position, leaf_hash }
}

#[test]
fn an_entry_has_actor_action_resource_and_origin() {
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
fn member_account_and_notification_events_are_logged() {
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
fn events_without_an_account_are_not_logged() {
    let user = UserEvent { user_id: SUBJECT.to_string(), ..UserEvent::default() };
    for kind in ["user.registered", "session.opened"] {
        let event = envelope(kind, Some(Any::from_msg(&user).unwrap()));
        let event = Envelope { account_id: String::new(), ..event };
        assert_eq!(Activity::from_event(&event).unwrap(), None);
    }
}

#[test]
fn an_unknown_payload_type_is_logged_by_its_envelope() {
    let unknown = Any { type_url: "/baton.task.v9.TaskEvent".to_owned(), value: vec![1, 2, 3] };
    let activity = Activity::from_event(&envelope("task.archived", Some(unknown))).unwrap().unwrap();
    assert_eq!((activity.action.as_str(), activity.details.len()), ("task.archived", 0));
    let event = Envelope { actor_id: String::new(), origin: None, ..envelope("task.archived", None) };
    let activity = Activity::from_event(&event).unwrap().unwrap();
    assert_eq!((activity.actor_id, activity.address, activity.user_agent), (None, None, None));
}

#[test]
fn a_malformed_envelope_is_refused() {
    let good = envelope("task.created", None);
    for bad in [
        Envelope { r#type: "nonsense".to_owned(), ..good.clone() },
        Envelope { id: "x".to_owned(), ..good.clone() },
        Envelope { subject_id: String::new(), ..good.clone() },
        Envelope { occurred_at: None, ..good.clone() },
    ] {
        assert!(Activity::from_event(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_of_custom_fields_are_not_logged() {
    let changed = ["custom_fields.salary of Ada", "title", "custom_fields.x", "Ada Lovelace", ""];
    let task = TaskEvent { changed_fields: changed.map(str::to_owned).to_vec(), ..TaskEvent::default() };
    assert_eq!(row("task.updated", &task).changed_fields, ["custom_fields", "title"]);
}

/// Fills every string field of every event message with text, and expects none of it in the log.
#[test]
fn no_payload_text_reaches_the_log() {
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
        let activity = Activity::from_event(&event).unwrap().unwrap();
        assert!(!format!("{activity:?}").contains("Ada"), "{}: {activity:?}", of.full_name());
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} messages");
}

/// Every event type in the sources of the services is logged, future ones included.
#[test]
fn every_event_type_in_the_sources_is_logged() {
    let kinds = event_types_in_sources();
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
        let activity = Activity::from_event(&envelope(&kind, None)).unwrap().unwrap();
        assert_eq!(activity.action, kind);
        assert_eq!(Some(activity.resource_type.as_str()), kind.split('.').next());
    }
}

/// Event types in the string literals of the services' `events` modules.
fn event_types_in_sources() -> BTreeSet<String> {
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
            if literal.split_once('.').is_some_and(|(noun, verb)| is_word(noun) && is_word(verb)) {
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
