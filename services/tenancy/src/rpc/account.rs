//! RPCs for accounts and their settings.

use baton_access::{Principal, Role, caller, limits, matrix, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{
    access::v1::Permission,
    tenancy::v1::{
        self as proto, CancelDeletionRequest, CancelDeletionResponse, CreateAccountRequest, CreateAccountResponse,
        DeleteAccountRequest, DeleteAccountResponse, GetAccountRequest, GetAccountResponse, GetSettingsRequest,
        GetSettingsResponse, ListAccountsRequest, ListAccountsResponse, ReactivateAccountRequest,
        ReactivateAccountResponse, SuspendAccountRequest, SuspendAccountResponse, TransferOwnershipRequest,
        TransferOwnershipResponse, UpdateAccountRequest, UpdateAccountResponse, UpdateSettingsRequest,
        UpdateSettingsResponse, account_service_server::AccountService,
    },
};
use baton_store::{Event, Idempotency, Page, Preconditions, ReadTx, Tenant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, member::lock_actor_and_member, parse_account_id};
use crate::{
    account::Account,
    application::{dpa, ownership},
    convert,
    events::publish,
    member::{self, Member},
    slug, store,
};

/// Maximal number of free accounts per owner. Each account has its own quotas, so without this limit they would limit
/// nobody. Accounts scheduled for deletion count, because the deletion can be canceled.
const MAX_FREE_ACCOUNTS: i32 = 10;

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
        let email = self.auth.email(&caller).await?;
        let owner = Member {
            id: clock.new_id(),
            account_id: account.id,
            user_id: Some(user_id),
            email,
            role: Role::Owner,
            status: member::MemberStatus::Active,
            manager_id: None,
            can_reassign_tasks: false,
            invited_by: None,
            invited_at: now,
            joined_at: Some(now),
            left_at: None,
            handle: None,
            version: 1,
        };

        // The idempotency key is stored outside any account: a retry cannot know the id of the first call's account.
        let outside = Tenant::user(user_id);
        let mut tx = self.db.begin(outside).await?;
        if let Some(response) = tx.replay(&call).await? {
            return Ok(Response::new(response));
        }
        let owned = store::account::lock_and_count_free(&mut tx, user_id).await?;
        if owned >= i64::from(MAX_FREE_ACCOUNTS) {
            return Err(limits::exceeded("accounts", MAX_FREE_ACCOUNTS, owned).into());
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
        tx.publish(publish::account_created(account.id)).await?;
        tx.publish(publish::member_joined(&owner)).await?;
        let response = CreateAccountResponse { account: Some(account.into()) };
        tx.switch(outside).await?;
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let list = ("accounts", user_id);
        let page = Page::of(request.get_ref().page.as_ref(), &list)?;
        let after = convert::start_after(&page)?;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let total = store::account::count_of_user(&mut tx, user_id).await?;
        let mut joined = store::account::list_of_user(&mut tx, user_id, after, page.limit(), page.offset()).await?;
        let meta = page.meta(&mut joined, total, &list, |row| (convert::cursor_key(row.joined_at), row.membership_id));
        let accounts = joined.into_iter().map(|row| row.account.into()).collect();
        Ok(Response::new(ListAccountsResponse { accounts, meta: Some(meta) }))
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Result<Response<GetAccountResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let account = store::account::get(&mut tx, account_id).await?;
        let account = account.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        Ok(Response::new(GetAccountResponse { account: Some(account.into()) }))
    }

    async fn update_account(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<UpdateAccountResponse>, Status> {
        let UpdateAccountRequest { account_id, account: new, update_mask } = request.get_ref().clone();
        let merge = |account: &mut Account| convert::merge_account(account, &new.unwrap_or_default(), update_mask);
        let account = self
            .change_account(&request, &account_id, Permission::AccountSettings, publish::account_updated, merge)
            .await?;
        Ok(Response::new(UpdateAccountResponse { account: Some(account) }))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let now = self.db.clock().now();
        let schedule_deletion = |account: &mut Account| {
            account.schedule_deletion(now);
            Ok(())
        };
        let id = &request.get_ref().account_id;
        let account = self
            .change_account(
                &request,
                id,
                Permission::AccountLifecycle,
                publish::account_deletion_requested,
                schedule_deletion,
            )
            .await?;
        Ok(Response::new(DeleteAccountResponse { account: Some(account) }))
    }

    async fn cancel_deletion(
        &self,
        request: Request<CancelDeletionRequest>,
    ) -> Result<Response<CancelDeletionResponse>, Status> {
        let cancel_deletion = |account: &mut Account| {
            account.cancel_deletion();
            Ok(())
        };
        let id = &request.get_ref().account_id;
        let account = self
            .change_account(
                &request,
                id,
                Permission::AccountLifecycle,
                publish::account_deletion_canceled,
                cancel_deletion,
            )
            .await?;
        Ok(Response::new(CancelDeletionResponse { account: Some(account) }))
    }

    async fn suspend_account(
        &self,
        request: Request<SuspendAccountRequest>,
    ) -> Result<Response<SuspendAccountResponse>, Status> {
        let now = self.db.clock().now();
        let suspend = |account: &mut Account| {
            account.suspend(now);
            Ok(())
        };
        let id = &request.get_ref().account_id;
        let account = self
            .change_account(&request, id, Permission::AccountLifecycle, publish::account_suspended, suspend)
            .await?;
        Ok(Response::new(SuspendAccountResponse { account: Some(account) }))
    }

    async fn reactivate_account(
        &self,
        request: Request<ReactivateAccountRequest>,
    ) -> Result<Response<ReactivateAccountResponse>, Status> {
        let id = &request.get_ref().account_id;
        let account = self
            .change_account(
                &request,
                id,
                Permission::AccountLifecycle,
                publish::account_reactivated,
                Account::reactivate,
            )
            .await?;
        Ok(Response::new(ReactivateAccountResponse { account: Some(account) }))
    }

    async fn transfer_ownership(
        &self,
        request: Request<TransferOwnershipRequest>,
    ) -> Result<Response<TransferOwnershipResponse>, Status> {
        let principal = principal(&request)?.clone();
        let call = Idempotency::of("AccountService/TransferOwnership", request.metadata(), request.get_ref())?;
        Ok(Response::new(self.transfer(&principal, &call, request.get_ref()).await?))
    }

    async fn get_settings(
        &self,
        request: Request<GetSettingsRequest>,
    ) -> Result<Response<GetSettingsResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let found = store::settings::get(&mut tx, account_id).await?;
        let (settings, version) = found.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        let settings = dpa::effective(&mut tx, account_id, settings).await?;
        Ok(Response::new(GetSettingsResponse { settings: Some(convert::settings(settings, version)) }))
    }

    async fn update_settings(
        &self,
        request: Request<UpdateSettingsRequest>,
    ) -> Result<Response<UpdateSettingsResponse>, Status> {
        let principal = principal(&request)?.clone();
        let account_id = parse_account_id(&principal, &request.get_ref().account_id)?;
        let expected = Preconditions::of(request.metadata())?;
        let UpdateSettingsRequest { settings: new, update_mask, .. } = request.into_inner();
        let mut tx = self.db.begin(principal.tenant()).await?;
        let found = store::settings::lock(&mut tx, account_id).await?;
        let (before, mut version) = found.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        require_permission(&mut tx, &principal, Permission::AccountSettings).await?;
        expected.check(version)?;
        let new = new.unwrap_or_default();
        let enables = new.ai_enabled == Some(true) || new.analytics_enabled == Some(true);
        let settings = convert::merge_settings(&before, &new, update_mask)?;
        if before.require_second_factor && !settings.require_second_factor {
            principal.caller.require_fresh_proof(self.db.clock().now())?;
        }
        if enables {
            dpa::require_dpa(&mut tx, account_id).await?;
        }
        let changed = settings.changes_since(&before);
        if !changed.is_empty() {
            version = store::settings::save(&mut tx, account_id, &settings, self.db.clock().now()).await?;
            tx.publish(publish::account_settings_changed(account_id, &changed)).await?;
        }
        let settings = dpa::effective(&mut tx, account_id, settings).await?;
        tx.commit().await?;
        Ok(Response::new(UpdateSettingsResponse { settings: Some(convert::settings(settings, version)) }))
    }
}

impl Rpc {
    /// Applies `rule` to an account in one transaction and publishes `event`. A change without effect writes and
    /// publishes nothing, so it is safe to repeat.
    async fn change_account<T: Sync>(
        &self,
        request: &Request<T>,
        account_id: &str,
        permission: Permission,
        event: fn(Uuid, &[&str]) -> Event,
        rule: impl FnOnce(&mut Account) -> Result<()> + Send,
    ) -> Result<proto::Account> {
        let principal = principal(request)?;
        let account_id = parse_account_id(principal, account_id)?;
        let expected = Preconditions::of(request.metadata())?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let before = store::account::lock(&mut tx, account_id).await?;
        let before = before.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        require_permission(&mut tx, principal, permission).await?;
        expected.check(before.version)?;
        let mut account = before.clone();
        rule(&mut account)?;
        let changed = account.changes_since(&before);
        if !changed.is_empty() {
            account.updated_at = self.db.clock().now();
            store::account::save(&mut tx, &mut account).await?;
            tx.publish(event(account_id, &changed)).await?;
        }
        tx.commit().await?;
        Ok(account.into())
    }

    /// Transfers ownership from the caller to another member.
    async fn transfer(
        &self,
        principal: &Principal,
        call: &Idempotency,
        request: &TransferOwnershipRequest,
    ) -> Result<TransferOwnershipResponse> {
        let account_id = parse_account_id(principal, &request.account_id)?;
        let user_id = convert::parse_id("user_id", &request.user_id)?;
        if user_id == principal.user_id() {
            return Err(Error::invalid("user_id", "must be another member"));
        }
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(call).await? {
            return Ok(response);
        }
        let (from, to) = lock_actor_and_member(&mut tx, principal, account_id, user_id).await?;
        let (_, new) = ownership::transfer_ownership(&mut tx, &from, &to).await?;
        let response = TransferOwnershipResponse { member: Some(new.into()) };
        tx.remember(call, &response).await?;
        tx.commit().await?;
        Ok(response)
    }
}

/// Checks the caller's permission under the hierarchy lock: the access layer's cached role may be a second old.
///
/// # Errors
/// NOT_A_MEMBER, PERMISSION_MISSING.
pub(super) async fn require_permission(tx: &mut ReadTx, principal: &Principal, permission: Permission) -> Result<()> {
    let actor = store::member::list_active(tx, principal.account_id(), &[principal.user_id()]).await?.pop();
    let actor = actor.ok_or_else(|| Error::from(Reason::NotAMember))?;
    if !matrix::holds(actor.role, permission) {
        return Err(Error::from(Reason::PermissionMissing).with("permission", permission.as_str_name()));
    }
    Ok(())
}
