//! Backtests: how often a rule would have run on the past of tasks. Nothing is called, and nothing is stored.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use baton_catalog::EventType;
use baton_conditions::{AssigneeFacts, TaskFacts, choice::Status};
use baton_rules::{MAX_DEPTH, Occurrence, Rule, RuleIndex, Trigger, TriggerType};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    execution::MAX_PER_TASK_AND_HOUR,
    state_timer::{self, StateChange, StateTimer},
};

/// The lead of `task_due_soon` without `before_seconds`.
const DAY: u32 = 86_400;

/// Something that happened to a task.
#[derive(Debug, Clone)]
pub(crate) struct PastEvent {
    pub(crate) task_id: Uuid,
    pub(crate) occurred_at: DateTime<Utc>,
    /// None if no rule runs on it.
    pub(crate) occurrences: Vec<Occurrence>,
    /// The task before it; `None` for a new task, or if an event of the task came before.
    pub(crate) before: Option<TaskFacts>,
    /// The task after it.
    pub(crate) after: TaskFacts,
    /// The status, assignee and due time after it.
    pub(crate) change: Option<StateChange>,
}

/// A time at which the rule would have run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) at: DateTime<Utc>,
    pub(crate) task_id: Uuid,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
}

/// A backtest under way. It sees the events of one task after the other, each in their order.
#[derive(Debug)]
pub(crate) struct Backtest {
    rule: Arc<Rule>,
    index: RuleIndex,
    /// The trigger of a rule that runs at a due time or before it.
    due: Option<Trigger>,
    /// People, as they are now.
    people: HashMap<Uuid, AssigneeFacts>,
    /// The task as of its last event, and when that was.
    task: Option<(Uuid, TaskFacts, DateTime<Utc>)>,
    waiting: Vec<StateTimer>,
    /// When the rule would have run on the task in the last hour.
    recent: VecDeque<DateTime<Utc>>,
    matches: Vec<Match>,
}

/// Whether rules with this trigger can be replayed: what runs them is in the past of tasks.
pub(crate) fn is_replayable(kind: TriggerType) -> bool {
    !matches!(
        kind,
        TriggerType::TaskCommented | TriggerType::TaskUnblocked | TriggerType::MemberJoined | TriggerType::Schedule
    )
}

impl Backtest {
    pub(crate) fn new(rule: Rule) -> Self {
        let trigger = &rule.definition.trigger;
        let lead = match trigger.kind {
            TriggerType::TaskDueSoon => Some(trigger.before_seconds.unwrap_or(DAY)),
            TriggerType::TaskOverdue => Some(0),
            _ => None,
        };
        let due = lead.map(|lead| Trigger { before_seconds: Some(lead), ..trigger.clone() });
        let rule = Arc::new(rule);
        let index = RuleIndex::new([Arc::clone(&rule)]);
        let (people, recent) = (HashMap::new(), VecDeque::new());
        Self { rule, index, due, people, task: None, waiting: Vec::new(), recent, matches: Vec::new() }
    }

    /// Whether nothing is known yet of a person.
    pub(crate) fn lacks(&self, person: Uuid) -> bool {
        !self.people.contains_key(&person)
    }

    pub(crate) fn know(&mut self, person: Uuid, facts: AssigneeFacts) {
        self.people.insert(person, facts);
    }

    /// Sees the next event. `until` is the end of the past.
    pub(crate) fn see(&mut self, event: PastEvent, until: DateTime<Utc>) {
        if self.task.as_ref().is_none_or(|(task_id, ..)| *task_id != event.task_id) {
            self.end_task(until);
            self.task = event.before.map(|before| (event.task_id, before, event.occurred_at));
        }
        self.fire(event.occurred_at);
        if let Some(left) = &event.change {
            self.waiting.retain(|wait| wait.state.holds(&left.status, left.assignee, left.due_at));
        }
        self.task = Some((event.task_id, event.after.clone(), event.occurred_at));
        for occurrence in &event.occurrences {
            self.occur(occurrence, &event.after);
        }
    }

    /// The times at which the rule would have run, the earliest first.
    pub(crate) fn end(mut self, until: DateTime<Utc>) -> Vec<Match> {
        self.end_task(until);
        self.matches.sort_by_key(|found| (found.at, found.task_id));
        self.matches
    }

    fn end_task(&mut self, until: DateTime<Utc>) {
        self.fire(until);
        self.waiting.clear();
        self.recent.clear();
    }

    /// What waits is over at a time before `until`: the rule runs, if its conditions hold for the task as it was.
    fn fire(&mut self, until: DateTime<Utc>) {
        let Some((_, task, since)) = self.task.clone() else { return };
        let (mut over, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition::<Vec<_>, _>(|wait| wait.fires_at <= until);
        self.waiting = waiting;
        over.sort_by_key(|wait| wait.fires_at);
        for wait in over {
            self.run(&wait.occurrence, later(task.clone(), since, wait.fires_at), wait.fires_at, true);
        }
    }

    fn occur(&mut self, occurrence: &Occurrence, after: &TaskFacts) {
        if let Some(trigger) = &self.due {
            if !state_timer::sets_due_time(occurrence) {
                return;
            }
            let Some(mut timer) = StateTimer::of(self.rule.id, trigger, occurrence) else { return };
            if trigger.kind == TriggerType::TaskOverdue {
                timer.occurrence.kind = EventType::TaskOverdue.name().to_owned();
                let lasts = TimeDelta::seconds(trigger.for_seconds.unwrap_or_default().into());
                timer.fires_at = timer.fires_at.max(occurrence.occurred_at) + lasts;
                self.waiting.push(timer);
            } else if timer.fires_at > occurrence.occurred_at {
                self.waiting.push(timer);
            }
            return;
        }
        if self.index.candidates(occurrence).next().is_none() {
            return;
        }
        match StateTimer::of(self.rule.id, &self.rule.definition.trigger, occurrence) {
            Some(timer) => self.waiting.push(timer),
            None if self.rule.definition.trigger.waits() => {}
            None => self.run(occurrence, after.clone(), occurrence.occurred_at, false),
        }
    }

    /// Runs the rule, unless its conditions do not hold or a limit is reached.
    fn run(&mut self, occurrence: &Occurrence, task: TaskFacts, at: DateTime<Utc>, waited: bool) {
        let definition = &self.rule.definition;
        let mut facts = occurrence.facts(self.rule.owner, definition.timezone);
        // As when it runs: the event says what it knows, unless it is long past.
        facts.now = at;
        facts.task = if waited { task } else { facts.task.or(task) };
        facts.assignee = match facts.task.assignee {
            None => AssigneeFacts::default(),
            Some(None) => AssigneeFacts { role: Some(None), manager: Some(None) },
            Some(Some(assignee)) => self.people.get(&assignee).cloned().unwrap_or_default(),
        };
        let (Some(task_id), Some(true)) = (occurrence.task_id, definition.condition.evaluate(&facts)) else { return };
        let hour_ago = at - TimeDelta::hours(1);
        while self.recent.front().is_some_and(|time| *time <= hour_ago) {
            self.recent.pop_front();
        }
        let limit = usize::try_from(MAX_PER_TASK_AND_HOUR).unwrap_or(usize::MAX);
        if occurrence.depth >= MAX_DEPTH || self.recent.len() >= limit {
            return;
        }
        self.recent.push_back(at);
        let (event_id, event_type) = (occurrence.event_id, occurrence.kind.clone());
        self.matches.push(Match { at, task_id, event_id, event_type });
    }
}

/// A task some time after its last event: it may have become overdue, and was worked on.
fn later(task: TaskFacts, since: DateTime<Utc>, at: DateTime<Utc>) -> TaskFacts {
    let is_open = task.status.is_some_and(|status| state_timer::is_open(status.name()));
    let worked = if task.status == Some(Status::InProgress) { (at - since).num_seconds().max(0) } else { 0 };
    let due_at = task.due_at.flatten();
    TaskFacts {
        overdue: Some(is_open && due_at.is_some_and(|due_at| due_at <= at)),
        actual_seconds: task.actual_seconds.map(|seconds| seconds + worked),
        ..task
    }
}

#[cfg(test)]
mod tests {
    use baton_conditions::choice::Priority;
    use baton_rules::{Definition, TaskState};
    use serde_json::{Value, json};

    use super::*;

    const TASK: Uuid = Uuid::from_u128(7);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn backtest(kind: TriggerType, conditions: Value) -> Backtest {
        let actions = serde_json::from_value(json!([{"type": "archive"}])).unwrap();
        let conditions = conditions.as_object().unwrap().clone();
        let definition = Definition::parse(kind, conditions, actions, "UTC", "").unwrap();
        Backtest::new(Rule { id: Uuid::from_u128(1), owner: Uuid::from_u128(2), definition })
    }

    fn event(task_id: Uuid, kind: EventType, status: &str, due: Option<i64>, second: i64) -> PastEvent {
        let state = TaskState {
            version: 1,
            status: status.to_owned(),
            previous_status: None,
            priority: "high".to_owned(),
            visibility: "private".to_owned(),
            creator: Uuid::from_u128(2),
            assignee: None,
            due_at: due.map(at),
            estimated_seconds: None,
            started_at: None,
        };
        let occurrence = Occurrence {
            event_id: Uuid::from_u128(second as u128),
            kind: kind.name().to_owned(),
            occurred_at: at(second),
            actor: None,
            task_id: Some(task_id),
            task: Some(state),
            changed_fields: Vec::new(),
            late: false,
            depth: 0,
            rule_id: None,
            in_state_since: None,
        };
        let after = TaskFacts {
            status: Status::from_name(status),
            priority: Some(Priority::High),
            title: Some("Ship it".to_owned()),
            due_at: Some(due.map(at)),
            ..TaskFacts::default()
        };
        let change = StateChange::of(&occurrence);
        PastEvent { task_id, occurred_at: at(second), occurrences: vec![occurrence], before: None, after, change }
    }

    fn times(mut backtest: Backtest, events: Vec<PastEvent>, until: i64) -> Vec<i64> {
        for event in events {
            backtest.see(event, at(until));
        }
        backtest.end(at(until)).iter().map(|found| found.at.timestamp()).collect()
    }

    #[test]
    fn rule_runs_on_its_events_if_its_conditions_hold() {
        let events = || {
            vec![
                event(TASK, EventType::TaskCreated, "pending", None, 1),
                event(TASK, EventType::TaskPaused, "paused", None, 2),
                event(Uuid::nil(), EventType::TaskPaused, "paused", None, 1),
            ]
        };
        let paused = |conditions| times(backtest(TriggerType::TaskPaused, conditions), events(), 10);
        assert_eq!(paused(json!({"priority": "high"})), [1, 2]);
        assert_eq!(paused(json!({"title": "Ship it"})), [1, 2]);
        assert_eq!(paused(json!({"priority": "low"})), [0i64; 0]);
        assert_eq!(paused(json!({"blocked": true})), [0i64; 0], "nothing is known of it");
    }

    #[test]
    fn state_has_to_last() {
        let paused =
            |events, until| times(backtest(TriggerType::TaskPaused, json!({"for_seconds": 60})), events, until);
        let pause = event(TASK, EventType::TaskPaused, "paused", None, 10);
        assert_eq!(paused(vec![pause.clone()], 69), [0i64; 0]);
        assert_eq!(paused(vec![pause.clone()], 70), [70]);
        let left = |second| event(TASK, EventType::TaskResumed, "in_progress", None, second);
        assert_eq!(paused(vec![pause.clone(), left(69)], 100), [0i64; 0]);
        assert_eq!(paused(vec![pause.clone(), left(70)], 100), [70]);
        let again = event(TASK, EventType::TaskPaused, "paused", None, 80);
        assert_eq!(paused(vec![pause, left(30), again], 200), [140]);
    }

    #[test]
    fn due_times_are_announced_unless_they_change() {
        let soon = |events| times(backtest(TriggerType::TaskDueSoon, json!({"before_seconds": 300})), events, 10_000);
        let overdue = |events| times(backtest(TriggerType::TaskOverdue, json!({})), events, 10_000);
        let new = event(TASK, EventType::TaskCreated, "pending", Some(1_000), 1);
        let done = event(TASK, EventType::TaskCompleted, "completed", Some(1_000), 500);
        assert_eq!((soon(vec![new.clone()]), overdue(vec![new.clone()])), (vec![700], vec![1_000]));
        assert_eq!((soon(vec![new.clone(), done.clone()]), overdue(vec![new, done])), (vec![], vec![]));
        let new = event(TASK, EventType::TaskCreated, "pending", Some(1_000), 1);
        let is_overdue = json!({"overdue": true});
        assert_eq!(times(backtest(TriggerType::TaskOverdue, is_overdue), vec![new], 10_000), [1_000]);
        let near = event(TASK, EventType::TaskCreated, "pending", Some(200), 1);
        assert_eq!(soon(vec![near]), [0i64; 0], "it was nearer already");
    }

    #[test]
    fn rule_runs_ten_times_an_hour_on_one_task() {
        let events = (0..12).map(|second| event(TASK, EventType::TaskPaused, "paused", None, second));
        assert_eq!(times(backtest(TriggerType::TaskPaused, json!({})), events.collect(), 100).len(), 10);
    }
}
