//! Handles: the names for mentions.

use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, FindMembersRequest, FoundMember, GetMemberRequest, LeaveAccountRequest, OwnMemberChange,
    UpdateOwnMemberRequest,
};
use baton_testkit::Team;
use futures_util::future::join_all;

use super::*;

async fn get(context: &TestContext, account_id: Uuid, person: &Person) -> Member {
    let request = GetMemberRequest { account_id: account_id.to_string(), user_id: person.user_id.to_string() };
    members(context).get_member(person.call(account_id, request)).await.unwrap().into_inner().member.unwrap()
}

fn handle_change(account_id: Uuid, handle: Option<&str>) -> UpdateOwnMemberRequest {
    UpdateOwnMemberRequest {
        account_id: account_id.to_string(),
        member: Some(OwnMemberChange { handle: handle.map(str::to_owned) }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["handle".to_owned()] }),
    }
}

async fn update(context: &TestContext, request: Request<UpdateOwnMemberRequest>) -> Result<Response<Member>, Status> {
    let response = members(context).update_own_member(request).await?;
    Ok(Response::new(response.into_inner().member.unwrap()))
}

async fn set_handle(
    context: &TestContext,
    team: &Team,
    person: &Person,
    handle: &str,
) -> Result<Response<Member>, Status> {
    update(context, person.call(team.account_id, handle_change(team.account_id, Some(handle)))).await
}

/// Adds a member with this address by invitation. Returns the handle.
async fn join(context: &TestContext, team: &Team, email: &str) -> String {
    let mut person = context.person("anyone").await;
    let moved = "update auth.users set email = $2, email_key = lower($2) where id = $1";
    sqlx::query(moved).bind(person.user_id).bind(email).execute(&context.admin()).await.unwrap();
    email.clone_into(&mut person.email);
    let invited = invite(context, &team.owner, invitation(team.account_id, email, Role::User, None)).await.unwrap();
    assert_eq!(invited.handle, None, "an invitation has no handle");
    let ids = [team.account_id, invited.id.parse().unwrap()];
    let token = context.invitation_tokens().issue("invitation", ids);
    let accept = person.call_without_account(AcceptInvitationRequest { token });
    members(context).accept_invitation(accept).await.unwrap().into_inner().member.unwrap().handle.unwrap()
}

async fn find(
    context: &TestContext,
    team: &Team,
    by: &Person,
    handles: &[&str],
    people: &[&Person],
) -> Vec<FoundMember> {
    let request = FindMembersRequest {
        handles: handles.iter().map(|&handle| handle.to_owned()).collect(),
        user_ids: people.iter().map(|person| person.user_id.to_string()).collect(),
    };
    members(context).find_members(by.call(team.account_id, request)).await.unwrap().into_inner().members
}

#[tokio::test]
async fn a_joining_member_gets_a_handle_derived_from_the_address() {
    let context = test_context().await;
    let team = context.team().await;
    for (email, expected) in [
        ("Jo.Doe@example.org", "jo.doe"),
        ("jo.doe@example.com", "jo.doe2"),
        ("jo.doe+work@example.net", "jo.doe3"),
        ("j@example.org", "member"),
        ("_@example.org", "member2"),
        ("o'brien_@example.org", "o-brien"),
        ("a-very-long-local-part-that-goes-on@example.org", "a-very-long-local-part-that-go"),
        ("a-very-long-local-part-that-goes-on@example.com", "a-very-long-local-part-that-g2"),
    ] {
        assert_eq!(join(&context, &team, email).await, expected, "{email}");
    }
    // The creator of the account has a handle too. Other accounts have their own.
    let own = get(&context, team.account_id, &team.owner).await.handle.unwrap();
    assert!(own.starts_with("owner-"), "{own}");
    let elsewhere = context.team().await;
    assert_eq!(join(&context, &elsewhere, "jo.doe@example.de").await, "jo.doe");
}

#[tokio::test]
async fn members_choose_their_own_handle() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    let before = get(&context, id, &team.user_a1).await;
    let after = set_handle(&context, &team, &team.user_a1, "ada_l").await.unwrap().into_inner();
    assert_eq!((after.handle.as_deref(), after.version), (Some("ada_l"), before.version + 1));
    let again = set_handle(&context, &team, &team.user_a1, "ada_l").await.unwrap().into_inner();
    assert_eq!(again, after, "a repetition changes nothing");
    assert_eq!(refusal(set_handle(&context, &team, &team.user_a2, "ada_l").await), Reason::HandleTaken);
    for handle in ["Ada", "a", "-ada", "ada.", "a b", "@ada", "ädä", &"a".repeat(31), ""] {
        assert_eq!(
            refusal(set_handle(&context, &team, &team.user_a2, handle).await),
            Reason::ValidationFailed,
            "{handle}"
        );
    }
    for request in [
        handle_change(id, None),
        UpdateOwnMemberRequest { update_mask: None, ..handle_change(id, Some("bob")) },
        UpdateOwnMemberRequest {
            update_mask: Some(prost_types::FieldMask { paths: vec!["role".to_owned()] }),
            ..handle_change(id, Some("bob"))
        },
    ] {
        assert_eq!(refusal(update(&context, team.user_a2.call(id, request)).await), Reason::ValidationFailed);
    }
    let stale = with_metadata(team.user_a1.call(id, handle_change(id, Some("lady"))), "if-match", "\"1\"");
    assert_eq!(refusal(update(&context, stale).await), Reason::VersionMismatch);
    let elsewhere = context.team().await;
    let theirs = team.user_a1.call(id, handle_change(elsewhere.account_id, Some("lady")));
    assert_eq!(refusal(update(&context, theirs).await), Reason::AccountNotFound);
    // A handle is unique per account, and free again after its member has left.
    set_handle(&context, &elsewhere, &elsewhere.user_a1, "ada_l").await.unwrap();
    let leave = LeaveAccountRequest { account_id: id.to_string(), hand_over_to: None };
    members(&context).leave_account(team.user_a1.call(id, leave)).await.unwrap();
    set_handle(&context, &team, &team.user_a2, "ada_l").await.unwrap();
}

#[tokio::test]
async fn concurrent_claims_of_a_handle_have_one_winner() {
    let context = test_context().await;
    let team = context.team().await;
    let people = [&team.owner, &team.super_manager, &team.manager_a, &team.manager_b, &team.user_a1, &team.user_a2];
    let responses = join_all(people.map(|person| set_handle(&context, &team, person, "mel"))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    for response in responses.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(response), Reason::HandleTaken);
    }
}

#[tokio::test]
async fn member_lookup_returns_managers_and_no_other_accounts() {
    let context = test_context().await;
    let team = context.team().await;
    let elsewhere = context.team().await;
    set_handle(&context, &team, &team.user_a1, "ada").await.unwrap();
    set_handle(&context, &elsewhere, &elsewhere.user_a1, "eve").await.unwrap();
    let people = [&team.user_a1, &team.owner, &elsewhere.owner];
    let mut found = find(&context, &team, &team.user_b1, &["ada", "eve", "nobody"], &people).await;
    found.sort_by_key(|member| member.role);
    let above = [&team.manager_a, &team.super_manager, &team.owner].map(|person| person.user_id.to_string());
    assert_eq!(found.len(), 2, "each once, and none of another account: {found:?}");
    assert_eq!((found[0].handle.as_str(), found[0].role()), ("ada", Role::User));
    assert_eq!((&found[0].user_id, &found[0].above_ids[..]), (&team.user_a1.user_id.to_string(), &above[..]));
    assert_eq!((found[1].role(), found[1].above_ids.len()), (Role::Owner, 0));
    assert!(find(&context, &team, &team.user_b1, &[], &[]).await.is_empty());
}

/// The migration assigns handles to existing members, oldest first.
#[tokio::test]
async fn the_migration_generates_handles_for_existing_members() {
    let context = test_context().await;
    let team = context.team().await;
    let admin = context.admin();
    let migration = include_str!("../../../../migrations/tenancy/0005_handles.sql");
    let undo = "alter table tenancy.memberships drop constraint memberships_active_has_handle;
                drop trigger memberships_handle on tenancy.memberships;
                drop function tenancy.give_handle; drop function tenancy.free_handle;
                alter table tenancy.memberships drop column handle;
                update tenancy.memberships set email = 'Same@example.org';";
    let mut tx = admin.begin().await.unwrap();
    sqlx::raw_sql(undo).execute(&mut *tx).await.unwrap();
    sqlx::raw_sql("set local search_path = tenancy").execute(&mut *tx).await.unwrap();
    sqlx::raw_sql(migration).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let handles: Vec<String> =
        sqlx::query_scalar("select handle from tenancy.memberships where account_id = $1 order by joined_at, id")
            .bind(team.account_id)
            .fetch_all(&admin)
            .await
            .unwrap();
    assert_eq!(handles, ["same", "same2", "same3", "same4", "same5", "same6", "same7"]);
}

#[tokio::test]
async fn reserved_handles_are_never_assigned() {
    let context = test_context().await;
    let team = context.team().await;
    for reserved in baton_text::handle::RESERVED {
        let is_reserved: bool = sqlx::query_scalar("select tenancy.is_reserved_handle($1)")
            .bind(reserved)
            .fetch_one(&context.admin())
            .await
            .unwrap();
        assert!(is_reserved, "the database may assign {reserved}");
    }
    assert_eq!(join(&context, &team, "all@example.org").await, "all2");
    assert_eq!(refusal(set_handle(&context, &team, &team.user_a1, "everyone").await), Reason::ValidationFailed);
}
