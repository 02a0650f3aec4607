//! The services as separate processes, each of which can be killed and restarted.

use std::{
    collections::HashMap,
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    Platform, baton_binary, eventually, free_address,
    meter::{Meter, excerpt},
};

/// The services behind the gateway.
const BEHIND: [&str; 6] = ["auth", "tenancy", "task", "notification", "automation", "privacy"];

/// Each service in its own process, with the data, keys, address and variables of a stopped platform. The processes are
/// killed on drop.
#[derive(Debug)]
pub struct Services {
    env: HashMap<String, String>,
    processes: HashMap<&'static str, Child>,
    folder: TempDir,
}

impl Services {
    /// Starts all services with additional variables and waits until the gateway is ready.
    pub async fn start(platform: &Platform, variables: &[(&str, &str)]) -> Self {
        let services = Self::spawn(platform, variables);
        platform.wait_until_ready().await;
        services
    }

    /// Starts all services with additional variables, without waiting for them.
    pub fn spawn(platform: &Platform, variables: &[(&str, &str)]) -> Self {
        let keys = std::fs::read_to_string(platform.data().join("keys.env")).expect("the keys of the platform");
        let keys = keys.lines().filter_map(|line| line.split_once('='));
        let mut env: HashMap<String, String> = platform.variables().iter().cloned().collect();
        env.extend(keys.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        for service in BEHIND {
            let role =
                |suffix: &str| format!("{}?options=-c%20role%3Dbaton_{service}{suffix}", platform.database_url());
            let (address, upper) = (free_address(), service.to_uppercase());
            set(&format!("BATON_{upper}_LISTEN"), address.to_string());
            set(&format!("BATON_{upper}_URL"), format!("http://{address}"));
            set(&format!("BATON_{upper}_DATABASE_URL"), role(""));
            set(&format!("BATON_{upper}_SYSTEM_DATABASE_URL"), role("_system"));
        }
        set("BATON_GATEWAY_LISTEN", platform.address().to_string());
        set("BATON_REDIS_URL", platform.redis_url());
        set("BATON_SMTP_URL", "smtp://127.0.0.1:1".to_owned());
        set("BATON_TASK_ATTACHMENTS_URL", format!("file://{}", platform.data().join("attachments").display()));
        set("BATON_TASK_ATTACHMENTS_PUBLIC_URL", platform.url());
        set("BATON_PRIVACY_EXPORTS_URL", format!("file://{}", platform.data().join("exports").display()));
        set("BATON_PRIVACY_PUBLIC_URL", platform.url());
        set("BATON_VAULT_URL", format!("file://{}", platform.data().join("vault").display()));
        set("BATON_LEDGER_URL", format!("file://{}", platform.data().join("ledger").display()));
        set("BATON_LOG", "warn".to_owned());
        let secrets = ["tenancy", "task", "automation", "privacy", "gateway"].map(|name| {
            let secret = &env[&format!("BATON_{}_SERVICE_SECRET", name.to_uppercase())];
            format!("{name}:{secret}")
        });
        env.insert("BATON_AUTH_SERVICE_SECRETS".to_owned(), secrets.join(","));
        env.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let folder = tempfile::tempdir().expect("a folder for what they print");
        let mut services = Self { env, processes: HashMap::new(), folder };
        for name in BEHIND.into_iter().chain(["gateway"]) {
            services.start_one(name);
        }
        services
    }

    /// The `baton` program with the environment of the services.
    pub fn command(&self) -> Command {
        let mut command = baton_binary();
        command.envs(&self.env).stdin(Stdio::null());
        command
    }

    /// A variable of the services.
    pub fn variable(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("{name} is not set"))
    }

    /// What a service has printed.
    pub fn printed(&self, name: &str) -> String {
        std::fs::read_to_string(self.output_of(name)).unwrap_or_default()
    }

    /// Kills one service with SIGKILL.
    pub fn kill_9(&mut self, name: &str) {
        let mut child = self.processes.remove(name).unwrap_or_else(|| panic!("{name} is not running"));
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
    }

    /// Starts one service, also after [`Services::kill_9`]: same address, same data.
    pub fn start_one(&mut self, name: &'static str) {
        let log = || File::options().create(true).append(true).open(self.output_of(name)).expect("a file of our own");
        let mut command = baton_binary();
        command.args(["serve", name]).envs(&self.env);
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let child = command.spawn().expect("the binary runs");
        assert!(self.processes.insert(name, child).is_none(), "{name} is already running");
    }

    /// Starts another instance of a service under this name. Nobody calls it; it does its part of the work.
    pub fn start_another(&mut self, service: &str, name: &'static str) {
        let log = || File::options().create(true).append(true).open(self.output_of(name)).expect("a file of our own");
        let mut command = baton_binary();
        command.args(["serve", service]).envs(&self.env);
        command.env(format!("BATON_{}_LISTEN", service.to_uppercase()), free_address().to_string());
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let child = command.spawn().expect("the binary runs");
        assert!(self.processes.insert(name, child).is_none(), "{name} is already running");
    }

    /// Starts a further gateway under this name, and returns its address.
    pub async fn start_gateway(&mut self, name: &'static str) -> SocketAddr {
        let address = free_address();
        self.restart_gateway(name, address);
        let ready = format!("http://{address}/readyz");
        eventually("the gateway is ready", || async {
            let response = reqwest::get(&ready).await.ok()?;
            response.status().is_success().then_some(())
        })
        .await;
        address
    }

    /// Starts a further gateway again, after [`Services::kill_9`].
    pub fn restart_gateway(&mut self, name: &'static str, address: SocketAddr) {
        let log = || File::options().create(true).append(true).open(self.output_of(name)).expect("a file of our own");
        let mut command = baton_binary();
        command.args(["serve", "gateway"]).envs(&self.env).env("BATON_GATEWAY_LISTEN", address.to_string());
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let child = command.spawn().expect("the binary runs");
        assert!(self.processes.insert(name, child).is_none(), "{name} is already running");
    }

    /// The process id of a service.
    pub fn pid(&self, name: &str) -> u32 {
        self.processes.get(name).unwrap_or_else(|| panic!("{name} is not running")).id()
    }

    /// A meter of these services.
    pub fn meter(&self, names: &[&str]) -> Meter {
        let pids = names.iter().filter_map(|name| Some(self.processes.get(name)?.id())).collect();
        Meter::new(pids, names.iter().map(|name| self.output_of(name)).collect())
    }

    fn output_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for (name, child) in &mut self.processes {
            child.kill().ok();
            child.wait().ok();
            if std::thread::panicking() {
                eprintln!("---- what {name} printed ----\n{}", excerpt(&self.folder.path().join(name)));
            }
        }
    }
}
