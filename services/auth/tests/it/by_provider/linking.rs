//! Whose an identity is.

use baton_proto::baton::auth::v1::{
    ConfirmPasswordResetRequest, Identity, LinkIdentityRequest, ListIdentitiesRequest, LogoutRequest,
    RequestPasswordResetRequest, UnlinkIdentityRequest, password_service_client::PasswordServiceClient,
};
use baton_testkit::{Person, eventually};

use super::*;

impl Stage {
    async fn identities_of(&self, token: &str) -> Vec<Identity> {
        let listed = self.identities().list_identities(bearer(token, ListIdentitiesRequest {})).await;
        listed.unwrap().into_inner().identities
    }

    async fn begin_link(&self, token: &str, provider: &str, password: &str) -> Result<Sent, Status> {
        let request = LinkIdentityRequest {
            provider: provider.to_owned(),
            password: password.to_owned(),
            redirect: "/settings".to_owned(),
        };
        let answer = self.identities().link_identity(bearer(token, request)).await?.into_inner();
        Ok(Sent::to(provider, &answer.authorization_url, answer.browser_token))
    }

    /// Links an identity of a provider to a person.
    async fn link(&self, person: &Person, provider: &str, subject: &str) -> Result<CallbackResponse, Status> {
        let sent = self.begin_link(&person.token, provider, PASSWORD).await?;
        let code = self.code(&sent, self.claims(&sent, subject, &address("there")));
        self.callback(sent.back(&code)).await
    }

    async fn unlink(&self, token: &str, named: &str) -> Result<(), Status> {
        let request = UnlinkIdentityRequest { provider: named.to_owned() };
        self.identities().unlink_identity(bearer(token, request)).await.map(drop)
    }
}

/// CVE-2026-105207: an address that two providers know is no proof that it is one person.
#[tokio::test]
async fn an_address_that_is_somebody_s_already_signs_nobody_in() {
    let stage = Stage::start().await;
    let ada = stage.world.person("ada").await;
    let upper = ada.email.to_uppercase();
    for email in [&ada.email, &upper] {
        assert_eq!(refusal(stage.sign_in("evil", "1", email).await), Reason::IdentityNotLinked);
    }
    assert!(stage.identities_of(&ada.token).await.is_empty());

    // With Ada's own proof it is hers, whatever its address is, and signs her in.
    let linked = stage.link(&ada, "acme", "ada there").await.unwrap();
    assert_eq!(linked.redirect, "https://app.example.org/settings");
    assert!(linked.access_token.is_none() && linked.user.is_none());
    let identity = linked.identity.unwrap();
    assert_eq!(stage.identities_of(&ada.token).await, std::slice::from_ref(&identity));
    let user = stage.sign_in("acme", "ada there", &address("there")).await.unwrap().user.unwrap();
    assert_eq!(user.id, ada.user_id.to_string());
    let mails = eventually(|| async {
        let mails = stage.world.mailbox().mails(Some(&ada.email));
        mails.iter().any(|mail| mail.subject == "Another way to sign in").then_some(mails)
    });
    mails.await;

    // Linking it again changes nothing.
    let again = stage.link(&ada, "acme", "ada there").await.unwrap().identity.unwrap();
    assert_eq!(again.id, identity.id);
}

#[tokio::test]
async fn a_token_alone_links_nothing() {
    let stage = Stage::start().await;
    let ada = stage.world.person("ada").await;
    assert_eq!(refusal(stage.begin_link(&ada.token, "acme", "").await.map(drop)), Reason::ProofRequired);
    let wrong = stage.begin_link(&ada.token, "acme", "not her password").await.map(drop);
    assert_eq!(refusal(wrong), Reason::ProofInvalid);
    assert_eq!(refusal(stage.begin_link(&ada.token, "off", PASSWORD).await.map(drop)), Reason::ProviderUnknown);

    // Who has no password has signed in a moment ago, or does it again.
    let ben = stage.sign_in("acme", "ben", &address("ben")).await.unwrap();
    stage.begin_link(ben.access_token(), "evil", "").await.unwrap();
    sqlx::query("update auth.sessions set created_at = created_at - interval '15 minutes' where user_id = $1::uuid")
        .bind(ben.user.as_ref().unwrap().id.as_str())
        .execute(&stage.world.admin())
        .await
        .unwrap();
    assert_eq!(refusal(stage.begin_link(ben.access_token(), "evil", "").await.map(drop)), Reason::ProofRequired);
}

/// The attacker begins a linking and has the victim's browser end it: the victim's identity would open the
/// attacker's account, or the attacker's the victim's.
#[tokio::test]
async fn a_linking_ends_in_the_browser_and_the_session_that_began_it() {
    let stage = Stage::start().await;
    let (attacker, victim) = (stage.world.person("attacker").await, stage.world.person("victim").await);
    let sent = stage.begin_link(&attacker.token, "acme", PASSWORD).await.unwrap();
    let in_victims = stage.authorize("acme").await;
    let code = stage.code(&sent, stage.claims(&sent, "victim there", &victim.email));
    let elsewhere = CallbackRequest { browser_token: in_victims.browser_token, ..sent.back(&code) };
    assert_eq!(refusal(stage.callback(elsewhere).await), Reason::OauthStateInvalid);
    assert!(stage.identities_of(&attacker.token).await.is_empty());

    // Signed out meanwhile.
    let sent = stage.begin_link(&victim.token, "acme", PASSWORD).await.unwrap();
    client(&stage.world).logout(LogoutRequest { refresh_token: victim.refresh_token.clone() }).await.unwrap();
    let code = stage.code(&sent, stage.claims(&sent, "victim there", &victim.email));
    assert_eq!(refusal(stage.callback(sent.back(&code)).await), Reason::SessionClosed);
}

#[tokio::test]
async fn an_identity_is_one_person_s_and_a_person_has_one_of_each_provider() {
    let stage = Stage::start().await;
    let (ada, ben) = (stage.world.person("ada").await, stage.world.person("ben").await);
    stage.link(&ada, "acme", "1").await.unwrap();
    assert_eq!(refusal(stage.link(&ben, "acme", "1").await), Reason::IdentityTaken);
    assert_eq!(refusal(stage.link(&ada, "acme", "2").await), Reason::IdentityExists);
    // The same subject of another issuer is somebody else.
    stage.link(&ben, "evil", "1").await.unwrap();

    // Ben's are Ben's to unlink.
    let of_ben = &stage.identities_of(&ben.token).await[0];
    assert_eq!(refusal(stage.unlink(&ada.token, &of_ben.id).await), Reason::IdentityNotFound);
    stage.unlink(&ben.token, &of_ben.id).await.unwrap();
    stage.unlink(&ada.token, "acme").await.unwrap();
    assert_eq!(refusal(stage.unlink(&ada.token, "acme").await), Reason::IdentityNotFound);
    // Now it is free again.
    stage.link(&ben, "acme", "1").await.unwrap();
}

#[tokio::test]
async fn nobody_unlinks_their_last_way_to_sign_in() {
    let stage = Stage::start().await;
    let answer = stage.sign_in("acme", "1", &address("ada")).await.unwrap();
    let token = answer.access_token();
    assert_eq!(refusal(stage.unlink(token, "acme").await), Reason::LastWayToSignIn);
    let sent = stage.begin_link(token, "evil", "").await.unwrap();
    let code = stage.code(&sent, stage.claims(&sent, "2", &address("there")));
    stage.callback(sent.back(&code)).await.unwrap();
    // Of two at once, one goes first, and the other is the last.
    let (acme, evil) = tokio::join!(stage.unlink(token, "acme"), stage.unlink(token, "evil"));
    assert!(acme.is_ok() != evil.is_ok(), "{acme:?} {evil:?}");
    assert_eq!(refusal(acme.and(evil)), Reason::LastWayToSignIn);
}

/// A stranger who had the sign-in for a while has linked an identity of theirs.
#[tokio::test]
async fn a_reset_unlinks_what_was_linked_since_registering_but_for_what_is_kept() {
    let stage = Stage::start().await;
    let ada = stage.world.person("ada").await;
    stage.link(&ada, "evil", "stranger").await.unwrap();
    stage.link(&ada, "acme", "ada there").await.unwrap();
    let mut passwords = PasswordServiceClient::new(stage.channel.clone());
    let mut set = async |count: usize, email: &str, keep: &[&str]| {
        let request = RequestPasswordResetRequest { email: email.to_owned() };
        passwords.request_password_reset(request).await.unwrap();
        let token = crate::people::link(&stage.world, email, "/reset-password", count).await;
        let request = ConfirmPasswordResetRequest {
            token,
            new_password: crate::people::OTHER.to_owned(),
            keep_identities: keep.iter().map(|&name| name.to_owned()).collect(),
            remove_second_factor: false,
        };
        passwords.confirm_password_reset(request).await.unwrap().into_inner()
    };
    let named = |identities: &[Identity]| identities.iter().map(|it| it.provider.clone()).collect::<Vec<_>>();
    let answer = set(1, &ada.email, &["acme", "nothing"]).await;
    assert_eq!(
        (named(&answer.unlinked_identities), named(&answer.identities)),
        (vec!["evil".into()], vec!["acme".into()])
    );
    let mails = stage.world.mailbox().mails(Some(&ada.email));
    let mail = mails.iter().find(|mail| mail.text.contains("/reset-password")).unwrap();
    assert!(mail.text.contains("evil (since ") && mail.text.contains("acme (since "), "{}", mail.text);
    assert_eq!(refusal(stage.sign_in("evil", "stranger", &ada.email).await), Reason::IdentityNotLinked);
    let user = stage.sign_in("acme", "ada there", &address("there")).await.unwrap().user.unwrap();
    assert_eq!(user.id, ada.user_id.to_string());
    // Unless they say so, none is kept.
    assert_eq!(named(&set(2, &ada.email, &[]).await.unlinked_identities), ["acme"]);

    // Who registered by a provider goes on by it: nobody else can have linked that.
    let email = address("ben");
    stage.sign_in("acme", "ben", &email).await.unwrap();
    let answer = set(1, &email, &[]).await;
    assert_eq!((named(&answer.unlinked_identities), named(&answer.identities)), (vec![], vec!["acme".to_owned()]));
}

/// "Classic-federated merge": who registers with another's address, and waits until they come.
#[tokio::test]
async fn an_unconfirmed_registration_is_the_address_owner_s_to_replace() {
    let stage = Stage::start().await;
    let email = address("victim");
    let register = RegisterRequest {
        email: email.clone(),
        password: PASSWORD.to_owned(),
        first_name: "Not".to_owned(),
        last_name: "Her".to_owned(),
    };
    client(&stage.world).register(register).await.unwrap();
    let link = mailed_token(&stage.world, &email, 1).await;
    let user = stage.sign_in("acme", "victim", &email).await.unwrap().user.unwrap();
    assert_eq!(user.first_name, "Ada");
    assert_eq!(refusal(login(&stage.world, &email, PASSWORD).await), Reason::CredentialsInvalid);
    let verified = client(&stage.world).verify_email(VerifyEmailRequest { token: link, password: None }).await;
    assert_eq!(refusal(verified), Reason::LinkInvalid);
}

#[tokio::test]
async fn a_session_that_is_about_to_close_links_nothing() {
    let stage = Stage::start().await;
    let ada = stage.world.person("ada").await;
    let sent = stage.begin_link(&ada.token, "acme", PASSWORD).await.unwrap();
    let code = stage.code(&sent, stage.claims(&sent, "a stranger", &address("there")));
    let mut other = stage.world.admin().begin().await.unwrap();
    let close = "update auth.sessions set closed_at = now(), close_reason = 'revoked' where user_id = $1";
    sqlx::query(close).bind(ada.user_id).execute(&mut *other).await.unwrap();
    let closes = async {
        // The callback waits for the session; without that it would link meanwhile.
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let admin = stage.world.admin();
        let came = eventually(|| async {
            let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&admin).await.unwrap();
            let linked: i64 =
                sqlx::query_scalar("select count(*) from auth.identities").fetch_one(&admin).await.unwrap();
            (waiting + linked > 0).then_some(linked)
        });
        assert_eq!(came.await, 0, "linked");
        other.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(stage.callback(sent.back(&code)), closes);
    assert_eq!(refusal(answer), Reason::SessionClosed);
}
