//! A receiver that uses PyPI's `standardwebhooks`. `scripts/setup --tests` installs it. Tests of several crates include this file.

use std::{
    env,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use serde_json::{Map, Value, json};

/// The version that `scripts/setup` installs.
const VERSION: &str = "1.1.0";

/// A Python with standardwebhooks: the first on the PATH, to which `scripts/env.sh` adds the one of `scripts/setup`.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let import = "import sys, importlib.metadata as m; sys.exit(m.version('standardwebhooks') != sys.argv[1])";
    let has_package = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", import, VERSION]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("python3")).find(has_package);
    found.unwrap_or_else(|| panic!("no standardwebhooks {VERSION}: run scripts/setup --tests, and this by ./test"))
});

/// Verifies a received message with a secret: prints the message's JSON, or ends with status 1 and the reason.
pub(crate) fn verify(secret: &str, headers: &Map<String, Value>, body: &str) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/standard_webhooks.py");
    let message = json!({"secret": secret, "headers": headers, "body": body});
    let pipes =
        Command::new(&*PYTHON).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = pipes.unwrap();
    child.stdin.take().unwrap().write_all(message.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The headers of the head of a request, which begins with its request line.
pub(crate) fn headers(head: &str) -> Map<String, Value> {
    let headers = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    headers.map(|(name, value)| (name.to_owned(), value.into())).collect()
}
