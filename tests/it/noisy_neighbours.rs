//! Noisy neighbours: somebody misuses the platform, and three people of other accounts do not notice.
//!
//! Each attack is made by one person, or by nobody who is known. Meanwhile three others create, read and list over REST,
//! gRPC and gRPC-Web, and each follows their board live. They see no error, memory and log stay small, and the streams go
//! on. How much slower they are is printed, and is no test: machines that run many tests at once are slow by themselves.

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
