use baton_errors::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

const PRICES: [&str; 2] = ["price_pro=pro", "price_big=enterprise"];

fn prices() -> Prices {
    Prices::parse(&PRICES.map(str::to_owned)).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn day(day: i64) -> DateTime<Utc> {
    at(day * 86_400)
}

fn event(kind: &str, seconds: i64, object: &Value) -> StripeEvent {
    let event = json!({
        "id": format!("evt_{kind}_{seconds}"), "object": "event", "api_version": "2025-06-30.basil",
        "created": seconds, "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null}, "type": kind,
    });
    StripeEvent::parse(event.to_string().as_bytes()).unwrap()
}

fn subscription(status: &str, price: &str) -> Value {
    json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status,
        "cancel_at_period_end": false, "metadata": {"account_id": Uuid::nil()}, "trial_end": null,
        "items": {"object": "list", "data": [{
            "id": "si_1", "object": "subscription_item", "current_period_end": 2_592_000, "price": {"id": price, "object": "price"},
        }]},
    })
}

fn invoice() -> Value {
    json!({
        "id": "in_1", "object": "invoice", "customer": "cus_1",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1", "metadata": {}}},
    })
}

fn after(events: &[StripeEvent]) -> Subscription {
    let mut subscription = Subscription::new("sub_1".to_owned(), "cus_1".to_owned());
    for event in events {
        let about = event.subscription_event.as_ref().unwrap();
        subscription.apply(&about.change, event.created_at, &prices()).unwrap();
    }
    subscription
}

#[test]
fn a_subscription_from_creation_to_cancellation() {
    use SubscriptionTier::{Enterprise, Free, Pro};
    let mut life = vec![event("customer.subscription.created", 0, &subscription("incomplete", "price_pro"))];
    assert_eq!(after(&life).tier_at(day(0)), Free);
    life.push(event("customer.subscription.updated", 0, &subscription("active", "price_pro")));
    life.push(event("invoice.paid", 0, &invoice()));
    assert_eq!((after(&life).tier_at(day(1)), after(&life).lapses_at(day(1))), (Pro, None));
    life.push(event("customer.subscription.updated", 100, &subscription("active", "price_big")));
    assert_eq!(after(&life).tier_at(day(1)), Enterprise);

    let failed = 30 * 86_400;
    life.push(event("invoice.payment_failed", failed, &invoice()));
    life.push(event("customer.subscription.updated", failed + 5, &subscription("past_due", "price_big")));
    life.push(event("invoice.payment_failed", failed + 86_400, &invoice()));
    let late = after(&life);
    assert_eq!((late.effective_status(), late.lapses_at(day(31))), (Some(SubscriptionStatus::PastDue), Some(day(37))));
    assert_eq!((late.tier_at(day(36)), late.tier_at(day(37)), late.lapses_at(day(37))), (Enterprise, Free, None));

    life.push(event("invoice.paid", failed + 3 * 86_400, &invoice()));
    let made_good = after(&life);
    assert_eq!(
        (made_good.effective_status(), made_good.tier_at(day(40))),
        (Some(SubscriptionStatus::Active), Enterprise)
    );
    life.push(event("customer.subscription.deleted", failed + 4 * 86_400, &subscription("canceled", "price_big")));
    assert_eq!((after(&life).tier_at(day(35)), after(&life).grace_ends_at()), (Free, None));
}

/// Events of a lifecycle. Some share a second, so that only the status orders them.
fn life() -> Vec<StripeEvent> {
    vec![
        event("checkout.session.completed", 1, &json!({"customer": "cus_1", "subscription": "sub_1"})),
        event("customer.subscription.created", 1, &subscription("incomplete", "price_pro")),
        event("customer.subscription.updated", 1, &subscription("incomplete", "price_pro")),
        event("customer.subscription.updated", 1, &subscription("active", "price_pro")),
        event("invoice.paid", 2, &invoice()),
        event("invoice.payment_failed", 50, &invoice()),
        event("customer.subscription.updated", 51, &subscription("past_due", "price_pro")),
        event("invoice.paid", 60, &invoice()),
        event("customer.subscription.updated", 61, &subscription("active", "price_big")),
        event("invoice.payment_failed", 90, &invoice()),
        event("customer.subscription.updated", 91, &subscription("past_due", "price_big")),
        event("customer.subscription.updated", 99, &subscription("unpaid", "price_big")),
        event("customer.subscription.updated", 99, &subscription("canceled", "price_big")),
    ]
}

/// A prefix of the lifecycle, in order and shuffled.
fn shuffled() -> impl Strategy<Value = (Vec<StripeEvent>, Vec<StripeEvent>)> {
    (1..=life().len()).prop_flat_map(|length| {
        let lived = life()[..length].to_vec();
        (Just(lived.clone()), Just(lived).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_order_or_duplicates((lived, shuffled) in shuffled(), again in any::<prop::sample::Index>()) {
        let mut events = shuffled;
        events.push(again.get(&events).clone());
        let (subscription, expected) = (after(&events), after(&lived));
        prop_assert_eq!(subscription.effective_status(), expected.effective_status());
        prop_assert_eq!(subscription.price_id.as_ref(), expected.price_id.as_ref());
        prop_assert_eq!(subscription.tier_at(at(100)), expected.tier_at(at(100)));
        prop_assert_eq!((subscription.healthy_at, subscription.failed_at), (expected.healthy_at, expected.failed_at));
        // No later than the last failure.
        let since = |of: &Subscription| of.failing_since.map(|since| since >= at(90));
        prop_assert_eq!(since(&subscription), since(&expected));
    }

    #[test]
    fn malformed_events_are_refused_without_panic(body in any::<Vec<u8>>()) {
        prop_assert!(StripeEvent::parse(&body).is_err());
    }
}

#[test]
fn a_late_event_does_not_revive_a_canceled_subscription() {
    let end = event("customer.subscription.deleted", 100, &subscription("canceled", "price_pro"));
    for late in [
        event("customer.subscription.updated", 100, &subscription("active", "price_pro")),
        event("customer.subscription.updated", 99, &subscription("active", "price_pro")),
        event("invoice.paid", 200, &invoice()),
    ] {
        assert_eq!(after(&[end.clone(), late]).tier_at(at(300)), SubscriptionTier::Free);
    }
}

#[test]
fn the_highest_tier_of_several_subscriptions_wins() {
    let mut old = after(&[event("customer.subscription.deleted", 9, &subscription("canceled", "price_big"))]);
    old.id = "sub_0".to_owned();
    let new = after(&[event("customer.subscription.created", 5, &subscription("active", "price_pro"))]);
    let both = [old, new];
    assert_eq!(find_decisive(&both, at(10)).map(|best| best.id.as_str()), Some("sub_1"));
    assert_eq!(find_decisive(&[], at(10)), None);
}

#[test]
fn older_api_versions_and_expanded_objects_are_parsed() {
    let mut old = subscription("trialing", "price_pro");
    old["customer"] = json!({"id": "cus_9", "object": "customer"});
    old["current_period_end"] = json!(77);
    let about = event("customer.subscription.updated", 5, &old).subscription_event.unwrap();
    assert_eq!((about.customer_id.as_str(), about.account_id), ("cus_9", Some(Uuid::nil())));
    assert!(
        matches!(about.change, SubscriptionChange::Snapshot { current_period_end, .. } if current_period_end == Some(at(77)))
    );
    let old_invoice = json!({"customer": "cus_1", "subscription": "sub_7",
                             "subscription_details": {"metadata": {"account_id": Uuid::nil()}}});
    let about = event("invoice.paid", 5, &old_invoice).subscription_event.unwrap();
    assert_eq!((about.subscription_id.as_str(), about.account_id), ("sub_7", Some(Uuid::nil())));
    for other in ["customer.created", "checkout.session.completed", "invoice.paid"] {
        assert_eq!(event(other, 5, &json!({"customer": "cus_1"})).subscription_event, None, "{other}");
    }
}

#[test]
fn a_price_removed_from_the_configuration_keeps_its_tier_until_the_end() {
    let mut known = after(&[event("customer.subscription.created", 5, &subscription("active", "price_pro"))]);
    let mut take = |seconds, status, price| {
        let event = event("customer.subscription.updated", seconds, &subscription(status, price));
        let taken = known.apply(&event.subscription_event.unwrap().change, event.created_at, &Prices::default());
        taken.map(|()| known.tier_at(at(100)))
    };
    assert_eq!(take(6, "past_due", "price_pro").unwrap(), SubscriptionTier::Pro);
    assert_eq!(take(7, "active", "price_big").unwrap_err().reason(), Reason::Internal);
    assert_eq!(take(8, "canceled", "price_pro").unwrap(), SubscriptionTier::Free);
}

#[test]
fn an_unknown_price_is_accepted_until_the_subscription_is_live() {
    let mut known = Subscription::new("sub_1".to_owned(), "cus_1".to_owned());
    let mut take = |seconds, status, prices: &Prices| {
        let event = event("customer.subscription.updated", seconds, &subscription(status, "price_pro"));
        known
            .apply(&event.subscription_event.unwrap().change, event.created_at, prices)
            .map(|()| known.tier_at(at(100)))
    };
    assert_eq!(take(5, "incomplete", &Prices::default()).unwrap(), SubscriptionTier::Free);
    assert_eq!(take(6, "active", &Prices::default()).unwrap_err().reason(), Reason::Internal);
    assert_eq!(take(6, "active", &prices()).unwrap(), SubscriptionTier::Pro);
}

#[test]
fn a_live_subscription_with_an_unknown_price_is_an_internal_error() {
    let event = event("customer.subscription.created", 5, &subscription("active", "price_odd"));
    let mut subscription = Subscription::new("sub_1".to_owned(), "cus_1".to_owned());
    let refused =
        subscription.apply(&event.subscription_event.unwrap().change, event.created_at, &prices()).unwrap_err();
    assert_eq!(refused.reason(), Reason::Internal);
    assert!(Prices::parse(&["price_1".to_owned()]).is_err() && Prices::parse(&["price_1=gold".to_owned()]).is_err());
}
