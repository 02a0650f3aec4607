//! Service tokens: each service authenticates, for one audience at a time.

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use baton_access::token::SERVICE_TYPE;
use baton_clients::{Peer, ServiceTokens};
use baton_errors::Reason;
use baton_proto::baton::{
    auth::v1::{
        BatchGetUsersRequest, BatchGetUsersResponse, CreateApiKeyRequest, DeactivateRequest, IssueServiceTokenRequest,
        api_key_service_client::ApiKeyServiceClient, internal_service_client::InternalServiceClient,
        user_service_client::UserServiceClient,
    },
    tenancy::v1::{InviteMemberRequest, Role, member_service_client::MemberServiceClient},
};
use baton_runtime::Secret;
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::forged_tokens::refusal;

async fn issue(context: &TestContext, service: &str, secret: &str, audience: &str) -> Result<String, Status> {
    let request = IssueServiceTokenRequest {
        service: service.to_owned(),
        secret: secret.to_owned(),
        audience: audience.to_owned(),
    };
    let response = InternalServiceClient::new(context.auth()).issue_service_token(request).await?.into_inner();
    assert_eq!((response.token_type.as_str(), response.expires_in), ("Bearer", 300));
    Ok(response.access_token)
}

fn secret(context: &TestContext) -> String {
    context.env().get("BATON_TENANCY_SERVICE_SECRET").unwrap().to_owned()
}

/// Looks a user up with this token.
async fn get_user(context: &TestContext, token: &str, person: &Person) -> Result<BatchGetUsersResponse, Status> {
    let ids = vec![person.user_id.to_string(), Uuid::now_v7().to_string()];
    let mut request = Request::new(BatchGetUsersRequest { ids });
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    InternalServiceClient::new(context.auth()).batch_get_users(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn service_token_looks_up_users_and_grants_nothing_else() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let token = issue(&context, "tenancy", &secret(&context), "auth").await.unwrap();
    let found = get_user(&context, &token, &ada).await.unwrap().users;
    assert_eq!(found.len(), 1, "unknown ids are left out");
    assert_eq!((found[0].id.clone(), found[0].email.clone()), (ada.user_id.to_string(), ada.email.clone()));
    // RFC 8725, section 3.12: one kind of token is never accepted as another.
    assert_eq!(refusal(&context, &token).await, Some(Reason::TokenInvalid), "at an RPC for users");

    // And the reverse: a user's tokens do not work for service RPCs.
    let create = CreateApiKeyRequest { name: "all".to_owned(), ..CreateApiKeyRequest::default() };
    let key = ApiKeyServiceClient::new(context.auth()).create_api_key(ada.call_without_account(create)).await.unwrap();
    let elsewhere = issue(&context, "tenancy", &secret(&context), "task").await.unwrap();
    for (what, token) in [
        ("nothing", ""),
        ("nonsense", "nonsense"),
        ("a person's access token", ada.token.as_str()),
        ("a person's refresh token", ada.refresh_token.as_str()),
        ("a person's API key", &key.into_inner().key),
        ("RFC 9068, 4: a token for another service", &elsewhere),
    ] {
        let status = get_user(&context, token, &ada).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::PermissionDenied, Some(Reason::ServiceOnly)), "{what}");
    }
}

#[tokio::test]
async fn deactivated_users_are_not_returned() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let token = issue(&context, "tenancy", &secret(&context), "auth").await.unwrap();
    assert_eq!(get_user(&context, &token, &ada).await.unwrap().users.len(), 1);
    let deactivate = DeactivateRequest { password: PASSWORD.to_owned() };
    UserServiceClient::new(context.auth()).deactivate(ada.call_without_account(deactivate)).await.unwrap();
    assert_eq!(get_user(&context, &token, &ada).await.unwrap().users, []);
}

/// The purpose of a service token: tenancy sends emails outside of any call.
#[tokio::test]
async fn invitation_email_names_the_inviter() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let account_id = context.account(&ada).await;
    let invitation = InviteMemberRequest {
        account_id: account_id.to_string(),
        email: "bob@example.org".to_owned(),
        role: Role::User.into(),
        ..InviteMemberRequest::default()
    };
    MemberServiceClient::new(context.tenancy()).invite_member(ada.call(account_id, invitation)).await.unwrap();
    let mail = eventually(|| async { context.mailbox().mails(Some("bob@example.org")).into_iter().next() }).await;
    let words = mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("The person who invites you goes by “ada Tester”"), "{words}");
    assert!(words.contains("Its name is “Test account”"), "{words}");
    // An address would become a link.
    assert!(!words.contains(&ada.email), "{words}");
}

#[tokio::test]
async fn wrong_secret_and_unknown_service_get_the_same_response() {
    let context = TestContext::start(&[]).await;
    let right = secret(&context);
    for (service, secret) in [
        ("tenancy", "wrong"),
        ("tenancy", &right[1..]),
        ("task", right.as_str()),
        ("nobody", right.as_str()),
        ("tenancy ", right.as_str()),
    ] {
        let status = issue(&context, service, secret, "auth").await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::CredentialsInvalid), "{service}");
        assert_eq!(status.message(), Reason::CredentialsInvalid.description());
    }
}

#[tokio::test]
async fn forged_service_tokens_are_refused() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (kid, private) = context.signing_key().await;
    let ours = EncodingKey::from_ed_der(&private);
    let stranger = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let theirs = EncodingKey::from_ed_der(stranger.as_ref());
    let now = chrono::Utc::now().timestamp();
    let issuer = baton_auth::Config::from_env(&baton_auth::SPEC, &context.env()).unwrap().service.issuer;
    let claims = json!({
        "iss": issuer, "aud": "baton/auth", "sub": "tenancy", "exp": now + 60, "iat": now, "jti": Uuid::now_v7(),
    });
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let sign = |typ: &str, claims: &Value, key: &EncodingKey| {
        let (kid, typ) = (Some(kid.clone()), Some(typ.to_owned()));
        encode(&Header { kid, typ, ..Header::new(Algorithm::EdDSA) }, claims, key).unwrap()
    };
    get_user(&context, &sign(SERVICE_TYPE, &claims, &ours), &ada).await.unwrap();
    for (what, token) in [
        ("a stranger's signature", sign(SERVICE_TYPE, &claims, &theirs)),
        ("RFC 8725, 3.11: without its type", sign("JWT", &claims, &ours)),
        ("expired", sign(SERVICE_TYPE, &with("exp", json!(now - 60)), &ours)),
        ("CVE-2026-25537: an expiry that is text", sign(SERVICE_TYPE, &with("exp", json!("9999999999")), &ours)),
        ("not yet valid", sign(SERVICE_TYPE, &with("nbf", json!(now + 60)), &ours)),
        ("the audience of people's tokens", sign(SERVICE_TYPE, &with("aud", json!("baton")), &ours)),
        ("a longer audience", sign(SERVICE_TYPE, &with("aud", json!("baton/auth2")), &ours)),
        ("several audiences", sign(SERVICE_TYPE, &with("aud", json!(["baton/auth", "baton/task"])), &ours)),
        ("another issuer", sign(SERVICE_TYPE, &with("iss", json!("https://evil.example")), &ours)),
    ] {
        let status = get_user(&context, &token, &ada).await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::ServiceOnly), "{what}");
    }
}

#[tokio::test]
async fn service_token_is_requested_once_per_audience() {
    let context = TestContext::start(&[]).await;
    let tokens = ServiceTokens::new(Peer::new("auth", context.auth()), "tenancy", Secret::new(secret(&context)));
    let token = async |audience| tokens.authorization(audience).await.unwrap().to_str().unwrap().to_owned();
    let (first, again) = tokio::join!(token("auth"), token("auth"));
    assert_eq!(first, again);
    assert_ne!(token("task").await, first);
    let wrong = ServiceTokens::new(Peer::new("auth", context.auth()), "tenancy", Secret::new("wrong"));
    assert_eq!(wrong.authorization("auth").await.unwrap_err().reason(), Reason::Internal);
}
