//! A private Redis.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Error, Options, RedisBinary,
    data_dir::DataDir,
    server::{Launch, Server},
};

/// A private Redis (or Valkey) on 127.0.0.1.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    password: String,
    data_dir: PathBuf,
}

impl Redis {
    /// Starts a server with its data in `dir`, which is created if it is missing, and waits until it accepts commands.
    pub async fn start(binary: &RedisBinary, dir: &Path, options: Options) -> Result<Self, Error> {
        let folder = DataDir::open("Redis", dir, &["redis", "_redis", "nobody"], &options).await?;
        let password = folder.password()?;
        let data = folder.data();
        if !data.exists() {
            folder.create("data")?;
        }
        let launch = |port| {
            // The configuration is a file, because the arguments of a process are visible to everyone.
            let configuration = folder.write_secret("redis.conf", &configuration(port, &password, &data, &options))?;
            Ok(Launch { program: binary.program.clone(), arguments: vec![configuration.into()] })
        };
        let is_ready = async |_, port| {
            timeout(Duration::from_secs(1), ping(port, &password))
                .await
                .is_ok_and(|response| response.is_ok_and(|ready| ready))
        };
        let (server, port) = Server::start(&folder, launch, is_ready).await?;
        Ok(Self { server, port, password, data_dir: data })
    }

    /// The URL of database 0.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/0", self.password, self.port)
    }

    /// The port on 127.0.0.1; a different one at each start.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The pid, until the server has ended.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The data folder: in the folder given to [`Redis::start`], or in the fallback folder if its user cannot enter
    /// that.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Resolves when the server has ended on its own. Cancel-safe.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.server.exited().await
    }

    /// Writes durable data, and ends the server. Takes at most 9 seconds.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn configuration(port: u16, password: &str, data: &Path, options: &Options) -> String {
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    [
        "bind 127.0.0.1".to_owned(),
        format!("port {port}"),
        format!("requirepass {password}"),
        format!("maxclients {}", options.max_connections),
        format!("dir {}", quoted(data)),
        format!("pidfile {}", quoted(&data.join("redis.pid"))),
        "daemonize no".to_owned(),
        "logfile \"\"".to_owned(),
        // The append-only file keeps the data; an additional dump would only cost writes.
        "save \"\"".to_owned(),
        format!("appendonly {}", if options.durable { "yes" } else { "no" }),
        "appendfsync everysec".to_owned(),
        // Streams and leases must not be evicted silently when memory runs out.
        "maxmemory-policy noeviction".to_owned(),
    ]
    .join("\n")
        + "\n"
}

/// Whether the server with our password responds and has loaded its data.
async fn ping(port: u16, password: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response.starts_with("+OK\r\n+PONG\r\n"))
}
