//! Memberships.

use baton_access::{Role, TaskVisibility as Visibility};
use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    account::AccountStatus,
    member::{HierarchyContext, Member, MemberStatus, email_key},
};

/// A membership as it is stored.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) account_id: Uuid,
    pub(super) user_id: Option<Uuid>,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) status: String,
    pub(super) manager_id: Option<Uuid>,
    pub(super) can_reassign_tasks: bool,
    pub(super) invited_by: Option<Uuid>,
    pub(super) invited_at: DateTime<Utc>,
    pub(super) joined_at: Option<DateTime<Utc>>,
    pub(super) left_at: Option<DateTime<Utc>>,
    pub(super) handle: Option<String>,
    pub(super) version: i32,
}

impl TryFrom<Row> for Member {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            user_id: row.user_id,
            email: row.email,
            role: parse_role(&row.role)?,
            status: MemberStatus::from_name(&row.status)
                .ok_or_else(|| Error::internal("a membership has an unknown status"))?,
            manager_id: row.manager_id,
            can_reassign_tasks: row.can_reassign_tasks,
            invited_by: row.invited_by,
            invited_at: row.invited_at,
            joined_at: row.joined_at,
            left_at: row.left_at,
            handle: row.handle,
            version: row.version,
        })
    }
}

pub(super) fn parse_role(name: &str) -> Result<Role> {
    Role::from_name(name).ok_or_else(|| Error::internal("a membership has an unknown role"))
}

/// Maps a violated unique index to its reason.
fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("memberships_one_per_user" | "memberships_one_per_email") => Reason::MemberExists.into(),
        Some("memberships_one_per_handle") => Reason::HandleTaken.into(),
        _ => error.into(),
    }
}

/// Inserts a membership. A database trigger generates a missing handle.
///
/// # Errors
/// MEMBER_EXISTS.
pub(crate) async fn add(tx: &mut Tx, member: &Member) -> Result<()> {
    sqlx::query!(
        "insert into tenancy.memberships
             (id, account_id, user_id, email, email_key, role, status, manager_id, can_reassign_tasks,
              invited_by, invited_at, joined_at, left_at, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        member.id,
        member.account_id,
        member.user_id,
        member.email,
        email_key(&member.email),
        member.role.name(),
        member.status.name(),
        member.manager_id,
        member.can_reassign_tasks,
        member.invited_by,
        member.invited_at,
        member.joined_at,
        member.left_at,
        member.version,
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// Saves a membership as its next version, and updates `member`. A joining member gets a handle. The caller holds a
/// lock on the membership or the hierarchy.
///
/// # Errors
/// MEMBER_EXISTS when a joining user is a member by another invitation, HANDLE_TAKEN.
pub(crate) async fn save(tx: &mut Tx, member: &mut Member) -> Result<()> {
    let saved = sqlx::query!(
        "update tenancy.memberships
         set user_id = $3, role = $4, status = $5, manager_id = $6, can_reassign_tasks = $7, joined_at = $8,
             left_at = $9, handle = $10, version = version + 1
         where account_id = $1 and id = $2 returning version, handle",
        member.account_id,
        member.id,
        member.user_id,
        member.role.name(),
        member.status.name(),
        member.manager_id,
        member.can_reassign_tasks,
        member.joined_at,
        member.left_at,
        member.handle,
    )
    .fetch_one(tx.connection())
    .await
    .map_err(map_constraint)?;
    (member.version, member.handle) = (saved.version, saved.handle);
    Ok(())
}

/// The active members among these users.
pub(crate) async fn list_active(tx: &mut ReadTx, account_id: Uuid, user_ids: &[Uuid]) -> Result<Vec<Member>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                invited_at, joined_at, left_at, handle, version
         from tenancy.memberships where account_id = $1 and user_id = any($2) and status = 'active'",
        account_id,
        user_ids
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// Loads and locks a membership in any status, so that concurrent acceptances are serialized.
pub(crate) async fn lock(tx: &mut Tx, account_id: Uuid, id: Uuid) -> Result<Option<Member>> {
    let row = sqlx::query_as!(
        Row,
        "select id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                invited_at, joined_at, left_at, handle, version
         from tenancy.memberships where account_id = $1 and id = $2 for update",
        account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Member::try_from).transpose()
}

/// Loads the part of the hierarchy that changing a member, with this manager, depends on.
pub(crate) async fn hierarchy_context(
    tx: &mut ReadTx,
    account_id: Uuid,
    user_id: Uuid,
    manager_id: Option<Uuid>,
) -> Result<HierarchyContext> {
    let row = sqlx::query!(
        r#"select (select role from tenancy.memberships
                   where account_id = $1 and user_id = $3 and status = 'active') as manager,
                  array(select distinct role from tenancy.memberships
                        where account_id = $1 and manager_id = $2 and status = 'active') as "reports!",
                  (select count(*) from tenancy.memberships
                   where account_id = $1 and role = 'owner' and status = 'active') as "owners!""#,
        account_id,
        user_id,
        manager_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(HierarchyContext {
        manager: row.manager.as_deref().map(parse_role).transpose()?,
        reports: row.reports.iter().map(|name| parse_role(name)).collect::<Result<_>>()?,
        owners: row.owners,
    })
}

/// Moves the direct reports and invitees of one manager to another.
pub(crate) async fn move_reports(tx: &mut Tx, account_id: Uuid, from: Uuid, to: Option<Uuid>) -> Result<()> {
    sqlx::query!(
        "update tenancy.memberships set manager_id = $3, version = version + 1
         where account_id = $1 and manager_id = $2 and status in ('invited', 'active')",
        account_id,
        from,
        to
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Moves the super managers among the direct reports and invitees of one manager to another. Returns them.
pub(crate) async fn move_super_managers(tx: &mut Tx, account_id: Uuid, from: Uuid, to: Uuid) -> Result<Vec<Member>> {
    let rows = sqlx::query_as!(
        Row,
        "update tenancy.memberships set manager_id = $3, version = version + 1
         where account_id = $1 and manager_id = $2 and role = 'super_manager' and status in ('invited', 'active')
         returning id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                   invited_at, joined_at, left_at, handle, version",
        account_id,
        from,
        to
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// The active owner with the longest membership, other than this user.
pub(crate) async fn oldest_other_owner(tx: &mut ReadTx, account_id: Uuid, user_id: Uuid) -> Result<Option<Uuid>> {
    let owner = sqlx::query_scalar!(
        r#"select user_id as "user_id!" from tenancy.memberships
           where account_id = $1 and role = 'owner' and status = 'active' and user_id <> $2
           order by joined_at, id limit 1"#,
        account_id,
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(owner)
}

/// The active super manager with the longest membership.
pub(crate) async fn oldest_super_manager(tx: &mut ReadTx, account_id: Uuid) -> Result<Option<Member>> {
    let row = sqlx::query_as!(
        Row,
        "select id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                invited_at, joined_at, left_at, handle, version
         from tenancy.memberships where account_id = $1 and role = 'super_manager' and status = 'active'
         order by joined_at, id limit 1",
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Member::try_from).transpose()
}

/// Account ids of a user's active memberships, in lock order.
pub(crate) async fn list_account_ids(tx: &mut ReadTx, user_id: Uuid) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select account_id from tenancy.memberships where user_id = $1 and status = 'active' order by account_id",
        user_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(ids)
}

/// Saves a member's address. Returns the member if it changed.
///
/// # Errors
/// MEMBER_EXISTS when a member or an open invitation has it.
pub(crate) async fn set_email(tx: &mut Tx, account_id: Uuid, user_id: Uuid, email: &str) -> Result<Option<Member>> {
    let row = sqlx::query_as!(
        Row,
        "update tenancy.memberships set email = $3, email_key = $4, version = version + 1
         where account_id = $1 and user_id = $2 and status = 'active' and email <> $3
         returning id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                   invited_at, joined_at, left_at, handle, version",
        account_id,
        user_id,
        email,
        email_key(email)
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(map_constraint)?;
    row.map(Member::try_from).transpose()
}

/// A filter on members.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) account_id: Uuid,
    pub(crate) roles: Vec<Role>,
    pub(crate) statuses: Vec<MemberStatus>,
}

impl Filter {
    fn roles(&self) -> Vec<String> {
        self.roles.iter().map(|role| role.name().to_owned()).collect()
    }

    fn statuses(&self) -> Vec<String> {
        self.statuses.iter().map(|status| status.name().to_owned()).collect()
    }
}

/// Members in the order of invitation, after the key `after`.
pub(crate) async fn list(
    tx: &mut ReadTx,
    filter: &Filter,
    after: (DateTime<Utc>, Uuid),
    limit: i64,
    offset: i64,
) -> Result<Vec<Member>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                invited_at, joined_at, left_at, handle, version
         from tenancy.memberships
         where account_id = $1 and role = any($2) and status = any($3) and (invited_at, id) > ($4, $5)
         order by invited_at, id limit $6 offset $7",
        filter.account_id,
        &filter.roles(),
        &filter.statuses(),
        after.0,
        after.1,
        limit,
        offset
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// Number of members on all pages.
pub(crate) async fn count(tx: &mut ReadTx, filter: &Filter) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tenancy.memberships
           where account_id = $1 and role = any($2) and status = any($3)"#,
        filter.account_id,
        &filter.roles(),
        &filter.statuses()
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(count)
}

/// A user's membership with the account's status and settings.
pub(crate) struct OwnMembership {
    pub(crate) account_id: Uuid,
    pub(crate) role: Role,
    pub(crate) manager_id: Option<Uuid>,
    pub(crate) can_reassign_tasks: bool,
    pub(crate) managers_may_reassign: bool,
    pub(crate) status: AccountStatus,
    pub(crate) require_second_factor: bool,
    pub(crate) rejection_enabled: bool,
    pub(crate) default_visibility: Visibility,
    pub(crate) timezone: String,
    pub(crate) one_running_timer: bool,
}

/// Loads a user's membership in the account, or in the one that they joined first when `account_id` is `None`.
pub(crate) async fn get_own(tx: &mut ReadTx, user_id: Uuid, account_id: Option<Uuid>) -> Result<Option<OwnMembership>> {
    let row = sqlx::query!(
        "select m.account_id, m.role, m.manager_id, m.can_reassign_tasks, a.managers_may_reassign, a.status,
                a.require_second_factor, a.rejection_enabled, a.default_visibility, a.timezone, a.one_running_timer
         from tenancy.memberships m join tenancy.accounts a on a.id = m.account_id
         where m.user_id = $1 and m.status = 'active' and ($2::uuid is null or m.account_id = $2)
         order by m.joined_at, m.id limit 1",
        user_id,
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    let unknown = || Error::internal("an account has an unknown status or visibility");
    row.map(|row| {
        Ok(OwnMembership {
            account_id: row.account_id,
            role: parse_role(&row.role)?,
            manager_id: row.manager_id,
            can_reassign_tasks: row.can_reassign_tasks,
            managers_may_reassign: row.managers_may_reassign,
            status: AccountStatus::from_name(&row.status).ok_or_else(unknown)?,
            require_second_factor: row.require_second_factor,
            rejection_enabled: row.rejection_enabled,
            default_visibility: Visibility::from_name(&row.default_visibility).ok_or_else(unknown)?,
            timezone: row.timezone,
            one_running_timer: row.one_running_timer,
        })
    })
    .transpose()
}

/// User ids of a member's reports and team.
pub(crate) struct ReportingLines {
    pub(crate) reports: Vec<Uuid>,
    pub(crate) team: Vec<Uuid>,
}

/// Loads the direct and indirect reports of `reports_of`, and the team: `manager_id` with their direct reports. Both
/// are empty for `None`.
pub(crate) async fn reporting_lines(
    tx: &mut ReadTx,
    account_id: Uuid,
    reports_of: Option<Uuid>,
    manager_id: Option<Uuid>,
) -> Result<ReportingLines> {
    let lines = sqlx::query_as!(
        ReportingLines,
        r#"with recursive reports as (
               select user_id from tenancy.memberships
               where account_id = $1 and manager_id = $2 and status = 'active'
               union
               select m.user_id from reports r
               join tenancy.memberships m on m.account_id = $1 and m.manager_id = r.user_id and m.status = 'active'
           )
           select array(select user_id from reports) as "reports!: Vec<Uuid>",
                  array(select user_id from tenancy.memberships
                        where account_id = $1 and status = 'active' and (user_id = $3 or manager_id = $3)
                  ) as "team!: Vec<Uuid>""#,
        account_id,
        reports_of,
        manager_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(lines)
}

/// Recipient and content of an invitation e-mail.
pub(crate) struct InvitationRecipient {
    pub(crate) email: String,
    pub(crate) account_name: String,
    pub(crate) invited_by: Option<Uuid>,
}

/// Loads the recipient of an invitation; `None` when it is no longer open.
pub(crate) async fn get_recipient(tx: &mut ReadTx, account_id: Uuid, id: Uuid) -> Result<Option<InvitationRecipient>> {
    let recipient = sqlx::query_as!(
        InvitationRecipient,
        "select m.email, a.name as account_name, m.invited_by
         from tenancy.memberships m join tenancy.accounts a on a.id = m.account_id
         where m.account_id = $1 and m.id = $2 and m.status = 'invited'",
        account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(recipient)
}
