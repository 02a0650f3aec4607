//! A valid request for every RPC, with a value in every field. A field without a sample fails the test; add a line for
//! it.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, MethodDescriptor, Value};
use uuid::Uuid;

/// The origin of an id in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// An id in the other account.
    Other,
    /// An id that does not exist.
    Nobody,
}

/// Ids for the requests of one call. An absent one is replaced by an id that does not exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    pub(crate) account_id: Option<Uuid>,
    pub(crate) task: Option<Uuid>,
    pub(crate) parent: Option<Uuid>,
    pub(crate) view: Option<Uuid>,
    pub(crate) other_view: Option<Uuid>,
    pub(crate) notification: Option<Uuid>,
    pub(crate) caller: Option<Uuid>,
    pub(crate) manager: Option<Uuid>,
    pub(crate) member: Option<Uuid>,
    pub(crate) other_account: Option<Uuid>,
    pub(crate) other_task: Option<Uuid>,
    pub(crate) other_member: Option<Uuid>,
    pub(crate) other_notification: Option<Uuid>,
    pub(crate) invitation: Option<Uuid>,
    pub(crate) other_invitation: Option<Uuid>,
    pub(crate) comment: Option<Uuid>,
    pub(crate) other_comment: Option<Uuid>,
    pub(crate) custom_field: Option<Uuid>,
    pub(crate) other_custom_field: Option<Uuid>,
    pub(crate) reminder: Option<Uuid>,
    pub(crate) other_reminder: Option<Uuid>,
    pub(crate) time_entry: Option<Uuid>,
    pub(crate) attachment: Option<Uuid>,
    pub(crate) other_attachment: Option<Uuid>,
    pub(crate) other_time_entry: Option<Uuid>,
    pub(crate) privacy_request: Option<Uuid>,
    pub(crate) other_privacy_request: Option<Uuid>,
    pub(crate) task_event: Option<Uuid>,
    pub(crate) other_task_event: Option<Uuid>,
    pub(crate) automation: Option<Uuid>,
    pub(crate) other_automation: Option<Uuid>,
}

/// Fields that hold ids.
const IDS: &[&str] = &[
    "id",
    "account_id",
    "user_id",
    "manager_id",
    "assigned_to",
    "created_by",
    "parent_task_id",
    "before_id",
    "hand_over_to",
    "invitation_id",
    "task_id",
    "actor",
    "comment_id",
    "reminder_id",
    "time_entry_id",
    "attachment_id",
    "parent_id",
    "blocked_by",
    "automation_id",
    "execution_id",
];

/// Fields that conflict with other fields of their message or with the sampled type.
const LEFT_OUT: &[&str] = &[
    // Of another channel than the sample's, a task's.
    "baton.live.v1.WatchRequest.user_id",
    "baton.task.v1.CreateCustomFieldRequest.options",
    "baton.task.v1.CustomFieldChange.options",
    "baton.task.v1.ChangeTasksRequest.task_ids",
    "baton.task.v1.ChangeTasksRequest.assigned_to",
    "baton.task.v1.ChangeTasksRequest.reason",
    "baton.task.v1.ChangeTasksRequest.task",
    "baton.task.v1.ChangeTasksRequest.clear",
    "baton.task.v1.ChangeTasksRequest.add_tags",
    "baton.task.v1.ChangeTasksRequest.remove_tags",
    // Besides `task_id`.
    "baton.automation.v1.TestAutomationRequest.event_id",
    // Besides `automation_id`.
    "baton.automation.v1.TestAutomationRequest.automation",
    "baton.automation.v1.BacktestAutomationRequest.automation",
];

impl Samples {
    /// Samples with ids that do not exist.
    pub(crate) fn of_nobody() -> Self {
        Self::default()
    }

    /// Returns the paths of all ids in an RPC's request.
    pub(crate) fn id_paths(method: &MethodDescriptor) -> Vec<String> {
        fn collect(of: &MessageDescriptor, above: &str, found: &mut Vec<String>) {
            for field in of.fields() {
                let path = format!("{above}{}", field.name());
                if LEFT_OUT.contains(&field.full_name()) {
                    continue;
                }
                match field.kind() {
                    Kind::Message(inner) if inner.full_name().starts_with("baton.") => {
                        collect(&inner, &format!("{path}."), found);
                    }
                    _ if IDS.contains(&field.name()) => found.push(path),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        collect(&method.input(), "", &mut found);
        found
    }

    /// Builds the request. `whose` selects the origin for the path of an id; the default is the caller's own.
    pub(crate) fn request(&self, method: &MethodDescriptor, whose: &dyn Fn(&str) -> Option<Whose>) -> DynamicMessage {
        self.message(method, &method.input(), "", whose)
    }

    fn message(
        &self,
        method: &MethodDescriptor,
        of: &MessageDescriptor,
        above: &str,
        whose: &dyn Fn(&str) -> Option<Whose>,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let path = format!("{above}{}", field.name());
            if LEFT_OUT.contains(&field.full_name()) {
                continue;
            }
            let value = match field.kind() {
                Kind::Message(inner) if inner.full_name() == "google.protobuf.FieldMask" => mask(&inner, of),
                Kind::Message(inner) if inner.full_name().starts_with("baton.") => {
                    Value::Message(self.message(method, &inner, &format!("{path}."), whose))
                }
                _ if IDS.contains(&field.name()) => {
                    Value::String(self.id(method, field.name(), whose(&path)).to_string())
                }
                _ => match sample(&field) {
                    Some(value) => value,
                    None => continue,
                },
            };
            let value = if field.is_list() { Value::List(vec![value]) } else { value };
            message.try_set_field(&field, value).unwrap_or_else(|error| panic!("{}: {error}", field.full_name()));
        }
        message
    }

    fn id(&self, method: &MethodDescriptor, field: &str, whose: Option<Whose>) -> Uuid {
        let package = method.parent_file().package_name().to_owned();
        let (own, other) = match (field, package.as_str()) {
            ("account_id", _) => (self.account_id, self.other_account),
            ("id", _) if method.parent_service().name() == "CustomFieldService" => {
                (self.custom_field, self.other_custom_field)
            }
            ("id", _) if method.parent_service().name() == "ViewService" => (self.view, self.other_view),
            ("id", _) if method.name() == "GetTaskEvent" => (self.task_event, self.other_task_event),
            ("id", "baton.task.v1") => (self.task, self.other_task),
            ("blocked_by", _) => (self.parent, self.other_task),
            // Sessions and keys of the caller that no other call needs.
            ("id", "baton.auth.v1") => (None, None),
            ("id", "baton.privacy.v1") if method.parent_service().name() == "MemberPrivacyService" => {
                (self.privacy_request, self.other_privacy_request)
            }
            // Requests of the caller, who has made none.
            ("id", "baton.privacy.v1") => (None, None),
            ("id", "baton.notification.v1") => (self.notification, self.other_notification),
            ("id", "baton.automation.v1") | ("automation_id", _) => (self.automation, self.other_automation),
            // Rules that have not run.
            ("execution_id", _) => (None, None),
            ("task_id", _) => (self.task, self.other_task),
            ("comment_id" | "parent_id", _) => (self.comment, self.other_comment),
            ("parent_task_id" | "before_id", _) => (self.parent, self.other_task),
            ("reminder_id", _) => (self.reminder, self.other_reminder),
            ("attachment_id", _) => (self.attachment, self.other_attachment),
            ("time_entry_id", _) => (self.time_entry, self.other_time_entry),
            ("created_by", _) => (self.caller, self.other_member),
            ("manager_id" | "hand_over_to", _) => (self.manager, self.other_member),
            ("invitation_id", _) => (self.invitation, self.other_invitation),
            ("user_id" | "assigned_to" | "actor", _) => (self.member, self.other_member),
            _ => panic!("{}: {field} needs a line here", method.full_name()),
        };
        let id = match whose {
            None => own,
            Some(Whose::Other) => other,
            Some(Whose::Nobody) => None,
        };
        id.unwrap_or_else(Uuid::now_v7)
    }
}

/// A valid value for a field that is not an id; `None` for a field to omit.
fn sample(field: &FieldDescriptor) -> Option<Value> {
    let text = |text: &str| Some(Value::String(text.to_owned()));
    match (field.name(), field.kind()) {
        // It would have to match the rest of the request.
        ("page_token", _) => None,
        ("slug", _) => Some(Value::String(format!("sample-{}", Uuid::new_v4().simple()))),
        ("primary_color" | "accent_color", _) => text("#336699"),
        ("logo_url", _) => text("https://example.com/logo.png"),
        ("action", Kind::String) => text("task.created"),
        // A start action, as a dry run.
        ("action", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        ("dry_run", _) => Some(Value::Bool(true)),
        ("type" | "purpose", Kind::String) => text("analytics"),
        ("delegation_id" | "key" | "actor_id", Kind::String)
            if ["IssueDelegatedTokenRequest", "TellRequest"].contains(&field.parent_message().name()) =>
        {
            Some(Value::String(Uuid::now_v7().to_string()))
        }
        ("key", _) => Some(Value::String(format!("sample-{}", &Uuid::new_v4().simple().to_string()[..16]))),
        ("kind", Kind::String) => text("rule"),
        ("id", Kind::String) if field.parent_message().name() == "DelegationCause" => {
            Some(Value::String(Uuid::now_v7().to_string()))
        }
        ("depth", _) => Some(Value::I32(1)),
        ("given", _) => Some(Value::Bool(false)),
        ("method" | "legal_basis", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        ("version", Kind::Int32) => Some(Value::I32(1)),
        ("epoch", _) => Some(Value::I64(1)),
        ("through" | "after" | "withdrawn_epoch", Kind::Int64) => Some(Value::I64(0)),
        ("complete", _) => Some(Value::Bool(false)),
        ("type", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        // When a task is completed, it is archived.
        ("trigger_type", Kind::Enum(_)) => Some(Value::EnumNumber(10)),
        ("trigger_conditions", Kind::Message(of)) => Some(Value::Message(DynamicMessage::new(of))),
        ("actions", Kind::Message(of)) => object(of, "type", "string_value", Value::String("archive".to_owned())),
        ("enabled", _) => Some(Value::Bool(true)),
        ("required", _) => Some(Value::Bool(false)),
        ("resource_type", _) => text("task"),
        ("format", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        ("from", Kind::String) => text("09:00"),
        ("to", Kind::String) => text("17:00"),
        // A permission about tasks: reading them.
        ("permission", Kind::Enum(_)) => Some(Value::EnumNumber(2)),
        ("rejection_enabled" | "ai_enabled" | "analytics_enabled" | "one_running_timer", _) => Some(Value::Bool(true)),
        // Nobody here has one.
        ("require_second_factor", _) => Some(Value::Bool(false)),
        // View names are unique per owner.
        ("name", _) if field.parent_message().name().contains("View") => {
            Some(Value::String(Uuid::new_v4().to_string()))
        }
        // Excludes `before_id`.
        ("after_id", _) => None,
        ("overdue" | "unassigned" | "has_due", Kind::Bool) => None,
        ("due" | "created" | "updated" | "completed", Kind::String) => None,
        ("q", _) => text("Sample"),
        ("prefix", _) => text("sa"),
        ("position", Kind::Int32) => Some(Value::I32(1)),
        ("layout", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        // The role of the user that the request names.
        ("board" | "source", Kind::Enum(_)) => Some(Value::EnumNumber(2)),
        ("title" | "name" | "search", _) => text("Sample"),
        // Excludes `before_seconds`.
        ("at", Kind::Message(_)) => None,
        ("before_seconds", _) => Some(Value::I32(60)),
        ("recurrence_rule", _) => text("FREQ=WEEKLY;BYDAY=MO"),
        ("recurrence_timezone", _) => text("Europe/Berlin"),
        ("body" | "note", _) => text("A sample"),
        ("emoji", _) => text("👍"),
        ("handle", _) => Some(Value::String(format!("sample-{}", &Uuid::new_v4().simple().to_string()[..16]))),
        ("handles", _) => text("sample"),
        ("user_ids" | "task_ids", _) => Some(Value::String(Uuid::now_v7().to_string())),
        ("description" | "reason", _) => text("A sample"),
        ("payload", Kind::Bytes) => Some(Value::Bytes("{}".into())),
        ("signature", _) => text("t=0,v1=00"),
        ("tags", _) => text("sample"),
        ("scopes", _) => text("tasks:read"),
        ("service" | "audience", _) => text("auth"),
        ("secret", _) => text("sample"),
        ("ids" | "account_ids", Kind::String) => Some(Value::String(Uuid::now_v7().to_string())),
        ("email", _) => Some(Value::String(format!("sample-{}@example.com", Uuid::new_v4().simple()))),
        ("password" | "current_password" | "new_password", _) => text("sample lantern orchid 9"),
        ("keep_identities", _) => text("sample"),
        ("remove_second_factor", _) => Some(Value::Bool(false)),
        ("company" | "job_role", _) => text("Sample"),
        ("mobile", _) => text("+4917012345678"),
        ("avatar_url", _) => text("https://example.com/sample.png"),
        ("timezone", _) => text("Europe/Berlin"),
        ("language", _) => text("de-AT"),
        ("first_name" | "last_name", _) => text("Sample"),
        ("token" | "refresh_token" | "mfa_token" | "subject_token", _) => text("sample"),
        ("provider" | "state" | "iss" | "error" | "browser_token", _) => text("sample"),
        ("redirect", _) => text("/sample"),
        ("code", _) => text("000000"),
        // The lowest value of each enum: pending, low, private, user, invited, the first sort and order.
        ("status" | "priority" | "visibility" | "default_visibility" | "role" | "sort" | "order", Kind::Enum(_)) => {
            Some(Value::EnumNumber(1))
        }
        ("file_name", _) => text("sample.txt"),
        ("content_type", _) => text("text/plain"),
        ("size_bytes", _) => Some(Value::I32(6)),
        ("checksum_sha256", _) => text(&"00".repeat(32)),
        ("estimated_seconds", _) => Some(Value::I32(60)),
        // A task's channel, from now on.
        ("channel", _) => Some(Value::EnumNumber(1)),
        ("since" | "after" | "cursor", _) => None,
        // Conversations have no service yet, and exports are their owner's.
        ("conversation_id" | "export_id" | "message_id" | "owner_id", _) => {
            Some(Value::String(Uuid::now_v7().to_string()))
        }
        ("call_id" | "text", _) => text("sample"),
        ("succeeded", _) => Some(Value::Bool(true)),
        ("restricted" | "marketing", _) => Some(Value::Bool(true)),
        // Either this or `sequence`.
        ("from_size", _) => None,
        ("sequence" | "size", Kind::Int32) => Some(Value::I32(1)),
        ("leaf_hash", _) => text(&"00".repeat(32)),
        ("log", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        ("categories", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        ("summary" | "exemption", _) => text("A sample"),
        ("breach_id", _) => Some(Value::String(Uuid::now_v7().to_string())),
        ("discovered_at" | "authority_notified_at" | "people_notified_at", Kind::Message(of)) => {
            let mut time = DynamicMessage::new(of);
            time.set_field_by_name("seconds", Value::I64(1_700_000_000));
            Some(Value::Message(time))
        }
        // The past that is replayed.
        ("from" | "to", Kind::Message(of))
            if ["BacktestAutomationRequest", "ListTaskHistoryRequest"].contains(&field.parent_message().name()) =>
        {
            let mut time = DynamicMessage::new(of);
            let seconds = if field.name() == "from" { 1_700_000_000 } else { 1_700_003_600 };
            time.set_field_by_name("seconds", Value::I64(seconds));
            Some(Value::Message(time))
        }
        ("after_task_id", _) => None,
        ("after_version", _) => Some(Value::I32(0)),
        ("frequency", Kind::Enum(_)) => Some(Value::EnumNumber(2)),
        ("message", _) => text("A sample"),
        ("around_the_clock", _) => Some(Value::Bool(false)),
        ("scope", _) => text("installation"),
        ("query_sha256", _) => Some(Value::Bytes(vec![0; 32].into())),
        ("result", Kind::Bytes) => Some(Value::Bytes("{}".into())),
        ("epsilon_thousandths", _) => Some(Value::U32(1)),
        ("pseudonym", _) => text(&"a".repeat(52)),
        ("reversible", _) => Some(Value::Bool(false)),
        ("ledger_entry_id" | "unless_known_entry_id", _) => None,
        ("sha256", _) => text(&"00".repeat(32)),
        ("id", Kind::String) if field.parent_message().name() == "AcceptPolicyRequest" => text("privacy"),
        ("verification_code", _) => text("00000000"),
        ("cancellation_token", _) => text("sample"),
        ("field", _) => text("first_name"),
        ("value" | "ground", _) => text("Sample"),
        ("first_sequence", _) => Some(Value::U32(1)),
        ("kind" | "category" | "include_categories", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        ("page" | "per_page", Kind::Int32) => Some(Value::I32(1)),
        ("page_size", Kind::Int32) => Some(Value::I32(5)),
        ("limit", Kind::Int32) => Some(Value::I32(5)),
        ("managers_may_reassign", _) => Some(Value::Bool(true)),
        ("can_reassign_tasks" | "include_current", _) => Some(Value::Bool(false)),
        (
            "from" | "to" | "due_at" | "due_from" | "due_to" | "expires_at" | "as_of" | "occurrence_at" | "answered_at",
            Kind::Message(of),
        ) => {
            let mut time = DynamicMessage::new(of);
            time.set_field_by_name("seconds", Value::I64(1_900_000_000));
            Some(Value::Message(time))
        }
        // A past hour.
        ("started_at" | "ended_at", Kind::Message(of)) => {
            let mut time = DynamicMessage::new(of);
            time.set_field_by_name(
                "seconds",
                Value::I64(1_700_000_000 + i64::from(field.name() == "ended_at") * 3_600),
            );
            Some(Value::Message(time))
        }
        ("custom_fields" | "preferences", Kind::Message(of)) => object(of, "sample", "number_value", Value::F64(5.0)),
        _ => panic!("{} needs a sample in permissions/samples.rs", field.full_name()),
    }
}

/// A JSON object with one member.
fn object(of: MessageDescriptor, name: &str, kind: &str, value: Value) -> Option<Value> {
    let Kind::Message(entry) = of.get_field_by_name("fields")?.kind() else { return None };
    let Kind::Message(value_of) = entry.map_entry_value_field().kind() else { return None };
    let mut member = DynamicMessage::new(value_of);
    member.set_field_by_name(kind, value);
    let mut object = DynamicMessage::new(of);
    let members = [(MapKey::String(name.to_owned()), Value::Message(member))];
    object.set_field_by_name("fields", Value::Map(members.into()));
    Some(Value::Message(object))
}

/// A mask of all fields that the request's change sets.
fn mask(of: &MessageDescriptor, request: &MessageDescriptor) -> Value {
    let change = request.fields().find_map(|field| match field.kind() {
        Kind::Message(inner) if inner.full_name().starts_with("baton.") => Some(inner),
        _ => None,
    });
    let change = change.unwrap_or_else(|| panic!("{} has a mask, but no change", request.full_name()));
    let paths = change.fields().map(|field| Value::String(field.name().to_owned())).collect();
    let mut mask = DynamicMessage::new(of.clone());
    mask.set_field_by_name("paths", Value::List(paths));
    Value::Message(mask)
}
