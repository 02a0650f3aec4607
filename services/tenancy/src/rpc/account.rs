//! Accounts and their settings.

use baton_access::{Role, caller, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    CreateAccountRequest, CreateAccountResponse, GetSettingsRequest, GetSettingsResponse, ListAccountsRequest,
    ListAccountsResponse, UpdateSettingsRequest, UpdateSettingsResponse, account_service_server::AccountService,
};
use baton_store::{Idempotency, Page, Tenant};
use tonic::{Request, Response, Status};

use super::{Rpc, account_of};
use crate::{
    account::Account,
    convert, events,
    member::{self, Member},
    slug, store,
};

#[tonic::async_trait]
impl AccountService for Rpc {
    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<CreateAccountResponse>, Status> {
        let caller = caller(&request)?.clone();
        let call = Idempotency::of("AccountService/CreateAccount", request.metadata(), request.get_ref())?;
        let CreateAccountRequest { name, slug } = request.into_inner();
        let clock = self.db.clock();
        let (now, user_id) = (clock.now(), caller.user_id);
        let mut account = Account::new(clock.new_id(), &name, slug.as_deref(), now)?;
        let email = self.users.email(&caller).await?;
        let owner = Member {
            id: clock.new_id(),
            account_id: account.id,
            user_id: Some(user_id),
            email,
            role: Role::Owner,
            status: member::Status::Active,
            manager_id: None,
            can_reassign_tasks: false,
            invited_by: None,
            invited_at: now,
            joined_at: Some(now),
            left_at: None,
            version: 1,
        };

        // A key is kept outside of any account: a repetition cannot know the id that the first call made.
        let outside = Tenant::user(user_id);
        let mut tx = self.db.begin(outside).await?;
        if let Some(answer) = tx.replay(&call).await? {
            return Ok(Response::new(answer));
        }
        tx.switch(Tenant { account_id: account.id, user_id }).await?;
        if !store::account::create(&mut tx, &account).await? {
            if slug.is_some() {
                return Err(Error::from(Reason::SlugTaken).into());
            }
            account.slug = slug::with_suffix(&account.slug, account.id);
            if !store::account::create(&mut tx, &account).await? {
                return Err(Error::from(Reason::Conflict).into());
            }
        }
        store::member::add(&mut tx, &owner).await?;
        tx.publish(events::account_created(account.id)).await?;
        tx.publish(events::member_joined(&owner)).await?;
        let answer = CreateAccountResponse { account: Some(account.into()) };
        tx.switch(outside).await?;
        tx.remember(&call, &answer).await?;
        tx.commit().await?;
        Ok(Response::new(answer))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let list = ("accounts", user_id);
        let page = Page::of(request.get_ref().page.as_ref(), &list)?;
        let after = convert::after(&page)?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let total = store::account::count_of_user(&mut tx, user_id).await?;
        let mut joined = store::account::of_user(&mut tx, user_id, after, page.limit(), page.offset()).await?;
        let meta = page.meta(&mut joined, total, &list, |row| (convert::key(row.joined_at), row.membership_id));
        let accounts = joined.into_iter().map(|row| row.account.into()).collect();
        Ok(Response::new(ListAccountsResponse { accounts, meta: Some(meta) }))
    }

    async fn get_settings(
        &self,
        request: Request<GetSettingsRequest>,
    ) -> Result<Response<GetSettingsResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = account_of(principal, &request.get_ref().account_id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let settings = store::account::settings(&mut tx, account_id).await?;
        let settings = settings.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        Ok(Response::new(GetSettingsResponse { settings: Some(settings.into()) }))
    }

    async fn update_settings(
        &self,
        request: Request<UpdateSettingsRequest>,
    ) -> Result<Response<UpdateSettingsResponse>, Status> {
        let tenant = principal(&request)?.tenant();
        let account_id = account_of(principal(&request)?, &request.get_ref().account_id)?;
        let UpdateSettingsRequest { settings: new, update_mask, .. } = request.into_inner();
        let mut tx = self.db.begin(tenant).await?;
        let settings = store::account::lock_settings(&mut tx, account_id).await?;
        let settings = settings.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        let (settings, changed) = convert::merge(settings, new.unwrap_or_default(), update_mask)?;
        if !changed.is_empty() {
            store::account::save_settings(&mut tx, account_id, settings, self.db.clock().now()).await?;
            tx.publish(events::account_settings_changed(account_id, &changed)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateSettingsResponse { settings: Some(settings.into()) }))
    }
}
