use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    GetMeRequest, RegisterRequest, VerifyEmailRequest, user_service_client::UserServiceClient,
};
use baton_testkit::{TestContext, eventually, reason};

use crate::{PASSWORD, client, login};

#[tokio::test]
async fn get_me_returns_the_tokens_user() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let mut users = UserServiceClient::new(context.auth());
    for person in [&ada, &ben] {
        let me = users.get_me(person.call_without_account(GetMeRequest {})).await.unwrap().into_inner().user.unwrap();
        assert_eq!((me.id, me.email), (person.user_id.to_string(), person.email.clone()));
    }
    let refused = users.get_me(GetMeRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TokenMissing));
}

#[tokio::test]
async fn unknown_address_and_wrong_password_get_the_same_response() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let wrong = login(&context, &ada.email, "not the password").await.unwrap_err();
    let unknown = login(&context, "nobody@example.org", PASSWORD).await.unwrap_err();
    assert_eq!(reason(&wrong), Some(Reason::CredentialsInvalid));
    assert_eq!(
        (wrong.code(), wrong.message(), wrong.details()),
        (unknown.code(), unknown.message(), unknown.details())
    );
}

#[tokio::test]
async fn excess_parallel_sign_ins_are_refused_at_once() {
    let context = TestContext::start(&[]).await;
    // Unknown addresses cost a full hash each. Two threads and their queues hold 34.
    let calls = (0..80).map(|n| {
        let context = &context;
        async move { login(context, &format!("{n}@example.org"), PASSWORD).await.unwrap_err() }
    });
    let responses = futures_util::future::join_all(calls).await;
    let count = |expected| responses.iter().filter(|status| reason(status) == Some(expected)).count();
    let (busy, served) = (count(Reason::Busy), count(Reason::CredentialsInvalid));
    assert!(busy > 0 && served >= 34, "{busy} refused, {served} served");
    assert_eq!(busy + served, 80);
}

#[tokio::test]
async fn every_spelling_of_address_and_password_signs_in() {
    let context = TestContext::start(&[]).await;
    // A password with an accent and a no-break space, as one keyboard produces it.
    let (composed, decomposed) = ("tidal l\u{e4}ntern orchid", "tidal la\u{308}ntern\u{a0}orchid");
    let request = RegisterRequest {
        email: " Suharto@M\u{fc}nchen.example ".to_owned(),
        password: decomposed.to_owned(),
        first_name: "Suharto".to_owned(),
        last_name: String::new(),
    };
    let user = client(&context).register(request).await.unwrap().into_inner().user.unwrap();
    assert_eq!((user.email.as_str(), user.last_name.as_str()), ("Suharto@m\u{fc}nchen.example", ""));
    // The only email.
    let token = eventually(|| async {
        let mail = context.mailbox().mails(None).pop()?;
        mail.text.split_once("?token=")?.1.split_whitespace().next().map(str::to_owned)
    });
    let request = VerifyEmailRequest { token: token.await, password: None };
    client(&context).verify_email(request).await.unwrap();
    for email in ["suharto@xn--mnchen-3ya.example ", "SUHARTO@mu\u{308}nchen.example"] {
        login(&context, email, composed).await.unwrap();
    }
    // An invalid address is refused by every RPC.
    let refused = login(&context, "john..doe@example.com", PASSWORD).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&refused), Some(baton_errors::Reason::ValidationFailed));
}
