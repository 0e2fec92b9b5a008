//! The rules, word by word: all that was ever heard is kept, and at each step it is gone through from the beginning.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::{Lengths, Limits};
use sipban::judge::Policy;
use sipban::model::block::Reason;
use sipban::model::clock::{Now, UnixTime};
use sipban::model::country::Country;
use sipban::model::security::{Acl, Kind, SecurityEvent, Service};

use super::sky::{Sky, Weather};

/// A block: who, why, and for how many seconds.
pub type Block = (IpNet, Reason, u64);

pub type Name = Box<[u8]>;

pub const LOGIN: Kind = Kind::SuccessfulAuth { using_password: true };
pub const REGISTRAR: Kind = Kind::FailedAcl(Acl::Request);

pub const MINUTE: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(86_400);

/// A challenge is left unanswered when it is this old, where nobody and where somebody lives.
const GRACE: Duration = Duration::from_secs(4);
const HOME_GRACE: Duration = Duration::from_secs(30);

/// How long an account must hammer where it lives.
const HOLD: Duration = Duration::from_secs(10);

/// This many times the limit of open challenges are too many at once.
const HUGE: usize = 20;

pub struct Model {
    limits: Limits,
    lengths: Lengths,
    protected: Vec<IpNet>,
    heard: Vec<Heard>,
    /// Logins with a password that make homes: of which account, where, when.
    logins: Vec<(Name, IpNet, UnixTime)>,
    sentences: Vec<Sentence>,
    weather: Weather,
    /// When the weather ended that spared somebody, and from when on what was counted is dropped.
    drops: Vec<(Duration, Duration)>,
    /// When the weather ended in which challenges were left unanswered.
    calms: Vec<Duration>,
}

/// What was heard of one source, as it was understood then.
struct Heard {
    at: Now,
    source: IpNet,
    event: SecurityEvent,
    account: Name,
    /// Whether anybody lived there.
    is_home: bool,
    failure: Option<Failure>,
}

/// A failure that counts.
#[derive(Clone, Copy)]
struct Failure {
    row: Row,
    lives_here: bool,
    lives_elsewhere: bool,
    is_spared: bool,
    country: Option<Country>,
}

struct Sentence {
    source: IpNet,
    at: Duration,
    seconds: u64,
    end: UnixTime,
    is_home: bool,
}

/// What a failure counts as where nobody lives.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    UnknownAccount,
    WrongPassword,
    Acl,
    Ami,
}

/// What an event accuses its sender of.
#[derive(Clone, Copy)]
struct Accusation {
    row: Row,
    reason: Reason,
    /// What happens to everybody when the PBX has lost its database.
    is_refused: bool,
    /// What a phone may do that was set up wrongly.
    is_phone: bool,
}

/// What one source has open.
#[derive(Default)]
struct Open {
    /// Challenges that nobody has answered, by their number in what was heard.
    challenges: Vec<usize>,
    /// Attempts of which more may be told.
    told: Vec<Told>,
    /// When anything was heard that has to do with either.
    last: Duration,
}

/// What was told last of an attempt: its session, and the account that it names.
enum Told {
    Refusal(u64, Name),
    Challenge(u64, Name),
    Answer(u64),
}

impl Model {
    pub fn new(policy: &Policy, protected: &[IpNet]) -> Model {
        Model {
            limits: policy.limits.clone(),
            lengths: policy.lengths,
            protected: protected.to_vec(),
            heard: vec![],
            logins: vec![],
            sentences: vec![],
            weather: Weather::default(),
            drops: vec![],
            calms: vec![],
        }
    }

    /// The process is killed, and another one begins with what is remembered for weeks.
    pub fn restart(&mut self) {
        self.heard.clear();
        self.drops.clear();
        self.calms.clear();
        self.weather = Weather::default();
        let pairs: BTreeSet<(Name, IpNet)> =
            self.logins.iter().map(|(account, place, _)| (account.clone(), *place)).collect();
        let last = |(account, place): (Name, IpNet)| {
            let at = self.login_times(&place, &account).max().expect("it logged in");
            (account, place, at)
        };
        self.logins = pairs.into_iter().map(last).collect();
    }

    pub fn refusing(&self) -> Option<Sky> {
        self.weather.refusing()
    }

    pub fn silent(&self) -> Option<Sky> {
        self.weather.silent()
    }

    // ---- What is heard ----

    pub fn hear(&mut self, now: Now, event: &SecurityEvent) -> Option<Block> {
        let address = event.source();
        if self.protected.iter().any(|net| net.contains(&address)) {
            self.witness(now, event);
            return None;
        }
        let source = self.source(address);
        let open = self.open(source, now);
        let is_told = open.attempt(event).is_some();
        let challenged = self.challenged(&open, event);
        let account = challenged.clone().unwrap_or_else(|| plain(event));
        let failure = self.failure(now, source, event, &account, is_told);
        let is_home = self.tenants(&source, now) > 0;
        let lives_here = self.lives_at(&source, &account, now);
        self.heard.push(Heard { at: now, source, event: event.clone(), account: account.clone(), is_home, failure });
        match (event.kind, failure) {
            (LOGIN, _) => {
                // The answer to an INVITE of chan_sip names the number that was dialled.
                let is_sure = event.service == Service::Pjsip || challenged.is_some() || lives_here;
                if is_sure && self.limits.home_time > 0 && event.service != Service::Ami {
                    self.move_in(now, source, account);
                } else if is_sure {
                    self.weather.admit(source, &account, now.monotonic);
                }
                None
            }
            (Kind::ChallengeSent, _) => {
                if self.lives_at(&source, &plain(event), now) {
                    self.weather.hear(source, now.monotonic);
                }
                self.flood(source, now)
            }
            (_, Some(failure)) => self.fail(now, source, &account, failure, accusation(event)?),
            _ => None,
        }
    }

    /// At protected addresses live accounts too.
    fn witness(&mut self, now: Now, event: &SecurityEvent) {
        let (place, account) = (IpNet::from(event.source()), plain(event));
        let lives_here = self.lives_at(&place, &account, now);
        if event.kind == LOGIN && (event.service == Service::Pjsip || lives_here) {
            if self.limits.home_time > 0 {
                self.move_in(now, place, account);
            } else {
                self.weather.admit(place, &account, now.monotonic);
            }
        } else if lives_here && accusation(event).is_some_and(|accusation| accusation.is_refused) {
            self.refuse(now, place, &account);
        }
    }

    fn move_in(&mut self, now: Now, place: IpNet, account: Name) {
        self.weather.admit(place, &account, now.monotonic);
        self.logins.push((account, place, now.wall));
    }

    fn refuse(&mut self, now: Now, place: IpNet, account: &Name) {
        let last = self.login_times(&place, account).max();
        self.weather.refuse(place, account, last.is_some_and(|at| now.wall.since(at) < 7200), now.monotonic);
    }

    /// The failure that an event is, if it counts at all.
    fn failure(
        &self,
        now: Now,
        source: IpNet,
        event: &SecurityEvent,
        account: &Name,
        is_told: bool,
    ) -> Option<Failure> {
        let accusation = accusation(event)?;
        let just_logged_in =
            self.of(source).any(|heard| heard.event.kind == LOGIN && now.monotonic < heard.at.monotonic + MINUTE);
        let is_excused = matches!(event.kind, REGISTRAR | Kind::RequestNotSupported) && just_logged_in;
        // Where somebody lives, nobody's account is no phone's.
        let is_nobodys = &*event.account == b"<unknown>" && self.tenants(&source, now) > 0;
        if is_told || is_excused || is_nobodys {
            return None;
        }
        let lives_here = accusation.is_phone && self.lives_at(&source, account, now);
        let lives = self.homes(now).iter().any(|(name, _)| name == account);
        let exists = accusation.row == Row::UnknownAccount && accusation.is_phone && lives;
        let row = if exists { Row::WrongPassword } else { accusation.row };
        let is_spared = accusation.is_refused && self.weather.refusing().is_some_and(|sky| sky.spares);
        let failure = Failure {
            row,
            lives_here,
            lives_elsewhere: !lives_here && (lives || !accusation.is_phone),
            is_spared,
            country: event.country,
        };
        (self.row_limit(row) > 0).then_some(failure)
    }

    fn row_limit(&self, row: Row) -> usize {
        let limit = match row {
            Row::UnknownAccount => self.limits.unknown_account,
            Row::WrongPassword => self.limits.wrong_password,
            Row::Acl => self.limits.acl,
            Row::Ami => self.limits.ami,
        };
        limit as usize
    }

    // ---- The table ----

    fn fail(
        &mut self,
        now: Now,
        source: IpNet,
        account: &Name,
        failure: Failure,
        accusation: Accusation,
    ) -> Option<Block> {
        if accusation.is_refused && failure.lives_here {
            self.refuse(now, source, account);
        }
        let is_guilty = if failure.is_spared {
            !failure.lives_here && (self.hammers(source, account, failure, now) || self.hammers_at_many(source, now))
        } else if self.tenants(&source, now) > 0 {
            self.blocks_home(source, account, failure, now)
        } else {
            self.blocks_stranger(source, account, failure, now)
        };
        is_guilty.then(|| self.block(source, accusation.reason, now))
    }

    fn blocks_home(&self, source: IpNet, account: &Name, failure: Failure, now: Now) -> bool {
        if self.hammers(source, account, failure, now) {
            return true;
        }
        if failure.lives_here || self.has_moved(source, account, now) {
            return false;
        }
        let today = self.failures(source, DAY, now);
        let guesses = today.iter().filter(|heard| heard.is(account, failure.row)).count();
        let strange: BTreeSet<&Name> =
            today.iter().map(|heard| &heard.account).filter(|name| !self.lives_at(&source, name, now)).collect();
        let is_guesser = failure.lives_elsewhere && exceeds(guesses + 1, self.limits.home_guesses);
        // A phone that was set up wrongly and tries again is no news.
        let is_news = failure.lives_elsewhere || guesses == 1;
        is_guesser || is_news && exceeds(strange.len(), self.limits.strange)
    }

    fn blocks_stranger(&self, source: IpNet, account: &Name, failure: Failure, now: Now) -> bool {
        let wanted = &self.limits.countries;
        let window = Duration::from_secs(self.limits.window);
        let lately = self.failures(source, window, now);
        let lately = lately.iter().filter(|heard| heard.failure.is_some_and(|other| other.row == failure.row)).count();
        let today = self.failures(source, DAY, now).len();
        let before = |heard: &&Heard| !std::ptr::eq(*heard, self.heard.last().expect("the failure itself"));
        let is_foreign = failure.country.is_some_and(|country| !wanted.is_empty() && !wanted.contains(&country));
        is_foreign
            || lately >= self.row_limit(failure.row)
            || exceeds(today + 1, self.limits.day_guesses)
            || self.limits.pressure > 0 && self.is_under_pressure(account, now, before)
            || exceeds(self.bad_neighbours(source, now, before), self.limits.neighbours)
            || self.sentences.iter().any(|last| last.source == source && now.wall.since(last.end) < DAY.as_secs())
    }

    /// More failures of one account in a minute than any phone makes; where it lives, for ten seconds.
    fn hammers(&self, source: IpNet, account: &Name, failure: Failure, now: Now) -> bool {
        let failures = self.failures(source, DAY, now);
        let failures = failures.iter().filter(|heard| heard.is(account, failure.row));
        let times: Vec<Duration> = failures.map(|heard| heard.at.monotonic).collect();
        let within_a_minute = |n: usize| times[..=n].iter().filter(|at| times[n] < **at + MINUTE).count();
        let hammering = (0..times.len()).rev().take_while(|n| exceeds(within_a_minute(*n), self.limits.hammer)).last();
        let hold = if failure.lives_here { HOLD } else { Duration::ZERO };
        hammering.is_some_and(|first| times[first] + hold <= now.monotonic)
    }

    /// More failures of any accounts in a minute than a new office makes.
    fn hammers_at_many(&self, source: IpNet, now: Now) -> bool {
        self.tenants(&source, now) == 0 && exceeds(self.failures(source, MINUTE, now).len(), 2 * self.limits.hammer)
    }

    /// Whether somebody who lives here lived there where this account lives, and nobody has been there since.
    fn has_moved(&self, source: IpNet, account: &Name, now: Now) -> bool {
        let homes = self.homes(now);
        let lives = |name: &Name, place: IpNet| homes.contains(&(name.clone(), place));
        let last_at = |place: &IpNet| self.login_times(place, account).max();
        let last = homes.iter().filter(|(name, _)| name == account).filter_map(|(_, place)| last_at(place)).max();
        let stood_last = |name: &Name, there: &IpNet| name == account && *there != source && last_at(there) == last;
        homes.iter().filter(|(name, there)| stood_last(name, there)).any(|(_, there)| {
            let tenants = || homes.iter().filter(|(_, place)| place == there);
            let last = tenants().filter_map(|(name, _)| self.login_times(there, name).max()).max();
            let firsts = tenants().filter(|(name, _)| lives(name, source)).map(|(name, _)| self.first(&source, name));
            firsts.flatten().any(|first| last.is_some_and(|last| last <= first))
        })
    }

    // ---- What is counted ----

    fn of(&self, source: IpNet) -> impl Iterator<Item = &Heard> {
        self.heard.iter().filter(move |heard| heard.source == source)
    }

    /// The failures of a source that count against it.
    fn failures(&self, source: IpNet, window: Duration, now: Now) -> Vec<&Heard> {
        let mut failures: Vec<&Heard> = Vec::new();
        for heard in self.of(source) {
            if heard.event.kind == LOGIN {
                failures.retain(|failure| failure.account != heard.account);
            } else if heard.failure.is_some() {
                failures.push(heard);
            }
        }
        failures.retain(|heard| now.monotonic < heard.at.monotonic + window && !self.is_dropped(heard.at.monotonic));
        failures
    }

    fn is_dropped(&self, at: Duration) -> bool {
        self.drops.iter().any(|(end, start)| (*start..*end).contains(&at))
    }

    /// More addresses than the limit where it does not live failed for an account within a day, and no day has passed
    /// without a failure since.
    fn is_under_pressure(&self, account: &Name, now: Now, is_meant: impl Fn(&&Heard) -> bool) -> bool {
        let guesses = |heard: &&Heard| {
            heard.account == *account && heard.failure.is_some_and(|failure| failure.row == Row::WrongPassword)
        };
        let crowd = self.crowd(self.limits.pressure, guesses, is_meant);
        crowd.siege && now.monotonic < crowd.last + DAY
    }

    /// How many addresses of a neighbourhood failed within a day where nobody lives.
    fn bad_neighbours(&self, source: IpNet, now: Now, is_meant: impl Fn(&&Heard) -> bool) -> usize {
        let network = neighbourhood(&source);
        let guesses = |heard: &&Heard| !heard.is_home && neighbourhood(&heard.source) == network;
        let crowd = self.crowd(self.limits.neighbours, guesses, is_meant);
        crowd.members.iter().filter(|(_, at)| now.monotonic < *at + DAY).count()
    }

    /// Goes through all failures and logins, and through the weather.
    fn crowd(&self, limit: u32, guesses: impl Fn(&&Heard) -> bool, is_meant: impl Fn(&&Heard) -> bool) -> Crowd {
        let mut crowd = Crowd::default();
        let mut drops = self.drops.iter().peekable();
        for heard in self.heard.iter().filter(is_meant) {
            let at = heard.at.monotonic;
            while let Some((_, start)) = drops.next_if(|(end, _)| *end <= at) {
                crowd.lose(limit, |_, at| at >= *start);
            }
            let counts = heard.failure.is_some_and(|failure| !failure.lives_here && !failure.is_spared);
            if heard.event.kind == LOGIN {
                // What it failed for longer than a day ago is not remembered.
                crowd.lose(limit, |source, last| source == heard.source && at < last + DAY);
            } else if counts && guesses(&heard) {
                crowd.siege &= at < crowd.last + DAY;
                crowd.last = at;
                crowd.members.retain(|(source, last)| *source != heard.source && at < *last + DAY);
                crowd.members.push((heard.source, at));
                crowd.siege |= crowd.members.len() > limit as usize;
            }
        }
        drops.for_each(|(_, start)| crowd.lose(limit, |_, at| at >= *start));
        crowd
    }

    // ---- Homes ----

    fn login_times(&self, place: &IpNet, account: &Name) -> impl Iterator<Item = UnixTime> {
        self.logins.iter().filter(move |(name, at, _)| name == account && at == place).map(|(.., time)| *time)
    }

    fn lives_at(&self, place: &IpNet, account: &Name, now: Now) -> bool {
        self.login_times(place, account).any(|at| now.wall.since(at) < self.limits.home_time)
    }

    /// All pairs of an account and an address where it lives.
    fn homes(&self, now: Now) -> BTreeSet<(Name, IpNet)> {
        let live = self.logins.iter().filter(|(.., at)| now.wall.since(*at) < self.limits.home_time);
        live.map(|(account, place, _)| (account.clone(), *place)).collect()
    }

    fn tenants(&self, place: &IpNet, now: Now) -> usize {
        self.homes(now).iter().filter(|(_, at)| at == place).count()
    }

    /// The login since which an account lives without a break at an address.
    fn first(&self, place: &IpNet, account: &Name) -> Option<UnixTime> {
        let (mut first, mut last) = (None, None);
        for at in self.login_times(place, account) {
            let goes_on = last.is_some_and(|last| at.since(last) < self.limits.home_time);
            first = first.filter(|_| goes_on).or(Some(at));
            last = Some(at);
        }
        first
    }

    /// An IPv6 address counts with its /64, unless somebody in there is protected.
    fn source(&self, address: IpAddr) -> IpNet {
        let IpAddr::V6(v6) = address else { return address.into() };
        let net = IpNet::new(address, self.limits.ipv6_prefix).unwrap().trunc();
        let is_shared = self.protected.iter().any(|other| net.contains(other));
        if v6.is_unicast_link_local() || is_shared { address.into() } else { net }
    }

    // ---- Challenges ----

    /// Goes through all that was heard of a source.
    fn open(&self, source: IpNet, now: Now) -> Open {
        let mut open = Open::default();
        for (n, heard) in self.heard.iter().enumerate().filter(|(_, heard)| heard.source == source) {
            open.challenges.retain(|sent| self.is_open(*sent, heard.at.monotonic));
            open.hear(self, n);
        }
        open.tire(now.monotonic);
        open.challenges.retain(|sent| self.is_open(*sent, now.monotonic));
        open
    }

    /// Whether a challenge may still be answered.
    fn is_open(&self, sent: usize, now: Duration) -> bool {
        let Heard { at, source, .. } = &self.heard[sent];
        // What those before a block came to has been done; those of bad weather are nobody's fault.
        let is_settled = |last: &Sentence| last.source == *source && (at.monotonic..=now).contains(&last.at);
        let is_excused = |calm: &Duration| at.monotonic + GRACE <= *calm && *calm <= now;
        now < at.monotonic + self.patience()
            && !self.sentences.iter().any(is_settled)
            && !self.calms.iter().any(is_excused)
    }

    /// The account that the challenge of the same session named, where chan_sip names another one in the answer.
    fn challenged(&self, open: &Open, event: &SecurityEvent) -> Option<Name> {
        let same = |sent: &&usize| self.heard[**sent].event.session == event.session;
        let sent = &self.heard[*open.challenges.iter().rev().find(same)?];
        let is_answer = event.kind != Kind::ChallengeSent && sent.event.service == Service::Sip;
        is_answer.then(|| sent.account.clone())
    }

    fn flood(&mut self, source: IpNet, now: Now) -> Option<Block> {
        let limit =
            self.limits.flood_count.max(self.limits.home_challenges * self.tenants(&source, now) as u32) as usize;
        let is_home = self.tenants(&source, now) > 0;
        let grace = if is_home { HOME_GRACE } else { GRACE };
        let open: Vec<Duration> = self
            .open(source, now)
            .challenges
            .iter()
            .map(|sent| now.monotonic - self.heard[*sent].at.monotonic)
            .collect();
        // Older ones do not count any more.
        let open: Vec<Duration> = open.into_iter().filter(|age| *age < self.interval() + grace).collect();
        let overdue = open.iter().filter(|age| **age >= grace).count();
        let is_spared = self.weather.silent().is_some_and(|sky| sky.spares);
        let is_late = !is_spared && overdue > limit;
        let is_huge = !is_home && open.len() > HUGE * limit;
        (self.limits.flood_count > 0 && (is_late || is_huge)).then(|| self.block(source, Reason::ChallengeSent, now))
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.limits.flood_interval)
    }

    /// How long a challenge may be answered.
    fn patience(&self) -> Duration {
        self.interval() + HOME_GRACE
    }

    /// Sources that were challenged and may not have answered.
    fn challenged_lately(&self, now: Now) -> BTreeSet<IpNet> {
        let longest = self.patience();
        let lately = self.heard.iter().rev().take_while(|heard| now.monotonic < heard.at.monotonic + longest);
        lately.filter(|heard| heard.event.kind == Kind::ChallengeSent).map(|heard| heard.source).collect()
    }

    // ---- Time ----

    /// Once a second: the weather, and who has left too many challenges unanswered.
    pub fn tick(&mut self, now: Now) -> Vec<Block> {
        if self.weather.is_due(now.monotonic) {
            let silent = self.challenged_lately(now).into_iter().filter(|place| {
                let old = |sent: &usize| now.monotonic >= self.heard[*sent].at.monotonic + GRACE;
                self.tenants(place, now) > 0 && self.open(*place, now).challenges.iter().any(old)
            });
            let silent: Vec<IpNet> = silent.collect();
            let places: BTreeSet<IpNet> = self.homes(now).into_iter().map(|(_, place)| place).collect();
            let passed = self.weather.look(&self.limits, &silent, places.len(), now.monotonic);
            self.drops.extend(passed.refusals.map(|since| (now.monotonic, since.saturating_sub(MINUTE))));
            self.calms.extend(passed.silence.map(|_| now.monotonic));
        }
        self.challenged_lately(now).into_iter().filter_map(|source| self.flood(source, now)).collect()
    }

    fn block(&mut self, source: IpNet, reason: Reason, now: Now) -> Block {
        let is_home = self.tenants(&source, now) > 0;
        let first = if is_home && self.lengths.home > 0 { self.lengths.home } else { self.lengths.ban };
        let last = self.sentences.iter().rev().find(|last| last.source == source);
        let is_remembered = |last: &&Sentence| now.wall.since(last.end) < self.lengths.longest.max(DAY.as_secs());
        let seconds = match last.filter(is_remembered) {
            Some(last) if last.is_home == is_home && self.lengths.growth > 0 => {
                (last.seconds * self.lengths.growth).min(self.lengths.longest.max(first)).max(first)
            }
            _ => first,
        };
        self.sentences.push(Sentence { source, at: now.monotonic, seconds, end: now.wall + seconds, is_home });
        (source, reason, seconds)
    }
}

/// Sources that have something in common.
#[derive(Default)]
struct Crowd {
    members: Vec<(IpNet, Duration)>,
    last: Duration,
    siege: bool,
}

impl Crowd {
    fn lose(&mut self, limit: u32, goes: impl Fn(IpNet, Duration) -> bool) {
        let before = self.members.len();
        self.members.retain(|(source, at)| !goes(*source, *at));
        self.siege &= self.members.len() == before || self.members.len() > limit as usize;
    }
}

impl Heard {
    fn is(&self, account: &Name, row: Row) -> bool {
        self.account == *account && self.failure.is_some_and(|failure| failure.row == row)
    }
}

impl Open {
    /// The attempt, counted already, that an event belongs to: PJSIP tells what the request was refused for, that it was
    /// challenged as `<unknown>`, what the answer to that was refused for, and that again as `<unknown>`.
    fn attempt(&self, event: &SecurityEvent) -> Option<usize> {
        let is_failure = event.kind == Kind::ChallengeSent || accusation(event).is_some();
        let is_nobodys = is_failure && &*event.account == b"<unknown>";
        self.told.iter().rposition(|told| match told {
            Told::Refusal(session, _) | Told::Answer(session) => is_nobodys && *session == event.session,
            Told::Challenge(session, account) => {
                is_refusal(event) && *session == event.session && *account == plain(event)
            }
        })
    }

    /// After a silence no more is told of any attempt.
    fn tire(&mut self, now: Duration) {
        if now >= self.last + GRACE {
            self.told.clear();
        }
    }

    fn hear(&mut self, model: &Model, n: usize) {
        let Heard { at, event, account, .. } = &model.heard[n];
        let is_request = matches!(event.kind, Kind::ChallengeSent | Kind::SuccessfulAuth { .. });
        if is_request || accusation(event).is_some() {
            self.tire(at.monotonic);
            self.last = at.monotonic;
        }
        let attempt = self.attempt(event);
        let session = event.session;
        let is_of_session = |sent: &usize| model.heard[*sent].event.session == session;
        let answers = |sent: &usize| is_of_session(sent) || model.heard[*sent].account == *account;
        match event.kind {
            Kind::SuccessfulAuth { .. } => {
                if self.challenges.iter().any(answers) {
                    self.challenges.retain(|sent| !answers(sent));
                } else {
                    self.challenges.drain(..self.challenges.len().min(1));
                }
            }
            Kind::ChallengeSent => match attempt {
                Some(attempt) => {
                    if let Told::Refusal(_, account) = self.told.remove(attempt) {
                        self.told.insert(attempt, Told::Challenge(session, account));
                    }
                }
                None => self.challenges.push(n),
            },
            _ if accusation(event).is_some() => {
                if let Some(answered) = self.challenges.iter().position(is_of_session) {
                    self.challenges.remove(answered);
                }
                match attempt {
                    Some(attempt) => {
                        if let Told::Challenge(..) = self.told.remove(attempt) {
                            self.told.insert(attempt, Told::Answer(session));
                        }
                    }
                    None if is_refusal(event) && event.service == Service::Pjsip => {
                        self.told.push(Told::Refusal(session, plain(event)));
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }
}

fn is_refusal(event: &SecurityEvent) -> bool {
    matches!(event.kind, Kind::InvalidAccountId | Kind::FailedAcl(Acl::Access))
}

fn exceeds(count: usize, limit: u32) -> bool {
    limit > 0 && count > limit as usize
}

/// chan_sip writes the URI of the From header into the challenge of an INVITE.
fn plain(event: &SecurityEvent) -> Name {
    let uri = event.account.strip_prefix(b"sip:").filter(|_| event.service == Service::Sip);
    uri.map_or(event.account.clone(), |uri| uri.split(|byte| b"@;".contains(byte)).next().unwrap_or_default().into())
}

fn neighbourhood(source: &IpNet) -> IpNet {
    let length = if source.addr().is_ipv4() { 24 } else { 48 };
    IpNet::new(source.addr(), length.min(source.prefix_len())).unwrap().trunc()
}

fn accusation(event: &SecurityEvent) -> Option<Accusation> {
    let (row, reason) = match event.kind {
        Kind::InvalidAccountId => (Row::UnknownAccount, Reason::InvalidAccount),
        Kind::ChallengeResponseFailed if &*event.account == b"<unknown>" => {
            (Row::UnknownAccount, Reason::InvalidAccount)
        }
        Kind::Tampered => (Row::UnknownAccount, Reason::ProtocolMisuse),
        Kind::ChallengeResponseFailed => (Row::WrongPassword, Reason::ChallengeFailed),
        Kind::InvalidPassword => (Row::WrongPassword, Reason::InvalidPassword),
        Kind::FailedAcl(Acl::Access) => (Row::Acl, Reason::FailedAcl),
        REGISTRAR => (Row::WrongPassword, Reason::FailedAcl),
        Kind::RequestNotSupported
        | Kind::RequestNotAllowed
        | Kind::RequestBadFormat
        | Kind::SessionLimit
        | Kind::InvalidTransport
        | Kind::UnexpectedAddress
        | Kind::AuthMethodNotAllowed => (Row::WrongPassword, Reason::ProtocolMisuse),
        _ => return None,
    };
    let is_ami = event.service == Service::Ami;
    let is_refused =
        matches!(event.kind, Kind::InvalidAccountId | Kind::ChallengeResponseFailed | Kind::InvalidPassword);
    Some(Accusation {
        row: if is_ami { Row::Ami } else { row },
        reason,
        is_refused: is_refused && !is_ami,
        is_phone: !is_ami && event.kind != Kind::Tampered,
    })
}
