//! What the gateway is told at start.

use std::{net::SocketAddr, time::Duration};

use baton_runtime::Secret;

baton_runtime::config! {
    /// Configuration of the gateway.
    pub struct Config {
        /// Address to listen at, for HTTP/1.1 and HTTP/2 without TLS.
        pub listen: SocketAddr = "BATON_GATEWAY_LISTEN", default "127.0.0.1:8080";
        /// `http://host:port` of the auth service.
        pub auth_url: String = "BATON_AUTH_URL";
        /// `http://host:port` of the tenancy service.
        pub tenancy_url: String = "BATON_TENANCY_URL";
        /// `http://host:port` of the task service.
        pub task_url: String = "BATON_TASK_URL";
        /// `http://host:port` of the notification service.
        pub notification_url: String = "BATON_NOTIFICATION_URL";
        /// Redis, whose streams carry what is pushed to WebSockets.
        pub redis_url: Secret = "BATON_REDIS_URL";
        /// Where clients reach the gateway, for the OpenAPI document; when absent, it names the host that it
        /// was read from.
        pub public_url: Option<String> = "BATON_GATEWAY_PUBLIC_URL";
        /// Origins of browsers that may call, exactly as they send them (`https://app.example.com`), separated
        /// by commas; a lone `*` lets all in.
        pub cors_origins: Vec<String> = "BATON_GATEWAY_CORS_ORIGINS", default "";
        /// Hosts that requests may name (`Host`), without a port, separated by commas; `localhost` stands for all names and
        /// addresses of this machine. Any when empty.
        pub allowed_hosts: Vec<String> = "BATON_GATEWAY_ALLOWED_HOSTS", default "";
        /// Largest REST request body, in bytes; calls that anyone may make take 64 KiB. gRPC bodies are streamed; the services limit them.
        pub max_body_bytes: usize = "BATON_GATEWAY_MAX_BODY_BYTES", default "1048576";
        /// Issuer of access tokens, the same for all services.
        pub issuer: String = "BATON_ISSUER", default "https://baton.localhost";
        /// Requests in an hour from an address whose client is not signed in. What accounts have is their tier's, see
        /// `BATON_TENANCY_TIER_LIMITS`.
        pub requests_per_hour_anonymous: u32 = "BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", default "100";
        /// Requests in an hour of someone who is signed in, to what is theirs and no account's (profile, sessions,
        /// list of accounts).
        pub requests_per_hour_user: u32 = "BATON_GATEWAY_REQUESTS_PER_HOUR_USER", default "1000";
        /// Networks of load balancers before the gateway (`10.0.0.0/8`), separated by commas: from them, and from
        /// nobody else, `X-Forwarded-For` is believed.
        pub trusted_proxies: Vec<String> = "BATON_GATEWAY_TRUSTED_PROXIES", default "";
        /// Connections that the gateway keeps open at a time.
        pub max_connections: usize = "BATON_GATEWAY_MAX_CONNECTIONS", default "8192";
        /// Connections from one address (IPv6: the /64) at a time; load balancers of `BATON_GATEWAY_TRUSTED_PROXIES` may have
        /// all.
        pub max_connections_per_address: u32 = "BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", default "512";
        /// Streaming calls and WebSockets that a person has open at one gateway.
        pub max_streams_per_person: u32 = "BATON_GATEWAY_MAX_STREAMS_PER_PERSON", default "64";
        /// Streaming calls and WebSockets that the members of an account have open at one gateway together.
        pub max_streams_per_account: u32 = "BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", default "1024";
        /// Whether gRPC reflection shows the contract: `true` or `false`.
        pub reflection: bool = "BATON_GATEWAY_REFLECTION", default "false";
        /// Whether RPCs that are for services only can be called, and seen by reflection, from outside: `true` or `false`.
        /// They still demand a service's token.
        pub internal_rpcs: bool = "BATON_GATEWAY_INTERNAL_RPCS", default "false";
        /// How long a REST call may take, reading its body included, in seconds.
        pub timeout: Duration = "BATON_GATEWAY_TIMEOUT_SECONDS", default "30";
    }
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
