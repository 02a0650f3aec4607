//! RPCs for members: invitations, roles, managers, removal, and lookups.

use baton_access::{
    ACCOUNT_HEADER, Principal, Role, caller, principal,
    relation_policy::{self, Relation},
};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, DescribeMembershipRequest, DescribeMembershipResponse,
    FindMembersRequest, FindMembersResponse, GetMemberRequest, GetMemberResponse, InviteMemberRequest,
    InviteMemberResponse, InviteMembersRequest, InviteMembersResponse, LeaveAccountRequest, LeaveAccountResponse,
    ListAssigneesRequest, ListAssigneesResponse, ListMembersRequest, ListMembersResponse, RemoveMemberRequest,
    RemoveMemberResponse, ResendInvitationRequest, ResendInvitationResponse, ResolveMembershipRequest,
    ResolveMembershipResponse, RevokeInvitationRequest, RevokeInvitationResponse, UpdateMemberRequest,
    UpdateMemberResponse, UpdateOwnMemberRequest, UpdateOwnMemberResponse, member_service_server::MemberService,
};
use baton_store::{Idempotency, Page, Preconditions, Tx};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use super::{Rpc, parse_account_id};
use crate::{
    application::{invitations, offboarding},
    convert,
    events::publish,
    member::{self, Member},
    membership_resolver,
    store::{self, member::Filter},
};

#[tonic::async_trait]
impl MemberService for Rpc {
    async fn invite_member(
        &self,
        request: Request<InviteMemberRequest>,
    ) -> Result<Response<InviteMemberResponse>, Status> {
        let principal = principal(&request)?.clone();
        let call = Idempotency::of("MemberService/InviteMember", request.metadata(), request.get_ref())?;
        Ok(Response::new(self.invite(&principal, &call, request.into_inner()).await?))
    }

    async fn invite_members(
        &self,
        request: Request<InviteMembersRequest>,
    ) -> Result<Response<InviteMembersResponse>, Status> {
        let principal = principal(&request)?.clone();
        let call = Idempotency::of("MemberService/InviteMembers", request.metadata(), request.get_ref())?;
        Ok(Response::new(self.invite_all(&principal, &call, request.into_inner()).await?))
    }

    async fn resend_invitation(
        &self,
        request: Request<ResendInvitationRequest>,
    ) -> Result<Response<ResendInvitationResponse>, Status> {
        let principal = principal(&request)?.clone();
        Ok(Response::new(self.resend(&principal, request.get_ref()).await?))
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<Response<RevokeInvitationResponse>, Status> {
        let principal = principal(&request)?.clone();
        Ok(Response::new(self.revoke(&principal, request.get_ref()).await?))
    }

    async fn accept_invitation(
        &self,
        request: Request<AcceptInvitationRequest>,
    ) -> Result<Response<AcceptInvitationResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.accept(&caller, request.into_inner()).await?))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let filter = Filter {
            account_id: parse_account_id(principal, &message.account_id)?,
            roles: convert::parse_roles(&message.role)?,
            statuses: convert::parse_statuses(&message.status)?,
        };
        let page = Page::of(message.page.as_ref(), &filter)?;
        let after = convert::start_after(&page)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let total = store::member::count(&mut tx, &filter).await?;
        let mut members = store::member::list(&mut tx, &filter, after, page.limit(), page.offset()).await?;
        let meta =
            page.meta(&mut members, total, &filter, |member| (convert::cursor_key(member.invited_at), member.id));
        let members = members.into_iter().map(Into::into).collect();
        Ok(Response::new(ListMembersResponse { members, meta: Some(meta) }))
    }

    async fn get_member(&self, request: Request<GetMemberRequest>) -> Result<Response<GetMemberResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let user_id = convert::parse_id("user_id", &request.get_ref().user_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let member = store::member::list_active(&mut tx, account_id, &[user_id]).await?.pop();
        let member = member.ok_or_else(|| Error::from(Reason::MemberNotFound))?;
        Ok(Response::new(GetMemberResponse { member: Some(member.into()) }))
    }

    async fn update_member(
        &self,
        request: Request<UpdateMemberRequest>,
    ) -> Result<Response<UpdateMemberResponse>, Status> {
        let principal = principal(&request)?.clone();
        let account_id = parse_account_id(&principal, &request.get_ref().account_id)?;
        let expected = Preconditions::of(request.metadata())?;
        let UpdateMemberRequest { user_id, member: new, update_mask, .. } = request.into_inner();
        let user_id = convert::parse_id("user_id", &user_id)?;
        let change = convert::parse_change(&new.unwrap_or_default(), update_mask)?;

        let mut tx = self.db.begin(principal.tenant()).await?;
        let (actor, before) = lock_actor_and_member(&mut tx, &principal, account_id, user_id).await?;
        expected.check(before.version)?;
        let mut after = before.apply(&change);
        let context = store::member::hierarchy_context(&mut tx, account_id, user_id, after.manager_id).await?;
        member::check_change(actor.role, &before, &after, &context)?;
        if before.role != after.role && [before.role, after.role].contains(&Role::Owner) {
            principal.caller.require_fresh_proof(self.db.clock().now())?;
        }
        // A change without effect creates no version and no event.
        if after != before {
            store::member::save(&mut tx, &mut after).await?;
            if after.role != before.role {
                invitations::end_unpermitted(&mut tx, account_id, user_id, Some(after.role)).await?;
                tx.publish(publish::member_role_changed(&after)).await?;
            }
            if (after.manager_id, after.can_reassign_tasks) != (before.manager_id, before.can_reassign_tasks) {
                tx.publish(publish::member_updated(&after)).await?;
            }
        }
        tx.commit().await?;
        Ok(Response::new(UpdateMemberResponse { member: Some(after.into()) }))
    }

    async fn update_own_member(
        &self,
        request: Request<UpdateOwnMemberRequest>,
    ) -> Result<Response<UpdateOwnMemberResponse>, Status> {
        let principal = principal(&request)?.clone();
        let account_id = parse_account_id(&principal, &request.get_ref().account_id)?;
        let expected = Preconditions::of(request.metadata())?;
        let UpdateOwnMemberRequest { member: new, update_mask, .. } = request.into_inner();
        let handle = convert::parse_own_change(new.unwrap_or_default(), update_mask)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (mut member, _) = lock_actor_and_member(&mut tx, &principal, account_id, principal.user_id()).await?;
        expected.check(member.version)?;
        if member.handle.as_ref() != Some(&handle) {
            member.handle = Some(handle);
            store::member::save(&mut tx, &mut member).await?;
            tx.publish(publish::member_updated(&member)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateOwnMemberResponse { member: Some(member.into()) }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let principal = principal(&request)?.clone();
        let account_id = parse_account_id(&principal, &request.get_ref().account_id)?;
        let expected = Preconditions::of(request.metadata())?;
        let user_id = convert::parse_id("user_id", &request.get_ref().user_id)?;

        let hand_over_to = request.get_ref().hand_over_to.as_deref();
        let hand_over_to = hand_over_to.map(|text| convert::parse_id("hand_over_to", text)).transpose()?;

        let mut tx = self.db.begin(principal.tenant()).await?;
        let (actor, member) = lock_actor_and_member(&mut tx, &principal, account_id, user_id).await?;
        expected.check(member.version)?;
        let context = store::member::hierarchy_context(&mut tx, account_id, user_id, member.manager_id).await?;
        member::check_remove(actor.role, member.role, context.owners)?;
        if member.role == Role::Owner {
            principal.caller.require_fresh_proof(self.db.clock().now())?;
        }
        self.remove(&mut tx, &actor, &member, hand_over_to).await?;
        tx.commit().await?;
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn leave_account(
        &self,
        request: Request<LeaveAccountRequest>,
    ) -> Result<Response<LeaveAccountResponse>, Status> {
        let principal = principal(&request)?.clone();
        let user_id = principal.user_id();
        let account_id = parse_account_id(&principal, &request.get_ref().account_id)?;
        let hand_over_to = request.get_ref().hand_over_to.as_deref();
        let hand_over_to = hand_over_to.map(|text| convert::parse_id("hand_over_to", text)).transpose()?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (_, member) = lock_actor_and_member(&mut tx, &principal, account_id, user_id).await?;
        let context = store::member::hierarchy_context(&mut tx, account_id, user_id, member.manager_id).await?;
        member::check_leave(member.role, context.owners)?;
        self.remove(&mut tx, &member, &member, hand_over_to).await?;
        tx.commit().await?;
        Ok(Response::new(LeaveAccountResponse {}))
    }

    async fn describe_membership(
        &self,
        request: Request<DescribeMembershipRequest>,
    ) -> Result<Response<DescribeMembershipResponse>, Status> {
        let principal = principal(&request)?;
        let user_id = convert::parse_id("user_id", &request.get_ref().user_id)?;
        let described =
            membership_resolver::resolve(&self.db, &self.tiers, user_id, Some(principal.account_id())).await;
        let described = described.map_err(|error| match error.reason() {
            Reason::NotAMember => Reason::MemberNotFound.into(),
            _ => error,
        })?;
        let relation = match user_id {
            id if id == principal.user_id() => Relation::Own,
            id if principal.membership.reports.contains(&id) => Relation::Report,
            _ => Relation::Other,
        };
        if !relation_policy::allows(relation_policy::MEMBERSHIPS, principal.role(), described.role, relation) {
            return Err(Error::from(Reason::NotAboveMember).into());
        }
        Ok(Response::new(DescribeMembershipResponse { membership: Some(convert::membership(described)) }))
    }

    async fn list_assignees(
        &self,
        request: Request<ListAssigneesRequest>,
    ) -> Result<Response<ListAssigneesResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let assignees = store::assignee::list(&mut tx, principal.user_id(), &principal.membership).await?;
        Ok(Response::new(ListAssigneesResponse { assignees: assignees.into_iter().map(Into::into).collect() }))
    }

    async fn find_members(
        &self,
        request: Request<FindMembersRequest>,
    ) -> Result<Response<FindMembersResponse>, Status> {
        let principal = principal(&request)?;
        let FindMembersRequest { handles, user_ids } = request.get_ref();
        let user_ids =
            user_ids.iter().map(|text| convert::parse_id("user_ids", text)).collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let found = store::member_lookup::find(&mut tx, handles, &user_ids).await?;
        Ok(Response::new(FindMembersResponse { members: found.into_iter().map(Into::into).collect() }))
    }

    async fn resolve_membership(
        &self,
        request: Request<ResolveMembershipRequest>,
    ) -> Result<Response<ResolveMembershipResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let membership =
            membership_resolver::resolve(&self.db, &self.tiers, user_id, parse_account_header(request.metadata())?)
                .await?;
        Ok(Response::new(convert::membership(membership)))
    }
}

impl Rpc {
    /// Ends a membership. The open tasks pass to `hand_over_to`, or else to the default successor. The caller holds the
    /// hierarchy lock.
    ///
    /// # Errors
    /// HAND_OVER_INVALID, LAST_OWNER.
    async fn remove(&self, tx: &mut Tx, actor: &Member, leaving: &Member, hand_over_to: Option<Uuid>) -> Result<()> {
        let account_id = leaving.account_id;
        let (actor_id, user_id) = (actor.joined_user_id()?, leaving.joined_user_id()?);
        let successor = match hand_over_to {
            Some(to) => {
                let member = store::member::list_active(tx, account_id, &[to]).await?.pop();
                let member = member.ok_or_else(|| Error::from(Reason::HandOverInvalid))?;
                let reports = store::member::reporting_lines(tx, account_id, Some(actor_id), None).await?.reports;
                let relation = match to {
                    to if to == actor_id => Relation::Own,
                    to if reports.contains(&to) => Relation::Report,
                    _ => Relation::Other,
                };
                member::check_hand_over(actor, relation, leaving, &member)?;
                to
            }
            None => {
                let successor = offboarding::find_successor(tx, leaving, user_id).await?;
                successor.ok_or_else(|| Error::from(Reason::LastOwner))?
            }
        };
        offboarding::end_membership(tx, leaving, user_id, successor).await
    }
}

/// Parses the account header; `None` without one.
///
/// # Errors
/// NOT_A_MEMBER when the header is not a UUID.
fn parse_account_header(metadata: &MetadataMap) -> Result<Option<Uuid>> {
    let Some(value) = metadata.get(ACCOUNT_HEADER) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| Reason::NotAMember.into())
}

/// Locks the hierarchy, and loads the caller and the member that they act on. When two members act on each other
/// concurrently, the second sees the result of the first.
///
/// # Errors
/// NOT_A_MEMBER, MEMBER_NOT_FOUND.
pub(super) async fn lock_actor_and_member(
    tx: &mut Tx,
    principal: &Principal,
    account_id: Uuid,
    user_id: Uuid,
) -> Result<(Member, Member)> {
    store::account::lock_hierarchy(tx, account_id).await?;
    let both = store::member::list_active(tx, account_id, &[principal.user_id(), user_id]).await?;
    let find = |user_id| both.iter().find(|member| member.user_id == Some(user_id)).cloned();
    let actor = find(principal.user_id()).ok_or_else(|| Error::from(Reason::NotAMember))?;
    let member = find(user_id).ok_or_else(|| Error::from(Reason::MemberNotFound))?;
    Ok((actor, member))
}
