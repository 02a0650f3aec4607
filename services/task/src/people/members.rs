//! Members of the account, asked of the tenancy service.

use std::{collections::HashSet, sync::Arc, time::Duration};

use baton_access::{Membership, Principal, Role, on_behalf_of};
use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::baton::tenancy::v1::{
    DescribeMembershipRequest, FindMembersRequest, FoundMember, GetMemberRequest, ListAssigneesRequest,
    member_service_client::MemberServiceClient,
};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::people::{
    assignment::Member,
    watching::{Colleague, Colleagues},
};

/// An answer that takes longer counts as none.
const TIMEOUT: Duration = Duration::from_secs(5);
/// People that tenancy is asked about at once.
const MOST_FOUND: usize = 1_000;

/// The tenancy service. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Members(pub(crate) MemberServiceClient<Channel>);

impl Members {
    /// The active member of the caller's account with this user id, asked with the caller's own rights.
    ///
    /// # Errors
    /// UNAVAILABLE when nobody can tell; or the caller's call does not hold any more.
    pub(crate) async fn find(&self, principal: &Principal, user_id: Uuid) -> Result<Option<Member>> {
        if user_id == principal.user_id() {
            return Ok(Some(Member { user_id, role: principal.role() }));
        }
        let account_id = principal.account_id();
        let message = GetMemberRequest { account_id: account_id.to_string(), user_id: user_id.to_string() };
        let mut request = on_behalf_of(&principal.caller, Some(account_id), message);
        request.set_timeout(TIMEOUT);
        match self.0.clone().get_member(request).await {
            Ok(answer) => {
                let role = answer.into_inner().member.and_then(|member| Role::from_proto(member.role));
                let role = role.ok_or_else(|| Error::internal("tenancy answered a member without a role"))?;
                Ok(Some(Member { user_id, role }))
            }
            Err(status) => match reason_of(&status) {
                Some(Reason::MemberNotFound) => Ok(None),
                Some(reason @ (Reason::NotAMember | Reason::SessionClosed | Reason::TokenInvalid)) => {
                    Err(Error::from(reason))
                }
                _ => Err(Error::from(Reason::Unavailable).with_source(status)),
            },
        }
    }

    /// What a member is in the caller's account, as far as the caller may know it.
    ///
    /// # Errors
    /// MEMBER_NOT_FOUND, NOT_ABOVE_MEMBER, and those of [`Members::find`].
    pub(crate) async fn describe(&self, principal: &Principal, user_id: Uuid) -> Result<Arc<Membership>> {
        if user_id == principal.user_id() {
            return Ok(Arc::clone(&principal.membership));
        }
        let message = DescribeMembershipRequest { user_id: user_id.to_string() };
        let mut request = on_behalf_of(&principal.caller, Some(principal.account_id()), message);
        request.set_timeout(TIMEOUT);
        let answer = self.0.clone().describe_membership(request).await.map_err(|status| match reason_of(&status) {
            Some(
                reason @ (Reason::MemberNotFound
                | Reason::NotAboveMember
                | Reason::NotAMember
                | Reason::AccountSuspended
                | Reason::SessionClosed
                | Reason::TokenInvalid),
            ) => Error::from(reason),
            _ => Error::from(Reason::Unavailable).with_source(status),
        })?;
        let membership = answer.into_inner().membership;
        let membership = membership.ok_or_else(|| Error::internal("tenancy described no membership"))?;
        Ok(Arc::new(Membership::from_proto(membership)?))
    }

    /// The members whom the caller may hand tasks to, but for the caller: at most 1,000, the nearest.
    ///
    /// # Errors
    /// UNAVAILABLE when nobody can tell; or the caller's call does not hold any more.
    pub(crate) async fn assignees(&self, principal: &Principal) -> Result<Vec<Member>> {
        let mut request = on_behalf_of(&principal.caller, Some(principal.account_id()), ListAssigneesRequest {});
        request.set_timeout(TIMEOUT);
        let answer = self.0.clone().list_assignees(request).await.map_err(|status| match reason_of(&status) {
            Some(
                reason @ (Reason::NotAMember
                | Reason::PermissionMissing
                | Reason::AccountSuspended
                | Reason::SessionClosed
                | Reason::TokenInvalid),
            ) => Error::from(reason),
            _ => Error::from(Reason::Unavailable).with_source(status),
        })?;
        let malformed = || Error::internal("tenancy answered an assignee that does not parse");
        let member =
            |user_id: &str, role| Some(Member { user_id: user_id.parse().ok()?, role: Role::from_proto(role)? });
        let assignees = answer.into_inner().assignees;
        assignees.iter().map(|one| member(&one.user_id, one.role).ok_or_else(malformed)).collect()
    }

    /// The members with these user ids, however many they are.
    ///
    /// # Errors
    /// Those of [`Members::colleagues`].
    pub(crate) async fn all(&self, principal: &Principal, user_ids: HashSet<Uuid>) -> Result<Colleagues> {
        let mut people = Colleagues::default();
        let user_ids: Vec<Uuid> = user_ids.into_iter().collect();
        for some in user_ids.chunks(MOST_FOUND) {
            people.extend(self.found(principal, &[], some).await?);
        }
        Ok(people)
    }

    /// The members with these handles or user ids, with all who lead them.
    ///
    /// # Errors
    /// UNAVAILABLE when nobody can tell; or the caller's call does not hold any more.
    pub(crate) async fn colleagues(
        &self,
        principal: &Principal,
        handles: &[String],
        user_ids: HashSet<Uuid>,
    ) -> Result<Colleagues> {
        let user_ids: Vec<Uuid> = user_ids.into_iter().collect();
        Ok(self.found(principal, handles, &user_ids).await?.into_iter().collect())
    }

    async fn found(&self, principal: &Principal, handles: &[String], user_ids: &[Uuid]) -> Result<Vec<Colleague>> {
        let user_ids = user_ids.iter().map(Uuid::to_string).collect();
        let message = FindMembersRequest { handles: handles.to_vec(), user_ids };
        let mut request = on_behalf_of(&principal.caller, Some(principal.account_id()), message);
        request.set_timeout(TIMEOUT);
        let answer = self.0.clone().find_members(request).await.map_err(|status| match reason_of(&status) {
            Some(
                reason @ (Reason::NotAMember | Reason::AccountSuspended | Reason::SessionClosed | Reason::TokenInvalid),
            ) => Error::from(reason),
            _ => Error::from(Reason::Unavailable).with_source(status),
        })?;
        let colleague = |one: FoundMember| {
            Some(Colleague {
                user_id: one.user_id.parse().ok()?,
                handle: one.handle,
                role: Role::from_proto(one.role)?,
                above: one.above_ids.iter().map(|id| id.parse().ok()).collect::<Option<_>>()?,
            })
        };
        let malformed = || Error::internal("tenancy answered a member that does not parse");
        answer.into_inner().members.into_iter().map(|one| colleague(one).ok_or_else(malformed)).collect()
    }

    /// The member to hand a task to.
    ///
    /// They may leave before the task is theirs: no transaction spans both services. That is no worse than
    /// their leaving a moment later, with the task in hand; who runs the account reassigns it either way.
    ///
    /// # Errors
    /// ASSIGNEE_INVALID, and those of [`Members::find`].
    pub(crate) async fn assignee(&self, principal: &Principal, user_id: Uuid) -> Result<Member> {
        self.find(principal, user_id).await?.ok_or_else(|| Reason::AssigneeInvalid.into())
    }
}
