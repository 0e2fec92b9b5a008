//! The PBX is at fault: its own phones are refused, or leave it unanswered, all at once.

use super::*;

/// Homes, each of one account, that register every half a minute.
struct Town {
    court: Court,
    homes: Vec<(String, String)>,
}

/// In which state the PBX is.
#[derive(Clone, Copy, PartialEq)]
enum Pbx {
    Works,
    /// Its database is away: no account exists.
    Refuses,
    /// Its answers reach nobody.
    IsCutOff,
}

impl Town {
    fn new(homes: u32) -> Town {
        let homes = (0..homes).map(|n| (far(1000 + n), format!("1{n:03}"))).collect();
        let mut town = Town { court: Court::new(), homes };
        assert_eq!(town.live(60, |_| Pbx::Works), []);
        town
    }

    /// So many seconds of life, with what the PBX is to each home. Returns who is blocked.
    fn live(&mut self, seconds: u64, pbx: impl Fn(usize) -> Pbx) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        for _ in 0..seconds {
            let second = self.court.now.wall.0;
            for (n, (home, account)) in self.homes.iter().enumerate() {
                if (second + 7 * n as u64) % 30 != 0 {
                    continue;
                }
                match pbx(n) {
                    Pbx::Works => self.court.register(home, account),
                    Pbx::Refuses => self.court.acquit(UNKNOWN, home, account),
                    Pbx::IsCutOff => sentences.extend(sentence(&self.court.hear(Kind::ChallengeSent, home, account))),
                }
            }
            sentences.extend(self.court.tick(1));
        }
        sentences
    }

    fn refuses(&self) -> bool {
        self.court.evidence.refusing().is_some()
    }

    /// Failures of a stranger that block him in fair weather.
    fn is_fair(&mut self, stranger: u32) -> bool {
        let verdict = self.court.hear(UNKNOWN, &far(stranger), "nobody");
        verdict != Verdict::Pass
    }
}

#[test]
fn a_database_that_is_away_is_seen_within_a_minute_and_blocks_nobody() {
    let mut town = Town::new(20);
    assert!(!town.refuses());
    assert_eq!(town.live(60, |_| Pbx::Refuses), []);
    let front = town.court.evidence.refusing().unwrap();
    assert_eq!((front.affected, front.heard, front.spares), (20, 20, true));
    // A phone away from home, one that is new, and one that was mistyped.
    for n in 0..5 {
        (0..10).for_each(|_| town.court.acquit(UNKNOWN, &far(n), "1003"));
        (0..10).for_each(|_| town.court.acquit(UNKNOWN, &far(n), "nobody"));
        (0..10).for_each(|_| town.court.acquit(WRONG, &far(n), "1004"));
        (0..10).for_each(|_| town.court.acquit(Kind::InvalidPassword, &far(n), "1005"));
    }
}

#[test]
fn the_weather_ends_by_itself_when_the_phones_log_in_again() {
    let mut town = Town::new(20);
    town.live(240, |_| Pbx::Refuses);
    assert!(town.refuses() && !town.is_fair(1));
    town.live(40, |_| Pbx::Works);
    assert!(!town.refuses() && town.is_fair(2));
}

#[test]
fn the_weather_ends_by_itself_when_nobody_is_heard_any_more() {
    let mut town = Town::new(20);
    town.live(60, |_| Pbx::Refuses);
    assert!(town.refuses());
    assert_eq!(town.court.tick(70), []);
    assert!(!town.refuses() && town.is_fair(1));
}

#[test]
fn a_fifth_of_those_heard_and_three_at_least_make_the_weather() {
    for (homes, refused, is_bad) in [(20, 4, true), (20, 3, false), (3, 3, true), (2, 2, false), (100, 20, true)] {
        let mut town = Town::new(homes);
        town.live(60, |n| if n < refused { Pbx::Refuses } else { Pbx::Works });
        assert_eq!(town.refuses(), is_bad, "{refused} of {homes}");
    }
    let mut town = Town::new(20);
    town.court.policy.limits.weather = 0;
    town.live(60, |_| Pbx::Refuses);
    assert!(!town.refuses());
}

#[test]
fn phones_with_long_timers_tell_of_the_weather_too() {
    let mut town = Town::new(0);
    // Three offices of ten phones, each of which tries every five minutes.
    let offices: Vec<(String, Vec<String>)> =
        (0..3).map(|n| (far(2000 + n), (0..10).map(|phone| format!("2{n}{phone}")).collect())).collect();
    for (office, phones) in &offices {
        phones.iter().for_each(|phone| town.court.register(office, phone));
    }
    town.court.tick(600);
    for turn in 0..10 {
        for (office, phones) in &offices {
            town.court.acquit(UNKNOWN, office, &phones[turn]);
        }
        town.court.tick(30);
        assert!(town.refuses(), "turn {turn}");
    }
}

#[test]
fn what_is_counted_meanwhile_is_dropped_and_what_was_before_is_kept() {
    let stranger = &far(1);
    let mut town = Town::new(20);
    town.live(60, |_| Pbx::Refuses);
    (0..20).for_each(|_| town.court.acquit(WRONG, stranger, "1000"));
    town.live(100, |_| Pbx::Works);
    assert!(!town.refuses());
    (0..2).for_each(|_| town.court.acquit(WRONG, stranger, "1000"));
    town.court.convict(WRONG, stranger, "1000");

    let mut town = Town::new(20);
    (0..2).for_each(|_| town.court.acquit(WRONG, stranger, "1000"));
    town.live(120, |_| Pbx::Works);
    town.live(60, |_| Pbx::Refuses);
    town.live(100, |_| Pbx::Works);
    town.court.convict(WRONG, stranger, "1000");
}

#[test]
fn what_failed_in_the_minute_before_the_weather_was_seen_is_dropped_too() {
    let mut town = Town::new(20);
    (0..2).for_each(|_| town.court.acquit(WRONG, &far(1), "1000"));
    (0..6).for_each(|n| town.court.acquit(WRONG, &far(10 + n), "1001"));
    (0..6).for_each(|n| town.court.acquit(WRONG, &format!("203.0.113.{n}"), &n.to_string()));
    town.live(60, |_| Pbx::Refuses);
    assert!(town.refuses());
    town.live(100, |_| Pbx::Works);
    (0..2).for_each(|_| town.court.acquit(WRONG, &far(1), "1000"));
    // Neither is the account under pressure nor the neighbourhood in disrepute.
    town.court.acquit(WRONG, &far(50), "1001");
    town.court.acquit(WRONG, "203.0.113.50", "50");
}

#[test]
fn who_hammers_is_blocked_in_any_weather() {
    let mut town = Town::new(20);
    town.live(60, |_| Pbx::Refuses);
    let (home, account) = town.homes[3].clone();
    for (from, account) in [(&far(1), "nobody"), (&far(2), "1003"), (&home, "1004"), (&home, "10l0")] {
        (0..30).for_each(|_| town.court.acquit(WRONG, from, account));
        town.court.convict(WRONG, from, account);
    }
    // A trunk or a phone with many keys, which the PBX refuses, is no guesser at its own account.
    (0..500).for_each(|_| town.court.acquit(UNKNOWN, &home, &account));
}

#[test]
fn who_hammers_at_many_accounts_is_blocked_in_any_weather_and_a_new_office_is_not() {
    let mut town = Town::new(20);
    town.live(60, |_| Pbx::Refuses);
    (0..60).for_each(|n| town.court.acquit(UNKNOWN, &far(1), &n.to_string()));
    town.court.convict(UNKNOWN, &far(1), "60");
    (0..60).for_each(|n| town.court.acquit(UNKNOWN, &far(2), &n.to_string()));
    town.court.tick(60);
    town.live(30, |_| Pbx::Refuses);
    (0..60).for_each(|n| town.court.acquit(UNKNOWN, &far(2), &n.to_string()));
    // Where somebody lives it is phones that are refused.
    let (home, _) = town.homes[3].clone();
    (0..200).for_each(|n| town.court.acquit(UNKNOWN, &home, &n.to_string()));
}

#[test]
fn protected_addresses_tell_of_the_weather_too() {
    let mut town = Town::new(0);
    let homes: Vec<(String, String)> = (1..10).map(|n| (format!("192.0.2.{n}"), format!("1{n:03}"))).collect();
    homes.iter().for_each(|(home, account)| town.court.register(home, account));
    town.court.tick(60);
    for (home, account) in &homes {
        assert!(matches!(town.court.hear(UNKNOWN, home, account), Verdict::Protected { .. }));
    }
    town.court.tick(5);
    assert!(town.refuses() && !town.is_fair(1));
}

#[test]
fn accounts_that_were_refused_for_long_are_weather_only_where_half_of_all_are() {
    for (refused, is_bad) in [(4, false), (5, true)] {
        let mut town = Town::new(10);
        // They break one after the other.
        for broken in 1..=refused {
            town.live(660, |n| if n < broken { Pbx::Refuses } else { Pbx::Works });
        }
        assert_eq!(town.refuses(), is_bad, "{refused} of 10");
    }
}

#[test]
fn what_has_nothing_to_do_with_accounts_blocks_in_any_weather() {
    let mut town = Town::new(20);
    town.live(60, |_| Pbx::Refuses);
    town.court.convict(Kind::FailedAcl(Acl::Access), &far(1), "1000");
    town.court.convict(Kind::Tampered, &far(2), "1000");
    let knock = SecurityEvent { service: Service::Ami, ..town.court.event(WRONG, &far(3), "admin") };
    assert!(sentence(&town.court.judge(&knock)).is_some());
}

#[test]
fn strangers_cannot_make_the_weather() {
    let mut town = Town::new(20);
    // A botnet that is refused for accounts of others, and homes that are for accounts which do not live there.
    town.court.policy.limits.neighbours = 0;
    for second in 0..120 {
        let guesser = &far(5000 + second);
        let _ = town.court.hear(WRONG, guesser, "1000");
        let _ = town.court.hear(UNKNOWN, guesser, "nobody");
        for home in (0..20).filter(|home| (home + second) % 3 == 0) {
            let (home, _) = town.homes[home as usize].clone();
            town.court.acquit(UNKNOWN, &home, "10l0");
        }
        town.live(1, |_| Pbx::Works);
        assert!(!town.refuses());
    }
    assert!(town.is_fair(1));
}

#[test]
fn phones_that_broke_one_after_the_other_are_no_weather() {
    let mut town = Town::new(20);
    for broken in 1..=9 {
        town.live(660, |n| if n < broken { Pbx::Refuses } else { Pbx::Works });
        assert!(!town.refuses(), "{broken} of 20");
    }
}

#[test]
fn broken_phones_of_offices_where_others_log_in_are_no_weather_however_many() {
    let mut town = Town::new(10);
    let homes = town.homes.clone();
    homes.iter().for_each(|(home, _)| town.court.register(home, "broken"));
    for turn in 0..1000 {
        // Each breaks at a time of its own, and fails every twenty seconds.
        if turn % 2 == 0 {
            let broken = homes.iter().take(turn as usize / 90);
            broken.for_each(|(home, _)| town.court.acquit(WRONG, home, "broken"));
        }
        town.live(10, |_| Pbx::Works);
        assert!(!town.refuses(), "after {} s", turn * 10);
    }
}

#[test]
fn a_broken_phone_does_not_hide_that_others_of_its_office_are_refused() {
    let mut town = Town::new(5);
    for n in 0..5 {
        let (home, _) = town.homes[n].clone();
        town.court.register(&home, &format!("broken{n}"));
    }
    let fail = |town: &mut Town| {
        for n in 0..5 {
            let (home, _) = town.homes[n].clone();
            town.court.acquit(WRONG, &home, &format!("broken{n}"));
        }
    };
    // They break at once, which looks like weather for ten minutes.
    for _ in 0..40 {
        fail(&mut town);
        town.live(20, |_| Pbx::Works);
    }
    for _ in 0..3 {
        town.live(20, |_| Pbx::Refuses);
        fail(&mut town);
    }
    assert!(town.refuses());
}

#[test]
fn nobody_is_spared_for_longer_than_an_hour_in_a_day() {
    let mut town = Town::new(5);
    town.live(HOUR, |_| Pbx::Refuses);
    assert!(town.refuses() && !town.is_fair(1));
    town.live(10 * MINUTE, |_| Pbx::Refuses);
    // It is told still, but spares nobody.
    assert!(town.refuses() && town.is_fair(2));
    town.live(10 * MINUTE, |_| Pbx::Works);
    town.live(10 * MINUTE, |_| Pbx::Refuses);
    assert!(town.refuses() && town.is_fair(3));
    town.court.wait(ONE_DAY - 2 * HOUR);
    town.live(40 * MINUTE, |_| Pbx::Works);
    town.live(10 * MINUTE, |_| Pbx::Refuses);
    assert!(town.refuses() && !town.is_fair(4));
}

#[test]
fn weather_that_spares_nobody_drops_nothing() {
    let mut town = Town::new(5);
    town.court.policy.limits.weather_time = 0;
    town.live(60, |_| Pbx::Refuses);
    assert!(town.refuses());
    (0..2).for_each(|_| town.court.acquit(WRONG, &far(1), "1000"));
    town.live(100, |_| Pbx::Works);
    assert!(!town.refuses());
    town.court.convict(WRONG, &far(1), "1000");
}

#[test]
fn challenges_that_reach_no_phone_are_weather_and_block_nobody() {
    let mut town = Town::new(20);
    assert_eq!(town.live(60, |_| Pbx::IsCutOff), []);
    let front = town.court.evidence.silent().unwrap();
    assert!(front.affected > 15 && front.heard == 20 && front.spares, "{front:?}");
    // A stranger is spared as well, and a home of one account that has more open than three.
    let (home, account) = town.homes[0].clone();
    for _ in 0..10 {
        town.court.acquit(Kind::ChallengeSent, &far(1), "1000");
        town.court.acquit(Kind::ChallengeSent, &home, &account);
    }
    assert_eq!(town.live(25, |_| Pbx::IsCutOff), []);
    // But not a flood.
    let floods: Vec<_> = (0..200).map(|_| town.court.hear(Kind::ChallengeSent, &far(2), "1000")).collect();
    assert!(floods.iter().any(|verdict| sentence(verdict).is_some()));
    town.live(60, |_| Pbx::Works);
    assert!(town.court.evidence.silent().is_none());
    (0..6).for_each(|_| town.court.acquit(Kind::ChallengeSent, &far(3), "1000"));
    assert_eq!(town.live(5, |_| Pbx::Works).len(), 1);
}

#[test]
fn unanswered_challenges_spare_nobody_for_longer_than_an_hour_in_a_day() {
    let mut town = Town::new(5);
    town.live(HOUR + 10 * MINUTE, |_| Pbx::IsCutOff);
    assert!(town.court.evidence.silent().is_some_and(|front| !front.spares));
    (0..6).for_each(|_| town.court.acquit(Kind::ChallengeSent, &far(1), "1000"));
    assert_eq!(town.live(5, |_| Pbx::IsCutOff).len(), 1);
}

#[test]
fn challenges_of_strangers_are_no_weather() {
    let mut town = Town::new(5);
    for n in 0..100 {
        town.court.acquit(Kind::ChallengeSent, &far(n), "1000");
    }
    assert_eq!(town.live(20, |_| Pbx::Works), []);
    assert!(town.court.evidence.silent().is_none());
}
