//! Linking of identities to users.

use baton_proto::baton::auth::v1::{
    ConfirmPasswordResetRequest, Identity, LinkIdentityRequest, ListIdentitiesRequest, LogoutRequest,
    RequestPasswordResetRequest, UnlinkIdentityRequest, password_service_client::PasswordServiceClient,
};
use baton_testkit::{Person, eventually};

use super::*;

impl Fixture {
    async fn identities_of(&self, token: &str) -> Vec<Identity> {
        let listed = self.identities().list_identities(bearer(token, ListIdentitiesRequest {})).await;
        listed.unwrap().into_inner().identities
    }

    async fn begin_link(&self, token: &str, provider: &str, password: &str) -> Result<Redirected, Status> {
        let request = LinkIdentityRequest {
            provider: provider.to_owned(),
            password: password.to_owned(),
            redirect: "/settings".to_owned(),
        };
        let response = self.identities().link_identity(bearer(token, request)).await?.into_inner();
        Ok(Redirected::to(provider, &response.authorization_url, response.browser_token))
    }

    /// Links an identity of a provider to a user.
    async fn link(&self, person: &Person, provider: &str, subject: &str) -> Result<CallbackResponse, Status> {
        let sent = self.begin_link(&person.token, provider, PASSWORD).await?;
        let code = self.code(&sent, self.claims(&sent, subject, &address("there")));
        self.callback(sent.callback_request(&code)).await
    }

    async fn unlink(&self, token: &str, named: &str) -> Result<(), Status> {
        let request = UnlinkIdentityRequest { provider: named.to_owned() };
        self.identities().unlink_identity(bearer(token, request)).await.map(drop)
    }
}

/// CVE-2026-105207: an equal address at two providers does not prove the same user.
#[tokio::test]
async fn equal_address_does_not_link_an_identity() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    let upper = ada.email.to_uppercase();
    for email in [&ada.email, &upper] {
        assert_eq!(refusal(fixture.sign_in("evil", "1", email).await), Reason::IdentityNotLinked);
    }
    assert!(fixture.identities_of(&ada.token).await.is_empty());

    // With Ada's own proof the identity is linked, whatever its address, and signs her in.
    let linked = fixture.link(&ada, "acme", "ada there").await.unwrap();
    assert_eq!(linked.redirect, "https://app.example.org/settings");
    assert!(linked.access_token.is_none() && linked.user.is_none());
    let identity = linked.identity.unwrap();
    assert_eq!(fixture.identities_of(&ada.token).await, std::slice::from_ref(&identity));
    let user = fixture.sign_in("acme", "ada there", &address("there")).await.unwrap().user.unwrap();
    assert_eq!(user.id, ada.user_id.to_string());
    let mails = eventually(|| async {
        let mails = fixture.context.mailbox().mails(Some(&ada.email));
        mails.iter().any(|mail| mail.subject == "Another way to sign in").then_some(mails)
    });
    mails.await;

    // Linking it again changes nothing.
    let again = fixture.link(&ada, "acme", "ada there").await.unwrap().identity.unwrap();
    assert_eq!(again.id, identity.id);
}

#[tokio::test]
async fn linking_requires_a_proof() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    assert_eq!(refusal(fixture.begin_link(&ada.token, "acme", "").await.map(drop)), Reason::ProofRequired);
    let wrong = fixture.begin_link(&ada.token, "acme", "not her password").await.map(drop);
    assert_eq!(refusal(wrong), Reason::ProofInvalid);
    assert_eq!(refusal(fixture.begin_link(&ada.token, "off", PASSWORD).await.map(drop)), Reason::ProviderUnknown);

    // A user without a password must have signed in recently, or signs in again.
    let ben = fixture.sign_in("acme", "ben", &address("ben")).await.unwrap();
    fixture.begin_link(ben.access_token(), "evil", "").await.unwrap();
    sqlx::query("update auth.sessions set created_at = created_at - interval '15 minutes' where user_id = $1::uuid")
        .bind(ben.user.as_ref().unwrap().id.as_str())
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(refusal(fixture.begin_link(ben.access_token(), "evil", "").await.map(drop)), Reason::ProofRequired);
}

/// The attacker starts a linking and has the victim's browser end it: the victim's identity would open the attacker's
/// account, or the attacker's the victim's.
#[tokio::test]
async fn linking_must_end_in_its_browser_and_session() {
    let fixture = Fixture::start().await;
    let (attacker, victim) = (fixture.context.person("attacker").await, fixture.context.person("victim").await);
    let sent = fixture.begin_link(&attacker.token, "acme", PASSWORD).await.unwrap();
    let in_victims = fixture.authorize("acme").await;
    let code = fixture.code(&sent, fixture.claims(&sent, "victim there", &victim.email));
    let elsewhere = CallbackRequest { browser_token: in_victims.browser_token, ..sent.callback_request(&code) };
    assert_eq!(refusal(fixture.callback(elsewhere).await), Reason::OauthStateInvalid);
    assert!(fixture.identities_of(&attacker.token).await.is_empty());

    // The session was closed meanwhile.
    let sent = fixture.begin_link(&victim.token, "acme", PASSWORD).await.unwrap();
    client(&fixture.context).logout(LogoutRequest { refresh_token: victim.refresh_token.clone() }).await.unwrap();
    let code = fixture.code(&sent, fixture.claims(&sent, "victim there", &victim.email));
    assert_eq!(refusal(fixture.callback(sent.callback_request(&code)).await), Reason::SessionClosed);
}

#[tokio::test]
async fn identity_belongs_to_one_user_and_is_unique_per_provider() {
    let fixture = Fixture::start().await;
    let (ada, ben) = (fixture.context.person("ada").await, fixture.context.person("ben").await);
    fixture.link(&ada, "acme", "1").await.unwrap();
    assert_eq!(refusal(fixture.link(&ben, "acme", "1").await), Reason::IdentityTaken);
    assert_eq!(refusal(fixture.link(&ada, "acme", "2").await), Reason::IdentityExists);
    // The same subject of another issuer is another identity.
    fixture.link(&ben, "evil", "1").await.unwrap();

    // Only Ben can unlink Ben's identity.
    let of_ben = &fixture.identities_of(&ben.token).await[0];
    assert_eq!(refusal(fixture.unlink(&ada.token, &of_ben.id).await), Reason::IdentityNotFound);
    fixture.unlink(&ben.token, &of_ben.id).await.unwrap();
    fixture.unlink(&ada.token, "acme").await.unwrap();
    assert_eq!(refusal(fixture.unlink(&ada.token, "acme").await), Reason::IdentityNotFound);
    // Now the identity is free again.
    fixture.link(&ben, "acme", "1").await.unwrap();
}

#[tokio::test]
async fn last_way_to_sign_in_cannot_be_unlinked() {
    let fixture = Fixture::start().await;
    let response = fixture.sign_in("acme", "1", &address("ada")).await.unwrap();
    let token = response.access_token();
    assert_eq!(refusal(fixture.unlink(token, "acme").await), Reason::LastWayToSignIn);
    let sent = fixture.begin_link(token, "evil", "").await.unwrap();
    let code = fixture.code(&sent, fixture.claims(&sent, "2", &address("there")));
    fixture.callback(sent.callback_request(&code)).await.unwrap();
    // Of two parallel calls, the second would unlink the last one.
    let (acme, evil) = tokio::join!(fixture.unlink(token, "acme"), fixture.unlink(token, "evil"));
    assert!(acme.is_ok() != evil.is_ok(), "{acme:?} {evil:?}");
    assert_eq!(refusal(acme.and(evil)), Reason::LastWayToSignIn);
}

/// A stranger with temporary access has linked an identity of theirs.
#[tokio::test]
async fn password_reset_unlinks_later_identities_unless_kept() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    fixture.link(&ada, "evil", "stranger").await.unwrap();
    fixture.link(&ada, "acme", "ada there").await.unwrap();
    let mut passwords = PasswordServiceClient::new(fixture.channel.clone());
    let mut set = async |count: usize, email: &str, keep: &[&str]| {
        let request = RequestPasswordResetRequest { email: email.to_owned() };
        passwords.request_password_reset(request).await.unwrap();
        let token = crate::helpers::link(&fixture.context, email, "/reset-password", count).await;
        let request = ConfirmPasswordResetRequest {
            token,
            new_password: crate::helpers::OTHER.to_owned(),
            keep_identities: keep.iter().map(|&name| name.to_owned()).collect(),
            remove_second_factor: false,
        };
        passwords.confirm_password_reset(request).await.unwrap().into_inner()
    };
    let named = |identities: &[Identity]| identities.iter().map(|it| it.provider.clone()).collect::<Vec<_>>();
    let response = set(1, &ada.email, &["acme", "nothing"]).await;
    assert_eq!(
        (named(&response.unlinked_identities), named(&response.identities)),
        (vec!["evil".into()], vec!["acme".into()])
    );
    let mails = fixture.context.mailbox().mails(Some(&ada.email));
    let mail = mails.iter().find(|mail| mail.text.contains("/reset-password")).unwrap();
    assert!(mail.text.contains("evil (since ") && mail.text.contains("acme (since "), "{}", mail.text);
    assert_eq!(refusal(fixture.sign_in("evil", "stranger", &ada.email).await), Reason::IdentityNotLinked);
    let user = fixture.sign_in("acme", "ada there", &address("there")).await.unwrap().user.unwrap();
    assert_eq!(user.id, ada.user_id.to_string());
    // By default none is kept.
    assert_eq!(named(&set(2, &ada.email, &[]).await.unlinked_identities), ["acme"]);

    // The identity of the registration is kept: no stranger can have linked it.
    let email = address("ben");
    fixture.sign_in("acme", "ben", &email).await.unwrap();
    let response = set(1, &email, &[]).await;
    assert_eq!((named(&response.unlinked_identities), named(&response.identities)), (vec![], vec!["acme".to_owned()]));
}

/// "Classic-federated merge": an attacker registers with another's address and waits for the owner.
#[tokio::test]
async fn unconfirmed_registration_is_replaced_by_the_address_owner() {
    let fixture = Fixture::start().await;
    let email = address("victim");
    let register = RegisterRequest {
        email: email.clone(),
        password: PASSWORD.to_owned(),
        first_name: "Not".to_owned(),
        last_name: "Her".to_owned(),
    };
    client(&fixture.context).register(register).await.unwrap();
    let link = mailed_token(&fixture.context, &email, 1).await;
    let user = fixture.sign_in("acme", "victim", &email).await.unwrap().user.unwrap();
    assert_eq!(user.first_name, "Ada");
    assert_eq!(refusal(login(&fixture.context, &email, PASSWORD).await), Reason::CredentialsInvalid);
    let verified = client(&fixture.context).verify_email(VerifyEmailRequest { token: link, password: None }).await;
    assert_eq!(refusal(verified), Reason::LinkInvalid);
}

#[tokio::test]
async fn closing_session_links_nothing() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    let sent = fixture.begin_link(&ada.token, "acme", PASSWORD).await.unwrap();
    let code = fixture.code(&sent, fixture.claims(&sent, "a stranger", &address("there")));
    let mut other = fixture.context.admin().begin().await.unwrap();
    let close = "update auth.sessions set closed_at = now(), close_reason = 'revoked' where user_id = $1";
    sqlx::query(close).bind(ada.user_id).execute(&mut *other).await.unwrap();
    let closes = async {
        // The callback waits for the session row. Without the lock it would link meanwhile.
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let admin = fixture.context.admin();
        let came = eventually(|| async {
            let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&admin).await.unwrap();
            let linked: i64 =
                sqlx::query_scalar("select count(*) from auth.identities").fetch_one(&admin).await.unwrap();
            (waiting + linked > 0).then_some(linked)
        });
        assert_eq!(came.await, 0, "linked");
        other.commit().await.unwrap();
    };
    let (response, ()) = tokio::join!(fixture.callback(sent.callback_request(&code)), closes);
    assert_eq!(refusal(response), Reason::SessionClosed);
}
