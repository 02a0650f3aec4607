//! Inviting, and accepting.

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

use super::{Rpc, account_of};
use crate::{
    account::AccountStatus,
    convert, events, mails,
    member::{self, Acceptance, INVITATION, MAILED_AGAIN_AFTER, Member, Status, email_key},
    store,
    tier::Tiers,
    usage,
};

impl Rpc {
    pub(super) async fn invite(
        &self,
        principal: &Principal,
        call: &Idempotency,
        request: InviteMemberRequest,
    ) -> Result<InviteMemberResponse> {
        let account_id = account_of(principal, &request.account_id)?;
        let manager_id = request.manager_id.as_deref().map(|text| convert::id("manager_id", text)).transpose()?;
        let role = convert::role("role", request.role)?;
        let invited = self.invited(principal, request.email, role, manager_id, self.db.clock().now());
        let email = invited.email.clone();
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(answer) = tx.replay(call).await? {
            return Ok(answer);
        }
        let people = people(&mut tx, principal, &[&invited]).await?;
        may_invite(&people, principal, &invited)?;
        let member = add(&mut tx, &self.tiers, account_id, vec![invited]).await?.answer_for(&email)?;
        let answer = InviteMemberResponse { member: Some(member.into()) };
        tx.remember(call, &answer).await?;
        tx.commit().await?;
        Ok(answer)
    }

    pub(super) async fn invite_all(
        &self,
        principal: &Principal,
        call: &Idempotency,
        request: InviteMembersRequest,
    ) -> Result<InviteMembersResponse> {
        let account_id = account_of(principal, &request.account_id)?;
        let mut invited = Vec::with_capacity(request.invitations.len());
        let mut keys = HashSet::new();
        let now = self.db.clock().now();
        for (n, invitation) in request.invitations.into_iter().enumerate() {
            if !keys.insert(email_key(&invitation.email)) {
                return Err(Error::invalid(format!("invitations[{n}].email"), "is there twice"));
            }
            let manager_id = invitation.manager_id.as_deref();
            let manager_id = manager_id.map(|text| convert::id("invitations.manager_id", text)).transpose()?;
            let role = convert::role("invitations.role", invitation.role)?;
            invited.push(self.invited(principal, invitation.email, role, manager_id, now));
        }
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(answer) = tx.replay(call).await? {
            return Ok(answer);
        }
        let people = people(&mut tx, principal, &invited.iter().collect::<Vec<_>>()).await?;
        for (n, member) in invited.iter().enumerate() {
            may_invite(&people, principal, member)
                .map_err(|error| error.field(format!("invitations[{n}]"), "cannot be invited so"))?;
        }
        let emails: Vec<String> = invited.iter().map(|member| member.email.clone()).collect();
        let mut added = add(&mut tx, &self.tiers, account_id, invited).await?;
        let result = |email: String| match added.answer_for(&email) {
            Ok(member) => InvitationResult { email, member: Some(member.into()), reason: None },
            Err(error) => InvitationResult { email, member: None, reason: Some(error.reason().name().to_owned()) },
        };
        let answer = InviteMembersResponse { results: emails.into_iter().map(result).collect() };
        tx.remember(call, &answer).await?;
        tx.commit().await?;
        Ok(answer)
    }

    /// Someone who is to be invited by the caller.
    fn invited(
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
            status: Status::Invited,
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
        let account_id = account_of(principal, &request.account_id)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(principal.tenant()).await?;
        let mut invited = lock_open(&mut tx, principal, &request.invitation_id).await?;
        if now - invited.invited_at >= MAILED_AGAIN_AFTER {
            let had_run_out = now - invited.invited_at >= INVITATION;
            // Whoever sends it again answers for it from now on.
            store::invitation::renew(&mut tx, &mut invited, principal.user_id(), now).await?;
            usage::take_seats(&mut tx, &self.tiers, account_id, had_run_out.into()).await?;
            tx.enqueue(mails::INVITATION, &mails::To { account_id, member_id: invited.id }).await?;
            tx.publish(events::member_invitation_resent(&invited)).await?;
        }
        tx.commit().await?;
        Ok(ResendInvitationResponse { member: Some(invited.into()) })
    }

    pub(super) async fn revoke(
        &self,
        principal: &Principal,
        request: &RevokeInvitationRequest,
    ) -> Result<RevokeInvitationResponse> {
        account_of(principal, &request.account_id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let invited = lock_open(&mut tx, principal, &request.invitation_id).await?;
        let mut ended = invited.removed(self.db.clock().now());
        store::member::save(&mut tx, &mut ended).await?;
        tx.publish(events::member_invitation_ended(&ended)).await?;
        tx.commit().await?;
        Ok(RevokeInvitationResponse {})
    }

    pub(super) async fn accept(
        &self,
        caller: &Caller,
        request: AcceptInvitationRequest,
    ) -> Result<AcceptInvitationResponse> {
        let invalid = || Error::from(Reason::LinkInvalid);
        let ids = self.mailed_tokens.open(mails::INVITATION_TOKEN, &request.token);
        let [account_id, member_id] = ids.ok_or_else(invalid)?;
        let email = self.users.email(caller).await?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant { account_id, user_id: caller.user_id }).await?;
        let account = store::account::lock(&mut tx, account_id).await?;
        let in_use = account.is_some_and(|account| account.status == AccountStatus::Active);
        let invited = store::member::lock(&mut tx, account_id, member_id).await?.ok_or_else(invalid)?;
        if member::acceptance(&invited, caller.user_id, &email, now)? == Acceptance::Again {
            return Ok(AcceptInvitationResponse { member: Some(invited.into()) });
        }
        if !in_use {
            return Err(Reason::AccountSuspended.into());
        }
        let ids: Vec<Uuid> = invited.manager_id.into_iter().chain(invited.invited_by).collect();
        let members = store::member::active(&mut tx, account_id, &ids).await?;
        let role_of =
            |id: Option<Uuid>| members.iter().find(|member| id.is_some() && member.user_id == id).map(|m| m.role);
        // Ended with the inviter's right; the row of an older version may still be open.
        if !member::still_may_invite(role_of(invited.invited_by), invited.role) {
            let mut ended = invited.removed(now);
            store::member::save(&mut tx, &mut ended).await?;
            tx.publish(events::member_invitation_ended(&ended)).await?;
            tx.commit().await?;
            return Err(invalid());
        }
        let mut joined = invited.joined(caller.user_id, role_of(invited.manager_id), now);
        store::member::save(&mut tx, &mut joined).await?;
        usage::join(&mut tx, &self.tiers, account_id).await?;
        tx.publish(events::member_joined(&joined)).await?;
        tx.commit().await?;
        Ok(AcceptInvitationResponse { member: Some(joined.into()) })
    }
}

/// The caller and the managers of those to be invited, as they stand while the transaction holds the
/// hierarchy. It holds it alone: seats are counted under the same lock.
async fn people(tx: &mut Tx, principal: &Principal, invited: &[&Member]) -> Result<Vec<Member>> {
    let account_id = principal.account_id();
    store::account::lock_hierarchy(tx, account_id).await?;
    let mut ids: Vec<Uuid> = invited.iter().filter_map(|member| member.manager_id).collect();
    ids.push(principal.user_id());
    store::member::active(tx, account_id, &ids).await
}

fn may_invite(people: &[Member], principal: &Principal, invited: &Member) -> Result<()> {
    let role_of = |user_id| people.iter().find(|member| member.user_id == Some(user_id)).map(|member| member.role);
    let actor = role_of(principal.user_id()).ok_or_else(|| Error::from(Reason::NotAMember))?;
    member::may_invite(actor, invited.role, invited.manager_id, invited.manager_id.and_then(role_of))?;
    if invited.role == Role::Owner {
        principal.caller.require_fresh_proof()?;
    }
    Ok(())
}

/// What became of addresses that were to be invited.
struct Added {
    /// Who is invited now, by the address as it was given.
    members: HashMap<String, Member>,
    /// How long others have to wait, by what their address is known under.
    waits: HashMap<String, Duration>,
}

impl Added {
    /// The answer for one address, once.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS when its last mail is too young, MEMBER_EXISTS.
    fn answer_for(&mut self, email: &str) -> Result<Member> {
        if let Some(member) = self.members.remove(email) {
            return Ok(member);
        }
        Err(match self.waits.get(&email_key(email)) {
            Some(&wait) => Error::from(Reason::TooManyAttempts).retry_after(wait),
            None => Reason::MemberExists.into(),
        })
    }
}

/// Stores invitations, mails them and tells of them, where the address was free: the index decides that. What
/// nobody accepted in time makes room first. Whoever takes an invitation back and sends another gets no
/// address more mails than whoever sends the same again.
async fn add(tx: &mut Tx, tiers: &Tiers, account_id: Uuid, mut invited: Vec<Member>) -> Result<Added> {
    let now = tx.db().clock().now();
    let emails: Vec<String> = invited.iter().map(|member| member.email.clone()).collect();
    let mailed = store::invitation::mailed_since(tx, account_id, &emails, now - MAILED_AGAIN_AFTER).await?;
    invited.retain(|member| !mailed.contains_key(&email_key(&member.email)));
    let ended = store::invitation::end_old(tx, account_id, &emails, now - INVITATION, now).await?;
    let added: HashSet<Uuid> = store::invitation::add_all(tx, &invited).await?.into_iter().collect();
    invited.retain(|member| added.contains(&member.id));
    usage::take_seats(tx, tiers, account_id, invited.len()).await?;
    let to: Vec<_> = invited.iter().map(|member| mails::To { account_id, member_id: member.id }).collect();
    tx.enqueue_all(mails::INVITATION, &to).await?;
    let ended = ended.iter().map(events::member_invitation_ended);
    tx.publish_all(ended.chain(invited.iter().map(events::member_invited))).await?;
    let wait = |at: DateTime<Utc>| (at + MAILED_AGAIN_AFTER - now).to_std().unwrap_or_default();
    Ok(Added {
        members: invited.into_iter().map(|member| (member.email.clone(), member)).collect(),
        waits: mailed.into_iter().map(|(key, at)| (key, wait(at))).collect(),
    })
}

/// An invitation of the caller's account that is still open, locked, and which the caller may tend.
async fn lock_open(tx: &mut Tx, principal: &Principal, id: &str) -> Result<Member> {
    let account_id = principal.account_id();
    let id = convert::id("invitation_id", id)?;
    store::account::lock_hierarchy(tx, account_id).await?;
    let actor = store::member::active(tx, account_id, &[principal.user_id()]).await?.pop();
    let actor = actor.ok_or_else(|| Error::from(Reason::NotAMember))?;
    let invited = store::member::lock(tx, account_id, id).await?.filter(|member| member.status == Status::Invited);
    let invited = invited.ok_or_else(|| Error::from(Reason::InvitationNotFound))?;
    member::may_tend(actor.role, invited.role)?;
    Ok(invited)
}
