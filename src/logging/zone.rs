//! Local time, which follows daylight saving time.

use std::sync::{LazyLock, PoisonError, RwLock};

use tz::{TimeZone, TimeZoneRef, UtcDateTime};

use crate::model::clock::UnixTime;

static ZONE: LazyLock<RwLock<TimeZone>> = LazyLock::new(|| RwLock::new(zone_of_machine()));

/// 9999-12-31 12:00 UTC: years have four digits.
const LATEST: u64 = 253_402_257_600;

/// A moment in the local time of this machine (or of the variable `TZ`), such as `2019-06-12 12:01:55`.
pub fn local_time(time: UnixTime) -> String {
    format_time(time, ZONE.read().unwrap_or_else(PoisonError::into_inner).as_ref())
}

/// Reads the zone anew: the administrator may have moved the machine.
pub(super) fn reread() {
    *ZONE.write().unwrap_or_else(PoisonError::into_inner) = zone_of_machine();
}

/// As the C library has it: `TZ`, else `/etc/localtime`, and UTC if that is missing or no zone.
fn zone_of_machine() -> TimeZone {
    match std::env::var("TZ") {
        Ok(zone) => TimeZone::from_posix_tz(&zone),
        Err(_) => TimeZone::local(),
    }
    .unwrap_or_else(|_| TimeZone::utc())
}

fn format_time(time: UnixTime, zone: TimeZoneRef<'_>) -> String {
    // At most LATEST, which fits.
    let seconds = time.0.min(LATEST) as i64;
    let offset = zone.find_local_time_type(seconds).map_or(0, |local| i64::from(local.ut_offset()));
    match UtcDateTime::from_timespec(seconds + offset, 0) {
        Ok(t) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            t.year(),
            t.month(),
            t.month_day(),
            t.hour(),
            t.minute(),
            t.second()
        ),
        // Never happens: the seconds are between 1970 and 9999.
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(time: u64, zone: &str) -> String {
        format_time(UnixTime(time), TimeZone::from_posix_tz(zone).unwrap().as_ref())
    }

    #[test]
    fn local_time_follows_daylight_saving() {
        let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(format(1_553_993_999, zone), "2019-03-31 01:59:59");
        assert_eq!(format(1_553_994_000, zone), "2019-03-31 03:00:00");
        assert_eq!(format(1_572_137_999, zone), "2019-10-27 02:59:59");
        assert_eq!(format(1_572_138_000, zone), "2019-10-27 02:00:00");
    }

    #[test]
    fn a_zone_behind_utc_has_yesterday_and_any_time_has_four_digits_of_year() {
        assert_eq!(format(0, "CST6"), "1969-12-31 18:00:00");
        assert_eq!(format(u64::MAX, "CET-1"), "9999-12-31 13:00:00");
    }
}
