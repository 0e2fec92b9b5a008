//! What the operating system has to do with us: life in the background, signals, the tick of every second.

pub mod daemon;
pub mod signals;
pub mod ticker;
