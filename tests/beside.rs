//! Life beside other firewalls: none is harmed, none lets an attacker in for longer than a look at the rules takes.

#[path = "beside/distribution.rs"]
mod distribution;
#[path = "common/fire.rs"]
mod fire;
#[path = "beside/freepbx.rs"]
mod freepbx;
#[path = "common/lab.rs"]
mod lab;
