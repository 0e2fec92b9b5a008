//! Protection has no gaps: not while the daemon is restarted or killed, nor when others change the rules, nor when the
//! disk is full, read-only or damaged.

#[path = "common/fire.rs"]
mod fire;
#[path = "common/lab.rs"]
mod lab;

#[path = "robustness/journal.rs"]
mod journal;
#[path = "robustness/rules.rs"]
mod rules;
