//! CrowdSec: the daemon as a bouncer and as a machine, with the real local API where that is installed, and with one that
//! misbehaves.

#[path = "common/lab.rs"]
mod lab;
#[path = "common/web.rs"]
mod web;

#[path = "crowdsec/api.rs"]
mod api;
#[path = "crowdsec/real.rs"]
mod real;
