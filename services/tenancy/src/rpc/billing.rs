//! What an account pays for.

use baton_access::principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::tenancy::v1::{
        self as proto, GetBillingRequest, GetBillingResponse, HandleStripeWebhookRequest, HandleStripeWebhookResponse,
        billing_service_server::BillingService,
    },
    convert::timestamp,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, account_of};
use crate::{
    account::SubscriptionTier,
    billing::{self, About, StripeEvent, Subscription},
    convert, lapse, store,
};

#[tonic::async_trait]
impl BillingService for Rpc {
    async fn get_billing(&self, request: Request<GetBillingRequest>) -> Result<Response<GetBillingResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = account_of(principal, &request.get_ref().account_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let plan = store::usage::plan(&mut tx, account_id).await?;
        let plan = plan.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        let subscriptions = store::billing::of_account(&mut tx, account_id).await?;
        let decisive = billing::decisive(&subscriptions, self.db.clock().now());
        Ok(Response::new(GetBillingResponse { billing: Some(shown(plan.tier, decisive)) }))
    }

    async fn handle_stripe_webhook(
        &self,
        request: Request<HandleStripeWebhookRequest>,
    ) -> Result<Response<HandleStripeWebhookResponse>, Status> {
        let HandleStripeWebhookRequest { payload, signature } = request.into_inner();
        self.stripe_secrets.check(&signature, &payload, self.db.clock().now())?;
        self.take_in(&StripeEvent::parse(&payload)?).await?;
        Ok(Response::new(HandleStripeWebhookResponse {}))
    }
}

impl Rpc {
    async fn take_in(&self, event: &StripeEvent) -> Result<()> {
        let Some(about) = &event.about else { return Ok(()) };
        let account_id = self.account_of(about).await?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        if store::usage::plan(&mut tx, account_id).await?.is_none() {
            return Err(Reason::BillingAccountUnknown.into());
        }
        if !store::billing::note(&mut tx, event, now).await? {
            return Ok(());
        }
        let mut subscriptions = store::billing::of_account(&mut tx, account_id).await?;
        let place = subscriptions.iter().position(|known| known.id == about.subscription_id).unwrap_or_else(|| {
            subscriptions.push(Subscription::new(about.subscription_id.clone(), about.customer_id.clone()));
            subscriptions.len() - 1
        });
        let before = lapse::decided(&mut tx, account_id, &subscriptions, now).await?;
        let subscription = &mut subscriptions[place];
        subscription.take(&about.change, event.made_at, &self.prices)?;
        let lapses_at = subscription.lapses_at(now);
        store::billing::save(&mut tx, account_id, subscription, lapses_at).await?;
        lapse::decide(&mut tx, account_id, before, billing::outcome(&subscriptions, now)).await?;
        tx.commit().await
    }

    async fn account_of(&self, about: &About) -> Result<Uuid> {
        // What is linked stays linked: a subscription cannot be moved to another account by what an event says.
        if let Some(linked) = store::billing::account_of(&self.db, &about.subscription_id).await? {
            return Ok(linked);
        }
        // A customer may pay for several accounts, so what the event says comes first.
        let account_id = match about.account_id {
            None => store::billing::account_of_customer(&self.db, &about.customer_id).await?,
            named => named,
        };
        account_id.ok_or_else(|| Error::from(Reason::BillingAccountUnknown))
    }
}

fn shown(tier: SubscriptionTier, subscription: Option<&Subscription>) -> proto::Billing {
    let tier = convert::tier(tier).into();
    let Some(subscription) = subscription else {
        return proto::Billing { subscription_tier: tier, ..proto::Billing::default() };
    };
    proto::Billing {
        subscription_tier: tier,
        status: subscription.standing().map(|status| status_to_proto(status).into()),
        customer_id: Some(subscription.customer_id.clone()),
        subscription_id: Some(subscription.id.clone()),
        price_id: subscription.price_id.clone(),
        current_period_end: subscription.current_period_end.map(timestamp),
        cancel_at_period_end: subscription.cancel_at_period_end,
        trial_ends_at: subscription.trial_ends_at.map(timestamp),
        grace_ends_at: subscription.grace_ends_at().map(timestamp),
    }
}

fn status_to_proto(status: billing::Status) -> proto::SubscriptionStatus {
    match status {
        billing::Status::Incomplete => proto::SubscriptionStatus::Incomplete,
        billing::Status::IncompleteExpired => proto::SubscriptionStatus::IncompleteExpired,
        billing::Status::Trialing => proto::SubscriptionStatus::Trialing,
        billing::Status::Active => proto::SubscriptionStatus::Active,
        billing::Status::PastDue => proto::SubscriptionStatus::PastDue,
        billing::Status::Unpaid => proto::SubscriptionStatus::Unpaid,
        billing::Status::Canceled => proto::SubscriptionStatus::Canceled,
        billing::Status::Paused => proto::SubscriptionStatus::Paused,
    }
}
