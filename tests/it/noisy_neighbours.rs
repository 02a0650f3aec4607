//! Noisy neighbours: one caller misuses the platform, and three users of other accounts are not affected.
//!
//! Each attack comes from one user or an anonymous client. Meanwhile three users create, read and list over REST, gRPC
//! and gRPC-Web, and each follows their board live. They must see no error, memory and log must stay small, and the
//! streams must stay open. Their slowdown is printed but not asserted, because machines that run many tests at once are
//! slow anyway.

mod attacker;
mod broken_streams;
mod cable_connections;
mod cancelled_calls;
mod http2_abuse;
mod idle_connections;
mod large_error_responses;
mod neighbours;
mod rejected_calls;
mod stream_limits;
mod unfinished_requests;
mod unread_responses;
