//! What the operating system has to do with us: life in the background, signals, the tick of every second, sockets.

pub mod daemon;
pub mod signals;
pub mod sockets;
pub mod ticker;
