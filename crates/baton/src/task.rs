//! `baton task rebuild`: do tasks say what their logs say?

use std::process::ExitCode;

use baton_runtime::{Clock, Env};
use baton_store::Db;
use baton_task::maintenance::log_check::{Difference, rebuild};

use crate::quota::TaskTables;

/// How many tasks to read before saying how far it is.
const REPORT_EVERY: usize = 10_000;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Replays the log of every task and makes the rows what it says. Safe while services run.
    Rebuild {
        /// Only say what differs; end with 1 if anything does.
        #[arg(long)]
        check: bool,
    },
}

pub(crate) async fn run(env: &Env, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Rebuild { check } = *command;
    let config = TaskTables::from_env(env)?;
    let db = Db::open("task", &config.database_url, &config.system_database_url, 2, Clock::system())?;
    let (mut read, mut different, mut untold) = (0, 0, 0);
    rebuild(&db, check, |more, differences| {
        if (read + more) / REPORT_EVERY > read / REPORT_EVERY {
            eprintln!("{} tasks read", read + more);
        }
        read += more;
        different += differences.len();
        for Difference { account_id, task_id, fields } in differences {
            untold += usize::from(fields.iter().any(|field| field == "log"));
            println!("account {account_id}, task {task_id}: {}", fields.join(", "));
        }
    })
    .await?;
    match (different, check) {
        (0, _) => println!("{read} tasks are what their logs say"),
        (count, true) => {
            println!("{count} of {read} tasks differ; `baton task rebuild` makes them what their logs say")
        }
        (count, false) => println!("{} of {read} tasks differed and are mended", count - untold),
    }
    if untold > 0 {
        println!("{untold} tasks stay as they are: their logs tell no task");
    }
    if !check && different > untold {
        println!("`baton quota rebuild` counts open tasks anew");
    }
    let wrong = if check { different } else { untold };
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
