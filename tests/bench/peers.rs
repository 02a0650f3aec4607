//! Other servers of WebSockets.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use baton_tests::free_address;
use futures_util::{StreamExt, stream};
use tempfile::TempDir;

use crate::{
    CONNECTING, pss_kib,
    sockets::{Fleet, Socket},
};

/// The servers, in the order of the tables.
pub(crate) const PEERS: [&str; 3] = ["ws", "socket.io", "nchan"];

/// A server that sends what is posted to `/publish` to all sockets: one of `bench/peers.mjs`, or nginx with nchan.
pub(crate) struct Peer {
    process: Child,
    /// Its configuration and what it writes.
    _folder: Option<TempDir>,
    pub(crate) address: SocketAddr,
    name: &'static str,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// `None` if its package is not installed.
    pub(crate) fn start(name: &'static str) -> Option<Self> {
        if name == "nchan" {
            return Self::start_nchan();
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/peers.mjs");
        let mut process = Command::new("node").args([script, name]).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take()?).read_line(&mut line).ok()?;
        let address = line.trim().parse();
        if address.is_err() {
            println!("{name} is not installed: {}", line.trim());
        }
        Some(Self { address: address.ok()?, process, _folder: None, name })
    }

    /// nginx with the module nchan, one worker (Debian: `nginx-light libnginx-mod-nchan`).
    fn start_nchan() -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let address = free_address();
        let module = "/usr/lib/nginx/modules/ngx_nchan_module.so";
        if !std::path::Path::new(module).exists() {
            println!("nchan is not installed");
            return None;
        }
        let configuration = format!(
            "load_module {module}; daemon off; worker_processes 1; master_process off; pid pid; error_log error.log;
             worker_rlimit_nofile 20000;
             events {{ worker_connections 19000; }}
             http {{
               access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
               uwsgi_temp_path uwsgi; scgi_temp_path scgi; nchan_max_reserved_memory 256M;
               server {{
                 listen {address};
                 location = / {{ nchan_subscriber websocket; nchan_channel_id all; nchan_subscriber_first_message newest; }}
                 location = /publish {{ nchan_publisher http; nchan_channel_id all; nchan_message_buffer_length 1000; }}
               }}
             }}"
        );
        std::fs::write(folder.path().join("nginx.conf"), configuration).ok()?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]).stdout(Stdio::null());
        let process = command.spawn().ok()?;
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if started.elapsed() > Duration::from_secs(10) {
                println!(
                    "nchan does not start: {}",
                    std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default()
                );
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { process, address, _folder: Some(folder), name: "nchan" })
    }

    async fn connect(&self) -> Socket {
        let is_socket_io = self.name == "socket.io";
        let path = if is_socket_io { "/socket.io/?EIO=4&transport=websocket" } else { "/" };
        let mut socket = Socket::open(self.address, path, None).await.unwrap();
        if is_socket_io {
            socket.send("40").await.unwrap();
            socket.wait_for("40{").await.unwrap();
        }
        socket
    }

    pub(crate) async fn fleet(&self, count: usize) -> (Fleet, Duration) {
        let started = Instant::now();
        let sockets = stream::iter(0..count).map(|_| self.connect()).buffer_unordered(CONNECTING);
        let sockets: Vec<_> = sockets.collect().await;
        let taken = started.elapsed();
        let mut fleet = Fleet::new();
        sockets.into_iter().for_each(|socket| fleet.add(socket, 0, self.name == "socket.io"));
        (fleet, taken)
    }

    pub(crate) fn memory_kib(&self) -> u64 {
        pss_kib(self.process.id())
    }
}
