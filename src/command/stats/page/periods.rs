//! PURE: the days of a report in as few periods as can be drawn.

use super::super::line::{Cause, Moment, date};
use super::super::report::{Day, Report};
use super::super::tally::{ByCause, sum};

/// At most this many days, and as many weeks, have a bar each.
const MOST: u32 = 92;

/// How long each period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Day,
    /// From Monday on.
    Week,
    Month,
}

/// A day, week or month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// Its first day, or its month.
    pub label: String,
    pub by_cause: ByCause,
}

/// All periods from the first to the last line of the logs, those without a block too.
pub(super) fn periods(report: &Report) -> (Step, Vec<Period>) {
    let (Some(first), Some(last)) = (report.first.map(Moment::day), report.last.map(Moment::day)) else {
        return (Step::Day, Vec::new());
    };
    let step = match last - first {
        0..MOST => Step::Day,
        days if days / 7 < MOST => Step::Week,
        _ => Step::Month,
    };
    let mut periods: Vec<Period> = Vec::new();
    let mut days = report.by_day.iter().peekable();
    for day in first..=last {
        let label = step.label(day);
        if periods.last().is_none_or(|period| period.label != label) {
            periods.push(Period { label, by_cause: [0; Cause::COUNT] });
        }
        if let (Some(period), Some(Day { by_cause, .. })) = (periods.last_mut(), days.next_if(|there| there.day == day))
        {
            sum(&mut period.by_cause, by_cause);
        }
    }
    (step, periods)
}

impl Period {
    pub(super) fn blocks(&self) -> u64 {
        self.by_cause.iter().sum()
    }
}

impl Step {
    pub(super) fn text(self) -> &'static str {
        match self {
            Step::Day => "day",
            Step::Week => "week",
            Step::Month => "month",
        }
    }

    fn label(self, day: u32) -> String {
        match self {
            Step::Day => date(day).to_string(),
            // 1970-01-01 was a Thursday.
            Step::Week => date(day - ((day + 3) % 7).min(day)).to_string(),
            Step::Month => format!("{}-{:02}", date(day).year(), u8::from(date(day).month())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::stats::line::Reader;
    use crate::command::stats::tally::Tally;

    fn periods_of(days: &[&str]) -> (Step, Vec<(String, u64)>) {
        let (mut tally, mut reader) = (Tally::with_room(9), Reader::default());
        for day in days {
            tally.line(reader.read(format!("[{day} 10:00:00] BLOCK => 192.0.2.1 (Failed ACL)").as_bytes()));
        }
        let (step, periods) = periods(&Report::new(&tally, 1, &Default::default()));
        (step, periods.iter().map(|period| (period.label.clone(), period.blocks())).collect())
    }

    #[test]
    fn days_without_a_block_are_there() {
        let (step, days) = periods_of(&["2026-02-27", "2026-03-01", "2026-03-01"]);
        assert_eq!(step, Step::Day);
        assert_eq!(days, [("2026-02-27".to_owned(), 1), ("2026-02-28".to_owned(), 0), ("2026-03-01".to_owned(), 2)]);
    }

    #[test]
    fn many_days_are_weeks_from_monday_on_and_more_are_months() {
        let (step, weeks) = periods_of(&["2026-01-01", "2026-01-04", "2026-01-05", "2026-12-31"]);
        assert_eq!((step, weeks.len()), (Step::Week, 53));
        assert_eq!(weeks[..2], [("2025-12-29".to_owned(), 2), ("2026-01-05".to_owned(), 1)]);
        let (step, months) = periods_of(&["2019-06-12", "2026-11-30"]);
        assert_eq!((step, months.len()), (Step::Month, 90));
        assert_eq!((&months[0], &months[89]), (&("2019-06".to_owned(), 1), &("2026-11".to_owned(), 1)));
    }

    #[test]
    fn no_line_is_no_period_and_the_first_week_there_is_begins_with_it() {
        assert_eq!(periods_of(&[]), (Step::Day, vec![]));
        let (_, weeks) = periods_of(&["1970-01-01", "1971-01-01"]);
        assert_eq!(weeks[..2], [("1970-01-01".to_owned(), 1), ("1970-01-05".to_owned(), 0)]);
    }
}
