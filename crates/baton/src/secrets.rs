//! The keys of embedded mode: made once, kept in `.baton/keys.env`, readable by their owner only.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use baton_runtime::{Env, random};

use crate::platform;

const FILE: &str = "keys.env";

/// Gives `env` the keys that it does not have: those of the file. What the file lacks, as one of an earlier version
/// does, is made and added.
pub(crate) fn provide(env: &mut Env, data: &Path) -> anyhow::Result<()> {
    let path = data.join(FILE);
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read {}; give its owner back the right to", path.display()));
        }
    };
    let mut missing = String::new();
    let own = platform::specs().flat_map(|spec| spec.generated_keys).map(|&(name, before)| (name.to_owned(), before));
    let with_secret = platform::with_service_secret();
    let keys = own.chain(with_secret.iter().map(|name| (platform::secret_variable(name), "")));
    for (name, before) in keys {
        if !text.lines().any(|line| line.starts_with(&format!("{name}="))) {
            missing += &format!("{name}={before}{}\n", STANDARD.encode(random::bytes::<32>()));
        }
    }
    if !missing.is_empty() {
        add(&path, &missing)?;
        text += &missing;
    }
    for line in text.lines() {
        let (name, value) = line.split_once('=').with_context(|| {
            format!("{} is damaged; remove it to have new keys made, which signs everyone out", path.display())
        })?;
        env.set_default(name, value);
    }
    // Auth knows the secrets of the services that call it.
    let secret = |name: &&str| format!("{name}:{}", env.get(&platform::secret_variable(name)).unwrap_or_default());
    let known: Vec<String> = with_secret.iter().map(secret).collect();
    env.set_default("BATON_AUTH_SERVICE_SECRETS", known.join(","));
    Ok(())
}

fn add(path: &Path, lines: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
