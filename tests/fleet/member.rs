//! A member of a fleet: both threads of SIPban, and a test in the owner's place.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, unbounded};
use ipnet::IpNet;
use sipban::config::{Config, Secret};
use sipban::event::Event;
use sipban::fleet::entry::{Entry, Live};
use sipban::fleet::place::Id;
use sipban::fleet::{self, Fleet, Heard, Link, Order, Side};
use sipban::model::block::Reason;
use sipban::model::clock::Clock;
use tempfile::TempDir;

/// How long anything that must happen may take: longer than the longest pause between two tries.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Member {
    pub fleet: Fleet,
    events: Receiver<Heard>,
    /// All that was heard and not asked for yet.
    heard: Vec<Heard>,
    /// What is blocked here.
    blocks: Arc<Mutex<Vec<(Live, u64)>>>,
    clock: Clock,
    folder: TempDir,
}

/// The settings of a member of this name at a server on this port.
pub fn settings(name: &str, port: u16) -> sipban::config::Fleet {
    let text = format!("[ami]\nuser = a\npass = b\n[fleet]\nurl = redis://127.0.0.1:{port}\nname = {name}\n");
    Config::parse(&text, &PathBuf::from("conf")).unwrap().fleet
}

/// The same with the password that the tests give everybody.
pub fn with_password(name: &str, port: u16) -> sipban::config::Fleet {
    sipban::config::Fleet { password: Some(Secret("getout".into())), ..settings(name, port) }
}

pub fn net(text: &str) -> IpNet {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).unwrap()
}

pub fn block(text: &str, seconds: u64) -> Entry {
    Entry::Block { net: net(text), reason: Reason::InvalidAccount, seconds }
}

impl Member {
    pub fn join(name: &str, port: u16) -> Member {
        Member::start(&settings(name, port), BTreeMap::new())
    }

    pub fn start(settings: &sipban::config::Fleet, read: BTreeMap<String, Id>) -> Member {
        let (inbox, inboxed) = bounded(64);
        let (sender, events) = unbounded();
        let (clock, folder) = (Clock::start(), tempfile::tempdir().unwrap());
        let fleet =
            fleet::start(settings, read, folder.path().join("bans.fleet"), sipban::event::hearing(inbox), &clock)
                .unwrap();
        let blocks: Arc<Mutex<Vec<(Live, u64)>>> = Arc::default();
        let (told, answers) = (Arc::clone(&blocks), fleet.clone());
        let in_the_owners_place = move || {
            for event in inboxed {
                match event {
                    Event::Fleet(Heard::WantAll) => answers.order(Order::All(told.lock().unwrap().clone())),
                    // The test may be over.
                    Event::Fleet(heard) => drop(sender.send(heard)),
                    _ => {}
                }
            }
        };
        thread::Builder::new().name(settings.name.clone()).spawn(in_the_owners_place).unwrap();
        Member { fleet, events, heard: Vec::new(), blocks, clock, folder }
    }

    /// Both connections work, and all that is blocked here has been told.
    #[track_caller]
    pub fn settle(&mut self) -> &mut Member {
        self.wait_for("writing", |heard| matches!(heard, Heard::Link(Side::Writing, Link::Up)));
        self.wait_for("reading", |heard| matches!(heard, Heard::Link(Side::Reading, Link::Up)));
        self
    }

    /// Waits until it has heard of the other.
    #[track_caller]
    pub fn wait_for_member(&mut self, name: &str) {
        let is_there = |heard: &Heard| match heard {
            Heard::Members(signs) => signs.iter().any(|sign| sign.name == name && sign.content.is_some()),
            _ => false,
        };
        self.wait_for(name, is_there);
    }

    /// Blocks an address and tells the others.
    pub fn block(&mut self, text: &str, seconds: u64) {
        self.blocks.lock().unwrap().push((Live { net: net(text), reason: Some(Reason::InvalidAccount) }, seconds));
        self.fleet.order(Order::Tell(vec![block(text, seconds)]));
    }

    pub fn unblock(&mut self, text: &str) {
        self.blocks.lock().unwrap().retain(|(live, _)| live.net != net(text));
        self.fleet.order(Order::Tell(vec![Entry::Unblock(net(text))]));
    }

    /// Waits until an origin says that it blocks this, in its stream or in its set; the seconds left.
    #[track_caller]
    pub fn wait_for_block(&mut self, origin: &str, text: &str) -> u64 {
        let wanted = net(text);
        let heard = self.wait_for(text, |heard| seconds_of(heard, origin, &wanted).is_some());
        let seconds = seconds_of(&heard, origin, &wanted).unwrap();
        // It may hold more that is waited for.
        self.heard.push(heard);
        seconds
    }

    /// Waits for an event, and takes it and all before it.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Heard {
        if let Some(place) = self.heard.iter().position(&is_it) {
            return self.heard.remove(place);
        }
        let until = self.clock.now().monotonic + DEADLINE;
        loop {
            let left = until.saturating_sub(self.clock.now().monotonic);
            match self.events.recv_timeout(left) {
                Ok(heard) if is_it(&heard) => return heard,
                Ok(heard) => self.heard.push(heard),
                Err(why) => panic!("waited for {what}: {why} after {:?}", self.heard),
            }
        }
    }

    /// All that has been heard and not waited for.
    pub fn heard(&mut self) -> &[Heard] {
        self.heard.extend(self.events.try_iter());
        &self.heard
    }

    /// Forgets all that was heard.
    pub fn forget(&mut self) {
        self.heard();
        self.heard.clear();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn seconds_of(heard: &Heard, wanted: &str, net: &IpNet) -> Option<u64> {
    match heard {
        Heard::Entries { origin, entries, .. } if origin == wanted => entries.iter().find_map(|entry| match entry {
            Entry::Block { net: blocked, seconds, .. } if blocked == net => Some(*seconds),
            _ => None,
        }),
        Heard::Set { origin, set, .. } if origin == wanted => {
            set.iter().find(|(live, _)| live.net == *net).map(|(_, seconds)| *seconds)
        }
        _ => None,
    }
}
