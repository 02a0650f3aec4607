//! Files of cases: commands with what is expected of them, one JSON object a line. `baton ai eval` scores engines with them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Interpretation, KnownTask, Member, Outcome, Role, World, interpret};

/// A command, and what is expected of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    now: DateTime<Utc>,
    timezone: String,
    caller: Caller,
    people: Vec<Member>,
    #[serde(default)]
    tasks: Vec<KnownTask>,
    #[serde(default)]
    history: Vec<Value>,
    /// The command.
    pub text: String,
    /// What is expected.
    pub expect: Expected,
}

#[derive(Debug, Clone, Deserialize)]
struct Caller {
    handle: String,
    role: Role,
}

/// What is expected of a command.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    /// The outcome's name.
    pub outcome: String,
    /// The calls.
    #[serde(default)]
    pub calls: Vec<ExpectedCall>,
    /// The argument that is not clear.
    #[serde(default)]
    pub about: Option<String>,
}

/// An expected call.
#[derive(Debug, Clone, Deserialize)]
pub struct ExpectedCall {
    /// The function.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
}

impl Case {
    /// What is known when the command is read.
    ///
    /// # Errors
    /// A text that says what is wrong with the case.
    pub fn world(&self) -> Result<World, String> {
        let timezone = self.timezone.parse().map_err(|_| format!("{}: {} is no time zone", self.id, self.timezone))?;
        // What the caller said, whether with its role or as a bare text.
        let said = self.history.iter().filter_map(|entry| match entry {
            Value::String(text) => Some(text.clone()),
            entry if entry["role"] == "assistant" => None,
            entry => entry["content"].as_str().or_else(|| entry["text"].as_str()).map(str::to_owned),
        });
        Ok(World {
            now: self.now,
            timezone,
            caller: self.caller.handle.clone(),
            role: self.caller.role,
            people: self.people.clone(),
            tasks: self.tasks.clone(),
            history: said.collect(),
            subject: None,
        })
    }

    /// What the rule engine makes of it.
    ///
    /// # Errors
    /// Those of [`Self::world`].
    pub fn predict(&self) -> Result<Interpretation, String> {
        Ok(interpret(&self.text, &self.world()?))
    }

    /// Whether an interpretation is what is expected.
    pub fn is_met_by(&self, found: &Interpretation) -> bool {
        let are_equal = found.calls.len() == self.expect.calls.len()
            && found.calls.iter().zip(&self.expect.calls).all(|(call, expected)| {
                call.name == expected.name && is_same(&Value::Object(call.arguments.clone()), &expected.arguments)
            });
        let about = found.outcome != Outcome::Clarify
            || self.expect.about.is_none()
            || self.expect.about.as_deref() == found.about;
        found.outcome.name() == self.expect.outcome && about && are_equal
    }
}

/// Whether two arguments are the same: times are, if they are the same moment.
fn is_same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            found.len() == expected.len()
                && found.iter().all(|(name, value)| expected.get(name).is_some_and(|other| is_same(value, other)))
        }
        (Value::String(found), Value::String(expected)) => {
            let moment = |text: &str| DateTime::parse_from_rfc3339(text.strip_prefix("set_due:").unwrap_or(text)).ok();
            found == expected || moment(found).is_some_and(|at| Some(at) == moment(expected))
        }
        (found, expected) => found == expected,
    }
}

/// A line of predictions.
pub fn prediction(id: &str, found: &Interpretation) -> Value {
    let calls: Vec<Value> =
        found.calls.iter().map(|call| json!({"name": call.name, "arguments": call.arguments})).collect();
    let mut line = json!({"id": id, "outcome": found.outcome.name(), "calls": calls});
    if let Some(about) = found.about {
        line["about"] = json!(about);
    }
    line
}
