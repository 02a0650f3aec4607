//! Short random sequences of everything that changes who may do what, by anyone, against the real service:
//! nobody gains a right that who gave it lacked, the tree stays one, and an owner stays.

use std::collections::{HashMap, HashSet};

use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, LeaveAccountRequest, RemoveMemberRequest, RevokeInvitationRequest,
    TransferOwnershipRequest,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;

const PEOPLE: usize = 6;
const STEPS: usize = 24;
const ROUNDS: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Step {
    Invite { by: usize, whom: usize, role: Role, under: Option<usize> },
    Accept { who: usize },
    Revoke { by: usize },
    Role { by: usize, of: usize, role: Role },
    Under { by: usize, of: usize, manager: Option<usize> },
    Remove { by: usize, of: usize },
    Leave { who: usize },
    Transfer { by: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE;
    let role = || prop::sample::select(vec![Role::User, Role::Manager, Role::SuperManager, Role::Owner]);
    prop_oneof![
        4 => (who(), who(), role(), prop::option::of(who()))
            .prop_map(|(by, whom, role, under)| Step::Invite { by, whom, role, under }),
        4 => who().prop_map(|who| Step::Accept { who }),
        1 => who().prop_map(|by| Step::Revoke { by }),
        4 => (who(), who(), role()).prop_map(|(by, of, role)| Step::Role { by, of, role }),
        3 => (who(), who(), prop::option::of(who())).prop_map(|(by, of, manager)| Step::Under { by, of, manager }),
        1 => (who(), who()).prop_map(|(by, of)| Step::Remove { by, of }),
        1 => who().prop_map(|who| Step::Leave { who }),
        1 => (who(), who()).prop_map(|(by, to)| Step::Transfer { by, to }),
    ]
}

/// An active member, as stored.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    role: baton_access::Role,
    manager: Option<Uuid>,
}

async fn places(world: &TestContext, account_id: Uuid) -> HashMap<Uuid, Place> {
    let rows: Vec<(Uuid, String, Option<Uuid>)> = sqlx::query_as(
        "select user_id, role, manager_id from tenancy.memberships where account_id = $1 and status = 'active'",
    )
    .bind(account_id)
    .fetch_all(&world.admin())
    .await
    .unwrap();
    let place = |(id, role, manager): (Uuid, String, _)| {
        (id, Place { role: baton_access::Role::from_name(&role).unwrap(), manager })
    };
    rows.into_iter().map(place).collect()
}

/// Open invitations by address: id and role.
async fn open(world: &TestContext, account_id: Uuid) -> HashMap<String, (Uuid, String)> {
    let rows: Vec<(String, Uuid, String)> = sqlx::query_as(
        "select email_key, id, role from tenancy.memberships where account_id = $1 and status = 'invited'",
    )
    .bind(account_id)
    .fetch_all(&world.admin())
    .await
    .unwrap();
    rows.into_iter().map(|(email, id, role)| (email, (id, role))).collect()
}

async fn take(world: &TestContext, account_id: Uuid, people: &[Person], step: Step) -> Result<(), Status> {
    let (text, id) = (account_id.to_string(), |n: usize| people[n].user_id.to_string());
    let (mut accounts, mut members) = (accounts(world), members(world));
    match step {
        Step::Invite { by, whom, role, under } => {
            let request = invitation(account_id, &people[whom].email, role, under.map(|n| &people[n]));
            members.invite_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Accept { who } => {
            let Some((id, _)) = open(world, account_id).await.get(&people[who].email).cloned() else { return Ok(()) };
            let token = world.invitation_tokens().issue("invitation", [account_id, id]);
            // First by the wrong person, who must not get in by it.
            let wrong = &people[(who + 1) % PEOPLE];
            let request = AcceptInvitationRequest { token };
            let refused = members.accept_invitation(wrong.call_without_account(request.clone())).await;
            assert_eq!(refusal(refused), Reason::InvitationForAnother);
            members.accept_invitation(people[who].call_without_account(request)).await.map(drop)
        }
        Step::Revoke { by } => {
            let Some((id, _)) = open(world, account_id).await.into_values().next() else { return Ok(()) };
            let request = RevokeInvitationRequest { account_id: text, invitation_id: id.to_string() };
            members.revoke_invitation(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Role { by, of, role } => {
            let request = new_role(account_id, &people[of], role);
            members.update_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Under { by, of, manager } => {
            let request = new_manager(account_id, &people[of], manager.map(|n| &people[n]));
            members.update_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Remove { by, of } => {
            let request = RemoveMemberRequest { account_id: text, user_id: id(of), hand_over_to: None };
            members.remove_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Leave { who } => {
            let request = LeaveAccountRequest { account_id: text, hand_over_to: None };
            members.leave_account(people[who].call(account_id, request)).await.map(drop)
        }
        Step::Transfer { by, to } => {
            let request = TransferOwnershipRequest { account_id: text, user_id: id(to) };
            accounts.transfer_ownership(people[by].call(account_id, request)).await.map(drop)
        }
    }
}

fn check(before: &HashMap<Uuid, Place>, after: &HashMap<Uuid, Place>, people: &[Person], step: Step, invited: bool) {
    assert!(after.values().any(|place| place.role == baton_access::Role::Owner), "{step:?}: no owner");
    for &start in after.keys() {
        let (mut at, mut seen) = (start, HashSet::new());
        while let Some(manager) = after[&at].manager {
            assert!(seen.insert(at), "{step:?}: a cycle");
            let above = after.get(&manager).unwrap_or_else(|| panic!("{step:?}: under somebody who is gone"));
            assert!(above.role > after[&at].role, "{step:?}: a manager who does not outrank");
            at = manager;
        }
    }
    // Whoever rose did so by the hand of somebody who had that role, or by an invitation of such a one.
    let (Step::Invite { by, .. }
    | Step::Accept { who: by }
    | Step::Revoke { by }
    | Step::Role { by, .. }
    | Step::Under { by, .. }
    | Step::Remove { by, .. }
    | Step::Leave { who: by }
    | Step::Transfer { by, .. }) = step;
    let actor = before.get(&people[by].user_id).map(|place| place.role);
    for (id, place) in after {
        if before.get(id).is_none_or(|was| was.role < place.role) {
            let granted = matches!(step, Step::Accept { .. }) && invited;
            assert!(granted || actor >= Some(place.role), "{step:?}: {actor:?} made a {:?}", place.role);
        }
    }
}

#[tokio::test]
async fn whatever_is_tried_rights_the_tree_and_an_owner_hold() {
    let world = world().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(world.person(&format!("p{n}")).await);
    }
    let seed = std::env::var("BATON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("BATON_SEED={seed}");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 4].map(u64::to_le_bytes).concat());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut done = 0;
    for _ in 0..ROUNDS {
        let account_id = world.account(&people[0]).await;
        let mut granted: HashMap<Uuid, baton_access::Role> = HashMap::new();
        for _ in 0..STEPS {
            let step = step().new_tree(&mut runner).unwrap().current();
            let before = places(&world, account_id).await;
            let outcome = take(&world, account_id, &people, step).await;
            let after = places(&world, account_id).await;
            match outcome {
                Ok(()) => {
                    done += 1;
                    if let Step::Invite { by, whom, .. } = step {
                        let inviter = before[&people[by].user_id].role;
                        granted.insert(people[whom].user_id, inviter);
                    }
                    let invited = match step {
                        Step::Accept { who } => {
                            let place = after.get(&people[who].user_id);
                            place.is_none_or(|place| granted.get(&people[who].user_id) >= Some(&place.role))
                        }
                        _ => false,
                    };
                    check(&before, &after, &people, step, invited);
                }
                Err(status) => {
                    assert!(reason(&status).is_some_and(|reason| reason.http_status() < 500), "{step:?}: {status:?}");
                    assert_eq!(before, after, "{step:?} was refused and changed something");
                }
            }
        }
    }
    assert!(done > ROUNDS * STEPS / 10, "only {done} steps did anything");
}

fn rand_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}
