//! What the walk finds: two accounts with everything that a request can name.

use std::collections::BTreeMap;

use baton_tests::{Person, Platform, Team};
use serde_json::{Value, json};
use uuid::Uuid;

/// Two accounts with everything that a request can name.
pub(super) struct World {
    pub(super) platform: Platform,
    pub(super) team: Team,
    pub(super) other: Team,
    /// A notification of each role's, and one of the other account.
    pub(super) notifications: BTreeMap<String, Uuid>,
    /// Tasks of the other account; its members see the first, the second is held by its user.
    pub(super) other_tasks: [Uuid; 2],
    /// An open invitation to the other account.
    pub(super) other_invitation: Uuid,
    /// A task that is in the activity log.
    pub(super) logged_task: Uuid,
    /// A comment in the other account, which its members see.
    pub(super) other_comment: Uuid,
    /// A view that the other account's owner shares.
    pub(super) other_view: Uuid,
    /// A reminder of its owner's.
    pub(super) other_reminder: Uuid,
    /// A custom field of the other account.
    pub(super) other_custom_field: Uuid,
    /// A file of a task in the other account, which its members see.
    pub(super) other_attachment: Uuid,
    /// An interval of a task in the other account, which its members see.
    pub(super) other_time_entry: Uuid,
}

impl World {
    pub(super) async fn furnish(platform: Platform, team: Team, other: Team) -> Self {
        // Where the setting says no, REASSIGNMENT_NOT_ALLOWED would stand before the ids.
        let settings = format!("/v1/accounts/{}/settings", team.account_id);
        team.owner.patch(&settings, &json!({"managers_may_reassign": true})).ok().await;
        let mut notifications = BTreeMap::new();
        for (role, person) in team.roles() {
            // The owner is told that those they invited have joined; all others are given a task.
            if role != "owner" {
                let handed = json!({"title": "Handed over", "assigned_to": person.id});
                team.owner.post("/v1/tasks", &handed).ok().await;
            }
            notifications.insert(role.to_owned(), first_notification(person).await);
        }
        let shared = json!({"title": "Shared", "visibility": "account"});
        let shared = id(&other.owner.post("/v1/tasks", &shared).ok().await);
        let held = json!({"title": "Held", "visibility": "account", "assigned_to": other.user.id});
        let held = id(&other.owner.post("/v1/tasks", &held).ok().await);
        notifications.insert("other".to_owned(), first_notification(&other.user).await);
        let other_invitation = invite(&other).await;
        let logged_task = team.owner.create_task("In the log").await;
        let log = format!("/v1/activity-logs/task/{logged_task}");
        baton_tests::eventually("the task in the log", async || {
            (team.owner.get(&log).send().await.status == 200).then_some(())
        })
        .await;
        let other_comment = comment(&other.owner, shared).await;
        let other_view = view(&other.owner).await;
        let other_reminder = reminder(&other.owner, shared).await;
        let other_custom_field = custom_field(&other.owner).await;
        let other_time_entry = time_entry(&other.owner, shared).await;
        let other_attachment = other.owner.attach(shared, "sample.txt", "text/plain", b"sample").await;
        Self {
            platform,
            team,
            other,
            notifications,
            other_tasks: [shared, held],
            other_invitation,
            logged_task,
            other_comment,
            other_view,
            other_reminder,
            other_custom_field,
            other_attachment,
            other_time_entry,
        }
    }

    /// All that there is in the other account, as its people see it.
    pub(super) async fn other_account(&self) -> Value {
        let account_id = self.other.account_id;
        let owner = &self.other.owner;
        json!({
            "tasks": owner.get("/v1/tasks?per_page=100&sort=created_at&order=asc").ok().await,
            "members": owner.get(&format!("/v1/accounts/{account_id}/members?per_page=100")).ok().await,
            "settings": owner.get(&format!("/v1/accounts/{account_id}/settings")).ok().await,
            "notifications": self.other.user.get("/v1/notifications?per_page=100").ok().await,
        })
    }
}

/// A new invitation, by the owner.
pub(super) async fn invite(team: &Team) -> Uuid {
    let invitation = json!({"email": format!("{}@example.com", Uuid::new_v4().simple()), "role": "user"});
    id(&team.owner.post(&format!("/v1/accounts/{}/members", team.account_id), &invitation).ok().await)
}

/// A minute of work on a task that is the person's own.
pub(super) async fn time_entry(person: &Person, task: Uuid) -> Uuid {
    let worked = json!({"started_at": "2025-11-22T09:00:00Z", "ended_at": "2025-11-22T09:01:00Z"});
    id(&person.post(&format!("/v1/tasks/{task}/time-entries"), &worked).ok().await)
}

/// A new custom field of the person's account.
pub(super) async fn custom_field(person: &Person) -> Uuid {
    let key = format!("sample-{}", &Uuid::new_v4().simple().to_string()[..16]);
    id(&person.post("/v1/custom-fields", &json!({"key": key, "name": "Sample", "type": "text"})).ok().await)
}

/// A new reminder of a task.
pub(super) async fn reminder(person: &Person, task: Uuid) -> Uuid {
    id(&person.post(&format!("/v1/tasks/{task}/reminders"), &json!({"before_seconds": 60})).ok().await)
}

/// A new view, shared.
pub(super) async fn view(person: &Person) -> Uuid {
    let view = json!({"name": Uuid::new_v4().to_string(), "source": "my", "visibility": "shared"});
    id(&person.post("/v1/views", &view).ok().await)
}

/// A new comment on a task.
pub(super) async fn comment(person: &Person, task: Uuid) -> Uuid {
    id(&person.post(&format!("/v1/tasks/{task}/comments"), &json!({"body": "A comment"})).ok().await)
}

async fn first_notification(person: &Person) -> Uuid {
    baton_tests::eventually("a notification", || async {
        let list = person.get("/v1/notifications").ok().await;
        list["notifications"].get(0).map(id)
    })
    .await
}

pub(super) fn id(thing: &Value) -> Uuid {
    thing["id"].as_str().unwrap_or_else(|| panic!("no id: {thing}")).parse().unwrap()
}
