//! Whether Asterisk has fallen silent, measured by the habits of its phones.
//!
//! Strangers make no habit: only logins count, which nobody can forge. Whatever comes breaks a silence.
//!
//! PURE: no clock, no I/O. All times are monotonic.

use std::fmt;
use std::time::Duration;

const DAY: u64 = 86_400;

/// Days that are remembered: two weekends, so that one is always among them.
const DAYS: usize = 14;

/// A habit shows in at least so much time and so many logins, so that a night is among it.
const KNOWN: Duration = Duration::from_secs(DAY);
const LOGINS: u64 = 20;

/// How many times longer than the longest pause of the days remembered a silence is. A night without logins is some 14
/// hours, the weekend that may follow it 62.
const UNUSUAL: u32 = 5;

/// No shorter pause is a silence, whatever the habit.
const SHORTEST: Duration = Duration::from_secs(15 * 60);

/// What is heard of Asterisk.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    habit: Habit,
    /// When there last was an event or a new connection; `None` without a connection.
    heard: Option<Duration>,
    silent: Option<(Duration, Silence)>,
}

/// Why nothing is heard, although Asterisk is connected and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Not even our own login: our user may not read security events.
    Withheld,
    /// There were no events for this long, where phones made no longer pause than this.
    Unusual { lasts: Duration, longest: Duration },
}

impl Hearing {
    /// Asterisk is connected, perhaps anew. What happened before is not known.
    pub(super) fn connected(&mut self, now: Duration) {
        self.habit.pause_unknown();
        self.heard = Some(now);
    }

    /// Asterisk is no longer connected, which is worse than any silence.
    pub(super) fn lost(&mut self) {
        *self = Hearing { habit: std::mem::take(&mut self.habit), ..Hearing::default() };
        self.habit.pause_unknown();
    }

    /// An event came; `is_login` if a phone proved its password. Returns how long a silence had been told of.
    pub(super) fn event(&mut self, is_login: bool, now: Duration) -> Option<Duration> {
        // In a recorded stream there is no connection.
        if self.heard.is_some() {
            self.heard = Some(now);
        }
        if is_login {
            self.habit.login(now);
        }
        self.silent.take().map(|(since, _)| now.saturating_sub(since))
    }

    /// There was no event of our own login. Returns the silence if it is news.
    pub(super) fn withheld(&mut self, now: Duration) -> Option<Silence> {
        self.fall_silent(Silence::Withheld, now)
    }

    /// Returns a silence that is news; to be asked once a second.
    pub(super) fn look(&mut self, now: Duration) -> Option<Silence> {
        let lasts = now.saturating_sub(self.heard?);
        // It is asked often, and the habit only when it may matter.
        if lasts < SHORTEST || self.silent.is_some() {
            return None;
        }
        let longest = self.habit.longest_pause(now)?;
        (lasts > bound(longest)).then(|| self.fall_silent(Silence::Unusual { lasts, longest }, now)).flatten()
    }

    /// The silence that was told of and lasts.
    pub(super) fn silence(&self) -> Option<Silence> {
        self.silent.map(|(_, silence)| silence)
    }

    fn fall_silent(&mut self, silence: Silence, now: Duration) -> Option<Silence> {
        let is_news = self.silence().is_none_or(|told| told != silence);
        let since = self.silent.map_or(now, |(since, _)| since);
        self.silent = Some((since, silence));
        is_news.then_some(silence)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Withheld => f.write_str(
                "not even our own login is told, so ami.user may not read security events; give it read = security in \
                 manager.conf",
            ),
            Silence::Unusual { lasts, longest } => {
                let (lasts, longest) = (lasts.as_secs(), longest.as_secs());
                write!(f, "no event for {lasts} s, where phones log in at least every {longest} s; try sipban check")
            }
        }
    }
}

/// How long the pauses between logins are.
#[derive(Debug, Default)]
struct Habit {
    /// The last of these is today.
    days: [Day; DAYS],
    today: u64,
    last: Option<Duration>,
}

/// The pauses that ended on one day.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    longest: Duration,
    sum: Duration,
    logins: u64,
}

impl Habit {
    fn login(&mut self, now: Duration) {
        let bound = self.longest_pause(now).map_or(Duration::MAX, bound);
        if let Some(last) = self.last.replace(now) {
            // A silence that was told of may have been one. If it was none, the habit has changed: the next one is told
            // of later.
            let pause = now.saturating_sub(last).min(bound);
            let [.., today] = &mut self.days;
            today.longest = today.longest.max(pause);
            today.sum += pause;
            today.logins += 1;
        }
    }

    fn pause_unknown(&mut self) {
        self.last = None;
    }

    /// The longest pause of the days remembered, if they show a habit.
    fn longest_pause(&mut self, now: Duration) -> Option<Duration> {
        self.begin_days(now);
        let sum: Duration = self.days.iter().map(|day| day.sum).sum();
        let logins: u64 = self.days.iter().map(|day| day.logins).sum();
        let longest = self.days.iter().map(|day| day.longest).max();
        longest.filter(|_| sum >= KNOWN && logins >= LOGINS)
    }

    fn begin_days(&mut self, now: Duration) {
        let today = now.as_secs() / DAY;
        for _ in 0..today.saturating_sub(self.today).min(DAYS as u64) {
            self.days.rotate_left(1);
            self.days[DAYS - 1] = Day::default();
        }
        self.today = today;
    }
}

/// A longer pause than this is a silence.
fn bound(longest: Duration) -> Duration {
    (longest * UNUSUAL).max(SHORTEST)
}

#[cfg(test)]
mod tests;
