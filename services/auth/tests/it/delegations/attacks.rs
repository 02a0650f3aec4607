//! Attacks with delegated tokens. Each names the rule that it breaks.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::token::{DELEGATED_TYPE, SERVICE_TYPE};
use baton_proto::baton::{
    auth::v1::{BatchGetUsersRequest, CheckSessionRequest, GetMeRequest, ListApiKeysRequest, ReauthenticateRequest},
    tenancy::v1::{GetSettingsRequest, ResolveMembershipRequest, account_service_client::AccountServiceClient},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tonic::Code;

use super::*;
use crate::forged_tokens::refusal;

/// A person with a grant of all that a service may be granted, and a token for tenancy.
struct Victim {
    context: TestContext,
    ada: Person,
    account_id: Uuid,
    grant: Delegation,
    token: String,
}

impl Victim {
    async fn set_up() -> Self {
        let context = TestContext::start(&[]).await;
        let ada = context.person("ada").await;
        let account_id = context.account(&ada).await;
        let grant = grant(&context, &ada, account_id, baton_access::SCOPES).await;
        let token = issue(&context, SERVICE, &grant, "tenancy", &[]).await.unwrap();
        Self { context, ada, account_id, grant, token }
    }

    /// The claims of the token.
    fn claims(&self) -> Value {
        let payload = URL_SAFE_NO_PAD.decode(self.token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }

    /// A token with these claims, signed with the key of the installation.
    async fn signed(&self, typ: &str, claims: &Value) -> String {
        let (kid, private) = self.context.signing_key().await;
        let header = Header { kid: Some(kid), typ: Some(typ.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &EncodingKey::from_ed_der(&private)).unwrap()
    }

    async fn members_with(&self, token: &str) -> Option<Reason> {
        let call = list_members(&self.context, &acting(&self.ada, token), self.account_id).await;
        call.err().map(|status| reason(&status).unwrap())
    }
}

#[tokio::test]
async fn token_names_the_service_and_the_person() {
    let victim = Victim::set_up().await;
    let claims = victim.claims();
    // RFC 8693, sections 4.1 and 4.2.
    assert_eq!(claims["act"], json!({"sub": SERVICE}));
    assert_eq!(claims["sub"], json!(victim.ada.user_id));
    assert_eq!((&claims["aud"], &claims["account_id"]), (&json!("baton/tenancy"), &json!(victim.account_id)));
    assert_eq!(claims["grant_id"], json!(victim.grant.id));
    assert_eq!((&claims["cause"]["kind"], &claims["cause"]["depth"]), (&json!("rule"), &json!(1)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
}

#[tokio::test]
async fn token_for_one_audience_account_and_scope_opens_no_other() {
    let victim = Victim::set_up().await;
    let Victim { context, ada, account_id, grant, .. } = &victim;
    assert_eq!(victim.members_with(&victim.token).await, None);
    // RFC 9068, section 4: a token for another service.
    let for_task = issue(context, SERVICE, grant, "task", &[]).await.unwrap();
    assert_eq!(victim.members_with(&for_task).await, Some(Reason::TokenInvalid));
    let me = acting(ada, &for_task).call_without_account(GetMeRequest {});
    assert_eq!(refused(UserServiceClient::new(context.auth()).get_me(me).await), Reason::TokenInvalid);
    // Its own service looks the person up with it.
    assert_eq!(refusal(context, &for_task).await, None);
    let resolve = acting(ada, &for_task).call(*account_id, ResolveMembershipRequest {});
    MemberServiceClient::new(context.tenancy()).resolve_membership(resolve).await.unwrap();
    // Another account of the same person, in the header or in the request.
    let other = context.account(ada).await;
    let status = list_members(context, &acting(ada, &victim.token), other).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotAMember));
    // RFC 6749, section 3.3: another scope.
    let narrow = issue(context, SERVICE, grant, "tenancy", &["tasks:read"]).await.unwrap();
    let request = GetSettingsRequest { account_id: account_id.to_string() };
    let call = acting(ada, &narrow).call(*account_id, request);
    let settings = AccountServiceClient::new(context.tenancy()).get_settings(call).await;
    assert_eq!(refused(settings), Reason::ScopeMissing);
}

#[tokio::test]
async fn replayed_forged_and_altered_tokens_are_refused() {
    let victim = Victim::set_up().await;
    let claims = victim.claims();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    assert_eq!(victim.members_with(&victim.signed(DELEGATED_TYPE, &claims).await).await, None);
    let past = claims["iat"].as_i64().unwrap() - 66;
    let cases = [
        ("RFC 7519, 4.1.4: replayed after 60 seconds", DELEGATED_TYPE, with("exp", json!(past))),
        ("RFC 8725, 3.11: as an access token", "JWT", claims.clone()),
        ("RFC 8725, 3.11: as a service token", SERVICE_TYPE, claims.clone()),
        ("RFC 8725, 3.11: of an unknown type", "at+jwt", claims.clone()),
        ("RFC 7519, 4.1.1: of another issuer", DELEGATED_TYPE, with("iss", json!("https://evil.example"))),
        ("RFC 7519, 4.1.3: for everybody", DELEGATED_TYPE, with("aud", json!("baton"))),
        ("RFC 7519, 4.1.3: for several services", DELEGATED_TYPE, with("aud", json!(["baton/tenancy", "baton/task"]))),
        ("RFC 8693, 4.1: without an actor", DELEGATED_TYPE, with("act", Value::Null)),
        ("CVE-2026-25537: an expiry that is text", DELEGATED_TYPE, with("exp", json!("9999999999"))),
    ];
    for (what, typ, claims) in cases {
        assert_eq!(victim.members_with(&victim.signed(typ, &claims).await).await, Some(Reason::TokenInvalid), "{what}");
    }
    for (what, claims) in [
        ("a grant that never was", with("grant_id", json!(Uuid::now_v7()))),
        ("another person's grant", with("sub", json!(victim.context.person("eve").await.user_id))),
    ] {
        let token = victim.signed(DELEGATED_TYPE, &claims).await;
        assert_eq!(victim.members_with(&token).await, Some(Reason::DelegationEnded), "{what}");
    }
}

#[tokio::test]
async fn another_services_grant_is_as_one_that_never_was() {
    let victim = Victim::set_up().await;
    let unknown = Delegation { id: Uuid::now_v7().to_string(), ..victim.grant.clone() };
    let theirs = issue(&victim.context, "tenancy", &victim.grant, "tenancy", &[]).await.unwrap_err();
    let never = issue(&victim.context, SERVICE, &unknown, "tenancy", &[]).await.unwrap_err();
    assert_eq!(reason(&theirs), Some(Reason::DelegationEnded));
    assert_eq!((theirs.code(), theirs.message()), (never.code(), never.message()));
}

#[tokio::test]
async fn exchange_never_widens_rights() {
    let victim = Victim::set_up().await;
    let Victim { context, ada, account_id, .. } = &victim;
    let account_id = *account_id;
    let other = context.account(ada).await;
    let create = CreateApiKeyRequest {
        name: "script".to_owned(),
        scopes: texts(&["tasks:read"]),
        account_id: Some(account_id.to_string()),
        ..CreateApiKeyRequest::default()
    };
    let mut keys = ApiKeyServiceClient::new(context.auth());
    let key = keys.create_api_key(ada.call_without_account(create)).await.unwrap().into_inner().key;
    let narrow = exchange(context, SERVICE, &ada.token, "tenancy", account_id, &["tasks:read"]).await.unwrap();
    let narrow = narrow.access_token;
    // RFC 8693, section 5: no privilege escalation.
    for (what, service, token, account_id, scopes, expected) in [
        ("a key's missing scope", SERVICE, &key, account_id, ["tasks:write"], Reason::ScopeMissing),
        ("a key for grants", SERVICE, &key, account_id, ["delegate"], Reason::ScopeMissing),
        ("a key's other account", SERVICE, &key, other, ["tasks:read"], Reason::NotAMember),
        ("a token's missing scope", "tenancy", &narrow, account_id, ["members:write"], Reason::ScopeMissing),
        ("a token for grants", "tenancy", &narrow, account_id, ["delegate"], Reason::ScopeMissing),
        ("a token's other account", "tenancy", &narrow, other, ["tasks:read"], Reason::NotAMember),
        ("a token for another service", SERVICE, &narrow, account_id, ["tasks:read"], Reason::TokenInvalid),
        ("a refresh token", SERVICE, &ada.refresh_token, account_id, ["tasks:read"], Reason::TokenInvalid),
    ] {
        let status = exchange(context, service, token, "task", account_id, &scopes).await.unwrap_err();
        assert_eq!(reason(&status), Some(expected), "{what}");
    }
    // The service to which the token was issued exchanges it for another service, and both stay named.
    let next = exchange(context, "tenancy", &narrow, "task", account_id, &["tasks:read"]).await.unwrap();
    let payload = URL_SAFE_NO_PAD.decode(next.access_token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["act"], json!({"sub": "tenancy", "act": {"sub": SERVICE}}));
}

#[tokio::test]
async fn exchange_never_shortens_a_chain_of_causes() {
    let victim = Victim::set_up().await;
    let Victim { context, ada, account_id, .. } = &victim;
    let mut claims = victim.claims();
    claims["cause"]["depth"] = json!(4);
    let deep = victim.signed(DELEGATED_TYPE, &claims).await;
    for (requested, expected) in [(None, 4), (Some(1), 4), (Some(5), 5)] {
        let cause = requested.map(cause);
        let next =
            context.delegated(&acting(ada, &deep), *account_id, ("tenancy", "task"), &["tasks:read"], cause).await;
        let payload = URL_SAFE_NO_PAD.decode(next.token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(claims["cause"]["depth"], json!(expected), "{requested:?}");
    }
}

#[tokio::test]
async fn people_cannot_exchange_or_issue_tokens() {
    let victim = Victim::set_up().await;
    let Victim { context, ada, account_id, grant, token } = &victim;
    for person in [ada.clone(), acting(ada, token)] {
        let message = ExchangeTokenRequest {
            subject_token: ada.token.clone(),
            audience: "task".to_owned(),
            account_id: account_id.to_string(),
            scopes: texts(&["tasks:read"]),
            cause: None,
        };
        let call = person.call_without_account(message);
        assert_eq!(refused(InternalServiceClient::new(context.auth()).exchange_token(call).await), Reason::ServiceOnly);
        let message = IssueDelegatedTokenRequest {
            delegation_id: grant.id.clone(),
            audience: "task".to_owned(),
            scopes: Vec::new(),
            cause: Some(cause(1)),
        };
        let call = person.call_without_account(message);
        let issued = InternalServiceClient::new(context.auth()).issue_delegated_token(call).await;
        assert_eq!(refused(issued), Reason::ServiceOnly);
    }
}

#[tokio::test]
async fn token_is_no_session_service_token_or_key() {
    let victim = Victim::set_up().await;
    let Victim { context, ada, account_id, grant, .. } = &victim;
    let token = issue(context, SERVICE, grant, "auth", &[]).await.unwrap();
    let absent = acting(ada, &token);
    assert_eq!(refusal(context, &token).await, None);
    // ASVS 5.0, 7.5.1: it proves nobody's identity, so it cannot sign in, create keys, or change either.
    let create = CreateApiKeyRequest { name: "all".to_owned(), ..CreateApiKeyRequest::default() };
    let mut keys = ApiKeyServiceClient::new(context.auth());
    assert_eq!(refused(keys.create_api_key(absent.call_without_account(create)).await), Reason::SessionRequired);
    assert_eq!(
        refused(keys.list_api_keys(absent.call_without_account(ListApiKeysRequest {})).await),
        Reason::SessionRequired
    );
    let prove = ReauthenticateRequest { password: Some(PASSWORD.to_owned()), ..ReauthenticateRequest::default() };
    let proof = SessionServiceClient::new(context.auth()).reauthenticate(absent.call_without_account(prove)).await;
    assert_eq!(refused(proof), Reason::SessionRequired);
    let mut grants = DelegationServiceClient::new(context.auth());
    let created = grants.create_delegation(absent.call_without_account(wanted(*account_id, &["tasks:read"]))).await;
    assert_eq!(refused(created), Reason::SessionRequired, "without the scope `delegate`");
    let listed = grants.list_delegations(absent.call_without_account(ListDelegationsRequest {})).await;
    assert_eq!(refused(listed), Reason::SessionRequired);
    let end = absent.call_without_account(EndDelegationRequest { id: grant.id.clone() });
    assert_eq!(refused(grants.end_delegation(end).await), Reason::SessionRequired);
    // RFC 8725, section 3.12: no service takes it for the token of a service.
    let users = BatchGetUsersRequest { ids: vec![ada.user_id.to_string()] };
    let found = InternalServiceClient::new(context.auth()).batch_get_users(absent.call_without_account(users)).await;
    let status = found.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::PermissionDenied, Some(Reason::ServiceOnly)));
    // Nor is it a key: CheckSession names none.
    let checked = client(context).check_session(absent.call_without_account(CheckSessionRequest {})).await.unwrap();
    assert_eq!(checked.into_inner().key, None);
}
