//! `baton ai`: scores the assistant's engines.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use baton_commands::eval::{Case, prediction};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Reads a file of cases, one JSON object a line, and prints how many commands are read as expected. The form of a case is that
    /// of `crates/commands/eval/cases.jsonl`.
    Eval {
        /// The cases.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What reads the commands.
        #[arg(long, value_enum, default_value_t = Engine::Rules)]
        engine: Engine,
        /// Where to write what was read, one JSON object a line: `{id, outcome, calls, about?}`.
        #[arg(long, value_name = "OUT")]
        predictions: Option<PathBuf>,
    },
}

/// What reads commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// The rule engine, without a model.
    Rules,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Eval { file, engine: Engine::Rules, predictions } = command;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut out = match predictions {
        None => None,
        Some(path) => {
            let created = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Some(std::io::BufWriter::new(created))
        }
    };
    // Met and all, in total and by what is expected.
    let mut scores: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let (mut met, mut all, mut missed) = (0, 0, Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", file.display(), number + 1);
        let case: Case = serde_json::from_str(line).with_context(|| format!("{} is no case", place()))?;
        let found = case.predict().map_err(anyhow::Error::msg).with_context(place)?;
        if let Some(out) = &mut out {
            writeln!(out, "{}", prediction(&case.id, &found))?;
        }
        let is_met = case.is_met_by(&found);
        let group = case.expect.calls.first().map_or_else(|| case.expect.outcome.clone(), |call| call.name.clone());
        let score = scores.entry(group).or_default();
        (score.0, score.1) = (score.0 + usize::from(is_met), score.1 + 1);
        (met, all) = (met + usize::from(is_met), all + 1);
        if !is_met {
            missed.push(case.id);
        }
    }
    if all == 0 {
        bail!("{} has no cases", file.display());
    }
    if let Some(out) = &mut out {
        out.flush()?;
    }
    let percent = |met: usize, all: usize| 100.0 * met as f64 / all as f64;
    for (group, (met, all)) in &scores {
        println!("{group:<20} {met:>5} of {all:<5} {:>5.1} %", percent(*met, *all));
    }
    println!("{:<20} {met:>5} of {all:<5} {:>5.1} %", "all", percent(met, all));
    if !missed.is_empty() {
        println!("not as expected: {}", missed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}
