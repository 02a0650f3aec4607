//! Sessions: listing, revocation and security events.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    auth::v1::{
        AuthEventKind, CheckSessionRequest, ListAuthEventsRequest, ListSessionsRequest, LoginRequest, LoginResponse,
        LogoutRequest, RefreshRequest, RevokeAllSessionsRequest, RevokeSessionRequest, Session, UserEvent,
        session_service_client::SessionServiceClient,
    },
    events::v1::Envelope,
};
use baton_testkit::{Person, TestContext, eventually, reason};
use prost::Message;
use tonic::{Code, Request, transport::Channel};

use crate::{PASSWORD, client, from, login};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

fn sessions(context: &TestContext) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(context.auth())
}

async fn sign_in(context: &TestContext, person: &Person, address: &str, user_agent: &str) -> (LoginResponse, Person) {
    let request = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let response = client(context).login(from(request, address, user_agent)).await.unwrap().into_inner();
    let there = Person {
        token: response.access_token().to_owned(),
        refresh_token: response.refresh_token().to_owned(),
        ..person.clone()
    };
    (response, there)
}

async fn open(context: &TestContext, person: &Person) -> Vec<Session> {
    let request = person.call_without_account(ListSessionsRequest { page: None });
    sessions(context).list_sessions(request).await.unwrap().into_inner().sessions
}

async fn assert_signed_out(context: &TestContext, person: &Person) {
    let refused = eventually(|| async {
        client(context).check_session(person.call_without_account(CheckSessionRequest {})).await.err()
    })
    .await;
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::SessionClosed)));
}

/// The sessions in `session.closed` events, in order.
async fn closed_session_events(context: &TestContext) -> Vec<String> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from auth.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let events = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
    let closed = events.filter(|event| event.r#type == "session.closed");
    closed.map(|event| event.payload.unwrap().to_msg::<UserEvent>().unwrap().session_id).collect()
}

#[tokio::test]
async fn sessions_are_listed_with_device_and_address_and_can_be_revoked() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let (_, laptop) = sign_in(&context, &ada, "203.0.113.7", FIREFOX).await;
    let (_, phone) = sign_in(&context, &ada, "2001:db8::1", SAFARI).await;

    let list = open(&context, &phone).await;
    let seen: Vec<_> = list.iter().map(|s| (s.device.as_str(), s.address.as_str(), s.current)).collect();
    assert_eq!(seen[..2], [("Safari on iPhone", "2001:db8::1", true), ("Firefox on Linux", "203.0.113.7", false)]);
    assert_eq!((list.len(), &list[0].amr[..]), (3, &["pwd".to_owned()][..]));

    // A refresh counts as use, and updates the address.
    let request = from(RefreshRequest { refresh_token: laptop.refresh_token.clone() }, "203.0.113.8", FIREFOX);
    client(&context).refresh(request).await.unwrap();
    let moved = &open(&context, &phone).await[1];
    assert_eq!((moved.address.as_str(), moved.device.as_str()), ("203.0.113.8", "Firefox on Linux"));
    let nanos = |session: &Session| session.last_used_at.map(|t| (t.seconds, t.nanos));
    assert!(nanos(moved) > nanos(&list[1]) && moved.created_at == list[1].created_at);

    let revoke = |by: &Person, id: &str| by.call_without_account(RevokeSessionRequest { id: id.to_owned() });
    let refused = sessions(&context).revoke_session(revoke(&ben, &list[1].id)).await.unwrap_err();
    let nobody = sessions(&context).revoke_session(revoke(&ben, &uuid::Uuid::now_v7().to_string())).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SessionNotFound));
    assert_eq!(refused.message(), nobody.message(), "another user's session equals an unknown one");

    for _ in 0..2 {
        sessions(&context).revoke_session(revoke(&phone, &list[1].id)).await.unwrap();
    }
    assert_signed_out(&context, &laptop).await;
    assert_eq!(closed_session_events(&context).await, [list[1].id.as_str()], "once, despite two requests");
    assert_eq!(open(&context, &phone).await.len(), 2);
    client(&context).check_session(phone.call_without_account(CheckSessionRequest {})).await.unwrap();
}

#[tokio::test]
async fn revoke_all_closes_the_other_sessions_or_all() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let (_, here) = sign_in(&context, &ada, "203.0.113.7", FIREFOX).await;
    let [mine, other] = open(&context, &here).await.try_into().unwrap();
    let revoke = |include_current| here.call_without_account(RevokeAllSessionsRequest { include_current });
    for expected in [1, 0] {
        let response = sessions(&context).revoke_all_sessions(revoke(false)).await.unwrap().into_inner();
        assert_eq!(response.revoked_count, expected);
    }
    assert_signed_out(&context, &ada).await;
    assert_eq!(open(&context, &here).await.len(), 1);
    assert_eq!(sessions(&context).revoke_all_sessions(revoke(true)).await.unwrap().into_inner().revoked_count, 1);
    assert_signed_out(&context, &here).await;
    assert_eq!(closed_session_events(&context).await, [other.id, mine.id]);
    assert_eq!(open(&context, &ben).await.len(), 1, "another's sessions stay");
    let closed: i64 = sqlx::query_scalar("select count(*) from auth.sessions where close_reason = 'revoked'")
        .fetch_one(&context.admin())
        .await
        .unwrap();
    assert_eq!(closed, 2);
}

#[tokio::test]
async fn sessions_and_events_are_paged() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    for _ in 0..4 {
        login(&context, &ada.email, PASSWORD).await.unwrap();
    }
    let page = |page, page_token: &str| Some(Page { page, per_page: 2, page_token: page_token.to_owned() });
    let list = |page| ada.call_without_account(ListSessionsRequest { page });
    let first = sessions(&context).list_sessions(list(page(1, ""))).await.unwrap().into_inner();
    let meta = first.meta.unwrap();
    assert_eq!((first.sessions.len(), meta.total_count, meta.total_pages), (2, 5, 3));
    let second = sessions(&context).list_sessions(list(page(0, &meta.next_page_token))).await.unwrap().into_inner();
    let third = sessions(&context).list_sessions(list(page(3, ""))).await.unwrap().into_inner();
    let ids = [first.sessions, second.sessions, third.sessions].concat();
    let ids: Vec<_> = ids.into_iter().map(|session| session.id).collect();
    assert!(ids.len() == 5 && ids.is_sorted_by(|a, b| a > b), "newest first, each once: {ids:?}");

    let events = |page| ada.call_without_account(ListAuthEventsRequest { page });
    let first = sessions(&context).list_auth_events(events(page(1, ""))).await.unwrap().into_inner();
    let meta = first.meta.unwrap();
    let next = sessions(&context).list_auth_events(events(page(0, &meta.next_page_token))).await.unwrap().into_inner();
    assert_eq!((first.events.len(), next.events.len(), meta.total_count), (2, 2, 5));
    assert!(first.events[1].id > next.events[0].id);
}

#[tokio::test]
async fn auth_events_are_listed_for_their_user() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let wrong = LoginRequest { email: ada.email.clone(), password: "not the password".to_owned() };
    client(&context).login(from(wrong, "198.51.100.9", "curl/8.5.0")).await.unwrap_err();
    // The failure is recorded in the background.
    let noted = || async {
        let request = ada.call_without_account(ListAuthEventsRequest { page: None });
        let events = sessions(&context).list_auth_events(request).await.unwrap().into_inner().events;
        (events.len() == 2).then_some(events)
    };
    let events = eventually(noted).await;
    assert_eq!(events[0].kind(), AuthEventKind::SignInFailed);
    assert_eq!((events[0].address.as_str(), events[0].device.as_str()), ("198.51.100.9", "curl"));
    assert_eq!((events[0].user_agent.as_str(), events[0].session_id.as_str()), ("curl/8.5.0", ""));

    let (_, there) = sign_in(&context, &ada, "203.0.113.7", FIREFOX).await;
    let id = open(&context, &there).await[0].id.clone();
    client(&context).logout(LogoutRequest { refresh_token: there.refresh_token.clone() }).await.unwrap();
    let request = ada.call_without_account(ListAuthEventsRequest { page: None });
    let events = sessions(&context).list_auth_events(request).await.unwrap().into_inner().events;
    let seen: Vec<_> = events.iter().map(|event| (event.kind(), event.session_id.as_str())).collect();
    let (signed_out, signed_in) = (AuthEventKind::SignedOut, AuthEventKind::SignedIn);
    assert_eq!(seen[..2], [(signed_out, id.as_str()), (signed_in, id.as_str())]);
    let of_ben = ben.call_without_account(ListAuthEventsRequest { page: None });
    assert_eq!(sessions(&context).list_auth_events(of_ben).await.unwrap().into_inner().events.len(), 1);
}

#[tokio::test]
async fn sign_in_from_a_new_device_or_network_notifies_the_user() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let mails = || context.mailbox().mails(Some(&ada.email)).len();
    sign_in(&context, &ada, "203.0.113.7", FIREFOX).await;
    let mail = eventually(|| async { context.mailbox().mails(Some(&ada.email)).pop() }).await;
    assert_eq!(mail.subject, "New sign-in to Baton");
    assert!(mail.text.contains("Firefox on Linux") && mail.text.contains("203.0.113.7"), "{}", mail.text);

    // The same device, a newer version of the browser, and the same IPv6 network are not new.
    sign_in(&context, &ada, "203.0.113.7", &FIREFOX.replace("142", "143")).await;
    sign_in(&context, &ada, "2001:db8::1", FIREFOX).await;
    eventually(|| async { (mails() == 2).then_some(()) }).await;
    sign_in(&context, &ada, "2001:db8::2", FIREFOX).await;
    // Emails are sent in order, so the next one being the third proves that none came between.
    sign_in(&context, &ada, "203.0.113.7", SAFARI).await;
    eventually(|| async { (mails() == 3).then_some(()) }).await;
    assert!(context.mailbox().mails(Some(&ada.email))[0].text.contains("Safari on iPhone"));
}

#[tokio::test]
async fn new_device_is_notified_after_old_sessions_are_deleted() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    // Sessions that expired long ago are deleted.
    let sweep = "delete from auth.sessions where user_id = $1";
    sqlx::query(sweep).bind(ada.user_id).execute(&context.admin()).await.unwrap();
    sign_in(&context, &ada, "203.0.113.7", FIREFOX).await;
    let mail = eventually(|| async { context.mailbox().mails(Some(&ada.email)).pop() }).await;
    assert_eq!(mail.subject, "New sign-in to Baton");
}

#[tokio::test]
async fn sessions_require_a_caller() {
    let context = TestContext::start(&[]).await;
    let refused = sessions(&context).list_sessions(Request::new(ListSessionsRequest { page: None })).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TokenMissing));
    let ada = context.person("ada").await;
    let bad = ada.call_without_account(RevokeSessionRequest { id: "x".to_owned() });
    assert_eq!(reason(&sessions(&context).revoke_session(bad).await.unwrap_err()), Some(Reason::ValidationFailed));
}
