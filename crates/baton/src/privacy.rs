//! `baton privacy`: verifies receipts of erasures, and repeats erasures in restored databases.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use baton_privacy::{Config, Receipt, SPEC, verify_receipt};
use baton_runtime::Env;
use serde_json::Value;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Repeats the erasures of the ledger in databases that were restored from a backup, with the environment of the privacy
    /// service. The services have to run; they become ready by it. Safe to repeat.
    Replay,
    /// Verifies the receipts of an erasure, without a server: the answer of `POST /v1/privacy/delete-account/status`.
    Verify {
        /// The answer, as JSON.
        #[arg(value_name = "FILE")]
        receipts: PathBuf,
        /// The public keys: the answer of `GET /v1/privacy/receipt-keys`.
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
    },
}

pub(crate) async fn run(env: &Env, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Replay => {
            let config = Config::from_env(&SPEC, env)?;
            baton_privacy::replay(config, |line| println!("{line}")).await?;
            println!("the databases know the whole ledger; the services become ready");
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { receipts, keys } => verify(receipts, keys),
    }
}

fn verify(receipts: &PathBuf, keys: &PathBuf) -> anyhow::Result<ExitCode> {
    let read = |path: &PathBuf| -> anyhow::Result<Value> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
    };
    let texts = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let keys: Vec<(String, String)> = read(keys)?["keys"]
        .as_array()
        .context("the file of keys has no `keys`")?
        .iter()
        .map(|key| (texts(key, "kid"), texts(key, "x")))
        .collect();
    let document = read(receipts)?;
    let signed = document["receipts"].as_array().filter(|signed| !signed.is_empty());
    let signed = signed.context("the file has no `receipts`; they are there once the erasure is completed")?;
    let mut request = None;
    for jws in signed {
        let receipt = verify_receipt(jws.as_str().context("a receipt is no text")?, &keys)?;
        ensure!(
            *request.get_or_insert(receipt.request_id) == receipt.request_id,
            "the receipts are of several requests"
        );
        print_receipt(&receipt);
        let remaining: i64 = receipt.tables.iter().map(|line| line.remaining).sum();
        ensure!(remaining == 0, "{} has {remaining} rows left", receipt.service);
    }
    println!("{} receipts are genuine, and nothing remains", signed.len());
    Ok(ExitCode::SUCCESS)
}

fn print_receipt(receipt: &Receipt) {
    println!("{}: counted {}", receipt.service, receipt.counted_at.format("%Y-%m-%d %H:%M UTC"));
    for line in &receipt.tables {
        let what = match line.treatment.as_str() {
            "delete" => format!("{} deleted", line.erased),
            "clear" => format!("{} cleared", line.erased),
            _ => format!("{} kept", line.kept),
        };
        let reason = if line.reason.is_empty() { String::new() } else { format!(" ({})", line.reason) };
        println!(
            "  {} as {}: {} found, {what}{reason}, {} remaining",
            line.table, line.subject, line.found, line.remaining
        );
    }
}
