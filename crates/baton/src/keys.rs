//! `baton keys`: the keys that sign tokens.

use std::process::ExitCode;

use baton_auth::{KeyState, KeysConfig, signing_keys};
use baton_runtime::Env;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Which keys there are, and what each is.
    List,
    /// Makes another key. It is published at once and signs in 15 minutes, when everybody knows it; nobody is signed
    /// out. Repeating it while a key waits does nothing.
    Rotate,
}

pub(crate) async fn run(env: &Env, command: &Command) -> anyhow::Result<ExitCode> {
    let config = KeysConfig::from_env(env)?;
    for key in signing_keys(&config, matches!(command, Command::Rotate)).await? {
        let state = match key.state {
            KeyState::Next => "next",
            KeyState::Current => "current",
            KeyState::Retired => "retired",
        };
        println!("{}  {state:7}  signs from {}", key.kid, key.signs_from.format("%Y-%m-%dT%H:%M:%SZ"));
    }
    Ok(ExitCode::SUCCESS)
}
