//! SIPban guards an Asterisk PBX: it reads Asterisk's live security events over AMI and blocks attackers in the
//! kernel's firewall.
//!
//! # The shape
//! One thread a component; each does its work and tells the owner, which alone holds the ban state and alone runs the
//! firewall's commands. One inbox, so the order of arrival is the order of effect.
//! ```text
//!  ami       ── Security, Ami, Pong ───┐
//!  sessions  ── Request + reply sender ┤  bounded    owner
//!  resolver  ── Resolved ──────────────┼──Event──►  gather → judge → enforce → commit → tell
//!  fleet     ── Fleet ─────────────────┤
//!  ticker    ── Tick ──────────────────┤
//!  signals   ── Reload, Shutdown ──────┘
//! ```
//! `ami` waits when the inbox is full: TCP then holds Asterisk back and nothing is dropped. A console session gives up
//! after a while and says that the daemon is busy. The owner never waits for any of them, nor for a network. A panic
//! anywhere ends the process; start-up adopts what is in the kernel.
//!
//! # The rooms
//! Imports run down only, from the first of these to the last.
//! ```text
//!  main, cli   start, words of the command line
//!  command     a subcommand each: serve (the daemon), ctl, replay, check, stats, fleet
//!  owner       the loop; start-up and upkeep, answers to the console, the gate that every block passes, what is pending
//!  ami         thread: connects, logs in, pings; frames and security events as Asterisk sends them
//!  judge       whom to block, on what evidence
//!  protection  who is never blocked: white list, names in it (thread), this machine
//!  crowdsec    thread: a local API of CrowdSec, its decisions and our reports
//!  feed        threads: lists of others; what is asked of their sources, what may be believed, what the kernel holds of it
//!  hook        thread: the administrator's program, which is told what happened
//!  geo         where addresses are, by files that the administrator has
//!  system      daemon and service manager, signals (thread), ticker (thread)
//!  event       what wakes the owner
//!  metrics     threads: numbers for Prometheus, at an endpoint and in a file
//!  console     threads: sessions; who is let in, commands, texts of the answers, whois
//!  listener    threads: takes connections, tells root, other users and strangers apart; the kernel's tables of sockets
//!  fleet       threads: one reads what other PBXs say, one tells them what is blocked here; votes, and what they cost
//!  state       what survives: journal (with the thread that syncs it), dump
//!  firewall    iptables or ipset behind one trait, or none in a dry run; which traffic; the programs that are run
//!  logging     the log: budget of its lines, repeats, local time, escapes
//!  config      sipban.conf
//!  model       values that all speak of: clock, addresses, blocks and the book of them, security events
//!  web, tls    web servers, asked within bounds; whom to trust
//!  file        regular files, opened without waiting
//!  failure     why the program ends, and with which status
//! ```
//!
//! # What always holds
//! - The book, the log and the console claim only what the kernel took, and when it is seen that a block is not there they
//!   claim it no longer. The journal holds that, and what the kernel refused, to be tried again ([`owner`]).
//! - Evidence counts only from events that Asterisk is known to have written as they stand ([`ami::security`]).
//! - Nobody protected is blocked, on whatever evidence and by whomever: every block passes one gate ([`owner`]).
//! - What decides is pure: [`judge`], [`model`], [`firewall::scope`], [`ami::frame`], [`ami::security`] take the time as
//!   an argument and neither read nor write anything.
//! - What other PBXs say frees nobody, and blocks nobody who is protected or lives here ([`owner::fleet`]). What each of them
//!   costs is bounded ([`fleet::budget`]).
//! - What strangers send takes bounded memory: a frame at most [`ami::frame::MAX_FRAME`], evidence
//!   `limits.memory`. At most [`firewall::Firewall::capacity`] blocks
//!   are in force but for those of one turn, and as many wait for the kernel to take them. The inbox, console sessions and
//!   their lines, and what the log keeps apart are bounded too. What the administrator writes, the white list and the
//!   dump, is held as it is.

pub mod ami;
pub mod cli;
pub mod command;
pub mod config;
pub mod console;
pub mod crowdsec;
pub mod event;
pub mod failure;
pub mod feed;
pub mod file;
pub mod firewall;
pub mod fleet;
pub mod geo;
pub mod hook;
pub mod judge;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod owner;
pub mod protection;
pub mod state;
pub mod system;
pub mod tls;
pub mod web;
