//! What a console session and the owner say to one another.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use ipnet::IpNet;
use serde::Serialize;

use crate::model::block::{BlockLine, Reason};
use crate::model::clock::UnixTime;
use crate::model::country::Country;
use crate::model::target::Holder;

/// Puts a request to the owner, waiting at most this long for room in its inbox. The answer goes to the sender.
pub type Ask = Arc<dyn Fn(Request, Sender<Reply>, Duration) -> Result<(), NotAsked> + Send + Sync>;

/// Why a request did not reach the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// It has more to do than it can do in time.
    Busy,
    /// It has stopped.
    Gone,
}

/// A question or an order from a console session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// List the blocks.
    Blocks,
    /// Block an address or a network, for this many seconds or for `timer.ban`.
    Block(IpNet, Option<u64>),
    /// End the block of an address or a network.
    Unblock(IpNet),
    /// Write the dump, then remove all blocks.
    Flush,
    /// Remove the blocks that other PBXs asked for.
    FlushFleet,
    /// Read the dump back.
    Restore,
    /// Write the dump, keep the blocks.
    Save,
    /// Send a Ping to Asterisk.
    Ping,
    /// How long the daemon has run.
    Uptime,
    /// Show the white list.
    WhiteList,
    /// Add an address, a network or a host name to the white list and to its file.
    WhiteListAdd(String),
    /// Take an entry out of the white list and out of its file.
    WhiteListDel(String),
    /// One screen on the state of the daemon.
    Status,
    /// All that is known of an address.
    Why(IpAddr),
    /// All that is known of an account of this name.
    WhyAccount(String),
    /// Who was blocked most often.
    Top,
    /// From whom the shield takes most packets now.
    TopShed,
}

/// What the owner answers to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The blocks, soonest end first.
    Blocks(Vec<BlockLine>),
    /// The kernel took the block.
    Blocked(IpNet),
    /// It was blocked before; `by` is the block that covers it.
    AlreadyBlocked {
        /// What was asked for.
        net: IpNet,
        /// The block in force that covers it.
        by: IpNet,
    },
    /// It is protected (or holds something protected), so it is not blocked.
    InWhiteList {
        /// What was asked for.
        net: IpNet,
        /// The protected entry it meets, and where that comes from.
        entry: String,
    },
    /// The block is gone.
    Unblocked(IpNet),
    /// There was no such block; `by` is a wider block that covers it, if any.
    NotBlocked {
        /// What was asked for.
        net: IpNet,
        /// A wider block in force.
        by: Option<IpNet>,
    },
    /// Dumped and removed all blocks.
    Flushed {
        /// What they were in.
        holder: Holder,
    },
    /// So many blocks that other PBXs asked for are gone.
    FleetFlushed(usize),
    /// The dump is in force again, but for the listed failures.
    Restored {
        /// What they are in.
        holder: Holder,
        /// The blocks now in force again.
        blocks: Vec<BlockLine>,
        /// Lines or blocks that could not be restored, and why; empty means the dump file is gone.
        problems: Vec<String>,
    },
    /// There is no dump file.
    NoDump,
    /// The dump was written.
    Saved {
        /// Path of the dump.
        file: String,
        /// Number of blocks in it.
        blocks: usize,
    },
    /// A Ping is on its way; a second reply, [`Reply::Pong`], follows if Asterisk answers.
    PingSent,
    /// Asterisk answered after this many milliseconds.
    Pong(f64),
    /// There is no connection to Asterisk to send a Ping on.
    NotConnected,
    /// Seconds since the daemon's start.
    Uptime(u64),
    /// The entries of the white list as written, then the addresses protected by themselves.
    WhiteList {
        /// The entries of the file.
        entries: Vec<String>,
        /// Addresses protected without being listed: loopback, this machine, its gateways and name servers, the AMI
        /// host.
        own: Vec<String>,
    },
    /// Added; the blocks it freed.
    WhiteListAdded {
        /// The entry.
        entry: String,
        /// Blocks that ended because of it.
        freed: Vec<IpNet>,
    },
    /// The entry was there already.
    WhiteListHas(String),
    /// The entry is gone.
    WhiteListRemoved(String),
    /// There was no such entry.
    WhiteListLacks(String),
    /// The state of the daemon.
    Status(Box<Status>),
    /// All that is known of an address.
    Why(Box<Why>),
    /// All that is known of an account.
    WhyAccount(WhyAccount),
    /// Who was blocked most often.
    Top(Top),
    /// Strangers and how many packets the shield takes from each now, most first.
    TopShed(Vec<(IpNet, u64)>),
    /// It could not be done: what was tried, and why it failed.
    Failed(String),
}

/// The answer to `status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since start.
    pub uptime: u64,
    /// The connection to Asterisk.
    pub ami: AmiStatus,
    /// Moment of the last security event, if any.
    pub last_event: Option<UnixTime>,
    /// Security events since start.
    pub events: u64,
    /// Those of them that somebody wrote lines into, or made too long to read.
    pub tampered: u64,
    /// Blocks made since start.
    pub blocks_made: u64,
    /// Blocks in force now.
    pub blocks: usize,
    /// `iptables` or `ipset`, with variant and version.
    pub backend: String,
    /// Which traffic is led through the chain.
    pub scope: String,
    /// Whether the rules were in force, or back in force, when they were last looked at.
    pub rules_in_force: bool,
    /// Moment and text of the last repair.
    pub last_repair: Option<(UnixTime, String)>,
    /// Path of the journal and whether it can be written.
    pub journal: String,
    /// Sources of which evidence is held now.
    pub sources: usize,
    /// Addresses where accounts live.
    pub homes: usize,
    /// How the shield is doing.
    pub shield: String,
    /// What is wrong with the PBX itself, as its phones show.
    pub weather: Vec<Weather>,
    /// The other PBXs, if there is a fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// The lists of others.
    pub lists: Vec<ListStatus>,
}

/// The fleet in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FleetStatus {
    /// This PBX.
    pub name: String,
    /// The others.
    pub members: Vec<MemberStatus>,
    /// Blocks of theirs that are in force.
    pub blocks: usize,
    /// Blocks of theirs that count, whether in force or not.
    pub votes: usize,
    /// The connection that reads.
    pub reading: LinkStatus,
    /// The connection that writes.
    pub writing: LinkStatus,
    /// For so many seconds one of them has not worked.
    pub gone: Option<u64>,
    /// Age in seconds of the oldest word of theirs that was not read yet.
    pub behind: u64,
    /// Changes that wait for the server to come back.
    pub waiting: u64,
    /// Changes that found no room since start, and were made up for.
    pub missed: u64,
    /// How often something of theirs counted for nothing.
    pub unfit: u64,
    /// Where their blocks are.
    pub firewall: String,
}

/// Another PBX in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Its version of SIPban; `None` if it gives no sign of life.
    pub version: Option<String>,
    /// How many blocks of it count.
    pub votes: usize,
}

/// A connection to the server of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkStatus {
    /// Whether it works.
    pub up: bool,
    /// Since when.
    pub since: UnixTime,
    /// Why not.
    pub text: String,
}

/// What other PBXs say of an address, in `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FleetBlock {
    /// Who says that it is to be blocked.
    pub origins: Vec<String>,
    /// Until when it is; `None` if it is not.
    pub until: Option<UnixTime>,
    /// Why not, if enough say so.
    pub spared: Option<String>,
    /// Packets that this block has dropped, where the kernel counts them.
    pub packets: Option<u64>,
}

/// A list of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListStatus {
    /// Its name.
    pub name: String,
    /// Entries in force.
    pub entries: usize,
    /// When its source last said that it holds.
    pub fetched: Option<UnixTime>,
    /// What the source wants to be shown with it.
    pub notice: Option<String>,
    /// What went wrong last, unless it went well since.
    pub failure: Option<String>,
}

/// Bad weather: many addresses where accounts live show the same at once, so the PBX is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weather {
    /// What they show.
    pub kind: WeatherKind,
    /// Since when.
    pub since: UnixTime,
    /// How many addresses where accounts live are affected.
    pub affected: usize,
    /// Of how many that were heard in the last minute.
    pub heard: usize,
    /// Whether others are spared because of it; not when it lasts longer than `limits.weather_time`.
    pub spares: bool,
}

/// What the weather is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeatherKind {
    /// The PBX refuses accounts where they live.
    Refusing,
    /// Its challenges are not answered from where accounts live.
    Silent,
}

impl WeatherKind {
    /// What the log and the console say of the PBX.
    pub fn text(self) -> &'static str {
        match self {
            WeatherKind::Refusing => "refuses its own phones",
            WeatherKind::Silent => "is not answered by its own phones",
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weather { kind, affected, heard, .. } = self;
        write!(f, "{}: {affected} of {heard} addresses where accounts live", kind.text())
    }
}

/// The AMI connection in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AmiStatus {
    /// Logged in now.
    pub up: bool,
    /// Since when.
    pub since: UnixTime,
    /// Greeting if up, cause if down.
    pub text: String,
    /// Why no events come although it is up, if so.
    pub silent: Option<String>,
}

/// The answer to `why`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    /// The address asked for.
    pub address: IpAddr,
    /// What evidence against it is counted under: itself or its /64.
    pub source: IpNet,
    /// Why it is never blocked, if so.
    pub protected: Option<String>,
    /// The accounts that live there.
    pub homes: Vec<Tenant>,
    /// `limits.countries`: strangers from elsewhere have no patience.
    pub countries: Vec<Country>,
    /// Evidence held against it now.
    pub evidence: Vec<EvidenceCount>,
    /// How the account stands that it named last.
    pub account: Option<Pressure>,
    /// How its neighbours stand.
    pub neighbours: Neighbours,
    /// What is wrong with the PBX itself, as its phones show.
    pub weather: Vec<Weather>,
    /// What the shield does with its packets; `None` where there is none.
    pub shield: Option<String>,
    /// Lists of others that hold it, each with the entry, in words.
    pub lists: Vec<String>,
    /// The block that covers it.
    pub block: Option<BlockLine>,
    /// When that block began.
    pub blocked_since: Option<UnixTime>,
    /// Packets that block has dropped, where the kernel counts them.
    pub packets: Option<u64>,
    /// How often it was blocked, as far as is remembered.
    pub times_blocked: u64,
    /// Seconds that its next block lasts.
    pub next_block: u64,
    /// What other PBXs say of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetBlock>,
}

/// An account that lives at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tenant {
    /// Its name, escaped; empty if a journal of SIPban 2.0 did not tell.
    pub account: String,
    /// Its last login there with a password.
    pub last_login: UnixTime,
}

/// How many addresses fail for an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pressure {
    /// Its name, escaped.
    pub account: String,
    /// Addresses where it does not live and that failed for it within a day.
    pub addresses: u32,
    /// `limits.pressure`.
    pub limit: u32,
    /// Whether a first failure for it blocks an address where nobody lives.
    pub under_attack: bool,
}

/// How many addresses of a neighbourhood fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// The /24 or /48.
    pub net: IpNet,
    /// Addresses in it, where nobody lives, that failed within a day.
    pub addresses: u32,
    /// `limits.neighbours`.
    pub limit: u32,
}

/// The answer to `why` with the name of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyAccount {
    /// Its name, escaped.
    pub account: String,
    /// Where it lives, and its last login there with a password.
    pub homes: Vec<(IpNet, UnixTime)>,
    /// How many addresses fail for it.
    pub pressure: Pressure,
    /// Which ones, the latest last; a bounded number of them.
    pub failed: Vec<IpNet>,
}

/// One kind of evidence in `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EvidenceCount {
    /// Kind of evidence, in the words of the configuration: `unknown_account`, `wrong_password`...
    pub what: String,
    /// How much of it counts now.
    pub count: u32,
    /// How much blocks.
    pub limit: u32,
    /// Account named last, escaped.
    pub account: String,
}

/// The answer to `top`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Top {
    /// Addresses and how often each was blocked since start, most often first.
    pub addresses: Vec<(IpNet, u64)>,
    /// Reasons and how many blocks each made since start, most first.
    pub reasons: Vec<(Reason, u64)>,
    /// Accounts, escaped, and how often somebody failed for each since start, most often first.
    pub accounts: Vec<(String, u64)>,
    /// Strangers and how many packets the shield takes from each now, most first.
    pub shed: Vec<(IpNet, u64)>,
    /// Other PBXs, and how many blocks of each count now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<(String, u64)>,
}
