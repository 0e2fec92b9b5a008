//! PURE: when Asterisk's events did not reach the daemon, over many files that are read in any order.

use std::fmt;

use serde::Serialize;

use super::line::{Moment, Sensor};

/// What the files say of it, each of them by itself until all are known.
#[derive(Debug, Default)]
pub(super) struct Outages {
    files: Vec<File>,
}

/// What one file says. How long the outage lasts that it begins in, and the one that it ends in, others say.
#[derive(Clone, Copy, Debug, Default)]
struct File {
    /// The first line of an outage before the first that ends one.
    lost_first: Option<Moment>,
    heard_first: Option<Moment>,
    /// Outages after that one that have ended.
    within: Silence,
    /// The first line of an outage that has not.
    lost: Option<Moment>,
}

/// How long nothing was heard, by the clock of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Silence {
    /// How often.
    pub times: u64,
    /// How long in all.
    pub seconds: u64,
    pub longest: Option<Outage>,
}

/// From when the connection was lost or fell silent, or the daemon stopped, to the next login, event or start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outage {
    pub from: Moment,
    /// Where it goes on, the end of the log.
    pub to: Moment,
}

impl Outages {
    /// What follows is of another file.
    pub(super) fn begin(&mut self) {
        self.files.push(File::default());
    }

    /// The next line of the file that is about it.
    pub(super) fn note(&mut self, at: Moment, sensor: Sensor) {
        if let Some(file) = self.files.last_mut() {
            file.note(at, sensor);
        }
    }

    /// Takes over what another thread read.
    pub(super) fn absorb(&mut self, other: Outages) {
        self.files.extend(other.files);
    }

    /// All files, the oldest first; `end` is the last line of all.
    pub(super) fn silence(&self, end: Option<Moment>) -> Silence {
        let mut files: Vec<&File> = self.files.iter().collect();
        files.sort_by_key(|file| file.lost_first.into_iter().chain(file.heard_first).min());
        let (mut silence, mut lost) = (Silence::default(), None);
        for file in files {
            lost = lost.or(file.lost_first);
            if let Some(heard) = file.heard_first {
                silence.end(lost, heard);
                silence.absorb(file.within);
                lost = file.lost;
            }
        }
        end.into_iter().for_each(|end| silence.end(lost, end));
        silence
    }
}

impl File {
    fn note(&mut self, at: Moment, sensor: Sensor) {
        match (sensor, self.heard_first) {
            (Sensor::Connected | Sensor::Heard | Sensor::Start, None) => self.heard_first = Some(at),
            (Sensor::Connected | Sensor::Heard | Sensor::Start, Some(_)) => self.within.end(self.lost.take(), at),
            // Of an outage that is told again and again, the first line counts.
            (Sensor::Lost | Sensor::Refused | Sensor::Silent | Sensor::Stop, None) => {
                self.lost_first.get_or_insert(at);
            }
            (Sensor::Lost | Sensor::Refused | Sensor::Silent | Sensor::Stop, Some(_)) => {
                self.lost.get_or_insert(at);
            }
        }
    }
}

impl Silence {
    /// An outage ends, if there is one.
    fn end(&mut self, lost: Option<Moment>, heard: Moment) {
        let longest = lost.map(|from| Outage { from, to: heard });
        let seconds = longest.map_or(0, Outage::seconds);
        self.absorb(Silence { times: u64::from(lost.is_some()), seconds, longest });
    }

    fn absorb(&mut self, other: Silence) {
        self.times += other.times;
        self.seconds += other.seconds;
        let longest = self.longest.into_iter().chain(other.longest);
        self.longest = longest.max_by_key(|outage| outage.seconds());
    }
}

impl Outage {
    /// At least 0, whatever was done to the clock.
    pub(super) fn seconds(self) -> u64 {
        self.to.0.saturating_sub(self.from.0).into()
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, from {}", Lasting(self.seconds()), self.from)
    }
}

/// Seconds as people say them: `3 h 20 min`.
pub(super) struct Lasting(pub u64);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
            seconds => write!(f, "{} days {} h", seconds / 86_400, seconds % 86_400 / 3_600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sensor::{Connected, Heard, Lost, Refused, Silent, Start, Stop};
    use super::*;

    fn outages(files: &[&[(u32, Sensor)]]) -> Silence {
        let mut outages = Outages::default();
        for file in files {
            outages.begin();
            file.iter().for_each(|(at, sensor)| outages.note(Moment(*at), *sensor));
        }
        outages.silence(Some(Moment(1000)))
    }

    fn silence(times: u64, seconds: u64, from: u32, to: u32) -> Silence {
        Silence { times, seconds, longest: Some(Outage { from: Moment(from), to: Moment(to) }) }
    }

    #[test]
    fn an_outage_lasts_from_its_first_line_to_the_next_login_or_start() {
        let day: [(u32, Sensor); 8] = [
            (10, Start),
            (11, Connected),
            (20, Lost),
            (25, Refused),
            (30, Connected),
            (100, Stop),
            (140, Start),
            (141, Connected),
        ];
        assert_eq!(outages(&[&day]), silence(2, 50, 100, 140));
        assert_eq!(outages(&[&day[..7]]), silence(2, 50, 100, 140));
        assert_eq!(outages(&[&day[..6]]), silence(2, 910, 100, 1000));
        assert_eq!(outages(&[&day[..2]]), Silence::default());
        assert_eq!(outages(&[]), Silence::default());
    }

    #[test]
    fn it_does_not_matter_where_files_were_cut_and_which_is_read_first() {
        let lines = [(11, Connected), (20, Lost), (30, Connected), (100, Lost), (110, Stop), (400, Start), (401, Lost)];
        let whole = outages(&[&lines]);
        assert_eq!(whole, silence(3, 909, 401, 1000));
        for first in 0..=lines.len() {
            for second in first..=lines.len() {
                let files = [&lines[second..], &lines[..first], &[], &lines[first..second]];
                assert_eq!(outages(&files), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_silence_is_an_outage_that_the_next_event_ends() {
        assert_eq!(outages(&[&[(11, Connected), (40, Silent), (90, Heard), (95, Lost)]]), silence(2, 955, 95, 1000));
    }

    #[test]
    fn a_clock_put_back_makes_no_outage_longer() {
        assert_eq!(outages(&[&[(500, Lost), (400, Connected)]]), silence(1, 0, 500, 400));
    }

    #[test]
    fn outages_are_told_in_units_that_fit() {
        let told = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|seconds| Lasting(seconds).to_string());
        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h 0 min", "47 h 59 min", "2 days 0 h"]);
    }
}
