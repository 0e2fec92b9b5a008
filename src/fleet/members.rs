//! The members of a fleet that count: how far each was read, how many votes it has, and which addresses are its own.
//!
//! INVARIANT: there are never more than [`MOST_MEMBERS`]. One of whom the server knows nothing any more makes room for
//! one that is there.
//!
//! PURE: no clock, no I/O.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::fleet::place::Id;
use crate::fleet::sign::Sign;
use crate::model::clock::UnixTime;

/// At most this many members count. Of others nothing is read.
pub const MOST_MEMBERS: usize = 256;

/// Seconds that a member's addresses stay its own after the server has forgotten it: after a restart without its data it
/// learns of the members one by one.
const FORGOTTEN: u64 = 86_400;

/// The members, each at a place of its own, which is its number.
#[derive(Clone, Debug, Default)]
pub struct Members(Vec<Member>);

/// One of them.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// How far its stream was read.
    pub read: Option<Id>,
    /// How many votes it has.
    pub live: usize,
    /// Its own addresses, as it told them last: one that gives no sign of life is a member all the same.
    pub addresses: Vec<IpAddr>,
    /// When the server knew of it last.
    known: UnixTime,
}

impl Members {
    /// Notes whom the server knows, and which addresses each calls its own. Returns the places that were given to
    /// others: whatever is held for them is to be dropped.
    pub fn meet(&mut self, signs: &[Sign], now: UnixTime) -> Vec<u16> {
        let there: BTreeSet<&str> = signs.iter().map(|sign| sign.name.as_str()).collect();
        let mut given = Vec::new();
        for Sign { name, content } in signs {
            let place = self.place(name, now).or_else(|| {
                let place = self.make_room(&there)?;
                self.0[usize::from(place)] = Member::new(name, now);
                given.push(place);
                Some(place)
            });
            let Some(place) = place else { continue };
            let member = &mut self.0[usize::from(place)];
            member.known = now;
            if let Some(content) = content {
                member.addresses.clone_from(&content.addresses);
            }
        }
        let is_forgotten = |member: &&mut Member| now.since(member.known) > FORGOTTEN;
        self.0.iter_mut().filter(is_forgotten).for_each(|member| member.addresses.clear());
        given
    }

    /// The place of a member, which it gets when it is first heard of, while there is one.
    pub fn place(&mut self, name: &str, now: UnixTime) -> Option<u16> {
        let known = self.0.iter().position(|member| member.name == name);
        let place = known.unwrap_or(self.0.len());
        if place >= MOST_MEMBERS {
            return None;
        }
        if known.is_none() {
            self.0.push(Member::new(name, now));
        }
        u16::try_from(place).ok()
    }

    /// The member at this place.
    pub fn at(&self, place: u16) -> &Member {
        &self.0[usize::from(place)]
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, place: u16) -> &mut Member {
        &mut self.0[usize::from(place)]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    /// All of them, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.0.iter_mut()
    }

    /// The wall clock was set.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        self.0.iter_mut().for_each(|member| member.known = shift(member.known));
    }

    /// The place of the one with the fewest votes of those that are not there.
    fn make_room(&self, there: &BTreeSet<&str>) -> Option<u16> {
        let gone = self.0.iter().enumerate().filter(|(_, member)| !there.contains(member.name.as_str()));
        let (place, _) = gone.min_by_key(|(_, member)| (member.live, member.known))?;
        u16::try_from(place).ok()
    }
}

impl Member {
    fn new(name: &str, now: UnixTime) -> Member {
        Member { name: name.to_owned(), read: None, live: 0, addresses: Vec::new(), known: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::sign::Content;

    const NOW: UnixTime = UnixTime(1_000);

    fn sign(name: &str, addresses: &[&str]) -> Sign {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Sign { name: name.into(), content: Some(Content { version: "2".into(), addresses }) }
    }

    fn silent(name: &str) -> Sign {
        Sign { name: name.into(), content: None }
    }

    #[test]
    fn whoever_the_server_knows_has_a_place_and_takes_it_of_one_that_is_gone() {
        let mut members = Members::default();
        let old: Vec<Sign> = (0..MOST_MEMBERS).map(|n| silent(&format!("old{n}"))).collect();
        members.meet(&old, NOW);
        members.at_mut(0).live = 9;
        // One more is there, and all but the last of the old ones: each is as many as can be read.
        let there = [&old[..MOST_MEMBERS - 1], &[silent("new")]].concat();
        assert_eq!(members.meet(&there, NOW + 10), [255]);
        assert_eq!(members.place("new", NOW), Some(255));
        // Of several that are gone, the one with the fewest votes.
        assert_eq!(members.meet(&[silent("newer")], NOW + 20), [1]);
        assert_eq!((members.at(0).name.as_str(), members.at(0).live), ("old0", 9));
        assert_eq!(members.iter().count(), MOST_MEMBERS);
    }

    #[test]
    fn addresses_are_a_members_while_it_is_silent_and_for_a_day_after_the_server_forgot_it() {
        let mut members = Members::default();
        let own = |members: &Members| members.at(0).addresses.len();
        members.meet(&[sign("pbx1", &["198.51.100.1", "198.51.100.2"])], NOW);
        members.meet(&[silent("pbx1")], NOW + 9 * FORGOTTEN);
        assert_eq!(own(&members), 2);
        members.meet(&[], NOW + 10 * FORGOTTEN);
        assert_eq!(own(&members), 2);
        members.meet(&[], NOW + 10 * FORGOTTEN + 1);
        assert_eq!(own(&members), 0);
        members.meet(&[sign("pbx1", &["198.51.100.3"])], NOW);
        assert_eq!(own(&members), 1);
    }
}
