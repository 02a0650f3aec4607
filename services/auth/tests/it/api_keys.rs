//! API keys: their rights, their limits, and their end.

mod creation;

use std::time::{Duration, Instant};

use baton_access::{ApiKey, Role, SCOPES};
use baton_errors::Reason;
use baton_proto::baton::{
    auth::v1::{
        CheckSessionRequest, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, GetMeRequest,
        ListApiKeysRequest, api_key_service_client::ApiKeyServiceClient, user_service_client::UserServiceClient,
    },
    tenancy::v1::{
        GetSettingsRequest, ListMembersRequest, ResolveMembershipRequest, SettingsChange, UpdateSettingsRequest,
        account_service_client::AccountServiceClient, member_service_client::MemberServiceClient,
    },
};
use baton_testkit::{Person, TestContext, eventually, reason};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{client, forged_tokens::refusal};

/// An ended key may work for one more second. A busy machine gets more.
const REVOCATION_DEADLINE: Duration = Duration::from_secs(10);

fn keys(context: &TestContext) -> ApiKeyServiceClient<Channel> {
    ApiKeyServiceClient::new(context.auth())
}

fn wanted(scopes: &[&str], account_id: Option<Uuid>) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        name: "A script".to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        expires_at: None,
        account_id: account_id.map(|id| id.to_string()),
        password: None,
    }
}

async fn create(context: &TestContext, person: &Person, request: CreateApiKeyRequest) -> CreateApiKeyResponse {
    keys(context).create_api_key(person.call_without_account(request)).await.unwrap().into_inner()
}

/// The user, calling with a new API key.
async fn with_key(context: &TestContext, person: &Person, scopes: &[&str], account_id: Option<Uuid>) -> Person {
    let key = create(context, person, wanted(scopes, account_id)).await;
    Person { token: key.key, ..person.clone() }
}

fn refused<T: std::fmt::Debug>(response: Result<Response<T>, Status>) -> Reason {
    let status = response.unwrap_err();
    reason(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

async fn list_members(context: &TestContext, call: Request<ListMembersRequest>) -> Result<(), Status> {
    MemberServiceClient::new(context.tenancy()).list_members(call).await.map(drop)
}

fn members_of(account_id: Uuid) -> ListMembersRequest {
    ListMembersRequest { account_id: account_id.to_string(), ..ListMembersRequest::default() }
}

#[tokio::test]
async fn key_acts_as_its_user_within_scopes_and_role() {
    let context = TestContext::start(&[]).await;
    let team = context.team().await;
    let account_id = team.account_id;
    let mut accounts = AccountServiceClient::new(context.tenancy());
    let read = GetSettingsRequest { account_id: account_id.to_string() };
    let write = UpdateSettingsRequest {
        account_id: account_id.to_string(),
        settings: Some(SettingsChange { managers_may_reassign: Some(true), ..SettingsChange::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["managers_may_reassign".to_owned()] }),
    };

    let reader = with_key(&context, &team.owner, &["account:read"], None).await;
    accounts.get_settings(reader.call(account_id, read.clone())).await.unwrap();
    let status = accounts.update_settings(reader.call(account_id, write.clone())).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ScopeMissing));
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata.get("scope").map(String::as_str), Some("account:write"));
    let status = list_members(&context, reader.call(account_id, members_of(account_id))).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ScopeMissing), "another family");
    let me = UserServiceClient::new(context.auth()).get_me(reader.call_without_account(GetMeRequest {})).await;
    assert_eq!(refused(me), Reason::ScopeMissing, "profile:read");

    let writer = with_key(&context, &team.owner, &["account:write"], None).await;
    accounts.get_settings(writer.call(account_id, read.clone())).await.unwrap();
    accounts.update_settings(writer.call(account_id, write)).await.unwrap();

    // Scopes grant no rights: a role that may not do it may not do it with a key.
    let user = with_key(&context, &team.user_a1, &[], None).await;
    list_members(&context, user.call(account_id, members_of(account_id))).await.unwrap();
    assert_eq!(refused(accounts.get_settings(user.call(account_id, read)).await).name(), "PERMISSION_MISSING");
}

#[tokio::test]
async fn key_cannot_manage_keys_or_sessions() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let script = with_key(&context, &ada, &[], None).await;
    let me = UserServiceClient::new(context.auth()).get_me(script.call_without_account(GetMeRequest {})).await;
    assert_eq!(me.unwrap().into_inner().user.unwrap().email, ada.email);

    let create = keys(&context).create_api_key(script.call_without_account(wanted(&[], None))).await;
    assert_eq!(refused(create), Reason::SessionRequired);
    let list = keys(&context).list_api_keys(script.call_without_account(ListApiKeysRequest {})).await;
    assert_eq!(refused(list), Reason::SessionRequired);
    let id = Uuid::now_v7().to_string();
    let delete = keys(&context).delete_api_key(script.call_without_account(DeleteApiKeyRequest { id })).await;
    assert_eq!(refused(delete), Reason::SessionRequired);
    // All RPCs of the contract: crates/access, rules::tests::api_keys_cannot_sign_in_or_create_keys.
}

#[tokio::test]
async fn bound_key_works_only_in_its_account_whatever_the_header() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (first, second) = (context.account(&ada).await, context.account(&ada).await);
    let bound = with_key(&context, &ada, &["members:read"], Some(second)).await;
    list_members(&context, bound.call(second, members_of(second))).await.unwrap();
    // CVE-2026-105209: another account, in the header or in the request.
    for (header, body) in [(first, first), (first, second), (Uuid::now_v7(), second)] {
        let status = list_members(&context, bound.call(header, members_of(body))).await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::NotAMember));
    }
    assert!(list_members(&context, bound.call(second, members_of(first))).await.is_err());
    // Without a header the key's account applies, not the user's default.
    list_members(&context, bound.call_without_account(members_of(second))).await.unwrap();
    let mut members = MemberServiceClient::new(context.tenancy());
    let resolved = members.resolve_membership(bound.call_without_account(ResolveMembershipRequest {})).await.unwrap();
    assert_eq!(resolved.into_inner().account_id, second.to_string());
    // A key that is bound to an account without a membership grants nothing.
    let stranger = with_key(&context, &context.person("eve").await, &[], Some(second)).await;
    let status = list_members(&context, stranger.call(second, members_of(second))).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotAMember));
}

#[tokio::test]
async fn key_of_a_removed_member_loses_access() {
    let context = TestContext::start(&[]).await;
    let (ada, bob) = (context.person("ada").await, context.person("bob").await);
    let account_id = context.account(&ada).await;
    context.join(account_id, &bob, Role::User, None).await;
    let script = with_key(&context, &bob, &[], Some(account_id)).await;
    list_members(&context, script.call(account_id, members_of(account_id))).await.unwrap();
    let begun = Instant::now();
    sqlx::query("update tenancy.memberships set status = 'removed', left_at = now() where user_id = $1")
        .bind(bob.user_id)
        .execute(&context.admin())
        .await
        .unwrap();
    let status = ends(|| list_members(&context, script.call(account_id, members_of(account_id)))).await;
    assert_eq!(reason(&status), Some(Reason::NotAMember));
    assert!(begun.elapsed() < REVOCATION_DEADLINE, "after {:?}", begun.elapsed());
}

/// Waits until a call is refused.
async fn ends<T, F: Future<Output = Result<T, Status>>>(call: impl Fn() -> F) -> Status {
    eventually(|| async { call().await.err() }).await
}

#[tokio::test]
async fn deleted_and_expired_keys_and_those_of_deactivated_users_end_within_a_second() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let call = async |key: &str| {
        let script = Person { token: key.to_owned(), ..ada.clone() };
        list_members(&context, script.call(account_id, members_of(account_id))).await
    };
    let deleted = create(&context, &ada, wanted(&[], None)).await;
    let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(2);
    let expires_at = Some(prost_types::Timestamp { seconds: soon.timestamp() + 1, nanos: 0 });
    let expiring = create(&context, &ada, CreateApiKeyRequest { expires_at, ..wanted(&[], None) }).await;
    let last = create(&context, &ada, wanted(&[], None)).await;
    for key in [&deleted, &expiring, &last] {
        call(&key.key).await.unwrap();
    }

    let delete = DeleteApiKeyRequest { id: deleted.id.clone() };
    keys(&context).delete_api_key(ada.call_without_account(delete.clone())).await.unwrap();
    let begun = Instant::now();
    let status = ends(|| call(&deleted.key)).await;
    assert_eq!(
        (reason(&status), begun.elapsed() < REVOCATION_DEADLINE),
        (Some(Reason::TokenInvalid), true),
        "{:?}",
        begun.elapsed()
    );
    // Auth itself has no cache: the key ended with the call.
    assert_eq!(refusal(&context, &deleted.key).await, Some(Reason::TokenInvalid));
    let again = keys(&context).delete_api_key(ada.call_without_account(delete)).await;
    assert_eq!(refused(again), Reason::ApiKeyNotFound);

    let status = ends(|| call(&expiring.key)).await;
    assert_eq!(reason(&status), Some(Reason::TokenInvalid));
    let late = chrono::Utc::now().timestamp() - expiring.expires_at.unwrap().seconds;
    assert!((0..3).contains(&late), "it ended {late} seconds late");

    call(&last.key).await.unwrap();
    sqlx::query("update auth.users set deactivated_at = now() where id = $1")
        .bind(ada.user_id)
        .execute(&context.admin())
        .await
        .unwrap();
    assert_eq!(refusal(&context, &last.key).await, Some(Reason::TokenInvalid));
    assert_eq!(reason(&ends(|| call(&last.key)).await), Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn key_is_shown_once_and_stored_as_a_hash() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let made = create_with_key(&context, &ada, "once").await;
    // A retry returns the same key, and creates no second one.
    assert_eq!(create_with_key(&context, &ada, "once").await, made);
    assert!(ApiKey::parse(&made.key).is_some() && made.key.starts_with(&made.prefix));
    assert_eq!(made.scopes, ["tasks:read", "tasks:write"]);

    let list =
        keys(&context).list_api_keys(ada.call_without_account(ListApiKeysRequest {})).await.unwrap().into_inner();
    assert_eq!(list.api_keys.len(), 1);
    assert!(!format!("{list:?}").contains(&made.key));
    let hash: Vec<u8> = sqlx::query_scalar("select hash from auth.api_keys").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(hash, Sha256::digest(&made.key).to_vec());
    // Nor anywhere else in the database, including the stored response and the outbox.
    for table in ["api_keys", "idempotency_keys", "outbox", "jobs"] {
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select coalesce(string_agg(t::text, ' '), '') from auth.{table} t"
        )))
        .fetch_one(&context.admin())
        .await
        .unwrap();
        let hex: String = made.key.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!rows.contains(&made.key) && !rows.contains(&hex), "{table}");
    }
}

async fn create_with_key(context: &TestContext, person: &Person, idempotency_key: &str) -> CreateApiKeyResponse {
    let mut request = person.call_without_account(wanted(&["tasks:write", "tasks:read"], None));
    request.metadata_mut().insert("idempotency-key", idempotency_key.parse().unwrap());
    keys(context).create_api_key(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn key_without_scopes_gets_all_and_invalid_input_is_refused() {
    let context = TestContext::start(&[]).await;
    let (ada, eve) = (context.person("ada").await, context.person("eve").await);
    let all = create(&context, &ada, wanted(&[], None)).await;
    assert_eq!(all.scopes, SCOPES);

    let past = Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 });
    for bad in [
        wanted(&["tasks:everything"], None),
        wanted(&["tasks:read", "*"], None),
        CreateApiKeyRequest { expires_at: past, ..wanted(&[], None) },
        CreateApiKeyRequest { name: String::new(), ..wanted(&[], None) },
        CreateApiKeyRequest { account_id: Some("mine".to_owned()), ..wanted(&[], None) },
    ] {
        let response = keys(&context).create_api_key(eve.call_without_account(bad)).await;
        assert_eq!(refused(response), Reason::ValidationFailed);
    }
    // Another user's key is as unknown as one that never existed.
    for id in [all.id.clone(), Uuid::now_v7().to_string()] {
        let response = keys(&context).delete_api_key(eve.call_without_account(DeleteApiKeyRequest { id })).await;
        assert_eq!(refused(response), Reason::ApiKeyNotFound);
    }
    let list = keys(&context).list_api_keys(eve.call_without_account(ListApiKeysRequest {})).await.unwrap();
    assert_eq!(list.into_inner().api_keys, []);
    assert_eq!(refusal(&context, &all.key).await, None, "it is still valid");
    // Well-formed but unknown; mistyped.
    let mut mistyped = all.key.clone();
    mistyped.pop();
    mistyped.push(if all.key.ends_with('A') { 'B' } else { 'A' });
    for key in [ApiKey::new().expose().to_owned(), mistyped, "bat_".to_owned()] {
        assert_eq!(refusal(&context, &key).await, Some(Reason::TokenInvalid), "{key}");
    }
}

#[tokio::test]
async fn parallel_creations_do_not_exceed_the_limit() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    sqlx::query(
        "insert into auth.api_keys (id, user_id, name, prefix, hash, scopes, amr, created_at)
         select gen_random_uuid(), $1, 'old', 'bat_', sha256(n::text::bytea), '{}', '{}', now()
         from generate_series(1, 49) n",
    )
    .bind(ada.user_id)
    .execute(&context.admin())
    .await
    .unwrap();
    let calls = (0..10).map(|_| {
        let (mut keys, request) = (keys(&context), ada.call_without_account(wanted(&[], None)));
        async move { keys.create_api_key(request).await }
    });
    let responses = join_all(calls).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    for status in responses.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&status), Some(Reason::ApiKeyLimit));
    }
}

#[tokio::test]
async fn last_use_is_recorded_once_a_minute() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let script = with_key(&context, &ada, &[], None).await;
    let last_used = async || -> Option<chrono::DateTime<chrono::Utc>> {
        sqlx::query_scalar("select last_used_at from auth.api_keys").fetch_one(&context.admin()).await.unwrap()
    };
    let touch = async || {
        client(&context).check_session(script.call_without_account(CheckSessionRequest {})).await.unwrap();
        last_used().await.unwrap()
    };
    assert_eq!(last_used().await, None);
    let first = touch().await;
    assert_eq!(touch().await, first, "within the minute");
    sqlx::query("update auth.api_keys set last_used_at = last_used_at - interval '61 seconds'")
        .execute(&context.admin())
        .await
        .unwrap();
    assert!(touch().await >= first);
}
