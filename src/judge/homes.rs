//! Where accounts live: an account that logged in with a password from an address lives there, for `limits.home_time`
//! after its last login.
//!
//! Only a login makes a home or renews one, and nobody who forges his address can log in: the nonce of the challenge
//! goes to the true address. So forged events can neither make a home nor end one. What they can do is to fail in the
//! name of an account that lives at the forged address; the table in [`super`] says what that comes to.
//!
//! Memory: [`PAIR`] bytes for each pair of an address and an account. When there is no room for more, the pairs whose
//! last login is longest ago go first.

use std::collections::HashMap;

use ipnet::IpNet;

use super::account::Account;
use crate::model::clock::UnixTime;
use crate::model::memory::Home;

/// Bytes that a pair takes at most, where the address and the account have no other: 24 for itself, the rest for the
/// address, the name of the account, and what the allocator rounds up.
pub(super) const PAIR: usize = 300;

/// A pair is told again for the journal when its last login is later than the one told last by this part of
/// `limits.home_time`.
const PARTS: u64 = 30;

/// All pairs of an address and an account that lives there.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// The accounts of each address, sorted.
    places: HashMap<IpNet, Vec<Tenant>>,
    names: HashMap<Account, Name>,
    pairs: usize,
    /// Pairs that are new or worth telling again.
    news: Vec<Home>,
}

#[derive(Clone, Copy, Debug)]
struct Tenant {
    account: Account,
    /// Unix times, seconds: the first login, the last one, and the last one that was told.
    first: u32,
    last: u32,
    told: u32,
}

#[derive(Debug)]
struct Name {
    name: Box<[u8]>,
    /// At how many addresses it lives.
    places: u32,
}

impl Homes {
    /// An account logged in with a password.
    pub(super) fn login(&mut self, place: IpNet, name: &[u8], at: UnixTime, home_time: u64) {
        if home_time == 0 {
            return;
        }
        let account = Account::of(name);
        let time = short(at);
        let tenants = self.places.entry(place).or_default();
        match tenants.binary_search_by_key(&account, |tenant| tenant.account) {
            Ok(at) => {
                let tenant = &mut tenants[at];
                tenant.last = tenant.last.max(time);
                if u64::from(tenant.last.saturating_sub(tenant.told)) * PARTS < home_time {
                    return;
                }
                tenant.told = tenant.last;
            }
            Err(at) => {
                if tenants.is_empty() {
                    tenants.reserve_exact(1);
                }
                tenants.insert(at, Tenant { account, first: time, last: time, told: time });
                self.pairs += 1;
                self.names.entry(account).or_insert_with(|| Name { name: name.into(), places: 0 }).places += 1;
            }
        }
        self.news.push(Home { place, account: name.into(), last: at });
    }

    /// Takes over what an earlier process knew.
    pub(super) fn restore(&mut self, homes: impl IntoIterator<Item = Home>) {
        for Home { place, account, last } in homes {
            self.login(place, &account, last, u64::MAX);
        }
        self.news.clear();
    }

    /// Pairs to be remembered beyond this process, each once.
    pub(super) fn take_news(&mut self) -> Vec<Home> {
        std::mem::take(&mut self.news)
    }

    /// Whether this account lives at this address.
    pub(super) fn lives_at(&self, place: &IpNet, account: Account) -> bool {
        let tenants = self.places.get(place);
        tenants.is_some_and(|tenants| tenants.binary_search_by_key(&account, |tenant| tenant.account).is_ok())
    }

    /// Whether this account lives anywhere.
    pub(super) fn lives(&self, account: Account) -> bool {
        self.names.contains_key(&account)
    }

    /// How many accounts live at this address.
    pub(super) fn tenants(&self, place: &IpNet) -> usize {
        self.places.get(place).map_or(0, Vec::len)
    }

    /// Whether this account lives at an address that has moved here: some account lives at both, and nobody has logged
    /// in there since that one did here. The line of many an office gets another address every day. An account that has
    /// logged in elsewhere since has not been taken along: it is not the phone that is broken, but somebody guesses.
    ///
    /// Goes through all addresses, so it is to be asked only before somebody is blocked.
    pub(super) fn has_moved_here(&self, place: &IpNet, account: Account) -> bool {
        let Some(here) = self.places.get(place) else { return false };
        let find = |tenants: &[Tenant], account| {
            tenants.binary_search_by_key(&account, |tenant: &Tenant| tenant.account).ok().map(|at| tenants[at])
        };
        let of_account = || self.places.values().filter_map(|there| find(there, account));
        let Some(last_login) = of_account().map(|tenant| tenant.last).max() else { return false };
        self.places.iter().any(|(other, there)| {
            let last = || there.iter().map(|tenant| tenant.last).max().unwrap_or_default();
            other != place
                && find(there, account).is_some_and(|tenant| tenant.last == last_login)
                && there.iter().filter_map(|tenant| find(here, tenant.account)).any(|moved| last() <= moved.first)
        })
    }

    /// The last login of this account at this address.
    pub(super) fn last_login(&self, place: &IpNet, account: Account) -> Option<UnixTime> {
        let tenants = self.places.get(place)?;
        let at = tenants.binary_search_by_key(&account, |tenant| tenant.account).ok()?;
        Some(UnixTime(tenants[at].last.into()))
    }

    /// The last login of any account at this address.
    pub(super) fn last_login_at(&self, place: &IpNet) -> Option<UnixTime> {
        let last = self.places.get(place)?.iter().map(|tenant| tenant.last).max()?;
        Some(UnixTime(last.into()))
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.pairs
    }

    /// Number of addresses where somebody lives.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// The addresses where somebody lives.
    pub(super) fn all_places(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.places.keys().copied()
    }

    /// All pairs.
    pub(super) fn all(&self) -> impl Iterator<Item = Home> + '_ {
        self.places.keys().flat_map(|place| self.at(place))
    }

    /// The pairs of this address.
    pub(super) fn at(&self, place: &IpNet) -> impl Iterator<Item = Home> + '_ {
        let place = *place;
        let tenants = self.places.get(&place).into_iter().flatten();
        tenants.map(move |tenant| Home {
            place,
            account: self.names[&tenant.account].name.clone(),
            last: UnixTime(tenant.last.into()),
        })
    }

    /// The addresses where this account lives. Goes through all of them: for the console.
    pub(super) fn of(&self, account: Account) -> Vec<(IpNet, UnixTime)> {
        let last = |tenants: &[Tenant]| tenants.iter().find(|tenant| tenant.account == account).map(|found| found.last);
        let found = self.places.iter().filter_map(|(place, tenants)| Some((*place, UnixTime(last(tenants)?.into()))));
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found
    }

    /// Ends the pairs whose last login is `home_time` seconds ago.
    pub(super) fn expire(&mut self, home_time: u64, now: UnixTime) {
        self.retain(|tenant| now.since(UnixTime(tenant.last.into())) < home_time);
    }

    /// Makes room when there are more than `most` pairs: an eighth goes, those whose last login is longest ago.
    pub(super) fn bound(&mut self, most: usize) {
        if self.pairs <= most {
            return;
        }
        let mut times: Vec<u32> = self.places.values().flatten().map(|tenant| tenant.last).collect();
        let mut going = self.pairs - most + most / 8;
        let (_, oldest_kept, _) = times.select_nth_unstable(going.min(self.pairs - 1));
        let oldest_kept = *oldest_kept;
        self.retain(|tenant| {
            let keep = going == 0 || tenant.last >= oldest_kept;
            going -= usize::from(!keep);
            keep
        });
        // Those that are equally old: any of them.
        let mut over = self.pairs.saturating_sub(most);
        self.retain(|_| {
            let keep = over == 0;
            over -= usize::from(!keep);
            keep
        });
    }

    /// The wall clock was set: the logins move with it.
    pub(super) fn shift(&mut self, seconds: i64) {
        let shift = |time: u32| short(UnixTime(u64::from(time).saturating_add_signed(seconds)));
        for tenant in self.places.values_mut().flatten() {
            (tenant.first, tenant.last, tenant.told) = (shift(tenant.first), shift(tenant.last), shift(tenant.told));
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Tenant) -> bool) {
        let Homes { places, names, pairs, .. } = self;
        places.retain(|_, tenants| {
            tenants.retain(|tenant| {
                let keep = keep(tenant);
                if !keep {
                    *pairs -= 1;
                    if let Some(name) = names.get_mut(&tenant.account) {
                        name.places -= 1;
                        if name.places == 0 {
                            names.remove(&tenant.account);
                        }
                    }
                }
                keep
            });
            !tenants.is_empty()
        });
    }
}

/// Seconds since 1970 in half the room; they last until 2106.
fn short(time: UnixTime) -> u32 {
    u32::try_from(time.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: u64 = 30 * 86_400;

    fn place(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([203, 0, 113, n]))
    }

    #[test]
    fn an_account_lives_where_it_logged_in_until_its_time_is_over() {
        let mut homes = Homes::default();
        homes.login(place(1), b"1000", UnixTime(100), MONTH);
        homes.login(place(1), b"1001", UnixTime(200), MONTH);
        homes.login(place(2), b"1000", UnixTime(300), MONTH);
        let (a, b) = (Account::of(b"1000"), Account::of(b"1001"));
        assert!(homes.lives_at(&place(1), a) && homes.lives_at(&place(2), a) && !homes.lives_at(&place(2), b));
        assert_eq!((homes.tenants(&place(1)), homes.len(), homes.places()), (2, 3, 2));
        assert_eq!(homes.of(a), [(place(1), UnixTime(100)), (place(2), UnixTime(300))]);
        homes.expire(MONTH, UnixTime(100 + MONTH));
        assert!(!homes.lives_at(&place(1), a) && homes.lives(a) && homes.lives(b));
        homes.expire(MONTH, UnixTime(300 + MONTH));
        assert!(!homes.lives(a) && homes.len() == 0 && homes.names.is_empty() && homes.places.is_empty());
    }

    #[test]
    fn an_office_that_gets_another_address_takes_its_broken_phone_along() {
        let mut homes = Homes::default();
        let (office, other, broken) = (place(1), place(2), Account::of(b"1002"));
        homes.login(office, b"1001", UnixTime(100), MONTH);
        homes.login(office, b"1002", UnixTime(100), MONTH);
        homes.login(other, b"2001", UnixTime(200), MONTH);
        assert!(!homes.has_moved_here(&other, broken));
        homes.login(other, b"1001", UnixTime(300), MONTH);
        assert!(homes.has_moved_here(&other, broken));
        // It went on logging in where the office is now: 1001 is somebody at home, with a new address, who guesses.
        homes.login(place(3), b"1002", UnixTime(250), MONTH);
        assert!(!homes.has_moved_here(&other, broken));
        let mut homes = Homes::default();
        homes.login(office, b"1002", UnixTime(100), MONTH);
        homes.login(office, b"1001", UnixTime(100), MONTH);
        homes.login(other, b"1001", UnixTime(300), MONTH);
        assert!(homes.has_moved_here(&other, broken));
        // The office is still there: 1001 is somebody who also works from home.
        homes.login(office, b"1002", UnixTime(400), MONTH);
        assert!(!homes.has_moved_here(&other, broken));
    }

    #[test]
    fn a_pair_is_told_when_it_is_new_and_then_seldom() {
        let mut homes = Homes::default();
        let mut told = 0;
        for minute in 0..3 * 1440 {
            homes.login(place(1), b"1000", UnixTime(minute * 60), MONTH);
            told += homes.take_news().len();
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn what_was_told_restores_what_was_known() {
        let mut homes = Homes::default();
        homes.login(place(1), b"1000", UnixTime(7), MONTH);
        homes.login(place(2), b"", UnixTime(9), MONTH);
        let mut again = Homes::default();
        again.restore(homes.take_news());
        let sorted = |homes: &Homes| {
            let mut all: Vec<Home> = homes.all().collect();
            all.sort_unstable_by_key(|home| home.last);
            all
        };
        assert_eq!(sorted(&again), sorted(&homes));
        assert!(again.take_news().is_empty());
    }

    #[test]
    fn where_there_is_no_room_the_oldest_homes_go() {
        let mut homes = Homes::default();
        for n in 0..=255 {
            homes.login(place(n), &n.to_string().into_bytes(), UnixTime(u64::from(n)), MONTH);
            homes.bound(64);
            assert!(homes.len() <= 64);
        }
        assert!(
            homes.lives(Account::of(b"255")) && homes.lives(Account::of(b"220")) && !homes.lives(Account::of(b"180"))
        );
        // And when all are equally old.
        let mut homes = Homes::default();
        for n in 0..=255 {
            homes.login(place(n), b"1000", UnixTime(5), MONTH);
            homes.bound(64);
        }
        assert!(homes.len() <= 64 && homes.lives(Account::of(b"1000")));
    }
}
