//! Honest phones and attackers side by side.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sipban::config::{Config, Limits};
use sipban::model::security::SecurityEvent;

use super::court::{Time, sentences};
use super::model::Block;
use super::traffic::{company, merged, number, traffic};

/// Phones that break within the same minutes are weather, which is another subject.
fn judged(events: &[(Time, SecurityEvent)]) -> Vec<Block> {
    let Config { limits, lengths, .. } = Config::default();
    let limits = Limits { weather: 0, ..limits };
    sentences(limits, lengths, events).into_iter().map(|(_, block)| block).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn honest_phones_are_never_blocked_and_attackers_at_the_event_that_the_model_says(company in company()) {
        let blocks = judged(&merged(&traffic(&company)));
        for (its_number, (actor, _)) in (1u16..).zip(&company) {
            let blocked: BTreeSet<_> =
                blocks.iter().map(|(net, ..)| net).filter(|net| number(net.addr()) == its_number).collect();
            prop_assert_eq!(blocked.len(), actor.blocked(), "{:?}", actor);
        }
    }

    #[test]
    fn who_else_is_there_makes_no_difference(company in company()) {
        let traffic = traffic(&company);
        let mut together = judged(&merged(&traffic));
        let mut alone: Vec<Block> = traffic.iter().flat_map(|events| judged(events)).collect();
        together.sort_unstable();
        alone.sort_unstable();
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn the_order_of_simultaneous_events_of_different_sources_makes_no_difference(
        company in company(), order in vec(any::<Index>(), 14),
    ) {
        let traffic = traffic(&company);
        let mut shuffled = traffic.clone();
        for (place, other) in (0..shuffled.len()).zip(&order) {
            shuffled.swap(place, other.index(traffic.len()));
        }
        let set = |blocks: Vec<Block>| -> BTreeSet<Block> { blocks.into_iter().collect() };
        prop_assert_eq!(set(judged(&merged(&traffic))), set(judged(&merged(&shuffled))));
    }
}
