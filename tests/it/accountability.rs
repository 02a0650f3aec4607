//! What operators account for: the record of processing, breaches, pseudonyms that are opened, and proofs of consents and
//! receipts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_proto::baton::{
    auth::v1::{IssueServiceTokenRequest, internal_service_client::InternalServiceClient},
    privacy::v1::{IssuePseudonymsRequest, anonymization_service_client::AnonymizationServiceClient},
};
use baton_tests::{Platform, Services, eventually};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use crate::{
    erasure::{complete, connect, end_grace_period, request_erasure},
    mfa,
};

async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

/// The reversible pseudonym of a person for research, as another service gets it.
async fn pseudonym(services: &Services, person: Uuid) -> String {
    let mut auth = InternalServiceClient::new(channel(services.variable("BATON_AUTH_URL")).await);
    let issued = auth.issue_service_token(IssueServiceTokenRequest {
        service: "task".to_owned(),
        secret: services.variable("BATON_TASK_SERVICE_SECRET").to_owned(),
        audience: "privacy".to_owned(),
    });
    let token = issued.await.unwrap().into_inner().access_token;
    let mut privacy = AnonymizationServiceClient::new(channel(services.variable("BATON_PRIVACY_URL")).await);
    let mut request = Request::new(IssuePseudonymsRequest {
        purpose: "research".to_owned(),
        user_ids: vec![person.to_string()],
        reversible: true,
    });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    privacy.issue_pseudonyms(request).await.unwrap().into_inner().pseudonyms.remove(0)
}

#[tokio::test]
async fn operators_account_for_what_is_done() {
    let mut platform = Platform::start().await;
    let (one, two) = (platform.person("one").await, platform.person("two").await);
    let (ann, eve) = (platform.person("ann").await, platform.person("eve").await);
    let account = one.create_account("Operations").await;
    platform.join(account, &one, &two, "super_manager", None).await;
    let erasure = request_erasure(&platform, &ann).await;
    let answer = json!({"consents": [{"type": "research", "given": true, "method": "settings", "version": 1}]});
    eve.post("/v1/privacy/consents", &answer).ok().await;
    platform.sigterm();
    platform.wait_for_exit().await;
    let services = Services::start(&platform, &[("BATON_OPERATOR_ACCOUNT", &account.to_string())]).await;
    let (one, two) = (mfa::with_second_factor(&platform, &one).await, mfa::with_second_factor(&platform, &two).await);

    // The record of processing has every service, and an assessment of every high risk.
    eve.get("/v1/privacy/register").refused(403, "OPERATOR_ONLY").await;
    let register = one.get("/v1/privacy/register").ok().await;
    let names: Vec<&str> =
        register["services"].as_array().unwrap().iter().map(|it| it["service"].as_str().unwrap()).collect();
    assert_eq!(names, ["auth", "tenancy", "task", "notification", "automation", "privacy"]);
    assert!(register["services"][0]["tables"].to_string().contains("\"users\""), "{register}");
    let assessed: Vec<&Value> = register["assessments"].as_array().unwrap().iter().map(|it| &it["purpose"]).collect();
    assert_eq!(assessed, ["analytics", "ui_heatmaps", "research"]);
    assert_eq!((&register["purposes"][0]["id"], &register["overdue_requests"]), (&json!("service"), &json!(0)));

    // A breach has 72 hours.
    let breaches = "/v1/privacy/breaches";
    let discovered = Utc::now() - TimeDelta::hours(73);
    let record = json!({"summary": "A backup was readable", "discovered_at": discovered, "categories": ["profile"],
                        "user_ids": [eve.id, ann.id]});
    eve.post(breaches, &record).refused(403, "OPERATOR_ONLY").await;
    let mut future = record.clone();
    future["discovered_at"] = json!(Utc::now() + TimeDelta::hours(1));
    one.post(breaches, &future).refused(400, "VALIDATION_FAILED").await;
    let breach = one.post(breaches, &record).ok().await;
    assert_eq!(
        (&breach["is_overdue"], &breach["people"], &breach["categories"]),
        (&json!(true), &json!(2), &json!(["profile"]))
    );
    let path = format!("{breaches}/{}", breach["id"].as_str().unwrap());
    let update = json!({"authority_notified_at": Utc::now(), "user_ids": [eve.id, two.id]});
    let updated = two.post(&path, &update).ok().await;
    assert_eq!((&updated["is_overdue"], &updated["people"]), (&json!(false), &json!(3)));
    assert_eq!(one.get(breaches).ok().await["breaches"], json!([updated]));
    let unknown = format!("{breaches}/{}", Uuid::now_v7());
    one.post(&unknown, &json!({})).refused(404, "BREACH_NOT_FOUND").await;

    // Two operators open a pseudonym.
    let name = pseudonym(&services, eve.id).await;
    assert_eq!(pseudonym(&services, eve.id).await, name);
    let reveal = "/v1/privacy/pseudonyms/reveal";
    let ask = |purpose: &str| json!({"pseudonym": name, "purpose": purpose, "reason": "File 12/2026"});
    eve.post(reveal, &ask("research")).refused(403, "OPERATOR_ONLY").await;
    one.post(reveal, &ask("analytics")).refused(404, "PSEUDONYM_UNKNOWN").await;
    let asked = one.post(reveal, &ask("research")).ok().await;
    assert_eq!((&asked["state"], asked.get("user_id")), (&json!("awaiting_approval"), Some(&Value::Null)), "{asked}");
    assert_eq!(one.post(reveal, &ask("research")).ok().await, asked, "one operator alone opens nothing");
    let opened = two.post(reveal, &ask("research")).ok().await;
    assert_eq!((&opened["state"], &opened["user_id"]), (&json!("revealed"), &json!(eve.id)));
    assert_eq!(opened["reveal_id"], asked["reveal_id"]);
    assert_eq!(two.post(reveal, &ask("research")).ok().await, opened, "a repeated call gets the same answer");
    assert_eq!(one.post(reveal, &ask("research")).ok().await, opened);
    assert_eq!(one.get("/v1/privacy/budgets").ok().await, json!({"budgets": []}));

    // Profiles are anonymous, or there are none: two people are too few.
    let profiles = "/v1/privacy/anonymous-profiles";
    one.get(profiles).refused(409, "NOT_ANONYMOUS").await;
    sqlx::query(
        "with people as (
             insert into auth.users
             select (jsonb_populate_record(one, jsonb_build_object(
                 'id', gen_random_uuid(), 'email', 'p' || n || '@example.com', 'email_key', 'p' || n || '@example.com',
                 'created_at', now() - make_interval(days => n)))).*
             from auth.users one, generate_series(1, 40) n where one.id = $1 returning id)
         insert into privacy.consent_states (user_id, type, given, withdrawn, version, epoch, epoch_at, changed_at)
         select id, 'research', true, false, 1, 1000, now(), now() from people",
    )
    .bind(eve.id)
    .execute(&mut connect(&platform).await)
    .await
    .unwrap();
    let anonymous = one.get(profiles).ok().await;
    let rows = anonymous["profiles"].as_array().unwrap();
    assert!(rows.len() >= 40, "{anonymous}");
    let alike = |row: &&Value| {
        let attributes = ["created_at", "tier", "company_domain", "role_category", "geographic_region"];
        rows.iter().filter(|other| attributes.iter().all(|name| other[name] == row[name])).count()
    };
    assert!(rows.iter().all(|row| alike(&row) >= 10), "{anonymous}");
    assert!(!anonymous.to_string().contains(&eve.id.to_string()));
    assert_ne!(one.get(profiles).ok().await["profiles"][0]["id"], rows[0]["id"], "other pseudonyms each time");

    // After an erasure nobody opens it, and the person's key is gone.
    let name = pseudonym(&services, ann.id).await;
    let key = platform.data().join(format!("vault/people/{}", ann.id));
    assert!(key.exists());
    end_grace_period(&platform, &erasure).await;
    let done = complete(&platform, &erasure).await;
    assert!(!key.exists());
    let ask = json!({"pseudonym": name, "purpose": "research", "reason": "File 13/2026"});
    one.post(reveal, &ask).refused(404, "PSEUDONYM_UNKNOWN").await;

    // A receipt is in its log, and a consent in its own.
    let receipt = done["receipts"][0].as_str().unwrap();
    let leaf: [u8; 32] = Sha256::new().chain_update([0]).chain_update(receipt).finalize().into();
    let proof = proof_of(&platform, "receipts", &leaf).await;
    assert!(proof["index"].as_u64().unwrap() < 5, "{proof}");
    let (sealed, stored): (Vec<u8>, Vec<u8>) =
        sqlx::query_as("select evidence, leaf_hash from privacy.consents where user_id = $1 and leaf_hash is not null")
            .bind(eve.id)
            .fetch_one(&mut connect(&platform).await)
            .await
            .unwrap();
    assert!(!sealed.windows(9).any(|bytes| bytes == b"127.0.0.1"), "the evidence is sealed");
    proof_of(&platform, "consents", &stored).await;
    let nothing = format!("/v1/privacy/logs/receipts/proofs/{}", "0".repeat(64));
    platform.rest().get(&nothing).refused(404, "LEAF_NOT_FOUND").await;
}

/// The proof of a leaf, which leads to the root that is signed.
async fn proof_of(platform: &Platform, log: &str, leaf: &[u8]) -> Value {
    let hexadecimal: String = leaf.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = format!("/v1/privacy/logs/{log}/proofs/{hexadecimal}");
    let proof = eventually("a proof", || async {
        let response = platform.rest().get(&path).send().await;
        (response.status == 200).then(|| response.json())
    })
    .await;
    let note = proof["checkpoint"]["note"].as_str().unwrap();
    let lines: Vec<&str> = note.lines().collect();
    let size: u64 = lines[1].parse().unwrap();
    let hashes = proof["hashes"].as_array().unwrap().iter().map(|hash| crate::audit_log::unhex(hash.as_str().unwrap()));
    let hashes: Vec<Vec<u8>> = hashes.collect();
    let root = crate::audit_log::root_of(leaf.to_vec(), proof["index"].as_u64().unwrap(), size, &hashes);
    assert_eq!(root, STANDARD.decode(lines[2]).unwrap());
    assert_eq!(platform.rest().get(&format!("/v1/privacy/logs/{log}/checkpoint")).ok().await["origin"], lines[0]);
    proof
}
