//! Schedules: times at which a rule runs without an event.

use baton_conditions::choice::{Priority, Status};
use baton_errors::{Error, Result};
use baton_recurrence::{Recurrence, normalize};
use chrono::{DateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Keys of the conditions that belong to a schedule.
pub const KEYS: [&str; 5] = ["rrule", "time", "starts_at", "filter", "task_id"];
/// Tasks for which a schedule runs a rule at one time.
pub const MAX_TASKS: usize = 100;
/// Values of a list of the filter.
const MAX_VALUES: usize = 10;
/// Characters of an RRULE.
const MAX_RRULE_LEN: usize = 500;
/// Age of a start: a rule with COUNT is expanded from there.
const MAX_PAST_START: TimeDelta = TimeDelta::days(366);
const TIME_FORMAT: &str = "%H:%M";

/// Times at which a rule runs, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The recurrence rule, in upper case (RFC 5545, section 3.3.10).
    pub rrule: String,
    /// The time of day of the first day, in the rule's time zone. It gives the minute of hourly rules.
    pub time: NaiveTime,
    /// Nothing runs before that, and its day is the first one. Stored rules have it.
    pub starts_at: Option<DateTime<Utc>>,
    /// What it runs for.
    pub scope: Scope,
}

/// What a schedule runs a rule for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Once, without a task.
    Once,
    /// For one task, until it is closed.
    Task(Uuid),
    /// For each of these tasks.
    Tasks(TaskSelection),
}

/// Which tasks: all of these hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSelection {
    /// Names of statuses, one of which it has; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Names of priorities, one of which it has; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority: Vec<String>,
    /// Tags, all of which it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its assignee: `me` or a user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<String>,
    /// Its creator: `me` or a user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether it is overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<bool>,
    /// Whether it has no assignee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unassigned: Option<bool>,
    /// Whether it has a due time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_due: Option<bool>,
}

impl Schedule {
    /// Reads the schedule's members of the conditions.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the member.
    pub(crate) fn parse(conditions: &Map<String, Value>, path: &str) -> Result<Self> {
        let field = |key: &str| format!("{path}.{key}");
        let text = |key: &str, must: &str| {
            let text = conditions.get(key).and_then(Value::as_str);
            text.ok_or_else(|| Error::invalid(field(key), must))
        };
        let rrule = normalize(text("rrule", "must be an RRULE (RFC 5545), such as FREQ=WEEKLY;BYDAY=MO")?);
        if rrule.len() > MAX_RRULE_LEN {
            return Err(Error::invalid(field("rrule"), format!("must have at most {MAX_RRULE_LEN} characters")));
        }
        Recurrence::parse(&rrule, Tz::UTC, &field("rrule"))?.check_parts(&field("rrule"))?;
        const TIME: &str = "must be a time of day, such as 09:00";
        let time = text("time", TIME)?;
        let is_complete = time.len() == 5;
        let time = NaiveTime::parse_from_str(time, TIME_FORMAT).ok().filter(|_| is_complete);
        let time = time.ok_or_else(|| Error::invalid(field("time"), TIME))?;
        let starts_at = match conditions.get("starts_at") {
            None => None,
            Some(value) => {
                let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
                let time = time.ok_or_else(|| Error::invalid(field("starts_at"), "must be a time (RFC 3339)"))?;
                Some(time.to_utc())
            }
        };
        let scope = match (conditions.get("task_id"), conditions.get("filter")) {
            (None, None) => Scope::Once,
            (Some(_), Some(_)) => return Err(Error::invalid(field("filter"), "must not stand beside `task_id`")),
            (Some(id), None) => {
                let id = id.as_str().and_then(|id| id.parse().ok());
                Scope::Task(id.ok_or_else(|| Error::invalid(field("task_id"), "must be the id of a task"))?)
            }
            (None, Some(filter)) => Scope::Tasks(TaskSelection::parse(filter, &field("filter"))?),
        };
        Ok(Self { rrule, time, starts_at, scope })
    }

    /// Checks that a rule with this schedule will run.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the member.
    pub fn check(&self, zone: Tz, now: DateTime<Utc>, path: &str) -> Result<()> {
        if self.starts_at.is_some_and(|start| start < now - MAX_PAST_START) {
            return Err(Error::invalid(format!("{path}.starts_at"), "must not be more than a year ago"));
        }
        let next = self.next(zone, now)?;
        next.map(drop)
            .ok_or_else(|| Error::invalid(format!("{path}.rrule"), "must have a time in the next fifty years"))
    }

    /// The first time after an instant, if there is one within fifty years.
    ///
    /// # Errors
    /// VALIDATION_FAILED, for a rule that was not parsed.
    pub fn next(&self, zone: Tz, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let recurrence = Recurrence::parse(&self.rrule, zone, "rrule")?;
        let starts_at = self.starts_at.unwrap_or(after);
        let start = recurrence.local(starts_at).date().and_time(self.time);
        // The start itself is one of the times, if the rule has it.
        let (before_start, before) = (start - TimeDelta::seconds(1), starts_at - TimeDelta::microseconds(1));
        Ok(recurrence.next(start, before_start, after.max(before), &[]).map(|time| time.at))
    }

    /// The stored form of its members.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("rrule".to_owned(), json!(self.rrule));
        members.insert("time".to_owned(), json!(self.time.format(TIME_FORMAT).to_string()));
        if let Some(start) = self.starts_at {
            members.insert("starts_at".to_owned(), json!(start.to_rfc3339_opts(SecondsFormat::Micros, true)));
        }
        match &self.scope {
            Scope::Once => {}
            Scope::Task(id) => drop(members.insert("task_id".to_owned(), json!(id))),
            Scope::Tasks(selection) => drop(members.insert("filter".to_owned(), json!(selection))),
        }
        members
    }

    /// The schedule in English.
    pub(crate) fn sentence(&self) -> String {
        let time = self.time.format(TIME_FORMAT);
        let times = match self.rrule.as_str() {
            "FREQ=HOURLY" => format!("Every hour from {time}"),
            "FREQ=DAILY" => format!("Every day at {time}"),
            "FREQ=WEEKLY" => format!("Every week at {time}"),
            "FREQ=MONTHLY" => format!("Every month at {time}"),
            rule => format!("On the schedule {rule} at {time}"),
        };
        match &self.scope {
            Scope::Once => times,
            Scope::Task(_) => format!("{times}, for one task until it is closed"),
            Scope::Tasks(selection) => format!("{times}, for each {}", selection.sentence()),
        }
    }
}

impl TaskSelection {
    fn parse(filter: &Value, path: &str) -> Result<Self> {
        let field = |key: &str| format!("{path}.{key}");
        let members = filter.as_object().ok_or_else(|| Error::invalid(path, "must be an object"))?;
        let mut selection = Self::default();
        for (key, value) in members {
            let flag = || {
                let flag = value.as_bool().map(Some);
                flag.ok_or_else(|| Error::invalid(field(key), "must be true or false"))
            };
            let person = || match value.as_str() {
                Some("me") => Ok(Some("me".to_owned())),
                Some(id) if let Ok(id) = Uuid::try_parse(id) => Ok(Some(id.to_string())),
                _ => Err(Error::invalid(field(key), "must be `me` or a user id")),
            };
            match key.as_str() {
                "status" => {
                    let is_known = |name: &str| Status::from_name(name).is_some();
                    selection.status = texts(value, is_known, &field(key), "names of statuses")?;
                }
                "priority" => {
                    let is_known = |name: &str| Priority::from_name(name).is_some();
                    selection.priority = texts(value, is_known, &field(key), "names of priorities")?;
                }
                "tags" => {
                    let fits = |tag: &str| (1..=50).contains(&tag.chars().count());
                    selection.tags = texts(value, fits, &field(key), "tags")?;
                }
                "assigned_to" => selection.assigned_to = person()?,
                "created_by" => selection.created_by = person()?,
                "overdue" => selection.overdue = flag()?,
                "unassigned" => selection.unassigned = flag()?,
                "has_due" => selection.has_due = flag()?,
                _ => return Err(Error::invalid(field(key), "is no member of a filter")),
            }
        }
        Ok(selection)
    }

    fn sentence(&self) -> String {
        let is_not = |flag: bool| if flag { "" } else { "not " };
        let mut parts = Vec::new();
        for (name, values, word) in
            [("status", &self.status, " or "), ("priority", &self.priority, " or "), ("tags", &self.tags, " and ")]
        {
            if !values.is_empty() {
                parts.push(format!("{name} {}", values.join(word)));
            }
        }
        for (name, person) in [("assigned to", &self.assigned_to), ("created by", &self.created_by)] {
            parts.extend(person.as_ref().map(|person| format!("{name} {person}")));
        }
        parts.extend(self.overdue.map(|flag| format!("{}overdue", is_not(flag))));
        parts.extend(self.unassigned.map(|flag| if flag { "without assignee" } else { "with an assignee" }.to_owned()));
        parts.extend(self.has_due.map(|flag| if flag { "with a due time" } else { "without a due time" }.to_owned()));
        if parts.is_empty() { "task".to_owned() } else { format!("task ({})", parts.join(", ")) }
    }
}

fn texts(value: &Value, fits: impl Fn(&str) -> bool, field: &str, what: &str) -> Result<Vec<String>> {
    let wrong = || Error::invalid(field, format!("must be a list of 1 to {MAX_VALUES} {what}"));
    let values = value.as_array().filter(|values| (1..=MAX_VALUES).contains(&values.len())).ok_or_else(wrong)?;
    values.iter().map(|text| text.as_str().filter(|text| fits(text)).map(str::to_owned).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(conditions: Value) -> Result<Schedule> {
        Schedule::parse(conditions.as_object().unwrap(), "trigger_conditions")
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_those_of_the_rule_in_its_time_zone() {
        let berlin = Tz::Europe__Berlin;
        let daily = json!({"rrule": "freq=daily", "time": "09:00", "starts_at": "2026-03-27T07:00:00Z"});
        let daily = parse(daily).unwrap();
        // The start is one of the times; summer time begins on the 29th.
        let mut times = vec![daily.next(berlin, time("2026-03-01T00:00:00Z")).unwrap().unwrap()];
        for _ in 0..3 {
            times.push(daily.next(berlin, *times.last().unwrap()).unwrap().unwrap());
        }
        let expected = ["2026-03-27T08:00:00Z", "2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"];
        assert_eq!(times, expected.map(time));
        // Nothing is before the start, also on its day.
        let later =
            parse(json!({"rrule": "FREQ=DAILY", "time": "09:00", "starts_at": "2026-03-27T09:00:00Z"})).unwrap();
        assert_eq!(later.next(berlin, time("2026-03-01T00:00:00Z")).unwrap(), Some(time("2026-03-28T08:00:00Z")));
        let once = json!({"rrule": "FREQ=DAILY;COUNT=1", "time": "09:00", "starts_at": "2026-03-27T00:00:00Z"});
        let once = parse(once).unwrap();
        assert_eq!(once.next(Tz::UTC, time("2026-03-27T00:00:00Z")).unwrap(), Some(time("2026-03-27T09:00:00Z")));
        assert_eq!(once.next(Tz::UTC, time("2026-03-27T09:00:00Z")).unwrap(), None);
        assert!(once.check(Tz::UTC, time("2026-03-28T00:00:00Z"), "").is_err(), "it would never run");
    }

    #[test]
    fn stored_schedule_parses_to_the_same() {
        let task = "0198c0de-7a1b-7c3d-8e4f-5a6b7c8d9e0f";
        for more in [
            json!({}),
            json!({"task_id": task}),
            json!({"filter": {"status": ["paused"], "overdue": true, "assigned_to": "me", "tags": ["a", "b"]}}),
        ] {
            let mut conditions = json!({"rrule": "FREQ=WEEKLY;BYDAY=MO", "time": "08:30",
                                        "starts_at": "2026-03-27T07:00:00.123456Z"});
            conditions.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let once = parse(conditions.clone()).unwrap();
            assert_eq!(Value::Object(once.to_json()), conditions);
        }
    }

    #[test]
    fn wrong_member_is_named() {
        for (member, value, field) in [
            ("rrule", json!("FREQ=MINUTELY"), "rrule"),
            ("rrule", json!("FREQ=SOMETIMES"), "rrule"),
            ("rrule", json!(7), "rrule"),
            ("time", json!("9:00"), "time"),
            ("time", json!("24:00"), "time"),
            ("starts_at", json!("tomorrow"), "starts_at"),
            ("task_id", json!("7"), "task_id"),
            ("filter", json!({"status": ["lost"]}), "filter.status"),
            ("filter", json!({"status": []}), "filter.status"),
            ("filter", json!({"overdue": "yes"}), "filter.overdue"),
            ("filter", json!({"assigned_to": "ada"}), "filter.assigned_to"),
            ("filter", json!({"title": "x"}), "filter.title"),
        ] {
            let mut conditions = json!({"rrule": "FREQ=DAILY", "time": "09:00"});
            conditions[member] = value;
            let refused = parse(conditions.clone()).unwrap_err();
            assert!(
                format!("{refused:?}").contains(&format!("trigger_conditions.{field}")),
                "{conditions}: {refused:?}"
            );
        }
        assert!(parse(json!({"rrule": "FREQ=DAILY"})).is_err() && parse(json!({"time": "09:00"})).is_err());
    }

    #[test]
    fn sentence_says_when_and_for_what() {
        let daily = |more: Value| {
            let mut conditions = json!({"rrule": "FREQ=DAILY", "time": "09:00"});
            conditions.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            parse(conditions).unwrap().sentence()
        };
        assert_eq!(daily(json!({})), "Every day at 09:00");
        let filter = json!({"filter": {"status": ["paused", "pending"], "overdue": true}});
        assert_eq!(daily(filter), "Every day at 09:00, for each task (status paused or pending, overdue)");
    }
}
