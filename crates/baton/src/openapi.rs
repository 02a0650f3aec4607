//! `baton openapi`: the document, without servers.

use std::process::ExitCode;

pub(crate) fn print() -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&baton_gateway::openapi()?)?);
    Ok(ExitCode::SUCCESS)
}
