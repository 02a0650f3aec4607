//! The model of a condition, its evaluation and its canonical JSON.

use serde_json::{Value as Json, json};

use crate::{
    facts::Facts,
    leaf::{Leaf, Op},
    needs::Needs,
};

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of these hold. Without any: always.
    All(Vec<Condition>),
    /// At least one of these holds. Without any: never.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
    /// A comparison.
    Leaf(Leaf),
}

/// Why a condition holds or does not: one of its leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct LeafVerdict {
    /// Where the leaf is in the canonical JSON, such as `all[2].not`. Empty if the condition is one leaf.
    pub path: String,
    /// The name of the field.
    pub field: String,
    /// The operator.
    pub op: Op,
    /// The value of the leaf.
    pub value: Json,
    /// The value of the field. Null if it is null or unknown.
    pub actual: Json,
    /// Whether the leaf holds. `None` if the field is unknown.
    pub held: Option<bool>,
}

impl Condition {
    /// The condition that always holds.
    pub const ALWAYS: Self = Self::All(Vec::new());

    /// Whether it holds, by Kleene's three-valued logic. `None` if the known facts do not decide.
    pub fn evaluate(&self, facts: &Facts) -> Option<bool> {
        match self {
            Self::All(parts) => decide(parts, facts, false),
            Self::Any(parts) => decide(parts, facts, true),
            Self::Not(part) => part.evaluate(facts).map(|held| !held),
            Self::Leaf(leaf) => leaf.evaluate(facts),
        }
    }

    /// The verdict about every leaf, in order, also about those that did not matter.
    pub fn explain(&self, facts: &Facts) -> Vec<LeafVerdict> {
        let mut verdicts = Vec::new();
        self.walk(String::new(), &mut |path, leaf| {
            verdicts.push(LeafVerdict {
                path,
                field: leaf.field.to_string(),
                op: leaf.op,
                value: leaf.value(),
                actual: facts.get(&leaf.field).to_json(leaf.field.definition().kind),
                held: leaf.evaluate(facts),
            });
        });
        verdicts
    }

    /// The groups of facts that it reads.
    pub fn needs(&self) -> Needs {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().fold(Needs::NONE, |needs, part| needs | part.needs()),
            Self::Not(part) => part.needs(),
            Self::Leaf(leaf) => leaf.needs(),
        }
    }

    /// The canonical JSON: the long form. [`Condition::parse`] reads an equal condition from it.
    pub fn to_json(&self) -> Json {
        let list = |parts: &[Self]| parts.iter().map(Self::to_json).collect::<Json>();
        match self {
            Self::All(parts) => json!({"all": list(parts)}),
            Self::Any(parts) => json!({"any": list(parts)}),
            Self::Not(part) => json!({"not": part.to_json()}),
            Self::Leaf(leaf) => leaf.to_json(),
        }
    }

    fn walk(&self, path: String, see: &mut impl FnMut(String, &Leaf)) {
        let dot = if path.is_empty() { "" } else { "." };
        match self {
            Self::All(parts) => {
                parts.iter().enumerate().for_each(|(index, part)| part.walk(format!("{path}{dot}all[{index}]"), see));
            }
            Self::Any(parts) => {
                parts.iter().enumerate().for_each(|(index, part)| part.walk(format!("{path}{dot}any[{index}]"), see));
            }
            Self::Not(part) => part.walk(format!("{path}{dot}not"), see),
            Self::Leaf(leaf) => see(path, leaf),
        }
    }
}

/// `decisive` as soon as one part is, else unknown if one part is, else the opposite.
fn decide(parts: &[Condition], facts: &Facts, decisive: bool) -> Option<bool> {
    let mut verdict = Some(!decisive);
    for part in parts {
        match part.evaluate(facts) {
            Some(held) if held == decisive => return Some(decisive),
            Some(_) => {}
            None => verdict = None,
        }
    }
    verdict
}
