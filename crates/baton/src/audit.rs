//! `baton audit`: verifies activity logs without a server.

use std::{fs::File, io::BufReader, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use baton_tenancy::{VerifiedLog, verify_audit_file};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Verifies that no row of an activity log was changed, removed or added since its checkpoint was signed. No server is
    /// needed.
    Verify {
        /// The answer of `GET /v1/activity-logs/audit`.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A public key, as `GET /v1/activity-logs/checkpoint` shows it, from a source that you trust. Without one, the keys in
        /// the file are used: then only what does not fit together is found.
        #[arg(long = "key", value_name = "KEY")]
        keys: Vec<String>,
    },
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Verify { file, keys } = command;
    let reader = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    match verify_audit_file(BufReader::new(reader), keys) {
        Ok(VerifiedLog { account_id, size, rows, unverified_until }) => {
            println!("account {account_id}: the tree that was signed has {size} rows.");
            if let Some((first, last)) = rows {
                println!("Rows {first} to {last} are in the file, none is missing, and they are as they were logged.");
                if first > 1 {
                    println!("Rows before {first} are not in the file: they are kept for some time only.");
                }
            }
            if let Some(last) = unverified_until {
                println!(
                    "NOT VERIFIED is what the rows up to {last} say: they are of version 1, which needs their address. That they \
                     are in the tree is."
                );
            }
            if keys.is_empty() {
                println!(
                    "The keys were those in the file. Compare them with a source that you trust, or name one by --key."
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{}: {error:#}", file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}
