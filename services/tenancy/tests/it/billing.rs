//! Stripe tells what accounts pay for.

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

use crate::{count, world};

fn billing(world: &TestContext) -> BillingServiceClient<Channel> {
    BillingServiceClient::new(world.tenancy())
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

async fn send_signed(world: &TestContext, body: String, signature: String) -> Result<(), Status> {
    let message = HandleStripeWebhookRequest { payload: body.into_bytes(), signature };
    billing(world).handle_stripe_webhook(Request::new(message)).await.map(|_| ())
}

async fn send(world: &TestContext, event: &Value) -> Result<(), Status> {
    let body = event.to_string();
    let signature = signature("whsec_test", now(), &body);
    send_signed(world, body, signature).await
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

async fn of(world: &TestContext, by: &Person, account_id: Uuid) -> Result<Billing, Status> {
    let request = by.call(account_id, GetBillingRequest { account_id: account_id.to_string() });
    Ok(billing(world).get_billing(request).await?.into_inner().billing.unwrap())
}

#[tokio::test]
async fn a_checkout_a_change_of_plan_and_the_end() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    let tier = async || of(&world, &owner, account_id).await.unwrap().subscription_tier();
    assert_eq!(tier().await, SubscriptionTier::Free);

    // Stripe's order is not ours: nobody knows the customer yet.
    let created =
        event("evt_2", "customer.subscription.created", now() - 100, subscription("active", "price_pro", None));
    let refused = send(&world, &created).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BillingAccountUnknown));
    send(&world, &event("evt_1", "checkout.session.completed", now() - 100, checkout(account_id))).await.unwrap();
    send(&world, &created).await.unwrap();
    assert_eq!(tier().await, SubscriptionTier::Pro);

    let big = subscription("active", "price_enterprise", None);
    send(&world, &event("evt_4", "customer.subscription.updated", now() - 50, big)).await.unwrap();
    let small = subscription("active", "price_pro", None);
    send(&world, &event("evt_3", "customer.subscription.updated", now() - 60, small)).await.unwrap();
    let shown = of(&world, &owner, account_id).await.unwrap();
    assert_eq!((shown.subscription_tier(), shown.status()), (SubscriptionTier::Enterprise, SubscriptionStatus::Active));
    assert_eq!((shown.customer_id(), shown.price_id()), ("cus_1", "price_enterprise"));
    assert_eq!(shown.current_period_end.unwrap().seconds, 4_000_000_000);

    let end = subscription("canceled", "price_enterprise", None);
    send(&world, &event("evt_5", "customer.subscription.deleted", now() - 10, end)).await.unwrap();
    assert_eq!(tier().await, SubscriptionTier::Free);
    // Each change of the tier was told once.
    let changes = "select count(*) from tenancy.outbox where encode(envelope, 'escape') like '%account.tier_changed%'";
    assert_eq!(count(&world, changes).await, 3);
}

#[tokio::test]
async fn an_event_that_comes_many_times_at_once_counts_once() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    let event =
        event("evt_1", "customer.subscription.created", now(), subscription("active", "price_pro", Some(account_id)));
    for answer in join_all((0..10).map(|_| send(&world, &event))).await {
        answer.unwrap();
    }
    assert_eq!(count(&world, "select count(*) from tenancy.stripe_events").await, 1);
    let updates = "select version::bigint from tenancy.accounts";
    assert_eq!(count(&world, updates).await, 2);
}

#[tokio::test]
async fn what_is_not_signed_lately_by_our_secret_changes_nothing() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
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
        let refused = send_signed(&world, body.clone(), bad.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::SignatureInvalid), "{bad}");
    }
    assert_eq!(count(&world, "select count(*) from tenancy.stripe_events").await, 0);
    assert_eq!(of(&world, &owner, account_id).await.unwrap().subscription_tier(), SubscriptionTier::Free);
}

#[tokio::test]
async fn a_subscription_cannot_be_moved_to_another_account_by_what_an_event_says() {
    let world = world().await;
    let owner = world.person("owner").await;
    let [own, other] = [world.account(&owner).await, world.account(&owner).await];
    let created = |id, account_id| {
        event(id, "customer.subscription.updated", now(), subscription("active", "price_pro", Some(account_id)))
    };
    send(&world, &created("evt_1", own)).await.unwrap();
    send(&world, &created("evt_2", other)).await.unwrap();
    assert_eq!(of(&world, &owner, own).await.unwrap().subscription_tier(), SubscriptionTier::Pro);
    assert_eq!(of(&world, &owner, other).await.unwrap().subscription_tier(), SubscriptionTier::Free);
    let nobody = event(
        "evt_3",
        "invoice.paid",
        now(),
        json!({"customer": "cus_9", "subscription": "sub_9",
        "subscription_details": {"metadata": {"account_id": Uuid::now_v7()}}}),
    );
    let refused = send(&world, &nobody).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BillingAccountUnknown));
}

#[tokio::test]
async fn a_failed_payment_has_a_week_of_grace_and_then_the_account_is_free() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    let week = 7 * 86_400;
    let begun = now() - 2 * week;
    let created = subscription("active", "price_pro", Some(account_id));
    send(&world, &event("evt_1", "customer.subscription.created", begun, created)).await.unwrap();
    // Nearly a week ago: the grace ends while we look.
    let failed = now() - week + 3;
    send(&world, &event("evt_2", "invoice.payment_failed", failed, invoice())).await.unwrap();
    let shown = of(&world, &owner, account_id).await.unwrap();
    assert_eq!(shown.grace_ends_at.unwrap().seconds, failed + week);
    assert_eq!(shown.subscription_tier(), SubscriptionTier::Pro);
    // That payment goes on failing changes nothing, also between the end of the grace and the look that sees it.
    let failing = || event(&Uuid::now_v7().to_string(), "invoice.payment_failed", failed + 1, invoice());
    eventually(|| async {
        send(&world, &failing()).await.unwrap();
        let shown = of(&world, &owner, account_id).await.unwrap();
        (shown.subscription_tier() == SubscriptionTier::Free).then_some(())
    })
    .await;
    // A payment that comes after all brings it back.
    send(&world, &event("evt_3", "invoice.paid", now(), invoice())).await.unwrap();
    assert_eq!(of(&world, &owner, account_id).await.unwrap().subscription_tier(), SubscriptionTier::Pro);
}

#[tokio::test]
async fn a_tier_that_was_sold_by_hand_stays_until_a_subscription_lives() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    let tier = async || of(&world, &owner, account_id).await.unwrap().subscription_tier();
    let sell = async || {
        let sold = "update tenancy.accounts set subscription_tier = 'enterprise', subscription_ends_at = '2100-01-01'";
        sqlx::query(sold).execute(&world.admin()).await.unwrap();
    };
    let tell = async |id, kind, created, object| send(&world, &event(id, kind, created, object)).await.unwrap();
    let pro = |status| subscription(status, "price_pro", Some(account_id));
    let begun = now() - 100;

    sell().await;
    tell("evt_1", "checkout.session.completed", begun, checkout(account_id)).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    tell("evt_2", "customer.subscription.created", begun, pro("incomplete")).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    tell("evt_3", "customer.subscription.updated", begun + 10, pro("active")).await;
    assert_eq!(tier().await, SubscriptionTier::Pro);
    // What changes nothing of what is paid decides nothing.
    sell().await;
    tell("evt_4", "invoice.paid", begun + 11, invoice()).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    tell("evt_5", "customer.subscription.deleted", begun + 20, pro("canceled")).await;
    assert_eq!(tier().await, SubscriptionTier::Free);

    sell().await;
    tell("evt_6", "customer.subscription.deleted", begun + 30, pro("canceled")).await;
    tell("evt_7", "invoice.payment_failed", begun + 31, invoice()).await;
    tell("evt_8", "checkout.session.completed", begun + 32, checkout(account_id)).await;
    assert_eq!(tier().await, SubscriptionTier::Enterprise);
    let untouched = "select count(*) from tenancy.accounts where subscription_ends_at = '2100-01-01'";
    assert_eq!(count(&world, untouched).await, 1);
}

#[tokio::test]
async fn a_customer_who_pays_for_two_accounts() {
    let world = world().await;
    let owner = world.person("owner").await;
    let [first, second] = [world.account(&owner).await, world.account(&owner).await];
    let tier = async |account_id| of(&world, &owner, account_id).await.unwrap().subscription_tier();
    let created = async |id: &str, price, account_id| {
        let mut object = subscription("active", price, account_id);
        object["id"] = json!(id);
        send(&world, &event(&format!("evt_{id}"), "customer.subscription.created", now(), object)).await
    };
    created("sub_1", "price_pro", Some(first)).await.unwrap();
    // A customer of one account needs no name.
    created("sub_2", "price_enterprise", None).await.unwrap();
    assert_eq!(tier(first).await, SubscriptionTier::Enterprise);
    created("sub_3", "price_pro", Some(second)).await.unwrap();
    assert_eq!((tier(first).await, tier(second).await), (SubscriptionTier::Enterprise, SubscriptionTier::Pro));
    let refused = created("sub_4", "price_pro", None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BillingAccountUnknown));
}

#[tokio::test]
async fn billing_is_for_owners_of_the_account() {
    let world = world().await;
    let team = world.team().await;
    for (role, person) in team.roles() {
        let answer = of(&world, person, team.account_id).await;
        match role {
            Role::Owner => assert_eq!(answer.unwrap().subscription_tier(), SubscriptionTier::Free),
            _ => assert_eq!(reason(&answer.unwrap_err()), Some(Reason::PermissionMissing), "{role:?}"),
        }
    }
    let stranger = world.person("stranger").await;
    world.account(&stranger).await;
    assert_eq!(reason(&of(&world, &stranger, team.account_id).await.unwrap_err()), Some(Reason::NotAMember));
}
