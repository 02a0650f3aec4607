use baton_proto::baton::tenancy::v1::{
    GetMemberRequest, GetSettingsRequest, ListMembersRequest, RemoveMemberRequest, SettingsChange,
    UpdateSettingsRequest,
};
use baton_store::Tenant;
use baton_testkit::Team;

use super::*;

/// Calls every RPC with an account id for `account`, with `header` as `x-account-id`. Returns the reasons.
async fn call_all(context: &TestContext, person: &Person, header: Uuid, account: &Team) -> Vec<(&'static str, Reason)> {
    let account_id = account.account_id.to_string();
    let user_id = account.user_a1.user_id.to_string();
    let (mut accounts, mut members) = (accounts(context), members(context));
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
        ("get settings", refusal(accounts.get_settings(person.call(header, get_settings)).await)),
        ("update settings", refusal(accounts.update_settings(person.call(header, settings)).await)),
        ("invite", refusal(members.invite_member(person.call(header, invite)).await)),
        ("list", refusal(members.list_members(person.call(header, list)).await)),
        ("get", refusal(members.get_member(person.call(header, get)).await)),
        ("update", refusal(members.update_member(person.call(header, update)).await)),
        ("remove", refusal(members.remove_member(person.call(header, remove)).await)),
    ]
}

#[tokio::test]
async fn another_tenant_is_indistinguishable_from_a_nonexistent_one() {
    let context = test_context().await;
    let (mine, theirs) = (context.team().await, context.team().await);
    let nonexistent = Team { account_id: Uuid::now_v7(), ..theirs.clone() };
    let before: Vec<String> = dump(&context).await;
    for account in [&theirs, &nonexistent] {
        for (rpc, reason) in call_all(&context, &mine.owner, account.account_id, account).await {
            assert_eq!(reason, Reason::NotAMember, "{rpc}");
        }
        for (rpc, reason) in call_all(&context, &mine.owner, mine.account_id, account).await {
            assert_eq!(reason, Reason::AccountNotFound, "{rpc}");
        }
    }
    // Members of the other tenant are not found in this account either.
    let user_id = theirs.user_a1.user_id.to_string();
    let get = GetMemberRequest { account_id: mine.account_id.to_string(), user_id: user_id.clone() };
    let got = members(&context).get_member(mine.owner.call(mine.account_id, get)).await;
    assert_eq!(refusal(got), Reason::MemberNotFound);
    let update = new_role(mine.account_id, &theirs.user_a1, Role::Manager);
    let updated = members(&context).update_member(mine.owner.call(mine.account_id, update)).await;
    assert_eq!(refusal(updated), Reason::MemberNotFound);
    let remove = RemoveMemberRequest { account_id: mine.account_id.to_string(), user_id, hand_over_to: None };
    let removed = members(&context).remove_member(mine.owner.call(mine.account_id, remove)).await;
    assert_eq!(refusal(removed), Reason::MemberNotFound);
    assert_eq!(dump(&context).await, before);
}

async fn dump(context: &TestContext) -> Vec<String> {
    sqlx::query_scalar(
        "select a::text from tenancy.accounts a union all select m::text from tenancy.memberships m order by 1",
    )
    .fetch_all(&context.admin())
    .await
    .unwrap()
}

#[tokio::test]
async fn row_level_security_alone_isolates_tenants() {
    let context = test_context().await;
    let (mine, theirs) = (context.team().await, context.team().await);
    let db = context.db(SPEC.name);
    let tenant = Tenant { account_id: mine.account_id, user_id: mine.owner.user_id };
    let mut tx = db.begin(tenant).await.unwrap();
    let accounts: Vec<Uuid> =
        sqlx::query_scalar("select id from tenancy.accounts").fetch_all(tx.connection()).await.unwrap();
    assert_eq!(accounts, [mine.account_id]);
    let account_ids: Vec<Uuid> = sqlx::query_scalar("select distinct account_id from tenancy.memberships")
        .fetch_all(tx.connection())
        .await
        .unwrap();
    assert_eq!(account_ids, [mine.account_id]);
    // Writes without a filter change only the own tenant.
    let changed =
        sqlx::query("update tenancy.memberships set version = version + 1").execute(tx.connection()).await.unwrap();
    assert_eq!(changed.rows_affected(), 7);
    let changed = sqlx::query("update tenancy.accounts set name = 'x'").execute(tx.connection()).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let deleted = sqlx::query("delete from tenancy.accounts where id = $1").bind(theirs.account_id);
    assert_eq!(deleted.execute(tx.connection()).await.unwrap().rows_affected(), 0);
    let moved = sqlx::query("update tenancy.memberships set account_id = $1").bind(theirs.account_id);
    let error = moved.execute(tx.connection()).await.unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
    drop(tx);

    // Without a tenant no row is visible. With a user only their own rows are, and read-only.
    for (tenant, expected) in [
        (Tenant::NONE, (0, 0)),
        (Tenant::user(mine.user_a1.user_id), (1, 1)),
        (Tenant::account(Uuid::now_v7()), (0, 0)),
    ] {
        let mut tx = db.begin(tenant).await.unwrap();
        let seen: (i64, i64) = sqlx::query_as(
            "select (select count(*) from tenancy.accounts), (select count(*) from tenancy.memberships)",
        )
        .fetch_one(tx.connection())
        .await
        .unwrap();
        assert_eq!(seen, expected, "{tenant:?}");
        let written =
            sqlx::query("update tenancy.memberships set role = 'owner'").execute(tx.connection()).await.unwrap();
        assert_eq!(written.rows_affected(), 0, "{tenant:?}");
        let written = sqlx::query("update tenancy.accounts set name = 'x'").execute(tx.connection()).await.unwrap();
        assert_eq!(written.rows_affected(), 0, "{tenant:?}");
    }
    let without_tenant: i64 =
        sqlx::query_scalar("select count(*) from tenancy.memberships").fetch_one(db.app()).await.unwrap();
    assert_eq!(without_tenant, 0);
}
