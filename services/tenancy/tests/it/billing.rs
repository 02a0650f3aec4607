//! Billing: Stripe events determine the tier of an account.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use baton_access::Role;
use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    Billing, GetBillingRequest, HandleStripeWebhookRequest, SubscriptionStatus, SubscriptionTier,
    billing_service_client::BillingServiceClient,
};
use baton_testkit::{Person, TestContext, eventually, reason};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

use crate::{count, test_context};

fn billing(context: &TestContext) -> BillingServiceClient<Channel> {
    BillingServiceClient::new(context.tenancy())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={hex}")
}

async fn send_signed(context: &TestContext, body: String, signature: String) -> Result<(), Status> {
    let message = HandleStripeWebhookRequest { payload: body.into_bytes(), signature };
    billing(context).handle_stripe_webhook(Request::new(message)).await.map(|_| ())
}

async fn send(context: &TestContext, event: &Value) -> Result<(), Status> {
    let body = event.to_string();
    let signature = signature("whsec_test", now(), &body);
    send_signed(context, body, signature).await
}

fn event(id: &str, kind: &str, created: i64, object: Value) -> Value {
    json!({"id": id, "object": "event", "type": kind, "created": created, "data": {"object": object}})
}

fn subscription(status: &str, price: &str, account_id: Option<Uuid>) -> Value {
    json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status, "cancel_at_period_end": false,
        "current_period_end": 4_000_000_000_i64, "metadata": {"account_id": account_id},
        "items": {"data": [{"price": {"id": price}}]},
    })
}

fn checkout(account_id: Uuid) -> Value {
    json!({
        "id": "cs_1", "object": "checkout.session", "mode": "subscription", "customer": "cus_1",
        "subscription": "sub_1", "client_reference_id": account_id, "metadata": {},
    })
}

fn invoice() -> Value {
    json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_1"})
}

async fn get_billing(context: &TestContext, by: &Person, account_id: Uuid) -> Result<Billing, Status> {
    let request = by.call(account_id, GetBillingRequest { account_id: account_id.to_string() });
    Ok(billing(context).get_billing(request).await?.into_inner().billing.unwrap())
}

#[tokio::test]
async fn a_subscription_from_checkout_to_cancellation() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    let tier = async || get_billing(&context, &owner, account_id).await.unwrap().subscription_tier();
    assert_eq!(tier().await, SubscriptionTier::Free);

    // Stripe does not guarantee an order: the customer is not known yet.
    let created =
        event("evt_2", "customer.subscription.created", now() - 100, subscription("active", "price_pro", None));
    let refused = send(&context, &created).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BillingAccountUnknown));
    send(&context, &event("evt_1", "checkout.session.completed", now() - 100, checkout(account_id))).await.unwrap();
    send(&context, &created).await.unwrap();
    assert_eq!(tier().await, SubscriptionTier::Pro);

    let big = subscription("active", "price_enterprise", None);
    send(&context, &event("evt_4", "customer.subscription.updated", now() - 50, big)).await.unwrap();
    let small = subscription("active", "price_pro", None);
    send(&context, &event("evt_3", "customer.subscription.updated", now() - 60, small)).await.unwrap();
    let billing = get_billing(&context, &owner, account_id).await.unwrap();
    assert_eq!(
        (billing.subscription_tier(), billing.status()),
        (SubscriptionTier::Enterprise, SubscriptionStatus::Active)
    );
    assert_eq!((billing.customer_id(), billing.price_id()), ("cus_1", "price_enterprise"));
    assert_eq!(billing.current_period_end.unwrap().seconds, 4_000_000_000);

    let end = subscription("canceled", "price_enterprise", None);
    send(&context, &event("evt_5", "customer.subscription.deleted", now() - 10, end)).await.unwrap();
    assert_eq!(tier().await, SubscriptionTier::Free);
    // Each change of the tier was published once.
    let changes = "select count(*) from tenancy.outbox where encode(envelope, 'escape') like '%account.tier_changed%'";
    assert_eq!(count(&context, changes).await, 3);
}

#[tokio::test]
async fn concurrent_duplicates_of_an_event_are_processed_once() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    let event =
        event("evt_1", "customer.subscription.created", now(), subscription("active", "price_pro", Some(account_id)));
    for response in join_all((0..10).map(|_| send(&context, &event))).await {
        response.unwrap();
    }
    assert_eq!(count(&context, "select count(*) from tenancy.stripe_events").await, 1);
    let updates = "select version::bigint from tenancy.accounts";
    assert_eq!(count(&context, updates).await, 2);
}

#[tokio::test]
async fn an_event_without_a_recent_valid_signature_is_refused() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    let event =
        event("evt_1", "customer.subscription.created", now(), subscription("active", "price_pro", Some(account_id)));
    let body = event.to_string();
    for bad in [
        signature("whsec_other", now(), &body),
        signature("whsec_test", now() - 301, &body),
        signature("whsec_test", now() + 310, &body),
        signature("whsec_test", now(), &body.replace("price_pro", "price_enterprise")),
        String::new(),
    ] {
        let refused = send_signed(&context, body.clone(), bad.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::SignatureInvalid), "{bad}");
    }
    assert_eq!(count(&context, "select count(*) from tenancy.stripe_events").await, 0);
    assert_eq!(get_billing(&context, &owner, account_id).await.unwrap().subscription_tier(), SubscriptionTier::Free);
}

#[tokio::test]
async fn an_event_cannot_move_a_subscription_to_another_account() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let [own, other] = [context.account(&owner).await, context.account(&owner).await];
    let created = |id, account_id| {
        event(id, "customer.subscription.updated", now(), subscription("active", "price_pro", Some(account_id)))
    };
    send(&context, &created("evt_1", own)).await.unwrap();
    send(&context, &created("evt_2", other)).await.unwrap();
    assert_eq!(get_billing(&context, &owner, own).await.unwrap().subscription_tier(), SubscriptionTier::Pro);
    assert_eq!(get_billing(&context, &owner, other).await.unwrap().subscription_tier(), SubscriptionTier::Free);
    let unknown = event(
        "evt_3",
        "invoice.paid",
        now(),
        json!({"customer": "cus_9", "subscription": "sub_9",
        "subscription_details": {"metadata": {"account_id": Uuid::now_v7()}}}),
    );
    let refused = send(&context, &unknown).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BillingAccountUnknown));
}

#[tokio::test]
async fn a_failed_payment_downgrades_the_account_after_the_grace_period() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    let week = 7 * 86_400;
    let start = now() - 2 * week;
    let created = subscription("active", "price_pro", Some(account_id));
    send(&context, &event("evt_1", "customer.subscription.created", start, created)).await.unwrap();
    // Nearly a week ago, so that the grace period ends during the test.
    let failed = now() - week + 3;
    send(&context, &event("evt_2", "invoice.payment_failed", failed, invoice())).await.unwrap();
    let billing = get_billing(&context, &owner, account_id).await.unwrap();
    assert_eq!(billing.grace_ends_at.unwrap().seconds, failed + week);
    assert_eq!(billing.subscription_tier(), SubscriptionTier::Pro);
    // Further failures change nothing, not even between the end of the grace period and the next sweep.
    let failing = || event(&Uuid::now_v7().to_string(), "invoice.payment_failed", failed + 1, invoice());
    eventually(|| async {
        send(&context, &failing()).await.unwrap();
        let billing = get_billing(&context, &owner, account_id).await.unwrap();
        (billing.subscription_tier() == SubscriptionTier::Free).then_some(())
    })
    .await;
    // A later payment restores the tier.
    send(&context, &event("evt_3", "invoice.paid", now(), invoice())).await.unwrap();
    assert_eq!(get_billing(&context, &owner, account_id).await.unwrap().subscription_tier(), SubscriptionTier::Pro);
}

#[tokio::test]
async fn a_tier_set_by_hand_stays_until_a_subscription_changes() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    let tier = async || get_billing(&context, &owner, account_id).await.unwrap().subscription_tier();
    let set_by_hand = async || {
        let update =
            "update tenancy.accounts set subscription_tier = 'enterprise', subscription_ends_at = '2100-01-01'";
        sqlx::query(update).execute(&context.admin()).await.unwrap();
    };
    let send_event = async |id, kind, created, object| send(&context, &event(id, kind, created, object)).await.unwrap();
    let pro = |status| subscription(status, "price_pro", Some(account_id));
    let start = now() - 100;

    set_by_hand().await;
    send_event("evt_1", "checkout.session.completed", start, checkout(account_id)).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    send_event("evt_2", "customer.subscription.created", start, pro("incomplete")).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    send_event("evt_3", "customer.subscription.updated", start + 10, pro("active")).await;
    assert_eq!(tier().await, SubscriptionTier::Pro);
    // An event that does not change the entitlement does not change the tier.
    set_by_hand().await;
    send_event("evt_4", "invoice.paid", start + 11, invoice()).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    send_event("evt_5", "customer.subscription.deleted", start + 20, pro("canceled")).await;
    assert_eq!(tier().await, SubscriptionTier::Free);

    set_by_hand().await;
    send_event("evt_6", "customer.subscription.deleted", start + 30, pro("canceled")).await;
    send_event("evt_7", "invoice.payment_failed", start + 31, invoice()).await;
    send_event("evt_8", "checkout.session.completed", start + 32, checkout(account_id)).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    let untouched = "select count(*) from tenancy.accounts where subscription_ends_at = '2100-01-01'";
    assert_eq!(count(&context, untouched).await, 1);
}

#[tokio::test]
async fn a_customer_can_pay_for_two_accounts() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let [first, second] = [context.account(&owner).await, context.account(&owner).await];
    let tier = async |account_id| get_billing(&context, &owner, account_id).await.unwrap().subscription_tier();
    let created = async |id: &str, price, account_id| {
        let mut object = subscription("active", price, account_id);
        object["id"] = json!(id);
        send(&context, &event(&format!("evt_{id}"), "customer.subscription.created", now(), object)).await
    };
    created("sub_1", "price_pro", Some(first)).await.unwrap();
    // The customer of a single account needs no account id in the event.
    created("sub_2", "price_enterprise", None).await.unwrap();
    assert_eq!(tier(first).await, SubscriptionTier::Enterprise);
    created("sub_3", "price_pro", Some(second)).await.unwrap();
    assert_eq!((tier(first).await, tier(second).await), (SubscriptionTier::Enterprise, SubscriptionTier::Pro));
    let refused = created("sub_4", "price_pro", None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BillingAccountUnknown));
}

#[tokio::test]
async fn only_owners_read_billing() {
    let context = test_context().await;
    let team = context.team().await;
    for (role, person) in team.roles() {
        let response = get_billing(&context, person, team.account_id).await;
        match role {
            Role::Owner => assert_eq!(response.unwrap().subscription_tier(), SubscriptionTier::Free),
            _ => assert_eq!(reason(&response.unwrap_err()), Some(Reason::PermissionMissing), "{role:?}"),
        }
    }
    let outsider = context.person("outsider").await;
    context.account(&outsider).await;
    assert_eq!(reason(&get_billing(&context, &outsider, team.account_id).await.unwrap_err()), Some(Reason::NotAMember));
}
