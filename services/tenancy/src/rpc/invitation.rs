//! Inviting, and accepting.

use baton_access::{Caller, Principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, InviteMemberRequest, InviteMemberResponse,
};
use baton_store::{Idempotency, Tenant};

use super::{Rpc, account_of};
use crate::{
    convert, events, mails,
    member::{self, Acceptance, INVITATION, Member, Status},
    store,
};

impl Rpc {
    pub(super) async fn invite(
        &self,
        principal: &Principal,
        call: &Idempotency,
        request: InviteMemberRequest,
    ) -> Result<InviteMemberResponse> {
        let account_id = account_of(principal, &request.account_id)?;
        let clock = self.db.clock();
        let now = clock.now();
        let invited = Member {
            id: clock.new_id(),
            account_id,
            user_id: None,
            role: convert::role("role", request.role)?,
            status: Status::Invited,
            manager_id: request.manager_id.as_deref().map(|text| convert::id("manager_id", text)).transpose()?,
            email: request.email,
            can_reassign_tasks: false,
            invited_by: Some(principal.user_id()),
            invited_at: now,
            joined_at: None,
            left_at: None,
            version: 1,
        };
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(answer) = tx.replay(call).await? {
            return Ok(answer);
        }
        store::account::hold_hierarchy(&mut tx, account_id).await?;
        let people: Vec<_> = [Some(principal.user_id()), invited.manager_id].into_iter().flatten().collect();
        let people = store::member::active(&mut tx, account_id, &people).await?;
        let role_of = |user_id| people.iter().find(|member| member.user_id == Some(user_id)).map(|member| member.role);
        let actor = role_of(principal.user_id()).ok_or_else(|| Error::from(Reason::NotAMember))?;
        member::may_invite(actor, invited.role, invited.manager_id, invited.manager_id.and_then(role_of))?;

        // One that nobody accepted in time makes room.
        let old = store::member::lock_old_invitation(&mut tx, account_id, &invited.email, now - INVITATION).await?;
        if let Some(old) = old {
            let mut ended = old.removed(now);
            store::member::save(&mut tx, &mut ended).await?;
            tx.publish(events::member_removed(&ended)).await?;
        }
        store::member::add(&mut tx, &invited).await?;
        tx.enqueue(mails::INVITATION, &mails::To { account_id, member_id: invited.id }).await?;
        tx.publish(events::member_invited(&invited)).await?;
        let answer = InviteMemberResponse { member: Some(invited.into()) };
        tx.remember(call, &answer).await?;
        tx.commit().await?;
        Ok(answer)
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
        store::account::hold_hierarchy(&mut tx, account_id).await?;
        let invited = store::member::lock(&mut tx, account_id, member_id).await?.ok_or_else(invalid)?;
        if member::acceptance(&invited, caller.user_id, &email, now)? == Acceptance::Again {
            return Ok(AcceptInvitationResponse { member: Some(invited.into()) });
        }
        let manager = match invited.manager_id {
            Some(id) => store::member::active(&mut tx, account_id, &[id]).await?.pop(),
            None => None,
        };
        let mut joined = invited.joined(caller.user_id, manager.map(|manager| manager.role), now);
        store::member::save(&mut tx, &mut joined).await?;
        tx.publish(events::member_joined(&joined)).await?;
        tx.commit().await?;
        Ok(AcceptInvitationResponse { member: Some(joined.into()) })
    }
}
