//! The owner's side of the console: what it does for each request, and answers.

use crossbeam_channel::Sender;
use ipnet::IpNet;
use log::{info, warn};

use super::gate::{Asked, Denied, Plan};
use super::{Owner, send};
use crate::console::request::{Reply, Request, Status, Top};
use crate::model::block::{Block, BlockLine, Reason};
use crate::model::clock::Now;
use crate::model::net::{NetOrHost, Plain};
use crate::state::dump;

/// At most this many requests wait for a Pong; of more the oldest goes without.
const MOST_AWAITING: usize = 256;

impl Owner {
    /// Does what a session asks and answers it.
    pub(super) fn answer(&mut self, request: Request, reply: &Sender<Reply>, now: Now) {
        let answer = match request {
            Request::Blocks => Reply::Blocks(self.lines(now)),
            Request::Block(net, seconds) => self.block(net, seconds, now),
            Request::Unblock(net) => self.unblock(net, now),
            Request::Flush => self.flush(now),
            Request::FlushFleet => match self.flush_others(now) {
                Some(blocks) => Reply::FleetFlushed(blocks),
                None => Reply::Failed("there is no fleet: fleet.url is not set".to_owned()),
            },
            Request::Restore => self.restore(now),
            Request::Save => self.save(&self.book.lines(), now),
            Request::Ping => self.ping(reply),
            Request::Uptime => Reply::Uptime(super::passed(self.started, now)),
            Request::WhiteList => Reply::WhiteList {
                entries: self.protection.white_list().entries().map(ToString::to_string).collect(),
                own: self.protection.own(),
            },
            Request::WhiteListAdd(entry) => self.white_list_add(&entry, now),
            Request::WhiteListDel(entry) => self.white_list_del(&entry, now),
            Request::Status => Reply::Status(Box::new(self.status(now))),
            Request::Why(address) => Reply::Why(Box::new(self.why(address, now))),
            Request::WhyAccount(name) => Reply::WhyAccount(self.why_account(&name, now)),
            Request::Top => {
                Reply::Top(Top { members: self.votes_of_members(), ..self.stats.top(self.strangers.top()) })
            }
            Request::TopShed if self.firewall.shield().is_none() => Reply::Failed("there is no shield".to_owned()),
            Request::TopShed => Reply::TopShed(self.strangers.top()),
        };
        send(reply, answer);
    }

    /// All blocks, soonest end first, made here and by others.
    fn lines(&self, now: Now) -> Vec<BlockLine> {
        let mut lines = self.book.lines();
        lines.extend(self.lines_of_others(now.wall));
        lines.sort_by_key(|line| line.end);
        lines
    }

    fn block(&mut self, net: IpNet, seconds: Option<u64>, now: Now) -> Reply {
        self.dig_up(&net);
        let end = now.wall + seconds.unwrap_or(self.config.lengths.ban);
        let mut plan = Plan::default();
        match plan.block(&self.gate(), Asked::New, net, Block::new(now.wall, end, Reason::Manual)) {
            Ok(()) => {}
            Err(Denied::Protected(entry)) => return Reply::InWhiteList { net, entry },
            Err(Denied::Covered(by)) => return Reply::AlreadyBlocked { net, by },
            Err(denied @ (Denied::TooWide | Denied::NoRoom(_))) => {
                return Reply::Failed(format!("{} is not blocked: {denied}", Plain(net)));
            }
        }
        if self.carry_out(plan, now).is_empty() {
            Reply::Blocked(net)
        } else {
            Reply::Failed(format!("{} is not blocked yet: the kernel refused, see the log", Plain(net)))
        }
    }

    fn unblock(&mut self, net: IpNet, now: Now) -> Reply {
        self.give_up(&[net], now);
        let was_blocked_by_others = self.unblock_others(&net, now);
        if self.book.get(&net).is_none() && was_blocked_by_others {
            return Reply::Unblocked(net);
        }
        if self.book.get(&net).is_none() {
            return Reply::NotBlocked { net, by: self.book.covering(&net).map(|(by, _)| by) };
        }
        self.evidence.forget(&net);
        let mut plan = Plan::default();
        plan.free(net, "Manual Unblock");
        if self.carry_out(plan, now).is_empty() {
            Reply::Unblocked(net)
        } else {
            Reply::Failed(format!("{} is still blocked: the kernel refused, see the log", Plain(net)))
        }
    }

    fn save(&self, blocks: &[BlockLine], now: Now) -> Reply {
        match dump::write(&self.config.dump, blocks, now.wall) {
            Ok(()) => {
                let file = self.config.dump.display().to_string();
                info!("DUMP => {} blocks to {file}", blocks.len());
                Reply::Saved { file, blocks: blocks.len() }
            }
            Err(why) => Reply::Failed(why.to_string()),
        }
    }

    fn flush(&mut self, now: Now) -> Reply {
        // What an earlier flush dumped and the kernel has still to free is in that dump.
        let mut blocks = self.book.lines();
        blocks.retain(|block| !self.pending.is_to_be_freed(&block.net));
        // Without any, the dump of an earlier flush stays.
        if !blocks.is_empty() {
            let saved = self.save(&blocks, now);
            if !matches!(saved, Reply::Saved { .. }) {
                return saved;
            }
        }
        let waiting: Vec<IpNet> = self.pending.blocks().map(|(net, _)| net).collect();
        self.give_up(&waiting, now);
        let mut plan = Plan::default();
        self.book.by_end().for_each(|(net, _)| plan.free(net, "Flush"));
        let holder = self.firewall.holder();
        match self.carry_out(plan, now).len() {
            0 => Reply::Flushed { holder },
            left => Reply::Failed(format!("{left} blocks are still in force: the kernel refused, see the log")),
        }
    }

    /// The dump goes only when all of it is in force: what could not be restored would be lost with it.
    fn restore(&mut self, now: Now) -> Reply {
        let dump = match dump::read(&self.config.dump, now.wall + self.config.lengths.ban) {
            Ok(dump) => dump,
            Err(dump::Error::Missing(_)) => return Reply::NoDump,
            Err(why) => return Reply::Failed(why.to_string()),
        };
        let mut plan = Plan::default();
        let mut blocks: Vec<BlockLine> = Vec::new();
        let mut failed: Vec<String> = Vec::new();
        for line in dump.blocks.into_iter().filter(|line| line.end > now.wall) {
            let block = Block::new(now.wall, line.end, line.reason);
            match plan.block(&self.gate(), Asked::Again, line.net, block) {
                Ok(()) | Err(Denied::Covered(_)) => blocks.push(line),
                Err(Denied::Protected(label)) => self.tell_spared(line.net, line.reason, &label, now),
                Err(denied @ (Denied::TooWide | Denied::NoRoom(_))) => {
                    failed.push(format!("{}: {denied}", Plain(line.net)));
                }
            }
        }
        let refused = self.carry_out(plan, now);
        blocks.retain(|block| !refused.contains(&block.net));
        failed.extend(refused.iter().map(|net| format!("{}: the kernel refused, see the log", Plain(*net))));
        let mut problems = dump.problems;
        let unnamed = failed.len().saturating_sub(dump::MOST_PROBLEMS);
        problems.extend(failed.into_iter().take(dump::MOST_PROBLEMS));
        if unnamed > 0 {
            problems.push(format!("and {unnamed} more blocks"));
        }
        if problems.is_empty() {
            if let Err(why) = std::fs::remove_file(&self.config.dump) {
                problems.push(format!("cannot remove {}: {why}", self.config.dump.display()));
            }
        }
        info!("RESTORE RULES => {} blocks from {}", blocks.len(), self.config.dump.display());
        problems.iter().for_each(|problem| warn!("RESTORE RULES => {problem}"));
        Reply::Restored { holder: self.firewall.holder(), blocks, problems }
    }

    fn ping(&mut self, reply: &Sender<Reply>) -> Reply {
        match &self.connection {
            Some(connection) if self.stats.ami.up => {
                connection.ping();
                self.await_pong(reply);
                Reply::PingSent
            }
            _ => Reply::NotConnected,
        }
    }

    pub(super) fn await_pong(&mut self, session: &Sender<Reply>) {
        if self.awaiting_pong.len() >= MOST_AWAITING {
            self.awaiting_pong.pop_front();
        }
        self.awaiting_pong.push_back(session.clone());
    }

    fn white_list_add(&mut self, entry: &str, now: Now) -> Reply {
        let (entry, is_new) = match self.protection.add(entry) {
            Ok(added) => added,
            Err(why) => return Reply::Failed(why.to_string()),
        };
        if is_new {
            info!("WHITE LIST => {entry}");
        }
        if let NetOrHost::Net(net) = &entry {
            self.evidence.forget(net);
        }
        let freed = self.follow_white_list(now);
        if is_new {
            Reply::WhiteListAdded { entry: entry.to_string(), freed }
        } else {
            Reply::WhiteListHas(entry.to_string())
        }
    }

    fn white_list_del(&mut self, entry: &str, now: Now) -> Reply {
        let (entry, was_there) = match self.protection.remove(entry) {
            Ok(removed) => removed,
            Err(why) => return Reply::Failed(why.to_string()),
        };
        self.follow_white_list(now);
        if was_there {
            info!("WHITE LIST => {entry} removed");
            Reply::WhiteListRemoved(entry.to_string())
        } else {
            Reply::WhiteListLacks(entry.to_string())
        }
    }

    /// Makes the white list hold as its file is now: what was changed there by hand came in with the last command, also
    /// when that changed nothing. Returns whom it freed.
    fn follow_white_list(&mut self, now: Now) -> Vec<IpNet> {
        self.resolve_names();
        let mut plan = Plan::default();
        self.protect(&mut plan);
        let mut freed: Vec<IpNet> = plan.frees().map(|(net, _)| net).collect();
        let refused = self.carry_out(plan, now);
        freed.retain(|net| !refused.contains(net));
        freed
    }

    fn status(&mut self, now: Now) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime: super::passed(self.started, now),
            ami: self.stats.ami.clone(),
            last_event: self.stats.last_event,
            events: self.stats.events,
            tampered: self.stats.tampered + self.stats.unread,
            blocks_made: self.stats.blocks,
            blocks: self.book.len(),
            backend: self.firewall.describe(),
            scope: self.covered.to_string(),
            rules_in_force: self.stats.in_force,
            last_repair: self.stats.last_repair.clone(),
            journal: self.journal.as_ref().map_or_else(|| "none".into(), |journal| journal.describe()),
            sources: self.evidence.len(),
            homes: self.evidence.homes().0,
            shield: self.shield_status(),
            weather: self.weather(now),
            fleet: self.fleet_status(now.wall),
            lists: self.lists.as_ref().map_or_else(Vec::new, |lists| lists.status()),
        }
    }
}
