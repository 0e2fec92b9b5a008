//! Values that every room speaks of.
//!
//! PURE but for [`clock`], which is the only caller of the system's clocks. Imports nothing above itself.

pub mod allowlist;
pub mod block;
pub mod book;
pub mod clock;
pub mod country;
pub mod member;
pub mod memory;
pub mod net;
pub mod nets;
pub mod quote;
pub mod security;
pub mod target;
