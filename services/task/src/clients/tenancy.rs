//! Members of the account, read from the tenancy service with the caller's rights.

use std::{collections::HashSet, sync::Arc};

use baton_access::{Membership, Principal};
use baton_clients::{MemberProfile, Tenancy};
use baton_errors::{Reason, Result};
use uuid::Uuid;

use crate::{
    policy::assignment::Assignee,
    watchers::{Member, MemberSet},
};

/// The tenancy service. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct MemberDirectory(pub(crate) Tenancy);

impl MemberDirectory {
    /// See [`Tenancy::member`].
    ///
    /// # Errors
    /// Those of [`Tenancy::member`].
    pub(crate) async fn find(&self, principal: &Principal, user_id: Uuid) -> Result<Option<Assignee>> {
        Ok(self.0.member(principal, user_id).await?.map(assignee))
    }

    /// See [`Tenancy::membership_of`].
    ///
    /// # Errors
    /// Those of [`Tenancy::membership_of`].
    pub(crate) async fn describe(&self, principal: &Principal, user_id: Uuid) -> Result<Arc<Membership>> {
        self.0.membership_of(principal, user_id).await
    }

    /// See [`Tenancy::assignees`].
    ///
    /// # Errors
    /// Those of [`Tenancy::assignees`].
    pub(crate) async fn assignees(&self, principal: &Principal) -> Result<Vec<Assignee>> {
        Ok(self.0.assignees(principal).await?.into_iter().map(assignee).collect())
    }

    /// The members with these user ids, any number of them.
    ///
    /// # Errors
    /// Those of [`Tenancy::profiles`].
    pub(crate) async fn by_ids(&self, principal: &Principal, user_ids: HashSet<Uuid>) -> Result<MemberSet> {
        self.profiles(principal, &[], user_ids).await
    }

    /// The members with these handles or user ids, with their managers.
    ///
    /// # Errors
    /// Those of [`Tenancy::profiles`].
    pub(crate) async fn profiles(
        &self,
        principal: &Principal,
        handles: &[String],
        user_ids: HashSet<Uuid>,
    ) -> Result<MemberSet> {
        let user_ids: Vec<Uuid> = user_ids.into_iter().collect();
        Ok(self.0.profiles(principal, handles, &user_ids).await?.into_iter().map(member).collect())
    }

    /// The member to assign a task to.
    ///
    /// The member may leave before the task is assigned, because no transaction spans both services. That is no worse
    /// than leaving a moment later with the task assigned; an account administrator reassigns it either way.
    ///
    /// # Errors
    /// ASSIGNEE_INVALID, and those of [`MemberDirectory::find`].
    pub(crate) async fn assignee(&self, principal: &Principal, user_id: Uuid) -> Result<Assignee> {
        self.find(principal, user_id).await?.ok_or_else(|| Reason::AssigneeInvalid.into())
    }
}

fn assignee(member: baton_clients::Member) -> Assignee {
    Assignee { user_id: member.user_id, role: member.role }
}

fn member(profile: MemberProfile) -> Member {
    let MemberProfile { user_id, handle, role, manager_ids } = profile;
    Member { user_id, handle, role, managers: manager_ids }
}
