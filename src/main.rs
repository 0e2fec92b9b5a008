//! The program: reads its arguments, does what they say, and ends with the status that says how it went.

use std::fs::File;
use std::io::{Write, stderr, stdin, stdout};
use std::process::ExitCode;

use clap::Parser;
use sipban::cli::{Cli, Command};
use sipban::command::serve::serve;
use sipban::command::{check, ctl, fleet, replay, stats};
use sipban::model::clock::Clock;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        None => serve(&cli.config, &cli.run).map(|()| 0),
        Some(Command::Replay { file }) => {
            let open = || File::open(file);
            replay::print(&cli.config, open).map(|()| 0).map_err(|failure| failure.about(file))
        }
        Some(Command::Ctl(options)) => ctl::run(&cli.config, options, &mut stdout(), &mut stderr()),
        Some(Command::Check(options)) => check::run(&cli.config, options, &Clock::start(), &mut stdout()),
        Some(Command::Fleet(what)) => fleet::run(&cli.config, what, &mut stdin().lock(), &mut stdout()).map(|()| 0),
        Some(Command::Stats(options)) => stats::run(&cli.config, options, &mut stdout(), &mut stderr()).map(|()| 0),
    };
    done.map_or_else(
        |failure| {
            // With nobody left to read it, the exit status has to do.
            let _ = writeln!(stderr(), "sipban: {failure}");
            ExitCode::from(failure.code)
        },
        ExitCode::from,
    )
}
