//! The core of the task story over gRPC and gRPC-Web, with our own and with third-party clients.

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_proto::{
    DESCRIPTORS,
    baton::{
        api::v1::Page,
        auth::v1::{
            GetMeRequest, LoginRequest, RegisterRequest, VerifyEmailRequest, auth_service_client::AuthServiceClient,
            user_service_client::UserServiceClient,
        },
        notification::v1::{
            ListNotificationsRequest, NotificationType, notification_service_client::NotificationServiceClient,
        },
        task::v1::{
            AcceptTaskRequest, AssignTaskRequest, CompleteTaskRequest, CreateTaskRequest, ListTasksRequest,
            PauseTaskRequest, ResumeTaskRequest, StartTaskRequest, TaskFilter, TaskPriority, TaskStatus,
            task_service_client::TaskServiceClient,
        },
        tenancy::v1::{
            AcceptInvitationRequest, CreateAccountRequest, InviteMemberRequest, Role,
            account_service_client::AccountServiceClient, member_service_client::MemberServiceClient,
        },
    },
};
use baton_tests::{PASSWORD, Platform, eventually, grpc::info, run_node};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Request};
use tonic_types::{StatusExt, pb};

struct Caller {
    id: String,
    email: String,
    token: String,
    account: Option<String>,
}

impl Caller {
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        if let Some(account) = &self.account {
            request.metadata_mut().insert("x-account-id", account.parse().unwrap());
        }
        request
    }
}

async fn sign_up(platform: &Platform, name: &str) -> Caller {
    let mut auth = AuthServiceClient::new(platform.grpc());
    let email = format!("{name}@example.com");
    let register = RegisterRequest {
        email: email.clone(),
        password: PASSWORD.to_owned(),
        first_name: name.to_owned(),
        last_name: "Tester".to_owned(),
    };
    auth.register(register).await.unwrap();
    let token = platform.mailed_token(&email, "/verify-email").await;
    auth.verify_email(VerifyEmailRequest { token, password: None }).await.unwrap();
    let login = LoginRequest { email: email.clone(), password: PASSWORD.to_owned() };
    let session = auth.login(login).await.unwrap().into_inner();
    Caller { id: session.user.unwrap().id, email, token: session.access_token.unwrap(), account: None }
}

#[tokio::test]
async fn task_story_over_native_grpc() {
    let platform = Platform::start().await;
    let mut owner = sign_up(&platform, "owner").await;
    let mut manager = sign_up(&platform, "manager").await;
    let mut user = sign_up(&platform, "user").await;

    let create = CreateAccountRequest { name: "Over gRPC".to_owned(), slug: Some("over-grpc".to_owned()) };
    let response = AccountServiceClient::new(platform.grpc()).create_account(owner.call(create)).await.unwrap();
    let account = response.into_inner().account.unwrap();
    assert_eq!(account.slug, "over-grpc");
    owner.account = Some(account.id.clone());
    let mut members = MemberServiceClient::new(platform.grpc());
    let manager_id = manager.id.clone();
    for (invited, role, manager_id) in [(&mut manager, Role::Manager, None), (&mut user, Role::User, Some(manager_id))]
    {
        let email = invited.email.clone();
        let invite = InviteMemberRequest { account_id: account.id.clone(), email, role: role as i32, manager_id };
        members.invite_member(owner.call(invite)).await.unwrap();
        let token = platform.mailed_token(&invited.email, "/accept-invitation").await;
        let member = members.accept_invitation(invited.call(AcceptInvitationRequest { token })).await.unwrap();
        assert_eq!(member.into_inner().member.unwrap().role(), role);
        invited.account = Some(account.id.clone());
    }

    let mut tasks = TaskServiceClient::new(platform.grpc());
    let create = CreateTaskRequest {
        title: "Renew the lease".to_owned(),
        priority: TaskPriority::Urgent as i32,
        ..CreateTaskRequest::default()
    };
    let id = tasks.create_task(owner.call(create)).await.unwrap().into_inner().task.unwrap().id;
    let assign = |to: &Caller| AssignTaskRequest { id: id.clone(), assigned_to: to.id.clone() };
    tasks.assign_task(owner.call(assign(&manager))).await.unwrap();
    tasks.assign_task(manager.call(assign(&user))).await.unwrap();
    tasks.accept_task(user.call(AcceptTaskRequest { id: id.clone() })).await.unwrap();
    tasks.start_task(user.call(StartTaskRequest { id: id.clone() })).await.unwrap();
    let pause = PauseTaskRequest { id: id.clone(), reason: "Waiting".to_owned() };
    tasks.pause_task(user.call(pause)).await.unwrap();
    tasks.resume_task(user.call(ResumeTaskRequest { id: id.clone() })).await.unwrap();
    let done = tasks.complete_task(user.call(CompleteTaskRequest { id: id.clone() })).await.unwrap();
    let done = done.into_inner().task.unwrap();
    assert_eq!((done.status(), done.version, done.assigned_to.as_ref()), (TaskStatus::Completed, 8, Some(&user.id)));

    let again = tasks.start_task(user.call(StartTaskRequest { id: id.clone() })).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    let why = info(&again);
    assert_eq!(why.reason, "TASK_WRONG_STATE");
    assert_eq!((&*why.metadata["from"], &*why.metadata["to"]), ("completed", "in_progress"));

    let list = ListTasksRequest {
        filter: Some(TaskFilter { status: vec![TaskStatus::Completed as i32], ..TaskFilter::default() }),
        page: Some(Page { page: 1, per_page: 101, page_token: String::new() }),
    };
    let refused = tasks.list_tasks(manager.call(list.clone())).await.unwrap_err();
    assert_eq!((refused.code(), &*info(&refused).reason), (Code::InvalidArgument, "VALIDATION_FAILED"));
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "page.per_page");
    let list = ListTasksRequest { page: None, ..list };
    let found = tasks.list_tasks(manager.call(list)).await.unwrap().into_inner();
    assert_eq!((found.tasks.len(), found.tasks[0].id == id), (1, true));

    for (person, expected) in [
        (&owner, vec![NotificationType::TaskCompleted]),
        (
            &manager,
            vec![NotificationType::TaskAssigned, NotificationType::TaskCompleted, NotificationType::TaskAccepted],
        ),
        (&user, vec![NotificationType::TaskAssigned]),
    ] {
        eventually(&format!("{expected:?}"), || async {
            let mut client = NotificationServiceClient::new(platform.grpc());
            let list = client.list_notifications(person.call(ListNotificationsRequest::default())).await.unwrap();
            let list = list.into_inner().notifications;
            let mut types: Vec<_> =
                list.iter().filter(|n| n.task_id.as_ref() == Some(&id)).map(|n| n.r#type()).collect();
            types.sort();
            (types == expected).then_some(())
        })
        .await;
    }

    let nobody = UserServiceClient::new(platform.grpc()).get_me(GetMeRequest {}).await.unwrap_err();
    assert_eq!((nobody.code(), &*info(&nobody).reason), (Code::Unauthenticated, "TOKEN_MISSING"));
}

#[tokio::test]
async fn task_story_with_grpc_js_by_reflection() {
    let platform = Platform::start().await;
    let printed = run_node("grpc.mjs", &json!({"url": platform.url()})).await;
    let refusals = played(&printed);
    for (refusal, expected) in refusals.iter().zip(REFUSALS) {
        let status = STANDARD.decode(refusal["status"].as_str().unwrap_or_else(|| panic!("{refusal}"))).unwrap();
        let status = pb::Status::decode(status.as_slice()).unwrap();
        assert_eq!(json!(status.code), refusal["code"]);
        let details = status.details.into_iter().map(|any| (any.type_url, any.value));
        assert_refusal(refusal, expected, details);
    }
}

#[tokio::test]
async fn task_story_with_connect_over_grpc_web() {
    let platform = Platform::start().await;
    let descriptors = platform.data().join("descriptors.bin");
    std::fs::write(&descriptors, DESCRIPTORS).unwrap();
    let argument = json!({"url": platform.url(), "descriptors": descriptors});
    let printed = run_node("grpc_web.mjs", &argument).await;
    let refusals = played(&printed);
    for (refusal, expected) in refusals.iter().zip(REFUSALS) {
        let details = refusal["details"].as_array().unwrap().iter().map(|detail| {
            let value = STANDARD.decode(detail["value"].as_str().unwrap()).unwrap();
            (detail["type"].as_str().unwrap().to_owned(), value)
        });
        assert_refusal(refusal, expected, details);
    }
}

/// Label, code, reason and invalid field of a refusal.
type Refusal = (&'static str, Code, &'static str, Option<&'static str>);

/// The refused calls at the end of `story.mjs`.
const REFUSALS: [Refusal; 4] = [
    ("state", Code::FailedPrecondition, "TASK_WRONG_STATE", None),
    ("field", Code::InvalidArgument, "VALIDATION_FAILED", Some("title")),
    ("permission", Code::PermissionDenied, "PERMISSION_MISSING", None),
    ("token", Code::Unauthenticated, "TOKEN_MISSING", None),
];

/// Checks the output of `story.mjs` and returns the refusals at its end.
fn played(printed: &[Value]) -> Vec<Value> {
    let (steps, rest) = printed.split_at(8);
    let people = &rest[0]["people"];
    let (none, manager, user) = (Value::Null, people["manager"].clone(), people["user"].clone());
    let [pending, in_progress, paused, completed] = [1, 2, 3, 4];
    let expected = [
        ("Create", pending, none),
        ("Assign", pending, manager),
        ("Assign", pending, user.clone()),
        ("Accept", pending, user.clone()),
        ("Start", in_progress, user.clone()),
        ("Pause", paused, user.clone()),
        ("Resume", in_progress, user.clone()),
        ("Complete", completed, user),
    ];
    for (number, (step, (name, status, assignee))) in steps.iter().zip(expected).enumerate() {
        let expected = json!({
            "step": name, "title": "Grüße, 世界", "status": status, "version": number + 1, "assigned_to": assignee,
        });
        assert_eq!(*step, expected);
    }
    let (notified, refusals) = rest[1..].split_at(3);
    let [assigned, task_completed, accepted] = [1, 3, 5];
    assert_eq!(notified[0], json!({"notified": "owner", "types": [task_completed]}));
    assert_eq!(notified[1], json!({"notified": "manager", "types": [assigned, task_completed, accepted]}));
    assert_eq!(notified[2], json!({"notified": "user", "types": [assigned]}));
    assert_eq!(refusals.len(), REFUSALS.len(), "{refusals:?}");
    refusals.to_vec()
}

/// Checks a refusal's code and details.
fn assert_refusal(
    refusal: &Value,
    (what, code, reason, field): Refusal,
    details: impl Iterator<Item = (String, Vec<u8>)>,
) {
    assert_eq!((&refusal["refused"], &refusal["code"]), (&json!(what), &json!(code as i32)), "{refusal}");
    assert!(refusal["message"].as_str().is_some_and(|message| !message.is_empty()), "{refusal}");
    let details: Vec<_> = details.collect();
    let detail = |name: &str| {
        let found = details.iter().find(|(kind, _)| kind.rsplit('/').next() == Some(name));
        found.map(|(_, value)| value.as_slice())
    };
    let info = pb::ErrorInfo::decode(detail("google.rpc.ErrorInfo").unwrap_or_else(|| panic!("{refusal}"))).unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("baton", reason));
    let wrong = detail("google.rpc.BadRequest").map(|value| pb::BadRequest::decode(value).unwrap().field_violations);
    assert_eq!(wrong.as_deref().and_then(<[_]>::first).map(|violation| violation.field.as_str()), field, "{refusal}");
}

#[tokio::test]
async fn message_over_the_limit_is_refused_with_a_reason() {
    let platform = Platform::start().await;
    let caller = sign_up(&platform, "ada").await;
    let huge = CreateTaskRequest { title: "x".repeat(5 << 20), ..CreateTaskRequest::default() };
    let refused = TaskServiceClient::new(platform.grpc()).create_task(caller.call(huge)).await.unwrap_err();
    assert_eq!((refused.code(), &*info(&refused).reason), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
}
