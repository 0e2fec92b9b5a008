//! PURE: elements of sets that come and go in one transaction, as the kernel reads it.
//!
//! The numbers are those of `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.

use super::wire::{ACK, CREATE, REQUEST, SUBSYSTEM, attribute, message, nest, put, text};

/// At most this many elements come in one message. What the kernel refuses it sends back, and that has to fit into the
/// buffer for its answers.
const MOST_IN_MESSAGE: usize = 512;

/// At most this many bytes are written for one address that is added, deleted and added again.
pub(super) const MOST_BYTES: usize = 128;

/// What is done with elements: the type of the message.
#[derive(Clone, Copy)]
enum Verb {
    Add = 12,
    Delete = 14,
}

/// A transaction for one table, of which the kernel makes all or nothing.
pub(super) struct Batch<'a> {
    table: &'a str,
    sequence: u32,
    bytes: Vec<u8>,
    /// The last message so far: what it does, and its attributes.
    last: Option<(Verb, Vec<u8>)>,
}

impl<'a> Batch<'a> {
    /// Begins one whose messages all have the number `sequence`. With `after` the kernel refuses it (ERESTART) unless
    /// the number of its last change is this one.
    pub(super) fn begin(table: &'a str, sequence: u32, after: Option<u32>) -> Batch<'a> {
        const BEGIN: u16 = 16;
        let after = after.map_or_else(Vec::new, |number| attribute(1, &number.to_be_bytes()));
        Batch { table, sequence, bytes: message(BEGIN, REQUEST, sequence, &after), last: None }
    }

    /// Adds elements to a set, each with the seconds until the kernel ends it if it does. One that is there already stays
    /// as it is.
    pub(super) fn add<K: AsRef<[u8]>>(&mut self, set: &str, elements: impl Iterator<Item = (K, Option<u64>)>) {
        self.say(Verb::Add, set, elements);
    }

    /// Deletes elements from a set. If one of them is not there, the kernel refuses the transaction.
    pub(super) fn delete<K: AsRef<[u8]>>(&mut self, set: &str, keys: impl Iterator<Item = K>) {
        self.say(Verb::Delete, set, keys.map(|key| (key, None)));
    }

    /// All of it; `None` if it changes nothing. The kernel's first answer says what became of it.
    pub(super) fn end(mut self) -> Option<Vec<u8>> {
        const END: u16 = 17;
        let (verb, attributes) = self.last.take()?;
        self.write(verb, ACK, &attributes);
        self.bytes.extend(message(END, REQUEST, self.sequence, &[]));
        Some(self.bytes)
    }

    fn say<K: AsRef<[u8]>>(&mut self, verb: Verb, set: &str, elements: impl Iterator<Item = (K, Option<u64>)>) {
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            if let Some((verb, attributes)) = self.last.take() {
                self.write(verb, 0, &attributes);
            }
            let mut attributes = [text(1, self.table), text(2, set)].concat();
            nest(&mut attributes, 3, |list| {
                for (key, seconds) in elements.by_ref().take(MOST_IN_MESSAGE) {
                    nest(list, 1, |element| {
                        nest(element, 1, |value| put(value, 1, key.as_ref()));
                        if let Some(seconds) = seconds {
                            put(element, 4, &seconds.saturating_mul(1000).to_be_bytes());
                        }
                    });
                }
            });
            self.last = Some((verb, attributes));
        }
    }

    fn write(&mut self, verb: Verb, flag: u16, attributes: &[u8]) {
        let make = match verb {
            Verb::Add => CREATE,
            Verb::Delete => 0,
        };
        self.bytes.extend(message(SUBSYSTEM | verb as u16, REQUEST | make | flag, self.sequence, attributes));
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Attributes, GENERIC, Kind, messages};
    use super::*;

    #[test]
    fn only_the_last_message_that_changes_something_is_to_be_answered() {
        let mut batch = Batch::begin("t", 7, Some(9));
        batch.add("b4", (0..=MOST_IN_MESSAGE as u32).map(|n| (n.to_be_bytes(), Some(60))));
        batch.delete("b6", [[0; 16]].into_iter());
        batch.add("b6", std::iter::empty::<([u8; 16], _)>());
        let bytes = batch.end().unwrap();
        let all: Vec<_> = messages(&bytes).collect();
        assert!(all.iter().all(|message| message.sequence == 7 && matches!(message.kind, Kind::Data)));
        let flags: Vec<u16> = all.iter().map(|message| message.flags).collect();
        assert_eq!(flags, [REQUEST, REQUEST | CREATE, REQUEST | CREATE, REQUEST | ACK, REQUEST]);
        let said: Vec<Attributes<'_>> = all.iter().map(|message| Attributes(&message.payload[GENERIC..])).collect();
        assert_eq!(said[0].number(1), Some(9));
        let elements = |at: usize| said[at].within(3).unwrap().iter().count();
        assert_eq!([1, 2, 3].map(elements), [MOST_IN_MESSAGE, 1, 1]);
        assert_eq!((said[1].text(1), said[1].text(2), said[3].text(2)), (Some("t"), Some("b4"), Some("b6")));
    }

    #[test]
    fn what_changes_nothing_is_not_sent() {
        let mut batch = Batch::begin("t", 1, None);
        batch.delete("b4", std::iter::empty::<[u8; 4]>());
        assert_eq!(batch.end(), None);
    }

    #[test]
    fn an_address_that_is_renewed_takes_no_more_bytes_than_there_is_room_for() {
        let mut batch = Batch::begin("t", 1, None);
        let keys = || (0..MOST_IN_MESSAGE as u128).map(u128::to_be_bytes);
        batch.add("b6", keys().map(|key| (key, Some(1))));
        batch.delete("b6", keys());
        batch.add("b6", keys().map(|key| (key, Some(1))));
        assert!(batch.end().unwrap().len() <= MOST_IN_MESSAGE * MOST_BYTES);
    }
}
