//! Keys for scripts: what they may, what they may not, and how they end.

mod made_by_their_person;

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

/// What has ended may work for a second more; a busy machine gets another.
const SOON: Duration = Duration::from_secs(2);

fn keys(world: &TestContext) -> ApiKeyServiceClient<Channel> {
    ApiKeyServiceClient::new(world.auth())
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

async fn create(world: &TestContext, person: &Person, request: CreateApiKeyRequest) -> CreateApiKeyResponse {
    keys(world).create_api_key(person.call_without_account(request)).await.unwrap().into_inner()
}

/// The person, calling with a new key of theirs.
async fn with_key(world: &TestContext, person: &Person, scopes: &[&str], account_id: Option<Uuid>) -> Person {
    let key = create(world, person, wanted(scopes, account_id)).await;
    Person { token: key.key, ..person.clone() }
}

fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Reason {
    let status = answer.unwrap_err();
    reason(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

async fn list_members(world: &TestContext, call: Request<ListMembersRequest>) -> Result<(), Status> {
    MemberServiceClient::new(world.tenancy()).list_members(call).await.map(drop)
}

fn members_of(account_id: Uuid) -> ListMembersRequest {
    ListMembersRequest { account_id: account_id.to_string(), ..ListMembersRequest::default() }
}

#[tokio::test]
async fn a_key_acts_as_its_person_within_its_scopes_and_role() {
    let world = TestContext::start(&[]).await;
    let team = world.team().await;
    let account_id = team.account_id;
    let mut accounts = AccountServiceClient::new(world.tenancy());
    let read = GetSettingsRequest { account_id: account_id.to_string() };
    let write = UpdateSettingsRequest {
        account_id: account_id.to_string(),
        settings: Some(SettingsChange { managers_may_reassign: Some(true), ..SettingsChange::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["managers_may_reassign".to_owned()] }),
    };

    let reader = with_key(&world, &team.owner, &["account:read"], None).await;
    accounts.get_settings(reader.call(account_id, read.clone())).await.unwrap();
    let status = accounts.update_settings(reader.call(account_id, write.clone())).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ScopeMissing));
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata.get("scope").map(String::as_str), Some("account:write"));
    let status = list_members(&world, reader.call(account_id, members_of(account_id))).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ScopeMissing), "another family");
    let me = UserServiceClient::new(world.auth()).get_me(reader.call_without_account(GetMeRequest {})).await;
    assert_eq!(refused(me), Reason::ScopeMissing, "profile:read");

    let writer = with_key(&world, &team.owner, &["account:write"], None).await;
    accounts.get_settings(writer.call(account_id, read.clone())).await.unwrap();
    accounts.update_settings(writer.call(account_id, write)).await.unwrap();

    // Scopes are no rights: who may not do it by role may not do it by key.
    let user = with_key(&world, &team.user_a1, &[], None).await;
    list_members(&world, user.call(account_id, members_of(account_id))).await.unwrap();
    assert_eq!(refused(accounts.get_settings(user.call(account_id, read)).await).name(), "PERMISSION_MISSING");
}

#[tokio::test]
async fn a_key_makes_no_keys_and_signs_nobody_in_or_out() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let script = with_key(&world, &ada, &[], None).await;
    let me = UserServiceClient::new(world.auth()).get_me(script.call_without_account(GetMeRequest {})).await;
    assert_eq!(me.unwrap().into_inner().user.unwrap().email, ada.email);

    let create = keys(&world).create_api_key(script.call_without_account(wanted(&[], None))).await;
    assert_eq!(refused(create), Reason::SessionRequired);
    let list = keys(&world).list_api_keys(script.call_without_account(ListApiKeysRequest {})).await;
    assert_eq!(refused(list), Reason::SessionRequired);
    let id = Uuid::now_v7().to_string();
    let delete = keys(&world).delete_api_key(script.call_without_account(DeleteApiKeyRequest { id })).await;
    assert_eq!(refused(delete), Reason::SessionRequired);
    // All RPCs of the contract: crates/access, rules::tests::keys_reach_nothing_that_signs_in_or_makes_keys.
}

#[tokio::test]
async fn a_bound_key_works_in_its_account_only_whatever_the_header_says() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (first, second) = (world.account(&ada).await, world.account(&ada).await);
    let bound = with_key(&world, &ada, &["members:read"], Some(second)).await;
    list_members(&world, bound.call(second, members_of(second))).await.unwrap();
    // CVE-2026-105209: another account, in the header or in the request.
    for (header, body) in [(first, first), (first, second), (Uuid::now_v7(), second)] {
        let status = list_members(&world, bound.call(header, members_of(body))).await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::NotAMember));
    }
    assert!(list_members(&world, bound.call(second, members_of(first))).await.is_err());
    // Without a header it is the key's account, not its person's default.
    list_members(&world, bound.call_without_account(members_of(second))).await.unwrap();
    let mut members = MemberServiceClient::new(world.tenancy());
    let resolved = members.resolve_membership(bound.call_without_account(ResolveMembershipRequest {})).await.unwrap();
    assert_eq!(resolved.into_inner().account_id, second.to_string());
    // Bound to an account that its person is no member of, it is good for nothing.
    let stranger = with_key(&world, &world.person("eve").await, &[], Some(second)).await;
    let status = list_members(&world, stranger.call(second, members_of(second))).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotAMember));
}

#[tokio::test]
async fn the_key_of_a_removed_member_opens_nothing_there() {
    let world = TestContext::start(&[]).await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let account_id = world.account(&ada).await;
    world.join(account_id, &bob, Role::User, None).await;
    let script = with_key(&world, &bob, &[], Some(account_id)).await;
    list_members(&world, script.call(account_id, members_of(account_id))).await.unwrap();
    let begun = Instant::now();
    sqlx::query("update tenancy.memberships set status = 'removed', left_at = now() where user_id = $1")
        .bind(bob.user_id)
        .execute(&world.admin())
        .await
        .unwrap();
    let status = ends(|| list_members(&world, script.call(account_id, members_of(account_id)))).await;
    assert_eq!(reason(&status), Some(Reason::NotAMember));
    assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
}

/// Waits until a call is refused.
async fn ends<T, F: Future<Output = Result<T, Status>>>(call: impl Fn() -> F) -> Status {
    eventually(|| async { call().await.err() }).await
}

#[tokio::test]
async fn a_deleted_an_expired_and_a_deactivated_persons_key_end_in_every_service_within_a_second() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let account_id = world.account(&ada).await;
    let call = async |key: &str| {
        let script = Person { token: key.to_owned(), ..ada.clone() };
        list_members(&world, script.call(account_id, members_of(account_id))).await
    };
    let deleted = create(&world, &ada, wanted(&[], None)).await;
    let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(2);
    let expires_at = Some(prost_types::Timestamp { seconds: soon.timestamp() + 1, nanos: 0 });
    let expiring = create(&world, &ada, CreateApiKeyRequest { expires_at, ..wanted(&[], None) }).await;
    let last = create(&world, &ada, wanted(&[], None)).await;
    for key in [&deleted, &expiring, &last] {
        call(&key.key).await.unwrap();
    }

    let delete = DeleteApiKeyRequest { id: deleted.id.clone() };
    keys(&world).delete_api_key(ada.call_without_account(delete.clone())).await.unwrap();
    let begun = Instant::now();
    let status = ends(|| call(&deleted.key)).await;
    assert_eq!((reason(&status), begun.elapsed() < SOON), (Some(Reason::TokenInvalid), true), "{:?}", begun.elapsed());
    // Auth itself does not remember: there it ended with the call.
    assert_eq!(refusal(&world, &deleted.key).await, Some(Reason::TokenInvalid));
    let again = keys(&world).delete_api_key(ada.call_without_account(delete)).await;
    assert_eq!(refused(again), Reason::ApiKeyNotFound);

    let status = ends(|| call(&expiring.key)).await;
    assert_eq!(reason(&status), Some(Reason::TokenInvalid));
    let late = chrono::Utc::now().timestamp() - expiring.expires_at.unwrap().seconds;
    assert!((0..3).contains(&late), "it ended {late} seconds after its time");

    call(&last.key).await.unwrap();
    sqlx::query("update auth.users set deactivated_at = now() where id = $1")
        .bind(ada.user_id)
        .execute(&world.admin())
        .await
        .unwrap();
    assert_eq!(refusal(&world, &last.key).await, Some(Reason::TokenInvalid));
    assert_eq!(reason(&ends(|| call(&last.key)).await), Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn a_key_is_shown_once_and_stored_as_its_hash() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let made = create_with_key(&world, &ada, "once").await;
    // A retry gets the same key again, and makes no second one.
    assert_eq!(create_with_key(&world, &ada, "once").await, made);
    assert!(ApiKey::parse(&made.key).is_some() && made.key.starts_with(&made.prefix));
    assert_eq!(made.scopes, ["tasks:read", "tasks:write"]);

    let list = keys(&world).list_api_keys(ada.call_without_account(ListApiKeysRequest {})).await.unwrap().into_inner();
    assert_eq!(list.api_keys.len(), 1);
    assert!(!format!("{list:?}").contains(&made.key));
    let hash: Vec<u8> = sqlx::query_scalar("select hash from auth.api_keys").fetch_one(&world.admin()).await.unwrap();
    assert_eq!(hash, Sha256::digest(&made.key).to_vec());
    // Nowhere else in the database either, the remembered answer and the outbox included.
    for table in ["api_keys", "idempotency_keys", "outbox", "jobs"] {
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select coalesce(string_agg(t::text, ' '), '') from auth.{table} t"
        )))
        .fetch_one(&world.admin())
        .await
        .unwrap();
        let hex: String = made.key.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!rows.contains(&made.key) && !rows.contains(&hex), "{table}");
    }
}

async fn create_with_key(world: &TestContext, person: &Person, idempotency_key: &str) -> CreateApiKeyResponse {
    let mut request = person.call_without_account(wanted(&["tasks:write", "tasks:read"], None));
    request.metadata_mut().insert("idempotency-key", idempotency_key.parse().unwrap());
    keys(world).create_api_key(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn without_scopes_a_key_gets_all_there_are_and_bad_input_makes_none() {
    let world = TestContext::start(&[]).await;
    let (ada, eve) = (world.person("ada").await, world.person("eve").await);
    let all = create(&world, &ada, wanted(&[], None)).await;
    assert_eq!(all.scopes, SCOPES);

    let past = Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 });
    for bad in [
        wanted(&["tasks:everything"], None),
        wanted(&["tasks:read", "*"], None),
        CreateApiKeyRequest { expires_at: past, ..wanted(&[], None) },
        CreateApiKeyRequest { name: String::new(), ..wanted(&[], None) },
        CreateApiKeyRequest { account_id: Some("mine".to_owned()), ..wanted(&[], None) },
    ] {
        let answer = keys(&world).create_api_key(eve.call_without_account(bad)).await;
        assert_eq!(refused(answer), Reason::ValidationFailed);
    }
    // Another's key is as absent as one that never was.
    for id in [all.id.clone(), Uuid::now_v7().to_string()] {
        let answer = keys(&world).delete_api_key(eve.call_without_account(DeleteApiKeyRequest { id })).await;
        assert_eq!(refused(answer), Reason::ApiKeyNotFound);
    }
    let list = keys(&world).list_api_keys(eve.call_without_account(ListApiKeysRequest {})).await.unwrap();
    assert_eq!(list.into_inner().api_keys, []);
    assert_eq!(refusal(&world, &all.key).await, None, "it is still good");
    // Of the right form, and nobody's; mistyped.
    let mut mistyped = all.key.clone();
    mistyped.pop();
    mistyped.push(if all.key.ends_with('A') { 'B' } else { 'A' });
    for key in [ApiKey::new().expose().to_owned(), mistyped, "bat_".to_owned()] {
        assert_eq!(refusal(&world, &key).await, Some(Reason::TokenInvalid), "{key}");
    }
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_last_place() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    sqlx::query(
        "insert into auth.api_keys (id, user_id, name, prefix, hash, scopes, amr, created_at)
         select gen_random_uuid(), $1, 'old', 'bat_', sha256(n::text::bytea), '{}', '{}', now()
         from generate_series(1, 49) n",
    )
    .bind(ada.user_id)
    .execute(&world.admin())
    .await
    .unwrap();
    let calls = (0..10).map(|_| {
        let (mut keys, request) = (keys(&world), ada.call_without_account(wanted(&[], None)));
        async move { keys.create_api_key(request).await }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for status in answers.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&status), Some(Reason::ApiKeyLimit));
    }
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let script = with_key(&world, &ada, &[], None).await;
    let last_used = async || -> Option<chrono::DateTime<chrono::Utc>> {
        sqlx::query_scalar("select last_used_at from auth.api_keys").fetch_one(&world.admin()).await.unwrap()
    };
    let touch = async || {
        client(&world).check_session(script.call_without_account(CheckSessionRequest {})).await.unwrap();
        last_used().await.unwrap()
    };
    assert_eq!(last_used().await, None);
    let first = touch().await;
    assert_eq!(touch().await, first, "within the minute");
    sqlx::query("update auth.api_keys set last_used_at = last_used_at - interval '61 seconds'")
        .execute(&world.admin())
        .await
        .unwrap();
    assert!(touch().await >= first);
}
