use baton_proto::baton::tenancy::v1::{
    Account, AccountChange, AccountStatus, Branding, CancelDeletionRequest, DeleteAccountRequest, GetAccountRequest,
    GetSettingsRequest, ListMembersRequest, ReactivateAccountRequest, SuspendAccountRequest, TransferOwnershipRequest,
    UpdateAccountRequest,
};
use baton_testkit::{Team, eventually};

use super::*;

async fn get(context: &TestContext, person: &Person, account_id: Uuid) -> Result<Response<Account>, Status> {
    let request = GetAccountRequest { account_id: account_id.to_string() };
    let response = accounts(context).get_account(person.call(account_id, request)).await?;
    Ok(Response::new(response.into_inner().account.unwrap()))
}

fn update(account_id: Uuid, new: AccountChange, paths: &[&str]) -> UpdateAccountRequest {
    UpdateAccountRequest {
        account_id: account_id.to_string(),
        account: Some(new),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
    }
}

async fn suspend(context: &TestContext, person: &Person, account_id: Uuid) -> Result<Response<Account>, Status> {
    let request = SuspendAccountRequest { account_id: account_id.to_string() };
    let response = accounts(context).suspend_account(person.call(account_id, request)).await?;
    Ok(Response::new(response.into_inner().account.unwrap()))
}

async fn delete(context: &TestContext, person: &Person, account_id: Uuid) -> Result<Response<Account>, Status> {
    let request = DeleteAccountRequest { account_id: account_id.to_string() };
    let response = accounts(context).delete_account(person.call(account_id, request)).await?;
    Ok(Response::new(response.into_inner().account.unwrap()))
}

async fn list(context: &TestContext, person: &Person, account_id: Uuid) -> Option<Reason> {
    let request = ListMembersRequest { account_id: account_id.to_string(), ..Default::default() };
    members(context).list_members(person.call(account_id, request)).await.err().and_then(|status| reason(&status))
}

/// Types of the published account events, in order.
async fn account_events(context: &TestContext) -> Vec<String> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let event = |bytes: &Vec<u8>| <baton_proto::baton::events::v1::Envelope as prost::Message>::decode(&**bytes);
    let kinds = envelopes.iter().map(|bytes| event(bytes).unwrap().r#type);
    kinds.filter(|kind| kind.starts_with("account.")).collect()
}

#[tokio::test]
async fn all_members_read_the_account_and_only_administrators_change_it() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    let before = get(&context, &team.user_a1, id).await.unwrap().into_inner();
    assert_eq!((before.status(), before.version), (AccountStatus::Active, 1));
    let new = || AccountChange {
        name: "Better".to_owned(),
        slug: Some(format!("better-{}", &id.simple().to_string()[20..])),
        branding: Some(Branding {
            primary_color: Some("#AABBCC".to_owned()),
            accent_color: None,
            logo_url: Some("https://example.org/logo.png".to_owned()),
        }),
    };
    let paths = &["name", "slug", "branding"];
    for person in [&team.user_a1, &team.manager_a] {
        let refused = accounts(&context).update_account(person.call(id, update(id, new(), paths))).await;
        assert_eq!(refusal(refused), Reason::PermissionMissing);
    }
    let call = || with_metadata(team.super_manager.call(id, update(id, new(), paths)), "if-match", "\"1\"");
    let changed = accounts(&context).update_account(call()).await.unwrap().into_inner().account.unwrap();
    assert_eq!((&*changed.name, changed.version), ("Better", 2));
    assert_eq!(changed.branding.as_ref().unwrap().primary_color(), "#aabbcc");
    // A change based on the first version is refused.
    assert_eq!(refusal(accounts(&context).update_account(call()).await), Reason::VersionMismatch);
    let clear = update(id, AccountChange::default(), &["branding.logo_url"]);
    let cleared = accounts(&context).update_account(team.owner.call(id, clear)).await.unwrap().into_inner();
    let branding = cleared.account.unwrap().branding.unwrap();
    assert_eq!((branding.logo_url, branding.primary_color.as_deref()), (None, Some("#aabbcc")));
    assert_eq!(account_events(&context).await[1..], ["account.updated", "account.updated"]);

    let other = context.team().await;
    let taken = update(other.account_id, new(), &["slug"]);
    let taken = accounts(&context).update_account(other.owner.call(other.account_id, taken)).await;
    assert_eq!(refusal(taken), Reason::SlugTaken);
    for (new, path) in [
        (AccountChange { name: " ".to_owned(), ..new() }, "name"),
        (AccountChange { slug: None, ..new() }, "slug"),
        (AccountChange { slug: Some("Not A Slug".to_owned()), ..new() }, "slug"),
        (colors("red", "https://example.org"), "branding"),
        (colors("#12345", "https://example.org"), "branding"),
        (colors("#123456", "http://example.org"), "branding"),
        (colors("#123456", "javascript:alert(1)"), "branding.logo_url"),
        // Mass assignment (CWE-915): no caller may write these fields.
        (new(), "subscription_tier"),
        (new(), "status"),
        (new(), "trial_ends_at"),
        (new(), "version"),
    ] {
        let refused = accounts(&context).update_account(team.owner.call(id, update(id, new.clone(), &[path]))).await;
        assert_eq!(refusal(refused), Reason::ValidationFailed, "{path}: {new:?}");
    }
    assert_eq!(get(&context, &team.owner, id).await.unwrap().into_inner().version, 3);
}

fn colors(color: &str, logo: &str) -> AccountChange {
    let branding =
        Branding { primary_color: Some(color.to_owned()), accent_color: None, logo_url: Some(logo.to_owned()) };
    AccountChange { branding: Some(branding), ..AccountChange::default() }
}

/// Waits until listing members has this result: the access layer caches the account for a second.
async fn wait_for_list(context: &TestContext, person: &Person, account_id: Uuid, expected: Option<Reason>) {
    eventually(|| async { (list(context, person, account_id).await == expected).then_some(()) }).await;
}

#[tokio::test]
async fn a_suspended_account_can_only_be_read_and_reactivated() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    for person in [&team.user_a1, &team.manager_a, &team.super_manager] {
        assert_eq!(refusal(suspend(&context, person, id).await), Reason::PermissionMissing);
        assert_eq!(refusal(delete(&context, person, id).await), Reason::PermissionMissing);
    }
    let bob = context.person("bob").await;
    let invited = invite(&context, &team.owner, invitation(id, &bob.email, Role::User, None)).await.unwrap();
    assert_eq!(suspend(&context, &team.owner, id).await.unwrap().into_inner().status(), AccountStatus::Suspended);
    for person in [&team.user_a1, &team.manager_a, &team.super_manager, &team.owner] {
        wait_for_list(&context, person, id, Some(Reason::AccountSuspended)).await;
        get(&context, person, id).await.unwrap();
    }
    let invitation = invitation(id, "eve@example.org", Role::User, None);
    let refused = members(&context).invite_member(team.owner.call(id, invitation)).await;
    assert_eq!(refusal(refused), Reason::AccountSuspended);
    // An invitation that was sent before cannot be accepted.
    let token = context.invitation_tokens().issue("invitation", [id, invited.id.parse().unwrap()]);
    let accept = baton_proto::baton::tenancy::v1::AcceptInvitationRequest { token };
    let refused = members(&context).accept_invitation(bob.call_without_account(accept.clone())).await;
    assert_eq!(refusal(refused), Reason::AccountSuspended);
    let settings = GetSettingsRequest { account_id: id.to_string() };
    accounts(&context).get_settings(team.owner.call(id, settings)).await.unwrap();
    let reactivate = || ReactivateAccountRequest { account_id: id.to_string() };
    let refused = accounts(&context).reactivate_account(team.super_manager.call(id, reactivate())).await;
    assert_eq!(refusal(refused), Reason::PermissionMissing);
    for _ in 0..2 {
        accounts(&context).reactivate_account(team.owner.call(id, reactivate())).await.unwrap();
    }
    wait_for_list(&context, &team.user_a1, id, None).await;
    members(&context).accept_invitation(bob.call_without_account(accept)).await.unwrap();
    assert_eq!(account_events(&context).await[1..], ["account.suspended", "account.reactivated"]);
}

#[tokio::test]
async fn a_deletion_can_be_canceled_for_thirty_days() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    let deleted = delete(&context, &team.owner, id).await.unwrap().into_inner();
    let days = (deleted.deletes_at.unwrap().seconds - chrono::Utc::now().timestamp()) as f64 / 86_400.0;
    assert!((29.9..30.1).contains(&days), "{days}");
    assert_eq!(deleted.status(), AccountStatus::Canceled);
    wait_for_list(&context, &team.user_a1, id, Some(Reason::AccountSuspended)).await;
    let reactivate = ReactivateAccountRequest { account_id: id.to_string() };
    let refused = accounts(&context).reactivate_account(team.owner.call(id, reactivate)).await;
    assert_eq!(refusal(refused), Reason::AccountBeingDeleted);
    let cancel = CancelDeletionRequest { account_id: id.to_string() };
    let canceled = accounts(&context).cancel_deletion(team.owner.call(id, cancel)).await.unwrap().into_inner();
    assert_eq!(canceled.account.unwrap().status(), AccountStatus::Active);
    wait_for_list(&context, &team.user_a1, id, None).await;

    let other = context.team().await;
    delete(&context, &other.owner, other.account_id).await.unwrap();
    // Moves the clock thirty days ahead.
    sqlx::query("update tenancy.accounts set deletes_at = now() - interval '1 second' where deletes_at is not null")
        .execute(&context.admin())
        .await
        .unwrap();
    eventually(|| async {
        let left = count(&context, "select count(*) from tenancy.accounts").await;
        (left == 1).then_some(())
    })
    .await;
    let kinds = account_events(&context).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "account.deleted").count(), 1, "{kinds:?}");
    assert_eq!(count(&context, "select count(*) from tenancy.memberships").await, 7);
    // The access layer may cache the membership for another second; the account is deleted at once.
    eventually(|| async {
        match refusal(get(&context, &other.owner, other.account_id).await) {
            Reason::NotAMember => Some(()),
            Reason::AccountNotFound => None,
            reason => panic!("{reason:?}"),
        }
    })
    .await;
    get(&context, &team.owner, id).await.unwrap();
}

async fn transfer(context: &TestContext, team: &Team, from: &Person, to: &Person) -> Result<Response<()>, Status> {
    let request = TransferOwnershipRequest { account_id: team.account_id.to_string(), user_id: to.user_id.to_string() };
    accounts(context).transfer_ownership(from.call(team.account_id, request)).await.map(|_| Response::new(()))
}

#[tokio::test]
async fn an_owner_transfers_ownership() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let id = team.account_id;
    for (from, to, expected) in [
        (&team.super_manager, &team.manager_a, Reason::PermissionMissing),
        (&team.owner, &team.owner, Reason::ValidationFailed),
        (&team.owner, &other.owner, Reason::MemberNotFound),
    ] {
        assert_eq!(refusal(transfer(&context, &team, from, to).await), expected);
    }
    transfer(&context, &team, &team.owner, &team.user_a1).await.unwrap();
    let one = async |person: &Person| stored_memberships(&context, id, person.user_id).await[0].clone();
    assert_eq!(one(&team.user_a1).await, ("owner".to_owned(), "active".to_owned(), None));
    let successor = Some(team.user_a1.user_id);
    for person in [&team.owner, &team.super_manager] {
        assert_eq!(one(person).await, ("super_manager".to_owned(), "active".to_owned(), successor));
    }
    assert_eq!(one(&team.manager_a).await.2, Some(team.super_manager.user_id));
    // The old owner loses the right at once: the role is read under the lock.
    assert_eq!(refusal(transfer(&context, &team, &team.owner, &team.manager_a).await), Reason::PermissionMissing);
}

#[tokio::test]
async fn concurrent_transfers_have_one_winner() {
    let context = test_context().await;
    for _ in 0..5 {
        let team = context.team().await;
        let (one, two) = tokio::join!(
            transfer(&context, &team, &team.owner, &team.manager_a),
            transfer(&context, &team, &team.owner, &team.manager_b)
        );
        let refused = [one, two].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(reason(&refused[0]), Some(Reason::PermissionMissing));
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
