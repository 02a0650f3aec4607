//! The keys of embedded mode: made once, kept in `.baton/keys.env`, readable by their owner only.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use baton_runtime::Env;

const FILE: &str = "keys.env";

/// Gives `env` the keys that it does not have: those of the file, which is made when it is missing.
pub(crate) fn provide(env: &mut Env, data: &Path) -> anyhow::Result<()> {
    let path = data.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => create(&path)?,
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read {}; give its owner back the right to", path.display()));
        }
    };
    for line in text.lines() {
        let (name, value) = line.split_once('=').with_context(|| {
            format!("{} is damaged; remove it to have new keys made, which signs everyone out", path.display())
        })?;
        env.set_default(name, value);
    }
    Ok(())
}

fn create(path: &Path) -> anyhow::Result<String> {
    let random = || STANDARD.encode(rand::random::<[u8; 32]>());
    let text = format!(
        "BATON_AUTH_SIGNING_KEYS={}\nBATON_AUTH_MAILED_TOKEN_KEY={}\nBATON_TENANCY_MAILED_TOKEN_KEY={}\n",
        baton_auth::generate_signing_key()?,
        random(),
        random()
    );
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(text)
}
