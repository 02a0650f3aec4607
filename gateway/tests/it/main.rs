//! Tests of the real gateway in front of a fake service over gRPC.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]

mod compression;
mod errors;
mod etag;
mod fake_service;
mod files;
mod fixture;
mod grpc;
mod grpc_web;
mod isolation;
mod merge_patch;
mod middleware;
mod openapi;
mod rate_limit;
mod rest;
mod webhook;
