//! Members of the account, read from the tenancy service with the caller's rights.

use std::{collections::HashSet, sync::Arc};

use baton_access::{Membership, Principal};
use baton_clients::{MemberProfile, Tenancy};
use baton_errors::{Error, Reason, Result};
use baton_store::Restrictions;
use uuid::Uuid;

use crate::{
    policy::assignment::Assignee,
    watchers::{Member, MemberSet},
};

/// The tenancy service. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct MemberDirectory {
    pub(crate) tenancy: Tenancy,
    /// Whose data is only stored: nobody gives them tasks, or mentions them.
    pub(crate) restrictions: Restrictions,
}

impl MemberDirectory {
    /// See [`Tenancy::member`].
    ///
    /// # Errors
    /// Those of [`Tenancy::member`].
    pub(crate) async fn find(&self, principal: &Principal, user_id: Uuid) -> Result<Option<Assignee>> {
        Ok(self.tenancy.member(principal, user_id).await?.map(assignee))
    }

    /// See [`Tenancy::membership_of`].
    ///
    /// # Errors
    /// Those of [`Tenancy::membership_of`].
    pub(crate) async fn describe(&self, principal: &Principal, user_id: Uuid) -> Result<Arc<Membership>> {
        self.tenancy.membership_of(principal, user_id).await
    }

    /// See [`Tenancy::assignees`].
    ///
    /// # Errors
    /// Those of [`Tenancy::assignees`].
    pub(crate) async fn assignees(&self, principal: &Principal) -> Result<Vec<Assignee>> {
        let members = self.tenancy.assignees(principal).await?.into_iter();
        Ok(members.filter(|member| !self.restrictions.contains(member.user_id)).map(assignee).collect())
    }

    /// The members with these user ids, any number of them.
    ///
    /// # Errors
    /// Those of [`Tenancy::profiles`].
    pub(crate) async fn by_ids(&self, principal: &Principal, user_ids: HashSet<Uuid>) -> Result<MemberSet> {
        self.profiles(principal, &[], user_ids).await
    }

    /// The members with these handles or user ids, with their managers. A handle finds nobody the processing of whose data
    /// is restricted.
    ///
    /// # Errors
    /// Those of [`Tenancy::profiles`].
    pub(crate) async fn profiles(
        &self,
        principal: &Principal,
        handles: &[String],
        user_ids: HashSet<Uuid>,
    ) -> Result<MemberSet> {
        let ids: Vec<Uuid> = user_ids.iter().copied().collect();
        let profiles = self.tenancy.profiles(principal, handles, &ids).await?.into_iter();
        let is_open = |id: &Uuid| user_ids.contains(id) || !self.restrictions.contains(*id);
        Ok(profiles.filter(|profile| is_open(&profile.user_id)).map(member).collect())
    }

    /// The member to assign a task to.
    ///
    /// The member may leave before the task is assigned, because no transaction spans both services. That is no worse
    /// than leaving a moment later with the task assigned; an account administrator reassigns it either way.
    ///
    /// # Errors
    /// ASSIGNEE_INVALID, PROCESSING_RESTRICTED, and those of [`MemberDirectory::find`].
    pub(crate) async fn assignee(&self, principal: &Principal, user_id: Uuid) -> Result<Assignee> {
        let member = self.find(principal, user_id).await?.ok_or_else(|| Error::from(Reason::AssigneeInvalid))?;
        self.restrictions.require_none_of([user_id])?;
        Ok(member)
    }
}

fn assignee(member: baton_clients::Member) -> Assignee {
    Assignee { user_id: member.user_id, role: member.role }
}

fn member(profile: MemberProfile) -> Member {
    let MemberProfile { user_id, handle, role, manager_ids } = profile;
    Member { user_id, handle, role, managers: manager_ids }
}
