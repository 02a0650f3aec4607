//! What members are mentioned by.

use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, FindMembersRequest, FoundMember, GetMemberRequest, LeaveAccountRequest, OwnMemberChange,
    UpdateOwnMemberRequest,
};
use baton_testkit::Team;
use futures_util::future::join_all;

use super::*;

async fn get(world: &TestContext, account_id: Uuid, who: &Person) -> Member {
    let request = GetMemberRequest { account_id: account_id.to_string(), user_id: who.user_id.to_string() };
    members(world).get_member(who.call(account_id, request)).await.unwrap().into_inner().member.unwrap()
}

fn rename(account_id: Uuid, handle: Option<&str>) -> UpdateOwnMemberRequest {
    UpdateOwnMemberRequest {
        account_id: account_id.to_string(),
        member: Some(OwnMemberChange { handle: handle.map(str::to_owned) }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["handle".to_owned()] }),
    }
}

async fn call(world: &TestContext, request: Request<UpdateOwnMemberRequest>) -> Result<Response<Member>, Status> {
    let answer = members(world).update_own_member(request).await?;
    Ok(Response::new(answer.into_inner().member.unwrap()))
}

async fn renamed(world: &TestContext, team: &Team, who: &Person, handle: &str) -> Result<Response<Member>, Status> {
    call(world, who.call(team.account_id, rename(team.account_id, Some(handle)))).await
}

/// Someone with this address, a member by invitation.
async fn join(world: &TestContext, team: &Team, email: &str) -> String {
    let mut person = world.person("anyone").await;
    let moved = "update auth.users set email = $2, email_key = lower($2) where id = $1";
    sqlx::query(moved).bind(person.user_id).bind(email).execute(&world.admin()).await.unwrap();
    email.clone_into(&mut person.email);
    let invited = invite(world, &team.owner, invitation(team.account_id, email, Role::User, None)).await.unwrap();
    assert_eq!(invited.handle, None, "who has not joined has none");
    let ids = [team.account_id, invited.id.parse().unwrap()];
    let token = world.invitation_tokens().issue("invitation", ids);
    let accept = person.call_without_account(AcceptInvitationRequest { token });
    members(world).accept_invitation(accept).await.unwrap().into_inner().member.unwrap().handle.unwrap()
}

async fn find(world: &TestContext, team: &Team, by: &Person, handles: &[&str], people: &[&Person]) -> Vec<FoundMember> {
    let request = FindMembersRequest {
        handles: handles.iter().map(|&handle| handle.to_owned()).collect(),
        user_ids: people.iter().map(|person| person.user_id.to_string()).collect(),
    };
    members(world).find_members(by.call(team.account_id, request)).await.unwrap().into_inner().members
}

#[tokio::test]
async fn who_joins_gets_a_handle_of_their_address() {
    let world = world().await;
    let team = world.team().await;
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
        assert_eq!(join(&world, &team, email).await, expected, "{email}");
    }
    // Who made the account has one as well, and another account has its own.
    let own = get(&world, team.account_id, &team.owner).await.handle.unwrap();
    assert!(own.starts_with("owner-"), "{own}");
    let elsewhere = world.team().await;
    assert_eq!(join(&world, &elsewhere, "jo.doe@example.de").await, "jo.doe");
}

#[tokio::test]
async fn members_choose_their_own_handle() {
    let world = world().await;
    let team = world.team().await;
    let id = team.account_id;
    let before = get(&world, id, &team.user_a1).await;
    let after = renamed(&world, &team, &team.user_a1, "ada_l").await.unwrap().into_inner();
    assert_eq!((after.handle.as_deref(), after.version), (Some("ada_l"), before.version + 1));
    let again = renamed(&world, &team, &team.user_a1, "ada_l").await.unwrap().into_inner();
    assert_eq!(again, after, "again changes nothing");
    assert_eq!(refusal(renamed(&world, &team, &team.user_a2, "ada_l").await), Reason::HandleTaken);
    for handle in ["Ada", "a", "-ada", "ada.", "a b", "@ada", "ädä", &"a".repeat(31), ""] {
        assert_eq!(refusal(renamed(&world, &team, &team.user_a2, handle).await), Reason::ValidationFailed, "{handle}");
    }
    for request in [
        rename(id, None),
        UpdateOwnMemberRequest { update_mask: None, ..rename(id, Some("bob")) },
        UpdateOwnMemberRequest {
            update_mask: Some(prost_types::FieldMask { paths: vec!["role".to_owned()] }),
            ..rename(id, Some("bob"))
        },
    ] {
        assert_eq!(refusal(call(&world, team.user_a2.call(id, request)).await), Reason::ValidationFailed);
    }
    let stale = with_metadata(team.user_a1.call(id, rename(id, Some("lady"))), "if-match", "\"1\"");
    assert_eq!(refusal(call(&world, stale).await), Reason::VersionMismatch);
    let elsewhere = world.team().await;
    let theirs = team.user_a1.call(id, rename(elsewhere.account_id, Some("lady")));
    assert_eq!(refusal(call(&world, theirs).await), Reason::AccountNotFound);
    // It is theirs in their own account only, and free again when they leave.
    renamed(&world, &elsewhere, &elsewhere.user_a1, "ada_l").await.unwrap();
    let leave = LeaveAccountRequest { account_id: id.to_string(), hand_over_to: None };
    members(&world).leave_account(team.user_a1.call(id, leave)).await.unwrap();
    renamed(&world, &team, &team.user_a2, "ada_l").await.unwrap();
}

#[tokio::test]
async fn of_many_who_want_a_handle_at_once_one_gets_it() {
    let world = world().await;
    let team = world.team().await;
    let people = [&team.owner, &team.super_manager, &team.manager_a, &team.manager_b, &team.user_a1, &team.user_a2];
    let answers = join_all(people.map(|person| renamed(&world, &team, person, "mel"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(answer), Reason::HandleTaken);
    }
}

#[tokio::test]
async fn members_are_found_with_those_above_them_and_no_strangers() {
    let world = world().await;
    let team = world.team().await;
    let elsewhere = world.team().await;
    renamed(&world, &team, &team.user_a1, "ada").await.unwrap();
    renamed(&world, &elsewhere, &elsewhere.user_a1, "eve").await.unwrap();
    let people = [&team.user_a1, &team.owner, &elsewhere.owner];
    let mut found = find(&world, &team, &team.user_b1, &["ada", "eve", "nobody"], &people).await;
    found.sort_by_key(|member| member.role);
    let above = [&team.manager_a, &team.super_manager, &team.owner].map(|person| person.user_id.to_string());
    assert_eq!(found.len(), 2, "each once, and nobody of another account: {found:?}");
    assert_eq!((found[0].handle.as_str(), found[0].role()), ("ada", Role::User));
    assert_eq!((&found[0].user_id, &found[0].above_ids[..]), (&team.user_a1.user_id.to_string(), &above[..]));
    assert_eq!((found[1].role(), found[1].above_ids.len()), (Role::Owner, 0));
    assert!(find(&world, &team, &team.user_b1, &[], &[]).await.is_empty());
}

/// The migration gives the members that are there theirs, the oldest first.
#[tokio::test]
async fn handles_are_made_for_members_that_were_there_before() {
    let world = world().await;
    let team = world.team().await;
    let admin = world.admin();
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
async fn nobody_has_a_reserved_handle() {
    let world = world().await;
    let team = world.team().await;
    for reserved in baton_text::handle::RESERVED {
        let is_reserved: bool = sqlx::query_scalar("select tenancy.is_reserved_handle($1)")
            .bind(reserved)
            .fetch_one(&world.admin())
            .await
            .unwrap();
        assert!(is_reserved, "the database gives {reserved}");
    }
    assert_eq!(join(&world, &team, "all@example.org").await, "all2");
    assert_eq!(refusal(renamed(&world, &team, &team.user_a1, "everyone").await), Reason::ValidationFailed);
}
