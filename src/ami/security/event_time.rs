//! The moment of an event, as Asterisk writes it into EventTV.

use time::{Date, PrimitiveDateTime, Time};

/// Milliseconds since 1970 of `2026-11-22T10:33:00.368+0000`.
///
/// The seconds and microseconds of Asterisk 1.8 to 11 are not read. Those versions wrote security events to a file only,
/// and a shorter beginning of an event would be easier to forge.
pub(super) fn event_time(value: &[u8]) -> Option<i64> {
    let value: &[u8; 28] = value.try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.')];
    if marks.iter().any(|&(at, mark)| value[at] != mark) {
        return None;
    }
    let year = 100 * i32::from(two(value, 0)?) + i32::from(two(value, 2)?);
    let date = Date::from_calendar_date(year, two(value, 5)?.try_into().ok()?, two(value, 8)?).ok()?;
    // A leap second counts as the one before it.
    let time = Time::from_hms(two(value, 11)?, two(value, 14)?, two(value, 17)?.min(59)).ok()?;
    let millisecond = 100 * i64::from(digit(value[20])?) + i64::from(two(value, 21)?);
    let zone = 3600 * i64::from(two(value, 24)?) + 60 * i64::from(two(value, 26)?);
    let ahead = match value[23] {
        b'+' => zone,
        b'-' => -zone,
        _ => return None,
    };
    let local = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    Some((local - ahead) * 1000 + millisecond)
}

/// The number that the two digits at this position make.
fn two(value: &[u8; 28], at: usize) -> Option<u8> {
    Some(10 * digit(value[at])? + digit(value[at + 1])?)
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_are_read_in_any_zone() {
        assert_eq!(event_time(b"1970-01-01T00:00:00.000+0000"), Some(0));
        assert_eq!(event_time(b"1969-12-31T23:59:59.999+0000"), Some(-1));
        assert_eq!(event_time(b"2026-11-22T10:33:00.368+0000"), Some(1_795_343_580_368));
        assert_eq!(event_time(b"2026-11-22T12:33:00.368+0200"), Some(1_795_343_580_368));
        assert_eq!(event_time(b"2024-02-29T00:00:00.000-0030"), Some(1_709_166_600_000));
        assert_eq!(event_time(b"2016-12-31T23:59:60.500+0000"), Some(1_483_228_799_500));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for nonsense in [
            "",
            "2026-11-22",
            "1321034442-123456",
            "2026-13-22T10:33:00.368+0000",
            "2026-02-29T10:33:00.368+0000",
            "2026-11-22T24:33:00.368+0000",
            "2026-11-22T10:33:00.3x8+0000",
            "2026-11-22T10:33:00.368 0000",
            "2026-11-22T10:33:00.368+00000",
        ] {
            assert_eq!(event_time(nonsense.as_bytes()), None, "{nonsense}");
        }
    }
}
