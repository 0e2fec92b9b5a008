use super::*;
use crate::fleet::members::MOST_MEMBERS;
use crate::fleet::sign::Content;
use crate::model::net::Plain;

const NOW: UnixTime = UnixTime(1_000);
const DAY: u64 = 86_400;

fn net(text: &str) -> IpNet {
    text.parse::<Plain>().unwrap().0
}

fn block(net: IpNet, seconds: u64) -> Entry {
    Entry::Block { net, reason: Reason::InvalidAccount, seconds }
}

fn hear(votes: &mut Votes, origin: &str, text: &str, seconds: u64) -> Option<IpNet> {
    votes.hear(origin, block(net(text), seconds), DAY, NOW)
}

fn end(votes: &Votes, text: &str, needed: usize) -> Option<u64> {
    votes.word(&net(text), needed, NOW).map(|word| word.end.since(NOW))
}

#[test]
fn a_block_lasts_as_long_as_enough_members_want_it() {
    let mut votes = Votes::default();
    for (origin, seconds) in [("pbx1", 100), ("pbx2", 300), ("pbx3", 200)] {
        assert_eq!(hear(&mut votes, origin, "198.51.100.7", seconds), Some(net("198.51.100.7")));
    }
    let ends: Vec<_> = (1..=4).map(|needed| end(&votes, "198.51.100.7", needed)).collect();
    assert_eq!(ends, [Some(300), Some(200), Some(100), None]);
    let word = votes.word(&net("198.51.100.7"), 1, NOW).unwrap();
    assert_eq!(word.origins, ["pbx2", "pbx3", "pbx1"]);
    assert_eq!(votes.word(&net("198.51.100.7"), 2, NOW + 250), None);
}

#[test]
fn one_member_says_it_as_often_as_it_likes_and_has_one_vote() {
    let mut votes = Votes::default();
    for seconds in 1..9 {
        hear(&mut votes, "mad", "198.51.100.7", seconds);
    }
    assert_eq!(end(&votes, "198.51.100.7", 1), Some(8));
    assert_eq!(end(&votes, "198.51.100.7", 2), None);
    assert_eq!(votes.len(), 1);
}

#[test]
fn the_admin_needs_nobody_elses_vote() {
    let mut votes = Votes::default();
    hear(&mut votes, ADMIN, "198.51.100.0/24", 50);
    assert_eq!(end(&votes, "198.51.100.0/24", 3), Some(50));
}

#[test]
fn time_is_cut_to_our_own() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", u64::MAX);
    assert_eq!(end(&votes, "198.51.100.7", 1), Some(DAY));
    assert_eq!(hear(&mut votes, "pbx1", "198.51.100.8", 0), None);
    votes.expire(NOW + DAY);
    assert!(votes.is_empty());
    assert_eq!(votes.members().collect::<Vec<_>>(), [("pbx1", 0)]);
}

#[test]
fn an_origin_has_so_many_votes_and_no_more_and_takes_no_others_place() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", 60);
    let address = |n: usize| IpNet::from(std::net::IpAddr::from((n as u32 + (11 << 24)).to_be_bytes()));
    let heard = (0..MOST_LIVE + 10).filter_map(|n| votes.hear("mad", block(address(n), 60), DAY, NOW)).count();
    assert_eq!(heard, MOST_LIVE);
    assert_eq!(votes.len(), MOST_LIVE + 1);
    // One that ends makes room for one.
    assert!(votes.hear("mad", Entry::Unblock(address(0)), DAY, NOW).is_some());
    assert!(votes.hear("mad", block(address(MOST_LIVE), 60), DAY, NOW).is_some());
    assert!(votes.hear("mad", block(address(MOST_LIVE + 1), 60), DAY, NOW).is_none());
}

#[test]
fn of_more_members_than_count_nothing_is_kept() {
    let mut votes = Votes::default();
    for n in 0..MOST_MEMBERS + 5 {
        hear(&mut votes, &format!("pbx{n}"), "198.51.100.7", 60);
    }
    assert_eq!(votes.len(), MOST_MEMBERS);
    assert_eq!(votes.members().count(), MOST_MEMBERS);
}

fn sign(name: &str, address: &str) -> Sign {
    let content = Content { version: "2".into(), addresses: vec![address.parse().unwrap()] };
    Sign { name: name.into(), content: Some(content) }
}

#[test]
fn a_member_that_is_there_votes_in_the_place_of_one_that_is_gone() {
    let mut votes = Votes::default();
    for n in 0..MOST_MEMBERS {
        hear(&mut votes, &format!("old{n}"), &format!("198.51.100.{}", n % 200), 60);
    }
    assert_eq!(hear(&mut votes, "new", "203.0.113.7", 60), None);
    assert_eq!(votes.meet(&[sign("new", "198.18.1.2")], NOW), [net("198.51.100.0")]);
    assert_eq!(hear(&mut votes, "new", "203.0.113.7", 60), Some(net("203.0.113.7")));
    assert_eq!(votes.origins(&net("203.0.113.7"), NOW), ["new"]);
    assert_eq!(votes.origins(&net("198.51.100.0"), NOW), ["old200"]);
    assert_eq!(votes.len(), MOST_MEMBERS);
}

#[test]
fn an_unblock_withdraws_the_vote_of_its_origin_alone() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", 60);
    hear(&mut votes, "pbx2", "198.51.100.7", 60);
    let unblock = Entry::Unblock(net("198.51.100.7"));
    assert!(votes.hear("pbx3", unblock, DAY, NOW).is_none());
    assert!(votes.hear("pbx1", unblock, DAY, NOW).is_some());
    assert_eq!(votes.origins(&net("198.51.100.7"), NOW), ["pbx2"]);
}

#[test]
fn what_was_unblocked_here_no_vote_brings_back_until_it_would_have_ended() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", 60);
    votes.bury(net("198.51.100.7"), NOW + 60);
    hear(&mut votes, "pbx2", "198.51.100.7", DAY);
    assert_eq!(end(&votes, "198.51.100.7", 1), None);
    assert!(votes.word(&net("198.51.100.7"), 1, NOW + 61).is_some());
    assert!(votes.dig_up(&net("198.51.100.7")));
    assert_eq!(end(&votes, "198.51.100.7", 1), Some(DAY));
}

#[test]
fn a_pardon_of_a_network_is_one_of_all_in_it_and_can_be_taken_back() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", 60);
    let pardon = Entry::Pardon { net: net("198.51.100.0/24"), seconds: 30 };
    assert_eq!(votes.hear(ADMIN, pardon, DAY, NOW), Some(net("198.51.100.0/24")));
    assert_eq!(end(&votes, "198.51.100.7", 1), None);
    assert_eq!(votes.within(&net("198.51.100.0/24")), [net("198.51.100.7")]);
    votes.hear(ADMIN, Entry::Unpardon(net("198.51.100.0/24")), DAY, NOW);
    assert_eq!(end(&votes, "198.51.100.7", 1), Some(60));
}

#[test]
fn a_whole_set_ends_what_it_lacks_and_one_that_may_not_be_whole_ends_nothing() {
    let live = |text: &str| (Live { net: net(text), reason: Some(Reason::FailedAcl) }, 60);
    for (lacks, left) in [(Lacks::Unknown, 3), (Lacks::Ended, 2)] {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx2", "198.51.100.9", 60);
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        votes.hear_set("pbx1", &[live("198.51.100.8")], lacks, DAY, NOW);
        assert_eq!(votes.len(), left);
        assert!(end(&votes, "198.51.100.8", 1).is_some() && end(&votes, "198.51.100.9", 1).is_some());
        assert_eq!(end(&votes, "198.51.100.7", 1).is_some(), lacks == Lacks::Unknown);
    }
}

#[test]
fn a_set_that_says_what_is_known_changes_nothing() {
    let mut votes = Votes::default();
    let set = [(Live { net: net("198.51.100.8"), reason: Some(Reason::FailedAcl) }, 60)];
    assert_eq!(votes.hear_set("pbx1", &set, Lacks::Ended, DAY, NOW).len(), 1);
    assert_eq!(votes.hear_set("pbx1", &set, Lacks::Ended, DAY, NOW).len(), 0);
}

#[test]
fn what_is_remembered_is_what_was_known() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", 60);
    hear(&mut votes, ADMIN, "198.51.100.0/24", 90);
    votes.hear(ADMIN, Entry::Pardon { net: net("203.0.113.0/24"), seconds: 30 }, DAY, NOW);
    votes.bury(net("203.0.113.7"), NOW + 9);
    votes.read_up_to("pbx1", Id { milliseconds: 7, number: 1 }, NOW);
    votes.meet(&[sign("pbx1", "198.18.1.2")], NOW);
    let mut again = Votes::default();
    votes.memories().for_each(|memory| again.restore(memory, NOW));
    let mut memories: [Vec<String>; 2] =
        [&votes, &again].map(|votes| votes.memories().map(|memory| format!("{memory:?}")).collect());
    memories.iter_mut().for_each(|memories| memories.sort());
    assert_eq!(memories[0], memories[1]);
    assert_eq!(memories[0].len(), 6);
}

#[test]
fn ends_move_with_a_clock_that_was_set() {
    let mut votes = Votes::default();
    hear(&mut votes, "pbx1", "198.51.100.7", 60);
    votes.shift(|at| at + 1_000);
    assert_eq!(votes.word(&net("198.51.100.7"), 1, NOW + 1_000).map(|word| word.end), Some(NOW + 1_060));
}
