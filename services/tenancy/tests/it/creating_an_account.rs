use baton_proto::baton::tenancy::v1::{
    Account, AccountStatus, CreateAccountRequest, ListAccountsRequest, SubscriptionTier,
};
use futures_util::future::join_all;

use super::*;

fn create(name: &str, slug: Option<&str>) -> CreateAccountRequest {
    CreateAccountRequest { name: name.to_owned(), slug: slug.map(str::to_owned) }
}

async fn created(world: &World, by: &Person, request: CreateAccountRequest) -> Account {
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
    let ada = world.person("ada").await;
    let slugs = join_all((0..20).map(|_| created(&world, &ada, create("Acme", None)))).await;
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
    for (name, slug) in [("", None), ("   ", None), ("a\0b", None), ("Acme", Some("A")), ("Acme", Some("-a-"))] {
        let refused = accounts(&world).create_account(ada.call_without_account(create(name, slug))).await;
        assert_eq!(refusal(refused), Reason::ValidationFailed, "{name:?} {slug:?}");
    }
    let long = "ä".repeat(101);
    let refused = accounts(&world).create_account(ada.call_without_account(create(&long, None))).await;
    assert_eq!(refusal(refused), Reason::ValidationFailed);
    assert_eq!(count(&world, "select count(*) from tenancy.accounts").await, 0);
    created(&world, &ada, create(&"ä".repeat(100), None)).await;
}
