use baton_proto::baton::tenancy::v1::{AcceptInvitationRequest, GetMemberRequest, RemoveMemberRequest};
use baton_testkit::{Team, eventually};

use super::*;

async fn update(context: &TestContext, by: &Person, request: UpdateMemberRequest) -> Result<Response<Member>, Status> {
    let account_id = request.account_id.parse().unwrap();
    let response = members(context).update_member(by.call(account_id, request)).await?;
    Ok(Response::new(response.into_inner().member.unwrap()))
}

async fn remove(context: &TestContext, by: &Person, team: &Team, person: &Person) -> Result<Response<()>, Status> {
    let request = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        hand_over_to: None,
    };
    members(context).remove_member(by.call(team.account_id, request)).await.map(|_| Response::new(()))
}

async fn event_types(context: &TestContext) -> Vec<String> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let event = |bytes: &Vec<u8>| <baton_proto::baton::events::v1::Envelope as prost::Message>::decode(&**bytes);
    envelopes.iter().map(|bytes| event(bytes).unwrap().r#type).collect()
}

#[tokio::test]
async fn nobody_changes_or_removes_a_higher_role() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    for (by, request, expected) in [
        (&team.user_a1, new_role(id, &team.user_a1, Role::Owner), Reason::PermissionMissing),
        (&team.manager_a, new_role(id, &team.user_a1, Role::Manager), Reason::PermissionMissing),
        (&team.super_manager, new_role(id, &team.super_manager, Role::Owner), Reason::RoleNotGrantable),
        (&team.super_manager, new_role(id, &team.owner, Role::User), Reason::RoleNotGrantable),
        (&team.owner, new_role(id, &team.owner, Role::Manager), Reason::LastOwner),
        (&team.owner, new_role(id, &team.manager_a, Role::User), Reason::RoleHasReports),
        (&team.owner, new_role(id, &team.user_a1, Role::Manager), Reason::ManagerInvalid),
        (&team.owner, new_manager(id, &team.manager_a, Some(&team.user_a1)), Reason::ManagerInvalid),
        (&team.owner, new_manager(id, &team.user_a1, Some(&team.user_a1)), Reason::ManagerInvalid),
        (&team.owner, new_role(id, &team.user_a1, Role::Unspecified), Reason::ValidationFailed),
        (&team.owner, change(id, &team.user_a1, MemberChange::default(), &[]), Reason::ValidationFailed),
        (&team.owner, change(id, &team.user_a1, MemberChange::default(), &["email"]), Reason::ValidationFailed),
    ] {
        assert_eq!(refusal(update(&context, by, request.clone()).await), expected, "{request:?}");
    }
    for (by, person, expected) in [
        (&team.user_a1, &team.user_a1, Reason::PermissionMissing),
        (&team.manager_a, &team.user_a1, Reason::PermissionMissing),
        (&team.super_manager, &team.owner, Reason::RoleNotGrantable),
        (&team.owner, &team.owner, Reason::LastOwner),
    ] {
        assert_eq!(refusal(remove(&context, by, &team, person).await), expected);
    }
    let changed = "select count(*) from tenancy.memberships where version > 1 or status <> 'active'";
    assert_eq!(count(&context, changed).await, 0);
    assert_eq!(event_types(&context).await, ["account.created", "member.joined"]);
}

#[tokio::test]
async fn a_promotion_sets_role_manager_and_permission_at_once() {
    let context = test_context().await;
    let team = context.team().await;
    let new = MemberChange {
        role: Role::Manager.into(),
        manager_id: Some(team.super_manager.user_id.to_string()),
        can_reassign_tasks: true,
    };
    let request = change(team.account_id, &team.user_a1, new, &["role", "manager_id", "can_reassign_tasks"]);
    let changed = update(&context, &team.owner, request.clone()).await.unwrap().into_inner();
    assert_eq!((changed.role(), changed.can_reassign_tasks, changed.version), (Role::Manager, true, 2));
    assert_eq!(changed.manager_id, Some(team.super_manager.user_id.to_string()));
    // A repetition changes and publishes nothing.
    assert_eq!(update(&context, &team.owner, request).await.unwrap().into_inner(), changed);
    assert_eq!(event_types(&context).await[2..], ["member.role_changed", "member.updated"]);
    // Null clears the field.
    let cleared = update(&context, &team.owner, new_manager(team.account_id, &team.user_a1, None)).await.unwrap();
    assert_eq!(cleared.into_inner().manager_id, None);
}

#[tokio::test]
async fn a_stale_etag_is_refused() {
    let context = test_context().await;
    let team = context.team().await;
    let call = |role, etag: &str| {
        let request = new_role(team.account_id, &team.user_a1, role);
        let request = UpdateMemberRequest {
            update_mask: Some(prost_types::FieldMask { paths: vec!["role".into(), "manager_id".into()] }),
            ..request
        };
        with_metadata(team.owner.call(team.account_id, request), "if-match", etag)
    };
    members(&context).update_member(call(Role::Manager, "\"1\"")).await.unwrap();
    let stale = members(&context).update_member(call(Role::SuperManager, "\"1\"")).await;
    assert_eq!(refusal(stale), Reason::VersionMismatch);
    let malformed = members(&context).update_member(call(Role::SuperManager, "2")).await;
    assert_eq!(refusal(malformed), Reason::PreconditionInvalid);
    let (role, ..) = &stored_memberships(&context, team.account_id, team.user_a1.user_id).await[0];
    assert_eq!(role, "manager");
    members(&context).update_member(call(Role::SuperManager, "*")).await.unwrap();
    let removal = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    let stale = with_metadata(team.owner.call(team.account_id, removal), "if-match", "\"2\"");
    assert_eq!(refusal(members(&context).remove_member(stale).await), Reason::VersionMismatch);
}

#[tokio::test]
async fn reports_of_a_removed_manager_move_up() {
    let context = test_context().await;
    let team = context.team().await;
    remove(&context, &team.super_manager, &team, &team.manager_a).await.unwrap();
    for user in [&team.user_a1, &team.user_a2] {
        let rows = stored_memberships(&context, team.account_id, user.user_id).await;
        assert_eq!(rows, [("user".to_owned(), "active".to_owned(), Some(team.super_manager.user_id))]);
    }
    let rows = stored_memberships(&context, team.account_id, team.user_b1.user_id).await;
    assert_eq!(rows[0].2, Some(team.manager_b.user_id));
    assert_eq!(refusal(remove(&context, &team.owner, &team, &team.manager_a).await), Reason::MemberNotFound);
    assert_eq!(event_types(&context).await[2..], ["member.removed"]);

    // The removed member loses access within about a second.
    let get =
        || GetMemberRequest { account_id: team.account_id.to_string(), user_id: team.user_a1.user_id.to_string() };
    eventually(|| async {
        let response = members(&context).get_member(team.manager_a.call(team.account_id, get())).await;
        response.err().map(|status| assert_eq!(reason(&status), Some(Reason::NotAMember)))
    })
    .await;
}

#[tokio::test]
async fn two_owners_acting_on_each_other_concurrently_leave_one_owner() {
    let context = test_context().await;
    for round in 0..6 {
        let team = context.team().await;
        let other = context.person("other").await;
        context.join(team.account_id, &other, baton_access::Role::Owner, None).await;
        // An owner with reports could not be demoted.
        update(&context, &team.owner, new_manager(team.account_id, &team.super_manager, None)).await.unwrap();
        let act = async |by: &Person, on: &Person| {
            if round % 2 == 0 {
                update(&context, by, new_role(team.account_id, on, Role::User)).await.map(drop)
            } else {
                remove(&context, by, &team, on).await.map(drop)
            }
        };
        let refused = match tokio::join!(act(&team.owner, &other), act(&other, &team.owner)) {
            (Ok(()), Err(status)) | (Err(status), Ok(())) => reason(&status),
            both => panic!("{both:?}"),
        };
        // The second call sees the result of the first.
        let expected = if round % 2 == 0 { Reason::PermissionMissing } else { Reason::NotAMember };
        assert_eq!(refused, Some(expected));
        let owners: i64 = sqlx::query_scalar(
            "select count(*) from tenancy.memberships where account_id = $1 and role = 'owner' and status = 'active'",
        )
        .bind(team.account_id)
        .fetch_one(&context.admin())
        .await
        .unwrap();
        assert_eq!(owners, 1);
    }
}

/// Starts the demotion of a member in a transaction that is not yet committed.
async fn begin_demotion(
    context: &TestContext,
    account_id: Uuid,
    of: &Person,
) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = context.admin().begin().await.unwrap();
    sqlx::query("select id from tenancy.accounts where id = $1 for no key update")
        .bind(account_id)
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("update tenancy.memberships set role = 'user' where account_id = $1 and user_id = $2")
        .bind(account_id)
        .bind(of.user_id)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

/// Commits after the concurrent calls have begun to wait for the lock.
async fn commit_later(tx: sqlx::Transaction<'static, sqlx::Postgres>) {
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_waiting_call_is_checked_against_the_state_after_the_wait() {
    let context = test_context().await;
    let team = context.team().await;
    let (bob, account_id) = (context.person("bob").await, team.account_id);
    let under_a = |email: &str| invitation(account_id, email, Role::User, Some(&team.manager_a));
    let invited: Uuid = invite(&context, &team.owner, under_a(&bob.email)).await.unwrap().id.parse().unwrap();
    let accept =
        AcceptInvitationRequest { token: context.invitation_tokens().issue("invitation", [account_id, invited]) };

    let demotion = begin_demotion(&context, account_id, &team.manager_a).await;
    let mut accepting = members(&context);
    let (moved, invited, accepted, ()) = tokio::join!(
        update(&context, &team.owner, new_manager(account_id, &team.user_b1, Some(&team.manager_a))),
        invite(&context, &team.owner, under_a("cy@example.org")),
        accepting.accept_invitation(bob.call_without_account(accept)),
        commit_later(demotion),
    );
    assert_eq!(refusal(moved), Reason::ManagerInvalid);
    assert_eq!(reason(&invited.unwrap_err()), Some(Reason::ManagerInvalid));
    assert_eq!(accepted.unwrap().into_inner().member.unwrap().manager_id, None);

    let demotion = begin_demotion(&context, account_id, &team.super_manager).await;
    let (changed, removed, invited, ()) = tokio::join!(
        update(&context, &team.super_manager, new_manager(account_id, &team.user_b1, None)),
        remove(&context, &team.super_manager, &team, &team.user_b1),
        invite(&context, &team.super_manager, invitation(account_id, "di@example.org", Role::User, None)),
        commit_later(demotion),
    );
    assert_eq!(refusal(changed), Reason::PermissionMissing);
    assert_eq!(refusal(removed), Reason::PermissionMissing);
    assert_eq!(reason(&invited.unwrap_err()), Some(Reason::PermissionMissing));
}
