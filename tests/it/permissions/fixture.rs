//! What the walk finds: two accounts with everything that a request can name.

use std::collections::BTreeMap;

use baton_tests::{Person, Platform, Team};
use serde_json::{Value, json};
use uuid::Uuid;

use super::samples::Samples;

/// Two accounts with everything that a request can name.
pub(super) struct Fixture {
    pub(super) platform: Platform,
    pub(super) team: Team,
    pub(super) other: Team,
    /// For each role, things of its own that no call changes, and those of the other account, which its members see.
    pub(super) samples: BTreeMap<&'static str, Samples>,
    /// A task that is in the activity log.
    pub(super) logged_task: Uuid,
}

/// What a call may need one of for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Task,
    Parent,
    Comment,
    View,
    CustomField,
    Reminder,
    Attachment,
    TimeEntry,
    Invitation,
}

impl Fixture {
    pub(super) async fn seed(platform: Platform, team: Team, other: Team) -> Self {
        // Where the setting says no, REASSIGNMENT_NOT_ALLOWED would stand before the ids.
        let settings = format!("/v1/accounts/{}/settings", team.account_id);
        team.owner.patch(&settings, &json!({"managers_may_reassign": true})).ok().await;
        let logged_task = team.owner.create_task("In the log").await;
        let others = others(&team, &other).await;
        let mut samples = BTreeMap::new();
        for (role, person) in team.roles() {
            // The owner is told that those they invited have joined; all others are given a task.
            if role != "owner" {
                let handed = json!({"title": "Handed over", "assigned_to": person.id});
                team.owner.post("/v1/tasks", &handed).ok().await;
            }
            let notification = Some(first_notification(person).await);
            let mut own = Samples { caller: Some(person.id), notification, ..others.clone() };
            own.renew(person, &team, |_| true).await;
            samples.insert(role, own);
        }
        let log = format!("/v1/activity-logs/task/{logged_task}");
        baton_tests::eventually("the task in the log", async || {
            (team.owner.get(&log).send().await.status == 200).then_some(())
        })
        .await;
        Self { platform, team, other, samples, logged_task }
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

/// The people of one account, and the things of the other.
async fn others(team: &Team, other: &Team) -> Samples {
    let owner = &other.owner;
    let shared = json!({"title": "Shared", "visibility": "account"});
    let shared = id(&owner.post("/v1/tasks", &shared).ok().await);
    let held = json!({"title": "Held", "visibility": "account", "assigned_to": other.user.id});
    owner.post("/v1/tasks", &held).ok().await;
    Samples {
        account_id: Some(team.account_id),
        manager: Some(team.manager.id),
        member: Some(team.user.id),
        other_account: Some(other.account_id),
        other_task: Some(shared),
        other_member: Some(other.user.id),
        other_notification: Some(first_notification(&other.user).await),
        other_invitation: Some(invite(other).await),
        other_comment: Some(comment(owner, shared).await),
        other_view: Some(view(owner).await),
        other_reminder: Some(reminder(owner, shared).await),
        other_custom_field: Some(custom_field(owner).await),
        other_time_entry: Some(time_entry(owner, shared).await),
        other_attachment: Some(attachment(owner, shared).await),
        ..Samples::default()
    }
}

impl Samples {
    /// New things of the person's own: those that are wanted.
    pub(super) async fn renew(&mut self, person: &Person, team: &Team, wanted: impl Fn(Thing) -> bool) {
        let task = || person.create_task("For a call");
        if wanted(Thing::Task) {
            self.task = Some(task().await);
        }
        if wanted(Thing::Parent) {
            self.parent = Some(task().await);
        }
        if wanted(Thing::Comment) {
            let about = if wanted(Thing::Task) { self.task.unwrap() } else { task().await };
            self.comment = Some(comment(person, about).await);
        }
        if wanted(Thing::View) {
            self.view = Some(view(person).await);
        }
        if wanted(Thing::CustomField) {
            self.custom_field = Some(custom_field(&team.owner).await);
        }
        if wanted(Thing::Reminder) {
            self.reminder = Some(reminder(person, task().await).await);
        }
        if wanted(Thing::Attachment) {
            self.attachment = Some(attachment(person, task().await).await);
        }
        if wanted(Thing::TimeEntry) {
            self.time_entry = Some(time_entry(person, task().await).await);
        }
        if wanted(Thing::Invitation) {
            self.invitation = Some(invite(team).await);
        }
    }
}

/// A file of a task.
async fn attachment(person: &Person, task: Uuid) -> Uuid {
    person.attach(task, "sample.txt", "text/plain", b"sample").await
}

/// A new invitation, by the owner.
async fn invite(team: &Team) -> Uuid {
    let invitation = json!({"email": format!("{}@example.com", Uuid::new_v4().simple()), "role": "user"});
    id(&team.owner.post(&format!("/v1/accounts/{}/members", team.account_id), &invitation).ok().await)
}

/// A minute of work on a task that is the person's own.
async fn time_entry(person: &Person, task: Uuid) -> Uuid {
    let worked = json!({"started_at": "2025-11-22T09:00:00Z", "ended_at": "2025-11-22T09:01:00Z"});
    id(&person.post(&format!("/v1/tasks/{task}/time-entries"), &worked).ok().await)
}

/// A new custom field of the person's account.
async fn custom_field(person: &Person) -> Uuid {
    let key = format!("sample-{}", &Uuid::new_v4().simple().to_string()[..16]);
    id(&person.post("/v1/custom-fields", &json!({"key": key, "name": "Sample", "type": "text"})).ok().await)
}

/// A new reminder of a task.
async fn reminder(person: &Person, task: Uuid) -> Uuid {
    id(&person.post(&format!("/v1/tasks/{task}/reminders"), &json!({"before_seconds": 60})).ok().await)
}

/// A new view, shared.
async fn view(person: &Person) -> Uuid {
    let view = json!({"name": Uuid::new_v4().to_string(), "source": "my", "visibility": "shared"});
    id(&person.post("/v1/views", &view).ok().await)
}

/// A new comment on a task.
async fn comment(person: &Person, task: Uuid) -> Uuid {
    id(&person.post(&format!("/v1/tasks/{task}/comments"), &json!({"body": "A comment"})).ok().await)
}

async fn first_notification(person: &Person) -> Uuid {
    baton_tests::eventually("a notification", || async {
        let list = person.get("/v1/notifications").ok().await;
        list["notifications"].get(0).map(id)
    })
    .await
}

fn id(thing: &Value) -> Uuid {
    thing["id"].as_str().unwrap_or_else(|| panic!("no id: {thing}")).parse().unwrap()
}
