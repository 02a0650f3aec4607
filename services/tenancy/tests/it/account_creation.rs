use baton_proto::baton::tenancy::v1::{
    Account, AccountStatus, CreateAccountRequest, ListAccountsRequest, SubscriptionTier,
};
use futures_util::future::join_all;

use tonic_types::StatusExt;

use super::*;

fn request(name: &str, slug: Option<&str>) -> CreateAccountRequest {
    CreateAccountRequest { name: name.to_owned(), slug: slug.map(str::to_owned) }
}

async fn create_account(context: &TestContext, by: &Person, request: CreateAccountRequest) -> Account {
    let response = accounts(context).create_account(by.call_without_account(request)).await.unwrap();
    response.into_inner().account.unwrap()
}

#[tokio::test]
async fn the_creator_of_an_account_is_its_owner() {
    let context = test_context().await;
    let ada = context.person("ada").await;
    let account = create_account(&context, &ada, request(" Analytical Engines ", None)).await;
    assert_eq!((account.name.as_str(), account.slug.as_str()), ("Analytical Engines", "analytical-engines"));
    assert_eq!(account.subscription_tier(), SubscriptionTier::Free);
    assert_eq!(account.status(), AccountStatus::Active);

    let listed = accounts(&context).list_accounts(ada.call_without_account(ListAccountsRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().accounts, std::slice::from_ref(&account));
    let rows = stored_memberships(&context, account.id.parse().unwrap(), ada.user_id).await;
    assert_eq!(rows, [("owner".to_owned(), "active".to_owned(), None)]);
}

#[tokio::test]
async fn accounts_with_the_same_name_get_different_slugs() {
    let context = test_context().await;
    let (ada, bob) = (context.person("ada").await, context.person("bob").await);
    let first = create_account(&context, &ada, request("Acme", None)).await;
    // The other tenant's account is invisible, but its slug is taken.
    let second = create_account(&context, &bob, request("Acme", None)).await;
    assert_eq!(first.slug, "acme");
    assert!(second.slug.starts_with("acme-"), "{}", second.slug);
    // An explicit slug is used or refused.
    let refused = accounts(&context).create_account(bob.call_without_account(request("Acme", Some("acme")))).await;
    assert_eq!(refusal(refused), Reason::SlugTaken);
    assert_eq!(count(&context, "select count(*) from tenancy.accounts").await, 2);
}

#[tokio::test]
async fn concurrent_creations_get_different_slugs() {
    let context = test_context().await;
    let (ada, bob) = (context.person("ada").await, context.person("bob").await);
    let slugs = join_all((0..20).map(|n| create_account(&context, [&ada, &bob][n % 2], request("Acme", None)))).await;
    let slugs: std::collections::HashSet<_> = slugs.into_iter().map(|account| account.slug).collect();
    assert_eq!(slugs.len(), 20);
}

#[tokio::test]
async fn a_repeated_idempotency_key_creates_one_account() {
    let context = test_context().await;
    let ada = context.person("ada").await;
    let call = |name: &str| with_metadata(ada.call_without_account(request(name, None)), "idempotency-key", "k1");
    let responses = join_all((0..20).map(|_| {
        let (mut client, request) = (accounts(&context), call("Acme"));
        async move { client.create_account(request).await.unwrap().into_inner() }
    }))
    .await;
    assert!(responses.iter().all(|response| response == &responses[0]), "{responses:?}");
    assert_eq!(count(&context, "select count(*) from tenancy.accounts").await, 1);
    assert_eq!(count(&context, "select count(*) from tenancy.outbox").await, 2);

    assert_eq!(refusal(accounts(&context).create_account(call("Other")).await), Reason::IdempotencyKeyReused);
    // Idempotency keys are scoped to the caller.
    let bob = context.person("bob").await;
    let request = with_metadata(bob.call_without_account(request("Acme", None)), "idempotency-key", "k1");
    let other = accounts(&context).create_account(request).await.unwrap().into_inner();
    assert_ne!(other.account, responses[0].account);
}

#[tokio::test]
async fn an_invalid_name_or_slug_is_refused() {
    let context = test_context().await;
    let ada = context.person("ada").await;
    for (name, slug) in [
        ("", None),
        ("   ", None),
        ("a\0b", None),
        ("Acme", Some("A")),
        ("Acme", Some("-a-")),
        ("a\u{1b}[31m", None),
        ("\u{200b}", None),
        ("Acme", Some("admin")),
        ("Acme", Some("api")),
        ("Acme", Some("www")),
    ] {
        let refused = accounts(&context).create_account(ada.call_without_account(request(name, slug))).await;
        assert_eq!(refusal(refused), Reason::ValidationFailed, "{name:?} {slug:?}");
    }
    let long = "ä".repeat(101);
    let refused = accounts(&context).create_account(ada.call_without_account(request(&long, None))).await;
    assert_eq!(refusal(refused), Reason::ValidationFailed);
    assert_eq!(count(&context, "select count(*) from tenancy.accounts").await, 0);
    create_account(&context, &ada, request(&"ä".repeat(100), None)).await;
}

#[tokio::test]
async fn an_owner_has_at_most_ten_free_accounts() {
    let context = test_context().await;
    let (ada, bob) = (context.person("ada").await, context.person("bob").await);
    let create = || create_another(&context, &ada);
    let responses = join_all((0..20).map(|_| create())).await;
    assert_eq!(
        responses.iter().filter(|response| response.is_ok()).count(),
        10,
        "concurrent calls cannot exceed the limit"
    );
    for refused in responses.iter().filter_map(|response| response.as_ref().err()) {
        assert_eq!(reason(refused), Some(Reason::QuotaExceeded), "{refused:?}");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(
            (&*info.metadata["quota"], &*info.metadata["limit"], &*info.metadata["used"]),
            ("accounts", "10", "10")
        );
    }
    assert_eq!(count(&context, "select count(*) from tenancy.accounts").await, 10);

    // Accounts scheduled for deletion count. Paid accounts and memberships in other accounts do not.
    let schedule_deletion = "update tenancy.accounts set status = 'canceled', deletes_at = now() + interval '30 days'";
    sqlx::query(schedule_deletion).execute(&context.admin()).await.unwrap();
    assert_eq!(reason(&create().await.unwrap_err()), Some(Reason::QuotaExceeded));
    let team = context.team().await;
    context.join(team.account_id, &ada, baton_access::Role::User, None).await;
    let pay = "update tenancy.accounts set subscription_tier = 'pro'
               where id = (select account_id from tenancy.memberships where user_id = $1 and role = 'owner' limit 1)";
    sqlx::query(pay).bind(ada.user_id).execute(&context.admin()).await.unwrap();
    create().await.unwrap();
    assert_eq!(reason(&create().await.unwrap_err()), Some(Reason::QuotaExceeded));
    create_account(&context, &bob, request("Acme", None)).await;
}

/// Creates another account.
async fn create_another(context: &TestContext, by: &Person) -> Result<(), Status> {
    accounts(context).create_account(by.call_without_account(request("Many", None))).await.map(drop)
}
