use baton_proto::baton::{
    events::v1::Envelope,
    tenancy::v1::{AcceptInvitationRequest, GetMemberRequest, ListMembersRequest, MemberEvent, MemberStatus},
};
use baton_testkit::eventually;
use prost::Message;

use super::*;

/// The token of the newest mail to someone.
async fn mailed_token(world: &TestContext, to: &Person) -> String {
    let text = eventually(|| async { world.mailbox().mails(Some(&to.email)).into_iter().next() }).await.text;
    let (_, token) = text.split_once("/accept-invitation?token=").unwrap();
    token.split_whitespace().next().unwrap().to_owned()
}

async fn join_by_mail(world: &TestContext, person: &Person) -> Member {
    let token = mailed_token(world, person).await;
    let accept = person.call_without_account(AcceptInvitationRequest { token });
    members(world).accept_invitation(accept).await.unwrap().into_inner().member.unwrap()
}

#[tokio::test]
async fn an_owner_builds_a_team_by_mail() {
    let world = world().await;
    let (ada, bob, cy) = (world.person("ada").await, world.person("bob").await, world.person("cy").await);
    let account_id = world.account(&ada).await;

    let invited = invite(&world, &ada, invitation(account_id, &bob.email, Role::Manager, Some(&ada))).await.unwrap();
    assert_eq!(invited.status(), MemberStatus::Invited);
    assert_eq!((invited.user_id.as_ref(), invited.joined_at.as_ref()), (None, None));
    // Invited is not in yet.
    let get = GetMemberRequest { account_id: account_id.to_string(), user_id: bob.user_id.to_string() };
    let early = members(&world).get_member(bob.call(account_id, get.clone())).await;
    assert_eq!(refusal(early), Reason::NotAMember);

    let bob_in = join_by_mail(&world, &bob).await;
    assert_eq!(bob_in.id, invited.id);
    assert_eq!(bob_in.user_id.as_deref(), Some(bob.user_id.to_string().as_str()));
    assert_eq!((bob_in.status(), bob_in.role()), (MemberStatus::Active, Role::Manager));
    assert_eq!(bob_in.version, invited.version + 1);

    invite(&world, &ada, invitation(account_id, &cy.email, Role::User, Some(&bob))).await.unwrap();
    let cy_in = join_by_mail(&world, &cy).await;
    assert_eq!(cy_in.manager_id.as_deref(), Some(bob.user_id.to_string().as_str()));

    let list = ListMembersRequest { account_id: account_id.to_string(), ..Default::default() };
    let listed = members(&world).list_members(cy.call(account_id, list)).await.unwrap().into_inner();
    let emails: Vec<_> = listed.members.iter().map(|member| member.email.as_str()).collect();
    assert_eq!(emails, [&ada.email, &bob.email, &cy.email]);
    let got = members(&world).get_member(cy.call(account_id, get)).await.unwrap().into_inner().member.unwrap();
    assert_eq!(got, bob_in);

    // What others hear of it: in order, and by ids only.
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&world.admin())
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
async fn a_mail_that_failed_is_not_sent_for_an_invitation_that_ended() {
    let world = world().await;
    let team = world.team().await;
    let bob = world.person("bob").await;
    let invited = invite(&world, &team.owner, invitation(team.account_id, &bob.email, Role::User, None)).await.unwrap();
    let first = mailed_token(&world, &bob).await;
    join_by_mail(&world, &bob).await;
    // The job runs once more, as it does when a worker dies before noting that the mail went out.
    sqlx::query("insert into tenancy.jobs (id, kind, payload) values ($1, 'mail.invitation', $2)")
        .bind(Uuid::now_v7())
        .bind(sqlx::types::Json(
            [("account_id", team.account_id), ("member_id", invited.id.parse().unwrap())]
                .into_iter()
                .collect::<std::collections::HashMap<_, _>>(),
        ))
        .execute(&world.admin())
        .await
        .unwrap();
    eventually(|| async { (count(&world, "select count(*) from tenancy.jobs").await == 0).then_some(()) }).await;
    assert_eq!(world.mailbox().mails(Some(&bob.email)).len(), 1);
    assert_eq!(mailed_token(&world, &bob).await, first);
}
