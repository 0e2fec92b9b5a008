//! Lists of others: sources that misbehave in every way, and what becomes of lists in the kernel.

#[path = "common/lab.rs"]
mod lab;

#[path = "feed/daemon.rs"]
mod daemon;
#[path = "common/web.rs"]
mod server;
#[path = "feed/sources.rs"]
mod sources;
