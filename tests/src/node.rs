//! Third-party clients: scripts of `clients/`, run by Node.js. They print one JSON value per line.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout_at,
};

/// Timeout for a script's next line. Generous, because Chromium shares two cores with other tests.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs a script of `clients/` with one argument and returns the values it printed.
pub async fn run_node(script: &str, argument: &Value) -> Vec<Value> {
    let mut node = Node::start(script, argument);
    let mut printed = Vec::new();
    while let Some(line) = node.next().await {
        printed.push(line);
    }
    let status = node.child.wait().await.expect("a child of ours");
    assert!(status.success(), "{script}: {status}; it printed {printed:#?}");
    printed
}

/// A running script. It is killed on drop.
#[derive(Debug)]
pub struct Node {
    script: String,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    unexpected: Vec<Value>,
}

impl Node {
    /// Starts a script of `clients/`.
    pub fn start(script: &str, argument: &Value) -> Self {
        let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients");
        assert!(clients.join("node_modules").is_dir(), "the npm packages are missing; run scripts/setup --tests");
        let mut child = Command::new("node")
            .arg(clients.join(script))
            .arg(argument.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let stdin = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { script: script.to_owned(), child, stdin, lines, unexpected: Vec::new() }
    }

    /// Writes a line to the script's standard input.
    pub async fn write_line(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Waits for the first line that `wanted` accepts. Other lines are kept for later calls.
    pub async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.unexpected.iter().position(&wanted) {
            return self.unexpected.remove(index);
        }
        loop {
            match self.next().await {
                Some(line) if wanted(&line) => return line,
                Some(line) => self.unexpected.push(line),
                None => panic!("{} ended without {what}; it printed {:#?}", self.script, self.unexpected),
            }
        }
    }

    /// Printed lines that no call has returned.
    pub fn unexpected(&self) -> &[Value] {
        &self.unexpected
    }

    async fn next(&mut self) -> Option<Value> {
        let deadline = Instant::now() + OUTPUT_TIMEOUT;
        let line = timeout_at(deadline.into(), self.lines.next_line()).await.unwrap_or_else(|_| {
            panic!("{} printed nothing for {OUTPUT_TIMEOUT:?}; before: {:#?}", self.script, self.unexpected)
        });
        let line = line.expect("UTF-8")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }
}
