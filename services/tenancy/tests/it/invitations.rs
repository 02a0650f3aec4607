use baton_proto::baton::tenancy::v1::{AcceptInvitationRequest, MemberStatus, RemoveMemberRequest};
use baton_runtime::Clock;
use baton_tenancy::{Config, SPEC, start};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn an_address_is_invited_once() {
    let context = test_context().await;
    let team = context.team().await;
    let bob = context.person("bob").await;
    let request = |email: &str| invitation(team.account_id, email, Role::User, Some(&team.manager_a));
    invite(&context, &team.owner, request(&bob.email)).await.unwrap();
    for email in [&bob.email, &bob.email.to_uppercase(), &team.user_a1.email] {
        let again = members(&context).invite_member(team.owner.call(team.account_id, request(email))).await;
        assert_eq!(refusal(again), Reason::MemberExists, "{email}");
    }
    // The address is free in other accounts.
    let other = context.team().await;
    invite(&context, &other.owner, invitation(other.account_id, &bob.email, Role::User, None)).await.unwrap();
}

#[tokio::test]
async fn concurrent_invitations_of_an_address_have_one_winner() {
    let context = test_context().await;
    let team = context.team().await;
    let request = || invitation(team.account_id, "bob@example.org", Role::User, None);
    let responses = join_all((0..20).map(|_| invite(&context, &team.owner, request()))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    for refused in responses.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&refused), Some(Reason::MemberExists), "{refused:?}");
    }
}

#[tokio::test]
async fn a_repeated_idempotency_key_invites_once_with_the_same_response() {
    let context = test_context().await;
    let team = context.team().await;
    let call = |email: &str| {
        let request = invitation(team.account_id, email, Role::User, Some(&team.manager_a));
        with_metadata(team.owner.call(team.account_id, request), "idempotency-key", "k1")
    };
    let responses = join_all((0..20).map(|_| {
        let (mut client, request) = (members(&context), call("bob@example.org"));
        async move { client.invite_member(request).await.unwrap().into_inner() }
    }))
    .await;
    assert!(responses.iter().all(|response| response == &responses[0]), "{responses:?}");
    assert_eq!(count(&context, "select count(*) from tenancy.memberships where status = 'invited'").await, 1);
    baton_testkit::eventually(|| async {
        (!context.mailbox().mails(Some("bob@example.org")).is_empty()).then_some(())
    })
    .await;
    assert_eq!(context.mailbox().mails(Some("bob@example.org")).len(), 1);
    assert_eq!(refusal(members(&context).invite_member(call("cy@example.org")).await), Reason::IdempotencyKeyReused);
    let wrong = with_metadata(call("bob@example.org"), "idempotency-key", "");
    assert_eq!(refusal(members(&context).invite_member(wrong).await), Reason::IdempotencyKeyInvalid);
}

#[tokio::test]
async fn a_higher_role_or_an_invalid_manager_is_refused() {
    let context = test_context().await;
    let team = context.team().await;
    let foreign = context.team().await.owner;
    let removed = context.person("removed").await;
    context.join(team.account_id, &removed, baton_access::Role::Manager, None).await;
    let remove = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: removed.user_id.to_string(),
        hand_over_to: None,
    };
    members(&context).remove_member(team.owner.call(team.account_id, remove)).await.unwrap();

    let before = count(&context, "select count(*) from tenancy.memberships").await;
    let events = count(&context, "select count(*) from tenancy.outbox").await;
    for (by, role, manager, expected) in [
        (&team.user_a1, Role::User, None, Reason::PermissionMissing),
        (&team.manager_a, Role::User, None, Reason::PermissionMissing),
        (&team.super_manager, Role::Owner, None, Reason::RoleNotGrantable),
        (&team.owner, Role::Manager, Some(&team.manager_a), Reason::ManagerInvalid),
        (&team.owner, Role::User, Some(&team.user_a1), Reason::ManagerInvalid),
        (&team.owner, Role::Owner, Some(&team.owner), Reason::ManagerInvalid),
        (&team.owner, Role::User, Some(&foreign), Reason::ManagerInvalid),
        (&team.owner, Role::User, Some(&removed), Reason::ManagerInvalid),
        (&team.owner, Role::Unspecified, None, Reason::ValidationFailed),
    ] {
        let request = by.call(team.account_id, invitation(team.account_id, "x@example.org", role, manager));
        assert_eq!(refusal(members(&context).invite_member(request).await), expected, "{role:?}");
    }
    let request = team.owner.call(team.account_id, invitation(team.account_id, "nonsense", Role::User, None));
    assert_eq!(refusal(members(&context).invite_member(request).await), Reason::ValidationFailed);
    assert_eq!(count(&context, "select count(*) from tenancy.memberships").await, before);
    assert_eq!(count(&context, "select count(*) from tenancy.outbox").await, events);

    for (by, email, role) in
        [(&team.super_manager, "s@example.org", Role::SuperManager), (&team.owner, "o@example.org", Role::Owner)]
    {
        invite(&context, by, invitation(team.account_id, email, role, None)).await.unwrap();
    }
}

#[tokio::test]
async fn an_invitation_expires_after_fourteen_days_and_can_be_replaced() {
    let context = test_context().await;
    let team = context.team().await;
    let bob = context.person("bob").await;
    let clock = Clock::fixed(Utc::now());
    let config = Config::from_env(&SPEC, &context.env()).unwrap();
    let channel = context.spawn(|listener, shutdown| start(config, clock.clone(), listener, shutdown)).await;
    let mut client = MemberServiceClient::new(channel);
    let mut invite = async || {
        let request = invitation(team.account_id, &bob.email, Role::User, None);
        client.invite_member(team.owner.call(team.account_id, request)).await
    };
    let first = invite().await.unwrap().into_inner().member.unwrap();
    clock.advance(TimeDelta::days(14) - TimeDelta::seconds(1));
    assert_eq!(refusal(invite().await), Reason::MemberExists);
    clock.advance(TimeDelta::seconds(1));

    let token = |member: &Member| {
        let ids = [team.account_id, member.id.parse().unwrap()];
        AcceptInvitationRequest { token: context.invitation_tokens().issue("invitation", ids) }
    };
    let second = invite().await.unwrap().into_inner().member.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(refusal(client.accept_invitation(bob.call_without_account(token(&first))).await), Reason::LinkInvalid);
    let joined = client.accept_invitation(bob.call_without_account(token(&second))).await.unwrap().into_inner();
    assert_eq!(joined.member.unwrap().status(), MemberStatus::Active);

    // An expired link is refused without a newer invitation as well.
    let cy = context.person("cy").await;
    let request = invitation(team.account_id, &cy.email, Role::User, None);
    let old = client.invite_member(team.owner.call(team.account_id, request)).await.unwrap().into_inner();
    clock.advance(TimeDelta::days(14));
    let late = client.accept_invitation(cy.call_without_account(token(&old.member.unwrap()))).await;
    assert_eq!(refusal(late), Reason::LinkInvalid);
}

#[tokio::test]
async fn addresses_are_validated_and_normalized() {
    let context = test_context().await;
    let team = context.team().await;
    for bad in [
        "john..doe@example.com",
        "\"john doe\"@example.com",
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@[192.0.2.1]",
    ] {
        let refused =
            invite(&context, &team.owner, invitation(team.account_id, bad, Role::User, None)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed), "{bad}");
        let details = tonic_types::StatusExt::get_details_bad_request(&refused).unwrap();
        assert_eq!(details.field_violations[0].field, "email");
    }
    let invited = invite(
        &context,
        &team.owner,
        invitation(team.account_id, " Jose\u{301}@MU\u{308}NCHEN.example ", Role::User, None),
    );
    assert_eq!(invited.await.unwrap().email, "José@münchen.example");
    let again = invitation(team.account_id, "jos\u{e9}@xn--mnchen-3ya.example", Role::User, None);
    assert_eq!(
        refusal(members(&context).invite_member(team.owner.call(team.account_id, again)).await),
        Reason::MemberExists
    );
    // The e-mail goes to the ASCII form of the domain.
    let to = "José@xn--mnchen-3ya.example";
    baton_testkit::eventually(|| async { (!context.mailbox().mails(Some(to)).is_empty()).then_some(()) }).await;
}

#[tokio::test]
async fn an_undeliverable_invitation_ends() {
    let context = test_context().await;
    let team = context.team().await;
    // The domain cannot exist (RFC 6761), so the server refuses permanently.
    let invited = invitation(team.account_id, "nobody@nowhere.invalid", Role::User, None);
    invite(&context, &team.owner, invited).await.unwrap();
    let undeliverable =
        "select count(*) from tenancy.memberships where email_key like '%.invalid' and status = 'removed'";
    baton_testkit::eventually(|| async { (count(&context, undeliverable).await == 1).then_some(()) }).await;
    baton_testkit::eventually(|| async {
        (count(&context, "select count(*) from tenancy.jobs").await == 0).then_some(())
    })
    .await;
    let seats = "select count(*) from tenancy.memberships where status = 'invited'";
    assert_eq!(count(&context, seats).await, 0, "it holds no seat");
    let published: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let kinds: Vec<String> = published
        .iter()
        .map(|envelope| {
            <baton_proto::baton::events::v1::Envelope as prost::Message>::decode(&**envelope).unwrap().r#type
        })
        .collect();
    assert!(kinds.iter().any(|kind| kind == "member.invitation_undeliverable"), "{kinds:?}");
}
