//! The tenancy service: memberships, members, and whom a caller may assign tasks to.

use std::sync::Arc;

use async_trait::async_trait;
use baton_access::{Caller, Hierarchy, Membership, Memberships, Place, Principal, Role, on_behalf_of};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    BatchGetStandingsRequest, DescribeMemberRequest, DescribeMembershipRequest, FindMembersRequest, FoundMember,
    GetHierarchyRequest, GetMemberRequest, HierarchyMember, ListAssigneesRequest, ResolveMembershipRequest, Standing,
    internal_service_client::InternalServiceClient, member_service_client::MemberServiceClient,
};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{Peer, ServiceTokens, Transport};

/// User ids of one FindMembers call.
const MAX_FOUND_MEMBERS: usize = 1_000;
/// Members of one GetHierarchy call: a megabyte.
const HIERARCHY_PAGE: i32 = 10_000;

/// An active member of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// User id.
    pub user_id: Uuid,
    /// Role in the account.
    pub role: Role,
}

/// An active member, with handle and place in the hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberProfile {
    /// User id.
    pub user_id: Uuid,
    /// Handle in the account, without `@`.
    pub handle: String,
    /// Role in the account.
    pub role: Role,
    /// User ids of their manager, the manager's manager and so on.
    pub manager_ids: Vec<Uuid>,
}

/// The tenancy service. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Tenancy<T = Channel>(Peer<T>);

impl<T: Transport> Tenancy<T> {
    /// The tenancy service as a peer.
    pub fn new(peer: Peer<T>) -> Self {
        Self(peer)
    }

    /// The active member of the caller's account with this user id, with the caller's rights; `None` when there is no
    /// such member.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of a call that is not valid any more.
    pub async fn member(&self, principal: &Principal, user_id: Uuid) -> Result<Option<Member>> {
        if user_id == principal.user_id() {
            return Ok(Some(Member { user_id, role: principal.role() }));
        }
        let account_id = principal.account_id();
        let message = GetMemberRequest { account_id: account_id.to_string(), user_id: user_id.to_string() };
        let response = self.0.call(
            || on_behalf_of(&principal.caller, Some(account_id), message.clone()),
            async |tenancy, request| MemberServiceClient::new(tenancy).get_member(request).await,
        );
        match response.await {
            Ok(response) => {
                let role = response.member.and_then(|member| Role::from_proto(member.role));
                let role = role.ok_or_else(|| Error::internal("tenancy returned a member without a role"))?;
                Ok(Some(Member { user_id, role }))
            }
            Err(error) if error.reason() == Reason::MemberNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The membership of a member of the caller's account, as far as the caller may know it.
    ///
    /// # Errors
    /// MEMBER_NOT_FOUND, NOT_ABOVE_MEMBER, and those of [`Tenancy::member`].
    pub async fn membership_of(&self, principal: &Principal, user_id: Uuid) -> Result<Arc<Membership>> {
        if user_id == principal.user_id() {
            return Ok(Arc::clone(&principal.membership));
        }
        let message = DescribeMembershipRequest { user_id: user_id.to_string() };
        let response = self.0.call(
            || on_behalf_of(&principal.caller, Some(principal.account_id()), message.clone()),
            async |tenancy, request| MemberServiceClient::new(tenancy).describe_membership(request).await,
        );
        let membership = response.await?.membership;
        let membership = membership.ok_or_else(|| Error::internal("tenancy returned no membership"))?;
        Ok(Arc::new(Membership::from_proto(membership)?))
    }

    /// The membership of a person in an account, on the service's own behalf; `None` when they are no member.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn membership_in(
        &self,
        tokens: &ServiceTokens<T>,
        account_id: Uuid,
        user_id: Uuid,
    ) -> Result<Option<Membership>> {
        let message = DescribeMemberRequest { account_id: account_id.to_string(), user_id: user_id.to_string() };
        let authorization = tokens.authorization("tenancy").await?;
        let response = self.0.call(
            || crate::tokens::request(&authorization, message.clone()),
            async |tenancy, request| InternalServiceClient::new(tenancy).describe_member(request).await,
        );
        match response.await {
            Ok(response) => {
                let membership = response.membership;
                let membership = membership.ok_or_else(|| Error::internal("tenancy returned no membership"))?;
                Membership::from_proto(membership).map(Some)
            }
            Err(error) if error.reason() == Reason::NotAMember => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The highest tier and role of people, at most 500. Those who belong to no account are left out.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn standings(&self, tokens: &ServiceTokens<T>, user_ids: &[Uuid]) -> Result<Vec<Standing>> {
        let message = BatchGetStandingsRequest { user_ids: user_ids.iter().map(Uuid::to_string).collect() };
        let authorization = tokens.authorization("tenancy").await?;
        let response = self.0.call(
            || crate::tokens::request(&authorization, message.clone()),
            async |tenancy, request| InternalServiceClient::new(tenancy).batch_get_standings(request).await,
        );
        Ok(response.await?.standings)
    }

    /// The hierarchy of an account, on the service's own behalf; `None` when there is no such account.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn hierarchy(&self, tokens: &ServiceTokens<T>, account_id: Uuid) -> Result<Option<Hierarchy>> {
        let mut hierarchy = Hierarchy::default();
        let mut message =
            GetHierarchyRequest { account_id: account_id.to_string(), page_size: HIERARCHY_PAGE, after: None };
        loop {
            let authorization = tokens.authorization("tenancy").await?;
            let response = self.0.call(
                || crate::tokens::request(&authorization, message.clone()),
                async |tenancy, request| InternalServiceClient::new(tenancy).get_hierarchy(request).await,
            );
            let page = match response.await {
                Ok(page) => page,
                Err(error) if error.reason() == Reason::AccountNotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            hierarchy.is_suspended = page.is_suspended;
            hierarchy.second_factor_required = page.second_factor_required;
            message.after = page.members.last().map(|member| member.user_id.clone());
            let is_last = page.members.len() < HIERARCHY_PAGE as usize;
            for member in page.members {
                let place = place(&member).ok_or_else(|| Error::internal("tenancy returned a malformed member"))?;
                hierarchy.members.insert(place.0, place.1);
            }
            if is_last {
                return Ok(Some(hierarchy));
            }
        }
    }

    /// The members to whom the caller may assign tasks, without the caller: at most 1,000, the nearest first.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of a call that is not valid any more.
    pub async fn assignees(&self, principal: &Principal) -> Result<Vec<Member>> {
        let response = self.0.call(
            || on_behalf_of(&principal.caller, Some(principal.account_id()), ListAssigneesRequest {}),
            async |tenancy, request| MemberServiceClient::new(tenancy).list_assignees(request).await,
        );
        let malformed = || Error::internal("tenancy returned an assignee that does not parse");
        let member =
            |user_id: &str, role| Some(Member { user_id: user_id.parse().ok()?, role: Role::from_proto(role)? });
        let assignees = response.await?.assignees;
        assignees.iter().map(|one| member(&one.user_id, one.role).ok_or_else(malformed)).collect()
    }

    /// The members with these handles or user ids, with the managers above them. Those who are no members are left out.
    /// Any number of user ids; at most as many handles as FindMembers takes.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of a call that is not valid any more.
    pub async fn profiles(
        &self,
        principal: &Principal,
        handles: &[String],
        user_ids: &[Uuid],
    ) -> Result<Vec<MemberProfile>> {
        let mut profiles = self.find(principal, handles, &user_ids[..user_ids.len().min(MAX_FOUND_MEMBERS)]).await?;
        for user_ids in user_ids.chunks(MAX_FOUND_MEMBERS).skip(1) {
            profiles.extend(self.find(principal, &[], user_ids).await?);
        }
        Ok(profiles)
    }

    async fn find(&self, principal: &Principal, handles: &[String], user_ids: &[Uuid]) -> Result<Vec<MemberProfile>> {
        if handles.is_empty() && user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let user_ids = user_ids.iter().map(Uuid::to_string).collect();
        let message = FindMembersRequest { handles: handles.to_vec(), user_ids };
        let response = self.0.call(
            || on_behalf_of(&principal.caller, Some(principal.account_id()), message.clone()),
            async |tenancy, request| MemberServiceClient::new(tenancy).find_members(request).await,
        );
        let malformed = || Error::internal("tenancy returned a member that does not parse");
        response.await?.members.into_iter().map(|one| profile(one).ok_or_else(malformed)).collect()
    }
}

fn place(member: &HierarchyMember) -> Option<(Uuid, Place)> {
    let manager_id = Some(&member.manager_id).filter(|id| !id.is_empty()).map(|id| id.parse()).transpose().ok()?;
    Some((member.user_id.parse().ok()?, Place { role: Role::from_proto(member.role)?, manager_id }))
}

fn profile(member: FoundMember) -> Option<MemberProfile> {
    Some(MemberProfile {
        user_id: member.user_id.parse().ok()?,
        handle: member.handle,
        role: Role::from_proto(member.role)?,
        manager_ids: member.above_ids.iter().map(|id| id.parse().ok()).collect::<Option<_>>()?,
    })
}

#[async_trait]
impl<T: Transport> Memberships for Tenancy<T> {
    async fn resolve(&self, caller: &Caller, account_id: Option<Uuid>) -> Result<Membership> {
        let response = self.0.call(
            || on_behalf_of(caller, account_id, ResolveMembershipRequest {}),
            async |tenancy, request| MemberServiceClient::new(tenancy).resolve_membership(request).await,
        );
        Membership::from_proto(response.await?)
    }
}
