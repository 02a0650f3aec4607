//! The real gateway at a port of its own, in front of a scripted service that speaks real gRPC.

mod bad_input;
mod compression;
mod edge;
mod etag;
mod files;
mod gateway;
mod grpc;
mod grpc_web;
mod isolation;
mod merge_patch;
mod openapi;
mod rate_limit;
mod rest;
mod service;
mod webhook;
