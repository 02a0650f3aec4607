use baton_proto::baton::tenancy::v1::{
    Account, AccountStatus, CreateAccountRequest, ListAccountsRequest, SubscriptionTier,
};
use futures_util::future::join_all;

use tonic_types::StatusExt;

use super::*;

fn create(name: &str, slug: Option<&str>) -> CreateAccountRequest {
    CreateAccountRequest { name: name.to_owned(), slug: slug.map(str::to_owned) }
}

async fn created(world: &TestContext, by: &Person, request: CreateAccountRequest) -> Account {
    let answer = accounts(world).create_account(by.call_without_account(request)).await.unwrap();
    answer.into_inner().account.unwrap()
}

#[tokio::test]
async fn whoever_creates_an_account_owns_it() {
    let world = world().await;
    let ada = world.person("ada").await;
    let account = created(&world, &ada, create(" Analytical Engines ", None)).await;
    assert_eq!((account.name.as_str(), account.slug.as_str()), ("Analytical Engines", "analytical-engines"));
    assert_eq!(account.subscription_tier(), SubscriptionTier::Free);
    assert_eq!(account.status(), AccountStatus::Active);

    let listed = accounts(&world).list_accounts(ada.call_without_account(ListAccountsRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().accounts, std::slice::from_ref(&account));
    let rows = stored(&world, account.id.parse().unwrap(), ada.user_id).await;
    assert_eq!(rows, [("owner".to_owned(), "active".to_owned(), None)]);
}

#[tokio::test]
async fn accounts_of_one_name_get_slugs_of_their_own() {
    let world = world().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let first = created(&world, &ada, create("Acme", None)).await;
    // The other tenant's account cannot be seen, and still its slug is taken.
    let second = created(&world, &bob, create("Acme", None)).await;
    assert_eq!(first.slug, "acme");
    assert!(second.slug.starts_with("acme-"), "{}", second.slug);
    // Who asks for a slug gets that one or none.
    let refused = accounts(&world).create_account(bob.call_without_account(create("Acme", Some("acme")))).await;
    assert_eq!(refusal(refused), Reason::SlugTaken);
    assert_eq!(count(&world, "select count(*) from tenancy.accounts").await, 2);
}

#[tokio::test]
async fn many_at_once_get_slugs_of_their_own() {
    let world = world().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let slugs = join_all((0..20).map(|n| created(&world, [&ada, &bob][n % 2], create("Acme", None)))).await;
    let slugs: std::collections::HashSet<_> = slugs.into_iter().map(|account| account.slug).collect();
    assert_eq!(slugs.len(), 20);
}

#[tokio::test]
async fn a_repeated_key_creates_one_account() {
    let world = world().await;
    let ada = world.person("ada").await;
    let call = |name: &str| with_metadata(ada.call_without_account(create(name, None)), "idempotency-key", "k1");
    let answers = join_all((0..20).map(|_| {
        let (mut client, request) = (accounts(&world), call("Acme"));
        async move { client.create_account(request).await.unwrap().into_inner() }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    assert_eq!(count(&world, "select count(*) from tenancy.accounts").await, 1);
    assert_eq!(count(&world, "select count(*) from tenancy.outbox").await, 2);

    assert_eq!(refusal(accounts(&world).create_account(call("Other")).await), Reason::IdempotencyKeyReused);
    // Keys are the caller's own.
    let bob = world.person("bob").await;
    let request = with_metadata(bob.call_without_account(create("Acme", None)), "idempotency-key", "k1");
    let other = accounts(&world).create_account(request).await.unwrap().into_inner();
    assert_ne!(other.account, answers[0].account);
}

#[tokio::test]
async fn a_name_that_says_nothing_stores_nothing() {
    let world = world().await;
    let ada = world.person("ada").await;
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
        let refused = accounts(&world).create_account(ada.call_without_account(create(name, slug))).await;
        assert_eq!(refusal(refused), Reason::ValidationFailed, "{name:?} {slug:?}");
    }
    let long = "ä".repeat(101);
    let refused = accounts(&world).create_account(ada.call_without_account(create(&long, None))).await;
    assert_eq!(refusal(refused), Reason::ValidationFailed);
    assert_eq!(count(&world, "select count(*) from tenancy.accounts").await, 0);
    created(&world, &ada, create(&"ä".repeat(100), None)).await;
}

#[tokio::test]
async fn nobody_owns_more_than_ten_free_accounts() {
    let world = world().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let make = || one_more(&world, &ada);
    let answers = join_all((0..20).map(|_| make())).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10, "however many ask at once");
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(reason(refused), Some(Reason::QuotaExceeded), "{refused:?}");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(
            (&*info.metadata["quota"], &*info.metadata["limit"], &*info.metadata["used"]),
            ("accounts", "10", "10")
        );
    }
    assert_eq!(count(&world, "select count(*) from tenancy.accounts").await, 10);

    // What is given up is still there; what is paid for does not count, nor what belongs to another.
    let give_up = "update tenancy.accounts set status = 'canceled', deletes_at = now() + interval '30 days'";
    sqlx::query(give_up).execute(&world.admin()).await.unwrap();
    assert_eq!(reason(&make().await.unwrap_err()), Some(Reason::QuotaExceeded));
    let team = world.team().await;
    world.join(team.account_id, &ada, baton_access::Role::User, None).await;
    let pay = "update tenancy.accounts set subscription_tier = 'pro'
               where id = (select account_id from tenancy.memberships where user_id = $1 and role = 'owner' limit 1)";
    sqlx::query(pay).bind(ada.user_id).execute(&world.admin()).await.unwrap();
    make().await.unwrap();
    assert_eq!(reason(&make().await.unwrap_err()), Some(Reason::QuotaExceeded));
    created(&world, &bob, create("Acme", None)).await;
}

async fn one_more(world: &TestContext, by: &Person) -> Result<(), Status> {
    accounts(world).create_account(by.call_without_account(create("Many", None))).await.map(drop)
}
