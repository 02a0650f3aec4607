//! Billing RPCs: an account's subscription, and Stripe's webhook.

use baton_access::principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    GetBillingRequest, GetBillingResponse, HandleStripeWebhookRequest, HandleStripeWebhookResponse,
    billing_service_server::BillingService,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, parse_account_id};
use crate::{
    application::entitlement,
    billing::{self, StripeEvent, Subscription, SubscriptionEvent},
    convert, store,
};

#[tonic::async_trait]
impl BillingService for Rpc {
    async fn get_billing(&self, request: Request<GetBillingRequest>) -> Result<Response<GetBillingResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let plan = store::usage::get_plan(&mut tx, account_id).await?;
        let plan = plan.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        let subscriptions = store::billing::list_of_account(&mut tx, account_id).await?;
        let decisive = billing::find_decisive(&subscriptions, self.db.clock().now());
        Ok(Response::new(GetBillingResponse { billing: Some(convert::billing(plan.tier, decisive)) }))
    }

    async fn handle_stripe_webhook(
        &self,
        request: Request<HandleStripeWebhookRequest>,
    ) -> Result<Response<HandleStripeWebhookResponse>, Status> {
        let HandleStripeWebhookRequest { payload, signature } = request.into_inner();
        self.stripe_secrets.verify(&signature, &payload, self.db.clock().now())?;
        self.process_event(&StripeEvent::parse(&payload)?).await?;
        Ok(Response::new(HandleStripeWebhookResponse {}))
    }
}

impl Rpc {
    /// Applies a Stripe event to its account. Ignores events about other objects, and events that were applied before.
    ///
    /// # Errors
    /// BILLING_ACCOUNT_UNKNOWN.
    async fn process_event(&self, event: &StripeEvent) -> Result<()> {
        let Some(subscription_event) = &event.subscription_event else { return Ok(()) };
        let account_id = self.find_account(subscription_event).await?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        if store::usage::get_plan(&mut tx, account_id).await?.is_none() {
            return Err(Reason::BillingAccountUnknown.into());
        }
        if !store::billing::record_event(&mut tx, event, now).await? {
            return Ok(());
        }
        let mut subscriptions = store::billing::list_of_account(&mut tx, account_id).await?;
        let index = subscriptions
            .iter()
            .position(|known| known.id == subscription_event.subscription_id)
            .unwrap_or_else(|| {
                subscriptions.push(Subscription::new(
                    subscription_event.subscription_id.clone(),
                    subscription_event.customer_id.clone(),
                ));
                subscriptions.len() - 1
            });
        let before = entitlement::previous(&mut tx, account_id, &subscriptions, now).await?;
        let subscription = &mut subscriptions[index];
        subscription.apply(&subscription_event.change, event.created_at, &self.prices)?;
        let lapses_at = subscription.lapses_at(now);
        store::billing::save(&mut tx, account_id, subscription, lapses_at).await?;
        entitlement::apply(&mut tx, account_id, before, billing::entitlement(&subscriptions, now)).await?;
        tx.commit().await
    }

    /// The account that a subscription belongs to.
    ///
    /// # Errors
    /// BILLING_ACCOUNT_UNKNOWN.
    async fn find_account(&self, event: &SubscriptionEvent) -> Result<Uuid> {
        // An event cannot move a linked subscription to another account.
        if let Some(linked) = store::billing::find_account(&self.db, &event.subscription_id).await? {
            return Ok(linked);
        }
        // The account named in the event takes precedence: a customer may pay for several accounts.
        let account_id = match event.account_id {
            None => store::billing::find_account_of_customer(&self.db, &event.customer_id).await?,
            named => named,
        };
        account_id.ok_or_else(|| Error::from(Reason::BillingAccountUnknown))
    }
}
