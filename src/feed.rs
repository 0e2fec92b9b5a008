//! Threads: lists of others, such as VoIPBL, and what becomes of them in the kernel.
//!
//! `feeds` asks the sources; what may be believed (`check`) is kept as a copy on disk and handed to `lists`, which keeps
//! it in sets of the kernel beside the blocks. Both are there only if a list is configured.
//!
//! INVARIANT: the owner never waits for them, but at its end. Whoever is protected or lives here is in no set.
//!
//! What a source can do, or whoever stands between: have any address blocked that is neither protected nor a home, up to a
//! quarter of the Internet; free whom it alone has blocked. It can neither take more memory than
//! [`parse::MOST_ENTRIES`] entries, nor more time than [`Limits`](crate::web::Limits) says.

mod board;
pub mod check;
pub mod copy;
mod desk;
mod keeper;
pub mod parse;
mod rounds;
pub mod schedule;
pub mod source;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use log::{error, info, warn};

use board::Board;
use desk::Desk;
use keeper::Keeper;

use crate::config::{Config, FirewallConfig};
use crate::console::request::ListStatus;
use crate::firewall::{Traffic, choice};
use crate::model::clock::{Clock, UnixTime};
use crate::model::nets::Nets;

/// The name of the list that the decisions of CrowdSec are.
pub const CROWDSEC: &str = "crowdsec";

/// At most this long does the owner wait at its end for the kernel's sets to go.
const FAREWELL: Duration = Duration::from_secs(20);

/// The owner's side of the lists.
#[derive(Clone, Debug)]
pub struct Lists {
    desk: Arc<Desk>,
    board: Arc<Board>,
}

/// Starts the threads if there is a list; otherwise sees to it that no earlier one is in force.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(config: &Config, traffic: Traffic, clock: &Clock) -> io::Result<Option<Lists>> {
    let has_decisions = config.crowdsec.key.is_some();
    if config.feeds.is_empty() && !has_decisions {
        match choice::remove_left_lists(&config.firewall, false) {
            Ok(gone) => gone.iter().for_each(|gone| info!("FEED => {gone} of lists before is gone")),
            Err(why) => warn!("FEED => {why}"),
        }
        return Ok(None);
    }
    let firewall = match choice::make_lists(&config.firewall, traffic) {
        Ok(firewall) => firewall,
        Err(why) => {
            error!("ERROR => no list is in force: {why}");
            return Ok(None);
        }
    };
    let board = Arc::new(Board::default());
    let (desk, bell) = Desk::new();
    let desk = Arc::new(desk);
    let lists = Lists { desk: Arc::clone(&desk), board: Arc::clone(&board) };

    let feeds = rounds::feeds(&config.feeds, &config.journal, &board, &desk, clock);
    let decisions = has_decisions.then(|| CROWDSEC.to_owned());
    let names = config.feeds.keys().cloned().chain(decisions).collect();
    let keeper = Keeper::new(firewall, config.firewall.clone(), names, board, clock.clone());
    let keepers = Arc::clone(&desk);
    thread::Builder::new().name("lists".into()).spawn(move || keeper.run(&keepers, &bell))?;
    if !feeds.is_empty() {
        let clock = clock.clone();
        thread::Builder::new().name("feeds".into()).spawn(move || rounds::run(feeds, &desk, &clock))?;
    }
    Ok(Some(lists))
}

impl Lists {
    /// Leads this traffic to the lists from now on, with this target and interface.
    pub fn follow(&self, config: &FirewallConfig, traffic: Traffic) {
        self.desk.follow(config.clone(), traffic);
    }

    /// These are protected, and nobody else.
    pub fn protect(&self, nets: Vec<IpNet>) {
        self.desk.protect(nets);
    }

    /// Somebody lives here, and nowhere else.
    pub fn spare_homes(&self, homes: Vec<IpNet>) {
        self.desk.spare_homes(homes);
    }

    /// Somebody lives here too.
    pub fn spare_more(&self, homes: &[IpNet]) {
        self.desk.spare_more(homes);
    }

    /// Has another list put in force: one that others in this program make.
    pub fn put(&self, name: &str, nets: Arc<Nets>) {
        self.desk.list(name, (!nets.is_empty()).then_some(nets));
    }

    /// The source of that list has said so late that it holds.
    pub fn note_fetched(&self, name: &str, at: UnixTime) {
        self.board.write(name, |entry| entry.fetched = Some(at));
    }

    /// What went wrong with that list last; true if it is news.
    pub fn note_failure(&self, name: &str, failure: Option<String>) -> bool {
        let mut is_news = false;
        self.board.write(name, |entry| {
            is_news = entry.failure != failure;
            entry.failure = failure;
        });
        is_news
    }

    /// How they are doing.
    pub fn status(&self) -> Vec<ListStatus> {
        self.board.status()
    }

    /// The lists that hold this address, in words. Whoever is spared is not blocked all the same.
    pub fn holding(&self, address: IpAddr) -> Vec<String> {
        self.board.holding(address)
    }

    /// Takes the lists out of the kernel, or leaves them in force.
    ///
    /// # Errors
    /// Says what could not be removed.
    pub fn stop(&self, clear: bool) -> Result<(), String> {
        match self.desk.stop(clear).recv_timeout(FAREWELL) {
            Ok(outcome) => outcome.map_err(|why| why.to_string()),
            Err(_) => Err("the lists of others are still in force: to remove them takes too long".to_owned()),
        }
    }
}
