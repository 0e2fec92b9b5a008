//! PURE: when a source is asked next.

use std::time::Duration;

use crate::config::{FeedConfig, FeedFormat, FeedUrl};

/// Sources that say how often they may be asked, and the seconds between two times.
const RULES: [(&str, u64); 3] = [("voipbl.org", 14_400), ("spamhaus.org", 3_600), ("blocklist.de", 1_800)];

/// Time between two batches of APIBAN, which allows 11 in two minutes.
pub const BETWEEN_BATCHES: Duration = Duration::from_secs(12);

/// Time to the next try after one that failed. It doubles each time, up to the usual time.
const SOON: Duration = Duration::from_secs(60);

/// At most this long is waited because a source asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing more to be had now.
    Done,
    /// There is more.
    More,
    /// It failed again, and the source may have said how long to wait.
    Failed {
        /// How many times in a row, counted from 1.
        times: u32,
        /// `Retry-After`.
        wait: Option<Duration>,
    },
}

/// Time to the next look. `chance` is anything: up to a tenth of the time is added by it, so that not all PBXs ask at
/// once.
pub fn pause(config: &FeedConfig, outcome: Outcome, chance: u64) -> Duration {
    let usual = usual(config);
    let pause = match outcome {
        Outcome::Done => usual,
        Outcome::More => return BETWEEN_BATCHES,
        Outcome::Failed { times, wait } => {
            let soon = SOON.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(usual);
            soon.max(wait.unwrap_or_default().min(LONGEST_WAIT))
        }
    };
    let tenth = u64::try_from(pause.as_millis() / 10).unwrap_or(u64::MAX);
    pause + Duration::from_millis(chance % (tenth + 1))
}

/// Time between two looks at a source that is well: as configured, but not less than it allows.
pub fn usual(config: &FeedConfig) -> Duration {
    let least = match &config.url {
        Some(FeedUrl::Web(url)) => {
            let host = url.split('/').nth(2).unwrap_or_default();
            let is_of = |of: &str| host.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            RULES.iter().find(|(of, _)| is_of(of)).map_or(0, |(_, least)| *least)
        }
        None if config.format == FeedFormat::Apiban => BETWEEN_BATCHES.as_secs(),
        _ => 0,
    };
    Duration::from_secs(config.every.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(url: &str, every: u64) -> FeedConfig {
        FeedConfig {
            url: Some(FeedUrl::Web(url.to_owned())),
            format: FeedFormat::Auto,
            key: None,
            every,
            change: 50,
            keep: 172_800,
            ca: None,
        }
    }

    fn seconds(config: &FeedConfig, outcome: Outcome) -> u64 {
        pause(config, outcome, 0).as_secs()
    }

    #[test]
    fn a_source_is_never_asked_more_often_than_it_allows() {
        for (url, every) in [
            ("https://voipbl.org/update/", 14_400),
            ("http://www.voipbl.org", 14_400),
            ("https://www.spamhaus.org/drop/drop_v4.json", 3_600),
            ("https://notspamhaus.org/", 60),
            ("https://example.org/voipbl.org", 60),
        ] {
            assert_eq!(seconds(&feed(url, 60), Outcome::Done), every, "{url}");
        }
        assert_eq!(seconds(&feed("https://voipbl.org/", 86_400), Outcome::Done), 86_400);
    }

    #[test]
    fn after_failures_it_is_asked_less_and_less_often() {
        let feed = feed("https://example.org/", 900);
        let failed = |times, wait: u64| Outcome::Failed { times, wait: Some(Duration::from_secs(wait)) };
        let pauses: Vec<u64> = (1..=6).map(|times| seconds(&feed, failed(times, 0))).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900]);
        assert_eq!(seconds(&feed, failed(u32::MAX, 0)), 900);
        assert_eq!(seconds(&feed, failed(1, 7_200)), 7_200, "as long as the source asks for");
        assert_eq!(seconds(&feed, failed(1, 999_999)), 86_400, "but not for ever");
        assert_eq!(seconds(&feed, Outcome::More), 12);
    }

    proptest! {
        #[test]
        fn chance_adds_at_most_a_tenth(every in 1u64..86_400, chance in any::<u64>()) {
            let config = feed("https://example.org/", every);
            let pause = pause(&config, Outcome::Done, chance);
            prop_assert!(pause >= Duration::from_secs(every) && pause <= Duration::from_secs(every) * 11 / 10);
        }
    }
}
