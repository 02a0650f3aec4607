use baton_errors::Reason;
use baton_proto::{
    baton::auth::v1::{LoginRequest, UpdateMeRequest, User, UserChange},
    convert::{to_object, to_struct},
};
use baton_testkit::{PASSWORD, Person, TestContext};
use serde_json::{Value, json};
use tonic::{Request, Status};

use crate::{
    client,
    helpers::{from, me, refusal, users},
};

fn change(mask: &[&str], user: UserChange) -> UpdateMeRequest {
    let paths = mask.iter().map(|&path| path.to_owned()).collect();
    UpdateMeRequest { user: Some(user), update_mask: Some(prost_types::FieldMask { paths }) }
}

async fn update(context: &TestContext, request: Request<UpdateMeRequest>) -> Result<User, Status> {
    users(context).update_me(request).await.map(|response| response.into_inner().user.unwrap())
}

fn preferences(user: &User) -> Value {
    to_object(user.preferences.clone().unwrap()).into()
}

fn object(value: Value) -> prost_types::Struct {
    let Value::Object(members) = value else { panic!("an object") };
    to_struct(members)
}

#[tokio::test]
async fn update_changes_only_the_fields_in_the_mask() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let before = me(&context, &ada).await;
    assert_eq!((before.version, before.timezone.as_str(), before.language.as_str()), (1, "UTC", "en"));

    let new = UserChange {
        first_name: " Augusta ".to_owned(),
        mobile: "+44 20 7946 0018".to_owned(),
        company: "Engines".to_owned(),
        timezone: "Europe/London".to_owned(),
        language: "en-gb".to_owned(),
        preferences: Some(object(json!({"theme": "dark"}))),
        // Not in the mask.
        last_name: "King".to_owned(),
        ..Default::default()
    };
    let mask = ["first_name", "mobile", "company", "timezone", "language", "preferences"];
    let request = || ada.call_without_account(change(&mask, new.clone()));
    let changed = update(&context, request()).await.unwrap();
    assert_eq!((changed.version, changed.first_name.as_str(), changed.last_name.as_str()), (2, "Augusta", "Tester"));
    assert_eq!((changed.mobile.as_str(), changed.language.as_str()), ("+442079460018", "en-GB"));
    assert_eq!((preferences(&changed), changed.consent_version), (json!({"theme": "dark"}), 0));
    assert_eq!(me(&context, &ada).await, changed);
    assert_eq!(update(&context, request()).await.unwrap(), changed, "a retry changes nothing");
    assert_eq!(me(&context, &ben).await.first_name, "ben", "only the user's own");

    let one = ada.call_without_account(change(
        &["preferences.rows"],
        UserChange { preferences: Some(object(json!({"rows": 50, "unnamed": 1}))), ..Default::default() },
    ));
    assert_eq!(preferences(&update(&context, one).await.unwrap()), json!({"theme": "dark", "rows": 50}));
}

#[tokio::test]
async fn read_only_fields_are_refused() {
    // OWASP API3:2023, mass assignment.
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let before = me(&context, &ada).await;
    for path in ["email", "email_verified", "sign_in_count", "id", "version", "data_retention_date", "password", "role"]
    {
        let response =
            update(&context, ada.call_without_account(change(&["company", path], UserChange::default()))).await;
        assert_eq!(refusal(response), Reason::ValidationFailed, "{path}");
    }
    let nul = UserChange { company: "nul\0".to_owned(), ..Default::default() };
    let response = update(&context, ada.call_without_account(change(&["company"], nul))).await;
    assert_eq!(refusal(response), Reason::ValidationFailed);
    assert_eq!(me(&context, &ada).await, before);
}

#[tokio::test]
async fn second_update_of_one_version_is_refused() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let call = |ada: &Person, company: &str| {
        let new = UserChange { company: company.to_owned(), ..Default::default() };
        let mut request = ada.call_without_account(change(&["company"], new));
        request.metadata_mut().insert("if-match", "\"1\"".parse().unwrap());
        request
    };
    let (a, b) = tokio::join!(update(&context, call(&ada, "A")), update(&context, call(&ada, "B")));
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert_eq!(refusal(lost), Reason::VersionMismatch);
    assert_eq!(me(&context, &ada).await, won.unwrap());
}

#[tokio::test]
async fn sign_ins_are_counted_with_their_addresses() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let first = me(&context, &ada).await;
    assert_eq!((first.sign_in_count, first.last_sign_in_at, first.version), (1, None, 1));
    let login = || LoginRequest { email: ada.email.clone(), password: PASSWORD.to_owned() };
    client(&context).login(from("203.0.113.7".parse().unwrap(), login())).await.unwrap();
    let wrong = LoginRequest { password: "wrong".to_owned(), ..login() };
    client(&context).login(from("203.0.113.8".parse().unwrap(), wrong)).await.unwrap_err();
    let second = me(&context, &ada).await;
    assert_eq!((second.sign_in_count, second.current_sign_in_address.as_str()), (2, "203.0.113.7"));
    assert_eq!(second.last_sign_in_at, first.current_sign_in_at);
    assert_eq!(second.last_sign_in_address, first.current_sign_in_address);
    assert_eq!(second.version, 1, "a sign-in does not change the profile");
}

#[tokio::test]
async fn mailed_links_do_not_reveal_the_profile() {
    use baton_proto::baton::auth::v1::VerifyEmailRequest;

    let context = TestContext::start(&[]).await;
    client(&context).register(crate::registration("ada@example.org")).await.unwrap();
    let token = crate::mailed_token(&context, "ada@example.org", 1).await;
    let verify =
        async || client(&context).verify_email(VerifyEmailRequest { token: token.clone(), password: None }).await;
    verify().await.unwrap();
    crate::login(&context, "ada@example.org", PASSWORD).await.unwrap();
    let user = verify().await.unwrap().into_inner().user.unwrap();
    assert!(user.email_verified);
    assert_eq!((user.sign_in_count, user.current_sign_in_at, user.preferences, user.version), (0, None, None, 0));
}
