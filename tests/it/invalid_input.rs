//! Invalid requests: refused with a reason, never a server error, and nothing is stored.

use baton_tests::{Call, Person, Platform, Team};
use proptest::{
    prelude::{Just, Strategy, any},
    prop_oneof,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::permissions::{http_binding, methods};

const NUL: &str = "nul\u{0}inside";

#[tokio::test]
async fn invalid_bodies_are_refused_and_nothing_is_stored() {
    let (platform, team) = start().await;
    let user = &team.user;
    let before = Stored::of(&team).await;
    let post = |body: String| user.call(Method::POST, "/v1/tasks").body("application/json", body);

    for body in [
        "{",
        "[]",
        "3",
        "null",
        "\"title\"",
        "{\"title\": \"a\",}",
        "{'title': 'a'}",
        "{\"title\": \"a\"} {}",
        "{\"title\": \"a\", \"title\": \"b\"}",
        "{\"title\": \"\\ud800\"}",
        "\u{feff}{\"title\": \"a\"}",
        "{\"title\": \"a\nb\"}",
    ] {
        post(body.to_owned()).refused(400, "MALFORMED_REQUEST").await;
    }
    let latin1 = user.call(Method::POST, "/v1/tasks").body("application/json", &b"{\"title\": \"caf\xe9\"}"[..]);
    latin1.refused(400, "MALFORMED_REQUEST").await;
    let deep = format!("{{\"title\": \"a\", \"custom_fields\": {{\"a\": {}{}}}}}", "[".repeat(5000), "]".repeat(5000));
    let problem = post(deep).send().await.problem();
    assert!(["MALFORMED_REQUEST", "VALIDATION_FAILED"].contains(&problem["reason"].as_str().unwrap()), "{problem}");

    for field in ["colour", "dueAt", "id", "status", "version", "created_by", "account_id", "Title", "__proto__"] {
        wrong_field(post(json!({"title": "a", field: null}).to_string()), "UNKNOWN_FIELD", field).await;
    }
    let fifty_one: Map<String, Value> = (0..51).map(|n| (format!("f{n}"), json!(n))).collect();
    for (field, value) in [
        ("title", json!("")),
        ("title", json!("   ")),
        ("title", json!("x".repeat(201))),
        ("title", json!(NUL)),
        ("title", json!(1)),
        ("title", json!({"text": "a"})),
        ("title", Value::Null),
        ("description", json!("x".repeat(20_001))),
        ("description", json!(NUL)),
        ("priority", json!("HIGH")),
        ("priority", json!("TASK_PRIORITY_HIGH")),
        ("priority", json!("unspecified")),
        ("priority", json!(3)),
        ("priority", json!("")),
        ("visibility", json!("everyone")),
        ("due_at", json!("tomorrow")),
        ("due_at", json!("2026-02-30T00:00:00Z")),
        ("due_at", json!("10000-01-01T00:00:00Z")),
        ("due_at", json!(1_767_225_600)),
        ("tags", json!("office")),
        ("tags", json!([1])),
        ("tags", json!([""])),
        ("tags", json!([NUL])),
        ("tags", json!(["x".repeat(51)])),
        ("tags", json!((0..21).map(|n| n.to_string()).collect::<Vec<_>>())),
        ("estimated_seconds", json!("60")),
        ("estimated_seconds", json!(-1)),
        ("estimated_seconds", json!(1.5)),
        ("estimated_seconds", json!(2_147_483_648_i64)),
        ("assigned_to", json!("nobody")),
        ("assigned_to", json!(NUL)),
        ("parent_task_id", json!("1")),
        ("custom_fields", json!([])),
        ("custom_fields", json!("a")),
        ("custom_fields", Value::Object(fifty_one)),
        ("custom_fields", json!({"large": "x".repeat(17_000)})),
        ("custom_fields", json!({"a": NUL})),
        ("custom_fields", json!({"a": [{"b": NUL}]})),
        ("custom_fields", json!({NUL: 1})),
    ] {
        let mut body = json!({"title": "a"});
        body[field] = value;
        wrong_field(post(body.to_string()), "VALIDATION_FAILED", field).await;
    }
    // Ids that do not exist.
    let task = |field: &str| json!({"title": "a", field: Uuid::now_v7()}).to_string();
    post(task("parent_task_id")).refused(404, "TASK_NOT_FOUND").await;
    let problem = post(task("assigned_to")).send().await.problem();
    assert!(["ASSIGNEE_INVALID", "ASSIGNMENT_NOT_ALLOWED"].contains(&problem["reason"].as_str().unwrap()), "{problem}");

    let large = json!({"title": "a", "description": "x".repeat(2 * 1024 * 1024)}).to_string();
    for _ in 0..5 {
        // A later call, perhaps on the same connection, works as usual.
        post(large.clone()).refused(413, "REQUEST_TOO_LARGE").await;
        post("{".to_owned()).refused(400, "MALFORMED_REQUEST").await;
    }
    for content_type in
        ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
    {
        let call = user.call(Method::POST, "/v1/tasks").body(content_type, r#"{"title": "a"}"#);
        call.refused(415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    assert_eq!(Stored::of(&team).await, before);
    drop(platform);
}

#[tokio::test]
async fn invalid_updates_are_refused_and_change_nothing() {
    let (_platform, team) = start().await;
    let user = &team.user;
    let task = user.create_task("As it was").await;
    let path = format!("/v1/tasks/{task}");
    let before = user.get(&path).ok().await;
    for (field, value) in [
        ("title", Value::Null),
        ("title", json!("")),
        ("title", json!(NUL)),
        ("priority", json!("highest")),
        ("tags", json!({"0": "a"})),
        ("custom_fields", json!({"a": NUL})),
        ("custom_fields", json!(["a"])),
        ("parent_task_id", json!("none")),
        ("estimated_seconds", json!(-5)),
    ] {
        wrong_field(user.patch(&path, &json!({"description": "changed", field: value})), "VALIDATION_FAILED", field)
            .await;
    }
    for field in ["status", "version", "id", "assigned_to", "nonsense"] {
        wrong_field(user.patch(&path, &json!({"description": "changed", field: null})), "UNKNOWN_FIELD", field).await;
    }
    user.patch(&path, &json!({"parent_task_id": task})).send().await.problem();
    user.call(Method::PATCH, &path).refused(415, "UNSUPPORTED_MEDIA_TYPE").await;
    user.call(Method::PATCH, &path).body("application/merge-patch+json", "[]").refused(400, "MALFORMED_REQUEST").await;

    // A malformed list of entity tags is invalid; a list without the current version does not match (RFC 9110, 13.1.1).
    let invalid =
        ["garbage", "3", "\"1", "\"1\" \"2\"", "*, \"1\"", "w/\"1\""].map(|tag| (tag, 400, "PRECONDITION_INVALID"));
    let other =
        ["\"\"", "\"x\"", "W/\"1\"", "\"7\", \"8\"", "\"-1\"", "\"01\"", ""].map(|tag| (tag, 412, "VERSION_MISMATCH"));
    for (tag, status, reason) in invalid.into_iter().chain(other) {
        let change = json!({"title": "Changed"});
        user.patch(&path, &change).header("if-match", tag).refused(status, reason).await;
        user.post(&format!("{path}/start"), &json!({})).header("if-match", tag).refused(status, reason).await;
        user.delete(&path).header("if-match", tag).refused(status, reason).await;
    }
    for tag in ["*", "\"1\"", "W/\"1\"", "\"7\", \"1\""] {
        let change = json!({"title": "Changed"});
        user.patch(&path, &change).header("if-none-match", tag).refused(412, "PRECONDITION_FAILED").await;
        user.delete(&path).header("if-none-match", tag).refused(412, "PRECONDITION_FAILED").await;
    }
    user.post(&format!("{path}/pause"), &json!({"reason": NUL})).send().await.problem();
    user.post(&format!("{path}/start"), &json!({})).ok().await;
    for body in [
        json!({}),
        json!({"reason": ""}),
        json!({"reason": NUL}),
        json!({"reason": "x".repeat(501)}),
        json!({"reason": 1}),
    ] {
        wrong_field(user.post(&format!("{path}/pause"), &body), "VALIDATION_FAILED", "reason").await;
    }
    let after = user.get(&path).ok().await;
    assert_eq!((&after["title"], &after["description"]), (&before["title"], &before["description"]));
    assert_eq!((&after["status"], &after["version"]), (&json!("in_progress"), &json!(2)));
}

#[tokio::test]
async fn invalid_parameters_are_refused_and_a_page_beyond_the_end_is_empty() {
    let (_platform, team) = start().await;
    let user = &team.user;
    for n in 0..3 {
        user.create_task(&format!("Task {n}")).await;
    }
    for query in ["page=4&per_page=1", "page=1000000", "page=1000000&per_page=100"] {
        let list = user.get(&format!("/v1/tasks?{query}")).ok().await;
        assert_eq!((&list["tasks"], &list["meta"]["total_count"]), (&json!([]), &json!(3)), "{query}: {list}");
    }
    let both = user.get("/v1/tasks?per_page=2").ok().await;
    assert_eq!((both["tasks"].as_array().unwrap().len(), &both["meta"]["total_pages"]), (2, &json!(2)), "{both}");
    for (parameter, value) in [
        ("per_page", "101"),
        ("per_page", "-1"),
        ("per_page", "2147483648"),
        ("per_page", "ten"),
        ("page", "1000001"),
        ("page", "-1"),
        ("page", "1.5"),
        ("status", "done"),
        ("priority", "HIGH"),
        ("sort", "title"),
        ("order", "down"),
        ("assigned_to", "myself"),
        ("assigned_to", "%00"),
        ("due_from", "today"),
        ("tags", ""),
        ("search", ""),
        ("search", "%00"),
        ("tags", "%00"),
        ("search", "%ff"),
    ] {
        wrong_field(user.get(&format!("/v1/tasks?{parameter}={value}")), "VALIDATION_FAILED", parameter).await;
    }
    wrong_field(user.get("/v1/tasks?state=pending"), "UNKNOWN_FIELD", "state").await;
    wrong_field(user.get("/v1/tasks?page=1&page=2"), "VALIDATION_FAILED", "page").await;
    for token in ["nonsense", "e30", "eyJrIjpudWxsfQ", "%00"] {
        user.get(&format!("/v1/tasks?page_token={token}")).refused(400, "PAGE_TOKEN_INVALID").await;
    }
    // A page token is bound to its list.
    let first = user.get("/v1/tasks?per_page=1&sort=priority").ok().await;
    let token = first["meta"]["next_page_token"].as_str().unwrap();
    user.get(&format!("/v1/tasks?per_page=1&sort=priority&page_token={token}")).ok().await;
    user.get(&format!("/v1/tasks?per_page=1&sort=due_at&page_token={token}")).refused(400, "PAGE_TOKEN_INVALID").await;
    // Also if the other list has the same sort.
    let pending = format!("/v1/tasks?per_page=1&sort=priority&status=pending&page_token={token}");
    user.get(&pending).refused(400, "PAGE_TOKEN_INVALID").await;

    // Characters with a meaning in SQL or patterns are taken literally and find nothing.
    for search in ["%25", "_", "%5C", "'%20or%201=1--", "%E4%B8%96%E7%95%8C", "%F0%9F%8F%B3"] {
        let list = user.get(&format!("/v1/tasks?search={search}")).ok().await;
        assert_eq!(list["meta"]["total_count"], 0, "{search}: {list}");
    }
}

#[tokio::test]
async fn invalid_paths_methods_and_headers_are_refused() {
    let (platform, team) = start().await;
    let user = &team.user;
    let before = Stored::of(&team).await;
    for path in ["/", "/v1", "/v1/nothing", "/v1/tasks/", "/v2/tasks", "/v1/tasks/x/y/z", "/dev", "/metrics", "/.env"] {
        user.get(path).refused(404, "ROUTE_NOT_FOUND").await;
    }
    for (method, path) in [(Method::PUT, "/v1/tasks"), (Method::DELETE, "/v1/tasks"), (Method::GET, "/v1/auth/login")] {
        let response = user.call(method, path).send().await;
        response.refused(405, "METHOD_NOT_ALLOWED");
        assert!(!response.header("allow").is_empty());
    }
    for id in ["1", "nonsense", "%00", "..%2f..", "%F0%9F%8F%B3"] {
        user.get(&format!("/v1/tasks/{id}")).refused(400, "VALIDATION_FAILED").await;
        user.post(&format!("/v1/tasks/{id}/start"), &json!({})).refused(400, "VALIDATION_FAILED").await;
        user.delete(&format!("/v1/notifications/{id}")).refused(400, "VALIDATION_FAILED").await;
    }
    user.get(&format!("/v1/tasks/{}", Uuid::now_v7())).refused(404, "TASK_NOT_FOUND").await;

    let anywhere = platform.rest().with_token(&user.token);
    for account in ["nonsense", "", "1", &Uuid::nil().to_string()] {
        let call = anywhere.post("/v1/tasks", &json!({"title": "a"})).header("x-account-id", account);
        call.refused(403, "NOT_A_MEMBER").await;
    }
    for key in ["", &"k".repeat(256)] {
        let call = user.post("/v1/tasks", &json!({"title": "a"})).header("idempotency-key", key);
        call.refused(400, "IDEMPOTENCY_KEY_INVALID").await;
    }
    let twice = user.post("/v1/tasks", &json!({"title": "a"})).header("x-account-id", &Uuid::now_v7().to_string());
    wrong_field(twice, "VALIDATION_FAILED", "x-account-id").await;
    for (authorization, reason) in
        [("Bearer", "TOKEN_INVALID"), ("Basic YTpi", "TOKEN_INVALID"), ("Bearer a.b.c", "TOKEN_INVALID")]
    {
        let call = platform.rest().get("/v1/tasks").header("authorization", authorization);
        call.refused(401, reason).await;
    }
    assert_eq!(Stored::of(&team).await, before);
}

#[tokio::test]
async fn invalid_profiles_accounts_and_members_are_refused() {
    let (platform, team) = start().await;
    let before = Stored::of(&team).await;
    let rest = platform.rest();
    let person = json!({"email": "new@example.com", "password": "tidal lantern orchid", "first_name": "New", "last_name": "Person"});
    for (field, value) in [
        ("email", json!("nonsense")),
        ("email", json!("")),
        ("email", json!(NUL)),
        ("email", json!(format!("nul\u{0}@example.com"))),
        ("email", json!("two@example.com\r\nBcc: all@example.com")),
        ("email", json!(format!("{}@example.com", "x".repeat(250)))),
        ("first_name", json!("")),
        ("first_name", json!(NUL)),
        ("last_name", json!("x".repeat(101))),
        ("last_name", json!(NUL)),
        ("password", json!("x".repeat(257))),
        ("password", json!(["tidal lantern orchid"])),
    ] {
        let mut body = person.clone();
        body[field] = value;
        wrong_field(rest.post("/v1/auth/register", &body), "VALIDATION_FAILED", field).await;
    }
    assert_eq!(rest.get("/dev/mailbox?to=new@example.com").ok().await["messages"], json!([]));
    for body in [
        json!({"email": team.user.email, "password": NUL}),
        json!({"email": NUL, "password": NUL}),
        json!({"email": "'; drop table auth.users; --", "password": "a"}),
    ] {
        let problem = rest.post("/v1/auth/login", &body).send().await.problem();
        assert!(
            ["CREDENTIALS_INVALID", "VALIDATION_FAILED"].contains(&problem["reason"].as_str().unwrap()),
            "{problem}"
        );
    }
    for token in ["nonsense", NUL, "....", &"x".repeat(512)] {
        rest.post("/v1/auth/verify-email", &json!({"token": token})).refused(400, "LINK_INVALID").await;
        team.user.post("/v1/invitations/accept", &json!({"token": token})).refused(400, "LINK_INVALID").await;
        rest.post("/v1/auth/refresh", &json!({"refresh_token": token})).refused(401, "TOKEN_INVALID").await;
        rest.post("/v1/auth/logout", &json!({"refresh_token": token})).ok().await;
    }
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(NUL)),
        ("name", json!("x".repeat(101))),
        ("slug", json!("A b")),
        ("slug", json!("-")),
    ] {
        let mut body = json!({"name": "New account"});
        body[field] = value;
        wrong_field(team.user.post("/v1/accounts", &body), "VALIDATION_FAILED", field).await;
    }
    let members = format!("/v1/accounts/{}/members", team.account_id);
    for (field, value) in [
        ("email", json!("nonsense")),
        ("email", json!(NUL)),
        ("role", json!("emperor")),
        ("role", Value::Null),
        ("manager_id", json!("nobody")),
    ] {
        let mut body = json!({"email": "new@example.com", "role": "user"});
        body[field] = value;
        wrong_field(team.owner.post(&members, &body), "VALIDATION_FAILED", field).await;
    }
    let nobody = json!({"email": "new@example.com", "role": "user", "manager_id": Uuid::now_v7()});
    team.owner.post(&members, &nobody).refused(422, "MANAGER_INVALID").await;
    let above = json!({"email": "new@example.com", "role": "owner"});
    team.super_manager.post(&members, &above).refused(403, "ROLE_NOT_GRANTABLE").await;
    let member = format!("{members}/{}", team.user.id);
    wrong_field(team.owner.patch(&member, &json!({"role": "emperor"})), "VALIDATION_FAILED", "role").await;
    team.owner.patch(&member, &json!({"manager_id": team.user.id})).refused(422, "MANAGER_INVALID").await;
    team.owner.delete(&format!("{members}/{}", team.owner.id)).refused(409, "LAST_OWNER").await;
    assert_eq!(Stored::of(&team).await, before);
}

#[tokio::test]
async fn two_hundred_random_task_bodies_cause_no_server_error() {
    let (_platform, team) = start().await;
    let user = &team.user;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (mut stored, strategy) = (0, body());
    for _ in 0..200 {
        let body = strategy.new_tree(&mut runner).unwrap().current();
        let response = user.post("/v1/tasks", &body).send().await;
        if response.status == 200 {
            stored += 1;
        } else {
            assert!(response.status < 500, "{}: {body}", response.text);
            response.problem();
        }
    }
    assert_eq!(user.get("/v1/tasks").ok().await["meta"]["total_count"], stored);
    // If all were refused or all accepted, the test would cover too little.
    assert!((5..195).contains(&stored), "{stored} of 200 were stored");
}

#[tokio::test]
async fn random_bodies_cause_no_server_error_on_any_route() {
    let (_platform, team) = start().await;
    let task = team.owner.create_task("A task").await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let strategy = body();
    for (method, _) in methods() {
        let Some((verb, template)) = http_binding(&method) else { continue };
        if verb == "get" || verb == "delete" {
            continue;
        }
        let path = template
            .replace("{account_id}", &team.account_id.to_string())
            .replace("{user_id}", &team.user.id.to_string())
            .replace("{id}", &task.to_string());
        let verb = Method::from_bytes(verb.to_ascii_uppercase().as_bytes()).unwrap();
        for _ in 0..12 {
            let body = strategy.new_tree(&mut runner).unwrap().current();
            let response = team.owner.call(verb.clone(), &path).json(&body).send().await;
            assert!(response.status < 500, "{verb} {path}: {}: {body}", response.text);
            if response.status != 200 {
                response.problem();
            }
        }
    }
}

/// JSON similar to a request: known field names with values that are sometimes valid.
fn body() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        9 => prop_oneof![
            Just("description"), Just("priority"), Just("due_at"), Just("tags"), Just("assigned_to"),
            Just("visibility"), Just("estimated_seconds"), Just("custom_fields"), Just("parent_task_id"),
        ].prop_map(str::to_owned),
        1 => prop_oneof![
            Just("email"), Just("role"), Just("reason"), Just("token"), Just("name"), Just("manager_id"),
        ].prop_map(str::to_owned),
        1 => ".{0,20}",
    ];
    let title = prop_oneof![6 => "\\PC{1,40}".prop_map(Value::String), 1 => value()];
    (proptest::option::weighted(0.9, title), proptest::collection::vec((names, value()), 0..4)).prop_map(
        |(title, members)| {
            let mut body: Map<String, Value> = members.into_iter().collect();
            body.extend(title.map(|title| ("title".to_owned(), title)));
            Value::Object(body)
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => any::<i32>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        2 => ".{0,60}".prop_map(Value::from),
        1 => Just(json!(NUL)),
        2 => prop_oneof![Just("high"), Just("team"), Just("user"), Just("2026-05-01T00:00:00Z"), Just("0001-01-01T00:00:00Z")]
            .prop_map(Value::from),
        1 => any::<u128>().prop_map(|id| json!(Uuid::from_u128(id))),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((".{0,10}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Totals of an account as seen by its owner and by its user.
#[derive(Debug, PartialEq)]
struct Stored(Vec<Value>);

impl Stored {
    async fn of(team: &Team) -> Self {
        let members = format!("/v1/accounts/{}/members", team.account_id);
        let count = async |person: &Person, path: &str| person.get(path).ok().await["meta"]["total_count"].clone();
        Self(vec![
            count(&team.owner, "/v1/tasks").await,
            count(&team.owner, &members).await,
            count(&team.user, "/v1/notifications").await,
            count(&team.user, "/v1/accounts").await,
        ])
    }
}

async fn start() -> (Platform, Team) {
    let platform = Platform::start().await;
    let team = platform.team().await;
    (platform, team)
}

/// Expects a 400 with this reason and a violation of this field or a field inside it.
pub(crate) async fn wrong_field(call: Call, reason: &str, field: &str) {
    let problem = call.refused(400, reason).await;
    let errors = problem["errors"].as_array().unwrap();
    assert!(!errors.is_empty() || is_of_nul(&problem), "{problem}");
    for error in errors {
        let named = error["field"].as_str().unwrap();
        assert!(named.split(['.', '[']).next() == Some(field), "not {field}: {problem}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{problem}");
    }
}

/// Without a field rule Postgres refuses the character, and its error names no field.
fn is_of_nul(problem: &Value) -> bool {
    problem["detail"].as_str().is_some_and(|detail| detail.contains("U+0000"))
}
