//! A machine whose kernel, files and clock are the test's own, and the owner that guards it.

mod blocking;
mod clock;
mod console;
mod fleet;
mod hearing;
mod protecting;
mod reloading;
mod shield;
mod starting;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_channel::bounded;
use tempfile::TempDir;

use super::startup::Parts;
use super::*;
use crate::config::{FirewallConfig, ShieldMode};
use crate::console::request::Request;
use crate::firewall::dry_run::DryRun;
use crate::firewall::shield::{Excess, Shed, Shield};
use crate::firewall::{Applied, Change, Error, FoundBlock, Traffic, Verified};
use crate::logging::{self, Target};
use crate::model::block::Reason;
use crate::model::clock::{Recorded, UnixTime};
use crate::model::security::{Endpoint, Kind, Service, Transport};
use crate::model::target::Holder;
use crate::state::journal::Record;

const DAY: u64 = 86_400;

/// A machine whose firewall, folder and clock outlive the daemon.
struct Machine {
    kernel: Kernel,
    folder: TempDir,
    clock: Recorded,
    shield: ShieldMode,
}

impl Machine {
    fn new() -> Machine {
        let clock = Recorded::default();
        clock.set(1_000_000_000_000);
        Machine { kernel: Kernel::default(), folder: tempfile::tempdir().unwrap(), clock, shield: ShieldMode::Off }
    }

    fn start(&self) -> Owner {
        self.start_with(None)
    }

    fn start_with(&self, resolver: Option<Resolver>) -> Owner {
        let path = |name: &str| self.folder.path().join(name);
        let mut config =
            Config { white_list: path("wl"), dump: path("dump"), journal: path("bans"), ..Config::default() };
        config.firewall.shield.mode = self.shield;
        let kernel = self.kernel.clone();
        Owner::new(Parts {
            journal: Some(Journal::open(&config.journal).unwrap()),
            firewall: Box::new(|_, _| Ok(Box::new(kernel))),
            config,
            config_file: path("conf"),
            clock: Clock::recorded(&self.clock),
            log: log().clone(),
            fleet: None,
            resolver,
            lists: Box::new(|_, _| Ok((None, None))),
            hook: None,
            atlas: Atlas::default(),
        })
        .unwrap()
    }

    fn start_time(&self) -> UnixTime {
        Clock::recorded(&self.clock).now().wall
    }

    fn white_list(&self, text: &str) {
        fs::write(self.folder.path().join("wl"), text).unwrap();
    }

    fn pass(&self, owner: &mut Owner, seconds: u64) {
        self.clock.set(self.clock.now() + seconds as i64 * 1000);
        owner.turn(vec![Event::Tick]);
    }

    fn holds(&self, address: &str) -> bool {
        let net = IpNet::from(address.parse::<IpAddr>().unwrap());
        self.kernel.0.lock().unwrap().in_force().contains(&net)
    }
}

/// A firewall that stays when the owner goes.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<DryRun>>, Arc<Mutex<Lead>>);

/// What it was told to lead through the chain last, and whether it takes that.
#[derive(Default)]
struct Lead {
    scope: Option<Traffic>,
    refuses: bool,
    has_shield: bool,
    admitted: BTreeSet<IpNet>,
    /// How many can be.
    room: usize,
    /// Whose connection stands.
    connected: HashSet<IpNet>,
    /// Who loses packets now.
    shed: Vec<Shed>,
    /// How often it was changed.
    changes: usize,
    /// What its rules say by now.
    config: Option<FirewallConfig>,
}

impl Kernel {
    fn refuse(&self, nets: &[&str]) {
        self.0.lock().unwrap().refuse(nets.iter().map(|net| net.parse().unwrap()));
    }
}

impl Firewall for Kernel {
    fn set_up(&mut self, now: UnixTime) -> Result<Vec<FoundBlock>, Error> {
        self.0.lock().unwrap().set_up(now)
    }
    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Applied {
        self.1.lock().unwrap().changes += 1;
        self.0.lock().unwrap().apply(book, change, now)
    }
    fn capacity(&self) -> usize {
        100
    }
    fn verify(&mut self, book: &Book, now: UnixTime) -> Verified {
        self.0.lock().unwrap().verify(book, now)
    }
    fn set_traffic(&mut self, scope: Traffic) -> Result<(), Error> {
        self.1.lock().unwrap().set(scope)
    }
    fn reconfigure(&mut self, config: &FirewallConfig, scope: Traffic, _: &Book, _: UnixTime) -> Result<(), Error> {
        let mut lead = self.1.lock().unwrap();
        lead.set(scope)?;
        lead.config = Some(config.clone());
        Ok(())
    }
    fn shield(&mut self) -> Option<&mut dyn Shield> {
        let has_shield = self.1.lock().unwrap().has_shield;
        has_shield.then_some(self)
    }
    fn packets(&mut self, _: &IpNet) -> Option<u64> {
        None
    }
    fn tear_down(&mut self) -> Result<(), Error> {
        self.0.lock().unwrap().tear_down()
    }
    fn holder(&self) -> Holder {
        self.0.lock().unwrap().holder()
    }
    fn describe(&self) -> String {
        "a test's".into()
    }
}

impl Shield for Kernel {
    fn admit(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        self.1.lock().unwrap().admitted.extend(nets);
        Ok(())
    }
    fn room(&self) -> usize {
        self.1.lock().unwrap().room
    }
    fn connected(&mut self, sources: &HashSet<IpNet>, _: &dyn Fn(u16) -> bool) -> Result<HashSet<IpNet>, Error> {
        Ok(sources & &self.1.lock().unwrap().connected)
    }
    fn admit_only(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        let mut kernel = self.1.lock().unwrap();
        kernel.admitted = nets.iter().copied().take(kernel.room).collect();
        Ok(())
    }
    fn shed(&mut self) -> Result<Vec<Shed>, Error> {
        Ok(self.1.lock().unwrap().shed.clone())
    }
}

impl Lead {
    fn set(&mut self, scope: Traffic) -> Result<(), Error> {
        if self.refuses {
            return Err(Error("a test".into()));
        }
        self.scope = Some(scope);
        Ok(())
    }
}

fn log() -> &'static LogHandle {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    LOG.get_or_init(|| logging::start(Target::Stderr, log::LevelFilter::Off, Clock::start()).unwrap())
}

fn attack(from: &str) -> Event {
    security(Kind::InvalidAccountId, from)
}

fn security(kind: Kind, from: &str) -> Event {
    security_on(5060, kind, from)
}

fn security_on(port: u16, kind: Kind, from: &str) -> Event {
    security_over(Transport::Udp, port, kind, from)
}

fn security_over(transport: Transport, port: u16, kind: Kind, from: &str) -> Event {
    let endpoint = |address: &str| Endpoint { address: address.parse().unwrap(), transport, port };
    Event::Security(vec![SecurityEvent {
        kind,
        service: Service::Pjsip,
        account: b"100".as_slice().into(),
        session: 1,
        local: endpoint("198.18.0.1"),
        remote: endpoint(from),
        time: None,
        country: None,
    }])
}

fn ask(owner: &mut Owner, request: Request) -> Reply {
    let (sender, replies) = bounded(4);
    owner.turn(vec![Event::Request(request, sender)]);
    replies.try_recv().unwrap()
}

fn udp(ports: &[(u16, u16)]) -> Option<Traffic> {
    Some(Traffic::Ports { udp: ports.into(), tcp: vec![(5060, 5061)] })
}
