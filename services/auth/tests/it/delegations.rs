//! Delegated tokens and the grants behind them: what they open, and their end. The attacks name the standard that they break.

mod attacks;

use std::time::{Duration, Instant};

use baton_access::Role;
use baton_errors::Reason;
use baton_proto::baton::{
    auth::v1::{
        AuthEventKind, CreateApiKeyRequest, CreateDelegationRequest, DeactivateRequest, Delegation, DelegationCause,
        EndDelegationRequest, ExchangeTokenRequest, ExchangeTokenResponse, IssueDelegatedTokenRequest,
        ListAuthEventsRequest, ListDelegationsRequest, LogoutRequest, ReleaseDelegationsRequest,
        api_key_service_client::ApiKeyServiceClient, delegation_service_client::DelegationServiceClient,
        internal_service_client::InternalServiceClient, session_service_client::SessionServiceClient,
        user_service_client::UserServiceClient,
    },
    tenancy::v1::{ListMembersRequest, member_service_client::MemberServiceClient},
};
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::client;

/// An ended grant may work for one more second. A busy machine gets another.
const DEADLINE: Duration = Duration::from_secs(2);
/// The service that acts in these tests.
const SERVICE: &str = "gateway";

fn refused<T: std::fmt::Debug>(response: Result<Response<T>, Status>) -> Reason {
    let status = response.unwrap_err();
    reason(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

fn texts(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|&scope| scope.to_owned()).collect()
}

fn wanted(account_id: Uuid, scopes: &[&str]) -> CreateDelegationRequest {
    CreateDelegationRequest {
        service: SERVICE.to_owned(),
        account_id: account_id.to_string(),
        scopes: texts(scopes),
        purpose: "Escalate what is paused".to_owned(),
    }
}

async fn grant(context: &TestContext, person: &Person, account_id: Uuid, scopes: &[&str]) -> Delegation {
    let request = person.call_without_account(wanted(account_id, scopes));
    let created = DelegationServiceClient::new(context.auth()).create_delegation(request).await.unwrap();
    created.into_inner().delegation.unwrap()
}

fn cause(depth: i32) -> DelegationCause {
    DelegationCause { kind: "rule".to_owned(), id: Uuid::now_v7().to_string(), depth }
}

/// A token that `service` gets for a grant.
async fn issue(
    context: &TestContext,
    service: &str,
    grant: &Delegation,
    audience: &str,
    scopes: &[&str],
) -> Result<String, Status> {
    let message = IssueDelegatedTokenRequest {
        delegation_id: grant.id.clone(),
        audience: audience.to_owned(),
        scopes: texts(scopes),
        cause: Some(cause(1)),
    };
    let request = context.by_service(service, "auth", message).await;
    let response = InternalServiceClient::new(context.auth()).issue_delegated_token(request).await?.into_inner();
    assert_eq!((response.token_type.as_str(), response.expires_in), ("Bearer", 60));
    Ok(response.access_token)
}

/// A token that `service` exchanges for another one.
async fn exchange(
    context: &TestContext,
    service: &str,
    token: &str,
    audience: &str,
    account_id: Uuid,
    scopes: &[&str],
) -> Result<ExchangeTokenResponse, Status> {
    let message = ExchangeTokenRequest {
        subject_token: token.to_owned(),
        audience: audience.to_owned(),
        account_id: account_id.to_string(),
        scopes: texts(scopes),
        cause: None,
    };
    let request = context.by_service(service, "auth", message).await;
    Ok(InternalServiceClient::new(context.auth()).exchange_token(request).await?.into_inner())
}

/// The person, acted for with this token.
fn acting(person: &Person, token: &str) -> Person {
    Person { token: token.to_owned(), ..person.clone() }
}

async fn list_members(context: &TestContext, person: &Person, account_id: Uuid) -> Result<(), Status> {
    let message = ListMembersRequest { account_id: account_id.to_string(), ..ListMembersRequest::default() };
    MemberServiceClient::new(context.tenancy()).list_members(person.call(account_id, message)).await.map(drop)
}

/// Waits until the token is refused, which takes at most [`DEADLINE`].
async fn assert_ends(context: &TestContext, person: &Person, account_id: Uuid, expected: Reason) {
    let begun = Instant::now();
    let status = eventually(|| async { list_members(context, person, account_id).await.err() }).await;
    assert_eq!(reason(&status), Some(expected));
    assert!(begun.elapsed() < DEADLINE, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn service_acts_for_an_absent_person_with_their_current_rights() {
    let context = TestContext::start(&[]).await;
    let (ada, bob) = (context.person("ada").await, context.person("bob").await);
    let account_id = context.account(&ada).await;
    context.join(account_id, &bob, Role::User, None).await;
    let grant = grant(&context, &bob, account_id, &["members:read"]).await;
    // The person is signed out, and the grant stays.
    client(&context).logout(LogoutRequest { refresh_token: bob.refresh_token.clone() }).await.unwrap();
    let absent = acting(&bob, &issue(&context, SERVICE, &grant, "tenancy", &[]).await.unwrap());
    list_members(&context, &absent, account_id).await.unwrap();

    sqlx::query("update tenancy.memberships set status = 'removed', left_at = now() where user_id = $1")
        .bind(bob.user_id)
        .execute(&context.admin())
        .await
        .unwrap();
    assert_ends(&context, &absent, account_id, Reason::NotAMember).await;
}

#[tokio::test]
async fn grants_are_listed_used_and_ended_by_their_person() {
    let context = TestContext::start(&[]).await;
    let (ada, eve) = (context.person("ada").await, context.person("eve").await);
    let account_id = context.account(&ada).await;
    let (first, second) = (
        grant(&context, &ada, account_id, &["members:read"]).await,
        grant(&context, &ada, account_id, &["tasks:write"]).await,
    );
    let token = issue(&context, SERVICE, &first, "tenancy", &[]).await.unwrap();
    let mut grants = DelegationServiceClient::new(context.auth());
    let mut list = async |person: &Person| {
        let request = person.call_without_account(ListDelegationsRequest {});
        grants.list_delegations(request).await.unwrap().into_inner().delegations
    };
    let listed = list(&ada).await;
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&second.id, &first.id]);
    assert_eq!((&*listed[1].purpose, &*listed[1].service), ("Escalate what is paused", SERVICE));
    assert!(listed[1].last_used_at.is_some() && listed[0].last_used_at.is_none());
    assert_eq!(list(&eve).await, []);

    let end = |person: &Person, id: &str| person.call_without_account(EndDelegationRequest { id: id.to_owned() });
    let mut grants = DelegationServiceClient::new(context.auth());
    assert_eq!(refused(grants.end_delegation(end(&eve, &first.id)).await), Reason::DelegationNotFound);
    list_members(&context, &acting(&ada, &token), account_id).await.unwrap();
    grants.end_delegation(end(&ada, &first.id)).await.unwrap();
    assert_ends(&context, &acting(&ada, &token), account_id, Reason::DelegationEnded).await;
    assert_eq!(refused(grants.end_delegation(end(&ada, &first.id)).await), Reason::DelegationNotFound);
    let status = issue(&context, SERVICE, &first, "tenancy", &[]).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::DelegationEnded));

    let request = ada.call_without_account(ListAuthEventsRequest::default());
    let history = SessionServiceClient::new(context.auth()).list_auth_events(request).await.unwrap().into_inner();
    let kinds: Vec<_> = history.events.iter().map(|event| event.kind()).collect();
    assert_eq!(
        kinds[..3],
        [AuthEventKind::DelegationEnded, AuthEventKind::DelegationCreated, AuthEventKind::DelegationCreated]
    );
}

#[tokio::test]
async fn repeated_creation_makes_one_grant() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let mut grants = DelegationServiceClient::new(context.auth());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut request = ada.call_without_account(wanted(account_id, &["tasks:read"]));
        request.metadata_mut().insert("idempotency-key", "once".parse().unwrap());
        ids.push(grants.create_delegation(request).await.unwrap().into_inner().delegation.unwrap().id);
    }
    assert_eq!(ids[0], ids[1]);
    let listed = grants.list_delegations(ada.call_without_account(ListDelegationsRequest {})).await.unwrap();
    assert_eq!(listed.into_inner().delegations.len(), 1);
}

#[tokio::test]
async fn malformed_grants_are_refused() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let good = wanted(account_id, &["tasks:read"]);
    for (what, request) in [
        ("an unknown service", CreateDelegationRequest { service: "nobody".to_owned(), ..good.clone() }),
        ("no scope", CreateDelegationRequest { scopes: Vec::new(), ..good.clone() }),
        ("an unknown scope", CreateDelegationRequest { scopes: texts(&["tasks:delete"]), ..good.clone() }),
        ("the scope to make grants", CreateDelegationRequest { scopes: texts(&["delegate"]), ..good.clone() }),
        ("no purpose", CreateDelegationRequest { purpose: String::new(), ..good.clone() }),
        ("no account", CreateDelegationRequest { account_id: String::new(), ..good }),
    ] {
        let request = ada.call_without_account(request);
        let created = DelegationServiceClient::new(context.auth()).create_delegation(request).await;
        assert_eq!(refused(created), Reason::ValidationFailed, "{what}");
    }
}

#[tokio::test]
async fn deactivation_ends_all_grants() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let grant = grant(&context, &ada, account_id, &["members:read"]).await;
    let absent = acting(&ada, &issue(&context, SERVICE, &grant, "tenancy", &[]).await.unwrap());
    list_members(&context, &absent, account_id).await.unwrap();
    let deactivate = DeactivateRequest { password: PASSWORD.to_owned() };
    UserServiceClient::new(context.auth()).deactivate(ada.call_without_account(deactivate)).await.unwrap();
    assert_ends(&context, &absent, account_id, Reason::DelegationEnded).await;
    let left: i64 =
        sqlx::query_scalar("select count(*) from auth.delegations").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn service_releases_its_own_grants_only() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let grant = grant(&context, &ada, account_id, &["members:read"]).await;
    for (service, left) in [("tenancy", 1), (SERVICE, 0), (SERVICE, 0)] {
        let message = ReleaseDelegationsRequest { ids: vec![grant.id.clone(), Uuid::now_v7().to_string()] };
        let request = context.by_service(service, "auth", message).await;
        InternalServiceClient::new(context.auth()).release_delegations(request).await.unwrap();
        let count: i64 =
            sqlx::query_scalar("select count(*) from auth.delegations").fetch_one(&context.admin()).await.unwrap();
        assert_eq!(count, left, "{service}");
    }
}

#[tokio::test]
async fn exchanged_token_ends_with_the_session_or_key() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let create = CreateApiKeyRequest { name: "script".to_owned(), ..CreateApiKeyRequest::default() };
    let mut keys = ApiKeyServiceClient::new(context.auth());
    let key = keys.create_api_key(ada.call_without_account(create)).await.unwrap().into_inner();
    let mut tokens = Vec::new();
    for subject in [&ada.token, &key.key] {
        let exchanged = exchange(&context, SERVICE, subject, "tenancy", account_id, &["members:read"]).await.unwrap();
        assert!((1..=60).contains(&exchanged.expires_in), "{}", exchanged.expires_in);
        list_members(&context, &acting(&ada, &exchanged.access_token), account_id).await.unwrap();
        tokens.push(acting(&ada, &exchanged.access_token));
    }
    sqlx::query("delete from auth.api_keys").execute(&context.admin()).await.unwrap();
    assert_ends(&context, &tokens[1], account_id, Reason::DelegationEnded).await;
    list_members(&context, &tokens[0], account_id).await.unwrap();
    client(&context).logout(LogoutRequest { refresh_token: ada.refresh_token.clone() }).await.unwrap();
    assert_ends(&context, &tokens[0], account_id, Reason::DelegationEnded).await;
    let status = exchange(&context, SERVICE, &ada.token, "tenancy", account_id, &["members:read"]).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::SessionClosed));
}

#[tokio::test]
async fn token_with_the_scope_delegate_creates_grants_within_its_rights() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (account_id, other) = (context.account(&ada).await, context.account(&ada).await);
    let scopes = ["delegate", "tasks:write"];
    let exchanged = exchange(&context, "tenancy", &ada.token, "auth", account_id, &scopes).await.unwrap();
    let assisted = acting(&ada, &exchanged.access_token);
    let mut grants = DelegationServiceClient::new(context.auth());
    let mut create = async |account_id, scopes: &[&str]| {
        grants.create_delegation(assisted.call_without_account(wanted(account_id, scopes))).await
    };
    let created = create(account_id, &["tasks:read"]).await.unwrap().into_inner().delegation.unwrap();
    assert_eq!(created.scopes, ["tasks:read"]);
    assert_eq!(refused(create(account_id, &["members:write"]).await), Reason::ScopeMissing);
    assert_eq!(refused(create(other, &["tasks:read"]).await), Reason::NotAMember);
}

#[tokio::test]
async fn required_second_factor_is_that_of_the_grant() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let grant = grant(&context, &ada, account_id, &["members:read"]).await;
    let absent = acting(&ada, &issue(&context, SERVICE, &grant, "tenancy", &[]).await.unwrap());
    list_members(&context, &absent, account_id).await.unwrap();
    let require = "update tenancy.accounts set require_second_factor = true";
    sqlx::query(require).execute(&context.admin()).await.unwrap();
    assert_ends(&context, &absent, account_id, Reason::SecondFactorRequired).await;
    let prove = "update auth.delegations set amr = '{pwd,otp,mfa}'";
    sqlx::query(prove).execute(&context.admin()).await.unwrap();
    eventually(|| async { list_members(&context, &absent, account_id).await.ok() }).await;
}
