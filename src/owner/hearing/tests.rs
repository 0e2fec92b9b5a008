use super::*;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// A PBX that is connected, and the second of its life that it is now.
struct Pbx {
    hearing: Hearing,
    now: u64,
    told: Vec<(u64, Silence)>,
}

impl Pbx {
    /// It begins on a Monday at midnight.
    fn new() -> Pbx {
        let mut hearing = Hearing::default();
        hearing.connected(Duration::ZERO);
        Pbx { hearing, now: 0, told: Vec::new() }
    }

    /// Time passes, looked at every ten seconds.
    fn pass_until(&mut self, end: u64) {
        while self.now < end {
            self.now += 10;
            let news = self.hearing.look(Duration::from_secs(self.now));
            self.told.extend(news.map(|silence| (self.now, silence)));
        }
    }

    fn event(&mut self, is_login: bool) -> Option<Duration> {
        self.hearing.event(is_login, Duration::from_secs(self.now))
    }

    /// Phones log in with these pauses, in turn, for so many days, at the hours and on the weekdays of `works`.
    fn work(&mut self, days: u64, pauses: &[u64], works: impl Fn(u64, u64) -> bool) {
        let end = self.now + days * DAY;
        for pause in pauses.iter().cycle() {
            if self.now >= end {
                return;
            }
            self.pass_until(self.now + pause);
            let (weekday, hour) = (self.now / DAY % 7, self.now % DAY / HOUR);
            if works(weekday, hour) {
                self.event(true);
            }
        }
    }
}

fn always(_: u64, _: u64) -> bool {
    true
}

fn office_hours(weekday: u64, hour: u64) -> bool {
    weekday < 5 && (8..18).contains(&hour)
}

#[test]
fn where_phones_log_in_all_day_a_silence_is_told_once_within_minutes() {
    let mut pbx = Pbx::new();
    pbx.work(7, &[60, 240, 120], always);
    assert_eq!(pbx.told, []);
    let last = pbx.now;
    pbx.pass_until(last + 5 * HOUR);
    let (lasts, longest) = (Duration::from_secs(20 * MINUTE + 10), Duration::from_secs(240));
    assert_eq!(pbx.told, [(last + lasts.as_secs(), Silence::Unusual { lasts, longest })]);
    assert_eq!(pbx.hearing.silence(), Some(pbx.told[0].1));
    assert_eq!(pbx.event(false), Some(Duration::from_secs(5 * HOUR) - lasts));
    assert_eq!((pbx.hearing.silence(), pbx.event(true)), (None, None));
}

#[test]
fn attackers_break_a_silence_and_make_no_habit() {
    let mut pbx = Pbx::new();
    pbx.work(3, &[30 * MINUTE], always);
    for _ in 0..DAY / 10 {
        pbx.pass_until(pbx.now + 10);
        pbx.event(false);
    }
    pbx.pass_until(pbx.now + 2 * HOUR);
    assert_eq!(pbx.told, []);
    pbx.pass_until(pbx.now + HOUR);
    assert_eq!(pbx.told.len(), 1);
}

#[test]
fn an_office_that_sleeps_at_night_and_at_weekends_alarms_nobody_on_whatever_day_it_begins() {
    for first_day in 0..7 {
        let mut pbx = Pbx::new();
        pbx.pass_until(first_day * DAY);
        pbx.work(5 * 7, &[70, 300, 20], office_hours);
        assert_eq!(pbx.told, [], "from day {first_day}");
        // Four days off, as at Easter.
        pbx.pass_until(pbx.now + (7 - pbx.now / DAY % 7) % 7 * DAY + 2 * DAY);
        assert_eq!(pbx.told, [], "from day {first_day}");
    }
}

#[test]
fn a_pbx_with_an_event_a_day_has_no_habit() {
    let mut pbx = Pbx::new();
    pbx.work(30, &[20 * HOUR, 31 * HOUR, 23 * HOUR], always);
    pbx.pass_until(pbx.now + 30 * DAY);
    assert_eq!(pbx.told, []);
}

#[test]
fn one_busy_hour_is_no_habit() {
    let mut pbx = Pbx::new();
    for _ in 0..360 {
        pbx.pass_until(pbx.now + 10);
        pbx.event(true);
    }
    pbx.pass_until(pbx.now + 7 * DAY);
    assert_eq!(pbx.told, []);
}

#[test]
fn a_habit_that_changes_is_told_of_a_few_times_and_then_known() {
    let mut pbx = Pbx::new();
    pbx.work(14, &[60], always);
    pbx.work(7, &[2 * HOUR], always);
    assert!((1..=2).contains(&pbx.told.len()), "{:?}", pbx.told);
    pbx.told.clear();
    pbx.work(21, &[2 * HOUR], always);
    assert_eq!(pbx.told, []);
    // And back again: after two weeks nothing is left of the long pauses.
    pbx.work(16, &[60], always);
    let last = pbx.now;
    pbx.pass_until(last + HOUR);
    assert_eq!(pbx.told.first().map(|(at, _)| at - last), Some(15 * MINUTE + 10));
}

#[test]
fn without_a_connection_there_is_no_silence_and_no_pause() {
    let mut pbx = Pbx::new();
    pbx.work(3, &[60], always);
    pbx.hearing.lost();
    pbx.pass_until(pbx.now + 3 * DAY);
    assert_eq!(pbx.told, []);
    pbx.hearing.connected(Duration::from_secs(pbx.now));
    pbx.work(1, &[60], always);
    assert_eq!(pbx.told, []);
    let last = pbx.now;
    pbx.pass_until(last + HOUR);
    assert_eq!(pbx.told.first().map(|(at, _)| at - last), Some(15 * MINUTE + 10), "three days are no pause");
}

#[test]
fn what_is_withheld_is_told_once_until_something_comes_or_the_connection_is_lost() {
    let mut pbx = Pbx::new();
    let at = Duration::from_secs;
    assert_eq!(pbx.hearing.withheld(at(5)), Some(Silence::Withheld));
    pbx.hearing.connected(at(60));
    assert_eq!(pbx.hearing.withheld(at(65)), None);
    assert_eq!(pbx.hearing.silence(), Some(Silence::Withheld));
    assert_eq!(pbx.hearing.event(false, at(70)), Some(at(65)));
    assert_eq!(pbx.hearing.withheld(at(80)), Some(Silence::Withheld));
    pbx.hearing.lost();
    assert_eq!((pbx.hearing.silence(), pbx.hearing.event(false, at(90))), (None, None));
    assert_eq!(pbx.hearing.withheld(at(99)), Some(Silence::Withheld));
}
