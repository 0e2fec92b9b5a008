//! The files that the daemon writes, and the time that it writes into them.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tz::TimeZone;

use super::service::Use;
use super::{Finding, Level, Machine};
use crate::file;
use crate::logging::{Target, local_time};
use crate::state::durable::folder_of;

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let config = machine.config;
    vec![
        log(machine, &config.log_file),
        journal(machine, &config.journal),
        replaced(machine, "dump", &config.dump, "flush and save"),
        replaced(machine, "white list", &config.white_list, "wl add and wl del"),
        time(machine),
    ]
}

/// The log, which is appended to.
fn log(machine: &Machine, file: &Path) -> Finding {
    const WHAT: &str = "log";
    let result = match Target::configured(machine.config) {
        Target::Stdout => return Finding::ok(WHAT, "goes to standard output"),
        Target::Stderr => return Finding::ok(WHAT, "goes to standard error"),
        Target::Nowhere => {
            return Finding::warn(WHAT, "goes nowhere, so nobody sees who is blocked", "set log.file to a file");
        }
        Target::Journal { socket, .. } => return journald(&socket),
        Target::File(_) if file.exists() => regular(file).and_then(|()| machine.service.may(file, Use::Write)),
        Target::File(_) => takes_files(machine, folder_of(file)),
    };
    finding(WHAT, file, result, "set log.file to a regular file in a folder that is there and can be written")
}

/// The journal of systemd.
fn journald(socket: &Path) -> Finding {
    const WHAT: &str = "log";
    match UnixDatagram::unbound().and_then(|ours| ours.connect(socket)) {
        Ok(()) => Finding::ok(WHAT, "goes to the journal of systemd"),
        Err(error) => {
            let text = format!("the journal of systemd does not listen at {}: {error}", socket.display());
            Finding::warn(
                WHAT,
                text,
                "start systemd-journald, or set log.target to file; lines go to log.file meanwhile",
            )
        }
    }
}

/// The journal, which is made together with its folder.
fn journal(machine: &Machine, file: &Path) -> Finding {
    let there = folder_of(file).ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let result = regular(file)
        .and_then(|()| takes_files(machine, there))
        .and_then(|()| if file.exists() { machine.service.may(file, Use::Write) } else { Ok(()) });
    let advice = "set state.file to a file that can be written: without it a restart forgets the blocks";
    finding("journal", file, result, advice)
}

/// A file that commands of the console replace by a new one of the same name.
fn replaced(machine: &Machine, what: &'static str, file: &Path, commands: &str) -> Finding {
    let advice = format!("make its folder, or give the right to write there: {commands} need it");
    let finding = finding(what, file, regular(file).and_then(|()| takes_files(machine, folder_of(file))), &advice);
    // The daemon works without it.
    if finding.level == Level::Fail { Finding { level: Level::Warn, ..finding } } else { finding }
}

/// A log is of use only if its times are right.
fn time(machine: &Machine) -> Finding {
    const WHAT: &str = "time zone";
    let now = local_time(machine.clock.now().wall);
    let zone = match std::env::var("TZ") {
        Ok(zone) => TimeZone::from_posix_tz(&zone).map_err(|error| format!("TZ={zone} is no time zone: {error}")),
        Err(_) => TimeZone::local().map_err(|error| format!("/etc/localtime cannot be used: {error}")),
    };
    match zone {
        Ok(_) => Finding::ok(WHAT, format!("it is {now} here")),
        Err(why) => {
            Finding::warn(WHAT, format!("{why}; the log has UTC, {now}"), "set it with timedatectl set-timezone")
        }
    }
}

fn finding(what: &'static str, file: &Path, result: Result<(), String>, advice: &str) -> Finding {
    match result {
        Ok(()) => Finding::ok(what, format!("{} can be written", file.display())),
        Err(why) => Finding::fail(what, format!("{} cannot be written: {why}", file.display()), advice),
    }
}

fn regular(path: &Path) -> Result<(), String> {
    file::must_be_regular(path).map_err(|error| error.to_string())
}

fn takes_files(machine: &Machine, folder: &Path) -> Result<(), String> {
    match folder.is_dir() {
        true => machine.service.may(folder, Use::Write),
        false => Err(format!("there is no folder {}", folder.display())),
    }
}
