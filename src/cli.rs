//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The configuration, unless told otherwise.
pub const CONFIG: &str = "/etc/sipban.conf";

/// Guards an Asterisk PBX: reads its live security events over AMI and blocks attackers in the kernel's firewall.
///
/// Without a command it runs in the foreground and logs to the log file of its configuration.
#[derive(Debug, Parser)]
#[command(name = "sipban", version, disable_version_flag = true)]
pub struct Cli {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = CONFIG, global = true)]
    pub config: PathBuf,

    /// How to run
    #[command(flatten)]
    pub run: Run,

    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// How the daemon runs.
#[derive(Args, Debug)]
pub struct Run {
    /// Run as a daemon, with a pid file
    #[arg(short, long)]
    pub daemon: bool,

    /// File that holds the daemon's process number
    #[arg(long, value_name = "FILE", default_value = "/run/sipban.pid")]
    pub pid_file: PathBuf,

    /// Dry run: judge and log, touch no firewall
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge a recorded AMI stream by its own timestamps and print the log lines it would have caused
    Replay {
        /// The recorded stream
        file: PathBuf,
    },
    /// Do one console command and print its answer
    Ctl(Ctl),
    /// Look whether all that the daemon needs is there, a line each; exit 0 if every line says OK, else 1
    Check(Check),
    /// Whatever concerns all PBXs of the fleet
    #[command(subcommand)]
    Fleet(Fleet),
    /// Say what the log files say: blocks by reason, hour and day, the most frequent addresses and networks
    Stats(Stats),
}

/// What `ctl` asks of which console.
#[derive(Args, Debug)]
pub struct Ctl {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Address of the console, if it is not on loopback
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<IpAddr>,

    /// Port of the console, if it is not that of the configuration
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// The command and its arguments, as on the console
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub words: Vec<String>,
}

/// How `check` looks.
#[derive(Args, Debug)]
pub struct Check {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Folder of Asterisk's configuration
    #[arg(long, value_name = "FOLDER", default_value = "/etc/asterisk")]
    pub asterisk: PathBuf,
}

/// What `fleet` does.
#[derive(Debug, Subcommand)]
pub enum Fleet {
    /// Print what makes the server know a member: an ACL under which it writes its own keys and no others
    Acl {
        /// The member's name, or admin for the administrator of the fleet
        name: String,
    },
    /// Block an address or network at every PBX, as the administrator of the fleet; his password is read from stdin
    Block {
        /// Address or network
        net: String,
        /// For so many seconds; without it as long as the first block lasts
        seconds: Option<u64>,
    },
    /// Free an address or network at every PBX, whoever blocks it, as the administrator of the fleet; his password is
    /// read from stdin
    Unblock {
        /// Address or network
        net: String,
    },
}

/// What `stats` reads and shows.
#[derive(Args, Debug)]
pub struct Stats {
    /// Log files, gzipped or not, - for standard input; without any the log of the configuration and its rotations
    #[arg(value_name = "LOG")]
    pub logs: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,

    /// Write a page with pictures, which needs nothing but itself, into a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv"])]
    pub html: Option<PathBuf>,

    /// How many addresses and networks to name
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,

    /// How many days to show bars for, the last ones; JSON, CSV and HTML have all of them
    #[arg(long, value_name = "N", default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..))]
    pub days: u32,
}
