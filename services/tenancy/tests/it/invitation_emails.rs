use baton_proto::baton::{
    events::v1::Envelope,
    tenancy::v1::{AcceptInvitationRequest, GetMemberRequest, ListMembersRequest, MemberEvent, MemberStatus},
};
use baton_testkit::eventually;
use prost::Message;

use super::*;

/// The token in the newest e-mail to a person.
async fn mailed_token(context: &TestContext, to: &Person) -> String {
    let text = eventually(|| async { context.mailbox().mails(Some(&to.email)).into_iter().next() }).await.text;
    let (_, token) = text.split_once("/accept-invitation?token=").unwrap();
    token.split_whitespace().next().unwrap().to_owned()
}

async fn join_by_email(context: &TestContext, person: &Person) -> Member {
    let token = mailed_token(context, person).await;
    let accept = person.call_without_account(AcceptInvitationRequest { token });
    members(context).accept_invitation(accept).await.unwrap().into_inner().member.unwrap()
}

#[tokio::test]
async fn invited_members_join_by_email_link() {
    let context = test_context().await;
    let (ada, bob, cy) = (context.person("ada").await, context.person("bob").await, context.person("cy").await);
    let account_id = context.account(&ada).await;

    let invited = invite(&context, &ada, invitation(account_id, &bob.email, Role::Manager, Some(&ada))).await.unwrap();
    assert_eq!(invited.status(), MemberStatus::Invited);
    assert_eq!((invited.user_id.as_ref(), invited.joined_at.as_ref()), (None, None));
    // An invitee is no member yet.
    let get = GetMemberRequest { account_id: account_id.to_string(), user_id: bob.user_id.to_string() };
    let early = members(&context).get_member(bob.call(account_id, get.clone())).await;
    assert_eq!(refusal(early), Reason::NotAMember);

    let bob_member = join_by_email(&context, &bob).await;
    assert_eq!(bob_member.id, invited.id);
    assert_eq!(bob_member.user_id.as_deref(), Some(bob.user_id.to_string().as_str()));
    assert_eq!((bob_member.status(), bob_member.role()), (MemberStatus::Active, Role::Manager));
    assert_eq!(bob_member.version, invited.version + 1);

    invite(&context, &ada, invitation(account_id, &cy.email, Role::User, Some(&bob))).await.unwrap();
    let cy_member = join_by_email(&context, &cy).await;
    assert_eq!(cy_member.manager_id.as_deref(), Some(bob.user_id.to_string().as_str()));

    let list = ListMembersRequest { account_id: account_id.to_string(), ..Default::default() };
    let listed = members(&context).list_members(cy.call(account_id, list)).await.unwrap().into_inner();
    let emails: Vec<_> = listed.members.iter().map(|member| member.email.as_str()).collect();
    assert_eq!(emails, [&ada.email, &bob.email, &cy.email]);
    let got = members(&context).get_member(cy.call(account_id, get)).await.unwrap().into_inner().member.unwrap();
    assert_eq!(got, bob_member);

    // Published events are in order, and contain ids only.
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let events: Vec<_> = envelopes.iter().map(|bytes| Envelope::decode(bytes.as_slice()).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.r#type.as_str()).collect();
    let expected =
        ["account.created", "member.joined", "member.invited", "member.joined", "member.invited", "member.joined"];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event.account_id == account_id.to_string()));
    let member_event = |at: usize| events[at].payload.as_ref().unwrap().to_msg::<MemberEvent>().unwrap();
    assert_eq!((events[2].subject_id.as_str(), events[2].actor_id.as_str()), (&*invited.id, &*ada.user_id.to_string()));
    assert_eq!(member_event(2).user_id, "");
    assert_eq!((member_event(3).user_id, member_event(3).role()), (bob.user_id.to_string(), Role::Manager));
    assert_eq!(member_event(5).manager_id, bob.user_id.to_string());
    for bytes in envelopes {
        assert!(!String::from_utf8_lossy(&bytes).contains("@example.org"));
    }
}

#[tokio::test]
async fn a_repeated_job_sends_no_email_for_an_accepted_invitation() {
    let context = test_context().await;
    let team = context.team().await;
    let bob = context.person("bob").await;
    let invited =
        invite(&context, &team.owner, invitation(team.account_id, &bob.email, Role::User, None)).await.unwrap();
    let first = mailed_token(&context, &bob).await;
    join_by_email(&context, &bob).await;
    // Repeats the job, as after a worker that dies between sending the e-mail and deleting the job.
    sqlx::query("insert into tenancy.jobs (id, kind, payload) values ($1, 'mail.invitation', $2)")
        .bind(Uuid::now_v7())
        .bind(sqlx::types::Json(
            [("account_id", team.account_id), ("member_id", invited.id.parse().unwrap())]
                .into_iter()
                .collect::<std::collections::HashMap<_, _>>(),
        ))
        .execute(&context.admin())
        .await
        .unwrap();
    eventually(|| async { (count(&context, "select count(*) from tenancy.jobs").await == 0).then_some(()) }).await;
    assert_eq!(context.mailbox().mails(Some(&bob.email)).len(), 1);
    assert_eq!(mailed_token(&context, &bob).await, first);
}
