//! Text validation: one rule per kind of text in every field.

use baton_tests::{Person, Platform, Team};
use reqwest::Method;
use serde_json::{Value, json};

use crate::invalid_input::wrong_field;

/// Invisible or misleading texts.
const BAD: [&str; 12] = [
    "\u{200b}",
    "\u{2060}\u{feff}",
    "\u{ad}",
    "\u{34f}",
    "\u{115f}",
    "\u{3164}",
    "\u{2800}",
    "\u{fe0f}",
    "\u{e0041}",
    "a\u{1b}[31m",
    "a\u{202e}b",
    "a\u{2066}b",
];

/// Valid texts: a family of four (joined by U+200D), a flag of tags, Persian with U+200C.
const GOOD: &str = "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 می‌خواهم";

/// Calls that write text: method, path, body, and the field.
fn fields(team: &Team, task: &str, comment: &str) -> Vec<(Person, Method, String, Value, &'static str)> {
    let (user, owner) = (&team.user, &team.owner);
    let account = format!("/v1/accounts/{}", team.account_id);
    let task_path = format!("/v1/tasks/{task}");
    let field =
        |name: &str| json!({"key": "stage", "name": name, "type": "select", "options": [{"id": "a", "name": "A"}]});
    vec![
        (user.clone(), Method::POST, "/v1/tasks".to_owned(), json!({"title": "a"}), "title"),
        (user.clone(), Method::PATCH, task_path.clone(), json!({}), "title"),
        (user.clone(), Method::POST, "/v1/tasks".to_owned(), json!({"title": "a"}), "description"),
        (user.clone(), Method::POST, format!("{task_path}/comments"), json!({}), "body"),
        (user.clone(), Method::PATCH, format!("/v1/comments/{comment}"), json!({}), "body"),
        (user.clone(), Method::POST, format!("{task_path}/pause"), json!({}), "reason"),
        (user.clone(), Method::POST, format!("{task_path}/cancel"), json!({}), "reason"),
        (user.clone(), Method::POST, "/v1/views".to_owned(), json!({"source": "my"}), "name"),
        (owner.clone(), Method::POST, "/v1/custom-fields".to_owned(), field("Stage"), "name"),
        (user.clone(), Method::POST, "/v1/accounts".to_owned(), json!({}), "name"),
        (owner.clone(), Method::PATCH, account, json!({}), "name"),
        (user.clone(), Method::PATCH, "/v1/users/me".to_owned(), json!({}), "first_name"),
        (user.clone(), Method::PATCH, "/v1/users/me".to_owned(), json!({}), "last_name"),
        (user.clone(), Method::PATCH, "/v1/users/me".to_owned(), json!({}), "company"),
        (user.clone(), Method::PATCH, "/v1/users/me".to_owned(), json!({}), "job_role"),
        (user.clone(), Method::POST, "/v1/api-keys".to_owned(), json!({"scopes": ["tasks:read"]}), "name"),
    ]
}

#[tokio::test]
async fn every_field_refuses_invisible_characters() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let task = team.user.create_task("Sweep").await.to_string();
    let comment = team.user.post(&format!("/v1/tasks/{task}/comments"), &json!({"body": "hello"})).ok().await;
    let comment = comment["id"].as_str().unwrap().to_owned();
    for (person, method, path, body, field) in fields(&team, &task, &comment) {
        for bad in BAD {
            let mut body = body.clone();
            body[field] = json!(bad);
            let content_type =
                if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            let call = person.call(method.clone(), &path).body(content_type, body.to_string());
            wrong_field(call, "VALIDATION_FAILED", field).await;
        }
    }
    // In a list, in a list of messages, and in an object.
    for (field, value) in [("tags", json!(["a", "\u{200b}"])), ("custom_fields", json!({"note": "a\u{202e}b"}))] {
        let call = team.user.post("/v1/tasks", &json!({"title": "a", field: value}));
        wrong_field(call, "VALIDATION_FAILED", field).await;
    }
    let option = json!({"key": "k", "name": "K", "type": "select", "options": [{"id": "a", "name": "\u{200b}"}]});
    wrong_field(team.owner.post("/v1/custom-fields", &option), "VALIDATION_FAILED", "options").await;
    let untouched = team.user.get(&format!("/v1/tasks/{task}")).ok().await;
    assert_eq!((&untouched["title"], &untouched["version"]), (&json!("Sweep"), &json!(1)));

    let good =
        team.user.post("/v1/tasks", &json!({"title": format!(" {GOOD} "), "description": "a\r\nb\tc"})).ok().await;
    assert_eq!((&good["title"], &good["description"]), (&json!(GOOD), &json!("a\nb\tc")));
}

#[tokio::test]
async fn numbers_that_lose_precision_are_refused() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let create = |number: &str| {
        let body = format!("{{\"title\": \"a\", \"custom_fields\": {{\"cost\": {number}}}}}");
        team.user.call(Method::POST, "/v1/tasks").body("application/json", body)
    };
    for number in [
        "123456789012345678901234567890",
        "12345678901234567890",
        "9007199254740993",
        "0.1234567890123456789",
        "1e-400",
    ] {
        wrong_field(create(number), "VALIDATION_FAILED", "custom_fields").await;
    }
    create("1e400").refused(400, "MALFORMED_REQUEST").await;
    for (number, kept) in
        [("9007199254740992", json!(9_007_199_254_740_992_i64)), ("1.50", json!(1.5)), ("-0", json!(0))]
    {
        assert_eq!(create(number).ok().await["custom_fields"]["cost"], kept, "{number}");
    }
    for seconds in ["60.5", "60.00000000000000000001", "1e10"] {
        let body = format!("{{\"title\": \"a\", \"estimated_seconds\": {seconds}}}");
        let call = team.user.call(Method::POST, "/v1/tasks").body("application/json", body);
        wrong_field(call, "VALIDATION_FAILED", "estimated_seconds").await;
    }
}

#[tokio::test]
async fn emails_and_phone_numbers_are_validated_alike_everywhere() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let rest = platform.rest();
    for email in
        ["john..doe@example.com", ".john@example.com", "\"john\"@example.com", "john@example..com", "john@192.0.2.1"]
    {
        let register = json!({"email": email, "password": "tidal lantern orchid", "first_name": "A", "last_name": "B"});
        wrong_field(rest.post("/v1/auth/register", &register), "VALIDATION_FAILED", "email").await;
        let login = json!({"email": email, "password": "tidal lantern orchid"});
        wrong_field(rest.post("/v1/auth/login", &login), "VALIDATION_FAILED", "email").await;
        let reset = json!({"email": email});
        wrong_field(rest.post("/v1/auth/password-reset", &reset), "VALIDATION_FAILED", "email").await;
        let invite = json!({"email": email, "role": "user"});
        let members = format!("/v1/accounts/{}/members", team.account_id);
        wrong_field(team.owner.post(&members, &invite), "VALIDATION_FAILED", "email").await;
    }
    for mobile in ["+49 (0)170 1234567", "0170 1234567", "+49 170/1234567", "+1 800 FLOWERS"] {
        let call = team.user.patch("/v1/users/me", &json!({"mobile": mobile}));
        wrong_field(call, "VALIDATION_FAILED", "mobile").await;
    }
    let me = team.user.patch("/v1/users/me", &json!({"mobile": "+49 (170) 123-45.67", "last_name": null})).ok().await;
    assert_eq!((&me["mobile"], &me["last_name"]), (&json!("+491701234567"), &json!("")));
    // With the address as typed: surrounded by spaces and in capitals.
    let login = json!({"email": format!(" {} ", team.user.email.to_uppercase()), "password": baton_tests::PASSWORD});
    rest.post("/v1/auth/login", &login).ok().await;
}
