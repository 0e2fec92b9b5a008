//! What `status` and `top` tell: counts since the daemon's start.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use ipnet::IpNet;

use crate::console::request::{AmiStatus, Top};
use crate::event::AmiState;
use crate::logging::escape;
use crate::metrics::{Histogram, Measures};
use crate::model::block::Reason;
use crate::model::clock::UnixTime;
use crate::model::security::{Kind, SecurityEvent};

/// Most addresses whose blocks are counted one by one.
const MAX_COUNTED: usize = 16_384;

/// Rows of `top`.
const TOP: usize = 20;

/// Counts since start.
#[derive(Debug)]
pub struct Stats {
    /// Security events heard.
    pub events: u64,
    /// Events that somebody wrote lines into.
    pub tampered: u64,
    /// Frames that could not be read as events, and were passed over.
    pub unread: u64,
    /// When the last one came.
    pub last_event: Option<UnixTime>,
    /// Blocks made.
    pub blocks: u64,
    /// The AMI connection.
    pub ami: AmiStatus,
    /// Text and time of the last repair.
    pub last_repair: Option<(UnixTime, String)>,
    /// Whether Asterisk was tried.
    ami_tried: bool,
    /// Whether the rules were as they should be when last looked at.
    pub in_force: bool,
    /// When the rules were last found or made as they should be.
    intact: UnixTime,
    repairs: u64,
    /// Seconds for which rules may have been wrong.
    unprotected: u64,
    by_kind: BTreeMap<&'static str, u64>,
    enforcing: Histogram<10>,
    batches: Histogram<6>,
    by_net: HashMap<IpNet, u64>,
    by_reason: HashMap<Reason, u64>,
    by_account: HashMap<Box<[u8]>, u64>,
}

impl Stats {
    /// Nothing has happened yet.
    pub fn new(now: UnixTime) -> Stats {
        Stats {
            events: 0,
            tampered: 0,
            unread: 0,
            last_event: None,
            blocks: 0,
            ami: AmiStatus { up: false, since: now, text: "not tried yet".into(), silent: None },
            last_repair: None,
            ami_tried: false,
            in_force: true,
            intact: now,
            repairs: 0,
            unprotected: 0,
            by_kind: BTreeMap::new(),
            enforcing: Histogram::default(),
            batches: Histogram::default(),
            by_net: HashMap::new(),
            by_reason: HashMap::new(),
            by_account: HashMap::new(),
        }
    }

    /// A security event came.
    pub fn heard(&mut self, event: &SecurityEvent, now: UnixTime) {
        self.events += 1;
        *self.by_kind.entry(event.kind.name()).or_default() += 1;
        self.tampered += u64::from(event.kind == Kind::Tampered);
        self.last_event = Some(now);
        if event.kind.is_failure() && !event.account.is_empty() && !event.is_unidentified() {
            count(&mut self.by_account, event.account.clone());
        }
    }

    /// A block is in force. When too many addresses are counted, those blocked once are forgotten.
    pub fn blocked(&mut self, net: IpNet, reason: Reason) {
        self.blocks += 1;
        *self.by_reason.entry(reason).or_default() += 1;
        count(&mut self.by_net, net);
    }

    /// The kernel was given a batch of changes, and this long after it was judged it had taken it.
    pub fn enforced(&mut self, changes: usize, took: Duration) {
        self.batches.observe(changes as f64);
        self.enforcing.took(took);
    }

    /// What is counted here.
    pub fn measures(&self) -> Measures {
        Measures {
            events: self.by_kind.clone(),
            last_event: self.last_event,
            unread: self.unread,
            ami_up: self.ami.up,
            ami_silent: self.ami.silent.is_some(),
            blocked: self.by_reason.iter().map(|(reason, count)| (*reason, *count)).collect(),
            repairs: self.repairs,
            unprotected: self.unprotected,
            enforcing: self.enforcing.clone(),
            batches: self.batches.clone(),
            ..Measures::default()
        }
    }

    /// How often this address or network was blocked.
    pub fn times_blocked(&self, net: &IpNet) -> u64 {
        self.by_net.get(net).copied().unwrap_or_default()
    }

    /// Who was blocked most often, and who loses packets to the shield now.
    pub fn top(&self, shed: Vec<(IpNet, u64)>) -> Top {
        let mut addresses: Vec<(IpNet, u64)> = self.by_net.iter().map(|(net, count)| (*net, *count)).collect();
        addresses.sort_unstable_by_key(|(net, count)| (std::cmp::Reverse(*count), *net));
        addresses.truncate(TOP);
        let mut reasons: Vec<(Reason, u64)> = self.by_reason.iter().map(|(reason, count)| (*reason, *count)).collect();
        reasons.sort_unstable_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        let escaped = |name: &[u8]| escape(&String::from_utf8_lossy(name)).to_string();
        let mut accounts: Vec<(String, u64)> =
            self.by_account.iter().map(|(name, count)| (escaped(name), *count)).collect();
        accounts.sort_unstable_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
        accounts.truncate(TOP);
        Top { addresses, reasons, accounts, shed, members: Vec::new() }
    }

    /// Whether Asterisk has not been tried yet.
    pub fn ami_is_new(&self) -> bool {
        !self.ami_tried
    }

    /// Takes in the connection's state; returns it if the log should tell.
    pub fn ami_changed<'a>(&mut self, state: &'a AmiState, now: UnixTime) -> Option<&'a AmiState> {
        let (up, text) = match state {
            AmiState::Up { greeting } => (true, greeting.clone()),
            AmiState::Deaf => return None,
            AmiState::Down { why, .. } => (false, why.clone()),
            AmiState::Refused { why, .. } => (false, format!("login refused: {why}")),
        };
        let news = up != self.ami.up || self.ami.text != text;
        if up != self.ami.up {
            self.ami.since = now;
        }
        self.ami_tried = true;
        self.ami.up = up;
        self.ami.text = text;
        news.then_some(state)
    }

    /// The rules were found as they should be.
    pub fn intact(&mut self, now: UnixTime) {
        self.intact = now;
        self.in_force = true;
    }

    /// The rules were repaired; returns for how many seconds they may have been wrong.
    pub fn repaired(&mut self, now: UnixTime, what: &str) -> u64 {
        let gap = now.since(self.intact);
        self.intact = now;
        self.in_force = true;
        self.repairs += 1;
        self.unprotected += gap;
        self.last_repair = Some((now, what.to_owned()));
        gap
    }
}

/// Counts one more. When there are too many to count, those counted least are forgotten.
fn count<K: Hash + Eq>(counts: &mut HashMap<K, u64>, key: K) {
    *counts.entry(key).or_default() += 1;
    if counts.len() > MAX_COUNTED {
        let least = counts.values().min().copied().unwrap_or_default();
        counts.retain(|_, count| *count > least);
    }
}
