//! SIPban guards an Asterisk PBX: it reads Asterisk's live security events over AMI and blocks attackers in the
//! kernel's firewall.
//!
//! # The shape
//! One thread a component; each does its work and tells the owner, which alone holds the ban state and alone runs the
//! firewall's commands. One inbox, so the order of arrival is the order of effect.
//! ```text
//!  ami       ── Security, Ami, Pong ───┐
//!  console-N ── Request + reply sender ┤  bounded    owner
//!  resolver  ── Resolved ──────────────┼──Event──►  gather → judge → enforce → commit → tell
//!  ticker    ── Tick ──────────────────┤
//!  signals   ── Reload, Shutdown ──────┘
//! ```
//! `ami` waits when the inbox is full: TCP then holds Asterisk back and nothing is dropped. A console session gives up
//! after a while and says that the daemon is busy. The owner never waits for any of them, nor for a network. A panic
//! anywhere ends the process; start-up adopts what is in the kernel.
//!
//! # What always holds
//! - The book, the journal, the log and the console claim only what the kernel was seen to take ([`owner`]).
//! - Evidence counts only from events that Asterisk is known to have written as they stand ([`ami::security`]).
//! - Nobody protected is blocked, on whatever evidence ([`judge`]).
//! - What decides is pure: [`judge`], [`model`], [`firewall::scope`], [`ami::frame`], [`ami::security`] take the time as
//!   an argument and neither read nor write anything.
//! - Memory is bounded, whatever comes in: a frame by [`ami::frame::MAX_FRAME`], evidence by
//!   [`judge::evidence::MAX_SOURCES`] and [`judge::evidence::MAX_ITEMS`], the inbox, console sessions and their lines.

pub mod ami;
pub mod cli;
pub mod command;
pub mod config;
pub mod console;
pub mod event;
pub mod failure;
pub mod file;
pub mod firewall;
pub mod judge;
pub mod logging;
pub mod model;
pub mod owner;
pub mod protection;
pub mod state;
pub mod system;
