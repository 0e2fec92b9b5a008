//! What survives a restart: the journal of blocks, the dump of `flush`, and files that are replaced whole.

pub mod dump;
pub mod durable;
pub mod journal;
mod lines;
