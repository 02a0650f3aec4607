//! Consent: off until it is given, kept as evidence, and as easy to withdraw as to give. The example service collects.

use baton_tests::{Person, Platform, eventually, free_address};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::data_export;

fn answer(kind: &str, given: bool) -> Value {
    json!({"type": kind, "given": given, "method": "settings", "version": 1})
}

async fn state(person: &Person, kind: &str) -> String {
    let consents = person.get("/v1/privacy/consents").ok().await;
    let found = consents["consents"].as_array().unwrap().iter().find(|consent| consent["type"] == kind);
    found.unwrap()["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn consent_is_given_refused_and_withdrawn_with_evidence() {
    let platform = Platform::start().await;
    let ann = platform.person("ann").await;
    let purposes = platform.rest().get("/v1/privacy/purposes?language=de-AT").ok().await;
    let purposes = purposes["purposes"].as_array().unwrap();
    assert_eq!(purposes.len(), 7);
    for purpose in purposes {
        let asked = ["analytics", "ui_heatmaps", "research", "marketing"].contains(&purpose["id"].as_str().unwrap());
        assert_eq!(
            (purpose["needs_consent"] == true, purpose["legal_basis"] == "consent"),
            (asked, asked),
            "{purpose}"
        );
        assert_eq!(purpose["notice"]["language"], "de");
    }
    assert_eq!(state(&ann, "analytics").await, "never_asked", "off by default");

    let record = |consents: Value| ann.post("/v1/privacy/consents", &json!({"consents": consents}));
    let recorded = record(json!([answer("analytics", true), answer("research", false)])).ok().await;
    assert_eq!(recorded, json!({"consents_processed": 2, "data_collection_active": ["analytics"]}));
    assert_eq!((state(&ann, "analytics").await, state(&ann, "research").await), ("given".into(), "refused".into()));
    let withdrawn = ann.delete("/v1/privacy/consents/analytics").ok().await;
    assert_eq!(withdrawn, json!({"effective": "now"}));
    assert_eq!(ann.delete("/v1/privacy/consents/analytics").ok().await, withdrawn, "a repeated call");
    assert_eq!(state(&ann, "analytics").await, "withdrawn");
    record(json!([answer("analytics", true)])).ok().await;
    assert_eq!(state(&ann, "analytics").await, "given");

    // Nothing is stored of what is wrong.
    record(json!([answer("marketing", true), answer("service", true)])).refused(409, "LEGAL_BASIS_FIXED").await;
    record(json!([answer("everything", true)])).refused(404, "PURPOSE_UNKNOWN").await;
    let mut wrong = answer("marketing", true);
    wrong["legal_basis"] = json!("legitimate_interest");
    record(json!([wrong])).refused(409, "LEGAL_BASIS_FIXED").await;
    let mut outdated = answer("marketing", true);
    outdated["version"] = json!(9);
    record(json!([outdated])).refused(409, "NOTICE_OUTDATED").await;
    record(json!([answer("marketing", true), answer("marketing", false)])).refused(400, "VALIDATION_FAILED").await;
    ann.delete("/v1/privacy/consents/billing").refused(409, "LEGAL_BASIS_FIXED").await;
    assert_eq!(state(&ann, "marketing").await, "never_asked");

    // Global Privacy Control objects to analytics and marketing, and to nothing else.
    let all = json!({"consents": [answer("analytics", true), answer("marketing", true), answer("ui_heatmaps", true)]});
    let objected = ann.post("/v1/privacy/consents", &all).header("sec-gpc", "1").ok().await;
    assert_eq!(objected["data_collection_active"], json!(["ui_heatmaps"]));
    assert_eq!(
        (state(&ann, "analytics").await, state(&ann, "marketing").await),
        ("withdrawn".into(), "refused".into())
    );

    // Every answer is evidence, and stays.
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    let evidence: Vec<(String, bool, String, i32, Vec<u8>)> = sqlx::query_as(
        "select type, given, method, octet_length(notice_hash), evidence from privacy.consents where user_id = $1 order by id",
    )
    .bind(ann.id)
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let kinds: Vec<(&str, bool, &str)> =
        evidence.iter().map(|(kind, given, method, ..)| (kind.as_str(), *given, method.as_str())).collect();
    assert_eq!(
        kinds,
        [
            ("analytics", true, "settings"),
            ("research", false, "settings"),
            ("analytics", false, "withdrawal"),
            ("analytics", true, "settings"),
            ("analytics", false, "privacy_control"),
            ("marketing", false, "privacy_control"),
            ("ui_heatmaps", true, "settings"),
        ]
    );
    assert!(evidence.iter().all(|(_, _, _, hash, _)| *hash == 32), "{evidence:?}");
    // What tells whose it is, is sealed with their key. The person gets it in clear.
    assert!(evidence.iter().all(|(.., sealed)| !sealed.windows(9).any(|bytes| bytes == b"127.0.0.1")));
    let export = data_export::export(&ann, &json!({"include_categories": ["consents"]})).await;
    let files = data_export::download(&platform, &ann, &export).await;
    let proofs = data_export::rows(&files, "consents.json", "consents.evidence");
    assert_eq!(proofs.len(), 7);
    assert!(proofs.iter().all(|row| row["proof"]["address"] == "127.0.0.1"), "{proofs:?}");
}

#[tokio::test]
async fn collectors_store_with_the_consent_of_the_moment_only() {
    let example = free_address();
    let sources = format!("example=http://{example}");
    let variables = [("BATON_EXAMPLE_LISTEN", example.to_string()), ("BATON_PRIVACY_SOURCES", sources)];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let platform = Platform::start_example(&variables).await;
    let team = platform.team().await;
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    let mut visits = async |person: &Person| -> i64 {
        let count = sqlx::query_scalar("select count(*) from example.visits where user_id = $1").bind(person.id);
        count.fetch_one(&mut conn).await.unwrap()
    };
    let visit = async |person: &Person| drop(person.get("/v1/greetings").ok().await);
    visit(&team.user).await;
    assert_eq!(visits(&team.user).await, 0, "nobody was asked");

    let give = json!({"consents": [answer("analytics", true)]});
    team.user.post("/v1/privacy/consents", &give).ok().await;
    for _ in 0..2 {
        // Consent reaches collectors within seconds.
        let mut stored = 0;
        for _ in 0..100 {
            visit(&team.user).await;
            stored = visits(&team.user).await;
            if stored > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(stored > 0, "nothing is collected with consent");
        visit(&team.manager).await;
        assert_eq!(visits(&team.manager).await, 0, "others have not consented");

        // Withdrawn: at once, and what was collected goes.
        let withdrawn = team.user.delete("/v1/privacy/consents/analytics").ok().await;
        assert_eq!(withdrawn, json!({"effective": "now"}));
        let before = visits(&team.user).await;
        visit(&team.user).await;
        assert!(visits(&team.user).await <= before, "stored after the withdrawal");
        for _ in 0..100 {
            if visits(&team.user).await == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(visits(&team.user).await, 0, "what was collected is deleted");
        team.user.post("/v1/privacy/consents", &give).ok().await;
    }
    // The export has what the further service stores.
    let requested = team.user.post("/v1/privacy/data-export", &json!({"include_categories": ["profile"]})).ok().await;
    let path = format!("/v1/privacy/data-export/{}", requested["export_id"].as_str().unwrap());
    eventually("the export", || async { (team.user.get(&path).ok().await["status"] == "ready").then_some(()) }).await;
}
