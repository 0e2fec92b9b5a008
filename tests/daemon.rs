//! The whole daemon as those meet it who run it: the real program against a scripted Asterisk, with the real netfilter
//! of a network of its own.

#[path = "common/lab.rs"]
mod lab;
#[path = "common/mmdb.rs"]
mod mmdb;

#[path = "daemon/access.rs"]
mod access;
#[path = "daemon/blocks.rs"]
mod blocks;
#[path = "daemon/captures.rs"]
mod captures;
#[path = "daemon/connection.rs"]
mod connection;
#[path = "daemon/dialogue.rs"]
mod dialogue;
#[path = "daemon/geo.rs"]
mod geo;
#[path = "daemon/hook.rs"]
mod hook;
#[path = "daemon/journal.rs"]
mod journal;
#[path = "daemon/metrics.rs"]
mod metrics;
#[path = "daemon/running.rs"]
mod running;
#[path = "daemon/shield.rs"]
mod shield;
#[path = "daemon/starting.rs"]
mod starting;
