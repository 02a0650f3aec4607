use baton_proto::baton::tenancy::v1::{
    GetMemberRequest, GetSettingsRequest, ListMembersRequest, RemoveMemberRequest, SettingsChange,
    UpdateSettingsRequest,
};
use baton_store::Tenant;
use baton_testkit::Team;

use super::*;

/// Every RPC that names an account, as `who` calls it for `account`, with `x-account-id` naming `header`.
async fn all(world: &TestContext, who: &Person, header: Uuid, account: &Team) -> Vec<(&'static str, Reason)> {
    let account_id = account.account_id.to_string();
    let user_id = account.user_a1.user_id.to_string();
    let (mut accounts, mut members) = (accounts(world), members(world));
    let settings = UpdateSettingsRequest {
        account_id: account_id.clone(),
        settings: Some(SettingsChange { managers_may_reassign: Some(true), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["managers_may_reassign".to_owned()] }),
    };
    let get_settings = GetSettingsRequest { account_id: account_id.clone() };
    let invite = invitation(account.account_id, "eve@example.org", Role::User, None);
    let list = ListMembersRequest { account_id: account_id.clone(), ..Default::default() };
    let get = GetMemberRequest { account_id: account_id.clone(), user_id: user_id.clone() };
    let update = new_role(account.account_id, &account.user_a1, Role::Manager);
    let remove = RemoveMemberRequest { account_id, user_id, hand_over_to: None };
    vec![
        ("get settings", refusal(accounts.get_settings(who.call(header, get_settings)).await)),
        ("update settings", refusal(accounts.update_settings(who.call(header, settings)).await)),
        ("invite", refusal(members.invite_member(who.call(header, invite)).await)),
        ("list", refusal(members.list_members(who.call(header, list)).await)),
        ("get", refusal(members.get_member(who.call(header, get)).await)),
        ("update", refusal(members.update_member(who.call(header, update)).await)),
        ("remove", refusal(members.remove_member(who.call(header, remove)).await)),
    ]
}

#[tokio::test]
async fn another_tenant_is_as_absent_as_one_that_never_was() {
    let world = world().await;
    let (mine, theirs) = (world.team().await, world.team().await);
    let nobodys = Team { account_id: Uuid::now_v7(), ..theirs.clone() };
    let before: Vec<String> = dump(&world).await;
    for account in [&theirs, &nobodys] {
        for (rpc, reason) in all(&world, &mine.owner, account.account_id, account).await {
            assert_eq!(reason, Reason::NotAMember, "{rpc}");
        }
        for (rpc, reason) in all(&world, &mine.owner, mine.account_id, account).await {
            assert_eq!(reason, Reason::AccountNotFound, "{rpc}");
        }
    }
    // Their people are not found in my account either.
    let user_id = theirs.user_a1.user_id.to_string();
    let get = GetMemberRequest { account_id: mine.account_id.to_string(), user_id: user_id.clone() };
    let got = members(&world).get_member(mine.owner.call(mine.account_id, get)).await;
    assert_eq!(refusal(got), Reason::MemberNotFound);
    let update = new_role(mine.account_id, &theirs.user_a1, Role::Manager);
    let updated = members(&world).update_member(mine.owner.call(mine.account_id, update)).await;
    assert_eq!(refusal(updated), Reason::MemberNotFound);
    let remove = RemoveMemberRequest { account_id: mine.account_id.to_string(), user_id, hand_over_to: None };
    let removed = members(&world).remove_member(mine.owner.call(mine.account_id, remove)).await;
    assert_eq!(refusal(removed), Reason::MemberNotFound);
    assert_eq!(dump(&world).await, before);
}

async fn dump(world: &TestContext) -> Vec<String> {
    sqlx::query_scalar(
        "select a::text from tenancy.accounts a union all select m::text from tenancy.memberships m order by 1",
    )
    .fetch_all(&world.admin())
    .await
    .unwrap()
}

#[tokio::test]
async fn row_level_security_alone_hides_the_other_tenant() {
    let world = world().await;
    let (mine, theirs) = (world.team().await, world.team().await);
    let db = world.db(SCHEMA);
    let tenant = Tenant { account_id: mine.account_id, user_id: mine.owner.user_id };
    let mut tx = db.begin(tenant).await.unwrap();
    let accounts: Vec<Uuid> = sqlx::query_scalar("select id from tenancy.accounts").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(accounts, [mine.account_id]);
    let of: Vec<Uuid> =
        sqlx::query_scalar("select distinct account_id from tenancy.memberships").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(of, [mine.account_id]);
    // Writes without a filter reach no further.
    let changed = sqlx::query("update tenancy.memberships set version = version + 1").execute(&mut *tx).await.unwrap();
    assert_eq!(changed.rows_affected(), 7);
    let changed = sqlx::query("update tenancy.accounts set name = 'x'").execute(&mut *tx).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let deleted = sqlx::query("delete from tenancy.accounts where id = $1").bind(theirs.account_id);
    assert_eq!(deleted.execute(&mut *tx).await.unwrap().rows_affected(), 0);
    let planted = sqlx::query("update tenancy.memberships set account_id = $1").bind(theirs.account_id);
    let error = planted.execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
    drop(tx);

    // Without a tenant there is nothing; with a user only their own places, to read and not to write.
    for (tenant, expected) in [
        (Tenant::NONE, (0, 0)),
        (Tenant::user(mine.user_a1.user_id), (1, 1)),
        (Tenant::account(Uuid::now_v7()), (0, 0)),
    ] {
        let mut tx = db.begin(tenant).await.unwrap();
        let seen: (i64, i64) = sqlx::query_as(
            "select (select count(*) from tenancy.accounts), (select count(*) from tenancy.memberships)",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        assert_eq!(seen, expected, "{tenant:?}");
        let written = sqlx::query("update tenancy.memberships set role = 'owner'").execute(&mut *tx).await.unwrap();
        assert_eq!(written.rows_affected(), 0, "{tenant:?}");
        let written = sqlx::query("update tenancy.accounts set name = 'x'").execute(&mut *tx).await.unwrap();
        assert_eq!(written.rows_affected(), 0, "{tenant:?}");
    }
    let unnamed: i64 =
        sqlx::query_scalar("select count(*) from tenancy.memberships").fetch_one(db.app()).await.unwrap();
    assert_eq!(unnamed, 0);
}
