//! Whatever happens to roles, the hierarchy, memberships and rules: what a rule does is what its creator could do by hand at that
//! moment. Each event happens to two equal tasks. The rule acts on one; its creator does the same by hand on the copy.

use baton_errors::Reason;
use baton_proto::baton::{
    automation::v1::{AdoptAutomationRequest, Automation, ToggleAutomationRequest, TriggerType},
    task::v1::{
        AssignTaskRequest, CancelTaskRequest, CreateCommentRequest, CreateTaskRequest, GetTaskRequest,
        ReassignTaskRequest, ReopenTaskRequest, Task, TaskChange, TaskStatus, TaskVisibility, UpdateTaskRequest,
        comment_service_client::CommentServiceClient,
    },
    tenancy::v1::{
        MemberChange, RemoveMemberRequest, Role, UpdateMemberRequest, member_service_client::MemberServiceClient,
    },
};
use baton_testkit::{Person, reason};
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use prost_types::FieldMask;
use serde_json::json;
use tonic::Status;
use uuid::Uuid;

use crate::fixture::Fixture;

/// Something that happens. Indexes are those of people, rules and pairs of tasks.
#[derive(Debug, Clone)]
enum Step {
    /// An event on a pair of tasks, on which a rule runs.
    Event {
        rule: Index,
        pair: Index,
    },
    /// The owner reopens a pair of tasks.
    Reopen {
        pair: Index,
    },
    /// The owner gives a member another role, and a manager if they need one.
    Role {
        person: Index,
        role: Index,
        manager: Index,
    },
    Remove {
        person: Index,
    },
    Toggle {
        rule: Index,
    },
    Adopt {
        rule: Index,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        14 => (index(), index()).prop_map(|(rule, pair)| Step::Event { rule, pair }),
        1 => index().prop_map(|pair| Step::Reopen { pair }),
        3 => (index(), index(), index()).prop_map(|(person, role, manager)| Step::Role { person, role, manager }),
        1 => index().prop_map(|person| Step::Remove { person }),
        1 => index().prop_map(|rule| Step::Toggle { rule }),
        1 => index().prop_map(|rule| Step::Adopt { rule }),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Describe,
    Comment,
    Assign,
    Cancel,
    CreateSubtask,
}

const VERBS: [Verb; 5] = [Verb::Describe, Verb::Comment, Verb::Assign, Verb::Cancel, Verb::CreateSubtask];

struct World {
    fixture: Fixture,
    people: Vec<Person>,
    rules: Vec<(Automation, Verb)>,
    /// Tasks on which rules act, and their copies.
    pairs: Vec<[String; 2]>,
    /// The number of the next event.
    next: usize,
    compared: usize,
}

impl World {
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let team = &fixture.team;
        let people =
            [&team.super_manager, &team.manager_a, &team.manager_b, &team.user_a1, &team.user_a2, &team.user_b1]
                .map(Clone::clone);
        fixture.set_handle(&team.user_a2, "chosen").await;
        let mut rules = Vec::new();
        for person in &people {
            for verb in VERBS {
                let action = match verb {
                    Verb::Describe => json!({"type": "set_field", "field": "description", "value": "{{title}}"}),
                    Verb::Comment => json!({"type": "add_comment", "message": "Seen"}),
                    Verb::Assign => json!({"type": "assign", "to": "@chosen"}),
                    Verb::Cancel => json!({"type": "cancel"}),
                    Verb::CreateSubtask => json!({"type": "create_task", "title": "After it", "subtask": true}),
                };
                let mark = format!("rule {} ", rules.len());
                let conditions = json!({"fields": ["title"], "field": "title", "op": "contains", "value": mark});
                rules.push((fixture.rule(person, TriggerType::TaskUpdated, conditions, &[action]).await, verb));
            }
        }
        let mut pairs = Vec::new();
        for (creator, visibility, assignee) in [
            (&people[1], TaskVisibility::Private, Some(&people[3])),
            (&people[5], TaskVisibility::Account, None),
            (&people[2], TaskVisibility::Team, Some(&people[5])),
            (&people[4], TaskVisibility::Team, None),
        ] {
            let create = async || {
                let new = CreateTaskRequest {
                    title: "Ship it".to_owned(),
                    visibility: visibility.into(),
                    assigned_to: assignee.map(|person| person.user_id.to_string()),
                    ..Default::default()
                };
                fixture.create_with(creator, new).await.id
            };
            pairs.push([create().await, create().await]);
        }
        Self { fixture, people: people.to_vec(), rules, pairs, next: 0, compared: 0 }
    }

    async fn happen(&mut self, step: &Step) {
        let (fixture, owner) = (&self.fixture, &self.fixture.team.owner);
        let account_id = fixture.team.account_id.to_string();
        let mut members = MemberServiceClient::new(fixture.context.tenancy());
        match step {
            Step::Event { rule, pair } => {
                let (rule, pair) = (rule.index(self.rules.len()), pair.index(self.pairs.len()));
                return self.compare(rule, pair).await;
            }
            Step::Reopen { pair } => {
                for id in &self.pairs[pair.index(self.pairs.len())] {
                    let message = ReopenTaskRequest { id: id.clone(), ..Default::default() };
                    fixture.tasks().reopen_task(fixture.call(owner, message)).await.ok();
                }
                return;
            }
            Step::Role { person, role, manager } => {
                let role = [Role::User, Role::Manager, Role::SuperManager][role.index(3)];
                // Of the owner, or of one of the first three: whoever has the rank.
                let managers = [owner, &self.people[0], &self.people[1], &self.people[2]];
                let member = MemberChange {
                    role: role.into(),
                    manager_id: Some(managers[manager.index(4)].user_id.to_string()),
                    can_reassign_tasks: manager.index(3) == 0,
                };
                let paths = ["role", "manager_id", "can_reassign_tasks"].map(str::to_owned).to_vec();
                let message = UpdateMemberRequest {
                    account_id,
                    user_id: self.people[person.index(6)].user_id.to_string(),
                    member: Some(member),
                    update_mask: Some(FieldMask { paths }),
                };
                members.update_member(fixture.call(owner, message)).await.ok();
            }
            Step::Remove { person } => {
                let user_id = self.people[person.index(6)].user_id.to_string();
                let message = RemoveMemberRequest { account_id, user_id, ..Default::default() };
                members.remove_member(fixture.call(owner, message)).await.ok();
            }
            Step::Toggle { rule } => {
                let (rule, _) = &self.rules[rule.index(self.rules.len())];
                let (_, creator) = self.state_of(rule).await;
                let message = ToggleAutomationRequest { id: rule.id.clone(), enabled: None };
                fixture.rules().toggle_automation(fixture.call(&creator, message)).await.ok();
            }
            Step::Adopt { rule } => {
                let (rule, _) = &self.rules[rule.index(self.rules.len())];
                let message = AdoptAutomationRequest { id: rule.id.clone() };
                fixture.rules().adopt_automation(fixture.call(&self.people[0], message)).await.ok();
            }
        }
        // After one second, nothing acts with older rights.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }

    /// Whether a rule is enabled, and with whose rights it acts.
    async fn state_of(&self, rule: &Automation) -> (bool, Person) {
        let id: Uuid = rule.id.parse().unwrap();
        let (enabled, creator): (bool, Uuid) =
            sqlx::query_as("select enabled, created_by from automation.rules where id = $1")
                .bind(id)
                .fetch_one(&self.fixture.context.admin())
                .await
                .unwrap();
        (enabled, self.people.iter().find(|person| person.user_id == creator).unwrap().clone())
    }

    /// Outcomes and reasons of a rule's executions, oldest first.
    async fn outcomes(&self, rule: &Automation) -> Vec<(String, Option<String>)> {
        let id: Uuid = rule.id.parse().unwrap();
        sqlx::query_as(
            "select actions->0->>'outcome', coalesce(actions->0->>'reason', reason) from automation.executions
             where rule_id = $1 order by started_at",
        )
        .bind(id)
        .fetch_all(&self.fixture.context.admin())
        .await
        .unwrap()
    }

    /// The rule acts on a task, and then its creator on the copy: with the same verdict.
    async fn compare(&mut self, rule: usize, pair: usize) {
        let (fixture, owner, [id, copy]) = (&self.fixture, &self.fixture.team.owner, &self.pairs[pair]);
        let (rule, verb) = &self.rules[rule];
        let before = self.outcomes(rule).await.len();
        let (enabled, creator) = self.state_of(rule).await;
        let mark = self.rules.iter().position(|(other, _)| other.id == rule.id).unwrap();
        let title = |what: &str| format!("{what} {mark} {}", self.next);
        fixture.touch(owner, copy, &title("copy")).await;
        fixture.touch(owner, id, &title("rule")).await;
        fixture.settle().await;
        let found = self.outcomes(rule).await.split_off(before);
        let by_hand = if enabled { self.act(&creator, *verb, copy).await } else { None };
        let expected: Vec<_> = by_hand.into_iter().collect();
        let found: Vec<_> = found.into_iter().map(|(outcome, reason)| (outcome == "succeeded", reason)).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|verdict| (verdict.is_ok(), verdict.err().map(|it| it.name().to_owned())))
            .collect();
        assert_eq!(found, expected, "{verb:?} by {} on pair {pair}, as a rule and by hand", creator.user_id);
        self.next += 1;
        self.compared += found.len();
    }

    /// Does by hand what a rule does: `None` if the person does not see the task.
    async fn act(&self, person: &Person, verb: Verb, id: &str) -> Option<Result<(), Reason>> {
        let (fixture, id) = (&self.fixture, id.to_owned());
        let get = GetTaskRequest { id: id.clone(), as_of: None };
        let task = fixture.tasks().get_task(fixture.call(person, get)).await.ok()?.into_inner().task.unwrap();
        let mut tasks = fixture.tasks();
        let done: Result<(), Status> = match verb {
            Verb::Describe => {
                let change = TaskChange { description: task.title, ..Default::default() };
                let update_mask = Some(FieldMask { paths: vec!["description".to_owned()] });
                let message = UpdateTaskRequest { id, task: Some(change), update_mask };
                tasks.update_task(fixture.call(person, message)).await.map(drop)
            }
            Verb::Comment => {
                let message = CreateCommentRequest { task_id: id, body: "Seen".to_owned(), ..Default::default() };
                let mut comments = CommentServiceClient::new(fixture.task_channel());
                comments.create_comment(fixture.call(person, message)).await.map(drop)
            }
            Verb::Assign => {
                let assigned_to = self.people[4].user_id.to_string();
                let is_assigned = task.assigned_to.as_ref() == Some(&assigned_to);
                match &task.assigned_to {
                    Some(_) => {
                        let message = ReassignTaskRequest { id, assigned_to };
                        match tasks.reassign_task(fixture.call(person, message)).await {
                            // A rule has nothing to do there, unless its assignee has left.
                            Err(refused) if is_assigned && reason(&refused) != Some(Reason::AssigneeInvalid) => Ok(()),
                            other => other.map(drop),
                        }
                    }
                    None => {
                        tasks.assign_task(fixture.call(person, AssignTaskRequest { id, assigned_to })).await.map(drop)
                    }
                }
            }
            Verb::Cancel if task.status() == TaskStatus::Canceled => Ok(()),
            Verb::Cancel => {
                tasks.cancel_task(fixture.call(person, CancelTaskRequest { id, reason: None })).await.map(drop)
            }
            Verb::CreateSubtask => {
                let new =
                    CreateTaskRequest { title: "After it".to_owned(), parent_task_id: Some(id), ..Default::default() };
                tasks.create_task(fixture.call(person, new)).await.map(drop)
            }
        };
        Some(done.map_err(|status| reason(&status).unwrap()))
    }

    /// The copy is as the task is.
    async fn check_copies(&self) {
        for [id, copy] in &self.pairs {
            let [task, copy] = [
                self.fixture.get(&self.fixture.team.owner, id).await,
                self.fixture.get(&self.fixture.team.owner, copy).await,
            ];
            let state = |task: &Task| (task.status, task.assigned_to.clone(), task.created_by.clone(), task.version);
            assert_eq!(state(&task), state(&copy));
        }
        // As many comments and subtasks, by task.
        let counts = "select (select count(*) from task.comments c where c.task_id = t.id) * 1000
                             + (select count(*) from task.tasks s where s.parent_task_id = t.id)
                      from task.tasks t where t.id = any($1) order by array_position($1, t.id)";
        let [of_tasks, of_copies] = [0, 1].map(|side| {
            let ids: Vec<Uuid> = self.pairs.iter().map(|pair| pair[side].parse().unwrap()).collect();
            sqlx::query_scalar::<_, i64>(counts).bind(ids)
        });
        let admin = self.fixture.context.admin();
        assert_eq!(of_tasks.fetch_all(&admin).await.unwrap(), of_copies.fetch_all(&admin).await.unwrap());
    }
}

#[test]
fn rule_does_what_its_creator_could_do_by_hand_at_that_moment() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The same case in each run of ./test; PROPTEST_CASES makes others.
    let mut runner = match std::env::var("PROPTEST_CASES") {
        Ok(_) => TestRunner::new(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::default() }),
        Err(_) => TestRunner::new_with_rng(
            ProptestConfig { cases: 1, max_shrink_iters: 0, ..ProptestConfig::default() },
            prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
        ),
    };
    let story = prop::collection::vec(step(), 40..=50);
    let told = runner.run(&story, |steps| {
        runtime.block_on(async {
            let mut world = World::start().await;
            for step in &steps {
                world.happen(step).await;
            }
            world.check_copies().await;
            assert!(world.compared > 10, "{} executions are too few", world.compared);
        });
        Ok(())
    });
    told.unwrap();
}
