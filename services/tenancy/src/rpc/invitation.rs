//! Invitations: send, resend, revoke, accept.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use baton_access::{Caller, Principal, Role};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, InvitationResult, InviteMemberRequest, InviteMemberResponse,
    InviteMembersRequest, InviteMembersResponse, ResendInvitationRequest, ResendInvitationResponse,
    RevokeInvitationRequest, RevokeInvitationResponse,
};
use baton_store::{Idempotency, Tenant, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Rpc, parse_account_id};
use crate::{
    account::AccountStatus,
    application::{
        invitation_emails::{INVITATION_JOB, INVITATION_TOKEN, InvitationJob},
        usage,
    },
    convert,
    events::publish,
    member::{self, Acceptance, INVITATION_EMAIL_INTERVAL, INVITATION_TTL, Member, MemberStatus, email_key},
    store,
    tier::Tiers,
};

impl Rpc {
    pub(super) async fn invite(
        &self,
        principal: &Principal,
        call: &Idempotency,
        request: InviteMemberRequest,
    ) -> Result<InviteMemberResponse> {
        let account_id = parse_account_id(principal, &request.account_id)?;
        let manager_id = request.manager_id.as_deref().map(|text| convert::parse_id("manager_id", text)).transpose()?;
        let role = convert::parse_role("role", request.role)?;
        let invited = self.new_invitation(principal, request.email, role, manager_id, self.db.clock().now());
        let email = invited.email.clone();
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(call).await? {
            return Ok(response);
        }
        let members = lock_members(&mut tx, principal, &[&invited]).await?;
        check_invitation(&members, principal, &invited, self.db.clock().now())?;
        let member = add_invitations(&mut tx, &self.tiers, account_id, vec![invited]).await?.take_result(&email)?;
        let response = InviteMemberResponse { member: Some(member.into()) };
        tx.remember(call, &response).await?;
        tx.commit().await?;
        Ok(response)
    }

    pub(super) async fn invite_all(
        &self,
        principal: &Principal,
        call: &Idempotency,
        request: InviteMembersRequest,
    ) -> Result<InviteMembersResponse> {
        let account_id = parse_account_id(principal, &request.account_id)?;
        let mut invited = Vec::with_capacity(request.invitations.len());
        let mut keys = HashSet::new();
        let now = self.db.clock().now();
        for (n, invitation) in request.invitations.into_iter().enumerate() {
            if !keys.insert(email_key(&invitation.email)) {
                return Err(Error::invalid(format!("invitations[{n}].email"), "must be unique"));
            }
            let manager_id = invitation.manager_id.as_deref();
            let manager_id = manager_id.map(|text| convert::parse_id("invitations.manager_id", text)).transpose()?;
            let role = convert::parse_role("invitations.role", invitation.role)?;
            invited.push(self.new_invitation(principal, invitation.email, role, manager_id, now));
        }
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(call).await? {
            return Ok(response);
        }
        let members = lock_members(&mut tx, principal, &invited.iter().collect::<Vec<_>>()).await?;
        for (n, member) in invited.iter().enumerate() {
            check_invitation(&members, principal, member, now)
                .map_err(|error| error.field(format!("invitations[{n}]"), "must be a permitted invitation"))?;
        }
        let emails: Vec<String> = invited.iter().map(|member| member.email.clone()).collect();
        let mut added = add_invitations(&mut tx, &self.tiers, account_id, invited).await?;
        let result = |email: String| match added.take_result(&email) {
            Ok(member) => InvitationResult { email, member: Some(member.into()), reason: None },
            Err(error) => InvitationResult { email, member: None, reason: Some(error.reason().name().to_owned()) },
        };
        let response = InviteMembersResponse { results: emails.into_iter().map(result).collect() };
        tx.remember(call, &response).await?;
        tx.commit().await?;
        Ok(response)
    }

    /// A membership for an invitation by the caller.
    fn new_invitation(
        &self,
        principal: &Principal,
        email: String,
        role: Role,
        manager_id: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Member {
        Member {
            id: self.db.clock().new_id(),
            account_id: principal.account_id(),
            user_id: None,
            email,
            role,
            status: MemberStatus::Invited,
            manager_id,
            can_reassign_tasks: false,
            invited_by: Some(principal.user_id()),
            invited_at: now,
            joined_at: None,
            left_at: None,
            handle: None,
            version: 1,
        }
    }

    pub(super) async fn resend(
        &self,
        principal: &Principal,
        request: &ResendInvitationRequest,
    ) -> Result<ResendInvitationResponse> {
        let account_id = parse_account_id(principal, &request.account_id)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(principal.tenant()).await?;
        let mut invited = lock_open_invitation(&mut tx, principal, &request.invitation_id).await?;
        if now - invited.invited_at >= INVITATION_EMAIL_INTERVAL {
            let was_expired = now - invited.invited_at >= INVITATION_TTL;
            // Resending makes the caller the inviter.
            store::invitation::resend(&mut tx, &mut invited, principal.user_id(), now).await?;
            usage::reserve_seats(&mut tx, &self.tiers, account_id, was_expired.into()).await?;
            tx.enqueue(INVITATION_JOB, &InvitationJob { account_id, member_id: invited.id }).await?;
            tx.publish(publish::member_invitation_resent(&invited)).await?;
        }
        tx.commit().await?;
        Ok(ResendInvitationResponse { member: Some(invited.into()) })
    }

    pub(super) async fn revoke(
        &self,
        principal: &Principal,
        request: &RevokeInvitationRequest,
    ) -> Result<RevokeInvitationResponse> {
        parse_account_id(principal, &request.account_id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let invited = lock_open_invitation(&mut tx, principal, &request.invitation_id).await?;
        let mut ended = invited.removed(self.db.clock().now());
        store::member::save(&mut tx, &mut ended).await?;
        tx.publish(publish::member_invitation_ended(&ended)).await?;
        tx.commit().await?;
        Ok(RevokeInvitationResponse {})
    }

    pub(super) async fn accept(
        &self,
        caller: &Caller,
        request: AcceptInvitationRequest,
    ) -> Result<AcceptInvitationResponse> {
        let invalid = || Error::from(Reason::LinkInvalid);
        let ids = self.mailed_tokens.open(INVITATION_TOKEN, &request.token);
        let [account_id, member_id] = ids.ok_or_else(invalid)?;
        let email = self.auth.email(caller).await?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant { account_id, user_id: caller.user_id }).await?;
        let account = store::account::lock(&mut tx, account_id).await?;
        let in_use = account.is_some_and(|account| account.status == AccountStatus::Active);
        let invited = store::member::lock(&mut tx, account_id, member_id).await?.ok_or_else(invalid)?;
        if member::check_acceptance(&invited, caller.user_id, &email, now)? == Acceptance::Repeated {
            return Ok(AcceptInvitationResponse { member: Some(invited.into()) });
        }
        if !in_use {
            return Err(Reason::AccountSuspended.into());
        }
        let ids: Vec<Uuid> = invited.manager_id.into_iter().chain(invited.invited_by).collect();
        let members = store::member::list_active(&mut tx, account_id, &ids).await?;
        let role_of =
            |id: Option<Uuid>| members.iter().find(|member| id.is_some() && member.user_id == id).map(|m| m.role);
        // The inviter's right has ended. Rows written by older versions may still be open.
        if !member::can_still_invite(role_of(invited.invited_by), invited.role) {
            let mut ended = invited.removed(now);
            store::member::save(&mut tx, &mut ended).await?;
            tx.publish(publish::member_invitation_ended(&ended)).await?;
            tx.commit().await?;
            return Err(invalid());
        }
        let mut joined = invited.joined(caller.user_id, role_of(invited.manager_id), now);
        store::member::save(&mut tx, &mut joined).await?;
        usage::check_member_seat(&mut tx, &self.tiers, account_id).await?;
        tx.publish(publish::member_joined(&joined)).await?;
        tx.commit().await?;
        Ok(AcceptInvitationResponse { member: Some(joined.into()) })
    }
}

/// Locks the hierarchy, and loads the caller and the managers of the invitations. Seats are counted under the same
/// lock.
async fn lock_members(tx: &mut Tx, principal: &Principal, invited: &[&Member]) -> Result<Vec<Member>> {
    let account_id = principal.account_id();
    store::account::lock_hierarchy(tx, account_id).await?;
    let mut ids: Vec<Uuid> = invited.iter().filter_map(|member| member.manager_id).collect();
    ids.push(principal.user_id());
    store::member::list_active(tx, account_id, &ids).await
}

/// Checks that the caller may send this invitation.
fn check_invitation(members: &[Member], principal: &Principal, invited: &Member, now: DateTime<Utc>) -> Result<()> {
    let role_of = |user_id| members.iter().find(|member| member.user_id == Some(user_id)).map(|member| member.role);
    let actor = role_of(principal.user_id()).ok_or_else(|| Error::from(Reason::NotAMember))?;
    member::check_invite(actor, invited.role, invited.manager_id, invited.manager_id.and_then(role_of))?;
    if invited.role == Role::Owner {
        principal.caller.require_fresh_proof(now)?;
    }
    Ok(())
}

/// The result of adding invitations.
struct AddedInvitations {
    /// New invitations by address as given.
    members: HashMap<String, Member>,
    /// Waiting times of refused addresses by `email_key`.
    waits: HashMap<String, Duration>,
}

impl AddedInvitations {
    /// Takes the result for one address.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS when the last e-mail is too recent, MEMBER_EXISTS.
    fn take_result(&mut self, email: &str) -> Result<Member> {
        if let Some(member) = self.members.remove(email) {
            return Ok(member);
        }
        Err(match self.waits.get(&email_key(email)) {
            Some(&wait) => Error::from(Reason::TooManyAttempts).retry_after(wait),
            None => Reason::MemberExists.into(),
        })
    }
}

/// Stores invitations, enqueues their e-mails and publishes their events. A unique index decides whether an address is
/// free; expired invitations are ended first. Revoking and inviting again is limited like resending.
async fn add_invitations(
    tx: &mut Tx,
    tiers: &Tiers,
    account_id: Uuid,
    mut invited: Vec<Member>,
) -> Result<AddedInvitations> {
    let now = tx.db().clock().now();
    let emails: Vec<String> = invited.iter().map(|member| member.email.clone()).collect();
    let mailed =
        store::invitation::list_recently_mailed(tx, account_id, &emails, now - INVITATION_EMAIL_INTERVAL).await?;
    invited.retain(|member| !mailed.contains_key(&email_key(&member.email)));
    let ended = store::invitation::end_for_emails(tx, account_id, &emails, now - INVITATION_TTL, now).await?;
    let added: HashSet<Uuid> = store::invitation::add_all(tx, &invited).await?.into_iter().collect();
    invited.retain(|member| added.contains(&member.id));
    usage::reserve_seats(tx, tiers, account_id, invited.len()).await?;
    let to: Vec<_> = invited.iter().map(|member| InvitationJob { account_id, member_id: member.id }).collect();
    tx.enqueue_all(INVITATION_JOB, &to).await?;
    let ended = ended.iter().map(publish::member_invitation_ended);
    tx.publish_all(ended.chain(invited.iter().map(publish::member_invited))).await?;
    let wait = |at: DateTime<Utc>| (at + INVITATION_EMAIL_INTERVAL - now).to_std().unwrap_or_default();
    Ok(AddedInvitations {
        members: invited.into_iter().map(|member| (member.email.clone(), member)).collect(),
        waits: mailed.into_iter().map(|(key, at)| (key, wait(at))).collect(),
    })
}

/// Locks an open invitation of the caller's account, and checks that the caller may manage it.
///
/// # Errors
/// NOT_A_MEMBER, INVITATION_NOT_FOUND, PERMISSION_MISSING, ROLE_NOT_GRANTABLE.
async fn lock_open_invitation(tx: &mut Tx, principal: &Principal, id: &str) -> Result<Member> {
    let account_id = principal.account_id();
    let id = convert::parse_id("invitation_id", id)?;
    store::account::lock_hierarchy(tx, account_id).await?;
    let actor = store::member::list_active(tx, account_id, &[principal.user_id()]).await?.pop();
    let actor = actor.ok_or_else(|| Error::from(Reason::NotAMember))?;
    let invited =
        store::member::lock(tx, account_id, id).await?.filter(|member| member.status == MemberStatus::Invited);
    let invited = invited.ok_or_else(|| Error::from(Reason::InvitationNotFound))?;
    member::check_manage_invitation(actor.role, invited.role)?;
    Ok(invited)
}
