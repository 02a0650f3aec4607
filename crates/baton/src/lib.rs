//! The `baton` program: all of Baton in one binary. [`platform`] is the registry of services.

#![allow(clippy::print_stdout, reason = "a command line program talks to people on standard output")]

mod ai;
mod audit;
mod demo;
mod doctor;
mod embedded;
mod files;
mod keys;
pub mod manifests;
mod migrate;
mod openapi;
pub mod platform;
mod privacy;
mod quota;
mod secrets;
mod serve;
mod task;
mod test_servers;
mod up;

use std::{path::PathBuf, process::ExitCode};

use baton_runtime::Env;
use clap::{Parser, Subcommand};

/// Baton: work flows down a hierarchy, and everyone can follow it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole platform on this machine, with its own Postgres and Redis under `.baton/`.
    Up {
        /// Where data and keys are kept.
        #[arg(long, default_value = ".baton", value_name = "FOLDER")]
        data: PathBuf,
        /// Do not make a demo account in an empty database.
        #[arg(long)]
        no_demo: bool,
    },
    /// Runs services in this process, configured by environment variables.
    Serve {
        /// Which: auth, tenancy, task, notification, privacy, gateway.
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Brings the database up to date. Safe to repeat; run it before a roll-out.
    Migrate {
        /// Which services' schemas; all when none is named.
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Shows or rotates the keys that sign tokens, with the environment of the auth service.
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Checks configuration, database, roles, Redis, ports, keys and clock, and says how to mend each.
    Doctor {
        /// Check these services as they are configured by environment variables; without any, check what
        /// `baton up` needs.
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Recounts what accounts use of their quotas, with the environment of the task service.
    Quota {
        #[command(subcommand)]
        command: quota::Command,
    },
    /// Compares tasks with their logs, with the environment of the task service.
    Task {
        #[command(subcommand)]
        command: task::Command,
    },
    /// Verifies receipts of erasures, and repeats erasures after a database was restored.
    Privacy {
        #[command(subcommand)]
        command: privacy::Command,
    },
    /// Verifies activity logs without a server.
    Audit {
        #[command(subcommand)]
        command: audit::Command,
    },
    /// Scores the assistant's engines on files of cases.
    Ai {
        #[command(subcommand)]
        command: ai::Command,
    },
    /// Prints the OpenAPI 3.1 document of the REST API.
    Openapi,
    /// Writes the part of the Kubernetes manifests that follows from the registry of services.
    Manifests {
        /// The base of the manifests: `k8s/base`.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Runs a command with a private Postgres and Redis, and stops them after it: for the tests.
    #[command(hide = true)]
    Servers {
        /// Migrate the schemas of this clone, as its files are now, into one database, and name it in DATABASE_URL.
        #[arg(long)]
        migrated: bool,
        /// The command.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
}

/// Runs the program with services beside those of the product.
pub fn main_with(services: impl IntoIterator<Item = platform::Service>) -> ExitCode {
    platform::add(services);
    main()
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("baton: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let env = Env::process();
    let done = runtime.block_on(async {
        match arguments.command {
            Command::Up { data, no_demo } => up::run(env, &data, !no_demo).await,
            Command::Serve { services } => serve::run(&env, &services).await,
            Command::Migrate { services } => migrate::run(&env, &services).await,
            Command::Keys { command } => keys::run(&env, &command).await,
            Command::Doctor { services } => doctor::run(&env, &services).await,
            Command::Quota { command } => quota::run(&env, &command).await,
            Command::Task { command } => task::run(&env, &command).await,
            Command::Privacy { command } => privacy::run(&env, &command).await,
            Command::Audit { command } => audit::run(&command),
            Command::Ai { command } => ai::run(&command),
            Command::Openapi => openapi::print(),
            Command::Manifests { folder } => manifests::run(&folder),
            Command::Servers { migrated, command } => test_servers::run(migrated, &command).await,
        }
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("baton: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// What failed, then why. Some errors tell their cause themselves; it is not told twice.
fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&cause);
        }
    }
    line
}
