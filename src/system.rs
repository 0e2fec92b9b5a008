//! What we have to do with the operating system: life in the background, signals, the tick of every second.

pub mod daemon;
pub mod signals;
pub mod ticker;
