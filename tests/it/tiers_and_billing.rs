//! Tiers: quotas, upgrades through Stripe, and rate limits.

use std::time::{SystemTime, UNIX_EPOCH};

use baton_tests::{Person, Platform, eventually, run_node};
use serde_json::{Value, json};
use uuid::Uuid;

const SECRET: &str = "whsec_black_box";
const VARIABLES: [(&str, &str); 3] = [
    ("BATON_TENANCY_TIER_LIMITS", "free.users=2,free.open_tasks_per_user=5,free.api_requests_per_hour=250,pro.users=3"),
    ("BATON_TENANCY_STRIPE_WEBHOOK_SECRETS", "whsec_old,whsec_black_box"),
    ("BATON_TENANCY_STRIPE_PRICES", "price_pro=pro"),
];

async fn quota(owner: &Person, account_id: Uuid, name: &str) -> Value {
    let usage = owner.get(&format!("/v1/accounts/{account_id}/usage")).ok().await;
    let quotas = usage["quotas"].as_array().unwrap().clone();
    quotas.into_iter().find(|quota| quota["quota"] == name).unwrap_or_else(|| panic!("no {name} in {usage}"))
}

fn event(id: &str, kind: &str, object: &Value) -> Value {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({"id": id, "object": "event", "api_version": "2025-06-30.basil", "created": created, "livemode": false,
           "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": kind,
           "data": {"object": object}})
}

fn subscription(status: &str) -> Value {
    json!({
        "id": "sub_1Pgc6vB7WZ01zgkWKpNQ0YFf", "object": "subscription", "customer": "cus_QXg1o8vcGmoR32",
        "status": status, "cancel_at_period_end": false, "metadata": {}, "trial_end": null, "collection_method": "charge_automatically",
        "items": {"object": "list", "has_more": false, "data": [{
            "id": "si_QXhVkhxVbnG1e3", "object": "subscription_item", "current_period_end": 4_000_000_000_i64, "quantity": 1,
            "price": {"id": "price_pro", "object": "price", "currency": "eur", "unit_amount": 2000},
        }]},
    })
}

#[tokio::test]
async fn account_upgrades_pays_and_downgrades() {
    let platform = Platform::start_with(&VARIABLES).await;
    let owner = platform.person("owner").await;
    let account_id = owner.create_account("Growing").await;
    let owner = owner.at(account_id);
    let members = format!("/v1/accounts/{account_id}/members");
    let invite = async |n: usize| {
        owner.post(&members, &json!({"email": format!("p{n}@example.com"), "role": "user"})).send().await
    };

    assert_eq!(invite(1).await.status, 200);
    let problem = invite(2).await.refused(403, "QUOTA_EXCEEDED");
    assert_eq!(problem["metadata"], json!({"quota": "users", "limit": "2", "used": "2"}));
    assert_eq!(
        quota(&owner, account_id, "users").await,
        json!({"quota": "users", "limit": 2, "used": 2, "percent": 100})
    );
    for (made, percent) in [(4, 80), (1, 100)] {
        for _ in 0..made {
            owner.create_task("Grow").await;
        }
        eventually("tenancy has counted the tasks", || async {
            (quota(&owner, account_id, "open_tasks_per_user").await["percent"] == percent).then_some(())
        })
        .await;
    }
    owner.post("/v1/tasks", &json!({"title": "One too many"})).refused(403, "QUOTA_EXCEEDED").await;
    let warnings = eventually("the owner is warned of both quotas", || async {
        let list = owner.get("/v1/notifications").ok().await["notifications"].as_array().unwrap().clone();
        let warnings: Vec<_> =
            list.into_iter().filter(|notification| notification["type"] == "usage_warning").collect();
        // Seats at 100 percent; tasks at 80 and at 100.
        (warnings.len() >= 3).then_some(warnings)
    })
    .await;
    assert_eq!(warnings[0]["action_url"], format!("/v1/accounts/{account_id}/usage"));

    let checkout = json!({
        "id": "cs_test_a1", "object": "checkout.session", "mode": "subscription", "client_reference_id": account_id,
        "customer": "cus_QXg1o8vcGmoR32", "subscription": "sub_1Pgc6vB7WZ01zgkWKpNQ0YFf", "metadata": {},
        "payment_status": "paid", "status": "complete",
    });
    let events = [
        event("evt_1", "checkout.session.completed", &checkout),
        event("evt_2", "customer.subscription.created", &subscription("active")),
        event("evt_2", "customer.subscription.created", &subscription("active")),
        event("evt_3", "product.updated", &json!({"id": "prod_1"})),
    ];
    let signed = run_node("stripe.mjs", &json!({"secret": SECRET, "events": events})).await;
    let send = async |signed: &Value| {
        let body = signed["payload"].as_str().unwrap().to_owned();
        let call = platform.rest().call(reqwest::Method::POST, "/v1/webhooks/stripe");
        call.header("stripe-signature", signed["header"].as_str().unwrap()).body("application/json", body).send().await
    };
    for signed in &signed {
        let response = send(signed).await;
        assert_eq!((response.status, response.header("x-ratelimit-limit")), (204, ""), "{}", response.text);
    }
    let mut forged = signed[0].clone();
    forged["payload"] = json!(forged["payload"].as_str().unwrap().replace("evt_1", "evt_9"));
    send(&forged).await.refused(400, "SIGNATURE_INVALID");

    let billing = owner.get(&format!("/v1/accounts/{account_id}/billing")).ok().await;
    let shown = ["subscription_tier", "status", "customer_id", "price_id", "grace_ends_at"].map(|name| &billing[name]);
    assert_eq!(
        shown,
        [&json!("pro"), &json!("active"), &json!("cus_QXg1o8vcGmoR32"), &json!("price_pro"), &Value::Null]
    );
    assert_eq!(invite(3).await.status, 200);
    invite(4).await.refused(403, "QUOTA_EXCEEDED");

    // A downgrade keeps existing resources and blocks new ones.
    let end = [event("evt_4", "customer.subscription.deleted", &subscription("canceled"))];
    let signed = run_node("stripe.mjs", &json!({"secret": SECRET, "events": end})).await;
    assert_eq!(send(&signed[0]).await.status, 204);
    assert_eq!(quota(&owner, account_id, "users").await["percent"], 150);
    invite(4).await.refused(403, "QUOTA_EXCEEDED");
    assert_eq!(owner.get(&members).ok().await["meta"]["total_count"], 3);

    // The free tier's requests: some are used, and the API returns the gateway's counter.
    let response = owner.get("/v1/tasks").send().await;
    let left: i32 = response.header("x-ratelimit-remaining").parse().unwrap();
    assert_eq!(response.header("x-ratelimit-limit"), "250");
    assert_eq!(quota(&owner, account_id, "api_requests_per_hour").await["used"], 250 - left + 1);
    for _ in 1..left {
        owner.get("/v1/tasks").ok().await;
    }
    let refused = owner.get("/v1/tasks").send().await;
    assert_eq!(refused.header("ratelimit-policy"), "\"account\";q=250;w=3600");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 3000);
    refused.refused(429, "RATE_LIMITED");
    // Another account has its own limit, and so has a user without an account.
    let other = platform.person("other").await;
    other.create_account("Another").await;
    assert_eq!(other.get("/v1/tasks").ok().await["tasks"], json!([]));
}
