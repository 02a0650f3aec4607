use baton_catalog::EventType;
use baton_proto::baton::{
    auth::v1::UserEvent,
    events::v1::Origin,
    notification::v1::{NotificationEvent, NotificationType},
    task::v1::{TaskEvent, TaskEventKind, TaskStatus},
    tenancy::v1::{AccountEvent, MemberEvent, Role as ProtoRole},
};
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
        via: None,
    }
}

fn row<M: Name>(kind: &str, payload: &M) -> Activity {
    super::activity(&envelope(kind, Some(Any::from_msg(payload).unwrap()))).unwrap().unwrap()
}

fn details(activity: &Activity) -> Vec<(&str, &str)> {
    activity.details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
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
        assert_eq!(super::activity(&event).unwrap(), None);
    }
}

#[test]
fn an_unknown_payload_type_is_logged_by_its_envelope() {
    let unknown = Any { type_url: "/baton.task.v9.TaskEvent".to_owned(), value: vec![1, 2, 3] };
    let activity = super::activity(&envelope("task.archived", Some(unknown))).unwrap().unwrap();
    assert_eq!((activity.action.as_str(), activity.details.len()), ("task.archived", 0));
    let event = Envelope { actor_id: String::new(), origin: None, ..envelope("task.archived", None) };
    let activity = super::activity(&event).unwrap().unwrap();
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
        assert!(super::activity(&bad).is_err(), "{bad:?}");
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
        let activity = super::activity(&event).unwrap().unwrap();
        assert!(!format!("{activity:?}").contains("Ada"), "{}: {activity:?}", of.full_name());
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} messages");
}

#[test]
fn every_event_type_of_the_catalogue_is_logged() {
    for kind in EventType::ALL {
        let activity = super::activity(&envelope(kind.name(), None)).unwrap().unwrap();
        assert_eq!(activity.action, kind.name());
        assert_eq!(activity.resource_type, kind.noun());
    }
}

#[test]
fn service_that_acted_for_the_person_is_a_detail() {
    let rule = Uuid::from_u128(7).to_string();
    let via = Via { service: "automation".to_owned(), kind: "rule".to_owned(), id: rule.clone(), depth: 2 };
    let event = Envelope { via: Some(via), ..envelope("task.archived", None) };
    let activity = super::activity(&event).unwrap().unwrap();
    let expected = [("via_depth", "2"), ("via_id", rule.as_str()), ("via_kind", "rule"), ("via_service", "automation")];
    assert_eq!(details(&activity), expected);
    assert_eq!(activity.actor_id, Some(ACTOR));

    // Nothing but a name or an id is taken for one, and what the service did not name is left out.
    let text = || "free text".to_owned();
    let via = Via { service: "ai".to_owned(), kind: text(), id: text(), ..Via::default() };
    let event = Envelope { via: Some(via), ..envelope("task.archived", None) };
    assert_eq!(details(&super::activity(&event).unwrap().unwrap()), [("via_service", "ai")]);
}
