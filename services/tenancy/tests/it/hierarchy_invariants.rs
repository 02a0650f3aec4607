//! Random sequences of all calls that change rights, by any member, against the real service. Invariants: nobody grants
//! a right that they lack, the hierarchy has no cycles, and an owner remains.

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
    Invite { by: usize, invitee: usize, role: Role, manager: Option<usize> },
    Accept { member: usize },
    Revoke { by: usize },
    Role { by: usize, of: usize, role: Role },
    Manager { by: usize, of: usize, manager: Option<usize> },
    Remove { by: usize, of: usize },
    Leave { member: usize },
    Transfer { by: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0..PEOPLE;
    let role = || prop::sample::select(vec![Role::User, Role::Manager, Role::SuperManager, Role::Owner]);
    prop_oneof![
        4 => (index(), index(), role(), prop::option::of(index()))
            .prop_map(|(by, invitee, role, manager)| Step::Invite { by, invitee, role, manager }),
        4 => index().prop_map(|member| Step::Accept { member }),
        1 => index().prop_map(|by| Step::Revoke { by }),
        4 => (index(), index(), role()).prop_map(|(by, of, role)| Step::Role { by, of, role }),
        3 => (index(), index(), prop::option::of(index())).prop_map(|(by, of, manager)| Step::Manager { by, of, manager }),
        1 => (index(), index()).prop_map(|(by, of)| Step::Remove { by, of }),
        1 => index().prop_map(|member| Step::Leave { member }),
        1 => (index(), index()).prop_map(|(by, to)| Step::Transfer { by, to }),
    ]
}

/// An active membership as stored.
#[derive(Debug, Clone, PartialEq)]
struct Membership {
    role: baton_access::Role,
    manager: Option<Uuid>,
}

async fn active_memberships(context: &TestContext, account_id: Uuid) -> HashMap<Uuid, Membership> {
    let rows: Vec<(Uuid, String, Option<Uuid>)> = sqlx::query_as(
        "select user_id, role, manager_id from tenancy.memberships where account_id = $1 and status = 'active'",
    )
    .bind(account_id)
    .fetch_all(&context.admin())
    .await
    .unwrap();
    let membership = |(id, role, manager): (Uuid, String, _)| {
        (id, Membership { role: baton_access::Role::from_name(&role).unwrap(), manager })
    };
    rows.into_iter().map(membership).collect()
}

/// Open invitations by address: id and role.
async fn open(context: &TestContext, account_id: Uuid) -> HashMap<String, (Uuid, String)> {
    let rows: Vec<(String, Uuid, String)> = sqlx::query_as(
        "select email_key, id, role from tenancy.memberships where account_id = $1 and status = 'invited'",
    )
    .bind(account_id)
    .fetch_all(&context.admin())
    .await
    .unwrap();
    rows.into_iter().map(|(email, id, role)| (email, (id, role))).collect()
}

/// Performs a step.
async fn perform(context: &TestContext, account_id: Uuid, people: &[Person], step: Step) -> Result<(), Status> {
    let (text, id) = (account_id.to_string(), |n: usize| people[n].user_id.to_string());
    let (mut accounts, mut members) = (accounts(context), members(context));
    match step {
        Step::Invite { by, invitee, role, manager } => {
            let request = invitation(account_id, &people[invitee].email, role, manager.map(|n| &people[n]));
            members.invite_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Accept { member } => {
            let Some((id, _)) = open(context, account_id).await.get(&people[member].email).cloned() else {
                return Ok(());
            };
            let token = context.invitation_tokens().issue("invitation", [account_id, id]);
            // The wrong person tries first, and must be refused.
            let wrong = &people[(member + 1) % PEOPLE];
            let request = AcceptInvitationRequest { token };
            let refused = members.accept_invitation(wrong.call_without_account(request.clone())).await;
            assert_eq!(refusal(refused), Reason::InvitationForAnother);
            members.accept_invitation(people[member].call_without_account(request)).await.map(drop)
        }
        Step::Revoke { by } => {
            let Some((id, _)) = open(context, account_id).await.into_values().next() else { return Ok(()) };
            let request = RevokeInvitationRequest { account_id: text, invitation_id: id.to_string() };
            members.revoke_invitation(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Role { by, of, role } => {
            let request = new_role(account_id, &people[of], role);
            members.update_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Manager { by, of, manager } => {
            let request = new_manager(account_id, &people[of], manager.map(|n| &people[n]));
            members.update_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Remove { by, of } => {
            let request = RemoveMemberRequest { account_id: text, user_id: id(of), hand_over_to: None };
            members.remove_member(people[by].call(account_id, request)).await.map(drop)
        }
        Step::Leave { member } => {
            let request = LeaveAccountRequest { account_id: text, hand_over_to: None };
            members.leave_account(people[member].call(account_id, request)).await.map(drop)
        }
        Step::Transfer { by, to } => {
            let request = TransferOwnershipRequest { account_id: text, user_id: id(to) };
            accounts.transfer_ownership(people[by].call(account_id, request)).await.map(drop)
        }
    }
}

/// Checks the invariants after a step.
fn check(
    before: &HashMap<Uuid, Membership>,
    after: &HashMap<Uuid, Membership>,
    people: &[Person],
    step: Step,
    invited: bool,
) {
    assert!(after.values().any(|membership| membership.role == baton_access::Role::Owner), "{step:?}: no owner");
    for &start in after.keys() {
        let (mut at, mut seen) = (start, HashSet::new());
        while let Some(manager) = after[&at].manager {
            assert!(seen.insert(at), "{step:?}: a cycle");
            let above = after.get(&manager).unwrap_or_else(|| panic!("{step:?}: the manager is no active member"));
            assert!(above.role > after[&at].role, "{step:?}: a manager who does not outrank");
            at = manager;
        }
    }
    // A higher role was granted by a member who had it, or by their invitation.
    let (Step::Invite { by, .. }
    | Step::Accept { member: by }
    | Step::Revoke { by }
    | Step::Role { by, .. }
    | Step::Manager { by, .. }
    | Step::Remove { by, .. }
    | Step::Leave { member: by }
    | Step::Transfer { by, .. }) = step;
    let actor = before.get(&people[by].user_id).map(|membership| membership.role);
    for (id, membership) in after {
        if before.get(id).is_none_or(|was| was.role < membership.role) {
            let granted = matches!(step, Step::Accept { .. }) && invited;
            assert!(granted || actor >= Some(membership.role), "{step:?}: {actor:?} made a {:?}", membership.role);
        }
    }
}

#[tokio::test]
async fn any_sequence_of_calls_keeps_rights_hierarchy_and_an_owner() {
    let context = test_context().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(context.person(&format!("p{n}")).await);
    }
    let seed = std::env::var("BATON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("BATON_SEED={seed}");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 4].map(u64::to_le_bytes).concat());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut done = 0;
    for _ in 0..ROUNDS {
        let account_id = context.account(&people[0]).await;
        let mut granted: HashMap<Uuid, baton_access::Role> = HashMap::new();
        for _ in 0..STEPS {
            let step = step().new_tree(&mut runner).unwrap().current();
            let before = active_memberships(&context, account_id).await;
            let outcome = perform(&context, account_id, &people, step).await;
            let after = active_memberships(&context, account_id).await;
            match outcome {
                Ok(()) => {
                    done += 1;
                    if let Step::Invite { by, invitee, .. } = step {
                        let inviter = before[&people[by].user_id].role;
                        granted.insert(people[invitee].user_id, inviter);
                    }
                    let invited = match step {
                        Step::Accept { member } => {
                            let membership = after.get(&people[member].user_id);
                            membership
                                .is_none_or(|membership| granted.get(&people[member].user_id) >= Some(&membership.role))
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
