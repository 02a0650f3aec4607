//! Fixture of the permission tests: two accounts with every kind of resource.

use std::collections::BTreeMap;

use baton_tests::{Person, Platform, Team};
use serde_json::{Value, json};
use uuid::Uuid;

use super::samples::Samples;

/// Two accounts with every kind of resource that a request can name.
pub(super) struct Fixture {
    pub(super) platform: Platform,
    pub(super) team: Team,
    pub(super) other: Team,
    /// For each role, its own resources that no call changes, and the visible resources of the other account.
    pub(super) samples: BTreeMap<&'static str, Samples>,
    /// A task that is in the activity log.
    pub(super) logged_task: Uuid,
}

/// A kind of resource that a call may need for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourceKind {
    Task,
    Parent,
    Comment,
    View,
    CustomField,
    Reminder,
    Attachment,
    TimeEntry,
    Invitation,
    Automation,
}

impl Fixture {
    pub(super) async fn seed(platform: Platform, team: Team, other: Team) -> Self {
        // Without the setting, REASSIGNMENT_NOT_ALLOWED would precede the check of ids.
        let settings = format!("/v1/accounts/{}/settings", team.account_id);
        team.owner.patch(&settings, &json!({"managers_may_reassign": true})).ok().await;
        let logged_task = team.owner.create_task("In the log").await;
        let others = others(&team, &other).await;
        let mut samples = BTreeMap::new();
        for (role, person) in team.roles() {
            // Each role needs a notification: the owner gets them for accepted invitations, others for an assigned
            // task.
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

    /// A snapshot of the other account as its users see it.
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

/// Users of one account and resources of the other.
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
        privacy_request: Some(privacy_request(team).await),
        other_privacy_request: Some(privacy_request(other).await),
        other_attachment: Some(attachment(owner, shared).await),
        other_automation: Some(automation(owner).await),
        other_task_event: Some(first_event(owner, shared).await),
        ..Samples::default()
    }
}

impl Samples {
    /// Creates the wanted resources for this user.
    pub(super) async fn renew(&mut self, person: &Person, team: &Team, wanted: impl Fn(ResourceKind) -> bool) {
        let task = || person.create_task("For a call");
        if wanted(ResourceKind::Task) {
            let task = task().await;
            (self.task, self.task_event) = (Some(task), Some(first_event(person, task).await));
        }
        if wanted(ResourceKind::Parent) {
            self.parent = Some(task().await);
        }
        if wanted(ResourceKind::Comment) {
            let about = if wanted(ResourceKind::Task) { self.task.unwrap() } else { task().await };
            self.comment = Some(comment(person, about).await);
        }
        if wanted(ResourceKind::View) {
            self.view = Some(view(person).await);
        }
        if wanted(ResourceKind::CustomField) {
            self.custom_field = Some(custom_field(&team.owner).await);
        }
        if wanted(ResourceKind::Reminder) {
            self.reminder = Some(reminder(person, task().await).await);
        }
        if wanted(ResourceKind::Attachment) {
            self.attachment = Some(attachment(person, task().await).await);
        }
        if wanted(ResourceKind::TimeEntry) {
            self.time_entry = Some(time_entry(person, task().await).await);
        }
        if wanted(ResourceKind::Invitation) {
            self.invitation = Some(invite(team).await);
        }
        if wanted(ResourceKind::Automation) {
            self.automation = Some(automation(person).await);
        }
    }
}

/// Requests the export of what the account has of a member.
async fn privacy_request(team: &Team) -> Uuid {
    let path = format!("/v1/accounts/{}/members/{}/privacy-requests", team.account_id, team.manager.id);
    id(&team.owner.post(&path, &json!({"action": "export"})).ok().await["request"])
}

/// Creates a rule.
async fn automation(person: &Person) -> Uuid {
    let rule = json!({"name": "Sample", "trigger_type": "task_completed", "trigger_conditions": {},
                      "actions": [{"type": "archive"}]});
    id(&person.post("/v1/automations", &rule).ok().await)
}

/// Creates an attachment.
/// The first entry of a task's timeline.
async fn first_event(person: &Person, task: Uuid) -> Uuid {
    id(&person.get(&format!("/v1/tasks/{task}/timeline")).ok().await["events"][0])
}

async fn attachment(person: &Person, task: Uuid) -> Uuid {
    person.attach(task, "sample.txt", "text/plain", b"sample").await
}

/// Creates an invitation as the owner.
async fn invite(team: &Team) -> Uuid {
    let invitation = json!({"email": format!("{}@example.com", Uuid::new_v4().simple()), "role": "user"});
    id(&team.owner.post(&format!("/v1/accounts/{}/members", team.account_id), &invitation).ok().await)
}

/// Creates a time entry of a minute.
async fn time_entry(person: &Person, task: Uuid) -> Uuid {
    let worked = json!({"started_at": "2025-11-22T09:00:00Z", "ended_at": "2025-11-22T09:01:00Z"});
    id(&person.post(&format!("/v1/tasks/{task}/time-entries"), &worked).ok().await)
}

/// Creates a custom field.
async fn custom_field(person: &Person) -> Uuid {
    let key = format!("sample-{}", &Uuid::new_v4().simple().to_string()[..16]);
    id(&person.post("/v1/custom-fields", &json!({"key": key, "name": "Sample", "type": "text"})).ok().await)
}

/// Creates a reminder.
async fn reminder(person: &Person, task: Uuid) -> Uuid {
    id(&person.post(&format!("/v1/tasks/{task}/reminders"), &json!({"before_seconds": 60})).ok().await)
}

/// Creates a shared view.
async fn view(person: &Person) -> Uuid {
    let view = json!({"name": Uuid::new_v4().to_string(), "source": "my", "visibility": "shared"});
    id(&person.post("/v1/views", &view).ok().await)
}

/// Creates a comment.
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

fn id(resource: &Value) -> Uuid {
    resource["id"].as_str().unwrap_or_else(|| panic!("no id: {resource}")).parse().unwrap()
}
