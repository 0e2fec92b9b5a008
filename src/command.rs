//! What the program can be told to do, a room for each: run as the daemon, or one of the subcommands.

pub mod check;
pub mod ctl;
pub mod fleet;
mod known;
pub mod replay;
pub mod serve;
pub mod stats;
