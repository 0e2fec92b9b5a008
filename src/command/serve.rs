//! Runs the daemon: sets up everything in the order in which it can fail, then hands the main thread to the owner.

use std::io;
use std::path::Path;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{error, info, warn};

use crate::ami;
use crate::cli::Run;
use crate::config::Config;
use crate::console::whois::Whois;
use crate::console::{self, Console};
use crate::crowdsec;
use crate::event::{self, Event};
use crate::failure::Failure;
use crate::feed;
use crate::firewall::choice;
use crate::firewall::dry_run::DryRun;
use crate::fleet::votes::Memory;
use crate::fleet::{self, memory};
use crate::geo::Atlas;
use crate::hook;
use crate::logging::{self, LogHandle, Target};
use crate::metrics;
use crate::model::clock::Clock;
use crate::owner::Owner;
use crate::owner::fleet::FleetParts;
use crate::owner::startup::{MakeFirewall, Parts, StartLists};
use crate::protection::resolver;
use crate::state::journal::Journal;
use crate::system::daemon::{self, PidFile, Report};
use crate::system::{signals, ticker};

/// At most this many events wait for the owner. One event may hold what a read brought, 64 KiB, so that up to four
/// megabytes of AMI wait; beyond that TCP holds Asterisk back.
const INBOX: usize = 64;

/// Guards the PBX until told to stop. As a daemon, returns once the process in the background does.
///
/// # Errors
/// If it cannot be set up. Once it is, nothing ends it but a signal.
pub fn serve(config_file: &Path, run: &Run) -> Result<(), Failure> {
    let report = if run.daemon { Report::to_starter()? } else { None };
    if run.daemon && report.is_none() {
        return Ok(daemon::start()?);
    }
    match set_up(config_file, run) {
        Ok((owner, inbox, pid_file)) => {
            if let Some(report) = report {
                report.ready();
            }
            owner.run(&inbox);
            drop(pid_file);
            Ok(())
        }
        Err(failure) => {
            if let Some(report) = report {
                report.failed(&failure);
            }
            Err(failure)
        }
    }
}

/// Everything but the loop. The pid file is that of a daemon.
fn set_up(config_file: &Path, run: &Run) -> Result<(Owner, Receiver<Event>, Option<PidFile>), Failure> {
    let (sender, inbox) = bounded(INBOX);
    signals::start(sender.clone()).map_err(no_thread)?;
    let config_file = std::path::absolute(config_file).map_err(|why| Failure::new(Failure::CONFIG, why))?;
    let (config, warnings) = Config::load(&config_file)?;
    let target = if run.dry_run { Target::Stdout } else { Target::configured(&config) };
    if run.daemon && !run.dry_run && target.is_stream() {
        let text = format!("log.file: a daemon has no {}; name a file", config.log_file.display());
        return Err(Failure::new(Failure::CONFIG, text));
    }
    let pid_file = run.daemon.then(|| daemon::detach(&run.pid_file)).transpose()?;
    let clock = Clock::start();
    let log = logging::start(target, config.log_level, clock.clone())?;
    warnings.iter().for_each(|warning| warn!("CONFIG => {warning}"));
    let failed = |failure: &Failure| error!("ERROR => {failure}");
    let owner = assemble(config, &config_file, run.dry_run, clock, log, sender).inspect_err(failed)?;
    Ok((owner, inbox, pid_file))
}

/// Makes the parts of the daemon, first those that may fail before the firewall is touched. A dry run opens no console
/// and keeps no journal, so that it can be started beside the daemon that guards the machine.
fn assemble(
    config: Config,
    config_file: &Path,
    dry_run: bool,
    clock: Clock,
    log: LogHandle,
    sender: Sender<Event>,
) -> Result<Owner, Failure> {
    let atlas = Atlas::open(&config.geo)?;
    let (journal, console, make): (_, _, MakeFirewall) = if dry_run {
        (None, None, Box::new(|_, _| Ok(Box::new(DryRun::default()))))
    } else {
        let journal = Journal::open(&config.journal)?;
        (
            Some(journal),
            Some(open_console(&config, &sender, &clock, &atlas)?),
            Box::new(|config: &Config, traffic| choice::make(&config.firewall, traffic)),
        )
    };
    let fleet = if dry_run { None } else { join_fleet(&config, &sender, &clock)? };
    let resolver = resolver::start(sender.clone()).map_err(no_thread)?;
    // A dry run is beside the daemon that has told already.
    let hook = if dry_run { None } else { hook::start(&config.hook, clock.clone()).map_err(no_thread)? };
    if !dry_run {
        metrics::start(&config.metrics, &clock, event::measuring(sender.clone()))?;
    }
    let lists_clock = clock.clone();
    let lists: StartLists = match dry_run {
        true => Box::new(|_, _| Ok((None, None))),
        false => Box::new(move |config, traffic| {
            let lists = feed::start(config, traffic, &lists_clock)?;
            let reporter = crowdsec::start(&config.crowdsec, &config.journal, lists.as_ref(), &lists_clock)?;
            Ok((lists, reporter))
        }),
    };
    let ami = config.ami.clone();
    let mut owner = Owner::new(Parts {
        firewall: make,
        config,
        config_file: config_file.to_owned(),
        clock: clock.clone(),
        log,
        journal,
        fleet,
        resolver: Some(resolver),
        lists,
        hook,
        atlas: atlas.clone(),
    })?;
    ticker::start(sender.clone()).map_err(no_thread)?;
    owner.attach(ami::start(ami, sender, clock, atlas).map_err(no_thread)?, console);
    Ok(owner)
}

/// Starts the threads of the fleet, if there is one. If not, what others blocked when there was one is not blocked any
/// more.
fn join_fleet(config: &Config, sender: &Sender<Event>, clock: &Clock) -> Result<Option<FleetParts>, Failure> {
    if config.fleet.url.is_none() {
        remove_rules_of_fleet(config);
        return Ok(None);
    }
    let file = memory::beside(&config.journal);
    let about = |why| Failure::from(why).about(&file);
    let (memories, strange) = memory::load(&file).map_err(about)?;
    // Before there is any rule for others: a daemon without a fleet looks for such rules where there is this file.
    memory::save(&file, &memory::text(memories.iter().cloned())).map_err(about)?;
    if strange > 0 {
        warn!("FLEET => {strange} lines of {} cannot be read and are passed over", file.display());
    }
    let read = memories.iter().filter_map(|memory| match memory {
        Memory::Read(name, id) => Some((name.clone(), *id)),
        _ => None,
    });
    let link = fleet::start(&config.fleet, read.collect(), file.clone(), event::hearing(sender.clone()), clock)
        .map_err(no_thread)?;
    let firewall = Box::new(|config: &Config, traffic| choice::make(&config.firewall.of_the_fleet(), traffic));
    Ok(Some(FleetParts { link, firewall, memories, memory: file }))
}

/// Where there never was a fleet, nothing is looked for.
fn remove_rules_of_fleet(config: &Config) {
    if !memory::beside(&config.journal).exists() {
        return;
    }
    for left in choice::remove(&config.firewall.of_the_fleet()) {
        match left {
            Ok(what) => info!("FLEET => {what} is gone: there is no fleet any more"),
            Err(why) => error!("ERROR => what other PBXs asked for is still blocked: {why}"),
        }
    }
}

fn no_thread(why: io::Error) -> Failure {
    Failure::new(Failure::SYSTEM, format!("cannot start a thread: {why}"))
}

fn open_console(config: &Config, inbox: &Sender<Event>, clock: &Clock, atlas: &Atlas) -> Result<Console, Failure> {
    let context = console::Context {
        holder: choice::holder(&config.firewall),
        ask: event::asking(inbox.clone()),
        clock: clock.clone(),
        local_time: logging::local_time,
        patience: console::Patience::default(),
        whois: Whois::default(),
        atlas: atlas.clone(),
    };
    Ok(console::listen(&config.control, context)?)
}
