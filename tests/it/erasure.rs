//! A person is erased everywhere: they confirm it by mail, can cancel it for 30 days, and get proof.

use std::{fs, process::Stdio};

use baton_tests::{Person, Platform, baton_binary, eventually, run_node};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;
use uuid::Uuid;

const ERASURE: &str = "/v1/privacy/delete-account";
const VERIFICATION: &str = "/v1/privacy/delete-account/verification";
const STATUS: &str = "/v1/privacy/delete-account/status";
const CANCEL: &str = "/v1/privacy/delete-account/cancel";

/// The code in the newest mail to this address.
async fn mailed_code(platform: &Platform, email: &str) -> String {
    let mailbox = format!("/dev/mailbox?to={email}");
    eventually("a mail with a code", || async {
        let mails = platform.rest().get(&mailbox).ok().await;
        mails["messages"].as_array().unwrap().iter().find_map(|mail| {
            let (_, code) = mail["text"].as_str()?.split_once("Your code: ")?;
            code.get(..8).map(str::to_owned)
        })
    })
    .await
}

pub(crate) async fn connect(platform: &Platform) -> PgConnection {
    PgConnection::connect(platform.database_url()).await.unwrap()
}

/// Requests the erasure of a person, with the code that is mailed to them.
pub(crate) async fn request_erasure(platform: &Platform, person: &Person) -> Value {
    request_erasure_because(platform, person, "Moving on").await
}

/// [`request_erasure`] for this reason.
pub(crate) async fn request_erasure_because(platform: &Platform, person: &Person, reason: &str) -> Value {
    person.post(VERIFICATION, &json!({})).ok().await;
    let code = mailed_code(platform, &person.email).await;
    let request = json!({"verification_code": code, "reason": reason});
    person.call(reqwest::Method::DELETE, ERASURE).json(&request).ok().await
}

/// Lets the grace period be over.
pub(crate) async fn end_grace_period(platform: &Platform, request: &Value) {
    let id: Uuid = request["request_id"].as_str().unwrap().parse().unwrap();
    let update = "update privacy.erasures set erase_at = now() - interval '1 second' where request_id = $1";
    sqlx::query(update).bind(id).execute(&mut connect(platform).await).await.unwrap();
}

/// Lets the hour between the two counts pass, and waits until the erasure is complete. What comes late, such as the effect of
/// an event, begins it anew.
pub(crate) async fn complete(platform: &Platform, request: &Value) -> Value {
    let token = json!({"cancellation_token": request["cancellation_token"]});
    let id: Uuid = request["request_id"].as_str().unwrap().parse().unwrap();
    eventually("the erasure is complete", || async {
        let mut conn = connect(platform).await;
        sqlx::query(
            "update privacy.erasures set found_none_at = found_none_at - interval '61 minutes', count_at = now()
             where request_id = $1 and found_none_at > now() - interval '1 hour'",
        )
        .bind(id)
        .execute(&mut conn)
        .await
        .unwrap();
        conn.close().await.unwrap();
        let status = platform.rest().post(STATUS, &token).send().await;
        // The service may have been killed a moment ago.
        let status = (status.status == 200).then(|| status.json())?;
        (status["state"] == "completed").then_some(status)
    })
    .await
}

/// Where these texts are in the tables of the services: `canary is in table`.
pub(crate) async fn canaries(platform: &Platform, texts: &[&str]) -> Vec<String> {
    let mut conn = connect(platform).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', table_schema, table_name) from information_schema.tables
         where table_schema in ('auth', 'tenancy', 'task', 'notification', 'automation', 'privacy') and table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(tables.len() > 60, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        // Encoded messages, too.
        let select = format!(
            "select canary from unnest($1::text[]) wanted (canary) where exists (
                 select from {table} one
                 where strpos(one::text, canary) > 0 or strpos(one::text, encode(convert_to(canary, 'utf8'), 'hex')) > 0)"
        );
        let texts: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(select)).bind(texts).fetch_all(&mut conn).await.unwrap();
        found.extend(texts.into_iter().map(|text| format!("{text} is in {table}")));
    }
    found
}

#[tokio::test]
async fn a_code_confirms_the_erasure_and_guesses_do_not() {
    let platform = Platform::start().await;
    let ann = platform.person("ann").await;
    let ask = |code: &str| {
        let request = json!({"verification_code": code});
        ann.call(reqwest::Method::DELETE, ERASURE).json(&request)
    };
    ask("00000000").refused(400, "VERIFICATION_INVALID").await;
    ask("1234").refused(400, "VALIDATION_FAILED").await;
    let sent = ann.post(VERIFICATION, &json!({})).ok().await;
    assert!(sent["expires_at"].is_string(), "{sent}");
    ann.post(VERIFICATION, &json!({})).refused(429, "RATE_LIMITED").await;
    let code = mailed_code(&platform, &ann.email).await;
    let wrong = if code == "00000000" { "11111111" } else { "00000000" };
    for _ in 0..5 {
        ask(wrong).refused(400, "VERIFICATION_INVALID").await;
    }
    ask(&code).refused(400, "VERIFICATION_INVALID").await;

    // Another code; somebody else's is not one, nor is one that is too old.
    let mut conn = connect(&platform).await;
    let later = "update privacy.erasure_codes set created_at = created_at - interval '2 minutes'";
    sqlx::query(later).execute(&mut conn).await.unwrap();
    ann.post(VERIFICATION, &json!({})).ok().await;
    let second = eventually("another code", || async {
        let found = mailed_code(&platform, &ann.email).await;
        (found != code).then_some(found)
    })
    .await;
    let ben = platform.person("ben").await;
    ben.call(reqwest::Method::DELETE, ERASURE)
        .json(&json!({"verification_code": second}))
        .refused(400, "VERIFICATION_INVALID")
        .await;
    let expire =
        |by: &str| format!("update privacy.erasure_codes set expires_at = expires_at {by} interval '16 minutes'");
    sqlx::query(sqlx::AssertSqlSafe(expire("-"))).execute(&mut conn).await.unwrap();
    ask(&second).refused(400, "VERIFICATION_INVALID").await;
    sqlx::query(sqlx::AssertSqlSafe(expire("+"))).execute(&mut conn).await.unwrap();
    // A repeated call has the same answer.
    let once = || ask(&second).header("idempotency-key", "once");
    let scheduled = once().ok().await;
    assert_eq!(scheduled["deletion_scheduled"], true);
    assert_eq!(once().ok().await, scheduled);
    ask(&second).refused(409, "ERASURE_SCHEDULED").await;
    ann.post(VERIFICATION, &json!({})).refused(409, "ERASURE_SCHEDULED").await;
    let request = ann.get("/v1/privacy/requests").ok().await["requests"][0].clone();
    assert_eq!((&request["kind"], &request["state"]), (&json!("erasure"), &json!("scheduled")));
    assert_eq!(request["grace_period_ends"], scheduled["grace_period_ends"]);
    let stored: Vec<Vec<u8>> =
        sqlx::query_scalar("select response from privacy.idempotency_keys").fetch_all(&mut conn).await.unwrap();
    let token = scheduled["cancellation_token"].as_str().unwrap();
    assert!(stored.iter().all(|response| !String::from_utf8_lossy(response).contains(token)), "the token is stored");
}

#[tokio::test]
async fn in_the_grace_period_data_is_stored_only_and_the_erasure_can_be_canceled() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;
    let task = me.post("/v1/tasks", &json!({"title": "Mine", "visibility": "account"})).ok().await;
    let task = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let handle = me.get(&format!("/v1/accounts/{}/members/{}", team.account_id, me.id)).ok().await;
    let handle = handle["handle"].as_str().unwrap().to_owned();
    let request = request_erasure(&platform, me).await;

    // They read, and use their rights; they change nothing.
    eventually("the restriction", || async {
        let refused = me.post("/v1/tasks", &json!({"title": "More"})).send().await;
        (refused.status == 409).then(|| refused.refused(409, "PROCESSING_RESTRICTED"))
    })
    .await;
    me.get(&task).ok().await;
    me.get("/v1/users/me").ok().await;
    for (method, path, body) in [
        (reqwest::Method::PATCH, task.clone(), json!({"title": "Other"})),
        (reqwest::Method::POST, format!("{task}/comments"), json!({"body": "Words"})),
        (reqwest::Method::POST, "/v1/accounts".to_owned(), json!({"name": "Another"})),
    ] {
        eventually("every service restricts", || async {
            let refused = me.call(method.clone(), &path).json(&body).send().await;
            (refused.status == 409).then(|| refused.refused(409, "PROCESSING_RESTRICTED"))
        })
        .await;
    }
    me.post("/v1/privacy/data-export", &json!({"include_categories": ["profile"]})).ok().await;
    me.patch("/v1/users/me", &json!({"first_name": "Corrected"})).ok().await;
    // Others do not process their data either.
    let others = team.manager.post("/v1/tasks", &json!({"title": "Theirs", "visibility": "account"})).ok().await;
    let others = format!("/v1/tasks/{}", others["id"].as_str().unwrap());
    let assign = json!({"assigned_to": me.id});
    team.manager.post(&format!("{others}/assign"), &assign).refused(409, "PROCESSING_RESTRICTED").await;
    let mention = json!({"body": format!("@{handle}, look")});
    let comment = team.manager.post(&format!("{others}/comments"), &mention).ok().await;
    assert_eq!(comment["mentions"], json!([]), "{comment}");

    // The mail has the token as well; each works once.
    let mailed = platform.mailed_token(&me.email, "/cancel-erasure").await;
    assert_eq!(mailed, request["cancellation_token"].as_str().unwrap());
    let token = json!({"cancellation_token": mailed});
    let forged =
        json!({"cancellation_token": format!("{}{}", if mailed.starts_with('A') { 'B' } else { 'A' }, &mailed[1..])});
    platform.rest().post(CANCEL, &forged).refused(400, "CANCELLATION_INVALID").await;
    platform.rest().post(CANCEL, &token).ok().await;
    platform.rest().post(CANCEL, &token).refused(400, "CANCELLATION_INVALID").await;
    assert_eq!(platform.rest().post(STATUS, &token).ok().await["state"], "canceled");
    eventually("the restriction has ended", || async {
        let created = me.post("/v1/tasks", &json!({"title": "More"})).send().await;
        (created.status == 201 || created.status == 200).then_some(())
    })
    .await;
    team.manager.post(&format!("{others}/assign"), &assign).ok().await;
    // Nothing is erased later.
    end_grace_period(&platform, &request).await;
    me.get("/v1/users/me").ok().await;
    assert_eq!(platform.rest().post(STATUS, &token).ok().await["state"], "canceled");
}

#[tokio::test]
async fn an_erased_person_is_gone_everywhere_and_has_proof() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;
    let handle = me.get(&format!("/v1/accounts/{}/members/{}", team.account_id, me.id)).ok().await;
    let handle = handle["handle"].as_str().unwrap().to_owned();
    let mine = me.post("/v1/tasks", &json!({"title": "My plan", "visibility": "account"})).ok().await;
    let mine = format!("/v1/tasks/{}", mine["id"].as_str().unwrap());
    me.post(&format!("{mine}/comments"), &json!({"body": "What I did"})).ok().await;
    let mention = json!({"body": format!("Ask @{handle} or `@{handle}`.")});
    let mention = team.owner.post(&format!("{mine}/comments"), &mention).ok().await;
    me.post(&format!("{mine}/start"), &json!({})).ok().await;
    me.post(&format!("{mine}/pause"), &json!({"reason": "PRIVATE-REASON"})).ok().await;
    me.post("/v1/views", &json!({"name": "PRIVATE-VIEW", "source": "list"})).ok().await;
    me.post("/v1/api-keys", &json!({"name": "PRIVATE-KEY"})).ok().await;
    me.patch("/v1/users/me", &json!({"company": "PRIVATE-COMPANY"})).ok().await;
    let consent = json!({"consents": [{"type": "research", "given": true, "method": "settings", "version": 1}]});
    me.post("/v1/privacy/consents", &consent).ok().await;
    let key = me.post("/v1/api-keys", &json!({"name": "Another"})).ok().await["key"].as_str().unwrap().to_owned();

    let request = request_erasure(&platform, me).await;
    end_grace_period(&platform, &request).await;
    let completed = complete(&platform, &request).await;
    let token = json!({"cancellation_token": request["cancellation_token"]});
    platform.rest().post(CANCEL, &token).refused(400, "CANCELLATION_INVALID").await;

    // Nobody signs in as them, by whatever means.
    me.get("/v1/users/me").refused(401, "SESSION_CLOSED").await;
    platform.rest().with_token(key).get("/v1/tasks").refused(401, "TOKEN_INVALID").await;
    let login = json!({"email": me.email, "password": "correct horse battery staple"});
    let refused = platform.rest().post("/v1/auth/login", &login).send().await;
    assert_eq!(refused.status, 401, "{}", refused.json());
    let members = team.owner.get(&format!("/v1/accounts/{}/members", team.account_id)).ok().await;
    assert!(!members.to_string().contains(&me.id.to_string()), "{members}");
    // The account's work stays, without what was theirs.
    let task = team.owner.get(&mine).ok().await;
    assert_eq!((&task["title"], &task["created_by"]), (&json!("My plan"), &json!(me.id)));
    let comments = team.owner.get(&format!("{mine}/comments")).ok().await;
    let bodies: Vec<&str> =
        comments["comments"].as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["What I did", &format!("Ask (erased) or `@{handle}`.")]);
    assert_eq!(mention["mentions"][0]["user_id"], json!(me.id));
    // In code it is no mention, and still found; the mention is not.
    let found = team.owner.get("/v1/tasks/search?q=erased").ok().await;
    assert_eq!(found["meta"]["total_count"], 1, "{found}");

    // Nothing of them is in any table.
    let theirs = [&me.email, "PRIVATE-REASON", "PRIVATE-VIEW", "PRIVATE-KEY", "PRIVATE-COMPANY", "Moving on"];
    assert_eq!(canaries(&platform, &theirs).await, Vec::<String>::new());

    // The receipts are genuine: by our own program, and by Python's `cryptography`.
    let receipts = completed["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 6, "one for each service");
    let folder = tempfile::tempdir().unwrap();
    let (file, keys) = (folder.path().join("receipts.json"), folder.path().join("keys.json"));
    fs::write(&file, completed.to_string()).unwrap();
    fs::write(&keys, platform.rest().get("/v1/privacy/receipt-keys").ok().await.to_string()).unwrap();
    let verify = || {
        let mut command = baton_binary();
        command.args(["privacy", "verify"]).arg(&file).arg("--keys").arg(&keys);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let verified = verify();
    let printed = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{printed}{}", String::from_utf8_lossy(&verified.stderr));
    assert!(printed.contains("users as user: 1 found, 1 deleted, 0 remaining"), "{printed}");
    assert!(printed.contains("comment_mentions as user: 1 found, 1 deleted, 0 remaining"), "{printed}");
    assert!(printed.contains("tasks as creator: 1 found, 1 kept (The account's work stays"), "{printed}");
    assert!(printed.ends_with("6 receipts are genuine, and nothing remains\n"), "{printed}");
    let python = Command::new("python3")
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/clients/verify_receipts.py")])
        .args([&file, &keys])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&python.stdout);
    assert!(python.status.success(), "{said}{}", String::from_utf8_lossy(&python.stderr));
    assert_eq!(said.trim(), "6 receipts of one request, nothing remains");
    // One that was changed is not.
    let mut forged = completed.clone();
    let receipt = receipts[2].as_str().unwrap();
    let (head, tail) = receipt.split_at(receipt.len() / 2);
    let changed = if tail.starts_with('A') { "B" } else { "A" };
    forged["receipts"][2] = json!(format!("{head}{changed}{}", &tail[1..]));
    fs::write(&file, forged.to_string()).unwrap();
    let refused = verify();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("it was modified"));

    // Whoever comes back is somebody else.
    let register =
        json!({"email": me.email, "password": "another horse battery", "first_name": "New", "last_name": "Person"});
    let earlier = platform.mailed_token(&me.email, "/verify-email").await;
    platform.rest().post("/v1/auth/register", &register).ok().await;
    let token = eventually("another link", || async {
        let token = platform.mailed_token(&me.email, "/verify-email").await;
        (token != earlier).then_some(token)
    })
    .await;
    platform.rest().post("/v1/auth/verify-email", &json!({"token": token})).ok().await;
    let login = json!({"email": me.email, "password": "another horse battery"});
    let back = platform.rest().post("/v1/auth/login", &login).ok().await;
    assert_ne!(back["user"]["id"], json!(me.id));
    let back = platform.rest().with_token(back["access_token"].as_str().unwrap());
    assert_eq!(back.get("/v1/privacy/requests").ok().await["requests"], json!([]));
    assert_eq!(back.get("/v1/accounts").ok().await["accounts"], json!([]));
}

/// Both mails, as people see them on a telephone.
#[tokio::test]
async fn mails_about_an_erasure_say_what_to_do() {
    let platform = Platform::start().await;
    let ann = platform.person("ann").await;
    let request = request_erasure(&platform, &ann).await;
    platform.mailed_token(&ann.email, "/cancel-erasure").await;
    let mails = platform.rest().get(&format!("/dev/mailbox?to={}", ann.email)).ok().await;
    let mail = |subject: &str| {
        let mails = mails["messages"].as_array().unwrap();
        mails.iter().find(|mail| mail["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {mails:?}")).clone()
    };
    let (code, scheduled) = (mail("Confirm that your data is to be erased"), mail("Your data will be erased"));
    let screenshots = std::env::var("BATON_SCREENSHOTS").ok();
    let argument = json!({"mails": [code, scheduled], "screenshots": screenshots});
    let seen = run_node("mail.mjs", &argument).await;
    let [code, scheduled] = &seen[..] else { panic!("{seen:#?}") };
    assert_eq!((&code["fits"], &scheduled["fits"]), (&json!(true), &json!(true)));
    assert!(code["text"].as_str().unwrap().contains("Your code: "), "{code}");
    assert_eq!(code["links"], json!([]), "whoever reads it has nothing to click");
    assert_eq!(scheduled["heading"], "Your data will be erased");
    let [link] = &scheduled["links"].as_array().unwrap()[..] else { panic!("{scheduled}") };
    assert_eq!(link["text"], "Keep my data");
    assert!(link["height"].as_f64().unwrap() >= 24.0, "a finger hits it: {link}");
    let token = request["cancellation_token"].as_str().unwrap();
    assert!(link["href"].as_str().unwrap().ends_with(&format!("/cancel-erasure?token={token}")), "{link}");
}
