//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Guards an Asterisk PBX: reads its live security events over AMI and blocks attackers in the kernel's firewall.
///
/// Without a command it runs in the foreground and logs to the log file of its configuration.
#[derive(Debug, Parser)]
#[command(name = "sipban", version, disable_version_flag = true, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/sipban.conf", global = true)]
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
    Ctl {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The command and its arguments, as on the console
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        words: Vec<String>,
    },
}
