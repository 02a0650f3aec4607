//! What the gateway is told at start.

use std::{net::SocketAddr, time::Duration};

/// Configuration of the gateway. Each field names its environment variable and default.
#[derive(Debug, Clone)]
pub struct Config {
    /// `BATON_GATEWAY_LISTEN`: address to listen at. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `BATON_AUTH_URL`: `http://host:port` of the auth service.
    pub auth_url: String,
    /// `BATON_TENANCY_URL`: `http://host:port` of the tenancy service.
    pub tenancy_url: String,
    /// `BATON_TASK_URL`: `http://host:port` of the task service.
    pub task_url: String,
    /// `BATON_NOTIFICATION_URL`: `http://host:port` of the notification service.
    pub notification_url: String,
    /// `BATON_GATEWAY_PUBLIC_URL`: where clients reach the gateway, for the OpenAPI document. Default:
    /// none, the document then names the host it was read from.
    pub public_url: Option<String>,
    /// `BATON_GATEWAY_CORS_ORIGINS`: origins of browsers that may call, exactly as they send them
    /// (`https://app.example.com`), separated by commas; a lone `*` lets all in. Default: none.
    pub cors_origins: Vec<String>,
    /// `BATON_GATEWAY_MAX_BODY_BYTES`: largest REST request body, in bytes. Default 1048576. gRPC
    /// bodies are streamed; the services limit them.
    pub max_body_bytes: usize,
    /// `BATON_GATEWAY_TIMEOUT_SECONDS`: how long a REST call may take, reading its body included.
    /// Default 30.
    pub timeout: Duration,
}

impl Config {
    /// The proto packages and the services that answer them. A new service gets its line here.
    pub(crate) fn upstreams(&self) -> [(&'static str, &str); 4] {
        [
            ("baton.auth.v1", &self.auth_url),
            ("baton.tenancy.v1", &self.tenancy_url),
            ("baton.task.v1", &self.task_url),
            ("baton.notification.v1", &self.notification_url),
        ]
    }
}
