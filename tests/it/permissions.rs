//! Every RPC x every role x ids of every origin, walked from the descriptors. A new RPC is covered, or a test here
//! fails.

mod contract;
mod fixture;
mod samples;

use std::{collections::BTreeMap, fmt::Display};

use baton_tests::{Person, Platform, grpc};
use futures_util::{StreamExt, stream};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

pub(crate) use contract::{Rule, http_binding, methods, takes_body};
use fixture::{Fixture, ResourceKind};
use samples::{Samples, Whose};

/// The permission matrix of the product requirements, copied by hand: user, manager, super manager, account owner. The
/// last four rows come from its role definitions.
const MATRIX: [(&str, [bool; 4]); 20] = [
    ("PERMISSION_CREATE_OWN_TASKS", [true, true, true, true]),
    ("PERMISSION_ASSIGN_TO_USERS", [false, true, true, true]),
    ("PERMISSION_ASSIGN_TO_MANAGERS", [false, false, true, true]),
    ("PERMISSION_VIEW_OWN_BOARD", [true, true, true, true]),
    ("PERMISSION_VIEW_USER_BOARDS", [false, true, true, true]),
    ("PERMISSION_VIEW_MANAGER_BOARDS", [false, false, true, true]),
    ("PERMISSION_MANAGE_ROLES", [false, false, true, true]),
    ("PERMISSION_ACCOUNT_SETTINGS", [false, false, true, true]),
    ("PERMISSION_BILLING", [false, false, false, true]),
    // "Update task status", "Track own time": everyone.
    ("PERMISSION_WORK_ON_TASKS", [true, true, true, true]),
    // "Optionally reassign tasks to other users": managers.
    ("PERMISSION_REASSIGN_TASKS", [false, true, true, true]),
    ("PERMISSION_VIEW_MEMBERS", [true, true, true, true]),
    ("PERMISSION_OWN_NOTIFICATIONS", [true, true, true, true]),
    // "Cannot delete account": super managers.
    ("PERMISSION_ACCOUNT_LIFECYCLE", [false, false, false, true]),
    ("PERMISSION_OWN_MEMBERSHIP", [true, true, true, true]),
    ("PERMISSION_VIEW_OWN_ACTIVITY", [true, true, true, true]),
    ("PERMISSION_VIEW_ACTIVITY", [false, false, true, true]),
    // "Create automation rules": everyone, for themselves; those of the account are its administrators'.
    ("PERMISSION_OWN_AUTOMATIONS", [true, true, true, true]),
    ("PERMISSION_MANAGE_AUTOMATIONS", [false, false, true, true]),
    // "View team analytics": managers. "Access analytics data": super managers.
    ("PERMISSION_VIEW_ANALYTICS", [false, true, true, true]),
];

/// Reasons that depend on a resource's state or assignee: the permission check has passed.
const DOMAIN: &[&str] = &[
    "TASK_WRONG_STATE",
    "TASK_NOT_ASSIGNED",
    "TASK_NOT_RECURRING",
    "TASK_CHANGE_NOT_ALLOWED",
    "ASSIGNMENT_ALREADY_ACCEPTED",
    "LAST_OWNER",
    "NOTICE_OUTDATED",
    "EXPORT_NOT_READY",
    "CHECKPOINT_NOT_FOUND",
    "WATCHER_INVALID",
    "WATCHER_NOT_FOUND",
    "EXECUTION_NOT_FOUND",
];

#[test]
fn matrix_names_every_permission() {
    let of = baton_proto::pool().get_enum_by_name("baton.access.v1.Permission").unwrap();
    for permission in of.values().filter(|value| value.number() != 0) {
        assert!(
            MATRIX.iter().any(|(name, _)| *name == permission.name()),
            "{} has no row in the matrix",
            permission.name()
        );
    }
}

/// Table cells that are tested concurrently.
const CONCURRENCY: usize = 8;

#[tokio::test]
async fn roles_follow_the_matrix_and_ids_of_other_accounts_are_not_found() {
    let calls = walk(Platform::start().await, |_| true).await;
    // 30 RPCs, 4 roles, at least 4 calls each: the test must not pass because it found no RPC.
    assert!(calls > 30 * 4 * 4, "only {calls} calls");
}

/// Calls the RPCs of the wanted packages as every role with ids of every origin. Returns the number of calls.
pub(crate) async fn walk(platform: Platform, wanted: impl Fn(&str) -> bool) -> usize {
    let (team, other) = (platform.team().await, platform.team().await);
    let fixture = Fixture::seed(platform, team, other).await;
    let before = fixture.other_account().await;
    let methods: Vec<_> =
        methods().into_iter().filter(|(method, _)| wanted(method.parent_file().package_name())).collect();
    let mut cells = Vec::new();
    for (index, (role, person)) in fixture.team.roles().into_iter().enumerate() {
        for (method, rule) in &methods {
            let Rule::Permission(permission) = rule else { continue };
            let may = MATRIX.iter().find(|(name, _)| name == permission).unwrap().1[index];
            cells.push((Case { fixture: &fixture, role, person, method, permission }, may));
        }
    }
    // Calls that are not about tasks run alone, because they change members and settings.
    let (tasks, rest): (Vec<_>, Vec<_>) = cells.into_iter().partition(|(case, _)| case.is_about_tasks());
    let mut calls = 0;
    for (cells, at_a_time) in [(tasks, CONCURRENCY), (rest, 1)] {
        let walks = stream::iter(cells).map(|(case, may)| async move { case.walk(may).await });
        calls += walks.buffer_unordered(at_a_time).fold(0, async |sum, made| sum + made).await;
    }
    assert_eq!(fixture.other_account().await, before, "a call changed the other account");
    calls
}

#[tokio::test]
async fn rpcs_without_a_permission_require_a_token_or_nothing() {
    // Internal RPCs are exposed, so that the services themselves decide about them.
    let platform = Platform::start_with(&[("BATON_GATEWAY_INTERNAL_RPCS", "true")]).await;
    // Ada creates accounts here; the stranger is never a member of one.
    let (ada, stranger) = (platform.person("ada").await, platform.person("stranger").await);
    let samples = Samples::of_nobody();
    let (mut authenticated, mut public) = (0, 0);
    for (method, rule) in methods() {
        let name = method.full_name().to_owned();
        let message = samples.request(&method, &|_| None);
        let call = async |authorization: Option<&str>| {
            let mut request = Request::new(message.clone());
            if let Some(value) = authorization {
                request.metadata_mut().insert("authorization", value.parse().unwrap());
            }
            outcome(&name, grpc::call(&platform.grpc(), &method, request).await)
        };
        let without = call(None).await;
        let nonsense = call(Some("Bearer nonsense")).await;
        match rule {
            Rule::Public => {
                public += 1;
                // Successful responses may differ, for example by a new session.
                assert_eq!(without.checked(), nonsense.checked(), "{name} evaluates a token that it does not need");
                assert_ne!(without.reason(), "TOKEN_MISSING", "{name}");
            }
            Rule::Authenticated => {
                authenticated += 1;
                assert_eq!((without.code(), without.reason()), (Code::Unauthenticated, "TOKEN_MISSING"), "{name}");
                assert_eq!((nonsense.code(), nonsense.reason()), (Code::Unauthenticated, "TOKEN_INVALID"), "{name}");
                let with = call(Some(&format!("Bearer {}", ada.token))).await;
                assert_ne!(with.code(), Code::Unauthenticated, "{name}: {with:?}");
            }
            Rule::Permission(_) => {
                assert_eq!((without.code(), without.reason()), (Code::Unauthenticated, "TOKEN_MISSING"), "{name}");
                assert_eq!((nonsense.code(), nonsense.reason()), (Code::Unauthenticated, "TOKEN_INVALID"), "{name}");
                let with = call(Some(&format!("Bearer {}", stranger.token))).await;
                assert_eq!((with.code(), with.reason()), (Code::PermissionDenied, "NOT_A_MEMBER"), "{name}");
            }
            Rule::Operator => {
                assert_eq!((without.code(), without.reason()), (Code::Unauthenticated, "TOKEN_MISSING"), "{name}");
                assert_eq!((nonsense.code(), nonsense.reason()), (Code::Unauthenticated, "TOKEN_INVALID"), "{name}");
                let with = call(Some(&format!("Bearer {}", ada.token))).await;
                assert_eq!((with.code(), with.reason()), (Code::PermissionDenied, "OPERATOR_ONLY"), "{name}");
            }
            Rule::ServiceOnly => {
                let with = call(Some(&format!("Bearer {}", ada.token))).await;
                for refused in [&without, &nonsense, &with] {
                    assert_eq!((refused.code(), refused.reason()), (Code::PermissionDenied, "SERVICE_ONLY"), "{name}");
                }
            }
        }
    }
    assert!(authenticated >= 5 && public >= 5, "{authenticated} authenticated, {public} public");
}

/// Internal RPCs are not found through the gateway.
#[tokio::test]
async fn internal_rpcs_are_not_reachable_from_outside() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let samples = Samples::of_nobody();
    let mut internal = 0;
    for (method, rule) in methods() {
        if rule != Rule::ServiceOnly && !(rule == Rule::Public && http_binding(&method).is_none()) {
            continue;
        }
        internal += 1;
        let mut request = Request::new(samples.request(&method, &|_| None));
        request.metadata_mut().insert("authorization", format!("Bearer {}", ada.token).parse().unwrap());
        let name = method.full_name().to_owned();
        let refused = outcome(&name, grpc::call(&platform.grpc(), &method, request).await);
        assert_eq!((refused.code(), refused.reason()), (Code::Unimplemented, "ROUTE_NOT_FOUND"), "{name}");
    }
    assert!(internal >= 3, "{internal}");
}

#[tokio::test]
async fn rest_call_without_a_token_returns_401() {
    let platform = Platform::start().await;
    let mut routes = 0;
    for (method, rule) in methods() {
        let Some((verb, template)) = http_binding(&method) else { continue };
        routes += 1;
        let path: Vec<_> = template
            .split('/')
            .map(|segment| if segment.starts_with('{') { Uuid::now_v7().to_string() } else { segment.to_owned() })
            .collect();
        let verb = Method::from_bytes(verb.to_ascii_uppercase().as_bytes()).unwrap();
        let mut call = platform.rest().call(verb.clone(), &path.join("/"));
        if takes_body(&method) {
            call = call.json(&json!({}));
        }
        let response = call.send().await;
        if rule == Rule::Public {
            assert!(response.status < 500, "{verb} {template}: {}", response.text);
            assert!(!response.text.contains("TOKEN_MISSING"), "{verb} {template}: {}", response.text);
        } else {
            response.refused(401, "TOKEN_MISSING");
            assert_eq!(response.header("www-authenticate"), "Bearer", "{verb} {template}");
        }
    }
    assert!(routes > 30, "only {routes} routes");
}

/// A role that calls an RPC.
struct Case<'a> {
    fixture: &'a Fixture,
    role: &'a str,
    person: &'a Person,
    method: &'a MethodDescriptor,
    permission: &'a str,
}

impl Case<'_> {
    async fn walk(&self, may: bool) -> usize {
        let here = if may { self.check_allowed().await } else { self.check_refused().await };
        here + self.check_other_account().await
    }

    fn is_about_tasks(&self) -> bool {
        self.method.parent_file().package_name() == "baton.task.v1"
    }

    /// The role has the permission: own resources are accessible, those of another account are not found.
    async fn check_allowed(&self) -> usize {
        let own = self.call_with_own_resources().await;
        match &own {
            Outcome::Answered(_) => {}
            Outcome::Refused { reason, .. } => assert!(DOMAIN.contains(&reason.as_str()), "{self}: {own:?}"),
        }
        let mut paths = Samples::id_paths(self.method);
        // A view stores any filter; its results contain only visible tasks.
        paths.retain(|path| self.method.parent_service().name() != "ViewService" || !path.contains("filter."));
        for path in &paths {
            let foreign = self.call(self.account_id(), &|at| (at == path).then_some(Whose::Other)).await;
            let never = self.call(self.account_id(), &|at| (at == path).then_some(Whose::Nobody)).await;
            assert_eq!(foreign, never, "{self}: {path} of another account differs from a missing one");
            // A filter by an unknown id finds nothing; any other id must exist.
            if !path.starts_with("filter.") {
                assert!(matches!(foreign, Outcome::Refused { .. }), "{self}: {path} reaches into another account");
            }
        }
        1 + 2 * paths.len()
    }

    /// The role lacks the permission: the response is the same for every id.
    async fn check_refused(&self) -> usize {
        let own = self.call(self.account_id(), &|_| None).await;
        assert_eq!((own.code(), own.reason()), (Code::PermissionDenied, "PERMISSION_MISSING"), "{self}: {own:?}");
        let Outcome::Refused { metadata, .. } = &own else { unreachable!("it has a reason") };
        assert_eq!(metadata.get("permission").map(String::as_str), Some(self.permission), "{self}");
        for whose in [Whose::Other, Whose::Nobody] {
            assert_eq!(self.call(self.account_id(), &|_| Some(whose)).await, own, "{self}: ids of {whose:?}");
        }
        3
    }

    /// In another account no role has access, whether or not the account exists.
    async fn check_other_account(&self) -> usize {
        let foreign = self.call(self.fixture.other.account_id, &|_| Some(Whose::Other)).await;
        let never = self.call(Uuid::now_v7(), &|_| Some(Whose::Nobody)).await;
        assert_eq!(foreign, never, "{self}: another account differs from a missing one");
        assert_eq!((foreign.code(), foreign.reason()), (Code::PermissionDenied, "NOT_A_MEMBER"), "{self}");
        2
    }

    fn account_id(&self) -> Uuid {
        self.fixture.team.account_id
    }

    /// Calls with samples in all fields. `whose` selects the owner for the path of an id; the default is the caller.
    /// For calls that change nothing: all of them use the same resources.
    async fn call(&self, account_id: Uuid, whose: &dyn Fn(&str) -> Option<Whose>) -> Outcome {
        self.send(account_id, &self.fixture.samples[self.role], whose).await
    }

    /// Calls with fresh resources, which the call may change.
    async fn call_with_own_resources(&self) -> Outcome {
        let (fixture, person) = (self.fixture, self.person);
        let mut samples = fixture.samples[self.role].clone();
        samples.renew(person, &fixture.team, |resource| self.names(resource)).await;
        match (self.method.name(), samples.task, samples.parent) {
            ("RestoreTask", Some(task), _) => {
                person.delete(&format!("/v1/tasks/{task}")).ok().await;
            }
            ("RemoveDependency", Some(task), Some(blocker)) => {
                let link = json!({"blocked_by": blocker});
                person.post(&format!("/v1/tasks/{task}/dependencies"), &link).ok().await;
            }
            // A task appears in the log with a delay.
            ("ListTaskActivityLogs", ..) => samples.task = Some(fixture.logged_task),
            ("RemoveMember", ..) => samples.member = Some(self.spare().await),
            _ => {}
        }
        let ends_it = self.permission == "PERMISSION_ACCOUNT_LIFECYCLE"
            && self.role == "owner"
            && self.method.parent_service().name() == "AccountService";
        if ends_it || self.method.name() == "LeaveAccount" {
            self.use_fresh_account(&mut samples).await;
        }
        self.send(samples.account_id.unwrap(), &samples, &|_| None).await
    }

    /// Whether the request contains an id of this kind of resource.
    fn names(&self, resource: ResourceKind) -> bool {
        let paths = Samples::id_paths(self.method);
        let any = |names: &[&str]| self.is_about_tasks() && paths.iter().any(|path| names.contains(&path.as_str()));
        let service = self.method.parent_service().name().to_owned();
        match resource {
            ResourceKind::Task => any(&["id", "task_id"]),
            ResourceKind::Parent => any(&["parent_task_id", "task.parent_task_id", "blocked_by", "before_id"]),
            ResourceKind::Comment => any(&["comment_id", "parent_id"]),
            ResourceKind::View => service == "ViewService" && any(&["id"]),
            ResourceKind::CustomField => service == "CustomFieldService" && any(&["id"]),
            ResourceKind::Reminder => any(&["reminder_id"]),
            ResourceKind::Attachment => any(&["attachment_id"]),
            ResourceKind::TimeEntry => any(&["time_entry_id"]),
            ResourceKind::Invitation => paths.iter().any(|path| path == "invitation_id"),
            ResourceKind::Automation => {
                service == "AutomationService" && paths.iter().any(|path| path == "id")
                    || paths.iter().any(|path| path == "automation_id")
            }
        }
    }

    async fn send(&self, account_id: Uuid, samples: &Samples, whose: &dyn Fn(&str) -> Option<Whose>) -> Outcome {
        let message = samples.request(self.method, whose);
        let request = self.person.grpc(Some(account_id), message);
        outcome(self, grpc::call(&self.fixture.platform.grpc(), self.method, request).await)
    }

    /// Replaces the account by a fresh one of the caller, perhaps with a member, because the call ends the account or a
    /// membership.
    async fn use_fresh_account(&self, samples: &mut Samples) {
        let fresh = self.person.create_account("Fresh").await;
        samples.account_id = Some(fresh);
        // The number of free accounts per owner is limited; the test needs one for every call.
        let mut conn = PgConnection::connect(self.fixture.platform.database_url()).await.unwrap();
        let pay = "update tenancy.accounts set subscription_tier = 'pro' where id = $1";
        sqlx::query(pay).bind(fresh).execute(&mut conn).await.unwrap();
        if self.method.name() == "TransferOwnership" {
            let successor = self.fixture.platform.person("successor").await;
            self.fixture.platform.join(fresh, self.person, &successor, "user", None).await;
            samples.member = Some(successor.id);
        }
    }

    /// A member that no other call needs.
    async fn spare(&self) -> Uuid {
        let (fixture, members) = (self.fixture, format!("/v1/accounts/{}/members?role=user", self.account_id()));
        let list = fixture.team.owner.get(&members).ok().await;
        let known = list["members"].as_array().unwrap().iter().filter_map(|member| member["user_id"].as_str());
        if let Some(id) = known.map(|id| id.parse().unwrap()).find(|id| *id != fixture.team.user.id) {
            return id;
        }
        let spare = fixture.platform.person("spare").await;
        fixture.platform.join(self.account_id(), &fixture.team.owner, &spare, "user", None).await;
        spare.id
    }
}

impl Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} as {}", self.method.full_name(), self.role)
    }
}

/// Everything by which a caller can distinguish responses.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(DynamicMessage),
    Refused {
        code: Code,
        reason: String,
        message: String,
        metadata: BTreeMap<String, String>,
        fields: Vec<(String, String)>,
    },
}

impl Outcome {
    fn code(&self) -> Code {
        match self {
            Self::Answered(_) => Code::Ok,
            Self::Refused { code, .. } => *code,
        }
    }

    /// The refusal; `None` if the call succeeded.
    fn checked(&self) -> Option<&Self> {
        matches!(self, Self::Refused { .. }).then_some(self)
    }

    fn reason(&self) -> &str {
        match self {
            Self::Answered(_) => "",
            Self::Refused { reason, .. } => reason,
        }
    }
}

fn outcome(what: &impl Display, response: Result<DynamicMessage, Status>) -> Outcome {
    let status = match response {
        Ok(response) => return Outcome::Answered(response),
        Err(status) => status,
    };
    let info = grpc::info(&status);
    assert!(![Code::Internal, Code::Unknown, Code::Unavailable].contains(&status.code()), "{what}: {status:?}");
    let fields = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    Outcome::Refused {
        code: status.code(),
        reason: info.reason,
        message: status.message().to_owned(),
        metadata: info.metadata.into_iter().collect(),
        fields: fields.into_iter().map(|violation| (violation.field, violation.description)).collect(),
    }
}
