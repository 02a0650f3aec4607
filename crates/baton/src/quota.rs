//! `baton quota rebuild`: what accounts use of their quotas, counted anew.

use std::process::ExitCode;

use baton_runtime::{Clock, Env, Secret};
use baton_store::Db;

baton_runtime::config! {
    /// How to reach the task service's tables: as the service does.
    pub struct TaskTables {
        /// Postgres, as the role that serves the task service's calls.
        pub database_url: Secret = "BATON_TASK_DATABASE_URL";
        /// Postgres, as the role for its workers.
        pub system_database_url: Secret = "BATON_TASK_SYSTEM_DATABASE_URL";
    }
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Counts everyone's open tasks and every account's files anew, corrects what is wrong, and reports all of it again. Safe while services run.
    Rebuild {
        /// Only say what is wrong; end with 1 if anything is.
        #[arg(long)]
        check: bool,
    },
}

pub(crate) async fn run(env: &Env, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Rebuild { check } = *command;
    let config = TaskTables::from_env(env)?;
    let db = Db::open("task", &config.database_url, &config.system_database_url, 2, Clock::system())?;
    let wrong = baton_task::maintenance::quota_counters::rebuild(&db, check).await?;
    for counter in &wrong {
        let baton_task::maintenance::quota_counters::Counted { account_id, user_id, counted, actual } = counter;
        println!("account {account_id}, user {user_id}: {counted} open tasks were counted, {actual} are there");
    }
    let wrong_bytes = baton_task::maintenance::attachment_gc::rebuild(&db, check).await?;
    for counter in &wrong_bytes {
        let baton_task::maintenance::attachment_gc::CountedBytes { account_id, counted, actual } = counter;
        println!("account {account_id}: {counted} bytes of files were counted, {actual} are there");
    }
    let wrong = wrong.len() + wrong_bytes.len();
    match (wrong, check) {
        (0, _) => println!("every counter is right"),
        (count, true) => println!("{count} counters are wrong; `baton quota rebuild` corrects them"),
        (count, false) => println!("{count} counters were wrong and are right now"),
    }
    Ok(if check && wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
