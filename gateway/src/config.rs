//! Configuration of the gateway.

use std::{net::SocketAddr, time::Duration};

use baton_runtime::Secret;

baton_runtime::config! {
    /// The gateway's settings.
    pub struct Config {
        /// Address to listen on, for HTTP/1.1 and HTTP/2 without TLS.
        pub listen: SocketAddr = "BATON_GATEWAY_LISTEN", default "127.0.0.1:8080";
        /// Redis: rate limits, and the event streams that feed WebSockets.
        pub redis_url: Secret = "BATON_REDIS_URL";
        /// URL where clients reach the gateway, for the OpenAPI document. Without it, the document refers to the host
        /// that serves it.
        pub public_url: Option<String> = "BATON_GATEWAY_PUBLIC_URL";
        /// Allowed CORS origins, exactly as browsers send them (`https://app.example.com`), separated by commas; a
        /// single `*` allows all.
        pub cors_origins: Vec<String> = "BATON_GATEWAY_CORS_ORIGINS", default "";
        /// Allowed `Host` values, without a port, separated by commas; `localhost` stands for all names and addresses
        /// of this machine. Empty allows any.
        pub allowed_hosts: Vec<String> = "BATON_GATEWAY_ALLOWED_HOSTS", default "";
        /// Maximum REST request body, in bytes; public RPCs accept 64 KiB.
        pub max_body_bytes: usize = "BATON_GATEWAY_MAX_BODY_BYTES", default "1048576";
        /// Issuer of access tokens; the same for all services.
        pub issuer: String = "BATON_ISSUER", default "https://baton.localhost";
        /// Secret with which the gateway identifies itself to auth, as in `BATON_AUTH_SERVICE_SECRETS`.
        pub service_secret: Secret = "BATON_GATEWAY_SERVICE_SECRET";
        /// Requests per hour of an address without sign-in. An account's limit is its tier's, see
        /// `BATON_TENANCY_TIER_LIMITS`.
        pub requests_per_hour_anonymous: u32 = "BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", default "100";
        /// Requests per hour of a signed-in user to RPCs that belong to no account (profile, sessions, list of
        /// accounts).
        pub requests_per_hour_user: u32 = "BATON_GATEWAY_REQUESTS_PER_HOUR_USER", default "1000";
        /// Networks of the load balancers before the gateway (`10.0.0.0/8`), separated by commas. `X-Forwarded-For` is
        /// trusted from these only.
        pub trusted_proxies: Vec<String> = "BATON_GATEWAY_TRUSTED_PROXIES", default "";
        /// Maximum open client connections.
        pub max_connections: usize = "BATON_GATEWAY_MAX_CONNECTIONS", default "16384";
        /// Maximum open connections from one address (IPv6: the /64). Load balancers of `BATON_GATEWAY_TRUSTED_PROXIES`
        /// are exempt.
        pub max_connections_per_address: u32 = "BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", default "512";
        /// Maximum open streaming calls and WebSockets of one user at one gateway.
        pub max_streams_per_person: u32 = "BATON_GATEWAY_MAX_STREAMS_PER_PERSON", default "50";
        /// Maximum open streaming calls and WebSockets of one account's members at one gateway. An account whose tier limits
        /// its members may have at most as many as these together.
        pub max_streams_per_account: u32 = "BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", default "10000";
        /// Time over which a draining gateway closes its WebSockets, in seconds, so that their clients do not reconnect all
        /// at once. Not longer than `BATON_DRAIN_DELAY_SECONDS`.
        pub socket_drain_time: Duration = "BATON_GATEWAY_SOCKET_DRAIN_SECONDS", default "30";
        /// Whether gRPC reflection is enabled: `true` or `false`.
        pub reflection: bool = "BATON_GATEWAY_REFLECTION", default "false";
        /// Whether internal RPCs can be called, and listed by reflection, from outside: `true` or `false`. They still
        /// require a service's token.
        pub internal_rpcs: bool = "BATON_GATEWAY_INTERNAL_RPCS", default "false";
        /// Timeout of a REST call, including reading its body, in seconds.
        pub timeout: Duration = "BATON_GATEWAY_TIMEOUT_SECONDS", default "30";
    }
}

/// A service behind the gateway, as the registry of services describes it.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Name of the service: `task`. It serves the proto package `baton.<name>.v1`.
    pub name: &'static str,
    /// `http://host:port` of the service.
    pub url: String,
    /// Whether the gateway is ready without the service. Then only the service's own calls fail while it is down.
    pub optional: bool,
}
