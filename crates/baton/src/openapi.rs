//! `baton openapi`: prints the OpenAPI document, without servers.

use std::{
    io::{ErrorKind, Write, stdout},
    process::ExitCode,
};

pub(crate) fn print() -> anyhow::Result<ExitCode> {
    let document = serde_json::to_string_pretty(&baton_gateway::openapi()?)?;
    match writeln!(stdout(), "{document}") {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}
