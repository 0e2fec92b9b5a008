//! What one member tells, the others hear.

use std::collections::BTreeMap;

use sipban::fleet::entry::Entry;
use sipban::fleet::votes::Lacks;
use sipban::fleet::{Heard, Order};

use crate::member::{Member, net, settings};
use crate::redis::Redis;

#[test]
fn a_block_of_one_is_heard_by_all_others_and_not_by_itself() {
    let redis = Redis::start(&[]);
    let [mut one, mut two, mut three] = ["pbx1", "pbx2", "pbx3"].map(|name| Member::join(name, redis.port()));
    for member in [&mut one, &mut two, &mut three] {
        member.settle();
    }
    two.wait_for_member("pbx1");
    three.wait_for_member("pbx1");
    one.block("198.51.100.7", 3_600);
    for other in [&mut two, &mut three] {
        let seconds = other.wait_for_block("pbx1", "198.51.100.7");
        assert!((3_500..=3_600).contains(&seconds), "{seconds}");
    }
    one.unblock("198.51.100.7");
    let withdrawn = Entry::Unblock(net("198.51.100.7"));
    let is_it = |heard: &Heard| matches!(heard, Heard::Entries { entries, .. } if entries.contains(&withdrawn));
    two.wait_for("the withdrawal", is_it);
    three.wait_for("the withdrawal", is_it);
    let own = |heard: &&Heard| matches!(heard, Heard::Entries { .. } | Heard::Set { .. });
    assert_eq!(one.heard().iter().filter(own).filter(|heard| format!("{heard:?}").contains("pbx1")).count(), 0);
}

#[test]
fn who_comes_later_learns_what_is_blocked_already() {
    let redis = Redis::start(&[]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    one.block("198.51.100.7", 3_600);
    one.block("2001:db9::/64", 60);
    one.block("198.51.100.8", 3_600);
    one.unblock("198.51.100.8");
    let mut witness = Member::join("witness", redis.port());
    witness.wait_for_block("pbx1", "2001:db9::/64");
    let mut two = Member::join("pbx2", redis.port());
    let set = two.wait_for("the set", |heard| matches!(heard, Heard::Set { origin, .. } if origin == "pbx1"));
    let Heard::Set { set, .. } = set else { unreachable!() };
    let mut held: Vec<_> = set.iter().map(|(live, _)| live.net).collect();
    held.sort();
    assert_eq!(held, [net("198.51.100.7"), net("2001:db9::/64")]);
}

#[test]
fn who_was_away_for_a_while_hears_what_was_said_meanwhile_and_nothing_twice() {
    let redis = Redis::start(&[]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    one.block("198.51.100.7", 3_600);
    let mut two = Member::join("pbx2", redis.port());
    two.wait_for_block("pbx1", "198.51.100.7");
    one.block("198.51.100.8", 3_600);
    let heard = two.wait_for("entries", |heard| matches!(heard, Heard::Entries { .. }));
    let Heard::Entries { read, .. } = heard else { unreachable!() };
    one.unblock("198.51.100.7");
    one.block("198.51.100.9", 3_600);
    let mut again = Member::start(&settings("pbx2", redis.port()), BTreeMap::from([("pbx1".to_owned(), read)]));
    again.wait_for_block("pbx1", "198.51.100.9");
    let sets = again.heard().iter().filter(|heard| matches!(heard, Heard::Set { .. })).count();
    assert_eq!(sets, 0, "nothing was missed");
}

#[test]
fn who_missed_more_than_the_stream_keeps_learns_what_has_ended() {
    let redis = Redis::start(&[]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    one.block("198.51.100.7", 3_600);
    let mut two = Member::join("pbx2", redis.port());
    two.wait_for_block("pbx1", "198.51.100.7");
    one.block("198.51.100.8", 3_600);
    let heard = two.wait_for("entries", |heard| matches!(heard, Heard::Entries { .. }));
    let Heard::Entries { read, .. } = heard else { unreachable!() };
    one.unblock("198.51.100.7");
    one.block("198.51.100.9", 3_600);
    two.wait_for_block("pbx1", "198.51.100.9");
    redis.say(&["XTRIM", "sipban:{main}:s:pbx1", "MAXLEN", "=", "1"]);
    let mut again = Member::start(&settings("pbx2", redis.port()), BTreeMap::from([("pbx1".to_owned(), read)]));
    let set = again.wait_for("the set", |heard| matches!(heard, Heard::Set { .. }));
    let Heard::Set { set, lacks, .. } = set else { unreachable!() };
    assert_eq!((set.len(), lacks), (2, Lacks::Ended));
}

#[test]
fn members_of_another_group_are_not_heard() {
    let redis = Redis::start(&[]);
    let mut one = Member::join("pbx1", redis.port());
    let group = "other".to_owned();
    let mut other =
        Member::start(&sipban::config::Fleet { group, ..settings("stranger", redis.port()) }, BTreeMap::new());
    other.settle();
    other.block("198.51.100.7", 60);
    let mut two = Member::join("pbx2", redis.port());
    two.settle();
    two.block("198.51.100.8", 60);
    one.wait_for_block("pbx2", "198.51.100.8");
    assert!(!format!("{:?}", one.heard()).contains("stranger"));
}

#[test]
fn a_member_shows_its_version_and_its_addresses() {
    let redis = Redis::start(&[]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    one.fleet.order(Order::Own(vec!["203.0.113.1".parse().unwrap()]));
    let mut two = Member::join("pbx2", redis.port());
    let members = two.wait_for("its addresses", |heard| match heard {
        Heard::Members(signs) => signs.iter().any(|s| s.content.as_ref().is_some_and(|c| !c.addresses.is_empty())),
        _ => false,
    });
    let Heard::Members(signs) = members else { unreachable!() };
    let content = signs[0].content.as_ref().unwrap();
    assert_eq!((signs[0].name.as_str(), content.version.as_str()), ("pbx1", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_to_be_remembered_is_written_whether_the_server_is_there_or_not() {
    let mut one = Member::join("pbx1", 1);
    one.fleet.order(Order::Remember(b"tombstone 198.51.100.7 9\n".to_vec()));
    one.wait_for("trouble", |heard| matches!(heard, Heard::Link(..)));
    let path = one.path("bans.fleet");
    let mut tries = 0;
    while sipban::fleet::memory::load(&path).unwrap().0.is_empty() {
        tries += 1;
        assert!(tries < 1_000, "it was not written");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
